import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import * as Pglite from "../../src/pg/pglite/start.ts"
import { makeSession, type PgliteSession } from "../../src/pg/pglite/session.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import { flipped } from "../../src/testing/failures.ts"

const session: Effect.Effect<PgliteSession, never, SqlClient.SqlClient> = Effect.map(
  SqlClient.SqlClient,
  (sql) => Pglite.sessionOf(sql) ?? assert.fail("not embedded")
)

const codeOf = (error: SqlError.SqlError): unknown =>
  typeof error.reason.cause === "object" && error.reason.cause !== null && "code" in error.reason.cause
    ? error.reason.cause.code
    : undefined

layer(PgEmbedded.layerWith({ migrate: false }), { excludeTestServices: true })(
  "PgEmbedded in memory",
  (it) => {
    it.effect("provides the client of a server, under both names", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        assert.strictEqual(yield* PgClient.PgClient, sql)
        assert.strictEqual(sql.driver, "pglite")
        const [row] = yield* sql<{ major: number }>`
        select current_setting('server_version_num')::int / 10000 as major`
        assert.isAtLeast(row?.major ?? 0, 15)
      })
    )

    it.effect("sends and returns every kind of value", () =>
      Effect.gen(function* () {
        const sql = yield* PgClient.PgClient
        const id = "0191e0f0-7d00-7000-8000-000000000001"
        const at = new Date("2024-02-29T12:34:56.789Z")
        const bytes = new Uint8Array([0, 1, 127, 128, 255])
        const text = "Straße 漢字 🎉 'quoted' \"double\" \\ \n $1"
        const [row] = yield* sql`
        select ${true} as boolean, ${42} as int, ${1.5} as float, ${2n ** 62n} as bigint, ${text}::text as text,
          ${id}::uuid as uuid, ${at} as at, ${bytes} as bytes, ${sql.json({ a: [1, "b", null] })} as json,
          ${["a", "b"]} as array, ${null}::text as nothing, '12.50'::numeric as numeric`
        assert.deepStrictEqual(row, {
          boolean: true,
          int: 42,
          float: 1.5,
          bigint: 2n ** 62n,
          text,
          uuid: id,
          at,
          bytes,
          json: { a: [1, "b", null] },
          array: ["a", "b"],
          nothing: null,
          numeric: "12.50"
        })
      })
    )

    it.effect("handles large values and results", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const large = "x".repeat(5_000_000)
        const [row] = yield* sql<{ length: number; text: string }>`
        select length(${large}::text) as length, ${large}::text as text`
        assert.strictEqual(row?.length, large.length)
        assert.isTrue(row?.text === large)
        const rows = yield* sql`select g, repeat('y', 200) as t from generate_series(1, 20000) g`
        assert.lengthOf(rows, 20_000)
      })
    )

    it.effect("rolls a failed nested transaction back and keeps the outer one", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`create table nested (n int)`
        const insert = (n: number) => sql`insert into nested values (${n})`
        yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* insert(1)
            const inner = sql.withTransaction(Effect.andThen(insert(2), Effect.fail("no")))
            assert.strictEqual(yield* flipped(inner), "no")
            yield* sql.withTransaction(Effect.andThen(insert(3), sql.withTransaction(insert(4))))
          })
        )
        assert.deepStrictEqual(yield* sql`select n from nested order by n`, [{ n: 1 }, { n: 3 }, { n: 4 }])
      })
    )

    it.effect("classifies errors like a server", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`create table taken (id int constraint taken_once primary key)`
        yield* sql`insert into taken values (1)`
        const duplicate = yield* flipped(sql`insert into taken values (1)`)
        assert.strictEqual(codeOf(duplicate), "23505")
        assert.deepInclude(duplicate.reason, { _tag: "UniqueViolation", constraint: "taken_once" })

        yield* sql`create role nobody`
        const forbidden = sql.withTransaction(
          Effect.andThen(sql`set local role nobody`, sql`select * from taken`)
        )
        const denied = yield* flipped(forbidden)
        assert.strictEqual(codeOf(denied), "42501")
        assert.strictEqual(denied.reason._tag, "AuthorizationError")

        assert.strictEqual((yield* flipped(sql`selec`)).reason._tag, "SqlSyntaxError")
        assert.deepStrictEqual(yield* sql`select current_user::text as who`, [{ who: "postgres" }])
      })
    )

    it.effect("queues concurrent transactions", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`create table counter (n int)`
        yield* sql`insert into counter values (0)`
        const increment = sql.withTransaction(
          Effect.gen(function* () {
            const [row] = yield* sql<{ n: number }>`select n from counter`
            yield* Effect.sleep("1 millis")
            yield* sql`update counter set n = ${(row?.n ?? 0) + 1}`
          })
        )
        yield* Effect.all(
          Array.from({ length: 50 }, () => increment),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(yield* sql`select n from counter`, [{ n: 50 }])
      })
    )

    const isClean = Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const rows = yield* sql`
      select coalesce(current_setting('app.test', true), '') as setting, current_user::text as who,
        pg_current_xact_id_if_assigned() is null as "noTransaction"`
      assert.deepStrictEqual(rows, [{ setting: "", who: "postgres", noTransaction: true }])
    })

    it.effect("leaves a clean session when a transaction is interrupted", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`create table interrupted (n int)`
        yield* sql`create role somebody`
        yield* sql`grant insert on interrupted to somebody`
        const begun = sql`
        select set_config('app.test', 'secret', true), set_config('role', 'somebody', true)`
        const insert = sql`insert into interrupted values (1)`
        // at any point between its statements
        for (let turns = 0; turns < 40; turns++) {
          const fiber = yield* Effect.forkChild(
            sql.withTransaction(begun.pipe(Effect.andThen(insert), Effect.andThen(Effect.never)))
          )
          for (let turn = 0; turn < turns; turn++) {
            yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
          }
          yield* Fiber.interrupt(fiber)
          yield* isClean
        }
        assert.deepStrictEqual(yield* sql`select * from interrupted`, [])
      })
    )

    it.effect("leaves a clean session when a connection is lost in a transaction", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { connect } = yield* session
        yield* sql`create table lost (n int)`
        yield* sql`select set_config('app.test', 'secret', false)`
        const startup = Buffer.from("\0\0\0\u0017\0\u0003\0\0user\0postgres\0\0", "latin1")
        startup.writeInt32BE(startup.length, 0)
        const transaction = sql.withTransaction(
          Effect.gen(function* () {
            yield* sql`insert into lost values (1)`
            // another connection replaces it
            const other = connect()
            yield* Effect.promise(
              () =>
                new Promise<void>((resolve) => {
                  other.once("data", () => resolve())
                  other.write(startup)
                })
            )
            other.destroy()
            yield* sql`insert into lost values (2)`
          })
        )
        assert.isTrue(Exit.isFailure(yield* Effect.exit(transaction)))
        yield* isClean
        assert.deepStrictEqual(yield* sql`select * from lost`, [])
      })
    )

    it.effect("receives notifications, also after the connection was replaced", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { connect, listen } = yield* session
        const heard: Array<string> = []
        const unlisten = yield* Effect.promise(() => listen("a channel", (payload) => heard.push(payload)))
        const notify = (payload: string) => sql`select pg_notify('a channel', ${payload})`
        yield* notify("1")
        yield* Effect.ignore(sql.withTransaction(Effect.andThen(notify("rolled back"), Effect.fail("no"))))
        yield* sql.withTransaction(notify("2"))
        connect().write(Buffer.from("\0\0\0\u0017\0\u0003\0\0user\0postgres\0\0", "latin1"))
        yield* Effect.retry(sql`select 1`, { times: 3 })
        yield* notify("3")
        yield* Effect.promise(unlisten)
        yield* notify("4")
        yield* sql`select 1`
        assert.deepStrictEqual(heard, ["1", "2", "3"])
      })
    )

    it.effect("keeps the write-ahead log small", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const megabyte = 1024 * 1024
        yield* sql`create table much (t text storage external)`
        for (let n = 0; n < 120; n++) yield* sql`insert into much values (${"x".repeat(megabyte)})`
        const [log] = yield* sql<{ size: number; written: number }>`
        select (select sum(size) from pg_ls_waldir())::float8 as size,
          pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as written`
        assert.isAbove(log?.written ?? 0, 120 * megabyte)
        assert.isAtMost(log?.size ?? Infinity, 64 * megabyte)
      })
    )

    it.effect("is another database each time", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`create table mine (n int)`
        const seen = sql`select to_regclass('mine') is not null as seen`
        const other = Effect.flatMap(
          SqlClient.SqlClient,
          (client) => client`select to_regclass('mine') is not null as seen`
        ).pipe(Effect.provide(PgEmbedded.layerWith({ migrate: false }), { local: true }))
        assert.deepStrictEqual(yield* seen, [{ seen: true }])
        assert.deepStrictEqual(yield* other, [{ seen: false }])
      })
    )
  }
)

describe("the stream behind the client", () => {
  it.live("accepts messages that are split anywhere", () =>
    Effect.gen(function* () {
      const { connect } = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const pglite = await Pglite.load()
          return pglite === undefined
            ? assert.fail("not installed")
            : makeSession(await Pglite.startInMemory(pglite))
        }),
        (running) => Effect.promise(() => running.close())
      )
      const message = (type: string, body: string): Buffer => {
        const buffer = Buffer.from(`${type}\0\0\0\0${body}`, "latin1")
        buffer.writeInt32BE(buffer.length - type.length, type.length)
        return buffer
      }
      const stream = connect()
      let answer = Buffer.alloc(0)
      stream.on("data", (data: Buffer) => (answer = Buffer.concat([answer, data])))
      const ask = (...chunks: ReadonlyArray<Buffer>) =>
        Effect.promise(async () => {
          answer = Buffer.alloc(0)
          for (const chunk of chunks) await new Promise((resolve) => stream.write(chunk, resolve))
          await new Promise((resolve) => setImmediate(resolve))
          return answer
        })
      const bytes = (buffer: Buffer) => Array.from(buffer, (_, at) => buffer.subarray(at, at + 1))

      assert.strictEqual((yield* ask(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))).toString(), "N")
      const ready = yield* ask(...bytes(message("", "\0\u0003\0\0user\0postgres\0\0")))
      assert.strictEqual(ready.toString("latin1", ready.length - 6), "Z\0\0\0\u0005I")
      const parse = message("P", "\0select 'one' as x\0\0\0")
      const run = Buffer.concat([
        message("B", "\0\0\0\0\0\0\0\0"),
        message("E", "\0\0\0\0\0"),
        message("S", "")
      ])
      const one = yield* ask(...bytes(Buffer.concat([parse, run])))
      assert.include(one.toString("latin1"), "one")
      const both = yield* ask(
        Buffer.concat([message("Q", "select 'two'\0"), parse, run, message("Q", "select 'three'\0")])
      )
      assert.match(both.toString("latin1"), /two[^]*one[^]*three/)
      assert.lengthOf(both.toString("latin1").split("Z\0\0\0\u0005I"), 4)
      stream.end(message("X", ""))
    })
  )
})

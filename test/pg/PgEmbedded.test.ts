import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Exit, Fiber, type Scope } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Pglite from "../../src/internal/pglite.ts"
import * as PgliteLock from "../../src/internal/pgliteLock.ts"
import { makeSession, type PgliteSession } from "../../src/internal/pgliteSession.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"

const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "eventsourcing-"))),
  (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
)

/** Opens a data directory for as long as the effect runs. */
const opened =
  (dataDirectory: string) =>
  <A, E>(body: Effect.Effect<A, E, SqlClient.SqlClient>): Effect.Effect<A, E | PgEmbedded.PgEmbeddedError> =>
    Effect.provide(body, PgEmbedded.layerWith({ dataDirectory }), { local: true })

const session: Effect.Effect<PgliteSession, never, SqlClient.SqlClient> = Effect.map(
  SqlClient.SqlClient,
  (sql) => Pglite.sessionOf(sql) ?? assert.fail("not embedded")
)

interface Child {
  readonly pid: number
  readonly line: (pattern: RegExp) => Promise<RegExpExecArray>
  readonly lines: () => string
  readonly ended: Promise<void>
}

/** A process that runs TypeScript given as text, with the modules under test in scope. */
const child = (
  code: string,
  ...nodeArguments: ReadonlyArray<string>
): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href)
      const program = `
        import { Effect } from "effect"
        import { SqlClient } from "effect/sql"
        import * as Fs from "node:fs"
        import * as PgEmbedded from ${url("../../src/pg/PgEmbedded.ts")}
        import * as PgliteLock from ${url("../../src/internal/pgliteLock.ts")}
        const say = (text) => Fs.writeSync(1, text + "\\n")
        ${code}`
      const process_ = ChildProcess.spawn(
        process.execPath,
        [...nodeArguments, "--import", "tsx", "--input-type=module", "-e", program],
        { cwd: new URL("../..", import.meta.url), stdio: ["ignore", "pipe", "pipe"] }
      )
      let output = ""
      let problems = ""
      let check = () => {}
      process_.stdout.on("data", (data: Buffer) => {
        output += data.toString()
        check()
      })
      process_.stderr.on("data", (data: Buffer) => (problems += data.toString()))
      const ended = new Promise<void>((resolve) => process_.on("close", () => resolve()))
      return {
        process_,
        pid: process_.pid ?? 0,
        ended,
        lines: () => output,
        line: (pattern: RegExp) =>
          new Promise<RegExpExecArray>((resolve, reject) => {
            check = () => {
              const match = pattern.exec(output)
              if (match !== null) resolve(match)
            }
            check()
            void ended.then(() => reject(new Error(`the child ended: ${output}${problems}`)))
          })
      }
    }),
    ({ ended, process_ }) =>
      Effect.promise(() => {
        process_.kill("SIGKILL")
        return ended
      })
  )

const codeOf = (error: SqlError.SqlError): unknown =>
  typeof error.reason.cause === "object" && error.reason.cause !== null && "code" in error.reason.cause
    ? error.reason.cause.code
    : undefined

layer(PgEmbedded.layer, { excludeTestServices: true })("PgEmbedded in memory", (it) => {
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

  it.effect("carries every kind of value there and back", () =>
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

  it.effect("takes large values and results", () =>
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
          assert.strictEqual(yield* Effect.flip(inner), "no")
          yield* sql.withTransaction(Effect.andThen(insert(3), sql.withTransaction(insert(4))))
        })
      )
      assert.deepStrictEqual(yield* sql`select n from nested order by n`, [{ n: 1 }, { n: 3 }, { n: 4 }])
    })
  )

  it.effect("classifies errors as a server's", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`create table taken (id int constraint taken_once primary key)`
      yield* sql`insert into taken values (1)`
      const duplicate = yield* Effect.flip(sql`insert into taken values (1)`)
      assert.strictEqual(codeOf(duplicate), "23505")
      assert.deepInclude(duplicate.reason, { _tag: "UniqueViolation", constraint: "taken_once" })

      yield* sql`create role nobody`
      const forbidden = sql.withTransaction(
        Effect.andThen(sql`set local role nobody`, sql`select * from taken`)
      )
      const denied = yield* Effect.flip(forbidden)
      assert.strictEqual(codeOf(denied), "42501")
      assert.strictEqual(denied.reason._tag, "AuthorizationError")

      assert.strictEqual((yield* Effect.flip(sql`selec`)).reason._tag, "SqlSyntaxError")
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
      // wherever it is in the course of its statements
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
      const startup = Buffer.from("\0\0\0\u0017\0\u0003\0\0user\0postgres\0\0", "latin1")
      startup.writeInt32BE(startup.length, 0)
      const transaction = sql.withTransaction(
        Effect.gen(function* () {
          yield* sql`select set_config('app.test', 'secret', false)`
          yield* sql`insert into lost values (1)`
          // another connection takes over
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

  it.effect("hears notifications, also after the connection was replaced", () =>
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
      yield* sql`create table much (t text)`
      for (let n = 0; n < 120; n++) yield* sql`insert into much values (${String(n).repeat(500_000)})`
      const [log] = yield* sql<{ size: number; written: number }>`
        select (select sum(size) from pg_ls_waldir())::float8 as size,
          pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as written`
      assert.isAbove(log?.written ?? 0, 0)
      assert.isAtMost(log?.size ?? Infinity, 64 * 1024 * 1024)
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
      ).pipe(Effect.provide(PgEmbedded.layer, { local: true }))
      assert.deepStrictEqual(yield* seen, [{ seen: true }])
      assert.deepStrictEqual(yield* other, [{ seen: false }])
    })
  )
})

const live = (name: string, body: () => Effect.Effect<void, unknown, Scope.Scope>): void =>
  it.live(name, () => body(), 60_000)

const insertNote = (text: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`create table if not exists notes (text text)`
    yield* sql`insert into notes values (${text})`
  })
const notes = Effect.flatMap(SqlClient.SqlClient, (sql) => sql<{ text: string }>`select text from notes`)

/** A lock left by a process that is gone: this one, as of an earlier start. */
const deadHolder = (token: string): string => {
  const probe = Fs.mkdtempSync(Path.join(Os.tmpdir(), "eventsourcing-"))
  const attempt = PgliteLock.acquire(probe)
  const content = Fs.readFileSync(Path.join(probe, PgliteLock.lockName), "utf8")
  if (attempt._tag === "Acquired") attempt.release()
  Fs.rmSync(probe, { recursive: true })
  return JSON.stringify({ ...(JSON.parse(content) as object), pid: 2 ** 22 + 1, token })
}

describe("the stream behind the client", () => {
  live("understands messages however they are cut", () =>
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

describe("PgEmbedded in a directory", () => {
  live("keeps data over a restart, in a directory for its owner alone", () =>
    Effect.gen(function* () {
      const directory = Path.join(yield* temporaryDirectory, "deep", "data")
      yield* opened(directory)(insertNote("kept"))
      assert.strictEqual(Fs.statSync(directory).mode & 0o777, 0o700)
      assert.deepStrictEqual(yield* opened(directory)(notes), [{ text: "kept" }])
      // 1: shut down in an orderly way
      assert.strictEqual(Fs.readFileSync(Path.join(directory, "global", "pg_control")).readInt32LE(16), 1)
      assert.deepStrictEqual(
        Fs.readdirSync(directory).filter((name) => name.startsWith("effect-")),
        []
      )
    })
  )

  live("does not keep a transaction that was open when the process ended", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const leaving = yield* child(`
        const program = Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql\`create table notes (text text)\`
          yield* sql\`insert into notes values ('committed')\`
          yield* sql.withTransaction(Effect.gen(function* () {
            yield* sql\`insert into notes values ('open')\`
            process.exit(0)
          }))
        })
        const layer = PgEmbedded.layerWith({ dataDirectory: ${JSON.stringify(directory)} })
        Effect.runPromise(Effect.provide(program, layer))`)
      yield* Effect.promise(() => leaving.ended)
      assert.deepStrictEqual(yield* opened(directory)(notes), [{ text: "committed" }])
    })
  )

  live("refuses a second opener in the same process, and lets it in afterwards", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const second = yield* opened(directory)(
        Effect.gen(function* () {
          yield* insertNote("first")
          const error = yield* Effect.flip(opened(`${directory}/../${Path.basename(directory)}/`)(notes))
          assert.deepStrictEqual(yield* notes, [{ text: "first" }])
          return error
        })
      )
      assert.strictEqual(second._tag, "DataDirectoryInUse")
      assert.deepInclude(second, { directory, pid: process.pid })
      assert.include(second.message, directory)
      assert.include(second.message, String(process.pid))
      assert.deepStrictEqual(yield* opened(directory)(notes), [{ text: "first" }])
    })
  )

  live("refuses a second opener in another process", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const other = yield* child(`
        const dataDirectory = ${JSON.stringify(directory)}
        const program = Effect.flip(Effect.provide(SqlClient.SqlClient, PgEmbedded.layerWith({ dataDirectory })))
        process.stdin.unref?.()
        setTimeout(async () => {
          const error = await Effect.runPromise(program)
          say(error._tag + " " + error.pid + " " + error.directory)
        }, 0)`).pipe(
        // the child starts once the directory is open
        (spawned) =>
          opened(directory)(
            Effect.andThen(
              insertNote("first"),
              spawned.pipe(
                Effect.flatMap((running) => Effect.promise(() => running.line(/(\w+) (\d+) (.*)\n/))),
                Effect.scoped
              )
            )
          )
      )
      assert.deepStrictEqual(other.slice(1), ["DataDirectoryInUse", String(process.pid), directory])
    })
  )

  live("keeps what was committed when the process is killed, and takes its lock over", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const writer = yield* child(`
        const program = Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql\`create table numbers (n int primary key)\`
          for (let n = 1; ; n++) {
            yield* sql.withTransaction(sql\`insert into numbers values (\${n})\`)
            say("committed " + n)
          }
        })
        const layer = PgEmbedded.layerWith({ dataDirectory: ${JSON.stringify(directory)} })
        Effect.runPromise(Effect.provide(program, layer))`)
      yield* Effect.promise(() => writer.line(/committed 500\n/))
      const refused = yield* Effect.flip(opened(directory)(Effect.void))
      assert.deepInclude(refused, { _tag: "DataDirectoryInUse", pid: writer.pid })
      process.kill(writer.pid, "SIGKILL")
      yield* Effect.promise(() => writer.ended)
      const committed = Number(/committed (\d+)\n$/.exec(writer.lines())?.[1])
      const [found] = yield* opened(directory)(
        Effect.flatMap(
          SqlClient.SqlClient,
          (sql) => sql<{ last: number; n: number }>`select max(n) as last, count(*)::int as n from numbers`
        )
      )
      // the last one may have been committed without having said so
      assert.isAtLeast(committed, 500)
      assert.include([committed, committed + 1], found?.last)
      assert.strictEqual(found?.n, found?.last)
    })
  )

  live("gives the lock of a dead process to one of many", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const rounds = 40
      const token = (digit: string): string => `${digit.repeat(8)}-0000-0000-0000-000000000000`
      for (let round = 0; round < rounds; round++) {
        const lock = Path.join(directory, String(round), PgliteLock.lockName)
        Fs.mkdirSync(Path.dirname(lock))
        Fs.writeFileSync(lock, deadHolder(token("a")))
        // as left behind by one who died while it took the lock over
        if (round % 2 === 1) Fs.writeFileSync(`${lock}.${token("a")}.claim`, deadHolder(token("b")))
      }
      const racers = yield* Effect.all(
        Array.from({ length: 5 }, () =>
          child(`
            const directory = ${JSON.stringify(directory)}
            say("ready")
            while (!Fs.existsSync(directory + "/go")) {}
            const begin = Number(Fs.readFileSync(directory + "/go", "utf8"))
            for (let round = 0; round < ${rounds}; round++) {
              while (Date.now() < begin + round * 20) {}
              const attempt = PgliteLock.acquire(directory + "/" + round)
              say("round " + round + " " + attempt._tag)
            }
            say("done")
            setInterval(() => {}, 1000)`)
        )
      )
      yield* Effect.promise(() => Promise.all(racers.map((racer) => racer.line(/ready\n/))))
      Fs.writeFileSync(Path.join(directory, "starting"), String(Date.now() + 100))
      Fs.renameSync(Path.join(directory, "starting"), Path.join(directory, "go"))
      yield* Effect.promise(() => Promise.all(racers.map((racer) => racer.line(/done\n/))))
      for (let round = 0; round < rounds; round++) {
        const winners = racers.filter((racer) => racer.lines().includes(`round ${round} Acquired\n`))
        assert.lengthOf(winners, 1, `round ${round}`)
        const folder = Path.join(directory, String(round))
        assert.deepStrictEqual(Fs.readdirSync(folder), [PgliteLock.lockName])
        assert.include(
          Fs.readFileSync(Path.join(folder, PgliteLock.lockName), "utf8"),
          `"pid":${winners[0]?.pid},`
        )
      }
    })
  )

  live("does not take over a lock that it cannot judge", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const lockFile = Path.join(directory, PgliteLock.lockName)
      const elsewhere = { pid: 7, host: "elsewhere", boot: "", started: "", token: "0".repeat(36) }
      Fs.writeFileSync(lockFile, JSON.stringify(elsewhere))
      const remote = yield* Effect.flip(opened(directory)(Effect.void))
      assert.deepInclude(remote, { _tag: "DataDirectoryInUse", pid: 7, host: "elsewhere", lockFile })
      Fs.writeFileSync(lockFile, "what is this")
      const unreadable = yield* Effect.flip(opened(directory)(Effect.void))
      assert.strictEqual(unreadable._tag, "DataDirectoryInUse")
      assert.include(unreadable.message, lockFile)
      Fs.rmSync(lockFile)
      yield* opened(directory)(insertNote("free"))
    })
  )

  live("makes a database anew that was not finished", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      for (const name of ["effect-eventsourcing.creating", "PG_VERSION"]) {
        Fs.writeFileSync(Path.join(directory, name), "")
      }
      yield* opened(directory)(insertNote("new"))
      assert.deepStrictEqual(yield* opened(directory)(notes), [{ text: "new" }])
    })
  )

  live("says what is wrong with a directory, and leaves it as it is", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const attempt = (name: string) => Effect.flip(opened(Path.join(root, name))(Effect.void))

      Fs.mkdirSync(Path.join(root, "foreign"))
      Fs.writeFileSync(Path.join(root, "foreign", "thesis.txt"), "mine")
      const foreign = yield* attempt("foreign")
      assert.deepInclude(foreign, { _tag: "DataDirectoryUnusable", directory: Path.join(root, "foreign") })
      assert.include(foreign.message, "not a database")
      assert.deepStrictEqual(Fs.readdirSync(Path.join(root, "foreign")), ["thesis.txt"])

      Fs.writeFileSync(Path.join(root, "file"), "")
      assert.strictEqual((yield* attempt("file"))._tag, "DataDirectoryUnusable")
      assert.strictEqual((yield* attempt("file/below"))._tag, "DataDirectoryUnusable")

      yield* opened(Path.join(root, "damaged"))(insertNote("lost"))
      const control = Path.join(root, "damaged", "global", "pg_control")
      const intact = Fs.readFileSync(control)
      Fs.writeFileSync(control, "x".repeat(8192))
      const damaged = yield* attempt("damaged")
      assert.strictEqual(damaged._tag, "DataDirectoryUnusable")
      assert.include(damaged.message, "database files are incompatible with server")
      Fs.rmSync(control)
      assert.include((yield* attempt("damaged")).message, "pg_control")
      // the failures have not taken the lock with them
      Fs.writeFileSync(control, intact)
      assert.deepStrictEqual(yield* opened(Path.join(root, "damaged"))(notes), [{ text: "lost" }])
    })
  )
})

describe("PgEmbedded without PGlite", () => {
  live("says what to install", () =>
    Effect.gen(function* () {
      const hook =
        "export const resolve = async (name, context, next) => {" +
        " if (name !== '@electric-sql/pglite') return next(name, context);" +
        " throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' }) }"
      const register = `import { register } from "node:module"; register("data:text/javascript," + encodeURIComponent(${JSON.stringify(hook)}))`
      const without = yield* child(
        `const error = await Effect.runPromise(Effect.flip(Effect.provide(SqlClient.SqlClient, PgEmbedded.layer)))
        say(error._tag + ": " + error.message)`,
        "--import",
        `data:text/javascript,${encodeURIComponent(register)}`
      )
      const [, text] = yield* Effect.promise(() => without.line(/PgliteNotInstalled: (.*)\n/))
      assert.include(text, "npm install @electric-sql/pglite")
    })
  )
})

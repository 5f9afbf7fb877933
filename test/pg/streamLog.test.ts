/** Logs that are read as a whole on a server: their consumers and their connections. */
import { assert, layer } from "@effect/vitest"
import { PgClient } from "@effect/sql-pg"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { event, events, stream } from "../../src/testing/driver/eventKit.ts"
import { as, Note, write } from "../../src/testing/isolation/kit.ts"
import { type Config, servers } from "../support/Databases.ts"
import { make as makeProxy } from "../support/TcpProxy.ts"
import { layerOn, type Store, TenantDatabase } from "../support/tenantDatabase.ts"

const written = (text: string) =>
  event({ eventType: "Noted", payload: JSON.stringify({ _tag: "Noted", text }) })

/** Appends notes for a tenant: more than a page and less than two statements. */
const fill = (tenant: Tenant.TenantId, count = 2_000) =>
  EventStorage.use((storage) =>
    storage.append({
      tenantId: tenant,
      streams: [
        stream(
          "1",
          Array.from({ length: count }, (_, n) => written(`${n}`)),
          "any",
          Note.type
        )
      ]
    })
  )

const upTo = (count: number) => Array.from({ length: count }, (_, n) => `${n}`)

const log = Stream.unwrap(
  Effect.map(EventStore.EventStore, (store) => store.readLog({ aggregates: [Note] }))
).pipe(Stream.map(({ payload }) => (payload._tag === "Noted" ? payload.text : "")))

const backend = SqlClient.SqlClient.use((sql) => sql<{ pid: number }>`select pg_backend_pid() as pid`)

for (const server of servers) {
  layer(layerOn(server), { excludeTestServices: true })(`a log that is read on ${server.name}`, (it) => {
    const on = <A, E>(config: Partial<Config>, run: Effect.Effect<A, E, Store>) =>
      TenantDatabase.use(({ store }) =>
        Effect.flatMap(store(config), (services) => Effect.provideContext(run, services))
      ).pipe(Effect.scoped, Effect.timeout("20 seconds"))

    it.effect("is sent while it is read by the index, and not sorted", () =>
      on(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const tenant = yield* Tenant.generate
          yield* fill(tenant, 10)
          const rows = yield* sql.withTransaction(
            Effect.andThen(
              sql`select eventsourcing.begin_reading(${tenant}::uuid)`,
              sql.unsafe<{ "QUERY PLAN": string }>(
                `explain select events, payloads from eventsourcing.stream_log('${tenant}'::uuid, 1::bigint, 9999::bigint, '{a}', '{b}')`
              )
            )
          )
          const plan = rows.map((row) => row["QUERY PLAN"]).join("\n")
          assert.match(plan, /Index Scan using events_pkey/)
          assert.match(plan, /position" >= s\.first/)
          assert.notMatch(plan, /Scan on stream_log|Sort|Seq Scan|Gather|Materialize/)
        })
      )
    )

    it.effect("is that of the transaction's tenant, for any requested tenant", () =>
      on(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const [tenant, other] = [yield* Tenant.generate, yield* Tenant.generate]
          yield* fill(tenant, 10)
          yield* fill(other, 10)
          const rows = yield* sql.withTransaction(
            Effect.andThen(
              sql`select eventsourcing.begin_reading(${tenant}::uuid)`,
              sql`select events from eventsourcing.stream_log(${other}::uuid, 1::bigint, 9999::bigint, null, null)`
            )
          )
          assert.deepStrictEqual(rows, [])
        })
      )
    )

    it.effect("does not count the time of its consumer", () =>
      on(
        { maxConnections: 2, startupParameters: { statement_timeout: "300ms" } },
        Effect.gen(function* () {
          const tenant = yield* Tenant.generate
          yield* fill(tenant)
          const texts: Array<string> = []
          let pages = 0
          yield* log.pipe(
            Stream.runForEachArray((page) =>
              Effect.suspend(() => {
                texts.push(...page)
                return pages++ < 4 ? Effect.sleep("150 millis") : Effect.void
              })
            ),
            as(tenant)
          )
          assert.deepStrictEqual(texts, upTo(2_000))
        })
      )
    )

    it.effect("leaves its connection unchanged if its consumer ends early or is interrupted", () =>
      on(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const tenant = yield* Tenant.generate
          yield* fill(tenant)
          const before = yield* backend
          assert.lengthOf(yield* log.pipe(Stream.take(600), Stream.runCollect, as(tenant)), 600)
          assert.deepStrictEqual(yield* backend, before)
          const reached = yield* Deferred.make<void>()
          const reading = yield* log.pipe(
            Stream.runForEach((text) =>
              text === "700"
                ? Effect.andThen(Deferred.succeed(reached, undefined), Effect.never)
                : Effect.void
            ),
            as(tenant),
            Effect.forkChild
          )
          yield* Deferred.await(reached)
          yield* Fiber.interrupt(reading)
          assert.deepStrictEqual(yield* backend, before)
          assert.deepStrictEqual(yield* log.pipe(Stream.runCollect, as(tenant)), upTo(2_000))
        })
      )
    )

    it.effect("shares a pool of one connection with its consumer", () =>
      on(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const tenant = yield* Tenant.generate
          yield* fill(tenant)
          let read = 0
          yield* log.pipe(
            Stream.take(2_000),
            Stream.runForEach(() => (read++ % 100 === 0 ? write("more") : Effect.void)),
            as(tenant)
          )
          assert.isAbove((yield* log.pipe(Stream.runCollect, as(tenant))).length, 2_010)
        })
      )
    )

    it.effect("comes in one transaction while its consumer takes it as fast as it comes", () =>
      Effect.gen(function* () {
        const database = yield* TenantDatabase
        const proxy = yield* makeProxy(database.app)
        const services = yield* database.store({
          host: "127.0.0.1",
          port: proxy.port,
          maxConnections: 4,
          prepare: false
        })
        yield* Effect.gen(function* () {
          const tenant = yield* Tenant.generate
          yield* fill(tenant, 5_000)
          let read = 0
          const commit = proxy.hold("COMMIT", "before")
          const reading = yield* log.pipe(
            Stream.runForEach(() => Effect.sync(() => void read++)),
            as(tenant),
            Effect.forkChild
          )
          yield* commit.held
          // more than the first page and the first statement
          assert.isAbove(read, 500 + 1024)
          yield* commit.release
          yield* Fiber.join(reading)
          assert.strictEqual(read, 5_000)
        }).pipe(Effect.provideContext(services))
      }).pipe(Effect.scoped, Effect.timeout("20 seconds"))
    )

    it.effect("contains the events of the open transaction in which it is read", () =>
      on(
        { maxConnections: 2 },
        Effect.gen(function* () {
          const tenant = yield* Tenant.generate
          yield* fill(tenant, 1_000)
          const texts = yield* PgTenant.transaction(
            Effect.andThen(fill(tenant, 1_000), Stream.runCollect(log))
          ).pipe(as(tenant))
          assert.deepStrictEqual(texts, [...upTo(1_000), ...upTo(1_000)])
        })
      )
    )

    it.effect("fails with the place of an undecodable event, after the events before it", () =>
      on(
        { maxConnections: 2 },
        Effect.gen(function* () {
          const tenant = yield* Tenant.generate
          yield* fill(tenant, 1_200)
          yield* EventStorage.use((storage) =>
            storage.append({ tenantId: tenant, streams: [stream("2", events(1), "any", Note.type)] })
          )
          yield* fill(tenant, 1_000)
          let read = 0
          const failure = yield* log.pipe(
            Stream.runForEach(() => Effect.sync(() => read++)),
            Effect.flip,
            as(tenant)
          )
          assert.strictEqual(read, 1_200)
          assert.strictEqual(failure._tag === "Undecodable" && failure.reason.position, 1_201)
        })
      )
    )

    for (const state of ["silent", "cut", "silent before it"] as const) {
      const test = () =>
        Effect.gen(function* () {
          const database = yield* TenantDatabase
          const proxy = yield* makeProxy(database.app)
          const services = yield* database.store({
            host: "127.0.0.1",
            port: proxy.port,
            maxConnections: 4,
            prepare: false
          })
          yield* Effect.gen(function* () {
            const tenant = yield* Tenant.generate
            yield* fill(tenant)
            const reached =
              state === "cut"
                ? proxy.cut("eventsourcing.stream_log", "after").done
                : proxy.hold("eventsourcing.stream_log", state === "silent" ? "after" : "before").held
            assert.deepStrictEqual(yield* log.pipe(Stream.runCollect, as(tenant)), upTo(2_000))
            yield* reached
          }).pipe(Effect.provideContext(services))
        }).pipe(
          Effect.scoped,
          Effect.provideService(PgTenant.Silence, Duration.seconds(1)),
          Effect.timeout("20 seconds")
        )
      const title = `is read to its end, each event once, if its connection is ${state}`
      // At once, because they wait for the deadline most of the time.
      it.effect(title, test, { concurrent: true })
    }

    it.effect("is read also from a database without the function to stream", () =>
      Effect.gen(function* () {
        const { outside, owner } = yield* TenantDatabase
        const sql = Context.get(
          yield* Layer.build(PgClient.layer({ ...owner, maxConnections: 1 })),
          PgClient.PgClient
        )
        yield* outside("revoke execute on function eventsourcing.begin_reading from eventsourcing_tenant")
        const read = on(
          { maxConnections: 2 },
          Effect.gen(function* () {
            const tenant = yield* Tenant.generate
            yield* fill(tenant)
            return yield* log.pipe(Stream.runCollect, as(tenant))
          })
        )
        const texts = yield* Effect.ensuring(
          read,
          Effect.orDie(sql`grant execute on function eventsourcing.begin_reading to eventsourcing_tenant`)
        )
        assert.deepStrictEqual(texts, upTo(2_000))
      }).pipe(Effect.scoped)
    )
  })
}

/** Long backlogs on a server: read beside the transaction in which they are handled. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Schedule, Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as Projection from "../../src/projection/Projection.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import {
  append,
  beside,
  Database,
  drain,
  drainUntilLive,
  eventually,
  isLive,
  newProcess,
  noted,
  Order,
  progressOf,
  serverDatabases,
  startRebuild,
  tenants
} from "../support/projected.ts"

const many = (count: number) => Array.from({ length: count }, () => noted)

/** Records events in batches. `before` runs before a batch with the given first position. */
const journal = (
  options: Partial<Projection.BatchOptions<readonly [typeof Order], "Noted">> = {},
  before: (position: number) => Effect.Effect<unknown, unknown> = () => Effect.void
) =>
  Projection.makeBatched(
    "journal",
    { aggregates: [Order], tables: ["journal"], batchSize: 250, retry: Schedule.recurs(0), ...options },
    (envelopes) =>
      Effect.andThen(
        before(envelopes[0].position),
        SqlClient.SqlClient.use(
          (sql) => sql`insert into journal (tenant_id, position, worker)
            select ${envelopes[0].tenantId}::uuid, p, 'one' from unnest(${envelopes.map(({ position }) => position)}::float8[]) p`
        )
      )
  )

/** Fails unless the journal has these positions of a tenant, in their order. The table allows none of them twice. */
const hasJournal = (tenantId: Tenant.TenantId, positions: ReadonlyArray<number>) =>
  Effect.flatMap(Database, ({ owner }) =>
    Effect.map(
      owner<{ position: number }>`select position::int as position from journal
        where tenant_id = ${tenantId}::uuid order by n`,
      (rows) =>
        assert.deepStrictEqual(
          rows.map(({ position }) => position),
          positions
        )
    )
  )

const from1 = (count: number) => Array.from({ length: count }, (_, n) => n + 1)

/** A process that counts the rows that it reads in pages, and from readers. */
const counted = (read: { pages: number; readers: number }, config: Partial<PgClient.PgPoolConfig> = {}) =>
  Layer.unwrap(
    Database.useSync(({ app }) => {
      const counting = Layer.effect(
        EventStorage.EventStorage,
        Effect.map(EventStorage.EventStorage, (events) => ({
          ...events,
          readLog: (request: EventStorage.ReadLogRequest) =>
            Effect.tap(events.readLog(request), ({ rows }) => Effect.sync(() => (read.pages += rows.length))),
          openLog: (request: EventStorage.OpenLogRequest) =>
            Effect.map(
              events.openLog(request),
              (reader) =>
                reader && {
                  ...reader,
                  step: (limit: number) =>
                    Effect.tap(reader.step(limit), ({ rows }) =>
                      Effect.sync(() => (read.readers += rows.length))
                    )
                }
            )
        }))
      )
      return EventStore.layer.pipe(
        Layer.provideMerge(counting),
        Layer.provideMerge(PgStorage.layer),
        Layer.provideMerge(PgClient.layer({ ...app, ...config })),
        Layer.orDie
      )
    })
  ).pipe(Layer.fresh)

describe.each(serverDatabases)("on $name", (database) => {
  layer(newProcess.pipe(Layer.provideMerge(database.layer)), { excludeTestServices: true })((it) => {
    it.effect("a backlog is read beside the transaction in which its handlers write", () =>
      Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        const read = { pages: 0, readers: 0 }
        yield* append(tenant, "one", ...many(6000))
        yield* drainUntilLive(tenant, 6000, "journal").pipe(
          beside([journal()]),
          Effect.provide(counted(read), { local: true })
        )
        yield* hasJournal(tenant, from1(6000))
        assert.isAtLeast(read.readers, 3000)
      })
    )

    it.effect("a failure in the middle of it blames its own event only, and no event is repeated", () =>
      Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, "one", ...many(3000))
        const failing = Projection.make(
          "journal",
          { aggregates: [Order], tables: ["journal"], retry: Schedule.recurs(1), onFailure: "deadLetter" },
          {
            Noted: (_, { position, tenantId }) =>
              SqlClient.SqlClient.use(
                (sql) => sql`insert into journal (tenant_id, position, worker)
                  values (${tenantId}::uuid, ${position === 2222 ? null : position}, 'one')`
              )
          }
        )
        yield* drainUntilLive(tenant, 3000, "journal").pipe(beside([failing]))
        yield* hasJournal(
          tenant,
          from1(3000).filter((position) => position !== 2222)
        )
        const letters = yield* ProjectionStorage.use((storage) =>
          storage.deadLetters({ tenantId: tenant, projection: "journal", version: 1, after: 0, limit: 10 })
        )
        assert.deepStrictEqual(
          letters.map(({ attempts, position }) => [position, attempts]),
          [[2222, 2]]
        )
      })
    )

    it.effect("4 workers with 2 connections end soon, and appends go on", () =>
      Effect.gen(function* () {
        const all = yield* tenants(3)
        const [other = Tenant.untenanted, ...behind] = all
        for (const tenant of behind) yield* append(tenant, "one", ...many(2500))
        const read = { pages: 0, readers: 0 }
        yield* Effect.gen(function* () {
          const appending = yield* Effect.forkChild(
            Effect.forEach(from1(20), () => append(other, "two", noted), { discard: true })
          )
          yield* eventually(
            Effect.forEach(behind, (tenant) => isLive(tenant, 2500, "journal"), { discard: true })
          )
          yield* Fiber.join(appending)
          yield* eventually(isLive(other, 20, "journal"))
        }).pipe(
          beside([journal()], { concurrency: 4, pollInterval: "50 millis" }),
          Effect.provide(counted(read, { maxConnections: 2 }), { local: true }),
          Effect.timeout("15 seconds")
        )
        for (const tenant of behind) yield* hasJournal(tenant, from1(2500))
        yield* hasJournal(other, from1(20))
      })
    )

    it.effect("a rebuild starts, and a runner stops, in the middle of a long transaction", () =>
      Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        const other = yield* Layer.build(newProcess)
        yield* append(tenant, "one", ...many(4000))
        const reached = yield* Deferred.make<void>()
        const waiting = journal({}, (position) =>
          position > 2000 ? Effect.andThen(Deferred.succeed(reached, undefined), Effect.never) : Effect.void
        )
        const scope = yield* Scope.make()
        const stuck = yield* Effect.forkIn(drain.pipe(beside([waiting])), scope)
        yield* Deferred.await(reached)
        yield* startRebuild(tenant, "journal").pipe(Effect.provideContext(other), Effect.timeout("5 seconds"))
        yield* Scope.close(scope, Exit.void).pipe(Effect.timeout("5 seconds"))
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(stuck)))
        // nothing of the interrupted transaction is left
        yield* hasJournal(tenant, [])
        assert.strictEqual((yield* progressOf(tenant, "journal")).live?.position ?? 0, 0)
        yield* drainUntilLive(tenant, 4000, "journal").pipe(beside([journal()]))
        yield* hasJournal(tenant, from1(4000))
      }).pipe(Effect.scoped)
    )
  })
})

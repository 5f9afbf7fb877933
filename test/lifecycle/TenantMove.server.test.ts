/** Moves between two databases of a server, which really work concurrently. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, References } from "effect"
import { SqlClient } from "effect/sql"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantMove from "../../src/lifecycle/TenantMove.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import {
  changeSubject,
  forgetting,
  forgottenSubjects,
  listedSubjects
} from "../../src/testing/driver/administrationKit.ts"
import { flipped } from "../../src/testing/failures.ts"
import { servers } from "../support/Databases.ts"
import { administer } from "../support/moving.ts"
import { fill, Followers, movedUnderLoad } from "../support/movingLoad.ts"
import { program, setup } from "../support/movingSilos.ts"

const silent = Effect.provideService(References.CurrentLoggers, new Set())

const write = (n: number) =>
  PgTenant.transaction(
    Effect.gen(function* () {
      const [tenantId, sql] = [yield* Tenant.CurrentTenant, yield* SqlClient.SqlClient]
      yield* sql`insert into notes ${sql.insert({ tenant_id: tenantId, n })}`
    })
  )

const noted = PgTenant.transaction(
  SqlClient.SqlClient.use((sql) => sql<{ n: number }>`select n from notes order by n`)
).pipe(Effect.map((rows) => rows.map(({ n }) => n)))

for (const server of servers)
  describe(`moves on ${server.name}`, () => {
    it.live("a tenant in full use moves into a silo, and nothing is lost, doubled or skipped", () =>
      Effect.gen(function* () {
        const { entries, known, tenantId } = yield* setup(server)
        const followers = new Followers(tenantId)
        const services = followers.layer.pipe(Layer.provideMerge(program(known, entries)))
        yield* Effect.gen(function* () {
          yield* fill(tenantId, 2000)
          // rows of the program, in transactions without appends
          let [written, ended] = [0, false]
          const writing = yield* Effect.forkChild(
            Effect.gen(function* () {
              while (!ended) {
                yield* write(written + 1)
                written++
                yield* Effect.sleep("2 millis")
              }
            }).pipe(Tenant.provide(tenantId))
          )
          yield* changeSubject(tenantId, "ada", forgetting())
          yield* changeSubject(tenantId, "bob", { change: "hold", reason: "lawsuit" })
          const subjects = yield* listedSubjects(tenantId)
          const { acknowledged, millis, moved } = yield* movedUnderLoad(followers, "silo")
          assert.deepStrictEqual(yield* listedSubjects(tenantId), subjects)
          assert.strictEqual((yield* forgottenSubjects(tenantId)).forgotten, 1)
          ended = true
          yield* Fiber.join(writing)
          assert.isAbove(acknowledged, 100)
          assert.isTrue(moved.removed)
          assert.isBelow(millis.at(-1) ?? Infinity, 5000)
          const rows = yield* Tenant.provide(tenantId)(noted)
          assert.deepStrictEqual(
            rows,
            Array.from({ length: written }, (_, n) => n + 1)
          )
          for (const [place, count] of [
            ["pool", 0],
            ["silo", written]
          ] as const)
            assert.deepStrictEqual(
              yield* (known.get(place) ?? assert.fail(place)).outside(
                "select count(*)::integer as count from notes where tenant_id = $1",
                [tenantId]
              ),
              [{ count }]
            )
        }).pipe(Effect.provide(services))
      }).pipe(Effect.scoped, silent)
    )

    it.live(
      "a transaction that is open during the move keeps its rows, and one that appends is refused",
      () =>
        Effect.gen(function* () {
          const { entries, known, tenantId } = yield* setup(server)
          yield* Effect.gen(function* () {
            yield* fill(tenantId, 500)
            const [begun, fenced, decided] = [
              yield* Deferred.make<void>(),
              yield* Deferred.make<void>(),
              yield* Deferred.make<void>()
            ]
            const open = yield* Effect.forkChild(
              Tenant.provide(tenantId)(
                PgTenant.transaction(
                  Effect.gen(function* () {
                    const sql = yield* SqlClient.SqlClient
                    yield* Deferred.succeed(begun, undefined)
                    yield* Deferred.await(fenced)
                    yield* sql`insert into notes ${sql.insert({ tenant_id: tenantId, n: 1 })}`
                    const refused = yield* Effect.exit(fill(tenantId, 500))
                    yield* Deferred.await(decided)
                    return refused
                  })
                )
              )
            )
            yield* Deferred.await(begun)
            const moving = yield* Effect.forkChild(
              TenantMove.TenantMove.use((moves) =>
                administer(
                  moves.start(tenantId, {
                    to: "silo",
                    onProgress: ({ step }) =>
                      step === "fenced" ? Effect.asVoid(Deferred.succeed(fenced, undefined)) : Effect.void
                  })
                )
              )
            )
            yield* Deferred.await(fenced)
            yield* Effect.sleep("100 millis")
            yield* Deferred.succeed(decided, undefined)
            const refused = yield* Fiber.await(open)
            yield* Fiber.join(moving)
            assert.isTrue(Exit.isFailure(refused) || Exit.isFailure(refused.value))
            // a transaction that was refused an append may still commit
            assert.deepStrictEqual(yield* Tenant.provide(tenantId)(noted), Exit.isSuccess(refused) ? [1] : [])
          }).pipe(Effect.provide(program(known, entries)))
        }).pipe(Effect.scoped, silent)
    )

    it.live(
      "a database of an older schema is refused before anything is changed, and so are undeclared tables",
      () =>
        Effect.gen(function* () {
          const { entries, known, tenantId } = yield* setup(server)
          const [pool, silo] = [
            known.get("pool") ?? assert.fail("pool"),
            known.get("silo") ?? assert.fail("silo")
          ]
          const start = TenantMove.TenantMove.use((moves) =>
            administer(moves.start(tenantId, { to: "silo" }))
          )
          const run = <A, E>(effect: Effect.Effect<A, E, Layer.Success<ReturnType<typeof program>>>) =>
            Effect.provide(effect, Layer.fresh(program(known, entries)))
          yield* run(fill(tenantId, 500))
          yield* pool.outside(
            "create table secrets (tenant_id uuid not null, n integer, primary key (tenant_id, n))"
          )
          yield* pool.outside("select eventsourcing.protect_tenant_table('secrets')")
          yield* pool.outside("insert into secrets values ($1, 1)", [tenantId])
          const undeclared = yield* flipped(run(start))
          assert.containSubset(undeclared, { _tag: "MoveRefused", reason: "undeclaredTables" })
          assert.include(undeclared.message, "public.secrets")
          yield* pool.outside("select eventsourcing.declare_table('secrets', 'keptOut', 'a test')")
          yield* silo.outside("drop function eventsourcing.moving_tenants(uuid)")
          yield* silo.outside(
            "create or replace function eventsourcing.schema_version() returns integer language sql as 'select 0'"
          )
          const outdated = yield* flipped(run(start))
          assert.containSubset(outdated, {
            _tag: "StorageUnavailable",
            code: "SchemaOutdated",
            retryable: false
          })
          assert.deepStrictEqual(
            yield* pool.outside("select status from eventsourcing.tenants where tenant_id = $1", [tenantId]),
            [{ status: "active" }]
          )
          assert.deepStrictEqual(yield* silo.outside("select 1 from eventsourcing.tenants"), [])
        }).pipe(Effect.scoped, silent)
    )
  })

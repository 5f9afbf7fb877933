/** Transactions when tenants are in separate databases, and where a database was chosen. */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Exit, Layer, Stream } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import * as Decisions from "../../src/store/Decisions.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as HashChain from "../../src/store/HashChain.ts"
import * as PgSilo from "../../src/pg/PgSilo.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Account, deposited } from "../support/bank.ts"
import { servers } from "../support/Databases.ts"
import { offer } from "../support/enrolment.ts"
import { append, orders, placed, rowsOf } from "../support/projected.ts"
import { acrossTenants, ids, insert, names, setup } from "../support/siloTenants.ts"
import { flipped, mismatches } from "../../src/testing/failures.ts"

/** Fails unless a transaction fails, also if the defect in it is caught. */
const ends = <A, E, R>(transaction: Effect.Effect<A, E, R>): Effect.Effect<void, never, R> =>
  Effect.map(Effect.exit(transaction), (exit) => assert.isTrue(Exit.isFailure(exit)))

const sql = SqlClient.SqlClient
const noted = (text: string) => sql.use((client) => client`insert into notes (text) values (${text})`)
const note = (text: string) => noted(text).pipe(Effect.asVoid)

/** The refusal of a statement of a tenant in another tenant's transaction. */
const isRefused = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(flipped(effect), (error) => {
    assert.isTrue(SqlError.isSqlError(error))
    if (!SqlError.isSqlError(error)) return
    assert.strictEqual(error.reason._tag, "AuthorizationError")
    assert.deepStrictEqual(error.reason.cause, { code: "ES001" })
  })

for (const server of servers) {
  describe(`transactions over silos on ${server.name}`, () => {
    /** The tenants, and a table in each database that nothing protects. */
    const prepared = Effect.gen(function* () {
      const given = yield* setup(server)
      for (const placement of names) {
        yield* given.place(placement).outside("create table notes (text text)")
        yield* given.place(placement).outside("grant all on notes to public")
      }
      const notes = Effect.forEach(names, (placement) =>
        Effect.map(
          given.place(placement).outside<{ text: string }>("select text from notes order by text"),
          (rows) => rows.map(({ text }) => text)
        )
      )
      return { ...given, notes }
    })

    it.live("all work for a tenant of another database is refused in a transaction", () =>
      Effect.gen(function* () {
        const { a, b, inPool, notes, store } = yield* prepared
        yield* Effect.gen(function* () {
          const client = yield* sql
          const silo = yield* PgSilo.PgSilo
          const transactions = [
            <A, E, R>(effect: Effect.Effect<A, E, R>) =>
              client.withTransaction(effect).pipe(Tenant.provide(a)),
            <A, E, R>(effect: Effect.Effect<A, E, R>) => PgTenant.transaction(effect).pipe(Tenant.provide(a)),
            <A, E, R>(effect: Effect.Effect<A, E, R>) => silo.on("silo-a")(client.withTransaction(effect))
          ]
          const statement = client`insert into notes (text) values ('wrong')`
          const statements = [
            statement,
            statement.raw,
            statement.values,
            statement.unprepared,
            statement.withoutTransform,
            Stream.runDrain(statement.stream),
            client.unsafe("insert into notes (text) values ('wrong')"),
            client.safe`insert into notes (text) values ('wrong')`,
            client.withoutTransforms()`insert into notes (text) values ('wrong')`,
            client.withTransaction(Effect.void),
            client.withTransaction(statement),
            Effect.scoped(client.reserve)
          ]
          for (const other of [b, inPool]) {
            for (const transaction of transactions) {
              for (const refused of [
                ...statements,
                PgTenant.transaction(statement),
                append(other, "1", placed(1)),
                ids
              ]) {
                const caught = refused.pipe(Tenant.provide(other), Effect.exit)
                yield* ends(transaction(Effect.andThen(client.withTransaction(note("wrong")), caught)))
              }
              yield* transaction(client.withTransaction(note("right")))
            }
          }
        }).pipe(Effect.provide(store()))
        assert.deepStrictEqual(yield* notes, [[], Array.from({ length: 6 }, () => "right"), []])
      }).pipe(Effect.scoped)
    )

    it.live("tenants of one database are treated in transactions as without silos", () =>
      Effect.gen(function* () {
        const { entries, inPool, notes, place, store } = yield* prepared
        const neighbour = yield* Tenant.generate
        entries.set(neighbour, "pool")
        yield* Effect.gen(function* () {
          const client = yield* sql
          yield* append(neighbour, "1", placed(1))
          yield* client
            .withTransaction(
              Effect.andThen(
                note("plain").pipe(Tenant.provide(neighbour)),
                client.withTransaction(note("nested")).pipe(Tenant.provide(neighbour))
              )
            )
            .pipe(Tenant.provide(inPool))
          yield* PgTenant.transaction(
            Effect.gen(function* () {
              yield* insert(inPool, "own")
              yield* note("bound").pipe(Tenant.provide(neighbour))
            })
          ).pipe(Tenant.provide(inPool))
          yield* PgTenant.transaction(
            PgTenant.transaction(note("wrong")).pipe(Tenant.provide(neighbour))
          ).pipe(Tenant.provide(inPool), mismatches)
          // The database itself decides.
          yield* PgTenant.transaction(insert(neighbour, "wrong").pipe(Tenant.provide(neighbour))).pipe(
            Tenant.provide(inPool),
            flipped
          )
        }).pipe(Effect.provide(store()))
        assert.deepStrictEqual(yield* notes, [["bound", "nested", "plain"], [], []])
        const rows = yield* place("pool").outside("select tenant_id::text as tenant, order_id from orders")
        assert.deepStrictEqual(rows, [{ tenant: inPool, order_id: "own" }])
      }).pipe(Effect.scoped)
    )

    it.live("a database cannot be chosen in a transaction of another one", () =>
      Effect.gen(function* () {
        const { a, notes, store } = yield* prepared
        yield* Effect.gen(function* () {
          const client = yield* sql
          const { on } = yield* PgSilo.PgSilo
          const elsewhere = Effect.gen(function* () {
            yield* on("silo-b")(note("wrong")).pipe(isRefused)
            yield* on("silo-b")(client.withTransaction(note("wrong"))).pipe(isRefused)
            yield* on("silo-a")(note("right"))
          })
          yield* client.withTransaction(elsewhere).pipe(Tenant.provide(a))
          yield* PgTenant.transaction(elsewhere).pipe(Tenant.provide(a))
          yield* on("silo-a")(client.withTransaction(elsewhere))
          const inBoth = <A, E, R>(refused: Effect.Effect<A, E, R>) => {
            const both = Effect.andThen(note("wrong"), refused)
            return Effect.andThen(ends(client.withTransaction(both)), ends(PgTenant.transaction(both))).pipe(
              Tenant.provide(a)
            )
          }
          yield* inBoth(on("silo-b")(PgTenant.transaction(note("wrong"))))
          yield* inBoth(on("silo-b")(append(a, "1", placed(1))))
          assert.lengthOf(yield* ids.pipe(Tenant.provide(a)), 0)
        }).pipe(Effect.provide(store()))
        assert.deepStrictEqual(yield* notes, [[], ["right", "right", "right"], []])
      }).pipe(Effect.scoped)
    )

    it.live("with a chosen database, work for a tenant of another one is refused", () =>
      Effect.gen(function* () {
        const { a, b, store, tenants } = yield* prepared
        yield* Effect.gen(function* () {
          const { on } = yield* PgSilo.PgSilo
          const storage = yield* EventStore.EventStore
          yield* on("silo-a")(
            Effect.gen(function* () {
              yield* append(b, "1", placed(1)).pipe(mismatches)
              yield* ids.pipe(Tenant.provide(b), mismatches)
              yield* note("wrong").pipe(Tenant.provide(b), mismatches)
              yield* append(a, "1", placed(1))
            })
          )
          assert.lengthOf(yield* ids.pipe(Tenant.provide(a)), 1)
          assert.lengthOf(yield* ids.pipe(Tenant.provide(b)), 0)
          // Reads across tenants and projections cover all databases.
          for (const tenant of tenants) yield* append(tenant, "2", placed(1))
          const heads = yield* on("silo-a")(Stream.runCollect(storage.tenants)).pipe(acrossTenants)
          assert.lengthOf(heads, tenants.length)
          yield* on("silo-a")(ProjectionRunner.ProjectionRunner.use(({ drain }) => drain)).pipe(
            Effect.provide(ProjectionRunner.layer({ projections: [orders()], concurrency: 0 }))
          )
          for (const tenant of tenants)
            assert.lengthOf(yield* rowsOf(tenant), tenant === a ? 2 : 1, String(tenants.indexOf(tenant)))
        }).pipe(Effect.provide(store()))
      }).pipe(Effect.scoped)
    )

    it.live(
      "with a chosen database, imports, decisions and hash chains of other tenants are refused as well",
      () =>
        Effect.gen(function* () {
          const { a, b, inPool, place, store, tenants } = yield* prepared
          yield* Effect.gen(function* () {
            const client = yield* sql
            const { on } = yield* PgSilo.PgSilo
            const storage = yield* EventStore.EventStore
            const importing = Effect.suspend(() => {
              const given = [1, 2, 3].map((amount) => ({
                aggregate: Account,
                id: `imported ${amount % 2}`,
                expectedVersion: undefined,
                events: [
                  Event.make(deposited(amount), {
                    eventId: Event.generateId(),
                    occurredAt: DateTime.makeUnsafe(1_600_000_000_000)
                  })
                ]
              }))
              return storage.importEvents(Stream.fromIterable(given), { chunkEvents: 2 })
            })
            for (const other of [b, inPool]) {
              for (const refused of [
                Effect.asVoid(importing),
                Effect.asVoid(offer("course", 1)),
                Effect.asVoid(HashChain.start),
                Effect.asVoid(storage.commandOutcome("key")),
                Effect.asVoid(HashChain.verify())
              ]) {
                const attempt = Tenant.provide(other)(refused)
                yield* client.withTransaction(attempt).pipe(Tenant.provide(a), mismatches)
                yield* on("silo-a")(attempt).pipe(mismatches)
              }
            }
            for (const tenant of tenants)
              assert.deepInclude(yield* importing.pipe(Tenant.provide(tenant)), { appended: 3, position: 3 })
            // Also in a transaction of its own tenant, with which it is undone.
            yield* PgTenant.transaction(Effect.andThen(importing, Effect.fail("undo"))).pipe(
              Tenant.provide(a),
              flipped
            )
          }).pipe(Effect.provide(Layer.provideMerge(Decisions.layer, store())))
          for (const [index, placement] of names.entries()) {
            const rows = yield* place(placement).outside(
              "select tenant_id::text as tenant, count(*)::int from eventsourcing.events group by 1"
            )
            assert.deepStrictEqual(rows, [{ tenant: tenants[index], count: 3 }], placement)
          }
        }).pipe(Effect.scoped)
    )
  })
}

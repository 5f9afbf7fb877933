/** Projections in a database: their rows, and the limits of their rights. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer, Schedule, Schema } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Projection from "../../src/projection/Projection.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import {
  append,
  beside,
  changed,
  drain,
  equalsFold,
  eventually,
  isLive,
  noted,
  Order,
  orders,
  placed,
  progressOf,
  rowsOf,
  tables,
  tenants
} from "../support/projected.ts"
import { backendsWith, Owner } from "../support/readModels.ts"
import { mismatches } from "../../src/testing/failures.ts"

const ddl = [
  ...tables,
  "create table totals (id integer primary key, events bigint not null, total bigint not null)",
  "grant select, insert, update on totals to eventsourcing_all_tenants",
  "create table checked (tenant_id uuid not null, n integer not null)",
  "select eventsourcing.register_read_model('checked')",
  "alter table checked add constraint late unique (tenant_id, n) deferrable initially deferred"
]

const sql = SqlClient.SqlClient

/** Works until a tenant's progress is as expected, because an announcement in progress may hide a tenant for a moment. */
const drainUntil = Effect.fnUntraced(function* (
  tenantId: Tenant.TenantId,
  done: { readonly position: number; readonly parked?: boolean },
  projection: string = "orders"
) {
  const expected = { parked: false, ...done }
  yield* Effect.gen(function* () {
    yield* drain
    const { live } = yield* progressOf(tenantId, projection)
    if (live?.position !== expected.position || live.parked !== expected.parked)
      return yield* Effect.fail(live)
  }).pipe(Effect.retry(Schedule.spaced("10 millis").pipe(Schedule.upTo({ times: 300 }))))
  return (yield* progressOf(tenantId, projection)).live
})

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {
  override get message(): string {
    return "not with these rights"
  }
}

/** Ways to fail in the middle of a batch, after SQL has been run. */
const failures: ReadonlyArray<
  readonly [string, Effect.Effect<unknown, unknown, SqlClient.SqlClient | Tenant.CurrentTenant>, RegExp]
> = [
  ["a typed error", Effect.fail(new Refused()), /^Refused/],
  ["a defect", Effect.die(new Error("out of order")), /^Error: out of order/],
  ["an interruption", Effect.interrupt, /interrupted/],
  ["an SQL error", sql.use((client) => client`select ${"canary"}::integer`), /^SqlError: .*\(22P02\)$/],
  [
    "a violated key",
    sql.use(
      (client) => client`insert into orders (tenant_id, order_id, total, version)
      select tenant_id, order_id, total, version from orders`
    ),
    /^SqlError: UniqueViolation \(23505\)$/
  ],
  ["an SQL error that is not let out", sql.use((client) => Effect.ignore(client`select 1 / 0`)), /25P02/],
  [
    "a constraint that is checked at the end",
    sql.use((client) =>
      Effect.flatMap(
        Tenant.CurrentTenant,
        (tenant) => client`insert into checked values (${tenant}::uuid, 1), (${tenant}::uuid, 1)`
      )
    ),
    /23505/
  ]
]

describe.each(backendsWith(ddl))("on $name", (backend) => {
  layer(EventStore.layer.pipe(Layer.provideMerge(backend.layer)), { excludeTestServices: true })((it) => {
    it.effect("the read model of each tenant is the fold of its own log", () =>
      Effect.gen(function* () {
        const [one = Tenant.untenanted, two = Tenant.untenanted] = yield* tenants(2)
        for (let n = 0; n < 20; n++) {
          const id = `order-${n % 7}`
          for (const [tenant, offset] of [
            [one, 0],
            [two, 1000]
          ] as const) {
            yield* append(tenant, id, n < 7 ? placed(offset + n) : n % 3 === 0 ? noted : changed(offset + n))
          }
          if (n === 9) yield* drainUntil(two, { position: n + 1 })
        }
        yield* drainUntil(one, { position: 20 })
        yield* equalsFold(one)
        yield* equalsFold(two)
        assert.lengthOf(yield* rowsOf(one), 7)
        const all = yield* Effect.flatMap(
          Owner,
          (owner) => owner<{ n: number }>`
          select count(*)::int as n from orders where tenant_id in (${one}::uuid, ${two}::uuid)`
        )
        assert.strictEqual(all[0]?.n, 14)
      }).pipe(beside([orders({ batchSize: 4 })]))
    )

    it.effect.each(failures)(
      "a handler that fails with %s leaves nothing, and the work before it stays",
      ([_name, failure, error]) =>
        Effect.gen(function* () {
          const projection = orders({ before: (total) => (total === 666 ? failure : Effect.void) })
          yield* Effect.gen(function* () {
            const [poisoned = Tenant.untenanted, sound = Tenant.untenanted] = yield* tenants(2)
            yield* append(poisoned, "a", placed(1), changed(2))
            yield* append(poisoned, "b", placed(3))
            yield* append(poisoned, "c", placed(666))
            yield* append(poisoned, "d", placed(4))
            yield* append(sound, "c", placed(665), changed(1), changed(1))
            const progress = yield* drainUntil(poisoned, { position: 3, parked: true })
            assert.deepInclude(progress, { failedPosition: 4, head: 5, attempts: 1 })
            assert.match(progress?.error ?? "", error)
            assert.notInclude(progress?.error ?? "", "canary")
            yield* equalsFold(poisoned, 3)
            yield* drainUntil(sound, { position: 3 })
            yield* equalsFold(sound)
          }).pipe(beside([projection]))
        })
    )

    it.effect("an event that is put aside leaves nothing, and the events around it are handled", () =>
      Effect.gen(function* () {
        const storage = yield* ProjectionStorage
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, "a", placed(1))
        yield* append(tenant, "b", placed(666))
        yield* append(tenant, "c", placed(3))
        yield* drainUntil(tenant, { position: 3 })
        assert.deepStrictEqual(
          (yield* rowsOf(tenant)).map((row) => row.order_id),
          ["a", "c"]
        )
        const letters = yield* storage.deadLetters({
          projection: "orders",
          version: 1,
          tenantId: tenant,
          after: 0,
          limit: 10
        })
        assert.deepInclude(letters[0], { position: 2, attempts: 3 })
      }).pipe(
        beside([
          orders({
            onFailure: "deadLetter",
            retry: Schedule.recurs(2),
            before: (n) => (n === 666 ? Effect.fail("no") : Effect.void)
          })
        ])
      )
    )

    it.effect("10: a handler sees only its own tenant's rows, and cannot change or add rows of another", () =>
      Effect.gen(function* () {
        const [mine = Tenant.untenanted, theirs = Tenant.untenanted] = yield* tenants(2)
        const attacks: ReadonlyArray<
          readonly [number, (client: SqlClient.SqlClient) => Effect.Effect<unknown, unknown>]
        > = [
          [1, (client) => client`delete from orders`],
          [2, (client) => client`update orders set total = -1 where tenant_id <> ${mine}::uuid`],
          [
            3,
            (client) =>
              client`insert into orders (tenant_id, order_id, total, version) values (${theirs}::uuid, 'x', 1, 1)`
          ],
          [4, (client) => client`update orders set tenant_id = ${theirs}::uuid`],
          [
            5,
            (client) =>
              client`insert into eventsourcing.dead_letters (tenant_id, projection, version, rebuild, position, event_id, error, attempts, failed_at) values (${theirs}::uuid, 'orders', 1, false, 1, ${theirs}::uuid, '', 1, now())`
          ],
          [
            6,
            (client) =>
              client`update eventsourcing.projections set position = 0 where tenant_id = ${theirs}::uuid`
          ]
        ]
        let seen = 0
        const Attack = Projection.make(
          "attack",
          { aggregates: [Order], retry: Schedule.recurs(0), onFailure: "deadLetter" },
          {
            Changed: ({ by }, { tenantId }) =>
              Effect.flatMap(sql, (client) =>
                Effect.gen(function* () {
                  if (tenantId !== mine) return
                  const rows = yield* client<{ n: number }>`select count(*)::int as n from orders`
                  seen = rows[0]?.n ?? -1
                  // Missing rights are normally not a failure of the event: this handler declares them one.
                  yield* Effect.catchIf(
                    attacks[by - 1]?.[1](client) ?? Effect.void,
                    (error) => SqlError.isSqlError(error) && error.reason._tag === "AuthorizationError",
                    () => Effect.fail(new Refused())
                  )
                })
              )
          }
        )
        yield* append(theirs, "a", placed(1), changed(0))
        yield* append(theirs, "b", placed(2))
        yield* append(mine, "a", placed(3), ...attacks.map(([n]) => changed(n)))
        yield* Effect.gen(function* () {
          yield* drainUntil(theirs, { position: 3 })
          yield* drainUntil(mine, { position: 7 })
        }).pipe(beside([orders()]))
        const before = [yield* rowsOf(theirs), yield* progressOf(theirs)] as const
        yield* drainUntil(mine, { position: 7 }, "attack").pipe(beside([Attack]))
        assert.deepStrictEqual([yield* rowsOf(theirs), yield* progressOf(theirs)], before)
        // The first deleted its own rows; the others found none or were refused.
        assert.isEmpty(yield* rowsOf(mine))
        assert.strictEqual(seen, 0)
        const storage = yield* ProjectionStorage
        const letters = yield* storage.deadLetters({
          projection: "attack",
          version: 1,
          tenantId: mine,
          after: 0,
          limit: 10
        })
        assert.deepStrictEqual(
          letters.map(({ position, error }) => [position - 1, error]),
          [3, 5].map((n) => [n, "Refused: not with these rights"])
        )
      })
    )

    it.effect("10: a handler reads and appends as its own tenant, in its transaction", () =>
      Effect.gen(function* () {
        const [mine = Tenant.untenanted, theirs = Tenant.untenanted] = yield* tenants(2)
        const answers: Array<string> = []
        const Reads = Projection.make(
          "reads",
          { aggregates: [Order], retry: Schedule.recurs(3) },
          {
            Placed: (_event, { tenantId }) =>
              Effect.gen(function* () {
                const store = yield* EventStore.EventStore
                assert.strictEqual(yield* Tenant.CurrentTenant, tenantId)
                if (tenantId !== mine) return
                assert.strictEqual(yield* store.position, 1)
                const other = store.append({
                  aggregate: Order,
                  id: "z",
                  expectedVersion: "any",
                  events: [noted]
                })
                // The whole transaction is undone each time, although the defect is caught, and retried.
                const [attempt] = [
                  Effect.asVoid(store.position),
                  Effect.asVoid(other),
                  PgTenant.transaction(Effect.void)
                ].slice(answers.length)
                if (attempt !== undefined)
                  answers.push((yield* mismatches(Tenant.provide(theirs)(attempt))).tenantId)
                yield* store.append({ aggregate: Order, id: "z", expectedVersion: 0, events: [noted] })
              })
          }
        )
        yield* append(theirs, "a", placed(1))
        yield* append(mine, "a", placed(1))
        yield* drainUntil(mine, { position: 2 }, "reads").pipe(beside([Reads]))
        assert.deepStrictEqual(answers, [theirs, theirs, theirs])
      })
    )

    it.effect("19: the sweep makes up for a lost announcement", () =>
      Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        const owner = yield* Owner
        yield* append(tenant, "one", noted)
        yield* Effect.gen(function* () {
          yield* eventually(isLive(tenant, 1))
          // As if the appending process had died before its announcement.
          yield* owner`
            insert into eventsourcing.events (tenant_id, position, aggregate_type, aggregate_id, version, event_id,
              event_type, schema_version, occurred_at, recorded_at, correlation_id, metadata, payload, bytes)
            select tenant_id, 2, aggregate_type, aggregate_id, 2, gen_random_uuid(), event_type, schema_version,
              occurred_at, recorded_at, correlation_id, metadata, payload, bytes
            from eventsourcing.events where tenant_id = ${tenant}::uuid`
          yield* eventually(isLive(tenant, 2))
        }).pipe(beside([orders()], { concurrency: 1, pollInterval: "1 hour", sweepInterval: "100 millis" }))
      })
    )

    it.effect("a projection across tenants handles each event once, and continues where it was", () =>
      Effect.gen(function* () {
        const add = ({ amount }: { readonly amount: number }) =>
          sql.use(
            (client) => client`insert into totals values (1, 1, ${amount})
              on conflict (id) do update set events = totals.events + 1, total = totals.total + ${amount}`
          )
        const Totals = Projection.makeAcrossTenants(
          "totals",
          { aggregates: [Order], retry: Schedule.recurs(1) },
          {
            Placed: ({ total }) => (total === 666 ? Effect.fail("no") : add({ amount: total })),
            Changed: ({ by }) => add({ amount: by })
          }
        )
        const all = yield* tenants(5)
        const total = Effect.flatMap(
          Owner,
          (owner) => owner<{ total: number; events: number }>`
          select total::int, events::int from totals`
        )
        const allAt = Effect.fnUntraced(function* (position: number) {
          for (const tenant of all) yield* drainUntil(tenant, { position }, "totals")
        })
        const work = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
          beside([Totals])(effect).pipe(Tenant.provideAll({ actor: "test", reason: "totals" }))
        // The appends of other tests count as well.
        yield* work(drain)
        const [before = { total: 0, events: 0 }] = yield* total
        for (const tenant of all) yield* append(tenant, "a", placed(10), changed(1))
        yield* work(allAt(2))
        assert.deepStrictEqual(Array.from(yield* total), [
          { total: before.total + 55, events: before.events + 10 }
        ])
        const [poisoned = Tenant.untenanted, sound = Tenant.untenanted] = all
        yield* append(poisoned, "b", placed(666))
        yield* append(sound, "b", placed(1))
        yield* work(
          Effect.gen(function* () {
            yield* drainUntil(sound, { position: 3 }, "totals")
            const progress = yield* drainUntil(poisoned, { position: 2, parked: true }, "totals")
            assert.deepInclude(progress, { failedPosition: 3, attempts: 2 })
          })
        )
        assert.deepStrictEqual(Array.from(yield* total), [
          { total: before.total + 56, events: before.events + 11 }
        ])
      })
    )
  })
})

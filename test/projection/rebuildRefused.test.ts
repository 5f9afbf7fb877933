/** Rebuilds that would change the live read model, or fill an outdated twin, are refused with a sentence. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer, Schedule, Stream } from "effect"
import { SqlClient } from "effect/sql"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionManager from "../../src/projection/ProjectionManager.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import {
  append,
  beside,
  drain,
  drainUntilLive,
  Order,
  placed,
  progressOf,
  tenants
} from "../support/projected.ts"
import { backendsWith, Owner } from "../support/readModels.ts"

const names = ["named", "emptied", "altered", "keyed", "dropped", "changing", "wanting", "anew"] as const
const statements = names.flatMap((name) => [
  `create table ${name} (tenant_id uuid not null, order_id text not null, total integer not null,
    primary key (tenant_id, order_id))`,
  `select eventsourcing.register_read_model('${name}')`
])

/** The totals of orders, in the table named like the projection unless `write` names another. */
const totals = (
  name: string,
  write: (row: {
    readonly tenantId: string
    readonly id: string
    readonly total: number
  }) => Effect.Effect<unknown, unknown, SqlClient.SqlClient> = ({ tenantId, id, total }) =>
    SqlClient.SqlClient.use(
      (sql) =>
        sql`insert into ${sql(name)} (tenant_id, order_id, total) values (${tenantId}::uuid, ${id}, ${total})`
    )
) =>
  Projection.make(
    name,
    { aggregates: [Order], tables: [name] },
    { Placed: ({ total }, { tenantId, aggregateId }) => write({ tenantId, id: aggregateId, total }) }
  )

const rowsOf = (tenantId: Tenant.TenantId, name: string) =>
  PgTenant.transaction(
    SqlClient.SqlClient.use(
      (sql) => sql<{ order_id: string; total: number }>`select order_id, total from ${sql(name)} order by 1`
    )
  ).pipe(
    Tenant.provide(tenantId),
    Effect.map((found) => found.map(({ order_id, total }) => [order_id, total]))
  )

/** Rebuilds for a tenant, with a runner of the same projection. */
const rebuild = (projection: ReturnType<typeof totals>, tenantId: Tenant.TenantId) =>
  ProjectionManager.ProjectionManager.use((manager) =>
    Stream.runDrain(Stream.tap(manager.rebuild(projection), () => drain))
  ).pipe(Tenant.provide(tenantId), beside([projection]))

/** The statement in the remedy of a problem. */
const remedyOf = (problem: string): string => /run (select .*), then rebuild again/.exec(problem)?.[1] ?? ""

const startRebuilding = (tenantId: Tenant.TenantId, name: string) =>
  ProjectionStorage.use((storage) =>
    storage.startRebuild({ tenantId, projection: name, version: 1, tables: [name] })
  )

const manager = ProjectionManager.layer.pipe(Layer.provideMerge(EventStore.layer))

describe.each(backendsWith(statements))("on $name", (backend) => {
  layer(manager.pipe(Layer.provideMerge(backend.layer)), { excludeTestServices: true })((it) => {
    /** A tenant with two orders in a read model. */
    const filled = Effect.fnUntraced(function* (name: string) {
      const [tenant = Tenant.untenanted] = yield* tenants(1)
      yield* append(tenant, "a", placed(1))
      yield* append(tenant, "b", placed(2))
      yield* beside([totals(name)])(drainUntilLive(tenant, 2, name))
      return tenant
    })
    const both = [
      ["a", 1],
      ["b", 2]
    ]

    for (const [name, statement] of [
      [
        "named",
        "insert into public.named (tenant_id, order_id, total) values ($1::uuid, $2 || ' again', $3)"
      ],
      [
        "emptied",
        "delete from public.emptied where tenant_id = $1::uuid and order_id <> $2 and total <> $3 + 10"
      ]
    ] as const) {
      it.effect(
        `handlers that name the table with its schema do not change the live read model: ${name}`,
        () =>
          Effect.gen(function* () {
            const tenant = yield* filled(name)
            const broken = totals(name, ({ tenantId, id, total }) =>
              SqlClient.SqlClient.use((sql) => sql.unsafe(statement, [tenantId, id, total]))
            )
            const error = yield* Effect.flip(rebuild(broken, tenant))
            assert.include(String(error), `write the live tables (${name})`)
            assert.deepInclude((yield* progressOf(tenant, name)).rebuild, { parked: true, position: 0 })
            assert.deepStrictEqual(yield* rowsOf(tenant, name), both)
            // With corrected handlers it is rebuilt from the beginning.
            yield* rebuild(totals(name), tenant)
            assert.deepStrictEqual(yield* rowsOf(tenant, name), both)
          })
      )
    }

    for (const [name, change, difference] of [
      [
        "altered",
        "add column label text not null default 'x'",
        /column label text not null default 'x'::text/
      ],
      ["keyed", "add unique (tenant_id, total)", /UNIQUE \(tenant_id, total\)/]
    ] as const) {
      it.effect(`after the table has changed, its twin follows if the login owns both: ${name}`, () =>
        Effect.gen(function* () {
          const owner = yield* Owner
          const sql = yield* SqlClient.SqlClient
          const tenant = yield* filled(name)
          yield* owner.unsafe(`alter table ${name} ${change}`)
          const [login] = yield* sql<{ owns: boolean }>`
            select has_schema_privilege('eventsourcing_rebuild', 'create') as owns`
          if (login?.owns !== true) {
            // Otherwise the rebuild is refused with a remedy.
            const problem = String(yield* Effect.flip(rebuild(totals(name), tenant)))
            assert.match(problem, difference)
            assert.isUndefined((yield* progressOf(tenant, name)).rebuild)
            yield* owner.unsafe(remedyOf(problem))
          }
          yield* rebuild(totals(name), tenant)
          assert.deepStrictEqual(yield* rowsOf(tenant, name), both)
        })
      )
    }

    it.effect(
      "a rebuild whose table changes waits with a reason, and starts over once the twin follows",
      () =>
        Effect.gen(function* () {
          const owner = yield* Owner
          const name = "changing"
          const tenant = yield* filled(name)
          yield* startRebuilding(tenant, name)
          yield* owner.unsafe(`alter table ${name} add column note text`)
          yield* beside([totals(name)])(drain)
          const { rebuild: waiting } = yield* progressOf(tenant, name)
          assert.deepInclude(waiting, { parked: false, failureKind: "schema", position: 0 })
          assert.include(waiting?.error, "column note text")
          assert.deepStrictEqual(yield* rowsOf(tenant, name), both)
          yield* owner.unsafe(remedyOf(waiting?.error ?? ""))
          yield* beside([totals(name)])(drainUntilLive(tenant, 2, name))
          assert.deepStrictEqual(yield* rowsOf(tenant, name), both)
        })
    )

    it.effect(
      "the failure of a handler that lacks a column of the twin says that the twin is older than the table",
      () =>
        Effect.gen(function* () {
          const owner = yield* Owner
          const name = "wanting"
          const tenant = yield* filled(name)
          yield* startRebuilding(tenant, name)
          yield* owner.unsafe(`alter table ${name} add column note text`)
          const noting = totals(name, ({ tenantId, id, total }) =>
            SqlClient.SqlClient.use(
              (sql) => sql`insert into wanting (tenant_id, order_id, total, note)
              values (${tenantId}::uuid, ${id}, ${total}, 'noted')`
            )
          )
          yield* beside([noting])(drain)
          const { rebuild: waiting } = yield* progressOf(tenant, name)
          assert.deepInclude(waiting, { parked: false, failureKind: "schema" })
          yield* owner.unsafe(remedyOf(waiting?.error ?? ""))
          yield* beside([noting])(drainUntilLive(tenant, 2, name))
          assert.deepStrictEqual(yield* rowsOf(tenant, name), both)
        })
    )

    it.effect("a rebuild whose twin is replaced starts over", () =>
      Effect.gen(function* () {
        const owner = yield* Owner
        const name = "anew"
        const tenant = yield* filled(name)
        yield* startRebuilding(tenant, name)
        const broken = totals(name, ({ id, tenantId, total }) =>
          id === "b"
            ? Effect.fail("broken")
            : SqlClient.SqlClient.use(
                (sql) =>
                  sql`insert into anew (tenant_id, order_id, total) values (${tenantId}::uuid, ${id}, ${total})`
              )
        )
        yield* beside([{ ...broken, batchSize: 1, retry: Schedule.recurs(0) }])(drain)
        assert.deepInclude((yield* progressOf(tenant, name)).rebuild, { parked: true, position: 1 })
        yield* owner`select eventsourcing.register_read_model('anew')`
        yield* ProjectionManager.ProjectionManager.use((service) => service.resume(totals(name))).pipe(
          Tenant.provide(tenant)
        )
        yield* beside([totals(name)])(drainUntilLive(tenant, 2, name))
        assert.deepStrictEqual(yield* rowsOf(tenant, name), both)
      })
    )

    it.effect("the owner can unregister a table once the version that fills it is retired", () =>
      Effect.gen(function* () {
        const owner = yield* Owner
        const name = "dropped"
        const tenant = yield* filled(name)
        const giveUp = owner.unsafe(`select eventsourcing.unregister_read_model('${name}')`)
        const refused = yield* Effect.flip(giveUp)
        assert.include(String(refused.reason.cause), "is filled by projection dropped, version 1")
        const second = { ...totals(name), version: 2 }
        const start = Effect.flip(beside([second])(Effect.void))
        assert.include(String(yield* start), "which dropped, version 1, fills")
        yield* ProjectionManager.ProjectionManager.use((service) => service.retire(totals(name))).pipe(
          Tenant.provideAll({ actor: "test", reason: "retired" })
        )
        assert.include(String(yield* start), "filled until it was retired")
        yield* giveUp
        yield* owner.unsafe(`truncate ${name}`)
        yield* owner.unsafe(`select eventsourcing.register_read_model('${name}')`)
        yield* beside([second])(drainUntilLive(tenant, 2, name, 2))
        assert.deepStrictEqual(yield* rowsOf(tenant, name), both)
      })
    )
  })
})

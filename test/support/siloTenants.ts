/** Helpers of the tests of silos: tenants in silos and in a pool. */
import { assert } from "@effect/vitest"
import { Effect, Layer, References, Stream } from "effect"
import { SqlClient } from "effect/sql"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgSilo from "../../src/pg/PgSilo.ts"
import type * as RoutedStorage from "../../src/routed/RoutedStorage.ts"
import type { TenantId } from "../../src/domain/Tenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantDirectory from "../../src/routed/TenantDirectory.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import type { TestServer } from "./Databases.ts"
import { tables } from "./projected.ts"
import { admit, databases, type Place, places } from "./silo.ts"

/** A pool and two silos. */
export const names = ["pool", "silo-a", "silo-b"]
export const acrossTenants = Tenant.provideAll({ actor: "test", reason: "test" })
/** Runs an effect without its logs. */
export const silent = Effect.provideService(References.CurrentLoggers, new Set())

/** Databases, a tenant in each of them, and a directory with entries that can be changed. */
export const setup = Effect.fnUntraced(function* (server: TestServer, limits: RoutedStorage.Limits = {}) {
  const known = yield* places(server, names, tables)
  const [inPool, a, b] = yield* Effect.all([Tenant.generate, Tenant.generate, Tenant.generate])
  const entries = new Map<TenantId, string>([
    [inPool, "pool"],
    [a, "silo-a"],
    [b, "silo-b"]
  ])
  const place = (placement: string): Place => known.get(placement) ?? assert.fail(placement)
  yield* admit(place("silo-a"), a)
  yield* admit(place("silo-b"), b)
  const directory = TenantDirectory.layerWith({
    placements: names,
    placementOf: (tenantId) => entries.get(tenantId)
  })
  const store = (database = databases(known)) =>
    Layer.mergeAll(EventStore.layer, TenantRegistry.layer).pipe(
      Layer.provideMerge(PgSilo.layer({ ...limits, database })),
      Layer.provideMerge(directory)
    )
  return { known, place, entries, inPool, a, b, store, tenants: [inPool, a, b] }
})

const log = EventStore.EventStore.use((store) => Stream.runCollect(store.readLogJson({})))
/** The events of the current tenant, as [tenant, id of the aggregate]. */
export const ids = Effect.map(log, (events) =>
  events.map(({ tenantId, aggregateId }) => [tenantId, aggregateId])
)
/** A row in a read model. */
export const insert = (tenantId: TenantId, id: string) =>
  SqlClient.SqlClient.use(
    (sql) =>
      sql`insert into orders (tenant_id, order_id, total, version) values (${tenantId}::uuid, ${id}, 1, 1)`
  )
/** Discards the cached placements of the directory. */
export const moved = (tenantId: TenantId) =>
  TenantDirectory.TenantDirectory.use((directory) => directory.invalidate(tenantId))

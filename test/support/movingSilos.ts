/** A pool and a silo on a server, between which tenants move, with a carried table. */
import { Effect, Layer } from "effect"
import type { TenantId } from "../../src/domain/Tenant.ts"
import * as TenantMove from "../../src/lifecycle/TenantMove.ts"
import * as PgSilo from "../../src/pg/PgSilo.ts"
import * as TenantDirectory from "../../src/routed/TenantDirectory.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import type { TestServer } from "./Databases.ts"
import { databases, type Place, places } from "./silo.ts"

/** A table that moves with its tenants. */
export const notes = [
  "create table notes (tenant_id uuid not null, n integer not null, primary key (tenant_id, n))",
  "select eventsourcing.declare_table('notes', 'carried')",
  "grant select, insert on notes to eventsourcing_tenant"
]

/** A program over these databases, whose directory follows moves. */
export const program = (
  known: ReadonlyMap<string, Place>,
  entries: Map<TenantId, string>,
  settings: TenantMove.Options = {}
) =>
  Layer.merge(TenantMove.layerWith({ grace: 0, ...settings }), EventStore.layer).pipe(
    Layer.provideMerge(PgSilo.layer({ database: databases(known) })),
    Layer.provideMerge(
      TenantDirectory.layerWith({
        placements: [...known.keys()],
        placementOf: (tenantId) => entries.get(tenantId),
        replace: ({ tenantId, to }) => {
          entries.set(tenantId, to)
          return true
        }
      })
    )
  )

export const setup = Effect.fnUntraced(function* (server: TestServer) {
  const known = yield* places(server, ["pool", "silo"], notes)
  const tenantId = newTenant()
  return { known, tenantId, entries: new Map([[tenantId, "pool"]]) }
})

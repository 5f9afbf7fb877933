import { Effect } from "effect"
import type { EventStorage, TenantRow } from "../driver/EventStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { AllTenants, type TenantId, untenanted } from "../domain/Tenant.ts"

const pageSize = 1000

/** Records an access across tenants. Returns the id of the record. */
export const recordAccess = (
  storage: EventStorage["Service"],
  operation: string
): Effect.Effect<string, StorageUnavailable, AllTenants> =>
  Effect.flatMap(AllTenants, (access) => storage.recordAccess({ ...access, operation }))

/** All tenants with the heads of their logs, except the untenanted one, which only its own effects may see. */
export const listTenants = (
  storage: EventStorage["Service"],
  accessId: string
): Effect.Effect<ReadonlyArray<TenantRow>, StorageUnavailable> =>
  Effect.gen(function* () {
    const tenants: Array<TenantRow> = []
    let after: TenantId | undefined
    while (true) {
      const { rows, complete } = yield* storage.listTenants({ accessId, after, limit: pageSize })
      for (const row of rows) if (row.tenantId !== untenanted) tenants.push(row)
      after = rows.at(-1)?.tenantId
      if (complete || after === undefined) return tenants
    }
  })

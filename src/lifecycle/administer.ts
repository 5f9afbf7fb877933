/** The recorded access of an administrative operation. */
import { Effect } from "effect"
import type { AdministrationStorage } from "../driver/AdministrationStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { TenantAdministration, type TenantId } from "../domain/Tenant.ts"
import { checkedTenant } from "../domain/currentTenant.ts"

/** Records an administrative access to a tenant. Returns the id of the record. */
export const recordAdministration = (
  storage: AdministrationStorage["Service"],
  operation: string,
  tenantId: TenantId
): Effect.Effect<string, StorageUnavailable, TenantAdministration> =>
  Effect.andThen(
    checkedTenant(tenantId),
    Effect.flatMap(TenantAdministration, (access) =>
      storage.recordAccess({ ...access, operation: `${operation} ${tenantId}` })
    )
  )

import { Context, Effect } from "effect"
import { CurrentTenant, type TenantId, untenanted } from "./Tenant.ts"
import { isCanonicalUuid } from "../internal/uuid.ts"

/** The last id that passed the check. Most often the next one is the same. */
let lastChecked = untenanted

const isTenant = (tenantId: TenantId): boolean => {
  if (tenantId === lastChecked) return true
  if (!isCanonicalUuid(tenantId)) return false
  lastChecked = tenantId
  return true
}

const notATenant = (): TypeError => new TypeError("not a tenant id: decode it with Tenant.TenantId")

/** Returns a tenant id. Dies if it is not one: a text that was cast to a tenant id must never reach the storage. */
export const checkedTenant = (tenantId: TenantId): Effect.Effect<TenantId> =>
  isTenant(tenantId) ? Effect.succeed(tenantId) : Effect.die(notATenant())

export const currentTenant: Effect.Effect<TenantId, never, CurrentTenant> = Effect.flatMap(
  CurrentTenant,
  checkedTenant
)

/** The tenant in the services of a running fiber. Throws where {@link currentTenant} dies. */
export const tenantOf = (services: Context.Context<never>): TenantId => {
  const tenantId = Context.getUnsafe(services, CurrentTenant)
  if (!isTenant(tenantId)) throw notATenant()
  return tenantId
}

import { Context, Effect } from "effect"
import { CurrentTenant, type TenantId, untenanted } from "./Tenant.ts"
import { isCanonicalUuid } from "../internal/uuid.ts"

/** The last text that passed the check, because the next one is most often the same. */
let known = untenanted

const isTenant = (tenantId: TenantId): boolean => {
  if (tenantId === known) return true
  if (!isCanonicalUuid(tenantId)) return false
  known = tenantId
  return true
}

const notATenant = (): TypeError => new TypeError("not a tenant id: decode it with Tenant.TenantId")

/** The tenant of a fiber. Dies if it is not a tenant id: the text got past the types, and nothing may be done in its name. */
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

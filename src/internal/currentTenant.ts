import { Effect } from "effect"
import { CurrentTenant, type TenantId } from "../Tenant.ts"
import { isCanonicalUuid } from "./uuid.ts"

/** A tenant id that is not one got past the types; nothing may be done in its name. */
export const currentTenant: Effect.Effect<TenantId, never, CurrentTenant> = Effect.flatMap(
  CurrentTenant,
  (tenantId) =>
    isCanonicalUuid(tenantId)
      ? Effect.succeed(tenantId)
      : Effect.die(new TypeError("CurrentTenant is not a tenant id: decode it with Tenant.TenantId"))
)

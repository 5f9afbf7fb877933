/** The placements of tenants in tests. */
import { createHash } from "node:crypto"
import type { TenantId } from "../../src/domain/Tenant.ts"

/** A placement for each tenant, by its id: the same in every run, and about as many tenants in each. */
export const byHash =
  (placements: ReadonlyArray<string>) =>
  (tenantId: TenantId): string | undefined =>
    placements[createHash("sha256").update(tenantId).digest().readUInt32BE(0) % placements.length]

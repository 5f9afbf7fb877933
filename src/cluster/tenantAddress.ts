/** Addresses of entities: the tenant, and its bucket if it has several. */
import { Hash, Result, Schema } from "effect"
import { TenantId } from "../domain/Tenant.ts"

const decode = Schema.decodeUnknownResult(TenantId)

/** The tenant of an address; undefined if it has none. */
export const tenantOf = (address: string): TenantId | undefined => {
  const [tenant = "", bucket = "0", ...more] = address.split("/")
  if (more.length > 0 || !/^\d{1,4}$/.test(bucket)) return undefined
  const found = decode(tenant)
  // One tenant has one spelling, so that it has one entity.
  return Result.isSuccess(found) && found.success === tenant ? found.success : undefined
}

/** The address of the bucket of a key. */
export const addressOf = (tenantId: TenantId, key: string, buckets: number): string =>
  `${tenantId}/${(Hash.string(key) >>> 0) % buckets}`

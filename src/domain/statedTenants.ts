/** Fields that state a tenant, in payloads of requests. */
import { Predicate, Result, Schema } from "effect"
import { TenantId } from "./Tenant.ts"

/** The name of a field without regard to case, `-` and `_`: it turns `tenantId`, `tenant_id` and `Tenant-ID` into the same name. */
export const normalised = (name: string): string => name.toLowerCase().replaceAll(/[-_]/g, "")

/** Tells the names of fields that state a tenant. */
export const nameMatcher = (fields: ReadonlyArray<string>): ((name: string) => boolean) => {
  const names = new Set(fields.map(normalised))
  return (name) => names.has(normalised(name))
}

const decodeTenantId = Schema.decodeUnknownResult(TenantId)

/** True if a value is the id of a tenant. */
export const isTenant = (value: unknown, tenantId: TenantId): boolean => {
  const stated = decodeTenantId(value)
  return Result.isSuccess(stated) && stated.success === tenantId
}

/** The name of the first member, at any depth, that states another tenant. */
export const contradictionIn = (
  value: unknown,
  isName: (name: string) => boolean,
  tenantId: TenantId
): string | undefined => {
  const left: Array<unknown> = [value]
  // No recursion, because the sender decides the depth.
  while (left.length > 0) {
    const next = left.pop()
    if (!Predicate.isObjectOrArray(next)) continue
    for (const [name, member] of Object.entries(next)) {
      if (!Array.isArray(next) && isName(name) && !isTenant(member, tenantId)) return name
      left.push(member)
    }
  }
  return undefined
}

import { Event, Tenant } from "effect-eventsourcing"
import { createHash } from "node:crypto"

/** The UUID (version 5) of a name in a namespace: always the same for the same name. */
const uuidOf = (namespace: string, name: string): string => {
  const hash = createHash("sha1")
    .update(Buffer.from(namespace.replaceAll("-", ""), "hex"))
    .update(name)
  const bytes = hash.digest().subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x50, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")
}

/** A namespace generated for this program. */
const namespace = "0b7d1c7e-3c0e-4f4b-9d0a-6f3f4c1d2a5e"

/** The tenant of a customer, derived from the customer's name. */
export const tenantIdOf = (customer: string): Tenant.TenantId =>
  Tenant.TenantId.make(uuidOf(namespace, customer))

/** The event id of the n-th occurrence of a row in a tenant's log. */
export const eventIdOf = (tenantId: Tenant.TenantId, row: string, occurrence: number): Event.EventId =>
  Event.EventId.make(uuidOf(tenantId, `${row} ${occurrence}`))

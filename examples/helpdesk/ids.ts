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

/** Made up for this program, once. */
const namespace = "0b7d1c7e-3c0e-4f4b-9d0a-6f3f4c1d2a5e"

/** The tenant of a customer, who is known by name only. */
export const tenantIdOf = (customer: string): Tenant.TenantId =>
  Tenant.TenantId.make(uuidOf(namespace, customer))

/** The id of the event that comes from a row of a tenant's log, when the row occurs for the n-th time. */
export const eventIdOf = (tenantId: Tenant.TenantId, row: string, occurrence: number): Event.EventId =>
  Event.EventId.make(uuidOf(tenantId, `${row} ${occurrence}`))

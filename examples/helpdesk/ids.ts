import { Event, Tenant } from "effect-eventsourcing"

/** A namespace generated for this program. */
const namespace = "0b7d1c7e-3c0e-4f4b-9d0a-6f3f4c1d2a5e"

/** The tenant of a customer, derived from the customer's name. */
export const tenantIdOf = (customer: string): Tenant.TenantId => Tenant.fromName(namespace, customer)

/** The event id of the n-th occurrence of a row in a tenant's log. */
export const eventIdOf = (tenantId: Tenant.TenantId, row: string, occurrence: number): Event.EventId =>
  Event.EventId.fromKey(tenantId, `${row} ${occurrence}`)

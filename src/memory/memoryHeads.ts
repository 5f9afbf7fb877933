/** How the drivers in memory find each other: which logs there are, which no other driver tells without an access. */
import type { EventStorage } from "../driver/EventStorage.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** Under which a service keeps its heads. A property, so that a service that is spread into another keeps it. */
const heads: unique symbol = Symbol("effect-eventsourcing/memoryHeads")

/** The tenants with the last position of each log. */
export type Heads = () => Iterable<readonly [tenantId: TenantId, head: number]>

type Service = EventStorage["Service"]

/** Lets the storage of projections see the heads of logs. */
export const withHeads = (service: Service, read: Heads): Service & { readonly [heads]: Heads } => ({
  ...service,
  [heads]: read
})

/** The heads of a service's logs; undefined if it does not show them. */
export const headsOf = (service: Service & { readonly [heads]?: Heads }): Heads | undefined => service[heads]

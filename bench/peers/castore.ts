/** Castore's PostgreSQL adapter. It has no global order and therefore no catching up. */
import { apply, type CartState, initial, type ItemAdded } from "../internal/domain.ts"
import { loadPeer } from "./load.ts"
import type { MakePeer } from "./Peer.ts"

interface EventDetail {
  readonly aggregateId: string
  readonly version: number
  readonly type: string
  readonly timestamp?: string
  readonly payload?: unknown
}

interface Adapter {
  pushEvent(event: EventDetail, options: { readonly eventStoreId: string }): Promise<unknown>
  groupEvent(event: EventDetail): { context?: unknown }
  pushEventGroup(options: object, ...events: ReadonlyArray<unknown>): Promise<unknown>
  getEvents(
    aggregateId: string,
    context: { readonly eventStoreId: string }
  ): Promise<{ readonly events: ReadonlyArray<{ readonly payload: ItemAdded }> }>
}

interface Castore {
  readonly PostgresEventStorageAdapter: (new (options: { readonly connectionString: string }) => Adapter) & {
    createEventTable(options: { readonly connectionString: string }): Promise<unknown>
  }
}

const context = { eventStoreId: "carts" }

export const castore: MakePeer = async ({ url }) => {
  const { PostgresEventStorageAdapter } = await loadPeer<Castore>("@castore/event-storage-adapter-postgres")
  await PostgresEventStorageAdapter.createEventTable({ connectionString: url })
  const adapter = new PostgresEventStorageAdapter({ connectionString: url })
  const detail = (aggregateId: string, version: number, payload: ItemAdded): EventDetail => ({
    aggregateId,
    version,
    type: payload._tag,
    timestamp: new Date().toISOString(),
    payload
  })
  return {
    name: "castore",
    append: (stream, version, events) => {
      const [only] = events
      if (events.length === 1 && only !== undefined)
        return adapter.pushEvent(detail(stream, version + 1, only), context)
      return adapter.pushEventGroup(
        {},
        ...events.map((event, n) => {
          const grouped = adapter.groupEvent(detail(stream, version + 1 + n, event))
          grouped.context = context
          return grouped
        })
      )
    },
    load: async (stream) => {
      const { events } = await adapter.getEvents(stream, context)
      let state: CartState = initial
      for (const { payload } of events) state = apply(state, payload)
      return state
    },
    stored: "select count(*)::integer as n from event",
    // The adapter cannot end its connections; the database is dropped by force.
    close: () => Promise.resolve()
  }
}

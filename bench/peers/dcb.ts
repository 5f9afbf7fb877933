/** The event store of dcb-es: appends under conditions on tags. */
import { apply, type CartState, initial, type ItemAdded } from "../internal/domain.ts"
import { loadPeer } from "./load.ts"
import { type MakePeer, seen } from "./Peer.ts"

interface Stored {
  readonly position: unknown
  readonly event: { readonly type: string; readonly data: Omit<ItemAdded, "_tag"> }
}

interface Store {
  ensureInstalled(): Promise<void>
  append(command: object): Promise<unknown>
  read(query: unknown, options?: object): AsyncGenerator<Stored>
  subscribe(query: unknown, options?: object): AsyncGenerator<Stored>
}

/** Handles all events in one transaction, at whose end it moves the checkpoint. */
interface Catchup {
  ensureInstalled(names: ReadonlyArray<string>): Promise<void>
  catchupHandlers(
    handlers: Readonly<Record<string, { readonly when: Readonly<Record<string, (event: Stored) => void>> }>>
  ): Promise<void>
}

interface Pool {
  end(): Promise<void>
}

interface Pg {
  readonly Pool: new (options: object) => Pool
  readonly types: { getTypeParser(oid: number, format: string): unknown }
}

interface Core {
  readonly Query: { all(): unknown; fromItems(items: ReadonlyArray<object>): unknown }
  readonly Tags: { fromObj(tags: Readonly<Record<string, string>>): unknown }
}

const decoded = ({ event: { data } }: Stored): ItemAdded => ({ _tag: "ItemAdded", ...data })

export const dcb: MakePeer = async ({ url }) => {
  const { HandlerCatchup, PostgresEventStore } = await loadPeer<{
    readonly PostgresEventStore: new (options: { readonly pool: Pool }) => Store
    readonly HandlerCatchup: new (pool: Pool, store: Store) => Catchup
  }>("@dcb-es/event-store-postgres")
  const { Query, Tags } = await loadPeer<Core>("@dcb-es/event-store")
  const { default: pg } = await loadPeer<{ default: Pg }>("pg")
  // Other stores of the run change the decoding of int8 by pg for the whole process.
  const types = {
    getTypeParser: (oid: number, format: string): unknown =>
      oid === 20 ? (text: string) => text : pg.types.getTypeParser(oid, format)
  }
  const pool = new pg.Pool({ connectionString: url, max: 32, types })
  const store = new PostgresEventStore({ pool })
  await store.ensureInstalled()
  const catchup = new HandlerCatchup(pool, store)
  const ofCart = (stream: string) =>
    Query.fromItems([{ types: ["ItemAdded"], tags: Tags.fromObj({ cart: stream }) }])
  /** The last read version of each stream with its position, for its conditions. */
  const positions = new Map<string, { readonly version: number; readonly position: unknown }>()
  return {
    name: "dcb-es",
    append: async (stream, version, events) => {
      const tags = Tags.fromObj({ cart: stream })
      const known = positions.get(stream)
      // Another caller has read or appended meanwhile.
      if (known !== undefined && known.version !== version) throw new Error("outdated")
      const after = known?.position
      const position = await store.append({
        events: events.map(({ _tag: type, ...data }) => ({ type, tags, data, metadata: {} })),
        condition: { failIfEventsMatch: ofCart(stream), ...(after === undefined ? {} : { after }) }
      })
      positions.set(stream, { version: version + events.length, position })
    },
    load: async (stream) => {
      let state: CartState = initial
      let position: unknown
      for await (const stored of store.read(ofCart(stream))) {
        state = apply(state, decoded(stored))
        position = stored.position
      }
      if (position !== undefined && (positions.get(stream)?.version ?? 0) < state.items)
        positions.set(stream, { version: state.items, position })
      return state
    },
    readAll: async () => {
      let count = 0
      for await (const { event, position } of store.read(Query.all()))
        if (seen(event.type, event.data, position)) count++
      return count
    },
    process: async () => {
      let count = 0
      const name = `bench ${Math.random()}`
      await catchup.ensureInstalled([name])
      await catchup.catchupHandlers({
        [name]: {
          when: {
            ItemAdded: ({ event, position }) => {
              if (seen(event.type, event.data, position)) count++
            }
          }
        }
      })
      return count
    },
    tail: (handle) => {
      const controller = new AbortController()
      const tailing = (async () => {
        for await (const stored of store.subscribe(Query.all(), { signal: controller.signal }))
          handle(decoded(stored))
      })().catch(() => undefined)
      return Promise.resolve(async () => {
        controller.abort()
        await tailing
      })
    },
    stored: "select count(*)::integer as n from events",
    close: () => pool.end()
  }
}

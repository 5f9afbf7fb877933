/** Act's PostgreSQL store. */
import { apply, type CartState, initial, type ItemAdded } from "../internal/domain.ts"
import { loadPeer } from "./load.ts"
import { type MakePeer, seen } from "./Peer.ts"

interface Committed {
  readonly id: number
  readonly name: string
  readonly data: Omit<ItemAdded, "_tag">
}

interface Store {
  seed(): Promise<void>
  commit(
    stream: string,
    messages: ReadonlyArray<object>,
    meta: object,
    expectedVersion?: number
  ): Promise<unknown>
  query(callback: (event: Committed) => void, query: object): Promise<number>
  dispose(): Promise<void>
}

interface Act {
  readonly PostgresStore: new (config: object) => Store
}

const decoded = ({ data }: Committed): ItemAdded => ({ _tag: "ItemAdded", ...data })

export const act: MakePeer = async ({ url }) => {
  const { PostgresStore } = await loadPeer<Act>("@rotorsoft/act-pg")
  const { hostname, port, username, password, pathname } = new URL(url)
  const store = new PostgresStore({
    host: hostname,
    port: Number(port),
    user: username,
    password,
    database: pathname.slice(1)
  })
  await store.seed()
  /** Reads all pages after an id. */
  const pages = async (after: number, handle: (event: Committed) => void): Promise<number> => {
    let last = after
    while (true) {
      const from = last
      await store.query(
        (event) => {
          handle(event)
          last = event.id
        },
        { after: from, limit: 1000 }
      )
      if (last === from) return last
    }
  }
  return {
    name: "act",
    append: (stream, version, events) =>
      store.commit(
        stream,
        events.map(({ _tag: name, ...data }) => ({ name, data })),
        { correlation: "bench", causation: {} },
        // Its versions start at 0.
        version === 0 ? undefined : version - 1
      ),
    load: async (stream) => {
      let state: CartState = initial
      await store.query(
        (event) => {
          state = apply(state, decoded(event))
        },
        { stream }
      )
      return state
    },
    readAll: async () => {
      let count = 0
      await pages(-1, ({ data, id, name }) => {
        if (seen(name, data, id)) count++
      })
      return count
    },
    tail: (handle) => {
      let stopped = false
      const polling = (async () => {
        let last = -1
        while (!stopped) {
          last = await pages(last, (event) => handle(decoded(event)))
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      })()
      return Promise.resolve(async () => {
        stopped = true
        await polling
      })
    },
    stored: "select count(*)::integer as n from public.events",
    close: () => store.dispose()
  }
}

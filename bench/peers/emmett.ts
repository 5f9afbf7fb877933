/** Emmett's PostgreSQL event store. */
import { apply, type CartState, initial, type ItemAdded } from "../internal/domain.ts"
import { loadPeer } from "./load.ts"
import { type MakePeer, seen } from "./Peer.ts"

interface Stored {
  readonly type: string
  readonly data: Omit<ItemAdded, "_tag">
}

interface Recorded extends Stored {
  readonly metadata: { readonly globalPosition: unknown }
}

interface Consumer {
  reactor(options: object): unknown
  start(): Promise<void>
  stop(): Promise<void>
}

interface Store {
  readonly schema: { migrate(): Promise<unknown> }
  appendToStream(stream: string, events: ReadonlyArray<Stored>, options: object): Promise<unknown>
  aggregateStream(
    stream: string,
    options: {
      readonly initialState: () => CartState
      readonly evolve: (state: CartState, event: Stored) => CartState
    }
  ): Promise<{ readonly state: CartState }>
  consumer(options?: object): Consumer
  close(): Promise<void>
}

interface Emmett {
  readonly getPostgreSQLEventStore: (url: string) => Store
}

/** Maximum number of milliseconds to catch up. */
const longest = 15_000

const decoded = ({ data }: Stored): ItemAdded => ({ _tag: "ItemAdded", ...data })

export const emmett: MakePeer = async ({ url }) => {
  const { getPostgreSQLEventStore } = await loadPeer<Emmett>("@event-driven-io/emmett-postgresql")
  const store = getPostgreSQLEventStore(url)
  await store.schema.migrate()
  const consume = (handle: (message: Recorded) => void) => {
    const consumer = store.consumer({ pulling: { batchSize: 1000 } })
    consumer.reactor({
      processorId: `bench ${Math.random()}`,
      startFrom: "BEGINNING",
      eachMessage: handle
    })
    const started = consumer.start()
    return async () => {
      // Not closed, because the pool belongs to the store.
      await consumer.stop()
      await started.catch(() => undefined)
    }
  }
  return {
    name: "emmett",
    append: (stream, version, events) =>
      store.appendToStream(
        `cart-${stream}`,
        events.map(({ _tag: type, ...data }) => ({ type, data })),
        { expectedStreamVersion: version === 0 ? "STREAM_DOES_NOT_EXIST" : BigInt(version) }
      ),
    load: async (stream) => {
      const { state } = await store.aggregateStream(`cart-${stream}`, {
        initialState: () => initial,
        evolve: (before, event) => apply(before, decoded(event))
      })
      return state
    },
    process: async (expected) => {
      let count = 0
      let last = performance.now()
      const stop = consume(({ data, metadata, type }) => {
        if (seen(type, data, metadata.globalPosition)) count++
        last = performance.now()
      })
      // It may skip events and never see all: it ends after two seconds without an event, or after a long time.
      const began = last
      while (count < expected && performance.now() - last < 2000 && performance.now() - began < longest) {
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      await stop()
      return count
    },
    tail: (handle) => Promise.resolve(consume((message) => handle(decoded(message)))),
    stored: "select count(*)::integer as n from emt_messages",
    close: () => store.close()
  }
}

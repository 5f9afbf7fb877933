/** The measured operations of another event store, used as in its documentation. */
import type { CartState, ItemAdded } from "../internal/domain.ts"
import type { Database } from "../internal/server.ts"

/** Another event store on its own database. Operations that it does not have are left out. */
export interface Peer {
  readonly name: string
  /** Appends events to a stream that is at a version (0: it does not exist). */
  readonly append: (stream: string, version: number, events: ReadonlyArray<ItemAdded>) => Promise<unknown>
  /** Folds a stream. */
  readonly load: (stream: string) => Promise<CartState>
  /** Reads every stored event, without a checkpoint. Returns the number of those that it has {@link seen}. */
  readonly readAll?: ((expected: number) => Promise<number>) | undefined
  /** Starts a processor that keeps its checkpoint in the database, and handles every stored event. Returns their number. */
  readonly process?: ((expected: number) => Promise<number>) | undefined
  /** Handles new events until the returned function is called. */
  readonly tail?: ((handle: (event: ItemAdded) => void) => Promise<() => Promise<void>>) | undefined
  /** Counts what is stored in streams. */
  readonly stored: string
  readonly close: () => Promise<void>
}

/** Looks at an event as every contender does that catches up: at its type, its payload and its position. */
export const seen = (type: string, payload: Omit<ItemAdded, "_tag">, position: unknown): boolean =>
  type === "ItemAdded" && payload.quantity > 0 && position !== undefined && position !== null

export type MakePeer = (database: Database) => Promise<Peer>

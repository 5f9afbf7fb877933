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
  /** Handles every stored event. Returns their number. */
  readonly catchUp?: ((expected: number) => Promise<number>) | undefined
  /** True if `catchUp` is a processor that keeps its checkpoint in the database; else it is a read without one. */
  readonly keepsCheckpoint?: boolean | undefined
  /** Handles new events until the returned function is called. */
  readonly tail?: ((handle: (event: ItemAdded) => void) => Promise<() => Promise<void>>) | undefined
  /** Counts what is stored in streams. */
  readonly stored: string
  readonly close: () => Promise<void>
}

export type MakePeer = (database: Database) => Promise<Peer>

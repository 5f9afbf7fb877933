/** What is measured of another event store, used as its documentation says. */
import type { CartState, ItemAdded } from "../internal/domain.ts"
import type { Database } from "../internal/server.ts"

/** Another event store, on a database of its own. A case that it does not have is left out. */
export interface Peer {
  readonly name: string
  /** Appends events to a stream that is at a version (0: it does not exist). */
  readonly append: (stream: string, version: number, events: ReadonlyArray<ItemAdded>) => Promise<unknown>
  /** Folds a stream. */
  readonly load: (stream: string) => Promise<CartState>
  /** Handles every event there is, and returns how many that were. */
  readonly catchUp?: ((expected: number) => Promise<number>) | undefined
  /** Handles events as they come, until it is told to stop. */
  readonly tail?: ((handle: (event: ItemAdded) => void) => Promise<() => Promise<void>>) | undefined
  /** Counts what is stored in streams. */
  readonly stored: string
  readonly close: () => Promise<void>
}

export type MakePeer = (database: Database) => Promise<Peer>

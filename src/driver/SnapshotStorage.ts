/**
 * The driver tier of snapshots: encoded states of aggregates, with the tenant as an ordinary argument. A backend
 * implements this service alone and proves itself with `SnapshotStorageSuite`; `Repository` uses it where its layer has
 * a policy for snapshots.
 */
import { Context, type Effect } from "effect"
import type { ReadError } from "./StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** Whose state it is. */
export interface SnapshotKey {
  readonly tenantId: TenantId
  readonly aggregateType: string
  readonly aggregateId: string
}

/** A state that was reached with an event. */
export interface NewSnapshot {
  /** The version of that event in its stream: all events up to it are in the state. */
  readonly version: number
  /** Its position in the tenant's log. */
  readonly position: number
  /** Its id. With position and time it tells the history that the state was folded from. */
  readonly eventId: string
  /** When it was recorded, in milliseconds since 1970. */
  readonly recordedAt: number
  /** The version that the aggregate gives its state. */
  readonly stateVersion: number
  /** Tells what the state depends on besides its events: 64 hexadecimal digits. */
  readonly fingerprint: string
  /** SHA-256 over key, fields and state, 64 hexadecimal digits. */
  readonly checksum: string
  /** JSON text, well formed and without U+0000. */
  readonly state: string
}

/** A snapshot as it is kept. */
export interface SnapshotRow extends NewSnapshot {
  /** When it was kept, in milliseconds since 1970. */
  readonly takenAt: number
}

/** A snapshot that is to be kept. */
export interface SaveSnapshot extends SnapshotKey, NewSnapshot {
  /**
   * A snapshot that turned out to be of no use, by its version and checksum: it gives way, also to one of a lower
   * version.
   */
  readonly replaces?: Pick<SnapshotRow, "version" | "checksum"> | undefined
}

/**
 * Storage of snapshots: the newest of each stream.
 *
 * **Details**
 *
 * A snapshot can be lost at any time: whoever reads one folds all events if there is none. It may also be wrong: whoever
 * reads one checks it.
 */
export class SnapshotStorage extends Context.Service<
  SnapshotStorage,
  {
    /** The snapshot of a stream; undefined if there is none. */
    readonly load: (key: SnapshotKey) => Effect.Effect<SnapshotRow | undefined, ReadError>
    /**
     * Keeps a snapshot in the place of the one there was, unless that one is of a higher version. Returns whether it did.
     */
    readonly save: (snapshot: SaveSnapshot) => Effect.Effect<boolean, ReadError>
    /** Forgets the snapshot of a stream, for example when a subject's data are erased. Returns whether there was one. */
    readonly remove: (key: SnapshotKey) => Effect.Effect<boolean, ReadError>
  }
>()("effect-eventsourcing/SnapshotStorage") {}

/**
 * The driver tier of snapshots: encoded states of aggregates, with the tenant as an ordinary argument. A backend
 * implements this service alone and proves itself with `SnapshotStorageSuite`; `Repository` uses it if its layer has a policy for
 * snapshots.
 */
import { Context, type Effect } from "effect"
import type { ReadError } from "./StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** The stream of a snapshot. */
export interface SnapshotKey {
  readonly tenantId: TenantId
  readonly aggregateType: string
  readonly aggregateId: string
}

/** A state after an event. */
export interface NewSnapshot {
  /** The version of that event in its stream. The state contains all events up to it. */
  readonly version: number
  /** Its position in the tenant's log. */
  readonly position: number
  /** Its id. With position and time it identifies the history of the state. */
  readonly eventId: string
  /** Its recorded time, in milliseconds since 1970. */
  readonly recordedAt: number
  /** The version that the aggregate gives its state. */
  readonly stateVersion: number
  /** Fingerprint of everything that the state depends on besides its events: 64 hexadecimal digits. */
  readonly fingerprint: string
  /** SHA-256 over key, fields and state, 64 hexadecimal digits. */
  readonly checksum: string
  /** JSON text, well formed and without U+0000. */
  readonly state: string
}

/** A stored snapshot. */
export interface SnapshotRow extends NewSnapshot {
  /** The time at which it was stored, in milliseconds since 1970. */
  readonly takenAt: number
}

/** A snapshot to store. */
export interface SaveSnapshot extends SnapshotKey, NewSnapshot {
  /**
   * An existing snapshot that proved useless, by its version and checksum. It is replaced even by one of a lower version.
   */
  readonly replaces?: Pick<SnapshotRow, "version" | "checksum"> | undefined
}

/**
 * Storage of snapshots: the newest of each stream.
 *
 * **Details**
 *
 * A snapshot can be lost at any time: readers fold all events if there is none. It may also be wrong: readers check it.
 */
export class SnapshotStorage extends Context.Service<
  SnapshotStorage,
  {
    /** The snapshot of a stream; undefined if there is none. */
    readonly load: (key: SnapshotKey) => Effect.Effect<SnapshotRow | undefined, ReadError>
    /**
     * Stores a snapshot in place of the existing one, unless that is of a higher version. Returns true if it was stored.
     */
    readonly save: (snapshot: SaveSnapshot) => Effect.Effect<boolean, ReadError>
    /** Removes the snapshot of a stream, for example to erase a person's data. Returns true if there was one. */
    readonly remove: (key: SnapshotKey) => Effect.Effect<boolean, ReadError>
  }
>()("effect-eventsourcing/SnapshotStorage") {}

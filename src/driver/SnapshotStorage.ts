/**
 * The driver contract for snapshots: encoded states of aggregates, with the tenant as an ordinary argument. A backend
 * implements this service and is tested with `SnapshotStorageSuite`. `Repository` uses it if its layer has a snapshot policy.
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

/** A state of an aggregate. */
export interface NewSnapshot {
  /** The version of the last event in the state. The state contains all events of the stream up to it. */
  readonly version: number
  /** The position of that event in the tenant's log. */
  readonly position: number
  /** The id of that event. Together with position and time it identifies the history of the state. */
  readonly eventId: string
  /** The recorded time of that event, in milliseconds since 1970. */
  readonly recordedAt: number
  /** The `stateVersion` of the aggregate. */
  readonly stateVersion: number
  /** Fingerprint of the declarations that the state depends on, 64 hexadecimal digits. */
  readonly fingerprint: string
  /** SHA-256 of the key, the other fields and the state, 64 hexadecimal digits. */
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
   * The version and checksum of an existing snapshot that proved unusable. It is replaced even by one of a lower version.
   */
  readonly replaces?: Pick<SnapshotRow, "version" | "checksum"> | undefined
  /** True if the state may contain personal data. `Forgetting.layer` seals it; drivers ignore this field. Default: false. */
  readonly personal?: boolean | undefined
  /**
   * The tenant's number of forgotten subjects when the events of the state were read. Without it, a state that may contain personal
   * data is not stored. Drivers ignore this field.
   */
  readonly forgotten?: number | undefined
}

/**
 * Storage of the newest snapshot of each stream.
 *
 * **Details**
 *
 * Snapshots may be lost at any time, because readers can fold all events instead. They may also be altered, because readers
 * check them.
 */
export class SnapshotStorage extends Context.Service<
  SnapshotStorage,
  {
    /** The snapshot of a stream; undefined if there is none. */
    readonly load: (key: SnapshotKey) => Effect.Effect<SnapshotRow | undefined, ReadError>
    /**
     * Stores a snapshot in place of the existing one, unless that one has a higher version. Returns true if it was stored.
     */
    readonly save: (snapshot: SaveSnapshot) => Effect.Effect<boolean, ReadError>
    /** Removes the snapshot of a stream, for example to erase a person's data. Returns true if there was one. */
    readonly remove: (key: SnapshotKey) => Effect.Effect<boolean, ReadError>
  }
>()("effect-eventsourcing/SnapshotStorage") {}

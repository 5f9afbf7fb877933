/**
 * The driver contract for the life of a tenant: its states, its raw content out and in, quotas, legal hold and purge. A backend
 * implements it beside `EventStorage` and is tested with `AdministrationStorageSuite` of `effect-eventsourcing/testing`.
 */
import { Context, Effect, Schema, type Scope } from "effect"
import type { TenantId } from "../domain/Tenant.ts"
import type { NewAccess } from "./accesses.ts"
import type { EventRow, Page } from "./EventStorage.ts"
import type { OverviewRequest, TenantOverviewRow, WorkRow } from "./overviews.ts"
import type { Plan, Quota } from "./quotas.ts"
import type { StorageUnavailable } from "./StoreError.ts"
import type { LegalHold, SubjectChange, SubjectHeld, SubjectRow } from "./subjects.ts"

export type {
  OverviewOrder,
  OverviewPlace,
  OverviewRequest,
  TenantOverviewRow,
  WorkRow
} from "./overviews.ts"
export type { Limits, Plan, Quota } from "./quotas.ts"
export type { LegalHold, SubjectChange, SubjectRow } from "./subjects.ts"
export { SubjectHeld } from "./subjects.ts"

/**
 * The state of a tenant in one storage. It is kept on the row that every append locks, so that a change of state and an append
 * exclude each other.
 *
 * **Details**
 *
 * A state with a token belongs to an undertaking (an import, a move or an erasure), which made the token, a UUID. Only a
 * request with the same token continues it.
 */
export type TenantState =
  | { readonly status: "active" }
  /** Its data can be read but not written. */
  | { readonly status: "suspended" }
  /** It has another storage, and its owner has excluded it from this one. */
  | { readonly status: "elsewhere" }
  /** Its log is being written by an import or a move. No work can see or change it. */
  | {
      readonly status: "importing"
      readonly token: string
      /** The move that it belongs to; undefined for an import of an archive. */
      readonly move: ArrivingMove | undefined
    }
  /** It can be read but not written until the move decides, or until the fence expires. */
  | {
      readonly status: "moving"
      readonly token: string
      /** The last position of its log, which does not grow. */
      readonly head: number
      /** Milliseconds until the fence expires, by the clock of the storage; 0 or less if it has expired. */
      readonly expiresInMillis: number
      /** The id of the move, and the placement that it leads to; undefined without a move. */
      readonly move: DepartingMove | undefined
    }
  /** It has another storage now. Nothing can be read or written here. */
  | {
      readonly status: "moved"
      readonly token: string
      /** The placement to which it moved. */
      readonly to: string
      /** The last position of its log when it moved. */
      readonly head: number
      /** The id of the move; undefined if it had none. */
      readonly move: string | undefined
      /** Milliseconds since the move was decided, by the clock of the storage. */
      readonly sinceMillis: number
      /** True if none of its rows remains here. */
      readonly purged: boolean
    }
  /** Nothing can be read or written, and its id cannot be used again. Only this record remains. */
  | ({ readonly status: "erased"; readonly token: string } & Tombstone)

/** A move as its target records it: enough for any process to carry it on. */
export interface ArrivingMove {
  /** A UUID. */
  readonly id: string
  /** The placement that the tenant comes from. */
  readonly from: string
  /**
   * Milliseconds until the lease of the process that carries it out expires, by the clock of the storage; from 0 on, another
   * process may take the move over, with a token of its own.
   */
  readonly leaseMillis: number
}

/** A move as the fence at its source records it. */
export interface DepartingMove {
  /** A UUID. */
  readonly id: string
  /** The placement that the tenant moves to. */
  readonly to: string
}

/** One run of a move, by one process. */
export interface MoveRun {
  /** The id of the move. */
  readonly move: string
  /** The token of the run. */
  readonly token: string
}

/** The status of a tenant. */
export type Status = TenantState["status"]

/** The remains of an erased tenant. */
export interface Tombstone {
  /** Milliseconds since 1970. */
  readonly erasedAt: number
  readonly actor: string
  readonly reason: string
  /** Number of events in its log. */
  readonly events: number
  /** The hash of the last event; null without a hash chain. */
  readonly lastHash: string | null
  /** Milliseconds until rows may be purged, by the clock of the storage; 0 or less from then on. Until then it can be restored. */
  readonly purgeInMillis: number
  /** True once the first row may have gone, so that the tenant cannot be restored. */
  readonly purging: boolean
  /** True if nothing but this record remains. */
  readonly purged: boolean
}

/** The log of another tenant from which the log of a tenant was imported, so that its hash chain is anchored to the other one. */
export interface Origin {
  readonly tenantId: string
  /** The last imported position. */
  readonly position: number
  /** The id and the hash of the event there; null if the log was empty, and the hash also without a hash chain. */
  readonly eventId: string | null
  readonly hash: string | null
}

/** A tenant in one storage, as of one moment. */
export interface TenantRecord {
  readonly tenantId: TenantId
  readonly state: TenantState
  /** Milliseconds since 1970. */
  readonly createdAt: number
  /** The last position of its log; 0 if it is empty. */
  readonly position: number
  /** The id and the hash of the event there; null if the log is empty, and the hash also without a hash chain. */
  readonly lastEventId: string | null
  readonly lastHash: string | null
  /** The first position with a hash; undefined without a hash chain. */
  readonly chainedFrom: number | undefined
  /** The log of another tenant from which it was imported. */
  readonly origin: Origin | undefined
  readonly hold: LegalHold | undefined
  /** Undefined for a tenant without limits. */
  readonly quota: Quota | undefined
  /** The ids of moves from here that were called off, the last 16. None of them can fence the tenant any more. */
  readonly calledOff: ReadonlyArray<string>
  /** The last run of a move from here (`takeOver`): former ones can change nothing. Undefined once the tenant has moved away. */
  readonly run: MoveRun | undefined
  /** The number of times that subjects of the tenant were forgotten. */
  readonly forgotten: number
}

/** A change of a tenant's state. Each is one transaction under the lock of the tenant's row. */
export type StateChange =
  /**
   * Begins to write the log: not registered, or moved away and purged → importing. With the token of the import that is in
   * progress it changes nothing, so that a killed import can go on. The import of a move has a lease, which this extends; if it has
   * expired, another token with the same id of the move takes the import over, and the former token is worth nothing.
   */
  | { readonly change: "beginImport"; readonly token: string; readonly move?: ArrivingMove | undefined }
  /** Extends the lease of a move whose import has this token, or ends it with 0. */
  | { readonly change: "renewLease"; readonly token: string; readonly leaseMillis: number }
  /**
   * Ends an import: importing → active or suspended, if the token is that of the import and the log ends at `head`. With a hash
   * chain, `chainedFrom` is its first position. `origin` is recorded if the log is another tenant's. Changes nothing if the tenant
   * is active and its import had the same token.
   */
  | {
      readonly change: "finishImport"
      readonly token: string
      readonly head: number
      readonly chainedFrom: number | undefined
      readonly status: "active" | "suspended"
      readonly origin?: Origin | undefined
      /** The legal hold that a move carries. */
      readonly hold?: LegalHold | undefined
      /** The quota that a move carries. */
      readonly quota?: Quota | undefined
    }
  /**
   * Makes a run the only one that can change the tenant at the source of a move: the fences, decisions and cancellations of former
   * runs are refused from then on, and a fence of theirs is removed (moving → active). `former` is the token of the run that it
   * replaces, as it was read before the run took its lease; with another one the change is refused, so that a process which pauses
   * between both cannot replace its successor. Refused for a move that was called off, and while another move has the fence.
   * Changes nothing if this move is decided.
   */
  | {
      readonly change: "takeOver"
      readonly token: string
      /** The id of the move. */
      readonly move: string
      readonly former: string | undefined
    }
  /**
   * Fences the tenant for a move: active → moving. Waits for the append that holds the lock, and for handlers of projections of
   * this tenant that are under way; if they do not end within `waitMillis`, nothing is changed. With the token of the fence it
   * sets a new expiry. A move that was called off is refused, and so is one whose run was replaced (`takeOver`).
   */
  | {
      readonly change: "fence"
      readonly token: string
      /** Milliseconds until the fence expires. */
      readonly expiresInMillis: number
      readonly waitMillis: number
      readonly move?: DepartingMove | undefined
    }
  /**
   * Removes the fence: moving → active. Without a token only if it has expired. Changes nothing if the tenant is active.
   */
  | { readonly change: "reopen"; readonly token: string | undefined }
  /**
   * Calls a move off for good: moving → active if the fence is that of this move, and no other state changes. From then on the
   * move can neither fence nor decide. Refused once it is decided, and with the token of a run that another run of the move has
   * replaced; without a token it is the decision of an administrator.
   */
  | { readonly change: "callOff"; readonly move: string; readonly token: string | undefined }
  /**
   * Decides a move: moving → moved, if the token is that of the fence and the log ends at `head`. This is the only point of
   * decision: it excludes `reopen` by the lock. Changes nothing if the tenant has moved under this token.
   */
  | { readonly change: "decide"; readonly token: string; readonly head: number; readonly to: string }
  /**
   * Marks the tenant as erased: active, suspended or moved → erased. Fails with `TenantHeld` under a legal hold of the tenant, or of
   * one of its subjects unless `heldSubjects` is true (default: false) or the tenant has moved, with its holds. Rows may be purged
   * after `purgeInMillis`; 0 to purge at once.
   */
  | {
      readonly change: "erase"
      readonly token: string
      readonly purgeInMillis: number
      readonly heldSubjects?: boolean | undefined
    }
  /** Restores an erased tenant to its former state, if no row has been purged. */
  | { readonly change: "restore"; readonly token: string }

/** The outcome of a command under its key. */
export interface CommandKeyRow {
  readonly key: string
  readonly fingerprint: string
  readonly aggregateType: string
  readonly aggregateId: string
  readonly version: number
  readonly position: number
  readonly events: number
  /** Milliseconds since 1970. */
  readonly recordedAt: number
  /** Milliseconds until it expires, at least 1: a duration, because the clocks of two machines differ. */
  readonly expiresInMillis: number
}

/** An event that a projection gave up on. */
export interface DeadLetterRow {
  readonly projection: string
  readonly version: number
  readonly position: number
  readonly eventId: string
  readonly error: string
  readonly attempts: number
  /** Milliseconds since 1970. */
  readonly failedAt: number
  /** When and for what reason it was discarded; undefined if it was not. */
  readonly discarded: { readonly at: number; readonly reason: string } | undefined
}

/** The progress of a projection, without that of a rebuild. */
export interface ProgressRow {
  readonly projection: string
  readonly version: number
  readonly position: number
  readonly parked: boolean
  readonly attempts: number
  readonly failedPosition: number | undefined
  readonly error: string | undefined
  /** The read models that it fills. Without any it acts outside: a reaction, an outbox or a named subscription. */
  readonly tables: ReadonlyArray<string>
}

/** The handling of a table of the application with rows of tenants. */
export type TableHandling =
  /** Rebuilt from the log: neither exported nor moved. Registered read models are derived. */
  | "derived"
  /** Exported, and moved under the fence. */
  | "carried"
  /** Neither exported nor moved, for a stated reason. */
  | "keptOut"

/** A table of the application that is protected like those of the store (`protect_tenant_table`). */
export interface TenantTable {
  /** Its name with its schema, as the storage writes it. */
  readonly table: string
  /** Undefined if it was not declared. Export and move refuse a tenant with rows in such a table. */
  readonly handling: TableHandling | undefined
  /** The reason for `keptOut`. */
  readonly reason: string | undefined
  /** True if it has rows of the tenant. */
  readonly hasRows: boolean
}

/** The progress of a purge. */
export interface Purged {
  /** Number of rows that this step removed. */
  readonly removed: number
  /** True if no row remains. */
  readonly complete: boolean
}

/**
 * Raised when the state of a tenant does not allow an operation: another undertaking has it, its log ends elsewhere, or it is
 * not in the required state. Nothing was changed.
 */
export class TenantStateConflict extends Schema.TaggedError<TenantStateConflict>()("TenantStateConflict", {
  tenantId: Schema.String,
  /** The refused operation, for example `fence`. */
  operation: Schema.String,
  /** The present status; null if the tenant is not registered. */
  status: Schema.NullOr(
    Schema.Literals(["active", "suspended", "elsewhere", "importing", "moving", "moved", "erased"])
  ),
  /** The last position of the tenant's log. */
  position: Schema.Int,
  /** A sentence that describes the obstacle and its remedy. */
  problem: Schema.String
}) {
  override get message(): string {
    return `${this.operation} of tenant ${this.tenantId} is refused: ${this.problem}`
  }
}

/**
 * Raised when a tenant is to be erased, or purged, that is under a legal hold, or that has subjects under one. Release the holds
 * first; see `TenantErasure` to erase a tenant with its held subjects.
 */
export class TenantHeld extends Schema.TaggedError<TenantHeld>()("TenantHeld", {
  tenantId: Schema.String,
  /** The actor of the hold; of the first one, if subjects are held. */
  actor: Schema.String,
  reason: Schema.String,
  /** The subjects under a hold, at most 10; empty if the tenant itself is held. */
  subjects: Schema.Array(
    Schema.Struct({ subject: Schema.String, actor: Schema.String, reason: Schema.String })
  ).pipe(Schema.withConstructorDefault(Effect.succeed([])))
}) {
  override get message(): string {
    if (this.subjects.length > 0) {
      const held = this.subjects.map(({ actor, reason, subject }) => `${subject} by ${actor} (${reason})`)
      return `tenant ${this.tenantId} must not be erased: subjects are held: ${held.join(", ")}${held.length < maxNamedHolds ? "" : " and possibly more"}. Release the holds first, or erase with heldSubjects: true`
    }
    return `tenant ${this.tenantId} must not be erased: ${this.actor} holds it (${this.reason}). Release the hold first`
  }
}

/** Maximum number of holds that a {@link TenantHeld} names. */
export const maxNamedHolds = 10

/** Names the recorded access and the tenant of an operation. */
export interface Administered {
  /** The id of an access that was recorded with `recordAccess` by the same login. */
  readonly accessId: string
  readonly tenantId: TenantId
}

/** Administered under the token of an import that is in progress. */
export interface Imported extends Administered {
  readonly token: string
}

/** Returns the events of a range of a log in order, each once. It reads ahead of its consumer. */
export interface EventsReader {
  /**
   * Returns the next events, at most `limit` (at least 1): those that have arrived, or else the first that arrive. A page without
   * events is complete.
   */
  readonly next: (limit: number) => Effect.Effect<Page<EventRow>, StorageUnavailable>
}

/** Errors of an operation on an import. */
export type ImportError = TenantStateConflict | StorageUnavailable

/**
 * Storage for the administration of tenants.
 *
 * **Details**
 *
 * Every operation requires the id of a recorded access, and fails with `StorageUnavailable` without one. Reads of a tenant's
 * content are allowed in every state. Writes are allowed only in state `importing`, under its token, and are checked under the
 * lock of the tenant's row. None of them announces anything to projections.
 */
export class AdministrationStorage extends Context.Service<
  AdministrationStorage,
  {
    /**
     * Records an administrative access and returns the id of the record, in the same audit trail as accesses across tenants.
     */
    readonly recordAccess: (access: NewAccess) => Effect.Effect<string, StorageUnavailable>
    /** A tenant with its state and the end of its log; undefined if it is not registered. */
    readonly tenant: (request: Administered) => Effect.Effect<TenantRecord | undefined, StorageUnavailable>
    /**
     * The tenants with an unfinished move from or to this storage, ordered by id: those that are importing under a move or
     * moving, and those that have moved and still have rows here.
     */
    readonly movingTenants: (request: {
      readonly accessId: string
    }) => Effect.Effect<ReadonlyArray<TenantId>, StorageUnavailable>
    /** A page of the tenants of this storage in all states, in the requested order, as of one moment. */
    readonly overviews: (
      request: OverviewRequest
    ) => Effect.Effect<Page<TenantOverviewRow>, StorageUnavailable>
    /** The work of all projections with a tenant and of rebuilds, ordered by name and version, the live one first. */
    readonly work: (request: Administered) => Effect.Effect<ReadonlyArray<WorkRow>, StorageUnavailable>
    /** Changes the state of a tenant, or fails and changes nothing. Returns the tenant afterwards. */
    readonly changeState: (
      request: Administered & StateChange
    ) => Effect.Effect<TenantRecord, TenantStateConflict | TenantHeld | StorageUnavailable>
    /** Sets or releases (undefined) the legal hold of a tenant that is not erased. The actor is that of the access. */
    readonly setHold: (
      request: Administered & { readonly reason: string | undefined }
    ) => Effect.Effect<void, TenantStateConflict | StorageUnavailable>
    /**
     * Sets the quota of a tenant that is active, suspended or importing, between two of its appends; undefined for none. Fails
     * with `TenantStateConflict` if its plan is not defined. A tenant that moves away or is erased keeps its quota until it is
     * purged.
     */
    readonly setQuota: (
      request: Administered & { readonly quota: Quota | undefined }
    ) => Effect.Effect<void, TenantStateConflict | StorageUnavailable>
    /**
     * Changes a subject of a tenant that is active or suspended, or fails and changes nothing. Returns the subject afterwards.
     * Fails with `TenantStateConflict` in any other state.
     */
    readonly changeSubject: (
      request: Administered & { readonly subject: string } & SubjectChange
    ) => Effect.Effect<SubjectRow, TenantStateConflict | SubjectHeld | StorageUnavailable>
    /** The subjects after a given one that were ever forgotten or held, ordered by subject (by code points). */
    readonly subjects: (
      request: Administered & { readonly after: string | undefined; readonly limit: number }
    ) => Effect.Effect<Page<SubjectRow>, StorageUnavailable>
    /** Writes subjects, in place of those with the same ids, and the tenant's number of forgotten subjects. */
    readonly writeSubjects: (
      request: Imported & { readonly forgotten: number; readonly subjects: ReadonlyArray<SubjectRow> }
    ) => Effect.Effect<void, ImportError>
    /** Defines a plan, or changes its limits. They apply to each tenant that has the plan from its next append on. */
    readonly definePlan: (
      request: Plan & { readonly accessId: string }
    ) => Effect.Effect<void, StorageUnavailable>
    /** All plans, ordered by name (by code points). */
    readonly plans: (request: {
      readonly accessId: string
    }) => Effect.Effect<ReadonlyArray<Plan>, StorageUnavailable>

    /**
     * Events with positions from `fromPosition` to `toPosition` (both inclusive, integers from 0), in order, with all columns and
     * the exact stored text of payload and metadata.
     */
    readonly readEvents: (
      request: Administered & {
        readonly fromPosition: number
        readonly toPosition: number
        /** Maximum number of rows, at least 1. A page may end earlier. */
        readonly limit: number
      }
    ) => Effect.Effect<Page<EventRow>, StorageUnavailable>
    /**
     * Starts reading a range of a log as a whole (positions as in `readEvents`), until the scope closes. Returns undefined if there is
     * no faster way than one page of `readEvents` after another, for example in a transaction. Default: there is none.
     */
    readonly openEvents?:
      | ((
          request: Administered & { readonly fromPosition: number; readonly toPosition: number }
        ) => Effect.Effect<EventsReader | undefined, StorageUnavailable, Scope.Scope>)
      | undefined
    /** True if the payload of an event with a position in a range (both inclusive) contains a text, to the letter. */
    readonly hasPayloadWith: (
      request: Administered & {
        readonly text: string
        readonly fromPosition: number
        readonly toPosition: number
      }
    ) => Effect.Effect<boolean, StorageUnavailable>
    /**
     * Writes events with all of their columns as given, in one transaction: position, version, event id, recorded time, hash,
     * tags, traceparent and the exact text. Returns the last position of the log.
     *
     * **Details**
     *
     * Positions continue the log without gaps: the first is the last position of the log plus 1. Events that the log has
     * already must be left out: a request that begins earlier or later fails with `TenantStateConflict`, which has the last
     * position. Versions, ids and recorded times that contradict the log fail with it too.
     */
    readonly writeEvents: (
      request: Imported & { readonly events: ReadonlyArray<EventRow> }
    ) => Effect.Effect<number, ImportError>

    /** Unexpired command keys after a key, ordered by key (by code points). */
    readonly readCommandKeys: (
      request: Administered & {
        readonly after: string | undefined
        readonly limit: number
        /** Leaves out keys whose outcome has an earlier position. Default: 0. */
        readonly fromPosition?: number | undefined
      }
    ) => Effect.Effect<Page<CommandKeyRow>, StorageUnavailable>
    /** Writes command keys, in place of those with the same keys. */
    readonly writeCommandKeys: (
      request: Imported & { readonly keys: ReadonlyArray<CommandKeyRow> }
    ) => Effect.Effect<void, ImportError>
    /**
     * Dead letters of live read models, discarded ones included, after `after` rows, ordered by projection, version, position and
     * time of discarding.
     */
    readonly readDeadLetters: (
      request: Administered & { readonly after: number; readonly limit: number }
    ) => Effect.Effect<Page<DeadLetterRow>, StorageUnavailable>
    /** Replaces all dead letters of the tenant, discarded ones included. */
    readonly writeDeadLetters: (
      request: Imported & { readonly letters: ReadonlyArray<DeadLetterRow> }
    ) => Effect.Effect<void, ImportError>
    /** The progress of all projections with the tenant, ordered by name and version. */
    readonly readProgress: (
      request: Administered
    ) => Effect.Effect<ReadonlyArray<ProgressRow>, StorageUnavailable>
    /** Writes the progress of projections, in place of the progress that they have with the tenant. */
    readonly writeProgress: (
      request: Imported & { readonly progress: ReadonlyArray<Omit<ProgressRow, "tables">> }
    ) => Effect.Effect<void, ImportError>

    /**
     * The transactions of programs that are open now, besides this one, by names that are not used again. A transaction that began
     * before a change of state may write to tables of the application after it. Empty for a storage without tables.
     */
    readonly openTransactions: (
      request: Administered
    ) => Effect.Effect<ReadonlyArray<string>, StorageUnavailable>
    /** The tables of the application with rows of tenants, ordered by name. Empty for a storage without tables. */
    readonly tables: (request: Administered) => Effect.Effect<ReadonlyArray<TenantTable>, StorageUnavailable>
    /**
     * Rows of the tenant in a carried table after a given row, each as the JSON text of an object, in the order of the primary key.
     * Fails with `TenantStateConflict` if the table is not declared as carried.
     */
    readonly readTable: (
      request: Administered & {
        readonly table: string
        /** The last row of the page before; undefined for the first page. */
        readonly after: string | undefined
        readonly limit: number
      }
    ) => Effect.Effect<Page<string>, TenantStateConflict | StorageUnavailable>
    /**
     * Adds rows to a carried table, in place of those with the same primary key. Their `tenant_id` becomes that of the request.
     * `replace` first removes the tenant's rows from the table, in the same transaction.
     */
    readonly writeTable: (
      request: Imported & {
        readonly table: string
        readonly rows: ReadonlyArray<string>
        readonly replace: boolean
      }
    ) => Effect.Effect<void, ImportError>

    /**
     * Removes at most about `limit` rows of a tenant in one transaction: events, tags, command keys, snapshots, progress, dead
     * letters, failures, rows in tables of the application, and the placement in the directory of an erased tenant.
     *
     * **Details**
     *
     * Repeat it until it is complete. The tenant is erased (and the delay is over), moved, or importing, with this token. The
     * record of an erased and of a moved tenant stays. The record of an importing one goes with the last row, so that the id is
     * free again. Fails with `TenantHeld` under a legal hold, unless the tenant is importing or moved.
     */
    readonly purge: (
      request: Imported & { readonly limit: number }
    ) => Effect.Effect<Purged, TenantStateConflict | TenantHeld | StorageUnavailable>
    /** Sentences on the copies of purged rows that may still exist outside of the tables, each with the way in which it ends. */
    readonly residues: ReadonlyArray<string>
  }
>()("effect-eventsourcing/AdministrationStorage") {}

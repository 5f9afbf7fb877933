/**
 * The driver contract for events: encoded events, with the tenant as an ordinary argument. A backend implements this service
 * and is tested with the suites of `effect-eventsourcing/testing`. Programs use `EventStore`, which is built on it.
 */
import { Context, type Effect, type Scope, type Stream } from "effect"
import type {
  AppendError,
  ExpectedVersion,
  ReadError,
  StorageUnavailable,
  UnknownTenant,
  TenantRefused
} from "./StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type { AccessCompletion, AccessesRequest, CrossTenantAccessRow, NewAccess } from "./accesses.ts"
import type { PersonalField } from "../domain/codec/aggregateCodec.ts"
import type { ForgottenSubjects } from "./subjects.ts"

export type { PersonalField } from "../domain/codec/aggregateCodec.ts"
export type {
  AccessCompletion,
  AccessesRequest,
  AccessOutcome,
  CrossTenantAccessRow,
  NewAccess
} from "./accesses.ts"
export type { ForgottenSubject, ForgottenSubjects } from "./subjects.ts"

/** An event to write. Its texts are well formed, contain no U+0000, and are within the limits. */
export interface NewEventRow {
  readonly eventId: string
  readonly eventType: string
  readonly schemaVersion: number
  /** Milliseconds since 1970, years 1 to 9999. */
  readonly occurredAt: number
  readonly actor: string | null
  readonly correlationId: string
  readonly causationId: string | null
  /** JSON text of an object. */
  readonly metadata: string
  /** JSON text. */
  readonly payload: string
  /** Tags by which queries find it: sorted, without duplicates, at most 32. */
  readonly tags: ReadonlyArray<string>
  /** The trace in which the event is appended, as a W3C `traceparent`. Not covered by the hash. Default: none. */
  readonly traceparent?: string | undefined
  /**
   * Fields of the payload that must be sealed before the event is stored, in the order of the text. `Forgetting.layer` seals them and
   * takes them off. A driver refuses an event that still has some with a defect, so that none is stored in plain text. Default: none.
   */
  readonly personal?: ReadonlyArray<PersonalField> | undefined
}

/** A stored event with its place in its stream and in the log. */
export interface EventRow extends Omit<NewEventRow, "traceparent" | "personal"> {
  readonly position: number
  readonly aggregateType: string
  readonly aggregateId: string
  readonly version: number
  /** Milliseconds since 1970. */
  readonly recordedAt: number
  /** SHA-256 over the event and the hash of its predecessor, 64 hexadecimal digits; null without a hash chain. */
  readonly hash: string | null
  /** The trace in which it was appended, as a W3C `traceparent`; null without one. Not covered by the hash. */
  readonly traceparent: string | null
  /**
   * The stored text of the payload, if `payload` is another one because sealed fields were opened or are forgotten. The hash covers
   * the stored text, and archives carry it. Drivers never set it.
   */
  readonly storedPayload?: string | undefined
}

/** The part of an event that a fold needs. */
export interface EventContent extends Pick<EventRow, "version" | "eventType" | "schemaVersion" | "payload"> {
  /** Set if the request asked for `eventIds`. */
  readonly eventId?: string | undefined
}

/** A stored event with its tenant. */
export interface TenantEventRow extends EventRow {
  readonly tenantId: TenantId
}

/** Events for one stream, under a condition on its version. */
export interface StreamAppend {
  readonly aggregateType: string
  readonly aggregateId: string
  readonly expectedVersion: ExpectedVersion
  /**
   * The id of the event with the expected version, which is then a number from 1. Another event there raises
   * `VersionConflict`: the stream has another history. Default: any id.
   */
  readonly expectedEventId?: string | undefined
  /** At least one, except in an append with a command. */
  readonly events: ReadonlyArray<NewEventRow>
}

/** Selects the events of an aggregate type that have one of the event types and all of the tags. */
export interface EventQueryItem {
  /** Default: all aggregate types. */
  readonly aggregateType?: string | undefined
  /** An empty list matches nothing. Default: all types. */
  readonly eventTypes: ReadonlyArray<string> | undefined
  /** An empty list selects events with any tags. */
  readonly tags: ReadonlyArray<string>
  /** Default: any. Drivers need no index for it. */
  readonly aggregateId?: string | undefined
  /** Default: any. Drivers need no index for it. */
  readonly correlationId?: string | undefined
}

/** Selects the events of one tenant that match any of the items; none if there are no items. */
export type EventQuery = ReadonlyArray<EventQueryItem>

/** A condition of an append: no event after a position matches a query. It is checked under the tenant's lock. */
export interface AppendCondition {
  readonly query: EventQuery
  /** The last position that was considered, an integer; 0 if none. */
  readonly after: number
  /** The id of the event at `after`. Another event there, or none, raises `PositionDiverged`. Default: any id. */
  readonly afterEventId?: string | undefined
}

/** The key of a command, which is carried out only once. */
export interface CommandKey {
  /** Unique within the tenant, 1 to 255 characters. */
  readonly key: string
  /** Hash of the command, 64 hexadecimal digits. It distinguishes a repeated command from another one. */
  readonly fingerprint: string
  /** Time to live of the key in milliseconds, by the clock of the storage. */
  readonly expiresInMillis: number
}

/** The recorded outcome of a command. */
export interface CommandRow {
  readonly fingerprint: string
  readonly aggregateType: string
  readonly aggregateId: string
  /** The version of the stream after the command. */
  readonly version: number
  /** The last position of the tenant's log after the command. If the command has events, it is that of the last one. */
  readonly position: number
  /** Number of events that it appended. They are the last ones up to `version` and `position`. */
  readonly events: number
}

/** An append: events for one or more streams of one tenant, all of which are written, or none. */
export interface AppendRequest {
  readonly tenantId: TenantId
  /**
   * At least one stream; no event id occurs twice. With a command there is exactly one stream, which may have no events.
   * Streams are written in the given order, and positions follow it. A stream may occur several times; its expected version
   * applies after the entries before it.
   */
  readonly streams: ReadonlyArray<StreamAppend>
  /** Conditions, all of which must hold. They are checked in order, and the error describes the first that does not. */
  readonly conditions?: ReadonlyArray<AppendCondition> | undefined
  /**
   * For each stream its version at the end of the log that the first condition names by `after` and `afterEventId`; undefined where
   * it is not known. A driver may trust them while the log ends there, and looks up all versions otherwise. Default: none is known.
   */
  readonly knownVersions?: ReadonlyArray<number | undefined> | undefined
  readonly command?: CommandKey | undefined
  /**
   * True for events that the quota of the tenant counts but never refuses: imports, and events that the library itself appends.
   * Default: false.
   */
  readonly exempt?: boolean | undefined
  /**
   * The tenant's number of forgotten subjects that the writer knows. Another number, under the lock, raises `SubjectsForgotten`
   * unless the events or the command are stored already. Default: any.
   */
  readonly forgotten?: number | undefined
}

/** The places of the events of an append, one entry per event, in the given order. */
export interface AppendReceipt {
  /** True if the events had been appended before. This append wrote nothing then. */
  readonly replayed: boolean
  readonly positions: ReadonlyArray<number>
  readonly versions: ReadonlyArray<number>
  /** Milliseconds since 1970. */
  readonly recordedAt: ReadonlyArray<number>
  /**
   * Set if the command had been carried out before. Nothing was written, and positions, versions and times are those of the
   * events of that time, which may be other events.
   */
  readonly command?: CommandRow | undefined
  /** Set for a command without events that was recorded now: the version of its stream, and the last position of the log. */
  readonly unchanged?: Pick<CommandRow, "version" | "position"> | undefined
}

/** Runs an append of an event of the library, with what belongs to it. */
export type JoinOwnAppend = (
  request: AppendRequest,
  append: Effect.Effect<AppendReceipt, AppendError>
) => Effect.Effect<AppendReceipt, AppendError>

/** Part of a stream or log. */
export interface Page<Row> {
  readonly rows: ReadonlyArray<Row>
  /** True if the range has no rows after the last one. Drivers end a page early when it gets too large. */
  readonly complete: boolean
}

/** A stream and its version. */
export interface StreamRow {
  readonly aggregateType: string
  readonly aggregateId: string
  /** At least 1, because only events make a stream exist. */
  readonly version: number
}

/** The end of a tenant's log. */
export interface LogHead {
  /** The last position; 0 if the log is empty. */
  readonly position: number
  /** The id of the event there; null if the log is empty. */
  readonly eventId: string | null
  /** The id of the event at the requested position; null if no event is there, or no position was requested. */
  readonly eventIdAt: string | null
}

/** The direction of a read. */
export type Direction = "forwards" | "backwards"

/** A range of one stream. */
export interface ReadStreamRequest {
  readonly tenantId: TenantId
  readonly aggregateType: string
  readonly aggregateId: string
  /** Lowest version, inclusive: an integer from 0 to 2,147,483,647. */
  readonly fromVersion: number
  /** Highest version, inclusive: an integer from 0 to 2,147,483,647. */
  readonly toVersion: number
  readonly direction: Direction
  /** Maximum number of rows, at least 1. */
  readonly limit: number
}

/** The place of an event in its stream and in the tenant's log, and its id. */
export type EventPlace = Pick<EventRow, "version" | "position" | "eventId" | "recordedAt">

/** A range of one stream, forwards, to be folded. */
export interface LoadStreamRequest extends Omit<ReadStreamRequest, "direction"> {
  /** True if each event must carry its id. Default: false. */
  readonly eventIds?: boolean | undefined
}

/** Part of a stream, to be folded. `complete` may be false although no events follow. */
export interface StreamPage extends Page<EventContent> {
  /** The id of the first event; undefined if there is none. */
  readonly firstEventId: string | undefined
  /** The last event; undefined if there is none. */
  readonly last: EventPlace | undefined
}

/** A stream, and the event that may be its last one. */
export interface StreamEndRequest {
  readonly tenantId: TenantId
  readonly aggregateType: string
  readonly aggregateId: string
  /** The version of the event, an integer from 1 to 2,147,483,647. */
  readonly version: number
  /** A UUID in its lower-case, hyphenated form. */
  readonly eventId: string
  /** The tenant's number of forgotten subjects on which the state relies. Default: not compared. */
  readonly forgotten?: number | undefined
}

/** A stream of a tenant. */
export interface ReserveRequest {
  readonly tenantId: TenantId
  readonly aggregateType: string
  readonly aggregateId: string
}

/** A selection of a tenant's log. An empty list of types selects nothing. */
export interface ReadLogRequest {
  readonly tenantId: TenantId
  /** Lowest position, inclusive: an integer from 0 to `Number.MAX_SAFE_INTEGER`. */
  readonly fromPosition: number
  /** Highest position, inclusive: an integer from 0 to `Number.MAX_SAFE_INTEGER`. */
  readonly toPosition: number
  /** Recorded at or after this time, in milliseconds since 1970. */
  readonly recordedFrom: number | undefined
  /** Recorded before this time, in milliseconds since 1970. */
  readonly recordedBefore: number | undefined
  readonly aggregateTypes: ReadonlyArray<string> | undefined
  readonly eventTypes: ReadonlyArray<string> | undefined
  /** Further restricts the selection to events that match a query. */
  readonly query?: EventQuery | undefined
  readonly direction: Direction
  /** Maximum number of rows, at least 1. */
  readonly limit: number
}

/** A selection of a tenant's log to read forwards to its end. */
export type OpenLogRequest = Omit<ReadLogRequest, "direction" | "limit"> & {
  /**
   * True for a consumer that holds a connection itself, in a transaction in which it calls the reader. The reader then takes only few
   * connections, and none that others need, and reads pages in the transaction while it has none. Default: false.
   */
  readonly spare?: boolean | undefined
}

/** Rows of a log, and the position up to which all selected rows have been returned. */
export interface LogStep extends Page<EventRow> {
  readonly position: number
}

/** Returns the rows of a selection of a log in order, each once. It reads ahead of its consumer. */
export interface LogReader {
  /**
   * Returns the next rows, at most `limit` (at least 1): those that have arrived, or else the first that arrive. A page without
   * rows is complete.
   */
  readonly next: (limit: number) => Effect.Effect<Page<EventRow>, ReadError>
  /** Like `next`, but returns also at the end of each range that the driver reads, possibly without rows. */
  readonly step: (limit: number) => Effect.Effect<LogStep, ReadError>
  /** True if `next` and `step` return at once or wait only for rows; false if they may wait for a free connection. */
  readonly isReady: () => boolean
  /** Waits until `isReady`. */
  readonly untilReady: Effect.Effect<void>
}

/**
 * The status of a tenant: active; suspended or moving (it can be read but not written); importing, moved or erased (it can be
 * neither read nor written). See `AdministrationStorage`.
 */
export type TenantStatus = "active" | "suspended" | "importing" | "moving" | "moved" | "erased"

/** A registered tenant and the head of its log. */
export interface TenantRow {
  readonly tenantId: TenantId
  readonly status: TenantStatus
  /** Milliseconds since 1970. */
  readonly createdAt: number
  /** The last position of its log; 0 if it is empty. */
  readonly position: number
}

/** Usage of a tenant on one day. */
export interface UsageRow {
  readonly tenantId: TenantId
  /** The start of the day in UTC, in milliseconds since 1970. */
  readonly day: number
  readonly events: number
  /** UTF-8 bytes of the payloads and metadata of these events. */
  readonly bytes: number
  /** Number of streams with these events. */
  readonly streams: number
  /** Number of streams that begin with one of these events. */
  readonly newStreams: number
}

/**
 * Storage of the encoded events of all tenants.
 *
 * **Details**
 *
 * An operation for one tenant has the same answer whatever other tenants contain or do. The appends of one tenant are carried
 * out one after another: positions are 1, 2, 3 … without gaps and become visible in order. Operations across tenants require
 * the id of a recorded access and fail without one.
 */
export class EventStorage extends Context.Service<
  EventStorage,
  {
    /** True if this storage seals personal fields. Without it, events with personal fields are refused before they reach a driver. */
    readonly seals?: true | undefined
    /**
     * The number of subjects of a tenant that were forgotten, as this process last saw it; undefined if it has seen no sealed data of
     * the tenant. A state that was made at a lower number may contain data of a subject that is forgotten now. Only for a storage
     * that seals.
     */
    readonly knownForgotten?: ((tenantId: TenantId) => number | undefined) | undefined
    /**
     * Replaces the fingerprint of a command on an aggregate with personal fields by a hash that nobody without a key of the tenant
     * can compute, because the content of a command can be guessed from its plain hash by trying. Equal fingerprints of a tenant have
     * equal results: 64 hexadecimal digits. Only for a storage that seals.
     */
    readonly sealFingerprint?:
      | ((request: {
          readonly tenantId: TenantId
          readonly fingerprint: string
        }) => Effect.Effect<string, StorageUnavailable>)
      | undefined
    /**
     * Lets every later append of the library's own events (`SubjectForgotten`), which come without a call of a program, run through a
     * function, until the scope closes. The function runs the append, and what belongs to it in the same transaction. Only for a
     * storage that makes such appends.
     */
    readonly joinOwnAppends?: ((join: JoinOwnAppend) => Effect.Effect<void, never, Scope.Scope>) | undefined
    /**
     * Appends all events of a request, or none. If an earlier request appended the same events, nothing is written and the
     * receipt is that of the earlier request (`replayed`).
     */
    readonly append: (request: AppendRequest) => Effect.Effect<AppendReceipt, AppendError>
    /** One page of a stream. */
    readonly readStream: (request: ReadStreamRequest) => Effect.Effect<Page<EventRow>, ReadError>
    /**
     * One page of a stream, forwards, with those parts of its events that a fold needs. Every load of an aggregate uses it. A
     * page without events is complete.
     */
    readonly loadStream: (request: LoadStreamRequest) => Effect.Effect<StreamPage, ReadError>
    /**
     * True if a stream ends with an event: it has the event at this version, and none after it, and no subject was forgotten since.
     * A state of that event is the present one then.
     */
    readonly streamEndsWith: (request: StreamEndRequest) => Effect.Effect<boolean, ReadError>
    /**
     * Reserves a stream among the processes that write to it, until the scope closes: waits for those that reserved it before, for a
     * second at most. Returns false if it is not reserved, because they took longer, or because the storage has no place for it now.
     *
     * It only decides whose turn it is. Appends need no reservation and regard none, and it may end before the scope does, with its
     * connection. Default: nothing is reserved, and processes meet in their expected versions alone.
     */
    readonly reserveStream?:
      | ((request: ReserveRequest) => Effect.Effect<boolean, never, Scope.Scope>)
      | undefined
    /**
     * The tenant's number of forgotten subjects, and those with higher numbers than `after`. Without `after` the number alone, for
     * which requests that come at once go together.
     */
    readonly forgottenSubjects: (request: {
      readonly tenantId: TenantId
      /** An integer from 0. */
      readonly after?: number | undefined
    }) => Effect.Effect<ForgottenSubjects, ReadError>
    /** One page of a tenant's log. */
    readonly readLog: (request: ReadLogRequest) => Effect.Effect<Page<EventRow>, ReadError>
    /**
     * Starts reading a selection of a log as a whole, until the scope closes. Returns undefined if the driver has no faster way than
     * one page of `readLog` after another, for example in a transaction, in which its own events must be read too.
     */
    readonly openLog: (
      request: OpenLogRequest
    ) => Effect.Effect<LogReader | undefined, ReadError, Scope.Scope>
    /** The version of a stream; 0 if it has no events. */
    readonly streamVersion: (request: {
      readonly tenantId: TenantId
      readonly aggregateType: string
      readonly aggregateId: string
    }) => Effect.Effect<number, ReadError>
    /** Streams of a tenant after a given one, ordered by type and id (by code points). */
    readonly listStreams: (request: {
      readonly tenantId: TenantId
      /** Default: all types. */
      readonly aggregateType?: string | undefined
      readonly after?: Omit<StreamRow, "version"> | undefined
      /** Maximum number of rows, at least 1. */
      readonly limit: number
    }) => Effect.Effect<Page<StreamRow>, ReadError>
    /** The end of a tenant's log and the id of the event at a position (any integer), as of one moment. */
    readonly head: (request: {
      readonly tenantId: TenantId
      readonly at?: number | undefined
    }) => Effect.Effect<LogHead, ReadError>
    /** The position of an event by its id; undefined if the tenant's log has no such event. */
    readonly eventPosition: (request: {
      readonly tenantId: TenantId
      readonly eventId: string
    }) => Effect.Effect<number | undefined, ReadError>
    /**
     * True if the fiber is in a transaction of the program on this storage, in which it appends and reads, and which may still be
     * rolled back.
     */
    readonly inTransaction: Effect.Effect<boolean>
    /**
     * Emits when a log may have new events, appended by this process or another. The hint does not say which log grew, and may
     * be late, lost or repeated. So consumers must also poll.
     */
    readonly changes: Stream.Stream<void>
    /** The recorded outcome of a command by its key; undefined if there is none, or if it has expired. */
    readonly commandOutcome: (request: {
      readonly tenantId: TenantId
      readonly key: string
    }) => Effect.Effect<CommandRow | undefined, ReadError>
    /**
     * Starts the hash chain of a tenant: every later event carries a hash of itself and its predecessor. Does nothing if the
     * chain has started. Returns the first position with a hash.
     */
    readonly startHashChain: (
      tenantId: TenantId
    ) => Effect.Effect<number, ReadError | TenantRefused<UnknownTenant>>
    /** The first position of a tenant's log that carries, or will carry, a hash; undefined if the chain was not started. */
    readonly hashChainStart: (tenantId: TenantId) => Effect.Effect<number | undefined, ReadError>
    /** Registers a tenant, unless it is registered already. Returns its status. */
    readonly provisionTenant: (tenantId: TenantId) => Effect.Effect<TenantStatus, ReadError>
    /**
     * The status of a tenant; undefined if it is not registered. A tenant that is `elsewhere` has another storage, and this one
     * refuses it.
     */
    readonly tenantStatus: (
      tenantId: TenantId
    ) => Effect.Effect<TenantStatus | "elsewhere" | undefined, ReadError>
    /** The placement to which a tenant has moved; undefined if it has not moved from this storage. */
    readonly movedTo: (tenantId: TenantId) => Effect.Effect<string | undefined, ReadError>
    /** Records an access across tenants and returns the id of the record. */
    readonly recordAccess: (access: NewAccess) => Effect.Effect<string, StorageUnavailable>
    /**
     * Adds the outcome to the record of an operation that was recorded with parameters by the same login. Returns false, and changes
     * nothing, if it has an outcome already, or was recorded without parameters.
     */
    readonly completeAccess: (completion: AccessCompletion) => Effect.Effect<boolean, StorageUnavailable>
    /**
     * Suspends or resumes a tenant, between two of its appends. Returns its former status. Refuses a tenant that is neither active
     * nor suspended.
     */
    readonly setTenantStatus: (request: {
      readonly accessId: string
      readonly tenantId: TenantId
      readonly status: "active" | "suspended"
    }) => Effect.Effect<TenantStatus, TenantRefused | StorageUnavailable>
    /** Tenants after a given one, ordered by id, without those that are importing, moved or erased. */
    readonly listTenants: (request: {
      readonly accessId: string
      readonly after: TenantId | undefined
      readonly limit: number
    }) => Effect.Effect<Page<TenantRow>, StorageUnavailable>
    /** Events of all tenants after a place, ordered by tenant id and position. */
    readonly readAllLogs: (request: {
      readonly accessId: string
      readonly after: { readonly tenantId: TenantId; readonly position: number } | undefined
      readonly limit: number
    }) => Effect.Effect<Page<TenantEventRow>, StorageUnavailable>
    /**
     * Usage in a range of time after a given tenant and day: one row per tenant and day with events, ordered by both. If the
     * range begins or ends within a day, only the part of that day in the range is counted. Reads all events of these days.
     */
    readonly usage: (request: {
      readonly accessId: string
      /** Recorded at or after this time, in milliseconds since 1970. */
      readonly recordedFrom: number
      /** Recorded before this time, in milliseconds since 1970. */
      readonly recordedBefore: number
      readonly after: Pick<UsageRow, "tenantId" | "day"> | undefined
      readonly limit: number
    }) => Effect.Effect<Page<UsageRow>, StorageUnavailable>
    /** Recorded accesses before a given one, newest first. */
    readonly listAccesses: (
      request: AccessesRequest
    ) => Effect.Effect<Page<CrossTenantAccessRow>, StorageUnavailable>
  }
>()("effect-eventsourcing/EventStorage") {}

/**
 * The driver tier: encoded events, with the tenant as an ordinary argument. A backend implements this service alone
 * and proves itself with the suites of `effect-eventsourcing/testing`; programs use `EventStore` on top of it.
 */
import { Context, type Effect, type Stream } from "effect"
import type {
  AppendError,
  ExpectedVersion,
  ReadError,
  StorageUnavailable,
  UnknownTenant,
  TenantRefused
} from "./StoreError.ts"
import type { CrossTenantAccess, TenantId } from "../domain/Tenant.ts"

/** An event to write. Texts are well formed, without U+0000, and within the limits. */
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
  /** The trace that the event is appended in, as W3C Trace Context writes it. Not in the hash. Default: none. */
  readonly traceparent?: string | undefined
}

/** A stored event with its place. */
export interface EventRow extends Omit<NewEventRow, "traceparent"> {
  readonly position: number
  readonly aggregateType: string
  readonly aggregateId: string
  readonly version: number
  /** Milliseconds since 1970. */
  readonly recordedAt: number
  /** SHA-256 over the event and the hash of its predecessor, 64 hexadecimal digits; null without a hash chain. */
  readonly hash: string | null
  /** The trace that it was appended in, as W3C Trace Context writes it; null without one. Not in the hash. */
  readonly traceparent: string | null
}

/** The part of an event that a fold needs. */
export type EventContent = Pick<EventRow, "version" | "eventType" | "schemaVersion" | "payload">

/** An event of some tenant. */
export interface TenantEventRow extends EventRow {
  readonly tenantId: TenantId
}

/** Events for one stream, under a condition on its version. */
export interface StreamAppend {
  readonly aggregateType: string
  readonly aggregateId: string
  readonly expectedVersion: ExpectedVersion
  /**
   * The id of the event with the expected version, which is then a number from 1. Another event there is a
   * `VersionConflict`: another history has replaced the stream. Default: any event.
   */
  readonly expectedEventId?: string | undefined
  /** At least one, except in an append with a command. */
  readonly events: ReadonlyArray<NewEventRow>
}

/** Events of an aggregate type that are of one of these types and have all of these tags. */
export interface EventQueryItem {
  /** Default: aggregates of all types. */
  readonly aggregateType?: string | undefined
  /** An empty list matches nothing. Default: all types. */
  readonly eventTypes: ReadonlyArray<string> | undefined
  /** An empty list restricts nothing. */
  readonly tags: ReadonlyArray<string>
}

/** Events of one tenant that match any of the items; none if there are no items. */
export type EventQuery = ReadonlyArray<EventQueryItem>

/** A condition of an append: no event behind a position matches a query. Checked under the tenant's lock. */
export interface AppendCondition {
  readonly query: EventQuery
  /** The last position that was considered, an integer; 0 if none. */
  readonly after: number
  /** The id of the event at `after`. Another event there, or none, is `PositionDiverged`. Default: it is not compared. */
  readonly afterEventId?: string | undefined
}

/** The command of an append, which is carried out once. */
export interface CommandKey {
  /** Unique within the tenant, 1 to 255 characters. */
  readonly key: string
  /** Distinguishes commands: 64 hexadecimal digits. */
  readonly fingerprint: string
  /** Time to live of the key in milliseconds, by the clock of the storage. */
  readonly expiresInMillis: number
}

/** The outcome of a command that was carried out under a key. */
export interface CommandRow {
  readonly fingerprint: string
  readonly aggregateType: string
  readonly aggregateId: string
  /** The version of the stream after the command. */
  readonly version: number
  /** The head of the tenant's log after the command: the last of its events, if it has any. */
  readonly position: number
  /** Number of events that it appended: the last ones up to `version` and `position`. */
  readonly events: number
}

/** An append: events of one or more streams of one tenant, written all together or not at all. */
export interface AppendRequest {
  readonly tenantId: TenantId
  /**
   * At least one stream, and every event id once. With a command exactly one stream, which may be without events. They take
   * effect in the given order, which is also that of positions. A stream may occur several times; its expected version applies
   * after the entries before it.
   */
  readonly streams: ReadonlyArray<StreamAppend>
  /** All must hold. They are checked in order; the first that does not hold is raised. */
  readonly conditions?: ReadonlyArray<AppendCondition> | undefined
  readonly command?: CommandKey | undefined
}

/** The places of the events of an append, one entry per event, in the given order. */
export interface AppendReceipt {
  /** True if the events had been appended before, and this append changed nothing. */
  readonly replayed: boolean
  readonly positions: ReadonlyArray<number>
  readonly versions: ReadonlyArray<number>
  /** Milliseconds since 1970. */
  readonly recordedAt: ReadonlyArray<number>
  /**
   * Set if the command had been carried out before. Then nothing was written, and positions, versions and times are those of the
   * events of that time, which may be other events.
   */
  readonly command?: CommandRow | undefined
}

/** Part of a stream or log. */
export interface Page<Row> {
  readonly rows: ReadonlyArray<Row>
  /** True if the range has no rows behind the last one. Pages end early when they get too large. */
  readonly complete: boolean
}

/** A stream and its version. */
export interface StreamRow {
  readonly aggregateType: string
  readonly aggregateId: string
  /** 1 or more: streams without events are nowhere. */
  readonly version: number
}

/** The end of a tenant's log. */
export interface LogHead {
  /** The last position; 0 if the log is empty. */
  readonly position: number
  /** The id of the event there; null if the log is empty. */
  readonly eventId: string | null
  /** The id of the event at the requested position; null if it has no event, or none was requested. */
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
export type LoadStreamRequest = Omit<ReadStreamRequest, "direction">

/** Part of a stream, to be folded. `complete` may be false although no events follow. */
export interface StreamPage extends Page<EventContent> {
  /** The id of the first event; undefined if there is none. */
  readonly firstEventId: string | undefined
  /** The last event; undefined if there is none. */
  readonly last: EventPlace | undefined
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
  /** Selects, of those, the events that match a query. */
  readonly query?: EventQuery | undefined
  readonly direction: Direction
  /** Maximum number of rows, at least 1. */
  readonly limit: number
}

/** The status of a tenant. */
export type TenantStatus = "active" | "suspended"

/** A registered tenant and the head of its log. */
export interface TenantRow {
  readonly tenantId: TenantId
  readonly status: TenantStatus
  /** Milliseconds since 1970. */
  readonly createdAt: number
  /** The last position of its log; 0 if it is empty. */
  readonly position: number
}

/** Usage of a tenant on a day. */
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

/** A use of `AllTenants`, as recorded. */
export interface CrossTenantAccessRow extends CrossTenantAccess {
  readonly accessId: string
  /** Milliseconds since 1970. */
  readonly accessedAt: number
  readonly operation: string
}

/**
 * Storage of encoded events, tenant by tenant.
 *
 * **Details**
 *
 * Every operation concerns the given tenant; nothing in another tenant changes its answer. Appends of one tenant happen one after
 * another: positions are 1, 2, 3 … without gaps and become visible in order.
 * Operations across tenants take the id of a recorded access and fail without one.
 */
export class EventStorage extends Context.Service<
  EventStorage,
  {
    /**
     * Appends the events of a request, all or none. Events that an earlier request appended in the same way are not appended again
     * ("replayed").
     */
    readonly append: (request: AppendRequest) => Effect.Effect<AppendReceipt, AppendError>
    /** One page of a stream. */
    readonly readStream: (request: ReadStreamRequest) => Effect.Effect<Page<EventRow>, ReadError>
    /**
     * One page of a stream, forwards, with the parts of events that a fold needs. Every load of an aggregate uses it. A page
     * without events is complete.
     */
    readonly loadStream: (request: LoadStreamRequest) => Effect.Effect<StreamPage, ReadError>
    /** One page of a tenant's log. */
    readonly readLog: (request: ReadLogRequest) => Effect.Effect<Page<EventRow>, ReadError>
    /** The version of a stream; 0 if it has no events. */
    readonly streamVersion: (request: {
      readonly tenantId: TenantId
      readonly aggregateType: string
      readonly aggregateId: string
    }) => Effect.Effect<number, ReadError>
    /** Streams of a tenant, ordered by type and id (by code points), behind a given one. */
    readonly listStreams: (request: {
      readonly tenantId: TenantId
      /** Default: of all types. */
      readonly aggregateType?: string | undefined
      readonly after?: Omit<StreamRow, "version"> | undefined
      /** At most this many; 1 or more. */
      readonly limit: number
    }) => Effect.Effect<Page<StreamRow>, ReadError>
    /** The end of a tenant's log, and the id of the event at another position (any integer), in one snapshot. */
    readonly head: (request: {
      readonly tenantId: TenantId
      readonly at?: number | undefined
    }) => Effect.Effect<LogHead, ReadError>
    /** The position of the event with an id in a tenant's log; undefined if it has none. */
    readonly eventPosition: (request: {
      readonly tenantId: TenantId
      readonly eventId: string
    }) => Effect.Effect<number | undefined, ReadError>
    /**
     * Emits when some log may have new events, appended by this process or another. The hint may be late, lost or repeated, and
     * does not say which log grew; consumers must also poll.
     */
    readonly changes: Stream.Stream<void>
    /** The outcome of the command with a key; undefined if there is none, or it has expired. */
    readonly commandOutcome: (request: {
      readonly tenantId: TenantId
      readonly key: string
    }) => Effect.Effect<CommandRow | undefined, ReadError>
    /**
     * Starts the hash chain of a tenant: every further event carries a hash over itself and its predecessor. Does nothing if it
     * has started. Returns the first position with a hash.
     */
    readonly startHashChain: (
      tenantId: TenantId
    ) => Effect.Effect<number, ReadError | TenantRefused<UnknownTenant>>
    /** The first position of a tenant's log that carries a hash; undefined if none does or will. */
    readonly hashChainStart: (tenantId: TenantId) => Effect.Effect<number | undefined, ReadError>
    /** Registers a tenant; does nothing if it is registered. Returns its status. */
    readonly provisionTenant: (tenantId: TenantId) => Effect.Effect<TenantStatus, ReadError>
    /** The status of a tenant; undefined if it is not registered. */
    readonly tenantStatus: (tenantId: TenantId) => Effect.Effect<TenantStatus | undefined, ReadError>
    /**
     * Records an access across tenants. Returns the id of the record: the given one, for an access that is also recorded
     * elsewhere, or a new one, greater than those before (a UUID of version 7).
     */
    readonly recordAccess: (
      access: CrossTenantAccess & { readonly operation: string; readonly accessId?: string | undefined }
    ) => Effect.Effect<string, StorageUnavailable>
    /** Suspends or resumes a tenant, in order with its appends. Returns its former status. */
    readonly setTenantStatus: (request: {
      readonly accessId: string
      readonly tenantId: TenantId
      readonly status: TenantStatus
    }) => Effect.Effect<TenantStatus, TenantRefused<UnknownTenant> | StorageUnavailable>
    /** Tenants ordered by id, after a given one. */
    readonly listTenants: (request: {
      readonly accessId: string
      readonly after: TenantId | undefined
      readonly limit: number
    }) => Effect.Effect<Page<TenantRow>, StorageUnavailable>
    /** Events of all tenants, tenant by tenant in the order of ids, each in the order of its log. */
    readonly readAllLogs: (request: {
      readonly accessId: string
      readonly after: { readonly tenantId: TenantId; readonly position: number } | undefined
      readonly limit: number
    }) => Effect.Effect<Page<TenantEventRow>, StorageUnavailable>
    /**
     * Usage in a range of time, by tenant and day, after a given tenant and day. Days without events are left out; of the first
     * and the last day only the part in the range counts. Reads the events of the days that it returns.
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
    /** Recorded accesses, newest first, before a given one. */
    readonly listAccesses: (request: {
      readonly accessId: string
      readonly before: string | undefined
      readonly limit: number
    }) => Effect.Effect<Page<CrossTenantAccessRow>, StorageUnavailable>
  }
>()("effect-eventsourcing/EventStorage") {}

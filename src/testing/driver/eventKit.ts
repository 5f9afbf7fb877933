/** Helpers of the suites for drivers: tenants, events, and shorthands for appending and reading. */
import { assert } from "@effect/vitest"
import { Effect, Result } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import {
  type AppendReceipt,
  type AppendRequest,
  type EventContent,
  EventStorage,
  type EventRow,
  type LoadStreamRequest,
  type NewEventRow,
  type OpenLogRequest,
  type Page,
  type ReadLogRequest,
  type ReadStreamRequest,
  type StreamAppend,
  type StreamEndRequest,
  type StreamPage,
  type TenantStatus
} from "../../driver/EventStorage.ts"
import type {
  AppendError,
  ExpectedVersion,
  ReadError,
  StorageUnavailable,
  TenantRefused
} from "../../driver/StoreError.ts"
import { TenantId } from "../../domain/Tenant.ts"
import { flipped, reasonOf } from "../failures.ts"

/** A new tenant, so that tests on one store do not meet. */
export const newTenant = (): TenantId => TenantId.make(uuidV4Unsafe())

/** Tenants in the order of their ids, by a number of up to four digits, without other tenants in between. */
export const newTenants = (): ((nth: number) => TenantId) => {
  // The last digits make the order; the random rest excludes other tenants.
  const common = uuidV4Unsafe().slice(0, -4)
  return (nth) => TenantId.make(`${common}${String(nth).padStart(4, "0")}`)
}

/** An event with an id of its own. */
export const event = (fields: Partial<NewEventRow> = {}): NewEventRow => ({
  eventId: uuidV4Unsafe(),
  eventType: "Happened",
  schemaVersion: 1,
  occurredAt: 1_600_000_000_000,
  actor: "somebody",
  correlationId: "correlation",
  causationId: "cause",
  metadata: '{"source":"suite"}',
  payload: '{"_tag":"Happened"}',
  tags: [],
  ...fields
})

/** The given number of events. */
export const events = (
  count: number,
  fields: Partial<Omit<NewEventRow, "eventId">> = {}
): Array<NewEventRow> => Array.from({ length: count }, () => event(fields))

/** The default type of the streams below. */
export const aggregateType = "Case"

/** Events for the stream of the given id. */
export const stream = (
  aggregateId: string,
  newEvents: ReadonlyArray<NewEventRow>,
  expectedVersion: ExpectedVersion = "any",
  type: string = aggregateType
): StreamAppend => ({ aggregateType: type, aggregateId, expectedVersion, events: newEvents })

/** An append. */
export const request = (tenantId: TenantId, ...streams: ReadonlyArray<StreamAppend>): AppendRequest => ({
  tenantId,
  streams
})

/** A value as plain data, for comparison. */
export interface Plain {
  readonly [field: string]: unknown
}

/** An outcome as plain data without times. */
export const plain = (outcome: Result.Result<AppendReceipt, AppendError>): Plain => {
  if (Result.isFailure(outcome)) return { ...reasonOf(outcome.failure) }
  const { positions, replayed, versions } = outcome.success
  return { _tag: "Appended", replayed, positions, versions }
}

/** The outcome of an append, successful or refused. */
export const attempt = (
  sent: AppendRequest
): Effect.Effect<Result.Result<AppendReceipt, AppendError>, never, EventStorage> =>
  EventStorage.use((storage) => Effect.result(storage.append(sent)))

/** The outcomes of concurrent appends in the given order, as plain data without times. */
export const batch = (
  ...requests: ReadonlyArray<AppendRequest>
): Effect.Effect<ReadonlyArray<Plain>, never, EventStorage> =>
  Effect.forEach(requests, (sent) => Effect.map(attempt(sent), plain), { concurrency: "unbounded" })

/** The outcome in {@link batch} of a successful append. */
export const appended = (positions: ReadonlyArray<number>, versions: ReadonlyArray<number>): Plain => ({
  _tag: "Appended",
  replayed: false,
  positions,
  versions
})

/** The outcome in {@link batch} of a repeated append. */
export const replayed = (positions: ReadonlyArray<number>, versions: ReadonlyArray<number>): Plain => ({
  _tag: "Appended",
  replayed: true,
  positions,
  versions
})

/** One append. */
export const append = (
  tenantId: TenantId,
  ...streams: ReadonlyArray<StreamAppend>
): Effect.Effect<AppendReceipt, AppendError, EventStorage> =>
  EventStorage.use((storage) => storage.append({ tenantId, streams }))

/** The reason why an append is refused, as plain data. */
export const refused = (
  tenantId: TenantId,
  ...streams: ReadonlyArray<StreamAppend>
): Effect.Effect<Plain, AppendReceipt, EventStorage> =>
  Effect.map(flipped(append(tenantId, ...streams)), (error) => ({ ...error }))

/** A page of a stream; the whole stream forwards unless stated otherwise. */
export const readStream = (
  tenantId: TenantId,
  aggregateId: string,
  options: Partial<ReadStreamRequest> = {}
): Effect.Effect<Page<EventRow>, ReadError, EventStorage> =>
  EventStorage.use((storage) =>
    storage.readStream({
      tenantId,
      aggregateType,
      aggregateId,
      fromVersion: 1,
      toVersion: 2_147_483_647,
      direction: "forwards",
      limit: 10_000,
      ...options
    })
  )

/** The parts of events that are folded. */
export const contentsOf = (rows: ReadonlyArray<EventContent>): Array<EventContent> =>
  rows.map(({ eventType, payload, schemaVersion, version: at }) => ({
    eventType,
    payload,
    schemaVersion,
    version: at
  }))

/** A page of a stream, to be folded; from its beginning unless stated otherwise. */
export const loadStream = (
  tenantId: TenantId,
  aggregateId: string,
  options: Partial<LoadStreamRequest> = {}
): Effect.Effect<StreamPage, ReadError, EventStorage> =>
  EventStorage.use((storage) =>
    storage.loadStream({
      tenantId,
      aggregateType,
      aggregateId,
      fromVersion: 1,
      toVersion: 2_147_483_647,
      limit: 10_000,
      ...options
    })
  )

/** True if a stream ends with an event. */
export const endsWith = (
  tenantId: TenantId,
  aggregateId: string,
  at: number,
  eventId: string,
  options: Partial<Pick<StreamEndRequest, "aggregateType" | "forgotten">> = {}
): Effect.Effect<boolean, ReadError, EventStorage> =>
  EventStorage.use((storage) =>
    storage.streamEndsWith({ tenantId, aggregateType, aggregateId, version: at, eventId, ...options })
  )

/** All pages of a range of a stream, to be folded. */
export const loadPages = Effect.fnUntraced(function* (
  tenantId: TenantId,
  aggregateId: string,
  options: Partial<LoadStreamRequest> = {}
) {
  const pages: Array<StreamPage> = []
  let { fromVersion = 1 } = options
  while (pages.at(-1)?.complete !== true) {
    const page = yield* loadStream(tenantId, aggregateId, { ...options, fromVersion })
    assert.isAtMost(page.rows.length, options.limit ?? Infinity)
    assert.isTrue(page.complete || page.last !== undefined)
    fromVersion = (page.last?.version ?? 0) + 1
    pages.push(page)
  }
  return pages
})

/** The events of a range of a stream, to be folded. */
export const loadAll = (
  tenantId: TenantId,
  aggregateId: string,
  options: Partial<LoadStreamRequest> = {}
): Effect.Effect<ReadonlyArray<EventContent>, ReadError, EventStorage> =>
  Effect.map(loadPages(tenantId, aggregateId, options), (pages) =>
    pages.flatMap(({ rows }) => contentsOf(rows))
  )

/** A page of a log; the whole log forwards unless stated otherwise. */
export const readLog = (
  tenantId: TenantId,
  options: Partial<ReadLogRequest> = {}
): Effect.Effect<Page<EventRow>, ReadError, EventStorage> =>
  EventStorage.use((storage) =>
    storage.readLog({
      tenantId,
      fromPosition: 1,
      toPosition: Number.MAX_SAFE_INTEGER,
      recordedFrom: undefined,
      recordedBefore: undefined,
      aggregateTypes: undefined,
      eventTypes: undefined,
      direction: "forwards",
      limit: 10_000,
      ...options
    })
  )

/**
 * The rows of a log that is opened; of the whole log unless stated otherwise. Undefined if the driver has pages alone. `limit` is that
 * of each page.
 */
export const readOpened = (
  tenantId: TenantId,
  options: Partial<OpenLogRequest> = {},
  limit = 1_000
): Effect.Effect<ReadonlyArray<EventRow> | undefined, ReadError, EventStorage> =>
  Effect.gen(function* () {
    const storage = yield* EventStorage
    const reader = yield* storage.openLog({
      tenantId,
      fromPosition: 1,
      toPosition: Number.MAX_SAFE_INTEGER,
      recordedFrom: undefined,
      recordedBefore: undefined,
      aggregateTypes: undefined,
      eventTypes: undefined,
      ...options
    })
    if (reader === undefined) return undefined
    const rows: Array<EventRow> = []
    for (;;) {
      const page = yield* reader.next(limit)
      assert.isAtMost(page.rows.length, limit)
      assert.isTrue(page.complete || page.rows.length > 0, "a page without rows is complete")
      rows.push(...page.rows)
      if (!page.complete) continue
      assert.isTrue(reader.isReady())
      assert.deepStrictEqual(yield* reader.next(limit), { rows: [], complete: true })
      return rows
    }
  }).pipe(Effect.scoped)

/** The ids of all events of a tenant, in the order of its log. */
export const eventIds = (tenantId: TenantId): Effect.Effect<ReadonlyArray<string>, ReadError, EventStorage> =>
  Effect.map(readLog(tenantId), ({ rows }) => rows.map((row) => row.eventId))

/** The version of a stream. */
export const version = (
  tenantId: TenantId,
  aggregateId: string
): Effect.Effect<number, ReadError, EventStorage> =>
  EventStorage.use((storage) => storage.streamVersion({ tenantId, aggregateType, aggregateId }))

/** The head of a log. */
export const position = (tenantId: TenantId): Effect.Effect<number, ReadError, EventStorage> =>
  Effect.map(
    EventStorage.use((storage) => storage.head({ tenantId })),
    (head) => head.position
  )

/** A recorded access, for reads across tenants. */
export const access: Effect.Effect<string, StorageUnavailable, EventStorage> = EventStorage.use((storage) =>
  storage.recordAccess({ actor: "suite", reason: "contract", operation: "test" })
)

/** Suspends or resumes a tenant. */
export const setStatus = (
  tenantId: TenantId,
  status: "active" | "suspended"
): Effect.Effect<TenantStatus, TenantRefused | StorageUnavailable, EventStorage> =>
  Effect.flatMap(access, (accessId) =>
    EventStorage.use((storage) => storage.setTenantStatus({ accessId, tenantId, status }))
  )

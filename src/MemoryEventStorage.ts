/**
 * A driver that keeps everything in memory: for tests, examples and as the oracle of the other drivers.
 */
import { Clock, Effect, Layer, PubSub, Result, Stream } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import * as EventStorage from "./EventStorage.ts"
import { isExpected } from "./internal/expectedVersion.ts"
import { sameJson } from "./internal/json.ts"
import { withHeads } from "./internal/memoryHeads.ts"
import {
  type AppendError,
  EventIdConflict,
  StorageUnavailable,
  TenantSuspended,
  UnknownTenant,
  VersionConflict
} from "./StoreError.ts"
import type { TenantId } from "./Tenant.ts"

/** Settings of {@link layerWith}. */
export interface Options {
  /** Whether the first append of an unknown tenant registers it. Default: true. */
  readonly provisionOnAppend?: boolean | undefined
}

const dayMillis = 86_400_000

/** A test clock stands between milliseconds after a jittered delay. */
const wholeMillis = Effect.map(Clock.currentTimeMillis, Math.floor)

/** One tenant's log, and what is needed to find events in it. Nothing in here is shared between tenants. */
class TenantLog {
  status: EventStorage.TenantStatus = "active"
  readonly createdAt: number
  readonly events: Array<EventStorage.EventRow> = []
  readonly #streams = new Map<string, Map<string, Array<EventStorage.EventRow>>>()
  readonly #byEventId = new Map<string, EventStorage.EventRow>()

  constructor(createdAt: number) {
    this.createdAt = createdAt
  }

  stream(aggregateType: string, aggregateId: string): ReadonlyArray<EventStorage.EventRow> {
    return this.#streams.get(aggregateType)?.get(aggregateId) ?? []
  }

  byEventId(eventId: string): EventStorage.EventRow | undefined {
    return this.#byEventId.get(eventId)
  }

  write(stream: EventStorage.StreamAppend, now: number): ReadonlyArray<EventStorage.EventRow> {
    const { aggregateType, aggregateId } = stream
    let ofType = this.#streams.get(aggregateType)
    if (ofType === undefined)
      this.#streams.set(aggregateType, (ofType = new Map<string, Array<EventStorage.EventRow>>()))
    let rows = ofType.get(aggregateId)
    if (rows === undefined) ofType.set(aggregateId, (rows = []))
    // The clock may go back; what is recorded does not.
    const recordedAt = Math.max(now, this.events.at(-1)?.recordedAt ?? now)
    const written: Array<EventStorage.EventRow> = []
    for (const event of stream.events) {
      const row: EventStorage.EventRow = {
        ...event,
        aggregateType,
        aggregateId,
        position: this.events.length + 1,
        version: rows.length + 1,
        recordedAt,
        hash: null
      }
      this.events.push(row)
      rows.push(row)
      this.#byEventId.set(event.eventId, row)
      written.push(row)
    }
    return written
  }

  /** What was recorded on each day of a time. */
  *usage(from: number, before: number): Generator<Omit<EventStorage.UsageRow, "tenantId">> {
    let first = this.positionAt(from)
    while (first <= this.events.length) {
      const recordedAt = this.events[first - 1]?.recordedAt ?? Infinity
      if (recordedAt >= before) return
      const day = Math.floor(recordedAt / dayMillis) * dayMillis
      const end = this.positionAt(Math.min(day + dayMillis, before))
      const events = this.events.slice(first - 1, end - 1)
      yield {
        day,
        events: events.length,
        bytes: events.reduce(
          (total, { metadata, payload }) => total + Buffer.byteLength(payload) + Buffer.byteLength(metadata),
          0
        ),
        streams: new Set(
          events.map(({ aggregateId, aggregateType }) => this.stream(aggregateType, aggregateId))
        ).size,
        newStreams: events.filter(({ version }) => version === 1).length
      }
      first = end
    }
  }

  /** The first position recorded at or after a time. */
  positionAt(time: number): number {
    let low = 1
    let high = this.events.length + 1
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if ((this.events[middle - 1]?.recordedAt ?? Infinity) >= time) high = middle
      else low = middle + 1
    }
    return low
  }
}

const receipt = (
  replayed: boolean,
  rows: ReadonlyArray<EventStorage.EventRow>
): EventStorage.AppendReceipt => ({
  replayed,
  positions: rows.map((row) => row.position),
  versions: rows.map((row) => row.version),
  recordedAt: rows.map((row) => row.recordedAt)
})

const sameContent = (
  stored: EventStorage.EventRow,
  stream: EventStorage.StreamAppend,
  event: EventStorage.NewEventRow
): boolean =>
  stored.aggregateType === stream.aggregateType &&
  stored.aggregateId === stream.aggregateId &&
  stored.eventType === event.eventType &&
  stored.schemaVersion === event.schemaVersion &&
  sameJson(stored.payload, event.payload) &&
  sameJson(stored.metadata, event.metadata)

const appendTo = (
  log: TenantLog,
  request: EventStorage.AppendRequest,
  now: number
): Result.Result<EventStorage.AppendReceipt, AppendError> => {
  const { tenantId, streams } = request
  if (log.status === "suspended") return Result.fail(new TenantSuspended({ tenantId }))
  const known: Array<EventStorage.EventRow> = []
  let events = 0
  let conflict: string | undefined
  for (const stream of streams) {
    for (const event of stream.events) {
      events++
      const stored = log.byEventId(event.eventId)
      if (stored === undefined) continue
      known.push(stored)
      if (conflict === undefined && !sameContent(stored, stream, event)) conflict = event.eventId
    }
  }
  // An append that was done before gets its first outcome again, whatever the version is by now.
  if (known[0] !== undefined) {
    if (conflict === undefined && known.length === events) return Result.succeed(receipt(true, known))
    return Result.fail(new EventIdConflict({ tenantId, eventId: conflict ?? known[0].eventId }))
  }
  for (const { aggregateType, aggregateId, expectedVersion } of streams) {
    const actual = log.stream(aggregateType, aggregateId).length
    if (!isExpected(expectedVersion, actual)) {
      return Result.fail(
        new VersionConflict({ tenantId, aggregateType, aggregateId, expected: expectedVersion, actual })
      )
    }
  }
  return Result.succeed(
    receipt(
      false,
      streams.flatMap((stream) => log.write(stream, now))
    )
  )
}

/** Rows between two places (1-based, inclusive), and whether that is all of them. */
const pageOf = <Row>(
  rows: ReadonlyArray<Row>,
  from: number,
  to: number,
  direction: EventStorage.Direction,
  limit: number,
  keep: (row: Row) => boolean
): EventStorage.Page<Row> => {
  const first = Math.max(1, Math.ceil(from))
  const last = Math.min(rows.length, Math.floor(to))
  const page: Array<Row> = []
  const step = direction === "forwards" ? 1 : -1
  for (let at = direction === "forwards" ? first : last; at >= first && at <= last; at += step) {
    const row = rows[at - 1]
    if (row === undefined || !keep(row)) continue
    if (page.length === limit) return { rows: page, complete: false }
    page.push(row)
  }
  return { rows: page, complete: true }
}

const make = Effect.fnUntraced(function* (options: Options) {
  const grown = yield* PubSub.sliding<void>(1)
  const provisionOnAppend = options.provisionOnAppend ?? true
  const logs = new Map<TenantId, TenantLog>()
  const accesses: Array<EventStorage.CrossTenantAccessRow> = []
  const sortedTenants = () => [...logs.keys()].toSorted()

  const provision = (tenantId: TenantId, now: number): TenantLog => {
    let log = logs.get(tenantId)
    if (log === undefined) logs.set(tenantId, (log = new TenantLog(now)))
    return log
  }

  const withAccess = <A, E>(
    operation: string,
    accessId: string,
    run: () => Effect.Effect<A, E>
  ): Effect.Effect<A, E | StorageUnavailable> =>
    Effect.suspend((): Effect.Effect<A, E | StorageUnavailable> =>
      accesses.some((access) => access.accessId === accessId)
        ? run()
        : Effect.fail(new StorageUnavailable({ operation, retryable: false, code: "ES004" }))
    )

  const service = EventStorage.EventStorage.of({
    changes: Stream.fromPubSub(grown),
    append: (requests) =>
      Effect.map(wholeMillis, (now) => {
        const outcomes = requests.map((request) => {
          const log = provisionOnAppend ? provision(request.tenantId, now) : logs.get(request.tenantId)
          return log === undefined
            ? Result.fail(new UnknownTenant({ tenantId: request.tenantId }))
            : appendTo(log, request, now)
        })
        PubSub.publishUnsafe(grown, undefined)
        return outcomes
      }),
    readStream: (request) =>
      Effect.sync(() =>
        pageOf(
          logs.get(request.tenantId)?.stream(request.aggregateType, request.aggregateId) ?? [],
          request.fromVersion,
          request.toVersion,
          request.direction,
          request.limit,
          () => true
        )
      ),
    readLog: (request) =>
      Effect.sync(() => {
        const log = logs.get(request.tenantId)
        if (log === undefined) return { rows: [], complete: true }
        const { recordedFrom, recordedBefore, aggregateTypes, eventTypes } = request
        return pageOf(
          log.events,
          recordedFrom === undefined
            ? request.fromPosition
            : Math.max(request.fromPosition, log.positionAt(recordedFrom)),
          recordedBefore === undefined
            ? request.toPosition
            : Math.min(request.toPosition, log.positionAt(recordedBefore) - 1),
          request.direction,
          request.limit,
          (row) =>
            (aggregateTypes === undefined || aggregateTypes.includes(row.aggregateType)) &&
            (eventTypes === undefined || eventTypes.includes(row.eventType))
        )
      }),
    streamVersion: (request) =>
      Effect.sync(
        () => logs.get(request.tenantId)?.stream(request.aggregateType, request.aggregateId).length ?? 0
      ),
    position: (tenantId) => Effect.sync(() => logs.get(tenantId)?.events.length ?? 0),
    commandOutcome: () => Effect.succeed(undefined),
    startHashChain: () => Effect.die(new Error("not implemented yet")),
    hashChainStart: () => Effect.succeed(undefined),
    provisionTenant: (tenantId) => Effect.map(wholeMillis, (now) => provision(tenantId, now).status),
    tenantStatus: (tenantId) => Effect.sync(() => logs.get(tenantId)?.status),
    recordAccess: ({ actor, reason, operation, accessId: given }) =>
      Effect.map(wholeMillis, (accessedAt) => {
        const accessId = given ?? uuidV7Unsafe()
        if (!accesses.some((access) => access.accessId === accessId))
          accesses.push({ accessId, accessedAt, actor, reason, operation })
        return accessId
      }),
    setTenantStatus: ({ accessId, tenantId, status }) =>
      withAccess("set the status of a tenant", accessId, () => {
        const log = logs.get(tenantId)
        if (log === undefined) return Effect.fail(new UnknownTenant({ tenantId }))
        const former = log.status
        log.status = status
        return Effect.succeed(former)
      }),
    listTenants: ({ accessId, after, limit }) =>
      withAccess("list tenants", accessId, () => {
        const tenants = sortedTenants().filter((tenantId) => after === undefined || tenantId > after)
        const rows = tenants.slice(0, limit).flatMap((tenantId) => {
          const log = logs.get(tenantId)
          return log === undefined
            ? []
            : [{ tenantId, status: log.status, createdAt: log.createdAt, position: log.events.length }]
        })
        return Effect.succeed({ rows, complete: tenants.length <= limit })
      }),
    readAllLogs: ({ accessId, after, limit }) =>
      withAccess(
        "read all logs",
        accessId,
        (): Effect.Effect<EventStorage.Page<EventStorage.TenantEventRow>> => {
          const rows: Array<EventStorage.TenantEventRow> = []
          for (const tenantId of sortedTenants()) {
            if (after !== undefined && tenantId < after.tenantId) continue
            const from = tenantId === after?.tenantId ? Math.max(after.position, 0) : 0
            for (const row of logs.get(tenantId)?.events.slice(from, from + limit + 1) ?? []) {
              if (rows.length === limit) return Effect.succeed({ rows, complete: false })
              rows.push({ ...row, tenantId })
            }
          }
          return Effect.succeed({ rows, complete: true })
        }
      ),
    usage: ({ accessId, after, limit, recordedBefore, recordedFrom }) =>
      withAccess(
        "read the usage of tenants",
        accessId,
        (): Effect.Effect<EventStorage.Page<EventStorage.UsageRow>> => {
          const rows: Array<EventStorage.UsageRow> = []
          for (const tenantId of sortedTenants()) {
            if (after !== undefined && tenantId < after.tenantId) continue
            const done = tenantId === after?.tenantId ? after.day + dayMillis : -Infinity
            for (const row of logs.get(tenantId)?.usage(Math.max(recordedFrom, done), recordedBefore) ?? []) {
              if (rows.length === limit) return Effect.succeed({ rows, complete: false })
              rows.push({ tenantId, ...row })
            }
          }
          return Effect.succeed({ rows, complete: true })
        }
      ),
    listAccesses: ({ accessId, before, limit }) =>
      withAccess("list cross-tenant accesses", accessId, () => {
        const older = accesses
          .filter((access) => before === undefined || access.accessId < before)
          .toSorted((one, other) => (one.accessId < other.accessId ? 1 : -1))
        return Effect.succeed({ rows: older.slice(0, limit), complete: older.length <= limit })
      })
  })
  return withHeads(service, () => Array.from(logs, ([tenantId, log]) => [tenantId, log.events.length]))
})

/** A store in memory. Every build of the layer is a new, empty store. */
export const layer: Layer.Layer<EventStorage.EventStorage> = Layer.effect(EventStorage.EventStorage, make({}))

/** A store in memory, with settings. */
export const layerWith = (options: Options): Layer.Layer<EventStorage.EventStorage> =>
  Layer.effect(EventStorage.EventStorage, make(options))

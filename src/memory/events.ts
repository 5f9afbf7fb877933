/**
 * Events in memory: for tests, examples and as the oracle of the other drivers.
 */
import { type Duration, Effect, Exit, PubSub, Stream } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import * as EventStorage from "../driver/EventStorage.ts"
import { byCodePoints } from "../driver/codePoints.ts"
import { appendTo, commandRow } from "./append.ts"
import { dayMillis, TenantLog } from "./tenantLog.ts"
import type { Plans } from "./quota.ts"
import { makeReservations } from "./reservations.ts"
import { Transactions } from "./transactions.ts"
import { matches } from "../driver/queryMatch.ts"
import { defaultMoveWait, waitForMoves } from "../driver/moves.ts"
import { readRefusal, refuseUnsealed, writeRefusal } from "../driver/refusals.ts"
import { currentMillis, wholeMillis } from "../internal/clock.ts"
import { OtherFailure, StorageUnavailable, TenantRefused, UnknownTenant } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** Settings of a store in memory. */
export interface Options {
  /** Registers an unknown tenant with its first append. Default: true. */
  readonly provisionOnAppend?: boolean | undefined
  /**
   * Maximum wait of an append whose tenant is just moving to another storage; afterwards it fails with `TenantRefused`
   * (`TenantMoving`). Default: 10 seconds.
   */
  readonly moveWait?: Duration.Input | undefined
}

type StreamKey = Pick<EventStorage.StreamRow, "aggregateType" | "aggregateId">

const compareStreams = (one: StreamKey, other: StreamKey): number =>
  byCodePoints(one.aggregateType, other.aggregateType) || byCodePoints(one.aggregateId, other.aggregateId)

/** Rows from one index to another (1-based, inclusive). The page is complete if it reaches the end of the range. */
const pageOf = <Row>(
  rows: ReadonlyArray<Row>,
  from: number,
  to: number,
  direction: EventStorage.Direction,
  limit: number,
  keep: (row: Row) => boolean
): EventStorage.Page<Row> => {
  const first = Math.max(1, from)
  const last = Math.min(rows.length, to)
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

/** The last position of each tenant's log. */
export type Heads = () => Iterable<readonly [tenantId: TenantId, head: number]>

/** A new, empty store with the heads of its logs, which the driver contract shows only with a recorded access. */
export const make = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<{
  readonly events: EventStorage.EventStorage["Service"]
  readonly transactions: Transactions
  readonly heads: Heads
  readonly accesses: ReadonlyArray<EventStorage.CrossTenantAccessRow>
  readonly logs: Map<TenantId, TenantLog>
  readonly plans: Plans
}> {
  const changed = yield* PubSub.sliding<void>(1)
  const provisionOnAppend = options.provisionOnAppend ?? true
  const logs = new Map<TenantId, TenantLog>()
  const plans: Plans = new Map()
  const transactions = new Transactions(logs, () => PubSub.publishUnsafe(changed, undefined))

  /** Reads a tenant's log, unless the tenant's status hides it. */
  const read = <A>(
    operation: string,
    tenantId: TenantId,
    run: (log: TenantLog | undefined) => A
  ): Effect.Effect<A, StorageUnavailable> =>
    Effect.suspend(() => {
      const log = transactions.log(tenantId)
      const refused = log === undefined ? undefined : readRefusal(operation, log.status)
      return refused === undefined ? Effect.succeed(run(log)) : Effect.fail(refused)
    })
  const accesses: Array<EventStorage.CrossTenantAccessRow> = []
  /** Those that work across tenants sees. */
  const sortedTenants = () =>
    [...logs]
      .flatMap(([tenantId, log]) => (readRefusal("", log.status) === undefined ? [tenantId] : []))
      .toSorted()

  const provision = (tenantId: TenantId, now: number): TenantLog => {
    let log = transactions.log(tenantId)
    if (log === undefined) logs.set(tenantId, (log = new TenantLog(tenantId, now)))
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
        : Effect.fail(
            new StorageUnavailable({
              reason: new OtherFailure({
                operation,
                retryable: false,
                code: "ES004",
                remedy: "the access across tenants is not recorded: provide it with Tenant.provideAll"
              })
            })
          )
    )

  const events = EventStorage.EventStorage.of({
    changes: Stream.fromPubSub(changed),
    append: (request) =>
      Effect.withFiber(({ context }) => {
        refuseUnsealed(request)
        const now = wholeMillis(context)
        const { tenantId } = request
        return transactions.changeNow(
          tenantId,
          () => (provisionOnAppend ? provision(tenantId, now) : transactions.log(tenantId)),
          (log) => {
            if (log === undefined)
              return Exit.fail(new TenantRefused({ reason: new UnknownTenant({ tenantId }) }))
            const outcome = appendTo(log, request, now, plans)
            PubSub.publishUnsafe(changed, undefined)
            return outcome
          }
        )
      }),
    readStream: (request) =>
      read("read a stream", request.tenantId, (log) =>
        pageOf(
          log?.stream(request.aggregateType, request.aggregateId) ?? [],
          request.fromVersion,
          request.toVersion,
          request.direction,
          request.limit,
          () => true
        )
      ),
    loadStream: ({ aggregateId, aggregateType, fromVersion, limit, tenantId, toVersion }) =>
      read("load a stream", tenantId, (log) => {
        const stream = log?.stream(aggregateType, aggregateId) ?? []
        const first = Math.max(fromVersion, 1) - 1
        const end = Math.min(toVersion, stream.length)
        const rows = stream.slice(first, Math.max(Math.min(first + limit, end), first))
        const last = rows.at(-1)
        return {
          rows,
          complete: first + rows.length >= end,
          firstEventId: rows[0]?.eventId,
          last: last && {
            version: last.version,
            position: last.position,
            eventId: last.eventId,
            recordedAt: last.recordedAt
          }
        }
      }),
    reserveStream: makeReservations(),
    streamEndsWith: ({ aggregateId, aggregateType, eventId, forgotten, tenantId, version }) =>
      read("confirm a state", tenantId, (log) => {
        const last = log?.stream(aggregateType, aggregateId).at(-1)
        return (
          last?.version === version &&
          last.eventId === eventId &&
          (forgotten === undefined || log?.administered.subjects.forgotten === forgotten)
        )
      }),
    forgottenSubjects: ({ after, tenantId }) =>
      read(
        "read the number of forgotten subjects",
        tenantId,
        (log) => log?.administered.subjects.after(after) ?? { forgotten: 0, subjects: [] }
      ),
    readLog: (request) =>
      read("read a log", request.tenantId, (log) => {
        if (log === undefined) return { rows: [], complete: true }
        const { recordedFrom, recordedBefore, aggregateTypes, eventTypes, query } = request
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
            (eventTypes === undefined || eventTypes.includes(row.eventType)) &&
            (query === undefined || matches(query, row))
        )
      }),
    // pages cost nothing here
    openLog: () => Effect.undefined,
    streamVersion: (request) =>
      read(
        "read a version",
        request.tenantId,
        (log) => log?.version(request.aggregateType, request.aggregateId) ?? 0
      ),
    listStreams: ({ after, aggregateType, limit, tenantId }) =>
      read("list streams", tenantId, (log) => {
        const following = (log?.streams() ?? [])
          .filter(
            (stream) =>
              (aggregateType === undefined || stream.aggregateType === aggregateType) &&
              (after === undefined || compareStreams(stream, after) > 0)
          )
          .toSorted(compareStreams)
        return { rows: following.slice(0, limit), complete: following.length <= limit }
      }),
    head: ({ at = 0, tenantId }) =>
      read("read the head of a log", tenantId, (log) => {
        const rows = log?.events ?? []
        return {
          position: rows.length,
          eventId: rows.at(-1)?.eventId ?? null,
          eventIdAt: rows[at - 1]?.eventId ?? null
        }
      }),
    eventPosition: ({ eventId, tenantId }) =>
      read("find an event", tenantId, (log) => log?.byEventId(eventId)?.position),
    inTransaction: transactions.inTransaction,
    commandOutcome: ({ key, tenantId }) =>
      Effect.flatMap(currentMillis, (now) =>
        read("read the outcome of a command", tenantId, (log) => {
          const stored = log?.command(key, now)
          return stored === undefined ? undefined : commandRow(stored)
        })
      ),
    startHashChain: (tenantId) =>
      transactions.change(
        tenantId,
        () => transactions.log(tenantId),
        (log) =>
          log === undefined
            ? Effect.fail(new TenantRefused({ reason: new UnknownTenant({ tenantId }) }))
            : Effect.succeed((log.chainedFrom ??= log.events.length + 1))
      ),
    hashChainStart: (tenantId) => Effect.sync(() => transactions.log(tenantId)?.chainedFrom),
    provisionTenant: (tenantId) => Effect.map(currentMillis, (now) => provision(tenantId, now).status),
    tenantStatus: (tenantId) =>
      Effect.map(currentMillis, (now) => {
        const log = transactions.log(tenantId)
        const state = log?.administered.state
        if (log !== undefined && state?.status === "moving" && state.expiresInMillis <= now)
          log.administered.state = { status: "active" }
        return log?.status
      }),
    movedTo: (tenantId) =>
      Effect.sync(() => {
        const state = transactions.log(tenantId)?.administered.state
        return state?.status === "moved" ? state.to : undefined
      }),
    recordAccess: ({ actor, reason, operation, parameters, accessId: given }) =>
      Effect.map(currentMillis, (accessedAt) => {
        const accessId = given ?? uuidV7Unsafe()
        if (!accesses.some((access) => access.accessId === accessId))
          accesses.push({
            accessId,
            accessedAt,
            actor,
            reason,
            operation,
            ...(parameters === undefined ? undefined : { parameters })
          })
        return accessId
      }),
    completeAccess: ({ accessId, outcome }) =>
      withAccess("complete the record of an operation", accessId, () =>
        Effect.map(currentMillis, (completedAt) => {
          const index = accesses.findIndex((access) => access.accessId === accessId)
          const access = accesses[index]
          if (access?.parameters === undefined || access.completed !== undefined) return false
          accesses[index] = { ...access, completed: { completedAt, outcome } }
          return true
        })
      ),
    setTenantStatus: ({ accessId, tenantId, status }) =>
      withAccess("set the status of a tenant", accessId, () => {
        const log = logs.get(tenantId)
        if (log === undefined)
          return Effect.fail(new TenantRefused({ reason: new UnknownTenant({ tenantId }) }))
        const former = log.status
        const refused = former === "suspended" ? undefined : writeRefusal(tenantId, former)
        if (refused !== undefined) return Effect.fail(refused)
        log.administered.state = { status }
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
            const from = tenantId === after?.tenantId ? after.position : 0
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
    listAccesses: ({ accessId, before, limit, operation }) =>
      withAccess("list cross-tenant accesses", accessId, () => {
        const older = accesses
          .filter((access) => before === undefined || access.accessId < before)
          .filter(
            (access) =>
              operation === undefined || (access.parameters !== undefined && access.operation === operation)
          )
          .toSorted((one, other) => (one.accessId < other.accessId ? 1 : -1))
        return Effect.succeed({ rows: older.slice(0, limit), complete: older.length <= limit })
      })
  })
  const append = yield* waitForMoves(events, options.moveWait ?? defaultMoveWait)
  return {
    events: { ...events, append },
    transactions,
    accesses,
    logs,
    plans,
    // projections work only on tenants that can be read, and not on those that are just moving away
    heads: () =>
      [...logs].flatMap(([tenantId, log]) =>
        log.status === "active" || log.status === "suspended" ? [[tenantId, log.events.length] as const] : []
      )
  }
})

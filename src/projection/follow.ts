/** Follows logs step by step, from stored events to new ones, with at most a page in memory. */
import { Duration, Effect, Schedule } from "effect"
import type * as Event from "../domain/Event.ts"
import type { EventQuery, EventRow, EventStorage, LogHead, Page } from "../driver/EventStorage.ts"
import type { PositionAhead, PositionDiverged, ReadError, StorageUnavailable } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { type Decoded, reportSkipped } from "../store/decode.ts"
import type { Wait, Waiting } from "./hints.ts"
import { positionProblem, type Known, knownOf } from "./keptPosition.ts"
import { listTenants } from "../store/crossTenant.ts"

/** Options of following logs. */
export interface Settings {
  /** Maximum number of events per page. */
  readonly pageSize?: number | undefined
  /** Interval of polls without a hint. */
  readonly pollInterval?: Duration.Input | undefined
  /** Schedule of retries after a transient failure of the storage. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
}

/** An undecodable event with its position. */
interface Undecodable {
  readonly reason: { readonly position: number }
}

/** The source of a followed log. */
export interface Options<A, E extends Undecodable> extends Settings {
  readonly storage: EventStorage["Service"]
  readonly aggregateTypes: ReadonlyArray<string> | undefined
  readonly eventTypes: ReadonlyArray<string> | undefined
  readonly query?: EventQuery | undefined
  readonly decode: (tenantId: TenantId, rows: ReadonlyArray<EventRow>) => Decoded<A, E>
  readonly wait: Wait
}

/** The events of a step, and the state for the next one. */
export interface Step<A, State> {
  readonly events: ReadonlyArray<A>
  readonly state: State
}

/** Endless retries, 0.1, 0.2, 0.4 … and at most 5 seconds apart, jittered. */
export const retryForever: Schedule.Schedule<unknown> = Schedule.min([
  Schedule.exponential("100 millis"),
  Schedule.spaced("5 seconds")
]).pipe(Schedule.jittered)

const defaultPageSize = 500

/** Maximum number of logs that are read at the same time when all tenants are followed. */
const concurrency = 4

const settings = (options: Settings) => {
  const { pageSize = defaultPageSize, pollInterval = "1 second", retry = retryForever } = options
  if (!Number.isSafeInteger(pageSize) || pageSize < 1)
    throw new RangeError("pageSize must be a positive integer")
  const pollMillis = Duration.toMillis(pollInterval)
  if (!(pollMillis > 0)) throw new RangeError("pollInterval must be longer than zero")
  return {
    pageSize,
    pollMillis,
    patiently: <A, E extends ReadError>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      effect.pipe(
        Effect.tapError((error) =>
          isPassing(error) ? Effect.logDebug(`A subscription waits: ${error.message}`) : Effect.void
        ),
        Effect.retry({ while: isPassing, schedule: retry })
      )
  }
}

const isPassing = (error: ReadError): error is StorageUnavailable =>
  error._tag === "StorageUnavailable" && error.retryable

/**
 * The delay after a number of consecutive `fruitless` hints. Such hints concern other tenants and cost a poll each; the more there
 * are, the longer the next poll is delayed, up to a quarter of the poll interval.
 */
const waiting = (fruitless: number, pollMillis: number): Waiting => ({
  atLeast: fruitless < 2 ? 0 : Math.min(2 ** Math.min(fruitless, 20), pollMillis / 4),
  atMost: pollMillis
})

/** The state of a follower of one log. */
export interface Place<E> {
  /** The position up to which everything was emitted. Undefined for the head of the log. */
  readonly known: Known | undefined
  /** The last known event of the log. */
  readonly head: Known
  /** Number of consecutive fruitless hints. Undefined before the first poll. */
  readonly fruitless: number | undefined
  /** The reason why it has stopped. */
  readonly failure: E | undefined
}

const beginning: Known = { position: 0, eventId: undefined }

export const start = <E>(known: Known | undefined): Place<E> => ({
  known,
  head: beginning,
  fruitless: undefined,
  failure: undefined
})

/** The event up to which a page has emitted everything. Its id is needed only to read on, which nobody does after a failure. */
const endOf = (
  rows: ReadonlyArray<EventRow>,
  complete: boolean,
  head: Known,
  { failure }: Decoded<unknown, Undecodable>
): Known => {
  if (failure !== undefined) return { position: failure.reason.position - 1, eventId: undefined }
  return complete ? head : (rows.at(-1) ?? head)
}

/** The reason why a follower has stopped. */
export type FollowError = ReadError | PositionAhead | PositionDiverged

/**
 * Follows one log. It looks up the head separately, which is cheap however rare the followed events are, and scans nothing twice.
 * Each look-up also checks that the last emitted event is still in the log.
 */
export const follow = <A, E extends Undecodable>(tenantId: TenantId, options: Options<A, E>) => {
  const { storage, wait } = options
  const { pageSize, pollMillis, patiently } = settings(options)

  const look = (place: Place<E>): Effect.Effect<Step<A, Place<E>>, FollowError> =>
    Effect.gen(function* () {
      const { fruitless } = place
      const hinted = fruitless !== undefined && (yield* wait(waiting(fruitless, pollMillis)))
      const found = yield* patiently(storage.head({ tenantId, at: place.known?.position }))
      const head = { position: found.position, eventId: found.eventId ?? undefined }
      const problem = place.known && positionProblem(tenantId, place.known, found)
      if (problem !== undefined) return yield* problem
      const known = place.known === undefined ? head : learned(place.known, found)
      return {
        events: [],
        state: {
          ...place,
          known,
          head,
          fruitless: hinted && head.position <= known.position ? (fruitless ?? 0) + 1 : 0
        }
      }
    })

  return (place: Place<E>): Effect.Effect<Step<A, Place<E>>, FollowError | E> => {
    const { known, head, failure } = place
    if (failure !== undefined) return Effect.fail(failure)
    if (known === undefined || known.position >= head.position) return look(place)
    return Effect.flatMap(
      patiently(readOn(options, tenantId, known.position, head.position, pageSize)),
      ({ rows, complete }) => {
        const page = options.decode(tenantId, rows)
        return Effect.as(reportSkipped(page), {
          events: page.events,
          state: { known: endOf(rows, complete, head, page), head, fruitless: 0, failure: page.failure }
        })
      }
    )
  }
}

/** Adds the id of the present event if none was known. */
const learned = (known: Known, { eventIdAt }: LogHead): Known => ({
  position: known.position,
  eventId: known.eventId ?? eventIdAt ?? undefined
})

const readOn = <A, E extends Undecodable>(
  { aggregateTypes, eventTypes, query, storage }: Options<A, E>,
  tenantId: TenantId,
  after: number,
  toPosition: number,
  limit: number
): Effect.Effect<Page<EventRow>, ReadError> =>
  storage.readLog({
    tenantId,
    fromPosition: after + 1,
    toPosition,
    recordedFrom: undefined,
    recordedBefore: undefined,
    aggregateTypes,
    eventTypes,
    query,
    direction: "forwards",
    limit
  })

/** The state of a follower of all logs. */
export interface Places<E> {
  /** The position up to which everything was emitted, by tenant. */
  readonly positions: Map<TenantId, Known>
  /** Logs whose end has changed, in the order in which they are read, with the end once a page was read. */
  readonly changed: ReadonlyArray<{ readonly tenantId: TenantId; readonly head: Known | undefined }>
  readonly fruitless: number | undefined
  /** True if events that exist at the start are skipped. */
  readonly fromEnd: boolean
  /** Duration of the last look-up of all heads, in milliseconds. */
  readonly cost: number
  readonly failure: E | undefined
}

export const startAll = <E>(after: ReadonlyMap<TenantId, number | Event.Position> | "end"): Places<E> => ({
  positions: new Map(
    after === "end" ? [] : Array.from(after, ([tenantId, position]) => [tenantId, knownOf(position)])
  ),
  changed: [],
  fruitless: undefined,
  fromEnd: after === "end",
  cost: 0,
  failure: undefined
})

/** Follows all logs: reads a page of each changed one in turn, so that none waits for the end of another. */
export const followAll = <A, E extends Undecodable>(accessId: string, options: Options<A, E>) => {
  const { storage, wait } = options
  const { pageSize, pollMillis, patiently } = settings(options)

  const look = (places: Places<E>): Effect.Effect<Step<A, Places<E>>, FollowError> =>
    Effect.gen(function* () {
      const { fruitless, positions, fromEnd, cost } = places
      const { atLeast, atMost } = waiting(fruitless ?? 0, pollMillis)
      // Look-ups of all tenants must not take up the whole database.
      const pause = { atLeast: Math.max(atLeast, cost), atMost: Math.max(atMost, cost) }
      const hinted = fruitless !== undefined && (yield* wait(pause))
      const [elapsed, tenants] = yield* Effect.timed(patiently(listTenants(storage, accessId)))
      if (fromEnd)
        for (const { tenantId, position } of tenants)
          positions.set(tenantId, { position, eventId: undefined })
      const changed = tenants.flatMap(({ tenantId, position }) =>
        position === (positions.get(tenantId) ?? beginning).position ? [] : [{ tenantId, head: undefined }]
      )
      return {
        events: [],
        state: {
          positions,
          changed,
          fruitless: hinted && changed.length === 0 ? (fruitless ?? 0) + 1 : 0,
          fromEnd: false,
          cost: Duration.toMillis(elapsed),
          failure: undefined
        }
      }
    })

  /** The end of a changed log, unless the log was replaced. */
  const lookAt = (tenantId: TenantId, known: Known): Effect.Effect<Known, FollowError> =>
    Effect.flatMap(
      patiently(storage.head({ tenantId, at: known.position })),
      (found): Effect.Effect<Known, FollowError> => {
        const problem = positionProblem(tenantId, known, found)
        return problem === undefined
          ? Effect.succeed({ position: found.position, eventId: found.eventId ?? undefined })
          : Effect.fail(problem)
      }
    )

  /** The next page of a changed log. Its end stays as it was found, so that others have their turn. */
  const read = Effect.fnUntraced(function* (
    positions: Places<E>["positions"],
    { head: found, tenantId }: Places<E>["changed"][number]
  ) {
    const known = positions.get(tenantId) ?? beginning
    const head = found ?? (yield* lookAt(tenantId, known))
    const page = yield* patiently(readOn(options, tenantId, known.position, head.position, pageSize))
    return { tenantId, head, ...page }
  })

  return (places: Places<E>): Effect.Effect<Step<A, Places<E>>, FollowError | E> => {
    const { positions, changed, failure } = places
    if (failure !== undefined) return Effect.fail(failure)
    if (changed.length === 0) return look(places)
    const reading = Effect.forEach(changed.slice(0, concurrency), (log) => read(positions, log), {
      concurrency
    })
    return Effect.flatMap(reading, (pages) => {
      const skipped: Array<Effect.Effect<void>> = []
      const events: Array<A> = []
      const unfinished: Array<Places<E>["changed"][number]> = []
      let decodeFailure: E | undefined
      for (const { tenantId, head, rows, complete } of pages) {
        const page = options.decode(tenantId, rows)
        events.push(...page.events)
        skipped.push(reportSkipped(page))
        decodeFailure ??= page.failure
        positions.set(tenantId, endOf(rows, complete, head, page))
        if (!complete) unfinished.push({ tenantId, head })
      }
      return Effect.as(Effect.all(skipped, { discard: true }), {
        events,
        state: { ...places, changed: [...changed.slice(concurrency), ...unfinished], failure: decodeFailure }
      })
    })
  }
}

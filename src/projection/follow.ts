/** Following logs: a step at a time, from what is there to what is appended, with no more in memory than a page. */
import { Duration, Effect, Schedule } from "effect"
import type { EventRow, EventStorage } from "../driver/EventStorage.ts"
import type { ReadError, StorageUnavailable } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { type Decoded, reportSkipped } from "../store/decode.ts"
import type { Wait, Waiting } from "./hints.ts"
import { listTenants } from "../store/crossTenant.ts"

/** How logs are followed. */
export interface Settings {
  /** Events a page has at most. */
  readonly pageSize?: number | undefined
  /** How often is looked without a hint. */
  readonly pollInterval?: Duration.Input | undefined
  /** When a storage that is unavailable for a while is asked again. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
}

/** An event that cannot be decoded, and its position. */
interface Undecodable {
  readonly reason: { readonly position: number }
}

/** What is followed, and how it is read. */
export interface Options<A, E extends Undecodable> extends Settings {
  readonly storage: EventStorage["Service"]
  readonly aggregateTypes: ReadonlyArray<string> | undefined
  readonly eventTypes: ReadonlyArray<string> | undefined
  readonly decode: (tenantId: TenantId, rows: ReadonlyArray<EventRow>) => Decoded<A, E>
  readonly wait: Wait
}

/** What a step has found. */
export interface Step<A, State> {
  readonly events: ReadonlyArray<A>
  readonly state: State
}

/** 0.1, 0.2, 0.4 … up to 5 seconds apart, jittered, without an end. */
export const retryForever: Schedule.Schedule<unknown> = Schedule.min([
  Schedule.exponential("100 millis"),
  Schedule.spaced("5 seconds")
]).pipe(Schedule.jittered)

const defaultPageSize = 500

/** At most as many logs are read at the same time when all tenants are followed. */
const concurrency = 4

const settings = (options: Settings) => {
  const { pageSize = defaultPageSize, pollInterval = "1 second", retry = retryForever } = options
  if (!Number.isSafeInteger(pageSize) || pageSize < 1)
    throw new RangeError("pageSize must be a positive integer")
  const pollMillis = Duration.toMillis(pollInterval)
  if (!(pollMillis > 0)) throw new RangeError("pollInterval must be longer than nothing")
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
 * How long to wait after `fruitless` hints in a row at which nothing was found. They were about other tenants and cost a
 * look each; the more of them there are, the longer the next is put off, up to a quarter of the poll interval.
 */
const waiting = (fruitless: number, pollMillis: number): Waiting => ({
  atLeast: fruitless < 2 ? 0 : Math.min(2 ** Math.min(fruitless, 20), pollMillis / 4),
  atMost: pollMillis
})

/** A position that a caller gave, as one to read from. */
export const startingAt = (position: number): number => {
  if (!Number.isSafeInteger(position)) throw new RangeError("a position is an integer")
  return Math.max(1, position)
}

/** Up to which position a page has given everything. */
const endOf = (
  rows: ReadonlyArray<EventRow>,
  complete: boolean,
  head: number,
  { failure }: Decoded<unknown, Undecodable>
): number => {
  if (failure !== undefined) return failure.reason.position - 1
  return complete ? head : (rows.at(-1)?.position ?? head)
}

/** Where the follower of a log is. */
export interface Place<E> {
  /** Everything up to here has been given out. Undefined: at the head of the log, wherever that is. */
  readonly position: number | undefined
  /** The last position of the log, as far as it is known. */
  readonly head: number
  /** How often in a row nothing was found at a hint. Undefined: nobody has looked. */
  readonly fruitless: number | undefined
  /** Why it does not go on. */
  readonly failure: E | undefined
}

export const start = <E>(position: number | undefined): Place<E> => ({
  position,
  head: 0,
  fruitless: undefined,
  failure: undefined
})

/**
 * Follows one log. The head is looked up on its own: that is cheap however rare the events are that are followed, and
 * nothing is scanned twice.
 */
export const follow = <A, E extends Undecodable>(tenantId: TenantId, options: Options<A, E>) => {
  const { storage, aggregateTypes, eventTypes, decode, wait } = options
  const { pageSize, pollMillis, patiently } = settings(options)

  const look = (place: Place<E>): Effect.Effect<Step<A, Place<E>>, ReadError> =>
    Effect.gen(function* () {
      const { fruitless } = place
      const hinted = fruitless !== undefined && (yield* wait(waiting(fruitless, pollMillis)))
      const { position: head } = yield* patiently(storage.head({ tenantId }))
      const { position = head } = place
      return {
        events: [],
        state: { ...place, position, head, fruitless: hinted && head <= position ? (fruitless ?? 0) + 1 : 0 }
      }
    })

  return (place: Place<E>): Effect.Effect<Step<A, Place<E>>, ReadError | E> => {
    const { position, head, failure } = place
    if (failure !== undefined) return Effect.fail(failure)
    if (position === undefined || position >= head) return look(place)
    return Effect.flatMap(
      patiently(
        storage.readLog({
          ...everything,
          tenantId,
          fromPosition: position + 1,
          toPosition: head,
          aggregateTypes,
          eventTypes,
          limit: pageSize
        })
      ),
      ({ rows, complete }) => {
        const page = decode(tenantId, rows)
        return Effect.as(reportSkipped(page), {
          events: page.events,
          state: { position: endOf(rows, complete, head, page), head, fruitless: 0, failure: page.failure }
        })
      }
    )
  }
}

/** Where the follower of all logs is. */
export interface Places<E> {
  /** Everything up to here has been given out, by tenant. */
  readonly positions: Map<TenantId, number>
  /** Logs that are known to have more, in the order in which they are read. */
  readonly grown: ReadonlyArray<{ readonly tenantId: TenantId; readonly head: number }>
  readonly fruitless: number | undefined
  /** Whether what is there when it starts is passed over. */
  readonly fromEnd: boolean
  /** How long it took to look at all heads, in milliseconds. */
  readonly cost: number
  readonly failure: E | undefined
}

export const startAll = <E>(after: ReadonlyMap<TenantId, number> | "end"): Places<E> => ({
  positions: new Map(after === "end" ? [] : after),
  grown: [],
  fruitless: undefined,
  fromEnd: after === "end",
  cost: 0,
  failure: undefined
})

/** Follows all logs: a page of each that has grown, in turn, so that none waits for the end of another. */
export const followAll = <A, E extends Undecodable>(accessId: string, options: Options<A, E>) => {
  const { storage, aggregateTypes, eventTypes, decode, wait } = options
  const { pageSize, pollMillis, patiently } = settings(options)

  const look = (places: Places<E>): Effect.Effect<Step<A, Places<E>>, ReadError> =>
    Effect.gen(function* () {
      const { fruitless, positions, fromEnd, cost } = places
      const { atLeast, atMost } = waiting(fruitless ?? 0, pollMillis)
      // Looking at all tenants must not become all that the database does.
      const pause = { atLeast: Math.max(atLeast, cost), atMost: Math.max(atMost, cost) }
      const hinted = fruitless !== undefined && (yield* wait(pause))
      const [elapsed, tenants] = yield* Effect.timed(patiently(listTenants(storage, accessId)))
      if (fromEnd) for (const { tenantId, position } of tenants) positions.set(tenantId, position)
      const grown = tenants.flatMap(({ tenantId, position: head }) =>
        head > (positions.get(tenantId) ?? 0) ? [{ tenantId, head }] : []
      )
      return {
        events: [],
        state: {
          positions,
          grown,
          fruitless: hinted && grown.length === 0 ? (fruitless ?? 0) + 1 : 0,
          fromEnd: false,
          cost: Duration.toMillis(elapsed),
          failure: undefined
        }
      }
    })

  return (places: Places<E>): Effect.Effect<Step<A, Places<E>>, ReadError | E> => {
    const { positions, grown, failure } = places
    if (failure !== undefined) return Effect.fail(failure)
    if (grown.length === 0) return look(places)
    const next = grown.slice(0, concurrency)
    const read = Effect.forEach(
      next,
      ({ tenantId, head }) =>
        patiently(
          storage.readLog({
            ...everything,
            tenantId,
            fromPosition: (positions.get(tenantId) ?? 0) + 1,
            toPosition: head,
            aggregateTypes,
            eventTypes,
            limit: pageSize
          })
        ),
      { concurrency }
    )
    return Effect.flatMap(read, (pages) => {
      const skipped: Array<Effect.Effect<void>> = []
      const events: Array<A> = []
      const unfinished: Array<Places<E>["grown"][number]> = []
      let decodeFailure: E | undefined
      for (const [index, { rows, complete }] of pages.entries()) {
        const log = next[index]
        if (log === undefined) continue
        const page = decode(log.tenantId, rows)
        events.push(...page.events)
        skipped.push(reportSkipped(page))
        decodeFailure ??= page.failure
        positions.set(log.tenantId, endOf(rows, complete, log.head, page))
        if (!complete) unfinished.push(log)
      }
      return Effect.as(Effect.all(skipped, { discard: true }), {
        events,
        state: { ...places, grown: [...grown.slice(concurrency), ...unfinished], failure: decodeFailure }
      })
    })
  }
}

const everything = { recordedFrom: undefined, recordedBefore: undefined, direction: "forwards" } as const

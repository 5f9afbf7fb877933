/**
 * Subscriptions: a tenant's log as a stream that has no end. It begins with what is there and goes on with what is
 * appended, in order, without a gap and without a repetition where the one passes into the other.
 */
import { type Duration, Effect, Option, type Schedule, Stream } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import * as EventStorage from "../driver/EventStorage.ts"
import type { EnvelopeOf } from "../store/EventStore.ts"
import { currentTenant } from "../domain/currentTenant.ts"
import * as decode from "../store/decode.ts"
import * as Follow from "./follow.ts"
import * as Hints from "./hints.ts"
import { knownOf } from "./keptPosition.ts"
import * as eventQuery from "../store/queryTerms.ts"
import type * as Event from "../domain/Event.ts"
import type * as EventQuery from "../domain/EventQuery.ts"
import { storedTypes } from "../domain/storedTypes.ts"
import { recordAccess } from "../store/crossTenant.ts"
import type { PositionAhead, PositionDiverged, ReadError, Undecodable } from "../driver/StoreError.ts"
import type { AllTenants, CurrentTenant, TenantId } from "../domain/Tenant.ts"

/** What every subscription may state. */
export interface Options<As extends ReadonlyArray<Aggregate.Any>> {
  /** Whose events are given. */
  readonly aggregates: As
  /** Event types (`_tag`s). Default: all of the aggregates. An empty list selects nothing. */
  readonly eventTypes?: ReadonlyArray<string> | undefined
  /** Of those, events that match a query. */
  readonly query?: EventQuery.Any | undefined
  /**
   * How often the log is looked at without a hint that it has grown. Default: 1 second. Hints make a subscription fast,
   * this makes it sure.
   */
  readonly pollInterval?: Duration.Input | undefined
  /**
   * When a storage that fails in a passing way is asked again. The subscription goes on where it was; it fails with
   * `StorageUnavailable` when the schedule ends. Default: {@link defaultRetry}.
   */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** Events that are read, and held in memory, at once. Default: 500. */
  readonly pageSize?: number | undefined
}

/** What a subscription to one tenant's log may state. */
export interface LogOptions<As extends ReadonlyArray<Aggregate.Any>> extends Options<As> {
  /**
   * Behind which event it begins; `"end"`: with what is appended from the start of the subscription on. Default: 0, the
   * beginning.
   *
   * To go on where a former subscription was, keep the position of its last event with the id (an envelope has both). Fails
   * with `PositionDiverged` if another event, or none, is there by now: the log was restored or lost its end in a failover,
   * and what was handled is not what the log says. A number alone cannot tell: where its position was used again, the new
   * events up to it are passed over. `PositionAhead` says that the log has not come so far as a number.
   */
  readonly after?: number | Event.Position | "end" | undefined
}

/**
 * How far somebody is with the log of each tenant: the last event, or its position alone, which cannot tell that another
 * event is there by now. Tenants not in it: at the beginning.
 */
export type Cursor = ReadonlyMap<TenantId, number | Event.Position>

/** What a subscription to all logs may state. */
export interface AllLogsOptions<As extends ReadonlyArray<Aggregate.Any>> extends Options<As> {
  /**
   * Behind which event of each tenant it begins; `"end"`: with what is appended from the start of the subscription on.
   * Default: at the beginning of every log.
   */
  readonly after?: Cursor | "end" | undefined
}

/** 0.1, 0.2, 0.4 … seconds apart, at most 5, jittered, without an end. */
export const defaultRetry: Schedule.Schedule<unknown> = Follow.retryForever

const noCursor: Cursor = new Map()

/** How the events of aggregates are found and decoded. */
const selection = <As extends ReadonlyArray<Aggregate.Any>>(options: Options<As>) => {
  const { aggregates, eventTypes, query } = options
  const byType = new Map(aggregates.map((aggregate) => [aggregate.type, aggregate]))
  const wanted = eventTypes === undefined ? undefined : new Set(eventTypes)
  return {
    aggregateTypes: [...byType.keys()],
    eventTypes: eventTypes && storedTypes(aggregates, eventTypes),
    query: query && eventQuery.toStorage(query),
    pageSize: options.pageSize,
    pollInterval: options.pollInterval,
    retry: options.retry,
    decode: (tenantId: TenantId, rows: ReadonlyArray<EventStorage.EventRow>) => {
      const page = decode.mixedEnvelopes(tenantId, byType, rows, wanted)
      // An upcaster may have made several events of a stored one, and not all of them match.
      const events = query === undefined ? page.events : page.events.filter(query.matches)
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each event is decoded by the aggregate whose type it has
      return { ...page, events } as decode.Decoded<EnvelopeOf<As[number]>, Undecodable>
    }
  }
}

/** Steps are taken one at a time, when somebody wants the next events. */
const stream = <A, State, E>(
  start: State,
  step: (state: State) => Effect.Effect<Follow.Step<A, State>, E>
): Stream.Stream<A, E> =>
  Stream.paginate(start, (before) =>
    Effect.map(step(before), ({ events, state }) => [events, Option.some(state)] as const)
  )

/**
 * The events of the given aggregates in the current tenant's log, from a position on, for as long as somebody listens.
 *
 * **When to use**
 *
 * Use it for what need not be remembered: feeds, notifications, tests. A read model that must hold every event exactly
 * once is a `Projection`.
 *
 * **Details**
 *
 * Events come in the order of the log. A page is read when its first event is wanted: a slow consumer holds one page in
 * memory, and nothing is lost to it. Any number may follow the same log; each costs an index look-up per poll, and per
 * hint. Hints concern all tenants, so a log that is quiet while others are busy is looked at after at most a quarter of
 * the poll interval.
 *
 * **Gotchas**
 *
 * Fails with `Undecodable` at an event that cannot be decoded, after those before it, and with `PositionDiverged` as soon as
 * the event that it has come to is not in the log any more: after a failover that lost acknowledged events, what it gave out
 * is not what the log says. What is handled is known to the consumer alone: to go on after a restart, keep the last event's
 * position and id.
 *
 * **Example**
 *
 * ```ts
 * const placed = Subscription.log({ aggregates: [Order], after: lastSeen }).pipe(
 *   Stream.runForEach(({ eventId, position, payload }) => handle(payload).pipe(Effect.andThen(keep({ position, eventId })))),
 *   Tenant.provide(tenantId)
 * )
 * ```
 */
export const log = <const As extends ReadonlyArray<Aggregate.Any>>(
  options: LogOptions<As>
): Stream.Stream<
  EnvelopeOf<As[number]>,
  ReadError | Undecodable | PositionAhead | PositionDiverged,
  EventStorage.EventStorage | CurrentTenant
> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const storage = yield* EventStorage.EventStorage
      const tenantId = yield* currentTenant
      const wait = yield* Hints.listen(storage.changes)
      const { after = 0 } = options
      return stream(
        Follow.start<Undecodable>(after === "end" ? undefined : knownOf(after)),
        Follow.follow(tenantId, { ...selection(options), storage, wait })
      )
    })
  )

/**
 * The events of the given aggregates in the logs of all tenants, for as long as somebody listens. Each run is written to
 * the audit trail.
 *
 * **Details**
 *
 * The events of a tenant come in the order of its log; those of different tenants have no order. Tenants with much to
 * catch up take turns with the others, page by page. To go on after a restart, keep a {@link Cursor}: the position and id
 * of the last event of each tenant that was handled. The reserved untenanted tenant is not among all tenants.
 *
 * **Gotchas**
 *
 * Each look at the logs costs an index look-up per tenant; looks take up at most half of the time. An event that cannot
 * be decoded ends the stream for all tenants, after those before it: the error says where it is, and the stream can be
 * started again with the cursor behind it. So does a log that is not the one any more that the cursor is of
 * (`PositionAhead`, `PositionDiverged`): take that tenant out of the cursor to begin with it anew. It is noticed when the log
 * has another end than before.
 */
export const allLogs = <const As extends ReadonlyArray<Aggregate.Any>>(
  options: AllLogsOptions<As>
): Stream.Stream<
  EnvelopeOf<As[number]>,
  ReadError | Undecodable | PositionAhead | PositionDiverged,
  EventStorage.EventStorage | AllTenants
> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const storage = yield* EventStorage.EventStorage
      const accessId = yield* recordAccess(storage, "Subscription.allLogs")
      const wait = yield* Hints.listen(storage.changes)
      return stream(
        Follow.startAll<Undecodable>(options.after ?? noCursor),
        Follow.followAll(accessId, { ...selection(options), storage, wait })
      )
    })
  )

/**
 * Subscriptions: a tenant's log as an endless stream of the stored events, followed by the new ones, in order, without gaps and
 * repetitions.
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

/** Options of all subscriptions. */
export interface Options<As extends ReadonlyArray<Aggregate.Any>> {
  /** The aggregates whose events are emitted. */
  readonly aggregates: As
  /** Event types (`_tag`s). Default: all of the aggregates. An empty list selects nothing. */
  readonly eventTypes?: ReadonlyArray<string> | undefined
  /** Emit, of those, only events that match a query. */
  readonly query?: EventQuery.Any | undefined
  /**
   * Interval at which the log is polled without a hint. Hints make a subscription fast, polling makes it reliable. Default: 1
   * second.
   */
  readonly pollInterval?: Duration.Input | undefined
  /**
   * Schedule of retries after a transient failure of the storage. The subscription continues where it was; it fails with
   * `StorageUnavailable` when the schedule ends. Default: {@link defaultRetry}.
   */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** Number of events that are read, and held in memory, at once. Default: 500. */
  readonly pageSize?: number | undefined
}

/** Options of a subscription to one tenant's log. */
export interface LogOptions<As extends ReadonlyArray<Aggregate.Any>> extends Options<As> {
  /**
   * The event behind which it starts; `"end"` for events that are appended after its start. Default: 0, the beginning.
   *
   * To continue a former subscription, store the position and the id of its last event (an envelope has both). It fails with
   * `PositionDiverged` if the position has another event by now, or none: the log was restored or lost its end in a failover, and
   * the handled events are not those of the log. A number alone cannot show that: if its position was used again, the new events
   * up to it are skipped. `PositionAhead` means that the log ends before the position.
   */
  readonly after?: number | Event.Position | "end" | undefined
}

/**
 * The last event that was handled in each tenant's log, or its position alone, which cannot show that the log was replaced. Tenants
 * that are not in it start at the beginning.
 */
export type Cursor = ReadonlyMap<TenantId, number | Event.Position>

/** Options of a subscription to all logs. */
export interface AllLogsOptions<As extends ReadonlyArray<Aggregate.Any>> extends Options<As> {
  /**
   * The event of each tenant behind which it starts; `"end"` for events that are appended after its start. Default: the beginning
   * of every log.
   */
  readonly after?: Cursor | "end" | undefined
}

/** Endless retries, 0.1, 0.2, 0.4 … and at most 5 seconds apart, jittered. */
export const defaultRetry: Schedule.Schedule<unknown> = Follow.retryForever

const noCursor: Cursor = new Map()

/** Finds and decodes the events of aggregates. */
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
      // An upcaster may turn a stored event into several, not all of which match.
      const events = query === undefined ? page.events : page.events.filter(query.matches)
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each event is decoded by the aggregate whose type it has
      return { ...page, events } as decode.Decoded<EnvelopeOf<As[number]>, Undecodable>
    }
  }
}

/** Takes one step at a time, when the consumer wants more events. */
const stream = <A, State, E>(
  start: State,
  step: (state: State) => Effect.Effect<Follow.Step<A, State>, E>
): Stream.Stream<A, E> =>
  Stream.paginate(start, (before) =>
    Effect.map(step(before), ({ events, state }) => [events, Option.some(state)] as const)
  )

/**
 * The events of the given aggregates in the current tenant's log, from a position on, as an endless stream.
 *
 * **When to use**
 *
 * Use it where no progress must be stored: feeds, notifications, tests. For a read model that must count every event exactly once,
 * use a `Projection`.
 *
 * **Details**
 *
 * Events are in the order of the log. A page is read when its first event is wanted, so a slow consumer holds one page in memory and
 * misses nothing. Each subscription costs an index look-up per poll and per hint. Hints concern all tenants: while others are
 * busy, a quiet log is checked at most a quarter of the poll interval later.
 *
 * **Gotchas**
 *
 * Fails with `Undecodable` at an undecodable event, after emitting those before it, and with `PositionDiverged` as soon as its last
 * event is no longer in the log: after a failover that lost acknowledged events, the emitted events are not those of the log.
 * Only the consumer knows the events it has handled: to continue after a restart, store the last event's position and id.
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
 * The events of the given aggregates in the logs of all tenants, as an endless stream. Each run is written to the audit trail.
 *
 * **Details**
 *
 * The events of a tenant are in the order of its log; those of different tenants have no common order. Tenants with a backlog take
 * turns with the others, page by page. To continue after a restart, store a {@link Cursor}: the position and id of the last
 * handled event of each tenant. The reserved untenanted tenant is not included.
 *
 * **Gotchas**
 *
 * Each poll of the logs costs an index look-up per tenant; polls take at most half of the time. An undecodable event ends the stream
 * for all tenants, after the events before it; the error tells its place, and the stream can be started again with the cursor
 * behind it. A log that is no longer the one of the cursor ends it too (`PositionAhead`, `PositionDiverged`): remove that tenant
 * from the cursor to start it anew. This is noticed when the end of the log has changed.
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

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
import { storedTypes } from "../domain/storedTypes.ts"
import { recordAccess } from "../store/crossTenant.ts"
import { type Undecodable, PositionAhead, type ReadError } from "../driver/StoreError.ts"
import type { AllTenants, CurrentTenant, TenantId } from "../domain/Tenant.ts"

/** What every subscription may state. */
export interface Options<As extends ReadonlyArray<Aggregate.Any>> {
  /** Whose events are given. */
  readonly aggregates: As
  /** Event types (`_tag`s). Default: all of the aggregates. An empty list selects nothing. */
  readonly eventTypes?: ReadonlyArray<string> | undefined
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
   * The first position that is given; `"end"`: what is appended from the start of the subscription on. Default: 1.
   *
   * To go on where a former subscription was, state the position of its last event plus one. Fails with `PositionAhead`
   * if the log has not come so far: such a position is not from this log.
   */
  readonly fromPosition?: number | "end" | undefined
}

/** How far somebody is with the log of each tenant: the position of the last event. Tenants not in it: at the beginning. */
export type Cursor = ReadonlyMap<TenantId, number>

/** What a subscription to all logs may state. */
export interface AllLogsOptions<As extends ReadonlyArray<Aggregate.Any>> extends Options<As> {
  /**
   * Behind which position of each tenant it begins; `"end"`: with what is appended from the start of the subscription
   * on. Default: at the beginning of every log.
   */
  readonly after?: Cursor | "end" | undefined
}

/** 0.1, 0.2, 0.4 … seconds apart, at most 5, jittered, without an end. */
export const defaultRetry: Schedule.Schedule<unknown> = Follow.retryForever

/** How the events of aggregates are found and decoded. */
const selection = <As extends ReadonlyArray<Aggregate.Any>>(options: Options<As>) => {
  const byType = new Map(options.aggregates.map((aggregate) => [aggregate.type, aggregate]))
  const wanted = options.eventTypes === undefined ? undefined : new Set(options.eventTypes)
  return {
    aggregateTypes: [...byType.keys()],
    eventTypes: options.eventTypes && storedTypes(options.aggregates, options.eventTypes),
    pageSize: options.pageSize,
    pollInterval: options.pollInterval,
    retry: options.retry,
    decode: (tenantId: TenantId, rows: ReadonlyArray<EventStorage.EventRow>) =>
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each event is decoded by the aggregate whose type it has
      decode.mixedEnvelopes(tenantId, byType, rows, wanted) as decode.Decoded<
        EnvelopeOf<As[number]>,
        Undecodable
      >
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
 * Fails with `Undecodable` at an event that cannot be decoded, after those before it. What is handled is known to the
 * consumer alone: to go on after a restart, keep the position of the last event.
 *
 * **Example**
 *
 * ```ts
 * const placed = Subscription.log({ aggregates: [Order], fromPosition: lastSeen + 1 }).pipe(
 *   Stream.runForEach(({ position, payload }) => Effect.log(`${position} ${payload._tag}`)),
 *   Tenant.provide(tenantId)
 * )
 * ```
 */
export const log = <const As extends ReadonlyArray<Aggregate.Any>>(
  options: LogOptions<As>
): Stream.Stream<
  EnvelopeOf<As[number]>,
  ReadError | Undecodable | PositionAhead,
  EventStorage.EventStorage | CurrentTenant
> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const storage = yield* EventStorage.EventStorage
      const tenantId = yield* currentTenant
      const wait = yield* Hints.listen(storage.changes)
      const { fromPosition = 1 } = options
      const after = fromPosition === "end" ? undefined : Follow.startingAt(fromPosition) - 1
      const head = after === undefined || after <= 0 ? Infinity : (yield* storage.head({ tenantId })).position
      if (after !== undefined && after > head) {
        return yield* new PositionAhead({ tenantId, position: after + 1, head })
      }
      return stream(
        Follow.start<Undecodable>(after),
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
 * catch up take turns with the others, page by page. To go on after a restart, keep a {@link Cursor}: the tenant and
 * position of each event that was handled. The reserved untenanted tenant is not among all tenants.
 *
 * **Gotchas**
 *
 * Each look at the logs costs an index look-up per tenant; looks take up at most half of the time. An event that cannot
 * be decoded ends the stream for all tenants, after those before it: the error says where it is, and the stream can be
 * started again with the cursor behind it.
 */
export const allLogs = <const As extends ReadonlyArray<Aggregate.Any>>(
  options: AllLogsOptions<As>
): Stream.Stream<EnvelopeOf<As[number]>, ReadError | Undecodable, EventStorage.EventStorage | AllTenants> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const storage = yield* EventStorage.EventStorage
      const accessId = yield* recordAccess(storage, "Subscription.allLogs")
      const wait = yield* Hints.listen(storage.changes)
      return stream(
        Follow.startAll<Undecodable>(options.after ?? new Map<TenantId, number>()),
        Follow.followAll(accessId, { ...selection(options), storage, wait })
      )
    })
  )

/**
 * Inline projections: read models that change in the transaction of the append, so that every later read contains the append.
 */
import { Cause, Context, Effect, Layer, Predicate, Result, Schedule, Stream } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import type * as Aggregate from "../domain/Aggregate.ts"
import * as Event from "../domain/Event.ts"
import { whileHandling } from "../domain/EventContext.ts"
import * as EventStorage from "../driver/EventStorage.ts"
import * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import * as EventStore from "../store/EventStore.ts"
import { appendJson } from "../store/appendJson.ts"
import type { ImportThrough } from "../store/importEvents.ts"
import { assignIds, CurrentDerivedIds, deriveIds } from "../domain/derivedIds.ts"
import { payloadsOf } from "../domain/jsonEvent.ts"
import { aggregateId as encodeId } from "../store/encode.ts"
import { maskedCause, toError } from "./maskedCause.ts"
import type * as Projection from "./Projection.ts"
import {
  type Undecodable,
  InlineProjectionFailed,
  OutcomeUnknown,
  type ReadError,
  StorageUnavailable
} from "../driver/StoreError.ts"
import { PersonalSubject } from "../domain/PersonalSubject.ts"
import { CurrentTenant, provide as provideTenant } from "../domain/Tenant.ts"
import { attribute } from "../telemetry/Telemetry.ts"

/** Settings of {@link layer}. */
export interface Options<Ps extends ReadonlyArray<Projection.Any>> {
  /** Projections of kind `"tenant"`, run in this order for each event. */
  readonly projections: Ps
  /** Settings of the event store. */
  readonly store?: EventStore.Options | undefined
}

/** About 20 milliseconds to 2.5 seconds apart, 8 times: long enough for a failover to a running standby. */
const retryPassing: Schedule.Schedule<unknown> = Schedule.exponential("20 millis").pipe(
  Schedule.jittered,
  Schedule.upTo({ times: 8 })
)

const failureOf = (
  projection: Projection.Any,
  { tenantId, aggregateType, aggregateId, eventType }: Event.Envelope<Event.Tagged>,
  error: unknown,
  { code, unavailable }: ProjectionStorage.FailureDescription
): InlineProjectionFailed | StorageUnavailable => {
  if (unavailable?.retryable === true) return unavailable
  const tag =
    Predicate.hasProperty(error, "_tag") && Predicate.isString(error._tag)
      ? error._tag
      : error instanceof Error
        ? error.name
        : "a failure without a name"
  const reason = code === null ? tag : code.length === 5 ? `SQLSTATE ${code}` : code
  return new InlineProjectionFailed({
    projection: projection.name,
    tenantId,
    aggregateType,
    aggregateId,
    eventType,
    reason
  })
}

/** Events for one stream of any aggregate. */
interface AnyStream {
  readonly aggregate: Aggregate.Any
  readonly id: unknown
  readonly events: ReadonlyArray<Event.Appendable<Event.Tagged>>
}

/** Runs the handler of an event in the event's context. */
const handle = <E, R>(
  storage: ProjectionStorage.ProjectionStorage["Service"],
  projection: Projection.Projection<E, R>,
  envelope: Event.Envelope<Event.Tagged>
): Effect.Effect<void, InlineProjectionFailed | StorageUnavailable, Exclude<R, CurrentTenant>> =>
  Effect.suspend(() => projection.handle(envelope)).pipe(
    whileHandling(envelope),
    Effect.asVoid,
    Effect.catchCause((cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
      const error = Cause.squash(cause)
      return Effect.flatMap(storage.describeFailure(error), (description) =>
        Effect.andThen(
          Effect.logWarning(
            "An inline projection failed to handle an event",
            Cause.die(toError(maskedCause(cause, error, description, [envelope])))
          ).pipe(
            Effect.annotateLogs({
              projection: projection.name,
              [attribute.tenantId]: envelope.tenantId,
              position: envelope.position,
              kind: description.kind,
              code: description.code ?? "none"
            })
          ),
          Effect.fail(failureOf(projection, envelope, error, description))
        )
      )
    })
  )

const make = <Ps extends ReadonlyArray<Projection.Any>>(projections: Ps) =>
  Effect.gen(function* () {
    const storage = yield* ProjectionStorage.ProjectionStorage
    const store = yield* EventStore.EventStore
    // Handlers get the services that exist when the store is built, except the tenant.
    const services = yield* Effect.context<Exclude<Projection.Requirements<Ps[number]>, CurrentTenant>>()
    const names = new Set<string>()
    for (const { name, kind } of projections) {
      if (kind !== "tenant") throw new TypeError(`${name} cannot run inline: its kind is ${kind}`)
      if (names.has(name)) throw new TypeError(`two inline projections have the name ${name}`)
      names.add(name)
    }
    yield* storage.register(
      projections.map(({ name, version, startAt, tables }) => ({
        projection: name,
        version,
        startAt,
        tables,
        inline: true
      }))
    )
    // Projections by aggregate type and event type.
    const concerned = new Map<string, Map<string, Array<Projection.Any>>>()
    for (const projection of projections) {
      for (const { type } of projection.aggregates) {
        let byEvent = concerned.get(type)
        if (byEvent === undefined) concerned.set(type, (byEvent = new Map<string, Array<Projection.Any>>()))
        for (const eventType of new Set(projection.eventTypes)) {
          byEvent.set(eventType, [...(byEvent.get(eventType) ?? []), projection])
        }
      }
    }
    const concerns = ({ aggregate, events }: AnyStream): boolean => {
      const byEvent = concerned.get(aggregate.type)
      return (
        byEvent !== undefined &&
        events.some((event) => payloadsOf(event).some(({ _tag }) => byEvent.has(_tag)))
      )
    }

    const concernsOwn = (streams: EventStorage.AppendRequest["streams"]): boolean =>
      streams.some(({ aggregateType, events }) =>
        events.some(({ eventType }) => concerned.get(aggregateType)?.has(eventType) === true)
      )

    const handleAll = (envelopes: Iterable<Event.Envelope<Event.Tagged>>) =>
      Effect.forEach(
        envelopes,
        (envelope) =>
          Effect.forEach(
            concerned.get(envelope.aggregateType)?.get(envelope.eventType) ?? [],
            (projection) =>
              Effect.catchTag(handle(storage, projection, envelope), "InlineProjectionFailed", Effect.die),
            { discard: true }
          ),
        { discard: true }
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the layer's type requires all that handlers require
      ).pipe(Effect.provideContext(services as Context.Context<unknown>))

    /**
     * Appends events and handles them in one transaction. `append` runs again after a transient failure of the database, and
     * must append the same events then.
     */
    const inTransaction = <A, E, R>(
      append: Effect.Effect<A, E, R>,
      envelopesOf: (appended: A) => Iterable<Event.Envelope<Event.Tagged>>
    ) =>
      Effect.gen(function* () {
        const tenantId = yield* CurrentTenant
        const transaction = storage.transaction(
          tenantId,
          Effect.tap(append, (appended) => handleAll(envelopesOf(appended)))
        )
        // Inside a transaction of the application, the application must run all of it again.
        if (yield* storage.inTransaction) return yield* transaction
        let unknown: OutcomeUnknown | undefined
        const attempt = Effect.tapError(transaction, (error) => {
          if (error instanceof OutcomeUnknown) unknown = error
          return Effect.void
        })
        return yield* Effect.retry(attempt, {
          // After a commit without an answer, the events are found by their ids if they are stored.
          while: (error) =>
            error instanceof OutcomeUnknown || (error instanceof StorageUnavailable && error.retryable),
          schedule: retryPassing
        }).pipe(
          // The refusal of a later attempt says nothing about an earlier one.
          Effect.mapError((error) =>
            unknown !== undefined && error instanceof StorageUnavailable ? unknown : error
          )
        )
      })

    /** Gives the events their ids before the first attempt, so that a later attempt finds the events of an earlier one. */
    const withIds = <S extends AnyStream, A, E, R>(
      streams: ReadonlyArray<S>,
      append: (named: ReadonlyArray<S>) => Effect.Effect<A, E, R>
    ) =>
      Effect.gen(function* () {
        const tenantId = yield* CurrentTenant
        const derivedIds = yield* CurrentDerivedIds
        if (derivedIds === undefined) {
          return yield* append(
            streams.map((stream) => ({
              ...stream,
              events: assignIds(stream.events, { at: Event.generateId })
            }))
          )
        }
        const streamOf = ({ aggregate, id }: S) => {
          const aggregateId = Result.getOrUndefined(encodeId(aggregate, id))
          return aggregateId === undefined
            ? undefined
            : { tenantId, aggregateType: aggregate.type, aggregateId }
        }
        return yield* deriveIds(derivedIds, streams, streamOf, append)
      })

    /** Appends a chunk of an import, whose events have ids. */
    const appendChunk: ImportThrough["appendAll"] = (streams) => {
      const append = store.appendAll(streams)
      return streams.some(concerns)
        ? inTransaction(append, (appended) =>
            appended.flatMap(({ replayed, events }) => (replayed ? [] : events))
          )
        : append
    }

    const appendAll = <
      const As extends ReadonlyArray<Aggregate.Any>,
      Condition extends EventStore.AppendConditions | undefined = undefined
    >(
      streams: { readonly [K in keyof As]: EventStore.StreamEventsOf<As[K]> },
      options?: EventStore.AppendOptions<Condition>
    ) => {
      const given: ReadonlyArray<EventStore.StreamEventsOf<Aggregate.Any>> = streams
      if (!given.some(concerns)) return store.appendAll(streams, options)
      return withIds(given, (all) =>
        inTransaction(
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- The same streams, one by one, with ids for their events.
          store.appendAll(all as typeof streams, options),
          (appended: ReadonlyArray<EventStore.Appended<Event.Tagged>>) =>
            appended.flatMap(({ replayed, events }) => (replayed ? [] : events))
        )
      )
    }

    /** Handles the events of an append of the library, as they are stored. */
    const withOwn: EventStorage.JoinOwnAppend = (request, append) =>
      concernsOwn(request.streams)
        ? inTransaction(
            Effect.flatMap(append, ({ positions, ...receipt }) =>
              Effect.map(
                receipt.replayed || positions.length === 0
                  ? Effect.succeed([])
                  : Stream.runCollect(
                      store.readLog({
                        aggregates: [PersonalSubject],
                        fromPosition: Math.min(...positions),
                        toPosition: Math.max(...positions)
                      })
                    ),
                (envelopes) => ({ receipt: { ...receipt, positions }, envelopes })
              )
            ),
            ({ envelopes }) => envelopes
          ).pipe(
            Effect.map(({ receipt }) => receipt),
            Effect.catchTag("Undecodable", Effect.die),
            provideTenant(request.tenantId)
          )
        : append
    yield* (yield* EventStorage.EventStorage).joinOwnAppends?.(withOwn) ?? Effect.void

    return EventStore.EventStore.of({
      ...store,
      appendAll,
      appendJson: appendJson(appendAll),
      importEvents: (events, options) => {
        const through: ImportThrough = { ...options, appendAll: appendChunk }
        return store.importEvents(events, through)
      },
      importJson: (events, options) => {
        const through: ImportThrough & typeof options = { ...options, appendAll: appendChunk }
        return store.importJson(events, through)
      },
      append: (stream) =>
        concerns(stream)
          ? withIds([stream], ([first = stream]) =>
              inTransaction(store.append(first), ({ replayed, events }) => (replayed ? [] : events))
            )
          : store.append(stream)
    })
  })

/**
 * Moves the failures of inline projections into the error channel of an effect that appends.
 *
 * **When to use**
 *
 * Use it where a failing projection is an answer to the caller, such as a name that is taken. Elsewhere it is a defect, so that
 * programs without inline projections need not handle it.
 */
export const failures = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | InlineProjectionFailed, R> =>
  Effect.catchDefect(effect, (defect) =>
    defect instanceof InlineProjectionFailed ? Effect.fail(defect) : Effect.die(defect)
  )

/**
 * The event store with inline projections: `append` and `appendAll` write the events, run the handlers for them, and commit
 * everything together.
 *
 * **When to use**
 *
 * Use it for read models that must not lag, such as one for unique names. It makes every append with a handler as slow as the
 * handler, and the tenant's other appends wait. If a read model may lag a moment, run the projection with `ProjectionRunner`.
 *
 * **Details**
 *
 * Handlers run in the order of the events, on PostgreSQL with `SqlClient` under the tenant's row-level security. If one
 * fails, nothing is written and the append dies with `InlineProjectionFailed`; {@link failures} makes it an error. Conflicts
 * are as without projections; events that had been appended before are not handled again. Transient failures of the storage
 * are retried a bounded number of times. Inside a transaction of the application for the tenant, everything joins that
 * transaction.
 *
 * They also see `SubjectForgotten`, which `Forgetting` appends, in the transaction of that event, if their `forgotten` option or their
 * aggregates ask for it. So forget people in a program that has this layer: one without it appends the event, too.
 *
 * The layer replaces `EventStore.layer`. It works on every driver; in memory, effects of handlers elsewhere are not undone.
 *
 * The layer fails with `ProjectionRefused` if a runner runs the version of a projection, if that version is retired, or if it names a
 * table that another version or projection fills: there it would count every event twice. A version that states no `tables` is
 * not protected. `ProjectionManager.retire` ends a version.
 *
 * **Gotchas**
 *
 * There is no checkpoint: a projection sees only events that are appended through this layer. {@link rebuild} fills its tables from
 * the log.
 */
export const layer = <const Ps extends ReadonlyArray<Projection.Any>>(
  options: Options<Ps>
): Layer.Layer<
  EventStore.EventStore,
  ProjectionStorage.ProjectionRefused | StorageUnavailable,
  | EventStorage.EventStorage
  | ProjectionStorage.ProjectionStorage
  | Exclude<Projection.Requirements<Ps[number]>, CurrentTenant>
> =>
  layerPer([EventStorage.EventStorage, ProjectionStorage.ProjectionStorage], () =>
    Layer.effect(EventStore.EventStore, make(options.projections)).pipe(
      Layer.provide(EventStore.layerWith(options.store ?? {}))
    )
  )

/**
 * Fills the tables of an inline projection from the current tenant's log: empties its `tables` and handles all events again.
 *
 * **When to use**
 *
 * Use it for a projection that is new to a tenant with events, or whose handlers have changed.
 *
 * **Details**
 *
 * It is one transaction: readers see the former rows until it commits, and the tenant's appends wait for it.
 */
export const rebuild = <E, R>(
  projection: Projection.Projection<E, R>
): Effect.Effect<
  void,
  InlineProjectionFailed | ReadError | Undecodable | OutcomeUnknown,
  Exclude<R, CurrentTenant> | CurrentTenant | EventStore.EventStore | ProjectionStorage.ProjectionStorage
> =>
  Effect.gen(function* () {
    const storage = yield* ProjectionStorage.ProjectionStorage
    const store = yield* EventStore.EventStore
    const tenantId = yield* CurrentTenant
    const rebuilt = Effect.gen(function* () {
      yield* storage.clearReadModel({ tenantId, tables: projection.tables })
      yield* store
        .readLog({ aggregates: projection.aggregates, eventTypes: projection.eventTypes })
        .pipe(Stream.runForEach((envelope) => handle(storage, projection, envelope)))
    })
    yield* storage.transaction(tenantId, rebuilt)
  })

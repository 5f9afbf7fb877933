/**
 * Runs projections: workers claim one projection of one tenant, handle its next events, then take the one that has waited
 * longest. There is no leader; any number of processes share the work.
 */
import {
  Cause,
  Clock,
  Context,
  Duration,
  Effect,
  Layer,
  Metric,
  Option,
  PubSub,
  Result,
  Stream
} from "effect"
import { layerPer } from "../internal/layerPer.ts"
import type * as Event from "../domain/Event.ts"
import * as EventContext from "../domain/EventContext.ts"
import * as EventStorage from "../driver/EventStorage.ts"
import { mixedEnvelopes, reportSkipped } from "../store/decode.ts"
import * as handlerFailure from "./handlerFailure.ts"
import { type Batch, ReadAhead, type Rows } from "./readAhead.ts"
import { retryDelay } from "./retryDelay.ts"
import * as sharedRebuilds from "./sharedRebuilds.ts"
import { storedTypes } from "../domain/storedTypes.ts"
import * as Projection from "./Projection.ts"
import * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import { type ReadError, StorageUnavailable, OtherFailure } from "../driver/StoreError.ts"
import { AllTenants, type CurrentTenant } from "../domain/Tenant.ts"

/** Settings of {@link layer}. */
export interface Options<Ps extends ReadonlyArray<Projection.Any>> {
  readonly projections: Ps
  /** Number of tenants that this process works on at the same time, each with a database connection. Default: 4. */
  readonly concurrency?: number | undefined
  /** Interval at which an idle worker looks for work without a hint. Default: 1 second. */
  readonly pollInterval?: Duration.Input | undefined
  /**
   * Interval at which all logs are checked for events whose announcement was lost. Default: 15 seconds. Each check costs an
   * index look-up per tenant.
   */
  readonly sweepInterval?: Duration.Input | undefined
  /**
   * Time for which an event is retried when its handler lacks a table, a function or a right, as during a deployment.
   * Default: 10 minutes. Then the projection is parked for the tenant; it is retried every hour and when a process starts.
   */
  readonly schemaWait?: Duration.Input | undefined
}

/** Runs projections. Its layer starts the workers. */
export class ProjectionRunner extends Context.Service<
  ProjectionRunner,
  {
    /** Works in the calling fiber until nothing is left to do: for tests, imports and tools. */
    readonly drain: Effect.Effect<void, StorageUnavailable>
  }
>()("effect-eventsourcing/ProjectionRunner") {}

/** Events handled, by projection. */
export const handledEvents: Metric.Counter<number> = Metric.counter("eventsourcing.projection.events", {
  description: "Events that projections have handled",
  incremental: true
})

/** Failures of handlers, by projection. */
export const failures: Metric.Counter<number> = handlerFailure.failures

/**
 * Events that are not yet in the read models of all tenants, by projection and version. Those of parked tenants count.
 *
 * **Details**
 *
 * This gauge and the two below are measured at every `sweepInterval`. Each process that runs the projection reports the
 * same numbers: take the largest, not the sum.
 */
export const pending: Metric.Gauge<number> = Metric.gauge("eventsourcing.projection.pending", {
  description: "Events that are not handled yet, over all tenants"
})

/** Milliseconds since the oldest {@link pending} event was recorded, by projection and version; 0 if there is none. */
export const oldestPending: Metric.Gauge<number> = Metric.gauge("eventsourcing.projection.oldest_pending", {
  description: "Age in milliseconds of the oldest event that is not handled yet, over all tenants"
})

/** Tenants for which the projection, or a rebuild of it, is parked, by projection and version. */
export const parked: Metric.Gauge<number> = Metric.gauge("eventsourcing.projection.parked", {
  description: "Tenants for which the projection is parked"
})

/** A handler failed at an event, or the event could not be decoded. */
class HandlerFailed {
  readonly failed: handlerFailure.Failed
  constructor(failure: handlerFailure.Failed) {
    this.failed = failure
  }
}

/** A statement of the runner itself failed: no event is to blame. */
class StatementFailed {
  readonly error: StorageUnavailable
  constructor(error: StorageUnavailable) {
    this.error = error
  }
}

/** Marks a failure as the runner's own, because a handler can fail with the same error. */
const own = <A, R>(statement: Effect.Effect<A, ReadError, R>): Effect.Effect<A, StatementFailed, R> =>
  Effect.mapError(statement, (error) => new StatementFailed(error))

/** Parked until somebody resumes it. */
const parkedForGood = {
  kind: "handler",
  waited: 0,
  parked: true,
  retryIn: undefined,
  cause: undefined
} as const

/** Pauses of a worker while the storage is unavailable, in milliseconds; each is twice the one before. */
const pauses = { first: 1000, longest: 5000 }

/** Age in milliseconds at which a recorded access to all tenants is replaced by a new one. */
const renewAfter = 86_400_000

const keyOf = ({ name, version }: Projection.Any): string => JSON.stringify([name, version])

const make = <Ps extends ReadonlyArray<Projection.Any>>(options: Options<Ps>) =>
  Effect.gen(function* () {
    const events = yield* EventStorage.EventStorage
    const storage = yield* ProjectionStorage.ProjectionStorage
    // Handlers get the services that exist when the runner is built, except the tenant.
    const services = yield* Effect.context<Exclude<Projection.Requirements<Ps[number]>, CurrentTenant>>()
    const { projections, schemaWait = "10 minutes" } = options
    const byKey = new Map(projections.map((projection) => [keyOf(projection), projection]))
    if (byKey.size !== projections.length)
      throw new TypeError("two projections have the same name and version")
    const projectionOf = (claim: ProjectionStorage.Claim): Projection.Any => {
      const projection = byKey.get(JSON.stringify([claim.projection, claim.version]))
      if (projection === undefined) throw new Error(`claimed the unknown projection ${claim.projection}`)
      return projection
    }
    const keys = projections.map((projection) => ({
      projection: projection.name,
      version: projection.version,
      startAt: projection.startAt,
      tables: projection.tables,
      acrossTenants: projection.kind === "acrossTenants"
    }))
    const across = keys.flatMap((key) => (key.acrossTenants ? [key.projection] : []))
    // A program may have `AllTenants` although none of these projections needs it.
    const access = across.length === 0 ? Option.none() : Context.getOption(services, AllTenants)
    const recordAccess = Effect.all({
      accessId: Option.match(access, {
        onNone: () => Effect.undefined,
        onSome: (one) => events.recordAccess({ ...one, operation: `ProjectionRunner: ${across.join(", ")}` })
      }),
      at: Clock.currentTimeMillis
    })
    let granted = yield* recordAccess
    // Records are kept for at least seven days, so the one in use still exists.
    const renewAccess = Effect.flatMap(Clock.currentTimeMillis, (now) =>
      granted.accessId === undefined || now - granted.at < renewAfter
        ? Effect.void
        : Effect.map(recordAccess, (renewed) => {
            granted = renewed
          })
    )

    /** Runs a handler for an event, or for several, in the context of the first. */
    const runHandler = (
      envelopes: readonly [Event.Envelope<Event.Tagged>, ...ReadonlyArray<Event.Envelope<Event.Tagged>>],
      blamed: boolean,
      handler: () => Effect.Effect<unknown, unknown, unknown>
    ): Effect.Effect<unknown, HandlerFailed> =>
      Effect.suspend(handler).pipe(
        EventContext.whileHandling(envelopes[0]),
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the layer's type requires all that handlers require
        Effect.provideContext(services as Context.Context<unknown>),
        // An interruption that arrives here is the handler's own; that of the runner passes it by.
        Effect.catchCause((cause) =>
          Effect.flatMap(
            handlerFailure.failed(storage, envelopes[0].position, cause, blamed, envelopes),
            (failure) => Effect.fail(new HandlerFailed(failure))
          )
        )
      )

    const readBatch = ({ projection, tenantId, after, upTo }: Batch): Effect.Effect<Rows, ReadError> =>
      events.readLog({
        ...wholeLog,
        tenantId,
        fromPosition: after + 1,
        toPosition: upTo,
        aggregateTypes: projection.aggregates.map((aggregate) => aggregate.type),
        eventTypes: storedTypes(projection.aggregates, projection.eventTypes),
        limit: projection.batchSize
      })

    /** Handles at most a batch of the events after one position, up to another. Returns the position that it reached. */
    const handleRange = Effect.fnUntraced(function* (
      projection: Projection.Any,
      claim: ProjectionStorage.Claim,
      after: number,
      upTo: number,
      readAhead?: ReadAhead
    ): Effect.fn.Return<number, HandlerFailed | StatementFailed | ProjectionStorage.RebuildRefused> {
      const byType = new Map(projection.aggregates.map((aggregate) => [aggregate.type, aggregate]))
      const batch = { projection, tenantId: claim.tenantId, after, upTo }
      const { rows, complete } = readAhead?.take(batch) ?? (yield* own(readBatch(batch)))
      const last = rows.at(-1)
      if (!complete && last !== undefined) readAhead?.start({ ...batch, after: last.position })
      const page = mixedEnvelopes(claim.tenantId, byType, rows, new Set(projection.eventTypes))
      yield* reportSkipped(page)
      const [first, ...others] = page.events
      if (first !== undefined && projection.handleAll !== undefined) {
        const { events: envelopes } = page
        // If the failed event is unknown, the first one is tried alone next time, then those after it.
        const isOneEvent = envelopes.every(({ position }) => position === first.position)
        yield* runHandler(
          [first, ...others],
          isOneEvent,
          () => projection.handleAll?.(envelopes) ?? Effect.void
        )
      } else {
        for (const envelope of page.events)
          yield* runHandler([envelope], true, () => projection.handle(envelope))
      }
      if (page.failure !== undefined) {
        const { reason } = page.failure
        const failure = yield* handlerFailure.failed(storage, reason.position, Cause.fail(reason), true)
        return yield* Effect.fail(new HandlerFailed(failure))
      }
      if (claim.rebuild)
        yield* Effect.catchTag(
          storage.checkRebuild(claim, projection.tables),
          "StorageUnavailable",
          (error) => Effect.fail(new StatementFailed(error))
        )
      yield* Metric.update(Metric.withAttributes(handledEvents, { projection: projection.name }), rows.length)
      return complete ? upTo : (rows.at(-1)?.position ?? upTo)
    })

    const recordFailure = (
      projection: Projection.Any,
      claim: ProjectionStorage.Claim,
      failure: handlerFailure.Failed
    ) => handlerFailure.recordFailure(storage, projection, claim, failure, schemaWait)

    /** A handler that fits the live table may not fit a twin of before: the sentence about the twin says more. */
    const recordAttempt = Effect.fnUntraced(function* (
      projection: Projection.Any,
      claim: ProjectionStorage.Claim,
      failure: handlerFailure.Failed
    ) {
      const { kind, tables } = projection
      const problem =
        claim.rebuild && failure.kind === "schema"
          ? yield* storage.rebuildProblem(claim, { tables, shared: kind === "acrossTenants" })
          : undefined
      yield* recordFailure(
        projection,
        claim,
        problem === undefined ? failure : { ...failure, error: problem }
      )
    })

    /**
     * Parks a rebuild that the storage refuses, also with `onFailure: "deadLetter"`, because no event is to blame. If its tables
     * can be changed, it waits for that first.
     */
    const refuseRebuild = Effect.fnUntraced(function* (
      projection: Projection.Any,
      claim: ProjectionStorage.Claim,
      { passing, problem }: ProjectionStorage.RebuildRefused
    ) {
      if (passing) {
        const cause = { code: null, message: problem, stack: "" }
        const failure = {
          kind: "schema",
          error: problem,
          remedy: undefined,
          unavailable: undefined,
          cause
        } as const
        return yield* recordFailure(projection, claim, {
          ...failure,
          position: claim.position + 1,
          blamed: false
        })
      }
      yield* Effect.logError(`A rebuild cannot continue: ${problem}`).pipe(
        Effect.annotateLogs({ projection: claim.projection, tenantId: claim.tenantId })
      )
      const position = claim.position + 1
      yield* storage.fail({ claim, position, attempts: 1, error: problem, ...parkedForGood })
    })

    /** Runs an effect in a savepoint. Returns undefined after recording the failure of a handler. */
    const attemptOrRecord = Effect.fnUntraced(function* <A>(
      projection: Projection.Any,
      claim: ProjectionStorage.Claim,
      effect: Effect.Effect<A, HandlerFailed | StatementFailed | ProjectionStorage.RebuildRefused | ReadError>
    ) {
      const attempted = yield* Effect.result(storage.attempt(effect))
      if (Result.isSuccess(attempted)) return attempted.success
      const { failure } = attempted
      if (failure instanceof HandlerFailed) yield* own(recordAttempt(projection, claim, failure.failed))
      else if (failure instanceof ProjectionStorage.RebuildRefused)
        yield* own(refuseRebuild(projection, claim, failure))
      else return yield* Effect.fail(failure)
      return undefined
    })

    /** After the last retry: puts the event aside as a dead letter, or parks the projection before it. */
    const giveUp = Effect.fnUntraced(function* (
      projection: Projection.Any,
      claim: ProjectionStorage.Claim,
      position: number
    ) {
      const { attempts, error = "", tenantId } = claim
      const range = { fromPosition: position, toPosition: position, limit: 1 }
      const { rows } = yield* events.readLog({ ...wholeLog, ...range, tenantId })
      const eventId = rows[0]?.eventId
      // A position without an event is behind the log: the end of a rebuild has failed.
      if (projection.onFailure === "park" || eventId === undefined) {
        return yield* storage.fail({ claim, position, attempts, error, ...parkedForGood })
      }
      yield* Effect.logError("A projection put an event aside as a dead letter").pipe(
        Effect.annotateLogs({ projection: claim.projection, tenantId, position, attempts, error })
      )
      yield* storage.addDeadLetter(claim, { position, eventId, error, attempts })
      yield* storage.advance(claim, position)
    })

    /** Swaps the rebuilt read model in for the live one, which waits while the remaining events are handled. */
    const swapIn = Effect.fnUntraced(function* (projection: Projection.Any, claim: ProjectionStorage.Claim) {
      const live = yield* own(storage.lockLive(claim))
      let { position } = claim
      while (position < live) position = yield* handleRange(projection, claim, position, live)
      yield* storage.switchRebuild(claim, { tables: projection.tables, position })
    })

    /** Ends the rebuild of a reaction, which has no read model and whose effects must not be repeated. */
    const endRebuild = Effect.fnUntraced(function* (claim: ProjectionStorage.Claim) {
      const position = yield* storage.lockLive(claim)
      // Without tables nothing is refused.
      yield* Effect.catchTag(
        storage.switchRebuild(claim, { tables: [], position }),
        "RebuildRefused",
        Effect.die
      )
    })

    const workOn = Effect.fnUntraced(function* (claim: ProjectionStorage.Claim, readAhead: ReadAhead) {
      const projection = projectionOf(claim)
      if (claim.rebuild && projection.kind === "reaction") return yield* own(endRebuild(claim))
      const { failedPosition } = claim
      const next = claim.position + 1
      if (failedPosition === next) {
        const retryIn = yield* retryDelay(projection.retry, claim.attempts)
        if (retryIn === undefined) return yield* own(giveUp(projection, claim, next))
      }
      const failedEventIsNext = failedPosition !== undefined && failedPosition <= claim.head
      if (claim.rebuild) switches.noticed(projection)
      // Close enough to swap: a growing log must not postpone the swap for ever. Tenants that share a read model swap together.
      const alone = projection.kind === "tenant"
      if (
        claim.rebuild &&
        alone &&
        !failedEventIsNext &&
        claim.head - claim.position < projection.batchSize
      ) {
        yield* attemptOrRecord(projection, claim, swapIn(projection, claim))
        return
      }
      // An event that has failed is handled alone, after those before it.
      const upTo = failedEventIsNext ? Math.max(next, failedPosition - 1) : claim.head
      const position = yield* attemptOrRecord(
        projection,
        claim,
        handleRange(projection, claim, claim.position, upTo, readAhead)
      )
      if (position === undefined) return
      yield* own(storage.advance(claim, position))
    })

    /**
     * The work of a claim failed as a whole and was rolled back, so the attempt is recorded here: otherwise it would be
     * repeated at once while other tenants wait. If recording fails too, the storage is unavailable.
     */
    const recordClaimFailure = (
      claim: ProjectionStorage.Claim,
      cause: Cause.Cause<unknown>
    ): Effect.Effect<true, StorageUnavailable> => {
      const next = claim.position + 1
      const error = Cause.squash(cause)
      // A handler can make the whole transaction fail, for example by a constraint that is checked at its end.
      const failure =
        error instanceof StatementFailed
          ? handlerFailure.statementFailed(storage, next, error.error)
          : handlerFailure.failed(storage, next, cause, claim.failedPosition === next)
      return Effect.flatMap(failure, (found) => recordFailure(projectionOf(claim), claim, found)).pipe(
        Effect.mapError(() => unavailable(error)),
        Effect.as(true)
      )
    }

    /** Claims and works once, starting with the `first`-th projection. Returns true if there was work. */
    const workOnce = (first: number, readAhead: ReadAhead): Effect.Effect<boolean, StorageUnavailable> =>
      Effect.suspend(() => {
        let claimed: ProjectionStorage.Claim | undefined
        const request = {
          projections: [...keys.slice(first), ...keys.slice(0, first)],
          accessId: granted.accessId
        }
        return storage
          .work(request, (claim) => {
            claimed = claim
            return workOn(claim, readAhead)
          })
          .pipe(
            Effect.map(Option.isSome),
            Effect.catchCause((cause) =>
              claimed === undefined
                ? Effect.fail(unavailable(Cause.squash(cause)))
                : recordClaimFailure(claimed, cause)
            )
          )
      })

    const switches = sharedRebuilds.make(storage, projections, () => granted.accessId)

    const measure = Effect.gen(function* () {
      for (const backlog of yield* storage.backlog(keys)) {
        const attributes = { projection: backlog.projection, version: String(backlog.version) }
        yield* Metric.update(Metric.withAttributes(pending, attributes), backlog.pending)
        yield* Metric.update(Metric.withAttributes(oldestPending, attributes), backlog.oldestAge)
        yield* Metric.update(Metric.withAttributes(parked, attributes), backlog.parked)
      }
    }).pipe(Effect.ignore({ log: "Debug", message: "The backlog of projections could not be measured" }))

    yield* storage.register(keys)
    yield* storage.sweep

    // Captured outside of the workers' transactions, so that reads ahead use connections of their own.
    const readApart = Effect.runForkWith(yield* Effect.context())
    const makeReadAhead = Effect.acquireRelease(
      Effect.sync(() => new ReadAhead((batch) => readApart(readBatch(batch)))),
      (readAhead) => readAhead.end
    )

    const drain = Effect.gen(function* () {
      const readAhead = yield* makeReadAhead
      // Handlers may append, so look again after any work.
      for (let worked = true; worked;) {
        yield* renewAccess
        yield* storage.sweep
        worked = false
        for (let idle = 0, first = 0; idle < keys.length; first = (first + 1) % keys.length) {
          idle = (yield* workOnce(first, readAhead)) ? 0 : idle + 1
          worked ||= idle === 0
        }
        if (yield* switches.tryAll) worked = true
      }
      yield* measure
    }).pipe(Effect.scoped)

    // All workers share one subscription to hints; each waits for the next hint or its next poll.
    const hints = yield* PubSub.sliding<void>(1)
    yield* events.changes.pipe(
      Stream.runForEach(() => PubSub.publish(hints, undefined)),
      Effect.forkScoped
    )
    const pollMillis = Duration.toMillis(options.pollInterval ?? "1 second")
    const worker = (index: number) =>
      Effect.gen(function* () {
        const hinted = yield* PubSub.subscribe(hints)
        const readAhead = yield* makeReadAhead
        let first = index % keys.length
        let pause = pauses.first
        while (true) {
          const worked = yield* Effect.result(workOnce(first, readAhead))
          first = (first + 1) % keys.length
          if (Result.isSuccess(worked) && worked.success) continue
          readAhead.drop()
          const switched = yield* Effect.result(
            Result.isSuccess(worked) ? switches.tryNoticed : Effect.succeed(false)
          )
          if (Result.isSuccess(switched) && switched.success) continue
          if (Result.isSuccess(worked)) {
            pause = pauses.first
            yield* Effect.timeoutOption(PubSub.take(hinted), pollMillis)
          } else {
            const { failure } = worked
            yield* Effect.logWarning(
              `Projections wait for the storage: ${failure.message}`,
              Cause.fail(failure)
            )
            // A hint does not mean that the storage is back.
            yield* Effect.sleep(pause)
            pause = Math.min(pause * 2, pauses.longest)
          }
        }
      }).pipe(Effect.scoped)
    if (keys.length > 0) {
      for (let index = 0; index < (options.concurrency ?? 4); index++) yield* Effect.forkScoped(worker(index))
    }
    yield* Effect.all([renewAccess, storage.sweep, switches.tryAll], { discard: true }).pipe(
      Effect.ignore({ log: "Debug", message: "Projections could not look for missed work" }),
      Effect.andThen(PubSub.publish(hints, undefined)),
      Effect.andThen(measure),
      Effect.delay(options.sweepInterval ?? "15 seconds"),
      Effect.forever,
      Effect.forkScoped
    )

    return ProjectionRunner.of({ drain })
  })

const unavailable = (error: unknown): StorageUnavailable =>
  error instanceof StorageUnavailable
    ? error
    : error instanceof StatementFailed
      ? error.error
      : new StorageUnavailable({
          reason: new OtherFailure({ operation: "work on a projection", retryable: true, code: null })
        })

const wholeLog = {
  fromPosition: 1,
  toPosition: Number.MAX_SAFE_INTEGER,
  recordedFrom: undefined,
  recordedBefore: undefined,
  aggregateTypes: undefined,
  eventTypes: undefined,
  direction: "forwards"
} as const

/**
 * Runs projections while the layer's scope is open. It requires what the handlers require, except the tenant, which is
 * provided per event.
 *
 * **Details**
 *
 * Fails with `ProjectionRefused` if the version of a projection is retired, or if it names a table that another version or
 * projection fills, because every event would count twice there. A projection without `tables` is not protected.
 */
export const layer = <const Ps extends ReadonlyArray<Projection.Any>>(
  options: Options<Ps>
): Layer.Layer<
  ProjectionRunner,
  ProjectionStorage.ProjectionRefused | StorageUnavailable,
  | EventStorage.EventStorage
  | ProjectionStorage.ProjectionStorage
  | Exclude<Projection.Requirements<Ps[number]>, CurrentTenant>
> =>
  layerPer([EventStorage.EventStorage, ProjectionStorage.ProjectionStorage], () =>
    Layer.effect(ProjectionRunner, make(options))
  )

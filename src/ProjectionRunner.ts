/**
 * The runner of projections: workers that claim a projection with a tenant, handle its next events, and go on to the one
 * that has waited longest. There is no leader; any number of processes share the work.
 */
import { Cause, Context, type Duration, Effect, Layer, Metric, Option, PubSub, Result, Stream } from "effect"
import { SqlError } from "effect/sql"
import * as EventContext from "./EventContext.ts"
import * as EventStorage from "./EventStorage.ts"
import { mixedEnvelopes } from "./internal/decode.ts"
import { retryDelay } from "./internal/retryDelay.ts"
import type * as Projection from "./Projection.ts"
import * as ProjectionStorage from "./ProjectionStorage.ts"
import { type ReadError, StorageUnavailable } from "./StoreError.ts"
import { AllTenants, type CurrentTenant } from "./Tenant.ts"

/** Settings of {@link layer}. */
export interface Options<Ps extends ReadonlyArray<Projection.Any>> {
  readonly projections: Ps
  /** Tenants that are worked on at the same time, in this process. Default: 4. Each takes a database connection. */
  readonly concurrency?: number | undefined
  /** How often an idle worker looks for work without a hint. Default: 1 second. */
  readonly pollInterval?: Duration.Input | undefined
  /**
   * How often all logs are looked at for events whose announcement was lost. Default: 15 seconds. It costs an index
   * look-up per tenant.
   */
  readonly sweepInterval?: Duration.Input | undefined
}

/** Runs projections. Its layer starts the workers. */
export class ProjectionRunner extends Context.Service<
  ProjectionRunner,
  {
    /** Works, in the calling fiber, until there is nothing to do: for tests, imports and tools. */
    readonly drain: Effect.Effect<void, StorageUnavailable>
  }
>()("effect-eventsourcing/ProjectionRunner") {}

/** Events handled, by projection. */
export const handledEvents: Metric.Counter<number> = Metric.counter("eventsourcing.projection.events", {
  description: "Events that projections have handled",
  incremental: true
})

/** Failures of handlers, by projection. */
export const failures: Metric.Counter<number> = Metric.counter("eventsourcing.projection.failures", {
  description: "Events that projections have failed to handle",
  incremental: true
})

/** Events between the checkpoint and the head of the log, when a worker last left it, by projection. */
export const lag: Metric.Gauge<number> = Metric.gauge("eventsourcing.projection.lag", {
  description: "Events that are still to be handled for the tenant that was worked on last"
})

/** A handler failed at an event, or the event could not be decoded. */
class HandlerFailed {
  readonly claim: ProjectionStorage.Claim
  readonly position: number
  readonly error: string
  constructor(claim: ProjectionStorage.Claim, position: number, error: string) {
    this.claim = claim
    this.position = position
    this.error = error
  }
}

const maxErrorLength = 1000

/** What failed, in one line. */
const summary = (error: unknown): string => {
  const text =
    error instanceof Error ? `${error.name}: ${error.message}` : `a failure of type ${typeof error}`
  return text.replaceAll("\0", "").slice(0, maxErrorLength)
}

/** A handler that fails because the storage is away has not failed at the event. */
const failureOf = (
  claim: ProjectionStorage.Claim,
  position: number,
  cause: Cause.Cause<unknown>
): HandlerFailed | StorageUnavailable => {
  const error = Cause.squash(cause)
  if (error instanceof StorageUnavailable && error.retryable) return error
  if (SqlError.isSqlError(error) && error.isRetryable) {
    return new StorageUnavailable({ operation: "handle an event", retryable: true, code: null })
  }
  return new HandlerFailed(claim, position, summary(error))
}

const keyOf = ({ name, version }: Projection.Any): string => JSON.stringify([name, version])

const make = <Ps extends ReadonlyArray<Projection.Any>>(options: Options<Ps>) =>
  Effect.gen(function* () {
    const events = yield* EventStorage.EventStorage
    const storage = yield* ProjectionStorage.ProjectionStorage
    // Handlers get the services that are there when the runner is built, the tenant excepted.
    const services = yield* Effect.context<Exclude<Projection.Requirements<Ps[number]>, CurrentTenant>>()
    const { projections } = options
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
      acrossTenants: projection.kind === "acrossTenants"
    }))
    const access = Context.getOption(services, AllTenants)
    const accessId = yield* Option.match(access, {
      onNone: () => Effect.undefined,
      onSome: (granted) =>
        events.recordAccess({
          ...granted,
          operation: `ProjectionRunner: ${keys.flatMap((key) => (key.acrossTenants ? [key.projection] : [])).join(", ")}`
        })
    })

    /** Handles the events behind a position, up to another one. Returns how far it came: at most a batch. */
    const handleRange = Effect.fnUntraced(function* (
      projection: Projection.Any,
      claim: ProjectionStorage.Claim,
      after: number,
      upTo: number
    ): Effect.fn.Return<number, HandlerFailed | ReadError> {
      const byType = new Map(projection.aggregates.map((aggregate) => [aggregate.type, aggregate]))
      const { rows, complete } = yield* events.readLog({
        ...wholeLog,
        tenantId: claim.tenantId,
        fromPosition: after + 1,
        toPosition: upTo,
        aggregateTypes: [...byType.keys()],
        eventTypes: projection.eventTypes,
        limit: projection.batchSize
      })
      const page = mixedEnvelopes(claim.tenantId, byType, rows)
      for (const envelope of page.events) {
        yield* Effect.suspend(() => projection.handle(envelope)).pipe(
          EventContext.whileHandling(envelope),
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the layer's type requires what handlers do
          Effect.provideContext(services as Context.Context<unknown>),
          Effect.catchCause((cause) =>
            Cause.hasInterruptsOnly(cause)
              ? Effect.interrupt
              : Effect.fail(failureOf(claim, envelope.position, cause))
          )
        )
      }
      if (page.failure !== undefined) {
        return yield* Effect.fail(new HandlerFailed(claim, page.failure.position, page.failure.message))
      }
      yield* Metric.update(Metric.withAttributes(handledEvents, { projection: projection.name }), rows.length)
      return complete ? upTo : (rows.at(-1)?.position ?? upTo)
    })

    /** Nothing of the batch is there: tries again later, or parks. */
    const settle = Effect.fnUntraced(function* (
      projection: Projection.Any,
      { claim, position, error }: HandlerFailed
    ) {
      const attempts = (claim.failedPosition === position ? claim.attempts : 0) + 1
      const retryIn = yield* retryDelay(projection.retry, attempts)
      yield* Metric.update(Metric.withAttributes(failures, { projection: projection.name }), 1)
      yield* Effect.logWarning("A projection failed to handle an event").pipe(
        Effect.annotateLogs({ projection: claim.projection, tenantId: claim.tenantId, position, attempts })
      )
      // Whoever claims it next puts the event aside.
      const givenUp = projection.onFailure === "deadLetter" ? 0 : undefined
      yield* storage.fail({ claim, position, error, retryIn: retryIn ?? givenUp })
    })

    /** Undoes what failed and settles it: undefined then. */
    const settled = Effect.fnUntraced(function* <A>(
      projection: Projection.Any,
      effect: Effect.Effect<A, HandlerFailed | ReadError>
    ) {
      const attempted = yield* Effect.result(storage.attempt(effect))
      if (Result.isSuccess(attempted)) return attempted.success
      if (!(attempted.failure instanceof HandlerFailed)) return yield* Effect.fail(attempted.failure)
      yield* settle(projection, attempted.failure)
      return undefined
    })

    /** Goes on behind an event that has failed too often. */
    const putAside = Effect.fnUntraced(function* (claim: ProjectionStorage.Claim, position: number) {
      const { rows } = yield* events.readLog({
        ...wholeLog,
        tenantId: claim.tenantId,
        fromPosition: position,
        toPosition: position,
        limit: 1
      })
      const eventId = rows[0]?.eventId
      if (eventId === undefined) return yield* Effect.die(new Error(`no event at position ${position}`))
      const { attempts, error = "" } = claim
      yield* storage.addDeadLetter(claim, { position, eventId, error, attempts })
      yield* storage.advance(claim, position)
    })

    /** What was rebuilt takes the place of the live read model, which stands still for what is left to handle. */
    const takePlace = Effect.fnUntraced(function* (
      projection: Projection.Any,
      claim: ProjectionStorage.Claim,
      rebuilt: number
    ) {
      const live = yield* storage.lockLive(claim)
      let position = rebuilt
      while (position < live) position = yield* handleRange(projection, claim, position, live)
      yield* storage.switchRebuild(claim, { tables: projection.tables, position })
    })

    /** One claim's worth of work. */
    const workOn = Effect.fnUntraced(function* (claim: ProjectionStorage.Claim) {
      const projection = projectionOf(claim)
      const { failedPosition } = claim
      const next = claim.position + 1
      if (failedPosition === next && projection.onFailure === "deadLetter") {
        const retryIn = yield* retryDelay(projection.retry, claim.attempts)
        if (retryIn === undefined) return yield* putAside(claim, next)
      }
      // An event that has failed is handled alone, once those before it are done.
      const upTo =
        failedPosition === undefined || failedPosition > claim.head
          ? claim.head
          : Math.max(next, failedPosition - 1)
      const position = yield* settled(projection, handleRange(projection, claim, claim.position, upTo))
      if (position === undefined) return
      const head = yield* storage.advance(claim, position)
      if (claim.rebuild && position >= head) {
        yield* settled(projection, takePlace(projection, claim, position))
      }
      yield* Metric.update(
        Metric.withAttributes(lag, { projection: projection.name }),
        Math.max(0, head - position)
      )
    })

    /** Claims and works once, beginning to look at the `first`-th projection. Returns whether there was anything to do. */
    const workOnce = (first: number): Effect.Effect<boolean, StorageUnavailable> =>
      storage.work({ projections: [...keys.slice(first), ...keys.slice(0, first)], accessId }, workOn).pipe(
        Effect.map(Option.isSome),
        Effect.mapError((error) =>
          error instanceof StorageUnavailable
            ? error
            : new StorageUnavailable({ operation: "work on a projection", retryable: true, code: null })
        )
      )

    yield* storage.register(keys)
    yield* storage.sweep

    const drain = Effect.gen(function* () {
      yield* storage.sweep
      for (let idle = 0, first = 0; idle < keys.length; first = (first + 1) % keys.length) {
        idle = (yield* workOnce(first)) ? 0 : idle + 1
      }
    })

    // Hints come through one subscription; every worker waits for the next one or for the poll.
    const hints = yield* PubSub.sliding<void>(1)
    yield* events.changes.pipe(
      Stream.runForEach(() => PubSub.publish(hints, undefined)),
      Effect.forkScoped
    )
    const pollInterval = options.pollInterval ?? "1 second"
    const worker = (index: number) =>
      Effect.gen(function* () {
        const hinted = yield* PubSub.subscribe(hints)
        let first = index % keys.length
        while (true) {
          const worked = yield* workOnce(first).pipe(
            Effect.catch((error) =>
              Effect.as(Effect.logWarning(`Projections wait for the storage: ${error.message}`), false)
            )
          )
          first = (first + 1) % keys.length
          if (!worked) yield* Effect.timeoutOption(PubSub.take(hinted), pollInterval)
        }
      }).pipe(Effect.scoped)
    if (keys.length > 0) {
      for (let index = 0; index < (options.concurrency ?? 4); index++) yield* Effect.forkScoped(worker(index))
    }
    yield* storage.sweep.pipe(
      Effect.ignore({ log: "Debug", message: "Projections could not look for missed work" }),
      Effect.andThen(PubSub.publish(hints, undefined)),
      Effect.delay(options.sweepInterval ?? "15 seconds"),
      Effect.forever,
      Effect.forkScoped
    )

    return ProjectionRunner.of({ drain })
  })

/** Everything in a log. */
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
 * Runs projections while the layer's scope is open. It requires what the handlers require, except the tenant: that is
 * provided per event.
 */
export const layer = <const Ps extends ReadonlyArray<Projection.Any>>(
  options: Options<Ps>
): Layer.Layer<
  ProjectionRunner,
  StorageUnavailable,
  | EventStorage.EventStorage
  | ProjectionStorage.ProjectionStorage
  | Exclude<Projection.Requirements<Ps[number]>, CurrentTenant>
> => Layer.effect(ProjectionRunner, make(options))

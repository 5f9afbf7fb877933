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
  Option,
  PubSub,
  Result,
  Stream,
  Tracer
} from "effect"
import { layerPer } from "../internal/layerPer.ts"
import * as EventStorage from "../driver/EventStorage.ts"
import { BacklogReader, type Batch } from "./backlogReader.ts"
import * as claimFailures from "./claimFailures.ts"
import { HandlerFailed, own, unavailable } from "./claimFailures.ts"
import * as handlePages from "./handlePages.ts"
import { inClaimSpan, makeRecordWork, recordBacklog } from "./claimSpan.ts"
import { retryDelay } from "./retryDelay.ts"
import { startOf } from "../telemetry/series.ts"
import { attribute } from "../telemetry/Telemetry.ts"
import * as sharedRebuilds from "./sharedRebuilds.ts"
import * as Projection from "./Projection.ts"
import * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
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

/** Pauses of a worker while the storage is unavailable, in milliseconds; each is twice the one before. */
const pauses = { first: 1000, longest: 5000 }

/** Age in milliseconds at which a recorded access to all tenants is replaced by a new one. */
const renewAfter = 86_400_000

const claimKey = ({ projection, rebuild, tenantId, version }: ProjectionStorage.Claim): string =>
  JSON.stringify([projection, version, tenantId, rebuild])

/** The span in which the layer is built is not the parent of all that handlers do later. */
const withoutSpan = <R>(services: Context.Context<R>): Context.Context<R> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no handler requires a span
  Context.omit(Tracer.ParentSpan)(services as Context.Context<R | Tracer.ParentSpan>) as Context.Context<R>

const keyOf = ({ name, version }: Projection.Any): string => JSON.stringify([name, version])

const make = <Ps extends ReadonlyArray<Projection.Any>>(options: Options<Ps>) =>
  Effect.gen(function* () {
    const events = yield* EventStorage.EventStorage
    const storage = yield* ProjectionStorage.ProjectionStorage
    // Handlers get the services that exist when the runner is built, except the tenant.
    const services = withoutSpan(
      yield* Effect.context<Exclude<Projection.Requirements<Ps[number]>, CurrentTenant>>()
    )
    const recordWork = makeRecordWork()
    const { projections, schemaWait = "10 minutes" } = options
    const byKey = new Map(projections.map((projection) => [keyOf(projection), projection]))
    if (byKey.size !== projections.length)
      throw new TypeError("two projections have the same name and version")
    const projectionOf = (claim: ProjectionStorage.Claim): Projection.Any => {
      const projection = byKey.get(JSON.stringify([claim.projection, claim.version]))
      if (projection === undefined) throw new Error(`claimed the unknown projection ${claim.projection}`)
      return projection
    }
    const pages = handlePages.make(events, storage, services)
    const failing = claimFailures.make(events, storage, schemaWait)
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

    /** Swaps the rebuilt read model in for the live one, which waits while the remaining events are handled. */
    const swapIn = Effect.fnUntraced(function* (projection: Projection.Any, claim: ProjectionStorage.Claim) {
      const live = yield* own(storage.lockLive(claim))
      let { position } = claim
      while (position < live)
        ({ position } = yield* pages.page(projection, claim, { after: position, upTo: live }))
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

    /**
     * Positions up to which each page is attempted in a savepoint and committed alone, because a transaction of many pages has failed
     * and it is not known at which event.
     */
    const careful = new Map<string, number>()
    const isCareful = (projection: Projection.Any, claim: ProjectionStorage.Claim): boolean => {
      if ((careful.get(claimKey(claim)) ?? 0) > claim.position) return true
      careful.delete(claimKey(claim))
      // The effects of reactions must not be repeated because of a later event.
      return claim.failedPosition === claim.position + 1 || projection.kind === "reaction"
    }

    /** Returns the number of handled events. With `attempts`, they are one page, whose failure is recorded in the claim. */
    const workOn = Effect.fnUntraced(function* (
      projection: Projection.Any,
      claim: ProjectionStorage.Claim,
      reader: BacklogReader,
      attempts: boolean
    ) {
      if (claim.rebuild && projection.kind === "reaction") {
        yield* own(endRebuild(claim))
        return 0
      }
      const { failedPosition } = claim
      const next = claim.position + 1
      if (failedPosition === next) {
        const retryIn = yield* retryDelay(projection.retry, claim.attempts)
        if (retryIn === undefined) {
          yield* own(failing.giveUp(projection, claim, next))
          return 0
        }
      }
      const failedEventIsNext = failedPosition !== undefined && failedPosition <= claim.head
      if (claim.rebuild) switches.noticed(projection)
      // Close enough to swap: a growing log must not postpone the swap for ever. Tenants that share a read model swap together.
      const swapsAlone = projection.kind === "tenant"
      if (
        claim.rebuild &&
        swapsAlone &&
        !failedEventIsNext &&
        claim.head - claim.position < projection.batchSize
      ) {
        yield* failing.attemptOrRecord(projection, claim, swapIn(projection, claim))
        return 0
      }
      // An event that has failed is handled alone, after those before it.
      const upTo = failedEventIsNext ? Math.max(next, failedPosition - 1) : claim.head
      const range = { after: claim.position, upTo }
      const handled = attempts
        ? yield* failing.attemptOrRecord(projection, claim, pages.page(projection, claim, range, reader))
        : yield* pages.backlog(projection, claim, upTo, reader)
      if (handled === undefined) return 0
      yield* own(storage.advance(claim, handled.position))
      return handled.events
    })

    /** Claims and works once, starting with the `first`-th projection. Returns true if there was work. */
    const workOnce = (first: number, reader: BacklogReader): Effect.Effect<boolean, StorageUnavailable> =>
      Effect.suspend(() => {
        let claimed: ProjectionStorage.Claim | undefined
        let attempts = false
        let start = 0n
        const request = {
          projections: [...keys.slice(first), ...keys.slice(0, first)],
          accessId: granted.accessId
        }
        return storage
          .work(request, (claim) =>
            Effect.contextWith((context: Context.Context<never>) => {
              const projection = projectionOf(claim)
              claimed = claim
              start = startOf(context)
              attempts = isCareful(projection, claim)
              return inClaimSpan(projection, claim, workOn(projection, claim, reader, attempts)).pipe(
                Effect.annotateLogs({
                  projection: projection.name,
                  [attribute.tenantId]: claim.tenantId
                })
              )
            })
          )
          .pipe(
            Effect.tap((handled) =>
              Effect.contextWith((context: Context.Context<never>) => {
                if (claimed !== undefined && Option.isSome(handled))
                  recordWork(context, projectionOf(claimed), start, handled.value)
                return Effect.void
              })
            ),
            Effect.map(Option.isSome),
            Effect.catchCause((cause) => {
              if (claimed === undefined) return Effect.fail(unavailable(Cause.squash(cause)))
              const isKnown = Cause.squash(cause) instanceof HandlerFailed && !claimed.rebuild
              if (attempts || isKnown)
                return Effect.andThen(
                  reader.drop,
                  failing.recordClaimFailure(projectionOf(claimed), claimed, cause)
                )
              careful.set(claimKey(claimed), claimed.position + handlePages.most.events)
              return Effect.as(reader.drop, true)
            })
          )
      })

    const switches = sharedRebuilds.make(storage, projections, () => granted.accessId)

    const measure = Effect.gen(function* () {
      for (const backlog of yield* storage.backlog(keys)) {
        recordBacklog(yield* Effect.context(), backlog)
      }
    }).pipe(Effect.ignore({ log: "Debug", message: "The backlog of projections could not be measured" }))

    yield* storage.register(keys)
    yield* storage.sweep

    // Captured outside of the workers' transactions, so that readers use connections of their own.
    const fork = Effect.runForkWith(yield* Effect.context())
    const openReader = (batch: Batch) => events.openLog({ ...pages.selection(batch), spare: true })
    const makeReader = Effect.acquireRelease(
      Effect.sync(() => new BacklogReader(openReader, fork)),
      (reader) => reader.drop
    )

    const drain = Effect.gen(function* () {
      const reader = yield* makeReader
      // Handlers may append, so look again after any work.
      for (let worked = true; worked;) {
        yield* renewAccess
        yield* storage.sweep
        worked = false
        for (let idle = 0, first = 0; idle < keys.length; first = (first + 1) % keys.length) {
          idle = (yield* workOnce(first, reader)) ? 0 : idle + 1
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
        const reader = yield* makeReader
        let first = index % keys.length
        let pause = pauses.first
        while (true) {
          const worked = yield* Effect.result(workOnce(first, reader))
          first = (first + 1) % keys.length
          if (Result.isSuccess(worked) && worked.success) continue
          yield* reader.drop
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

/**
 * Operating projections: status, waiting for a position, dead letters, rebuilds.
 */
import { Context, DateTime, type Duration, Effect, Layer, Option, Stream } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import * as EventStorage from "../driver/EventStorage.ts"
import type * as Event from "../domain/Event.ts"
import { currentTenant } from "../domain/currentTenant.ts"
import { reasonProblem } from "../internal/json.ts"
import { annotate, messagingOf, spanned, spannedStream } from "../telemetry/spanned.ts"
import { attribute } from "../telemetry/Telemetry.ts"
import * as progress from "./progress.ts"
import * as rebuilds from "./rebuilds.ts"
import { replay, type ReplayOptions } from "./deadLetters.ts"
import { listTenants, recordAccess } from "../store/crossTenant.ts"
import { confirm } from "./keptPosition.ts"
import type * as Projection from "./Projection.ts"
import {
  CannotRebuild,
  DeadLetterNotFound,
  type DivergedAt,
  InvalidReason,
  type ProjectionBehind,
  type ProjectionParked,
  type RebuildCancelled,
  type RebuildParked,
  type ReplayFailed
} from "./ProjectionError.ts"
import * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import type { ReadError } from "../driver/StoreError.ts"
import { AllTenants, type CurrentTenant, type TenantId } from "../domain/Tenant.ts"

export type { ReplayOptions } from "./deadLetters.ts"
export type { Failure, Rebuild, Status } from "./progress.ts"
export type { RebuildProgress } from "./rebuilds.ts"

/** A projection, or its name and version. */
export type Ref = Pick<Projection.Any, "name" | "version">

/** The parts of a projection that a rebuild needs. */
export type Rebuildable = Pick<Projection.Any, "name" | "version" | "kind" | "tables">

/** Settings of `awaitPosition`. */
export interface AwaitOptions {
  /** Default: 5 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/** Settings of a rebuild. */
export interface RebuildOptions {
  /** Start over, even if a rebuild is in progress. Default: false. */
  readonly restart?: boolean | undefined
}

/** An event that a projection gave up on. The event itself is in the log, at the same position. */
export interface DeadLetter extends Omit<ProjectionStorage.DeadLetter, "failedAt"> {
  readonly failedAt: DateTime.Utc
}

/** The failures of a projection at an event, for operators. Values of the event are masked in message and stack. */
export interface FailureReport extends Omit<ProjectionStorage.FailureRecord, "firstAt" | "lastAt"> {
  readonly tenantId: TenantId
  readonly firstAt: DateTime.Utc
  readonly lastAt: DateTime.Utc
}

/**
 * Operates the projections of the current tenant.
 *
 * **Details**
 *
 * Any process may call it; processes with a `ProjectionRunner` handle the events, rebuilds included. All state is in storage, so
 * nothing is lost with the calling process.
 */
export class ProjectionManager extends Context.Service<
  ProjectionManager,
  {
    /** The status of a projection. One that has never seen the tenant is at position 0. */
    readonly status: (projection: Ref) => Effect.Effect<progress.Status, ReadError, CurrentTenant>
    /** The status of a projection for each tenant, ordered by tenant. Every run is written to the audit trail. */
    readonly statusOfAll: (projection: Ref) => Stream.Stream<progress.Status, ReadError, AllTenants>
    /**
     * Waits until the live read model contains an event of the log, to read one's own writes.
     *
     * **Details**
     *
     * Fails with `ProjectionParked` at once if the projection is parked before the position, and with `ProjectionBehind` after the
     * timeout; both tell its position. Fails with `PositionDiverged` if the position has another event or none, because the
     * write was lost; a position without the event's id cannot show that. It polls 5, 10, 20 … and at most 250 milliseconds
     * apart, a little sooner after a hint.
     *
     * **Gotchas**
     *
     * An event that was put aside as a dead letter counts as contained.
     */
    readonly awaitPosition: <At extends number | Event.Position>(
      projection: Ref,
      position: At,
      options?: AwaitOptions
    ) => Effect.Effect<void, ProjectionBehind | ProjectionParked | DivergedAt<At> | ReadError, CurrentTenant>
    /**
     * Stops a projection for the tenant until `resume`, after waiting for the events that a runner is handling. It is parked then, and
     * handles nothing; appends go on. Returns false if it was stopped already, if the tenant is unknown, or if the version is retired.
     *
     * **Gotchas**
     *
     * A rebuild under way goes on.
     */
    readonly pause: (projection: Ref) => Effect.Effect<boolean, ReadError, CurrentTenant>
    /** Lets a parked projection, and a parked rebuild of it, try again. Returns true if anything was parked. */
    readonly resume: (projection: Ref) => Effect.Effect<boolean, ReadError, CurrentTenant>
    /**
     * Lets parked projections of all tenants, and parked rebuilds, try again: those of one projection, or all of them without
     * an argument. Returns their number. Every run is written to the audit trail.
     */
    readonly resumeAll: (projection?: Ref) => Effect.Effect<number, ReadError, AllTenants>
    /**
     * The causes of a projection's failures: message, code and stack, for all tenants, ordered by tenant, the latest first.
     * Every run is written to the audit trail.
     *
     * **Details**
     *
     * The last 100 failed positions of each tenant are kept, also after they have been handled. Tenants see only the summary
     * in `status`. Values of the event's payload and metadata are masked, and rows and values that a database quotes are left
     * out. Other secrets that a handler puts into its errors appear here and in the log.
     */
    readonly failures: (projection: Ref) => Stream.Stream<FailureReport, ReadError, AllTenants>
    /** The events that a projection gave up on, in order. */
    readonly deadLetters: (projection: Ref) => Stream.Stream<DeadLetter, ReadError, CurrentTenant>
    /**
     * Handles the dead letters again, in order. Returns their number. Each is handled in a transaction of its own, which also
     * removes it; the first that fails ends the replay with `ReplayFailed` and remains.
     *
     * **Details**
     *
     * The handlers run here, with the services of the caller. The projection waits for them in the tenant. A rebuild in progress
     * handles all events anyway, and has dead letters of its own.
     *
     * **Gotchas**
     *
     * Handlers see the read model as it is now, with later events in it.
     */
    readonly replayDeadLetters: <P extends Projection.Any>(
      projection: P,
      options?: ReplayOptions
    ) => Effect.Effect<number, ReplayFailed | ReadError, Projection.Requirements<P> | CurrentTenant>
    /** Removes a dead letter for a reason of 1 to 1,000 characters. Both are recorded. */
    readonly discardDeadLetter: (
      projection: Ref,
      position: number,
      reason: string
    ) => Effect.Effect<void, DeadLetterNotFound | InvalidReason | ReadError, CurrentTenant>
    /**
     * Rebuilds the read model of the tenant from its whole log, beside the live one, and swaps the two at the end. Emits its
     * progress, and ends after the swap.
     *
     * **Details**
     *
     * Running the stream starts the rebuild or joins one in progress; a parked one starts over. The work continues without the
     * stream. Fails with `RebuildParked` when an event failed in it, and with `RebuildCancelled` when it was cancelled; the live
     * read model is unchanged. A projection across tenants is rebuilt for all of them at once: `rebuildAll`.
     */
    readonly rebuild: (
      projection: Rebuildable,
      options?: RebuildOptions
    ) => Stream.Stream<
      rebuilds.RebuildProgress,
      CannotRebuild | RebuildCancelled | RebuildParked | ReadError,
      CurrentTenant
    >
    /**
     * Rebuilds the read models of all tenants with events, like `rebuild`. Every run is written to the audit trail. Fails with
     * `RebuildParked` once only parked ones are left, or with `RebuildCancelled` once some were cancelled and none is left.
     *
     * **Details**
     *
     * The read model of a projection across tenants, which all tenants share, is rebuilt as a whole beside the live one, and
     * replaces it for all tenants in one step once it contains the same events. For this the live one gets no new events
     * for at most 10 seconds, and can be read. Fails with `RebuildParked` as soon as an event of one tenant has failed
     * in it. In several databases each one switches by itself.
     */
    readonly rebuildAll: (
      projection: Rebuildable,
      options?: RebuildOptions
    ) => Stream.Stream<
      rebuilds.RebuildProgress,
      CannotRebuild | RebuildCancelled | RebuildParked | ReadError,
      AllTenants
    >
    /**
     * Cancels the rebuild of the tenant's read model, also a parked one. Returns false if there is none.
     *
     * **Details**
     *
     * The live read model remains as it is. It waits for the events that a runner is handling in the rebuild, and fails with
     * `StorageUnavailable` if they take longer than 10 seconds. Streams that watch the rebuild fail with `RebuildCancelled`. A
     * later rebuild starts at the beginning.
     *
     * **Gotchas**
     *
     * A rebuild of a projection across tenants belongs to all of them: `cancelRebuildAll` cancels it, and this returns false.
     */
    readonly cancelRebuild: (projection: Rebuildable) => Effect.Effect<boolean, ReadError, CurrentTenant>
    /**
     * Cancels the rebuilds of all tenants, like `cancelRebuild`. Returns their number; one of a projection across tenants counts
     * once. Every run is written to the audit trail.
     */
    readonly cancelRebuildAll: (projection: Rebuildable) => Effect.Effect<number, ReadError, AllTenants>
    /**
     * Retires a version of a projection for all tenants, once no program runs it any more. From then on it costs nothing. Returns
     * false if it was unknown or already retired.
     *
     * **Details**
     *
     * Runners that still have it get no work for it. Its progress with all tenants is removed. Its dead letters and its tables
     * stay; the owner may drop the tables. The retirement is written to the audit trail.
     *
     * **Gotchas**
     *
     * It cannot be undone: a runner with this version no longer starts (`ProjectionRefused`), because it would count every event
     * twice.
     */
    readonly retire: (projection: Ref) => Effect.Effect<boolean, ReadError, AllTenants>
    /**
     * The progress of all rebuilds in progress; it starts none. Use it to watch again after a restart. Every run is written to the
     * audit trail.
     */
    readonly watchRebuilds: (
      projection: Ref
    ) => Stream.Stream<rebuilds.RebuildProgress, RebuildCancelled | RebuildParked | ReadError, AllTenants>
  }
>()("effect-eventsourcing/ProjectionManager") {}

const defaultTimeout = "5 seconds"
const deadLetterPageSize = 100
const tenantConcurrency = 8

/** A position may come from a request, and its type allows any number. */
const requirePosition = (position: number): Effect.Effect<void> =>
  Number.isSafeInteger(position) ? Effect.void : Effect.die(new RangeError("a position is an integer"))

const make = Effect.gen(function* () {
  const events = yield* EventStorage.EventStorage
  const storage = yield* ProjectionStorage.ProjectionStorage
  const storages = { events, projections: storage }

  const keyOf = ({ name, version }: Ref, tenantId: TenantId): ProjectionStorage.TenantProjection => ({
    projection: name,
    version,
    tenantId
  })
  const currentKey = (projection: Ref) => Effect.map(currentTenant, (tenantId) => keyOf(projection, tenantId))

  const tenantsWithEvents = (operation: string, { name }: Ref) =>
    Effect.gen(function* () {
      const accessId = yield* recordAccess(events, `ProjectionManager.${operation} ${name}`)
      const all = yield* listTenants(events, accessId)
      const tenants = all.flatMap(({ tenantId, position }) => (position > 0 ? [tenantId] : []))
      return { accessId, tenants }
    })

  const rebuildOf = (
    { name, version, kind, tables }: Rebuildable,
    tenants: ReadonlyArray<TenantId>,
    { restart = false }: RebuildOptions,
    accessId?: string
  ): Effect.Effect<
    Stream.Stream<rebuilds.RebuildProgress, RebuildCancelled | RebuildParked | ReadError>,
    CannotRebuild | ReadError
  > => {
    const key = { projection: name, version, tables }
    const refuse = (reason: string) => new CannotRebuild({ projection: name, version, reason })
    if (kind === "reaction") return Effect.fail(refuse("a reaction has no read model"))
    if (tables.length === 0) return Effect.fail(refuse("it names no tables"))
    if (kind === "acrossTenants") {
      return accessId === undefined
        ? Effect.fail(refuse("all tenants share its read model: call rebuildAll"))
        : Effect.as(
            rebuilds.startShared(storage, { ...key, accessId, restart }),
            rebuilds.watch(storage, key, new Map(tenants.map((tenantId) => [tenantId, undefined])))
          )
    }
    return Effect.map(rebuilds.start(storage, key, tenants, restart), (started) =>
      rebuilds.watch(storage, key, started)
    )
  }

  const rebuilding =
    (projection: Rebuildable) =>
    <A, E, R>(stream: Stream.Stream<A, E, R>): Stream.Stream<A, E, R> =>
      spannedStream("rebuild", projection.name, stream, messagingOf("rebuild", projection))

  return ProjectionManager.of({
    status: (projection) => Effect.flatMap(currentKey(projection), (key) => progress.status(storages, key)),
    statusOfAll: (projection) =>
      Stream.unwrap(
        recordAccess(events, `ProjectionManager.statusOfAll ${projection.name}`).pipe(
          Effect.flatMap((accessId) => listTenants(events, accessId)),
          Effect.map((tenants) =>
            Stream.mapEffect(
              Stream.fromIterable(tenants),
              ({ tenantId }) => progress.status(storages, keyOf(projection, tenantId)),
              { concurrency: tenantConcurrency }
            )
          )
        )
      ),
    awaitPosition: Effect.fnUntraced(
      function* (projection, position, { timeout = defaultTimeout } = {}) {
        const key = yield* currentKey(projection)
        const wanted = yield* confirm(events, key.tenantId, position)
        return yield* progress.awaitPosition(storages, key, wanted, timeout)
      },
      (run, projection) =>
        spanned("await", projection.name, () => run, { attributes: messagingOf("await", projection) })
    ),
    pause: (projection) => Effect.flatMap(currentKey(projection), storage.pause),
    resume: (projection) => Effect.flatMap(currentKey(projection), storage.resume),
    resumeAll: (projection) =>
      recordAccess(events, `ProjectionManager.resumeAll ${projection?.name ?? "of every projection"}`).pipe(
        Effect.flatMap((accessId) =>
          storage.resumeAll({
            accessId,
            projection: projection && { projection: projection.name, version: projection.version }
          })
        )
      ),
    failures: (projection) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const accessId = yield* recordAccess(events, `ProjectionManager.failures ${projection.name}`)
          const tenants = yield* listTenants(events, accessId)
          return Stream.fromIterable(tenants).pipe(
            Stream.mapEffect(
              ({ tenantId }) =>
                Effect.map(storage.failures({ ...keyOf(projection, tenantId), accessId }), (records) =>
                  records.map((record) => ({
                    ...record,
                    tenantId,
                    firstAt: DateTime.makeUnsafe(record.firstAt),
                    lastAt: DateTime.makeUnsafe(record.lastAt)
                  }))
                ),
              { concurrency: tenantConcurrency }
            ),
            Stream.flattenIterable
          )
        })
      ),
    deadLetters: (projection) =>
      Stream.unwrap(
        Effect.map(currentKey(projection), (key) =>
          Stream.paginate(0, (after) =>
            Effect.map(storage.deadLetters({ ...key, after, limit: deadLetterPageSize }), (letters) => [
              letters.map((letter) => ({ ...letter, failedAt: DateTime.makeUnsafe(letter.failedAt) })),
              letters.length < deadLetterPageSize
                ? Option.none<number>()
                : Option.fromUndefinedOr(letters.at(-1)?.position)
            ])
          )
        )
      ),
    replayDeadLetters: <P extends Projection.Any>(projection: P, options: ReplayOptions = {}) =>
      spanned("replay", projection.name, (_services, span) =>
        Effect.gen(function* () {
          annotate(span, messagingOf("replay", projection))
          const key = yield* currentKey(projection)
          // The handlers of a projection across tenants have `AllTenants` in their requirements.
          const access =
            projection.kind === "acrossTenants" ? yield* Effect.serviceOption(AllTenants) : Option.none()
          const accessId = Option.isNone(access)
            ? undefined
            : yield* events.recordAccess({
                ...access.value,
                operation: `ProjectionManager.replayDeadLetters ${projection.name}`
              })
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the handlers require nothing else
          const replayed = yield* replay(storages, projection, key, accessId, options) as Effect.Effect<
            number,
            ReplayFailed | ReadError,
            Projection.Requirements<P>
          >
          annotate(span, { [attribute.messageCount]: replayed })
          return replayed
        })
      ),
    discardDeadLetter: Effect.fnUntraced(function* (projection, position, reason) {
      yield* requirePosition(position)
      const problem = reasonProblem(reason)
      if (problem !== undefined) return yield* new InvalidReason({ reason: problem })
      const key = yield* currentKey(projection)
      const found = yield* storage.removeDeadLetter({ ...key, position, reason })
      if (!found) return yield* new DeadLetterNotFound({ ...key, position })
    }),
    rebuild: (projection, options = {}) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const tenantId = yield* currentTenant
          const { position: head } = yield* events.head({ tenantId })
          return yield* rebuildOf(projection, head > 0 ? [tenantId] : [], options)
        })
      ).pipe(rebuilding(projection)),
    rebuildAll: (projection, options = {}) =>
      Stream.unwrap(
        Effect.flatMap(tenantsWithEvents("rebuildAll", projection), ({ accessId, tenants }) =>
          rebuildOf(projection, tenants, options, accessId)
        )
      ).pipe(rebuilding(projection)),
    retire: Effect.fnUntraced(function* ({ name, version }) {
      const accessId = yield* recordAccess(events, `ProjectionManager.retire ${name}, version ${version}`)
      return yield* storage.retire({ projection: name, version, accessId })
    }),
    cancelRebuild: Effect.fnUntraced(function* (projection) {
      const key = yield* currentKey(projection)
      return yield* storage.cancelRebuild({ ...key, tables: projection.tables })
    }),
    cancelRebuildAll: Effect.fnUntraced(function* (projection) {
      const { accessId, tenants } = yield* tenantsWithEvents("cancelRebuildAll", projection)
      const key = { projection: projection.name, version: projection.version, tables: projection.tables }
      if (projection.kind === "acrossTenants")
        return (yield* storage.cancelSharedRebuild({ ...key, accessId })) ? 1 : 0
      const found = yield* rebuilds.underWay(storage, key, tenants)
      const cancelled = yield* Effect.filter(
        found.keys(),
        (tenantId) => storage.cancelRebuild({ ...key, tenantId }),
        { concurrency: tenantConcurrency }
      )
      return cancelled.length
    }),
    watchRebuilds: (projection) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const { tenants } = yield* tenantsWithEvents("watchRebuilds", projection)
          const key = { projection: projection.name, version: projection.version }
          return rebuilds.watch(storage, key, yield* rebuilds.underWay(storage, key, tenants))
        })
      )
  })
})

/** The service, on any driver. */
export const layer: Layer.Layer<
  ProjectionManager,
  never,
  EventStorage.EventStorage | ProjectionStorage.ProjectionStorage
> = layerPer([EventStorage.EventStorage, ProjectionStorage.ProjectionStorage], () =>
  Layer.effect(ProjectionManager, make)
)

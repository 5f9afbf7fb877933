/**
 * The driver contract for projections: the progress of each one with each tenant, claims of workers, dead letters and rebuilds.
 */
import { Context, type Effect, type Option, Schema } from "effect"
import type { OutcomeUnknown, ReadError, StorageUnavailable } from "./StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** The place at which a new projection begins to read the logs. */
export type StartAt =
  /** The first event of each log. */
  | "beginning"
  /** The first event appended after the registration, which the first runner of the projection makes. */
  | "now"

/** The name and version of a projection. Two versions are independent projections. */
export interface ProjectionKey {
  readonly projection: string
  readonly version: number
}

/** A projection to register. */
export interface Registration extends ProjectionKey {
  readonly startAt: StartAt
  /** The read models that it fills. */
  readonly tables: ReadonlyArray<string>
  /** True if it runs in the transactions of appends, without progress and without work. Default: false. */
  readonly inline?: boolean | undefined
}

/**
 * Raised when a projection cannot be run: its version is retired or run in another way, or it names a table that another
 * version or projection fills, so that every event would be counted twice. Nothing was changed.
 */
export class ProjectionRefused extends Schema.TaggedError<ProjectionRefused>()("ProjectionRefused", {
  projection: Schema.String,
  version: Schema.Int,
  /** The other way in which this version is run; null unless that is the reason. */
  run: Schema.NullOr(Schema.Literals(["inline", "runner"])),
  /** The table, and the projection that fills it; null if the version is retired or run in another way. */
  taken: Schema.NullOr(
    Schema.Struct({
      table: Schema.String,
      projection: Schema.String,
      version: Schema.Int,
      retired: Schema.Boolean
    })
  )
}) {
  override get message(): string {
    const { projection, version, run, taken } = this
    const subject = `${projection}, version ${version}, is not run`
    if (run !== null) {
      const by = run === "inline" ? "InlineProjections run" : "a ProjectionRunner runs"
      return `${subject}: ${by} this version, and every event would be counted twice. Give it a higher version and tables of its own, and retire this one`
    }
    if (taken === null) return `${subject}: it is retired. Give it a higher version and tables of its own`
    const other = `${taken.projection}, version ${taken.version},`
    return taken.retired
      ? `${subject}: it names table ${taken.table}, which ${other} filled until it was retired, and would count every event twice. Name another table, or empty this one and run select eventsourcing.unregister_read_model('${taken.table}') as its owner`
      : `${subject}: it names table ${taken.table}, which ${other} fills, and would count every event twice. Name a table of its own and retire the other version once nobody reads it, or keep the version and rebuild`
  }
}

/** Raised when a rebuild cannot start or continue. The live read model is unchanged. */
export class RebuildRefused extends Schema.TaggedError<RebuildRefused>()("RebuildRefused", {
  projection: Schema.String,
  version: Schema.Int,
  /** A sentence that describes the problem and its remedy. */
  problem: Schema.String,
  /** True if the rebuild can continue after the tables have been changed. */
  passing: Schema.Boolean
}) {
  override get message(): string {
    return this.problem
  }
}

/** The outcome of {@link ProjectionStorage} `switchSharedRebuild`. */
export type SwitchOutcome =
  /** There is no rebuild. */
  | "none"
  /** The rebuild does not contain all events of the live read model yet, or is parked for a tenant. */
  | "waiting"
  | "switched"

/** The summary of a projection that an operator has paused, in the place of that of a failure. */
export const pausedError = "paused by an operator"

/** A projection and one of its tenants. */
export interface TenantProjection extends ProjectionKey {
  readonly tenantId: TenantId
}

/** The origin of a failure at an event. */
export type FailureKind =
  /** The event or its handler. It is tried again on the projection's `retry` schedule. */
  | "handler"
  /**
   * The storage is unreachable, full, read-only or contended, or the quota of the tenant is exceeded. The event waits until it can
   * be handled.
   */
  | "storage"
  /**
   * The schema or the rights of the storage do not fit the handler, as during a deployment. The event waits for a time. Then
   * the projection is parked for the tenant, and still tried again now and then.
   */
  | "schema"

/** A failure inside a handler, as the driver of the storage describes it. */
export interface FailureDescription {
  readonly kind: FailureKind
  /** One line without values, at most 1,000 characters, with the remedy if there is one. The tenant may see it. */
  readonly summary: string
  /** The SQLSTATE or a similar code; null if there is none. */
  readonly code: string | null
  /** The text of the error, for operators. It may quote values. */
  readonly message: string
  /** The remedy, if one is known. */
  readonly remedy: string | undefined
  /** The failure of the storage; undefined if the handler failed by itself. */
  readonly unavailable: StorageUnavailable | undefined
}

/** The cause of a failure, for operators. Tenants do not see it. Values of the event are masked. */
export interface FailureCause {
  readonly code: string | null
  readonly message: string
  readonly stack: string
}

/** The failures at an event, for operators. */
export interface FailureRecord extends FailureCause {
  /** True for a failure in a rebuild. */
  readonly rebuild: boolean
  readonly position: number
  readonly kind: FailureKind
  /** Number of times the event has failed. Cause and kind are those of the last time. */
  readonly times: number
  /** Milliseconds since 1970. */
  readonly firstAt: number
  /** Milliseconds since 1970. */
  readonly lastAt: number
}

/** The work that a worker has claimed. */
export interface Claim extends TenantProjection {
  /** True for a rebuild, which fills twins of the tables beside the live ones. */
  readonly rebuild: boolean
  /** The last position that is in the read model. */
  readonly position: number
  /** A position that the log has reached; it may be longer by now. */
  readonly head: number
  /** Number of times the event at `failedPosition` has failed because of itself or its handler. */
  readonly attempts: number
  readonly failedPosition: number | undefined
  /** Summary of the last failure. */
  readonly error: string | undefined
  readonly failureKind: FailureKind | undefined
  /** Milliseconds for which the event has waited, over consecutive failures of this kind. */
  readonly waited: number
  /**
   * True if no other work waited for a worker when this one was claimed, so that much of it may be done in one transaction. False
   * if the driver does not know it.
   */
  readonly alone: boolean
}

/** The projections for which a worker seeks work. */
export interface WorkRequest {
  /** The projections, in the order in which they are considered. */
  readonly projections: ReadonlyArray<ProjectionKey & { readonly acrossTenants: boolean }>
  /** The recorded access for projections across tenants; undefined if there are none. */
  readonly accessId: string | undefined
}

/** A failure to record. */
export interface Failure {
  readonly claim: Claim
  readonly position: number
  /** Number of times the event has failed; 0 to handle it alone next, before it is blamed. */
  readonly attempts: number
  /** Summary of the failure without any payload, at most 1,000 characters. */
  readonly error: string
  readonly kind: FailureKind
  /** Milliseconds for which the event has waited, including the wait that begins now. */
  readonly waited: number
  /** True to park the projection for this tenant. */
  readonly parked: boolean
  /** Milliseconds until the next attempt; undefined if only `resume` leads to one, which requires `parked`. */
  readonly retryIn: number | undefined
  /** The cause, for operators. */
  readonly cause: FailureCause | undefined
}

/** An event that a projection gave up on. */
export interface DeadLetter {
  readonly position: number
  readonly eventId: string
  readonly error: string
  readonly attempts: number
  /** Milliseconds since 1970. */
  readonly failedAt: number
}

/** The progress of a projection with a tenant. */
export interface Progress {
  readonly rebuild: boolean
  /** True for a rebuild of a read model that all tenants share. */
  readonly shared: boolean
  readonly position: number
  /** The last position of the tenant's log. */
  readonly head: number
  readonly parked: boolean
  readonly attempts: number
  readonly failedPosition: number | undefined
  readonly error: string | undefined
  readonly failureKind: FailureKind | undefined
  /** Recorded time of the oldest event that is not in the read model, in milliseconds since 1970; undefined if there is none. */
  readonly oldestUnprocessed: number | undefined
  /** Number of rebuilds that have replaced the live read model; 0 for a rebuild. */
  readonly rebuilt: number
}

/** The remaining work of a projection, over all tenants. */
export interface Backlog extends ProjectionKey {
  /** Number of events that are not in the live read models, including those of parked tenants. */
  readonly pending: number
  /** Milliseconds since the oldest of them was recorded; 0 if there is none. */
  readonly oldestAge: number
  /** Number of tenants for which the projection, or a rebuild of it, is parked. */
  readonly parked: number
  /** Number of dead letters of the live read models. */
  readonly deadLetters: number
  /** Milliseconds since the oldest of them failed for the last time; 0 if there is none. */
  readonly oldestDeadLetter: number
}

/**
 * Storage of the progress of projections.
 *
 * **Details**
 *
 * `work` makes a claim: while its body runs, no other worker works on the same projection and tenant. The claim ends with the
 * body or with the process. If the driver has transactions, the body runs in one that is bound to the tenant.
 */
export class ProjectionStorage extends Context.Service<
  ProjectionStorage,
  {
    /**
     * Registers projections.
     *
     * **Details**
     *
     * When a projection (name and version) is registered for the first time with `startAt: "now"`, the storage creates its
     * progress with every existing tenant at the present head of the tenant's log. Events appended after `register` has
     * returned are handled, and earlier ones are not. The registration is atomic: if it fails, the projection is not
     * registered. Projections with `startAt: "beginning"` start at position 0, and so does every tenant whose first event
     * comes after the registration. Registering a projection again changes only its tables, and ignores `startAt`. It also
     * lets parked projections that are tried again by themselves try at once, because the process that registers may be the
     * one that was deployed to correct the cause.
     *
     * Fails with `ProjectionRefused` for a version that is retired, that names a table of another version or projection, or
     * that is registered as inline if it is not inline now, or the other way round. The projections before it in the list are
     * registered then.
     */
    readonly register: (
      projections: ReadonlyArray<Registration>
    ) => Effect.Effect<void, ProjectionRefused | StorageUnavailable>
    /**
     * Takes a version of a projection out of use for all tenants, under a recorded access: it gets no more work, its progress
     * is removed, and it cannot be registered again. Returns false if it was not registered, or was retired before.
     */
    readonly retire: (
      key: ProjectionKey & { readonly accessId: string }
    ) => Effect.Effect<boolean, StorageUnavailable>
    /** Looks for work in all logs, to find events whose announcement was lost. */
    readonly sweep: Effect.Effect<void, StorageUnavailable>
    /** The remaining work of projections, as of the last sweep. */
    readonly backlog: (
      projections: ReadonlyArray<ProjectionKey>
    ) => Effect.Effect<ReadonlyArray<Backlog>, StorageUnavailable>
    /**
     * Claims the projection and tenant that have waited longest, among those with unhandled events and those with unfinished
     * rebuilds, and runs the body. Changes that the body makes through the storage (and, with SQL, in the database) are kept if
     * it succeeds and undone if it fails. Returns none if there is nothing to do.
     *
     * A tenant with more than its share of the claims in progress (at least 30, and more than a tenth of all) comes after the
     * others.
     */
    readonly work: <A, E, R>(
      request: WorkRequest,
      body: (claim: Claim) => Effect.Effect<A, E, R>
    ) => Effect.Effect<Option.Option<A>, E | StorageUnavailable, R>
    /** Describes a failure of a handler, or of `attempt` or `work` around it. */
    readonly describeFailure: (error: unknown) => Effect.Effect<FailureDescription>
    /** In `work`: runs an effect. If it fails, its changes to the database are undone, and the claim can continue. */
    readonly attempt: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | StorageUnavailable, R>
    /** In `work`: records that all events up to a position are in the read model. Returns the last position of the log. */
    readonly advance: (claim: Claim, position: number) => Effect.Effect<number, ReadError>
    /** In `work`: records a failure. */
    readonly fail: (failure: Failure) => Effect.Effect<void, ReadError>
    /** In `work`: adds a dead letter. Those of a rebuild become visible when it takes the place of the live read model. */
    readonly addDeadLetter: (
      claim: Claim,
      letter: Omit<DeadLetter, "failedAt">
    ) => Effect.Effect<void, ReadError>
    /** Dead letters after a position, in order. */
    readonly deadLetters: (
      key: TenantProjection & { readonly after: number; readonly limit: number }
    ) => Effect.Effect<ReadonlyArray<DeadLetter>, ReadError>
    /** Removes a dead letter, discarded for a reason or (without one) replayed. Returns true if there was one. */
    readonly removeDeadLetter: (
      key: TenantProjection & { readonly position: number; readonly reason: string | undefined }
    ) => Effect.Effect<boolean, ReadError>
    /** The progress of the live read model with a tenant, and of a rebuild. Empty if no worker has ever claimed it. */
    readonly progress: (key: TenantProjection) => Effect.Effect<ReadonlyArray<Progress>, ReadError>
    /**
     * Stops a projection for a tenant until it is resumed, after waiting for the worker on it, also before its first event. It is
     * parked then with {@link pausedError}. Returns false, and changes nothing, if it is parked until it is resumed anyway, if the
     * tenant is not registered, or if the version is retired.
     */
    readonly pause: (key: TenantProjection) => Effect.Effect<boolean, ReadError>
    /** Lets a parked projection try again. Returns true if it was parked. */
    readonly resume: (key: TenantProjection) => Effect.Effect<boolean, ReadError>
    /**
     * Lets one projection, or every projection, try again for all tenants for which it is parked, under a recorded access.
     * Returns their number; a tenant counts once per projection and once per rebuild.
     */
    readonly resumeAll: (options: {
      readonly accessId: string
      readonly projection: ProjectionKey | undefined
    }) => Effect.Effect<number, ReadError>
    /**
     * The failures of a projection with a tenant, the last one first, under a recorded access. At least the last 100 positions
     * are kept.
     */
    readonly failures: (
      key: TenantProjection & { readonly accessId: string }
    ) => Effect.Effect<ReadonlyArray<FailureRecord>, ReadError>
    /** Starts a rebuild from the beginning of the tenant's log, beside the live read model. */
    readonly startRebuild: (
      key: TenantProjection & { readonly tables: ReadonlyArray<string> }
    ) => Effect.Effect<void, RebuildRefused | ReadError>
    /**
     * Cancels a rebuild of the tenant's read model, after waiting for a worker on it. The live read model remains. Returns false if
     * there was none, or if all tenants share it.
     */
    readonly cancelRebuild: (
      key: TenantProjection & { readonly tables: ReadonlyArray<string> }
    ) => Effect.Effect<boolean, ReadError>
    /**
     * In `work` on a rebuild, after events were handled: fails if this claim has changed the live read model instead of its
     * twins.
     */
    readonly checkRebuild: (
      claim: Claim,
      tables: ReadonlyArray<string>
    ) => Effect.Effect<void, RebuildRefused | ReadError>
    /** In `work` on a rebuild: the reason why its tables cannot be rebuilt now, as a sentence; undefined if they can. */
    readonly rebuildProblem: (
      claim: TenantProjection,
      options: { readonly tables: ReadonlyArray<string>; readonly shared: boolean }
    ) => Effect.Effect<string | undefined, ReadError>
    /** In `work` on a rebuild: keeps workers from changing the live read model. Returns its position. */
    readonly lockLive: (claim: Claim) => Effect.Effect<number, ReadError>
    /**
     * In `work` on a rebuild: replaces the live read model by the rebuilt one, which contains the events up to a position, and
     * the live dead letters by those of the rebuild.
     */
    readonly switchRebuild: (
      claim: Claim,
      options: { readonly tables: ReadonlyArray<string>; readonly position: number }
    ) => Effect.Effect<void, RebuildRefused | ReadError>
    /**
     * Starts a rebuild of a projection across tenants, under a recorded access: from the beginning of the logs of all tenants,
     * beside the live read model, which they share. A rebuild in progress continues, unless it is parked for a tenant, or begins
     * again on request (`restart`).
     */
    readonly startSharedRebuild: (
      key: ProjectionKey & {
        readonly tables: ReadonlyArray<string>
        readonly accessId: string
        readonly restart: boolean
      }
    ) => Effect.Effect<void, RebuildRefused | StorageUnavailable>
    /**
     * Cancels a rebuild of a projection across tenants, under a recorded access, after waiting for workers on it. The live read model
     * remains. Returns false if there was none.
     */
    readonly cancelSharedRebuild: (
      key: ProjectionKey & { readonly tables: ReadonlyArray<string>; readonly accessId: string }
    ) => Effect.Effect<boolean, StorageUnavailable>
    /**
     * Replaces the live read model of a projection across tenants by the rebuilt one, for all tenants in one step, if it contains
     * all events of the live one for each of them.
     *
     * **Details**
     *
     * At the heads of the logs, `work` makes no more claims for the rebuild. When it is less than 1,000 events behind the live
     * read model, `work` makes no claims for the live one for at most 10 seconds, so that the rebuild catches up. Afterwards it
     * makes them for at least 20 seconds. Fails with `RebuildRefused` if the tables do not allow it; the rebuild is then parked
     * for all tenants.
     */
    readonly switchSharedRebuild: (
      key: ProjectionKey & { readonly tables: ReadonlyArray<string>; readonly accessId: string }
    ) => Effect.Effect<SwitchOutcome, RebuildRefused | StorageUnavailable>
    /** True if the fiber is in a transaction of this storage. Only the code that started it may retry; code inside must not. */
    readonly inTransaction: Effect.Effect<boolean>
    /**
     * In `transaction`: deletes the tenant's rows from the tables of a read model, and lets nobody append to the tenant's log
     * until the transaction ends. Drivers without tables delete nothing.
     */
    readonly clearReadModel: (options: {
      readonly tenantId: TenantId
      readonly tables: ReadonlyArray<string>
    }) => Effect.Effect<void, ReadError>
    /**
     * Runs an effect on a tenant's read model outside of `work`. If the driver has transactions, it runs in one that is bound
     * to the tenant. With a recorded access it has the rights of a projection across tenants. Fails with `OutcomeUnknown` if
     * the answer to the commit was lost, so that the changes may or may not have been made.
     */
    readonly transaction: <A, E, R>(
      tenantId: TenantId,
      effect: Effect.Effect<A, E, R>,
      accessId?: string
    ) => Effect.Effect<A, E | ReadError | OutcomeUnknown, R>
  }
>()("effect-eventsourcing/ProjectionStorage") {}

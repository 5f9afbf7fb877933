/**
 * The driver tier of projections: how far each one is with each tenant, who works on it, and what was put aside.
 */
import { Context, type Effect, type Option, Schema } from "effect"
import type { OutcomeUnknown, ReadError, StorageUnavailable } from "./StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** From where a projection that is run for the first time reads the logs. */
export type StartAt =
  /** Everything. */
  | "beginning"
  /** What is appended from the moment on at which the projection is made known, which its first runner does. */
  | "now"

/** A projection and its version: another version is another projection. */
export interface ProjectionKey {
  readonly projection: string
  readonly version: number
}

/** A projection that is to be known. */
export interface Registration extends ProjectionKey {
  readonly startAt: StartAt
  /** The read models that it fills. */
  readonly tables: ReadonlyArray<string>
}

/**
 * Raised when a projection cannot be run: its version is retired, or it names a table that another version or projection
 * fills, where every event would be counted twice. Nothing has changed.
 */
export class ProjectionRefused extends Schema.TaggedError<ProjectionRefused>()("ProjectionRefused", {
  projection: Schema.String,
  version: Schema.Int,
  /** The table, and what fills it; null: the version is retired. */
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
    const { projection, version, taken } = this
    const subject = `${projection}, version ${version}, is not run`
    if (taken === null) return `${subject}: it is retired. Give it a higher version and tables of its own`
    const other = `table ${taken.table}, which ${taken.projection}, version ${taken.version}, fills`
    return taken.retired
      ? `${subject}: it names ${other.replace(/fills$/, "filled until it was retired")}, and would count every event twice. Name another table, or empty this one and run select eventsourcing.unregister_read_model('${taken.table}') as its owner`
      : `${subject}: it names ${other}, and would count every event twice. Name a table of its own and retire the other version once nobody reads it, or keep the version and rebuild`
  }
}

/** Raised when a rebuild cannot start or must not go on. The live read model is as it was. */
export class RebuildRefused extends Schema.TaggedError<RebuildRefused>()("RebuildRefused", {
  projection: Schema.String,
  version: Schema.Int,
  /** A sentence with a remedy. */
  problem: Schema.String
}) {
  override get message(): string {
    return this.problem
  }
}

/** A projection with a tenant. */
export interface TenantProjection extends ProjectionKey {
  readonly tenantId: TenantId
}

/** The origin of a failure at an event. */
export type FailureKind =
  /** The event or its handler. It is tried again as the projection's `retry` says. */
  | "handler"
  /** The storage is away, full, read-only, or others were in the way. The event waits without end. */
  | "storage"
  /**
   * The schema or the rights of the storage do not fit the handler, as during a deployment. The event waits for a time,
   * then it is parked, and is tried again by itself now and then.
   */
  | "schema"

/** A failure inside a handler, as the storage understands it. */
export interface FailureDescription {
  readonly kind: FailureKind
  /** One line without values, at most 1,000 characters: the tenant may see it. It names the remedy if there is one. */
  readonly summary: string
  /** The SQLSTATE or a like code. */
  readonly code: string | null
  /** The text of the error, for the operator. It may quote values. */
  readonly message: string
  /** What to do about it. */
  readonly remedy: string | undefined
  /** The failure of the storage; undefined if it is the handler's own. */
  readonly unavailable: StorageUnavailable | undefined
}

/** The cause of a failure, for operators: nothing of it is shown to tenants. Values of the event are masked. */
export interface FailureCause {
  readonly code: string | null
  readonly message: string
  readonly stack: string
}

/** The failures at an event, for operators. */
export interface FailureRecord extends FailureCause {
  /** Whether it was in a rebuild. */
  readonly rebuild: boolean
  readonly position: number
  readonly kind: FailureKind
  /** How often the event has failed. Cause and kind are those of the last time. */
  readonly times: number
  /** Milliseconds since 1970. */
  readonly firstAt: number
  /** Milliseconds since 1970. */
  readonly lastAt: number
}

/** What a worker has claimed. */
export interface Claim extends TenantProjection {
  /** Whether this fills the twins of the tables, beside the live ones. */
  readonly rebuild: boolean
  /** The last position that is in the read model. */
  readonly position: number
  /** A position that the log has reached. */
  readonly head: number
  /** How often the event at `failedPosition` has failed for a reason of its own or its handler's. */
  readonly attempts: number
  readonly failedPosition: number | undefined
  /** What failed last. */
  readonly error: string | undefined
  readonly failureKind: FailureKind | undefined
  /** Milliseconds that the event has been made to wait for the storage, in failures of this kind in a row. */
  readonly waited: number
}

/** What a worker looks for. */
export interface WorkRequest {
  /** In the order in which they are looked at. */
  readonly projections: ReadonlyArray<ProjectionKey & { readonly acrossTenants: boolean }>
  /** The recorded access of the projections across tenants. */
  readonly accessId: string | undefined
}

/** A failure that is to be recorded. */
export interface Failure {
  readonly claim: Claim
  readonly position: number
  /** How often the event has failed by now; 0 to try it alone before anything is said about it. */
  readonly attempts: number
  /** What failed, without any payload, at most 1,000 characters. */
  readonly error: string
  readonly kind: FailureKind
  /** Milliseconds that the event has been made to wait for the storage, the wait that begins now included. */
  readonly waited: number
  /** Whether the projection counts as parked for this tenant from now on. */
  readonly parked: boolean
  /** Milliseconds until it is tried again; undefined: not by itself, which must be parked. */
  readonly retryIn: number | undefined
  /** For operators. */
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

/** How far a projection is with a tenant. */
export interface Progress {
  readonly rebuild: boolean
  readonly position: number
  /** The last position of the tenant's log. */
  readonly head: number
  readonly parked: boolean
  readonly attempts: number
  readonly failedPosition: number | undefined
  readonly error: string | undefined
  readonly failureKind: FailureKind | undefined
  /** When the oldest event that is not in the read model was recorded, in milliseconds since 1970. */
  readonly oldestUnprocessed: number | undefined
}

/** The work that is left of a projection, over all tenants. */
export interface Backlog extends ProjectionKey {
  /** Events that are not in the live read models, those of parked tenants among them. */
  readonly pending: number
  /** Milliseconds since the oldest of them was recorded; 0 if there is none. */
  readonly oldestAge: number
  /** Tenants for which the projection, or a rebuild of it, is parked. */
  readonly parked: number
}

/**
 * Storage of the progress of projections.
 *
 * **Details**
 *
 * `work` claims: while its body runs, nobody else works on the same projection and tenant, and the claim ends with the
 * body or with the process. Where the driver has transactions, the body runs in one that is bound to the tenant.
 */
export class ProjectionStorage extends Context.Service<
  ProjectionStorage,
  {
    /**
     * Makes projections known.
     *
     * **Details**
     *
     * The first time that a projection (name and version) is registered with `startAt: "now"`, the storage makes its
     * progress with every tenant there is, at the head of the tenant's log at that moment: what is appended after
     * `register` has returned is handled, what was there before is not. In one step: if it fails, the projection is as
     * unknown as before. Everything else starts at position 0: a projection with `startAt: "beginning"`, and a tenant
     * whose first event comes after the registration. Once a projection is known, registering it again changes nothing
     * but its tables, whatever its `startAt`. It lets those try again now that are parked and tried by themselves: the
     * process that registers may be the one that was deployed to mend the cause.
     *
     * Fails with `ProjectionRefused` for a version that is retired, and for one that names a table of another version or
     * projection. Those before it in the list are known then.
     */
    readonly register: (
      projections: ReadonlyArray<Registration>
    ) => Effect.Effect<void, ProjectionRefused | StorageUnavailable>
    /**
     * Takes a version of a projection out of use for all tenants, under a recorded access: it has no work any more, its
     * progress is removed, and it cannot be registered again. Returns false if it was not known, or retired before.
     */
    readonly retire: (
      key: ProjectionKey & { readonly accessId: string }
    ) => Effect.Effect<boolean, StorageUnavailable>
    /** Looks at all logs for work: what announcements may have missed. */
    readonly sweep: Effect.Effect<void, StorageUnavailable>
    /** The work that is left of projections, as the last sweep found it. */
    readonly backlog: (
      projections: ReadonlyArray<ProjectionKey>
    ) => Effect.Effect<ReadonlyArray<Backlog>, StorageUnavailable>
    /**
     * Claims the projection and tenant that have waited longest, among those with events that are not handled and
     * rebuilds that have not taken their place, and runs the body. What the body does through the
     * storage (and, with SQL, in the database) is there when it succeeds, and not there when it fails. None: nothing to do.
     */
    readonly work: <A, E, R>(
      request: WorkRequest,
      body: (claim: Claim) => Effect.Effect<A, E, R>
    ) => Effect.Effect<Option.Option<A>, E | StorageUnavailable, R>
    /** The meaning of a failure that came out of a handler, or of `attempt` or `work` around it. */
    readonly describeFailure: (error: unknown) => Effect.Effect<FailureDescription>
    /** In `work`: runs an effect; if it fails, what it did to the database is undone and the claim's work goes on. */
    readonly attempt: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | StorageUnavailable, R>
    /** In `work`: everything up to the position is in the read model. Returns the last position of the log. */
    readonly advance: (claim: Claim, position: number) => Effect.Effect<number, ReadError>
    /** In `work`: records a failure. */
    readonly fail: (failure: Failure) => Effect.Effect<void, ReadError>
    /** In `work`: puts an event aside. What a rebuild puts aside counts once it has taken its place. */
    readonly addDeadLetter: (
      claim: Claim,
      letter: Omit<DeadLetter, "failedAt">
    ) => Effect.Effect<void, ReadError>
    /** Dead letters behind a position, in order. */
    readonly deadLetters: (
      key: TenantProjection & { readonly after: number; readonly limit: number }
    ) => Effect.Effect<ReadonlyArray<DeadLetter>, ReadError>
    /** Removes a dead letter: discarded for a reason, or replayed (undefined). Returns whether there was one. */
    readonly removeDeadLetter: (
      key: TenantProjection & { readonly position: number; readonly reason: string | undefined }
    ) => Effect.Effect<boolean, ReadError>
    /** The progress with a tenant, of the live read model and of a rebuild. Empty if it has never been worked on. */
    readonly progress: (key: TenantProjection) => Effect.Effect<ReadonlyArray<Progress>, ReadError>
    /** Lets a parked projection try again. Returns whether it was parked. */
    readonly resume: (key: TenantProjection) => Effect.Effect<boolean, ReadError>
    /**
     * Lets all parked projections try again, of one projection or of every one, for all tenants, under a recorded access.
     * Returns how many tenants, each of them per projection and rebuild.
     */
    readonly resumeAll: (options: {
      readonly accessId: string
      readonly projection: ProjectionKey | undefined
    }) => Effect.Effect<number, ReadError>
    /**
     * Why a projection failed with a tenant, under a recorded access, the last failure first. At least the last 100
     * positions are kept.
     */
    readonly failures: (
      key: TenantProjection & { readonly accessId: string }
    ) => Effect.Effect<ReadonlyArray<FailureRecord>, ReadError>
    /** Starts a rebuild from the beginning of the tenant's log, beside the live read model. */
    readonly startRebuild: (
      key: TenantProjection & { readonly tables: ReadonlyArray<string> }
    ) => Effect.Effect<void, RebuildRefused | ReadError>
    /**
     * In `work` on a rebuild, after events were handled: fails if what was done in this claim changed the live read model
     * instead of what is being rebuilt.
     */
    readonly checkRebuild: (
      claim: Claim,
      tables: ReadonlyArray<string>
    ) => Effect.Effect<void, RebuildRefused | ReadError>
    /** In `work` on a rebuild: makes the live read model stand still. Returns its position. */
    readonly lockLive: (claim: Claim) => Effect.Effect<number, ReadError>
    /**
     * In `work` on a rebuild: puts what was rebuilt, up to a position, in the place of the live read model, and its dead
     * letters in the place of those there were.
     */
    readonly switchRebuild: (
      claim: Claim,
      options: { readonly tables: ReadonlyArray<string>; readonly position: number }
    ) => Effect.Effect<void, RebuildRefused | ReadError>
    /** Whether the fiber is in a transaction of this storage. Whoever started it tries it again; nobody inside does. */
    readonly inTransaction: Effect.Effect<boolean>
    /**
     * In `transaction`: the tenant's log stands still until its end, and the tables of a read model have no rows of the
     * tenant any more. Drivers without tables have nothing to empty.
     */
    readonly clearReadModel: (options: {
      readonly tenantId: TenantId
      readonly tables: ReadonlyArray<string>
    }) => Effect.Effect<void, ReadError>
    /**
     * Runs an effect on a tenant's read model outside of `work`: where the driver has transactions, in one that is bound
     * to the tenant. With a recorded access, it works as a projection across tenants does. Fails with `OutcomeUnknown` if
     * the answer to its commit was lost, and nobody can say whether it was done.
     */
    readonly transaction: <A, E, R>(
      tenantId: TenantId,
      effect: Effect.Effect<A, E, R>,
      accessId?: string
    ) => Effect.Effect<A, E | ReadError | OutcomeUnknown, R>
  }
>()("effect-eventsourcing/ProjectionStorage") {}

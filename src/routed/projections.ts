/** The projections of several storages as one driver. Each storage keeps the progress of its own tenants. */
import { Cause, Clock, Effect, Exit, Option, Semaphore } from "effect"
import * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import { StorageUnavailable } from "../driver/StoreError.ts"
import { describeFailure } from "../driver/storageFailure.ts"
import type { TenantId } from "../domain/Tenant.ts"
import {
  type Answer,
  firstFailure,
  type Backend,
  problemOf,
  type Router,
  unknownAsUnavailable
} from "./router.ts"
import { attribute } from "../telemetry/Telemetry.ts"

/** First and longest time for which a failed storage is skipped, in milliseconds, so that the others need not wait for it. */
const pause = { first: 1000, longest: 5000 }

/** Delay before the next look at the unfinished work of a tenant that has moved away, in milliseconds. */
const movedAwayDelay = 60_000

/** Maximum number of consecutive claims for tenants that have moved away. */
const maxMovedAway = 100

/** A storage that is skipped after a failure. */
interface Paused {
  readonly until: number
  readonly millis: number
  readonly error: StorageUnavailable
}

/** Marks an effect as running in an open transaction of a storage. */
export type InTransactionOf<M> = (
  backend: M,
  tenantId: TenantId | undefined
) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

export const make = <M extends Backend>(
  router: Router<M>,
  inTransactionOf: InTransactionOf<M>
): ProjectionStorage.ProjectionStorage["Service"] => {
  const paused = new Map<string, Paused>()
  /** Projections to register in storages that are first used later, or that had an outage. */
  const registrations = new Map<string, ProjectionStorage.Registration>()
  const registered = new Map<string, Set<string>>()
  const registering = Semaphore.makeUnsafe(1)
  let turn = 0

  const keyOf = ({ projection, version }: ProjectionStorage.ProjectionKey) =>
    JSON.stringify([projection, version])

  /** Registers projections in a storage one by one. Returns the first refusal; the others are registered nevertheless. */
  const register = (
    backend: M,
    wanted: ReadonlyArray<ProjectionStorage.Registration>
  ): Effect.Effect<ProjectionStorage.ProjectionRefused | undefined, StorageUnavailable> =>
    Effect.gen(function* () {
      const done = registered.get(backend.placement) ?? new Set<string>()
      registered.set(backend.placement, done)
      let refused: ProjectionStorage.ProjectionRefused | undefined
      for (const one of wanted) {
        const refusal = yield* Effect.as(backend.projections.register([one]), undefined).pipe(
          Effect.catchTag("ProjectionRefused", (error) => Effect.succeed(error))
        )
        refused ??= refusal
        done.add(keyOf(one))
      }
      return refused
    })

  /**
   * Registers projections in a storage that is first used later. They start at the beginning, because all of its events came
   * after `register`.
   */
  const registerLate = (backend: M) =>
    Effect.suspend(() => {
      const missing = () => {
        const done = registered.get(backend.placement)
        return [...registrations.values()].flatMap((one): ReadonlyArray<ProjectionStorage.Registration> =>
          done?.has(keyOf(one)) === true ? [] : [{ ...one, startAt: "beginning" }]
        )
      }
      if (missing().length === 0) return Effect.void
      const late = Effect.suspend(() => register(backend, missing()))
      return Effect.flatMap(registering.withPermit(late), (refused) =>
        refused === undefined
          ? Effect.void
          : Effect.logError("A database refused to register a projection").pipe(
              Effect.annotateLogs({ database: backend.placement, problem: refused.message })
            )
      )
    })

  /** Logs a warning if some storages fail, and fails if all of them do. */
  const unlessAll = (
    operation: string,
    answers: ReadonlyArray<Answer<unknown>>
  ): Effect.Effect<void, StorageUnavailable> => {
    const failed = answers.filter(({ exit }) => Exit.isFailure(exit))
    const cause = firstFailure(answers)
    if (cause === undefined) return Effect.void
    if (failed.length === answers.length) return Effect.failCause(cause)
    return Effect.logWarning(`Some databases did not ${operation}; the others continue`).pipe(
      Effect.annotateLogs({
        databases: failed.map(({ placement }) => placement).join(", "),
        problem: problemOf(cause)
      })
    )
  }

  const ofTenant = <A, E, R>(
    operation: string,
    tenantId: TenantId,
    run: (projections: ProjectionStorage.ProjectionStorage["Service"]) => Effect.Effect<A, E, R>
  ) => unknownAsUnavailable(operation)(router.ofRegistered(tenantId, ({ projections }) => run(projections)))

  /** Runs the body of a claim unless the tenant has moved away; the work that it left behind is postponed. */
  const inPlace = <A, E, R>(
    backend: M,
    claim: ProjectionStorage.Claim,
    body: Effect.Effect<A, E, R>
  ): Effect.Effect<Option.Option<A>, E | StorageUnavailable, R> =>
    router.isHome(backend, claim.tenantId).pipe(
      Effect.flatMap((isHome): Effect.Effect<Option.Option<A>, E | StorageUnavailable, R> => {
        if (isHome) return Effect.asSome(body)
        return backend.projections
          .fail({
            claim,
            position: claim.position + 1,
            attempts: claim.failedPosition === claim.position + 1 ? claim.attempts : 0,
            error: "the directory places the tenant in another database",
            kind: "storage",
            waited: claim.waited,
            parked: false,
            retryIn: movedAwayDelay,
            cause: undefined
          })
          .pipe(
            Effect.andThen(
              Effect.logWarning("A database has unfinished projections of a tenant that has moved away")
            ),
            Effect.annotateLogs({ database: backend.placement, [attribute.tenantId]: claim.tenantId }),
            Effect.as(Option.none<A>())
          )
      })
    )

  /** Claims work in one storage; none if there is nothing to do. */
  const workIn = <A, E, R>(
    backend: M,
    request: ProjectionStorage.WorkRequest,
    body: (claim: ProjectionStorage.Claim) => Effect.Effect<A, E, R>,
    left = maxMovedAway
  ): Effect.Effect<Option.Option<A>, E | StorageUnavailable, R> => {
    const { accessId } = request
    return Effect.andThen(
      accessId === undefined ? Effect.void : router.requireAccess(backend, accessId),
      backend.projections.work(request, (claim) =>
        inTransactionOf(backend, claim.tenantId)(inPlace(backend, claim, body(claim)))
      )
    ).pipe(
      Effect.flatMap(
        Option.match({
          onNone: () => Effect.succeedNone,
          onSome: (worked) =>
            Option.isSome(worked) || left === 0
              ? Effect.succeed(worked)
              : workIn(backend, request, body, left - 1)
        })
      )
    )
  }

  return ProjectionStorage.ProjectionStorage.of({
    register: (projections) =>
      registering.withPermit(
        Effect.gen(function* () {
          const answers = yield* router.ofAll((backend) => register(backend, projections))
          for (const { exit } of answers) {
            if (Exit.isSuccess(exit) && exit.value !== undefined) {
              // The next call must ask every database again.
              for (const done of registered.values())
                for (const one of projections) if (!registrations.has(keyOf(one))) done.delete(keyOf(one))
              return yield* exit.value
            }
          }
          for (const one of projections) {
            if (!registrations.has(keyOf(one))) registrations.set(keyOf(one), one)
          }
          const cause = firstFailure(answers)
          // A later registration would not start at "now".
          if (cause !== undefined && projections.some(({ startAt }) => startAt === "now"))
            return yield* Effect.failCause(cause)
          return yield* unlessAll("register projections", answers)
        })
      ),
    retire: ({ accessId, ...key }) =>
      Effect.map(
        router.onEvery(accessId, ({ projections }) => projections.retire({ ...key, accessId })),
        (answers) => {
          registrations.delete(keyOf(key))
          for (const done of registered.values()) done.delete(keyOf(key))
          return answers.some(({ value }) => value)
        }
      ),
    backlog: (projections) =>
      Effect.gen(function* () {
        const answers = yield* router.ofAll((backend) => backend.projections.backlog(projections))
        // Without the numbers of one database, the sums would be wrong.
        const cause = firstFailure(answers)
        if (cause !== undefined) return yield* Effect.failCause(cause)
        const all = answers.flatMap(({ exit }) => (Exit.isSuccess(exit) ? exit.value : []))
        return projections.map(({ projection, version }) => {
          const found = all.filter((one) => one.projection === projection && one.version === version)
          return {
            projection,
            version,
            pending: found.reduce((sum, { pending }) => sum + pending, 0),
            oldestAge: Math.max(0, ...found.map(({ oldestAge }) => oldestAge)),
            parked: found.reduce((sum, { parked }) => sum + parked, 0),
            deadLetters: found.reduce((sum, { deadLetters }) => sum + deadLetters, 0),
            oldestDeadLetter: Math.max(0, ...found.map(({ oldestDeadLetter }) => oldestDeadLetter))
          }
        })
      }),
    sweep: Effect.flatMap(
      router.ofAll((backend) => Effect.andThen(registerLate(backend), backend.projections.sweep)),
      (answers) => unlessAll("look for work", answers)
    ),
    work: <A, E, R>(
      request: ProjectionStorage.WorkRequest,
      body: (claim: ProjectionStorage.Claim) => Effect.Effect<A, E, R>
    ) =>
      Effect.gen(function* () {
        const placements = yield* router.directory.placements
        // Each call begins with another database.
        const first = turn++
        let error: StorageUnavailable | undefined
        for (let index = 0; index < placements.length; index++) {
          const placement = placements[(first + index) % placements.length]
          if (placement === undefined) continue
          const failed = paused.get(placement)
          if (failed !== undefined) {
            const now = yield* Clock.currentTimeMillis
            if (failed.until > now) {
              error ??= failed.error
              continue
            }
            // Only this worker tries it again; the others skip it meanwhile.
            paused.set(placement, { ...failed, until: now + pause.longest })
          }
          let opened = false
          let claimed = false
          const exit = yield* Effect.exit(
            router.storages.use(placement, (backend) =>
              Effect.andThen(
                registerLate(backend),
                Effect.suspend(() => {
                  opened = true
                  return workIn(backend, request, (claim) => {
                    claimed = true
                    // other databases may have work that waits
                    return body(placements.length === 1 ? claim : { ...claim, alone: false })
                  })
                })
              )
            )
          )
          if (Exit.isSuccess(exit)) {
            paused.delete(placement)
            if (Option.isSome(exit.value)) return exit.value
            continue
          }
          const failure = unavailableOf(exit.cause)
          if (claimed || failure === undefined) return yield* exit
          error ??= failure
          // A refusal is no outage: the storage is not skipped.
          if (opened && !failure.retryable) continue
          const millis = Math.min(pause.longest, (failed?.millis ?? pause.first / 2) * 2)
          paused.set(placement, { until: (yield* Clock.currentTimeMillis) + millis, millis, error: failure })
        }
        return error === undefined ? Option.none<A>() : yield* error
      }),
    describeFailure: (error) =>
      Effect.flatMap(router.current, (transaction) =>
        transaction === undefined
          ? Effect.succeed(describeFailure(error))
          : transaction.backend.projections.describeFailure(error)
      ),
    attempt: (effect) =>
      Effect.flatMap(router.current, (transaction) => {
        if (transaction === undefined) return effect
        const { backend, tenantId } = transaction
        return backend.projections.attempt(inTransactionOf(backend, tenantId)(effect))
      }),
    advance: (claim, position) =>
      ofTenant("move a checkpoint", claim.tenantId, (storage) => storage.advance(claim, position)),
    fail: (failure) =>
      ofTenant("record a failure", failure.claim.tenantId, (storage) => storage.fail(failure)),
    addDeadLetter: (claim, letter) =>
      ofTenant("add a dead letter", claim.tenantId, (storage) => storage.addDeadLetter(claim, letter)),
    deadLetters: (key) => ofTenant("list dead letters", key.tenantId, (storage) => storage.deadLetters(key)),
    removeDeadLetter: (key) =>
      ofTenant("remove a dead letter", key.tenantId, (storage) => storage.removeDeadLetter(key)),
    progress: (key) =>
      ofTenant("read the progress of a projection", key.tenantId, (storage) => storage.progress(key)),
    pause: (key) => ofTenant("pause a projection", key.tenantId, (storage) => storage.pause(key)),
    resume: (key) => ofTenant("resume a projection", key.tenantId, (storage) => storage.resume(key)),
    resumeAll: (request) =>
      Effect.map(
        router.onEvery(request.accessId, ({ projections }) => projections.resumeAll(request)),
        (answers) => answers.reduce((total, { value }) => total + value, 0)
      ),
    failures: (request) =>
      unknownAsUnavailable("list the failures of a projection")(
        router.ofRegistered(request.tenantId, (backend) =>
          Effect.andThen(
            router.requireAccess(backend, request.accessId),
            backend.projections.failures(request)
          )
        )
      ),
    startRebuild: (key) => ofTenant("start a rebuild", key.tenantId, (storage) => storage.startRebuild(key)),
    cancelRebuild: (key) =>
      ofTenant("cancel a rebuild", key.tenantId, (storage) => storage.cancelRebuild(key)),
    checkRebuild: (claim, tables) =>
      ofTenant("check the writes of a rebuild", claim.tenantId, (storage) =>
        storage.checkRebuild(claim, tables)
      ),
    rebuildProblem: (claim, options) =>
      ofTenant("check the tables of a rebuild", claim.tenantId, (storage) =>
        storage.rebuildProblem(claim, options)
      ),
    startSharedRebuild: (key) =>
      Effect.flatMap(
        router.onEvery(key.accessId, ({ projections }) =>
          Effect.as(projections.startSharedRebuild(key), undefined).pipe(refused)
        ),
        (answers) =>
          firstRefused(
            answers.map(({ value }) => value),
            Effect.void
          )
      ),
    cancelSharedRebuild: (key) =>
      Effect.map(
        router.onEvery(key.accessId, ({ projections }) => projections.cancelSharedRebuild(key)),
        (answers) => answers.some(({ value }) => value)
      ),
    // Each database has a read model of its own tenants, and replaces it by itself, also while another one is unavailable.
    switchSharedRebuild: (key) =>
      Effect.flatMap(
        router.ofAll((backend) =>
          Effect.andThen(
            router.requireAccess(backend, key.accessId),
            backend.projections.switchSharedRebuild(key).pipe(refused)
          )
        ),
        (answers) => {
          const values = answers.flatMap(({ exit }) => (Exit.isSuccess(exit) ? [exit.value] : []))
          const outcome = (["waiting", "switched"] as const).find((one) => values.includes(one)) ?? "none"
          const cause = firstFailure(answers)
          const answer: Effect.Effect<ProjectionStorage.SwitchOutcome, StorageUnavailable> =
            cause === undefined ? Effect.succeed(outcome) : Effect.failCause(cause)
          return firstRefused(values, answer)
        }
      ),
    lockLive: (claim) => ofTenant("lock a read model", claim.tenantId, (storage) => storage.lockLive(claim)),
    switchRebuild: (claim, options) =>
      ofTenant("put a rebuilt read model in place", claim.tenantId, (storage) =>
        storage.switchRebuild(claim, options)
      ),
    inTransaction: Effect.map(router.current, (transaction) => transaction !== undefined),
    clearReadModel: (request) =>
      ofTenant("empty a read model", request.tenantId, (storage) => storage.clearReadModel(request)),
    transaction: (tenantId, effect, accessId) =>
      unknownAsUnavailable("run a transaction")(
        router.following(tenantId, router.acquireRegistered(tenantId), (backend) =>
          Effect.andThen(
            accessId === undefined ? Effect.void : router.requireAccess(backend, accessId),
            backend.projections.transaction(
              tenantId,
              // an error of the body is not one of the transaction's start, after which it would run again
              Effect.mapError(inTransactionOf(backend, tenantId)(effect), (error) => new FailedBody(error)),
              accessId
            )
          )
        )
      ).pipe(Effect.mapError((error) => (error instanceof FailedBody ? error.error : error)))
  })
}

/** An error of the body of a transaction. */
class FailedBody<E> {
  readonly error: E
  constructor(error: E) {
    this.error = error
  }
}

/** Turns a refusal into a value, so that the other databases are asked too. */
const refused = <A, E, R>(effect: Effect.Effect<A, E | ProjectionStorage.RebuildRefused, R>) =>
  Effect.catchIf(
    effect,
    (error): error is ProjectionStorage.RebuildRefused => error instanceof ProjectionStorage.RebuildRefused,
    (error) => Effect.succeed(error)
  )

const firstRefused = <A, E>(
  answers: ReadonlyArray<unknown>,
  otherwise: Effect.Effect<A, E>
): Effect.Effect<A, E | ProjectionStorage.RebuildRefused> => {
  const found = answers.find((answer) => answer instanceof ProjectionStorage.RebuildRefused)
  return found === undefined ? otherwise : Effect.fail(found)
}

/** The `StorageUnavailable` of a cause; undefined for interruptions and all other errors. */
const unavailableOf = (cause: Cause.Cause<unknown>): StorageUnavailable | undefined => {
  const error = Cause.squash(cause)
  return !Cause.hasInterrupts(cause) && error instanceof StorageUnavailable ? error : undefined
}

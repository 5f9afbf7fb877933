/** Routes operations to the storage of their tenant. */
import { Cache, Cause, Context, Duration, Effect, Exit, Option, Scope } from "effect"
import type { AdministrationStorage } from "../driver/AdministrationStorage.ts"
import type { AccessCompletion, EventStorage, NewAccess } from "../driver/EventStorage.ts"
import type { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import { isMoved, isMovedRead } from "../driver/moves.ts"
import { repeatable } from "../driver/repeatable.ts"
import type { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import {
  StorageUnavailable,
  TenantMismatch,
  UnknownTenant,
  OtherFailure,
  TenantRefused
} from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type { TenantDirectory } from "./TenantDirectory.ts"
import { Homes } from "./homes.ts"
import * as OpenStorages from "./openStorages.ts"

/** The storages of one placement. */
export interface Backend {
  readonly placement: string
  readonly events: EventStorage["Service"]
  readonly projections: ProjectionStorage["Service"]
  readonly snapshots: SnapshotStorage["Service"]
  readonly administration: AdministrationStorage["Service"]
  /** True if the storage serves only tenants that are registered there. */
  readonly dedicated: boolean
}

/** The open transaction of a fiber, which cannot leave its database. */
interface Transaction<M> {
  readonly backend: M
  /** The tenant to which it is bound, if known. */
  readonly tenantId: TenantId | undefined
}

/** The answer of one placement. */
export interface Answer<A> {
  readonly placement: string
  readonly exit: Exit.Exit<A, StorageUnavailable>
}

/** Number of databases that are queried at the same time. */
const concurrency = 8

/** Maximum number of accesses across tenants that are remembered, to record them in each placement that they read. */
const maxAccesses = 10_000

/** Time for which a shared storage's answer about a tenant is cached, unless it has excluded the tenant. */
const includedFor = Duration.minutes(1)

/** Maximum number of tenants with cached answers per shared storage. */
const maxIncluded = 10_000

interface Access {
  readonly access: NewAccess
  /** Placements in which it is recorded. */
  readonly at: Set<string>
}

let routers = 0

/** Finds the storage of a tenant, and runs work in all storages. */
export class Router<M extends Backend> {
  readonly directory: TenantDirectory["Service"]
  readonly storages: OpenStorages.OpenStorages<M>
  /** The open transaction of the fiber, for this router only, because a program may have several. */
  readonly current: Context.Reference<Transaction<M> | undefined>
  /** The placement that the program has chosen. Work for a tenant of another one is a defect. */
  readonly chosen: Context.Reference<string | undefined>
  /** The tenants that each storage has confirmed as registered. */
  readonly #registered = new WeakMap<M, Set<TenantId>>()
  /**
   * For each shared storage, if it has excluded a tenant. Concurrent callers wait for one answer and then continue in their
   * order, because appends of a tenant that begin together must keep it.
   */
  readonly #excluded = new WeakMap<M, Cache.Cache<TenantId, boolean, StorageUnavailable>>()
  readonly #accesses = new Map<string, Access>()
  readonly #homes: Homes<M>

  constructor(
    directory: TenantDirectory["Service"],
    storages: OpenStorages.OpenStorages<M>,
    moveWait: Duration.Input
  ) {
    this.directory = directory
    this.storages = storages
    this.#homes = new Homes(directory, storages, moveWait)
    this.current = Context.Reference<Transaction<M> | undefined>(
      `effect-eventsourcing/StorageRouter/${++routers}`,
      { defaultValue: () => undefined }
    )
    this.chosen = Context.Reference<string | undefined>(
      `effect-eventsourcing/StorageRouter/Chosen/${routers}`,
      { defaultValue: () => undefined }
    )
  }

  /** Marks an effect as running in an open transaction of a storage. */
  readonly inTransactionOf =
    (backend: M, tenantId: TenantId | undefined) =>
    <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.flatMap(this.current, (outer) =>
        Effect.flatMap(this.chosen, (chosen) =>
          effect.pipe(
            Effect.provideService(this.current, { backend, tenantId }),
            // A placement that was chosen around the workers of projections does not apply to their work.
            Effect.provideService(
              this.chosen,
              outer === undefined && chosen !== backend.placement ? undefined : chosen
            )
          )
        )
      )

  /**
   * The placement of a tenant. Dies if it differs from that of the open transaction, which then cannot commit, or from the
   * chosen one: the program made a mistake.
   */
  readonly placementOf = (
    tenantId: TenantId
  ): Effect.Effect<string, TenantRefused<UnknownTenant> | StorageUnavailable> =>
    Effect.flatMap(this.current, (transaction) =>
      Effect.flatMap(
        transaction?.tenantId === tenantId
          ? Effect.succeed(transaction.backend.placement)
          : this.#homes.of(tenantId),
        (placement) =>
          Effect.flatMap(this.chosen, (chosen) =>
            (transaction?.backend.placement ?? placement) === placement && (chosen ?? placement) === placement
              ? Effect.succeed(placement)
              : Effect.andThen(
                  // The storage of the transaction refuses the tenant too, and so does not commit any more.
                  transaction === undefined
                    ? Effect.void
                    : repeatable(
                        "refuse a tenant",
                        transaction.backend.projections.transaction(tenantId, Effect.void)
                      ),
                  Effect.die(new TenantMismatch({ tenantId }))
                )
          )
      )
    )

  /**
   * The storage of a tenant: that of the open transaction, or else the one that the directory names. It stays open as long as
   * the scope.
   */
  readonly acquire = (
    tenantId: TenantId
  ): Effect.Effect<M, TenantRefused<UnknownTenant> | StorageUnavailable, Scope.Scope> =>
    Effect.flatMap(this.placementOf(tenantId), (placement) =>
      Effect.flatMap(this.current, (transaction) =>
        transaction === undefined ? this.storages.acquire(placement) : Effect.succeed(transaction.backend)
      )
    )

  /** Like `acquire`, but fails if the tenant is not registered in a dedicated storage, or excluded from a shared one. */
  readonly acquireRegistered = (
    tenantId: TenantId
  ): Effect.Effect<M, TenantRefused<UnknownTenant> | StorageUnavailable, Scope.Scope> =>
    Effect.tap(this.acquire(tenantId), (backend) => this.requireRegistered(backend, tenantId))

  /** Runs an effect with a storage that stays open until the effect ends. */
  readonly use = <B, E, A, E2, R>(
    acquire: Effect.Effect<B, E, Scope.Scope>,
    run: (acquired: B) => Effect.Effect<A, E2, R>
  ): Effect.Effect<A, E | E2, R> =>
    Effect.acquireUseRelease(
      Scope.make(),
      (used) => Effect.flatMap(Scope.provide(acquire, used), run),
      (used, exit) => Scope.close(used, exit)
    )

  /** Runs an effect with the storage of a tenant. Fails if that is shared and has excluded the tenant. */
  readonly ofTenant = <A, E, R>(
    tenantId: TenantId,
    run: (backend: M) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | TenantRefused<UnknownTenant> | StorageUnavailable, R> =>
    this.following(
      tenantId,
      Effect.tap(this.acquire(tenantId), (backend) =>
        backend.dedicated ? Effect.void : this.#requireHere(backend, tenantId)
      ),
      run
    )

  /**
   * Like `use`. If the tenant has moved away, the effect runs again where it has moved to: it must have done nothing when it fails
   * for that reason. A transaction stays in its database.
   */
  readonly following = <E, A, E2, R>(
    tenantId: TenantId,
    acquire: Effect.Effect<M, E, Scope.Scope>,
    run: (backend: M) => Effect.Effect<A, E2, R>
  ): Effect.Effect<A, E | E2 | TenantRefused<UnknownTenant> | StorageUnavailable, R> =>
    Effect.flatMap(this.current, (transaction) =>
      transaction === undefined
        ? this.#homes.follow(tenantId, (left) =>
            this.use(acquire, (backend) =>
              Effect.tapError(run(backend), (error) =>
                isMoved(error) || isMovedRead(error) ? left(backend) : Effect.void
              )
            )
          )
        : this.use(acquire, run)
    )

  /** The placement of a tenant, as far as it is known here. */
  readonly homeOf = (
    tenantId: TenantId
  ): Effect.Effect<string, TenantRefused<UnknownTenant> | StorageUnavailable> => this.#homes.of(tenantId)

  /** True if a tenant has moved, and the directory does not say so yet. */
  readonly isRedirected = (tenantId: TenantId): boolean => this.#homes.isRedirected(tenantId)

  /** Learns where a tenant has gone that has left a storage. */
  readonly learn = (
    backend: M,
    tenantId: TenantId
  ): Effect.Effect<void, TenantRefused<UnknownTenant> | StorageUnavailable> =>
    this.#homes.learn(tenantId, backend)

  /** True if a tenant's home is this storage, also if the directory does not know it yet. */
  readonly isHome = (backend: M, tenantId: TenantId): Effect.Effect<boolean, StorageUnavailable> =>
    Effect.catchTag(this.#homes.isHome(backend.placement, tenantId), "TenantRefused", () =>
      Effect.succeed(false)
    )

  /** Like `ofTenant`, but fails in a dedicated storage if the tenant is not registered there. */
  readonly ofRegistered = <A, E, R>(
    tenantId: TenantId,
    run: (backend: M) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | TenantRefused<UnknownTenant> | StorageUnavailable, R> =>
    this.following(tenantId, this.acquireRegistered(tenantId), run)

  /**
   * Fails if the storage is dedicated and the tenant is not registered there. This guards against a mistake in the directory: a
   * tenant that is sent to another tenant's database is unknown there.
   */
  readonly requireRegistered = (
    backend: M,
    tenantId: TenantId
  ): Effect.Effect<void, TenantRefused<UnknownTenant> | StorageUnavailable> => {
    if (!backend.dedicated) return this.#requireHere(backend, tenantId)
    const known = this.#registered.get(backend)
    if (known?.has(tenantId) === true) return Effect.void
    return Effect.flatMap(backend.events.tenantStatus(tenantId), (status) => {
      if (status === undefined)
        return Effect.fail(new TenantRefused({ reason: new UnknownTenant({ tenantId }) }))
      if (known === undefined) this.#registered.set(backend, new Set([tenantId]))
      else known.add(tenantId)
      return Effect.void
    })
  }

  /**
   * Fails if a shared storage has excluded the tenant, which has a storage of its own: the directory is wrong. Its answer is
   * cached for a minute, so that each operation does not ask.
   */
  readonly #requireHere = (
    backend: M,
    tenantId: TenantId
  ): Effect.Effect<void, TenantRefused<UnknownTenant> | StorageUnavailable> =>
    Effect.flatMap(this.#isExcluded(backend, tenantId), (excluded) =>
      excluded
        ? Effect.andThen(
            Effect.logError(
              `The directory sends tenant ${tenantId} to ${backend.placement}, where it is excluded because it has a database of its own: correct the directory`
            ),
            Effect.fail(new TenantRefused({ reason: new UnknownTenant({ tenantId }) }))
          )
        : Effect.void
    )

  readonly #isExcluded = (backend: M, tenantId: TenantId): Effect.Effect<boolean, StorageUnavailable> =>
    Effect.gen({ self: this }, function* () {
      const ask = (asked: TenantId) =>
        Effect.map(backend.events.tenantStatus(asked), (status) => status === "elsewhere")
      let answers = this.#excluded.get(backend)
      if (answers === undefined) {
        answers = yield* Cache.makeWith(ask, {
          capacity: maxIncluded,
          timeToLive: (exit) => (Exit.isSuccess(exit) && !exit.value ? includedFor : Duration.zero)
          // The cache would give the transaction of its first caller to all others.
        }).pipe(Effect.setContext(Context.empty()))
        this.#excluded.set(backend, answers)
      }
      if ((yield* this.current) === undefined) return yield* Cache.get(answers, tenantId)
      // An open transaction asks by itself: to wait for a caller that waits for its connection would never end.
      const known = yield* Cache.getSuccess(answers, tenantId)
      if (Option.isSome(known)) return known.value
      const excluded = yield* ask(tenantId)
      if (!excluded) yield* Cache.set(answers, tenantId, false)
      return excluded
    })

  /** Runs an effect with each storage, a few at a time, and returns the answers, failures included. */
  readonly ofAll = <A, R>(
    run: (backend: M) => Effect.Effect<A, StorageUnavailable, R>
  ): Effect.Effect<ReadonlyArray<Answer<A>>, StorageUnavailable, R> =>
    Effect.flatMap(this.directory.placements, (placements) =>
      Effect.forEach(
        placements,
        (placement) =>
          Effect.map(Effect.exit(this.storages.use(placement, run)), (exit): Answer<A> => ({
            placement,
            exit
          })),
        { concurrency }
      )
    )

  /**
   * Runs an effect with each storage, under a recorded access, and fails if one of them fails, so that no read across tenants is
   * incomplete.
   */
  readonly onEvery = <A, R>(
    accessId: string,
    run: (backend: M) => Effect.Effect<A, StorageUnavailable, R>
  ): Effect.Effect<
    ReadonlyArray<{ readonly placement: string; readonly value: A }>,
    StorageUnavailable,
    R
  > => {
    const recorded = (backend: M) => Effect.andThen(this.requireAccess(backend, accessId), run(backend))
    return Effect.flatMap(this.directory.placements, (placements) =>
      Effect.forEach(
        placements,
        (placement) => Effect.map(this.storages.use(placement, recorded), (value) => ({ placement, value })),
        { concurrency }
      )
    )
  }

  /** Records an access in the first storage that can be reached. {@link requireAccess} records it in the others. */
  readonly recordAccess = (access: NewAccess): Effect.Effect<string, StorageUnavailable> =>
    Effect.flatMap(this.directory.placements, (placements) => {
      const record = (index: number): Effect.Effect<string, StorageUnavailable> => {
        const placement = placements[index]
        if (placement === undefined) {
          const operation = "record a cross-tenant access"
          return Effect.fail(
            new StorageUnavailable({
              reason: new OtherFailure({
                operation,
                retryable: false,
                code: "UnknownPlacement",
                remedy: "the directory names no database: add a placement"
              })
            })
          )
        }
        return this.storages
          .use(placement, ({ events }) => events.recordAccess(access))
          .pipe(
            Effect.tap((accessId) =>
              Effect.sync(() => this.#remember(accessId, { access, at: new Set([placement]) }))
            ),
            Effect.catchIf(
              ({ retryable }) => retryable && index + 1 < placements.length,
              () => record(index + 1)
            )
          )
      }
      return record(0)
    })

  /** Records the outcome of an operation wherever this process has recorded the operation. */
  readonly completeAccess = (completion: AccessCompletion): Effect.Effect<boolean, StorageUnavailable> =>
    Effect.suspend(() => {
      const found = this.#accesses.get(completion.accessId)
      if (found === undefined)
        return Effect.fail(
          new StorageUnavailable({
            reason: new OtherFailure({
              operation: "complete the record of an operation",
              retryable: false,
              code: "ES004",
              remedy: "this process has not recorded the operation, or 10,000 others since"
            })
          })
        )
      return Effect.map(
        Effect.forEach(
          found.at,
          (placement) => this.storages.use(placement, ({ events }) => events.completeAccess(completion)),
          { concurrency }
        ),
        (answers) => answers.includes(true)
      )
    })

  readonly #remember = (accessId: string, access: Access): void => {
    this.#accesses.delete(accessId)
    this.#accesses.set(accessId, access)
    for (const oldest of this.#accesses.keys()) {
      if (this.#accesses.size <= maxAccesses) return
      this.#accesses.delete(oldest)
    }
  }

  /** Records an access in a storage before it is used there. The storage refuses an access that was never recorded. */
  readonly requireAccess = (backend: M, accessId: string): Effect.Effect<void, StorageUnavailable> =>
    Effect.suspend(() => {
      const found = this.#accesses.get(accessId)
      if (found === undefined) return Effect.void
      this.#remember(accessId, found)
      if (found.at.has(backend.placement)) return Effect.void
      return Effect.andThen(
        backend.events.recordAccess({ ...found.access, accessId }),
        Effect.sync(() => found.at.add(backend.placement))
      )
    })
}

/** Turns `UnknownTenant` into `StorageUnavailable`, for operations without `UnknownTenant` among their errors. */
export const unknownAsUnavailable =
  (operation: string) =>
  <A, E, R>(
    effect: Effect.Effect<A, E | TenantRefused<UnknownTenant>, R>
  ): Effect.Effect<A, E | StorageUnavailable, R> =>
    Effect.catchIf(
      effect,
      (error): error is TenantRefused<UnknownTenant> =>
        error instanceof TenantRefused && error.reason instanceof UnknownTenant,
      () =>
        Effect.fail(
          new StorageUnavailable({
            reason: new OtherFailure({
              operation,
              retryable: false,
              code: "UnknownTenant",
              remedy:
                "the tenant is not registered in the database of its placement: provision it, or correct the directory"
            })
          })
        )
    )

/** The cause of the first failed answer, if one failed. */
export const firstFailure = (
  answers: ReadonlyArray<Answer<unknown>>
): Cause.Cause<StorageUnavailable> | undefined => {
  for (const { exit } of answers) if (Exit.isFailure(exit)) return exit.cause
  return undefined
}

/** The message of a cause, for logs. */
export const problemOf = <E>(cause: Cause.Cause<E>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error ? error.message : "unknown"
}

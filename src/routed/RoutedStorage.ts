/**
 * Tenants in several storages behind one driver. Each operation goes to the storage that the directory names for its tenant. On
 * PostgreSQL use `PgSilo`, which also routes the program's own SQL.
 */
import { Cause, Context, type Duration, Effect, Latch, Layer, PubSub, type Scope, Stream } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import { AdministrationStorage } from "../driver/AdministrationStorage.ts"
import { EventStorage } from "../driver/EventStorage.ts"
import { defaultMoveWait } from "../driver/moves.ts"
import * as OpenStorages from "./openStorages.ts"
import * as routedEvents from "./events.ts"
import * as routedProjections from "./projections.ts"
import * as routedAdministration from "./administration.ts"
import * as routedSnapshots from "./snapshots.ts"
import { type Backend, problemOf, Router } from "./router.ts"
import { Placements } from "./Placements.ts"
import { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import { StorageUnavailable, OtherFailure } from "../driver/StoreError.ts"
import { TenantDirectory } from "./TenantDirectory.ts"

/** Limits on open storages. */
export interface Limits {
  /**
   * Maximum number of open storages. To open another one, the storage that has been idle longest is closed; if none is idle,
   * the operation waits for up to `acquireTimeout`. Default: 20.
   */
  readonly maxOpen?: number | undefined
  /** Time after which an unused storage is closed. Default: 5 minutes. */
  readonly idleTimeToLive?: Duration.Input | undefined
  /**
   * Maximum wait while `maxOpen` storages are in use. After it the operation fails with a retryable `StorageUnavailable` (code
   * `TooManyOpen`). Default: 5 seconds.
   */
  readonly acquireTimeout?: Duration.Input | undefined
  /**
   * Maximum wait for a tenant whose move is decided, until it is active in its new storage; afterwards the operation fails as in
   * a storage that the tenant has left. Default: 10 seconds.
   */
  readonly moveWait?: Duration.Input | undefined
}

/** Settings of {@link layerWith}. */
export interface Options<E> extends Limits {
  /** The storages of a placement. Each build of the layer opens new ones. */
  readonly storage: (
    placement: string
  ) => Layer.Layer<AdministrationStorage | EventStorage | ProjectionStorage | SnapshotStorage, E>
  /**
   * True if a placement accepts only tenants that were registered there (`TenantRegistry.provision`). Nothing is read or written
   * there for any other tenant, so a mistake in the directory does no harm. The storage must not register tenants with their
   * first append. Default: no placement is dedicated.
   */
  readonly dedicated?: ((placement: string) => boolean) | undefined
}

/**
 * A router to storages that are opened on demand, and the hints of the open ones.
 *
 * @internal
 */
export const makeRouter = Effect.fnUntraced(function* <M extends Backend>(
  open: (placement: string) => Effect.Effect<M, StorageUnavailable, Scope.Scope>,
  {
    acquireTimeout = "5 seconds",
    idleTimeToLive = "5 minutes",
    maxOpen = 20,
    moveWait = defaultMoveWait
  }: Limits
): Effect.fn.Return<
  { readonly router: Router<M>; readonly hints: Stream.Stream<void> },
  never,
  TenantDirectory | Scope.Scope
> {
  if (!(maxOpen >= 1)) throw new RangeError("maxOpen must be 1 or more")
  const directory = yield* TenantDirectory
  const changed = yield* PubSub.sliding<void>(1)
  // Listening takes a connection per database, so it begins when the first consumer asks for hints.
  const listening = yield* Latch.make(false)
  const openAndListen = (placement: string) =>
    Effect.tap(open(placement), ({ events }) =>
      listening.await.pipe(
        // Announcements may have been missed while the storage was closed.
        Effect.andThen(PubSub.publish(changed, undefined)),
        Effect.andThen(Stream.runForEach(events.changes, () => PubSub.publish(changed, undefined))),
        Effect.forkScoped
      )
    )
  const storages = yield* OpenStorages.make(openAndListen, { acquireTimeout, idleTimeToLive, maxOpen })
  return {
    router: new Router(directory, storages, moveWait),
    hints: Stream.unwrap(Effect.as(listening.open, Stream.fromPubSub(changed)))
  }
})

/**
 * Builds the layers of a placement. A failure is logged with its cause; the caller gets `StorageUnavailable`.
 *
 * @internal
 */
export const build = <A, E>(
  placement: string,
  layer: Layer.Layer<A, E>,
  isRetryable: (error: E) => boolean
): Effect.Effect<Context.Context<A>, StorageUnavailable, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) =>
    // With a memo map of its own, so that a layer that several placements share is built for each of them.
    Layer.buildWithMemoMap(layer, Layer.makeMemoMapUnsafe(), scope)
  ).pipe(
    Effect.tapCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.void
        : Effect.logError(`The database ${placement} cannot be opened: ${problemOf(cause)}`)
    ),
    Effect.mapError((error) => {
      if (error instanceof StorageUnavailable) return error
      const operation = "open a database"
      return new StorageUnavailable({
        reason: new OtherFailure({ operation, retryable: isRetryable(error), code: tagOf(error) })
      })
    })
  )

const tagOf = (error: unknown): string | null =>
  typeof error === "object" && error !== null && "_tag" in error && typeof error._tag === "string"
    ? error._tag
    : null

/**
 * The storages of a router, by placement.
 *
 * @internal
 */
export const placementsOf = <M extends Backend>(router: Router<M>): Placements["Service"] =>
  Placements.of({
    all: router.directory.placements,
    administration: (placement) =>
      Effect.map(router.storages.acquire(placement), ({ administration }) => administration)
  })

/**
 * Storages of several placements behind one driver, chosen by the directory.
 *
 * **When to use**
 *
 * Use it for drivers other than PostgreSQL, and in tests with `MemoryStorage` in each placement (and an infinite
 * `idleTimeToLive`, because data in memory ends with its storage).
 *
 * **Details**
 *
 * - Operations of one tenant go to its placement. A placement that is down affects only its own tenants.
 * - Operations across tenants go to all placements and fail if one of them does not answer, so that no list is incomplete. An
 *   access is recorded in each placement that is read.
 * - Workers serve the projections of all placements in turn. A placement that fails is skipped for a while.
 * - For a tenant that the directory does not know, appends fail with `UnknownTenant` and the status is undefined. All other
 *   operations fail with `StorageUnavailable` (code `UnknownTenant`, not retryable), because the tenant has no database.
 */
export const layerWith = <E>(
  options: Options<E>
): Layer.Layer<
  AdministrationStorage | EventStorage | Placements | ProjectionStorage | SnapshotStorage,
  never,
  TenantDirectory
> =>
  layerPer([TenantDirectory], () =>
    Layer.effectContext(
      Effect.gen(function* () {
        const open = (placement: string): Effect.Effect<Backend, StorageUnavailable, Scope.Scope> =>
          Effect.suspend(() => build(placement, options.storage(placement), () => true)).pipe(
            Effect.map((services) => ({
              placement,
              events: Context.get(services, EventStorage),
              projections: Context.get(services, ProjectionStorage),
              snapshots: Context.get(services, SnapshotStorage),
              administration: Context.get(services, AdministrationStorage),
              dedicated: options.dedicated?.(placement) ?? false
            }))
          )
        const { hints, router } = yield* makeRouter(open, options)
        return Context.make(EventStorage, routedEvents.make(router, hints)).pipe(
          Context.add(ProjectionStorage, routedProjections.make(router, router.inTransactionOf)),
          Context.add(SnapshotStorage, routedSnapshots.make(router)),
          Context.add(AdministrationStorage, routedAdministration.make(router)),
          Context.add(Placements, placementsOf(router))
        )
      })
    )
  )

/**
 * Tenants in several storages, as if they were in one: each operation goes to where the directory says that its tenant
 * is. On PostgreSQL use `PgSilo`, which routes the program's own SQL as well.
 */
import { Cause, Context, type Duration, Effect, Latch, Layer, PubSub, type Scope, Stream } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import { EventStorage } from "../driver/EventStorage.ts"
import * as OpenStorages from "./openStorages.ts"
import * as routedEvents from "./events.ts"
import * as routedProjections from "./projections.ts"
import * as routedSnapshots from "./snapshots.ts"
import { type Backend, problemOf, Router } from "./router.ts"
import { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import { StorageUnavailable, OtherFailure } from "../driver/StoreError.ts"
import { TenantDirectory } from "./TenantDirectory.ts"

/** What bounds the storages that are open. */
export interface Limits {
  /**
   * Storages that are open at the same time at most. Default: 20. If another one is wanted, the one that has been idle
   * longest is closed; if none is idle, the operation waits, at most `acquireTimeout`.
   */
  readonly maxOpen?: number | undefined
  /** How long a storage stays open that nobody uses. Default: 5 minutes. */
  readonly idleTimeToLive?: Duration.Input | undefined
  /**
   * How long an operation waits for a free place while `maxOpen` storages are in use. Then it fails with
   * `StorageUnavailable`, code 53300, retryable. Default: 5 seconds.
   */
  readonly acquireTimeout?: Duration.Input | undefined
}

/** Settings of {@link layerWith}. */
export interface Options<E> extends Limits {
  /** The storages of a placement. Each build of the layer opens them anew. */
  readonly storage: (placement: string) => Layer.Layer<EventStorage | ProjectionStorage | SnapshotStorage, E>
  /**
   * Whether a placement is for tenants that were registered there before (`TenantRegistry.provision`): then nothing is
   * read or written there for any other one, so that a wrong directory cannot send a tenant there. Its storage must not
   * register tenants on their first append. Default: no placement is.
   */
  readonly dedicated?: ((placement: string) => boolean) | undefined
}

/**
 * A router over storages that are opened as they are wanted, and the hints of those that are open.
 *
 * @internal
 */
export const makeRouter = Effect.fnUntraced(function* <M extends Backend>(
  open: (placement: string) => Effect.Effect<M, StorageUnavailable, Scope.Scope>,
  { acquireTimeout = "5 seconds", idleTimeToLive = "5 minutes", maxOpen = 20 }: Limits
): Effect.fn.Return<
  { readonly router: Router<M>; readonly hints: Stream.Stream<void> },
  never,
  TenantDirectory | Scope.Scope
> {
  if (!(maxOpen >= 1)) throw new RangeError("maxOpen must be 1 or more")
  const directory = yield* TenantDirectory
  const grown = yield* PubSub.sliding<void>(1)
  // Listening takes a connection of each database, so it begins with the first who listens.
  const listening = yield* Latch.make(false)
  const openAndListen = (placement: string) =>
    Effect.tap(open(placement), ({ events }) =>
      listening.await.pipe(
        // What came while the storage was closed was not heard.
        Effect.andThen(PubSub.publish(grown, undefined)),
        Effect.andThen(Stream.runForEach(events.changes, () => PubSub.publish(grown, undefined))),
        Effect.forkScoped
      )
    )
  const storages = yield* OpenStorages.make(openAndListen, { acquireTimeout, idleTimeToLive, maxOpen })
  return {
    router: new Router(directory, storages),
    hints: Stream.unwrap(Effect.as(listening.open, Stream.fromPubSub(grown)))
  }
})

/**
 * Builds the layers of a placement; what goes wrong is in the log, and storage that is not available to the caller.
 *
 * @internal
 */
export const build = <A, E>(
  placement: string,
  layer: Layer.Layer<A, E>,
  isRetryable: (error: E) => boolean
): Effect.Effect<Context.Context<A>, StorageUnavailable, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) =>
    // With a memo of its own: layers that several placements have in common are built for each of them.
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
 * Storages of several places behind one driver, by the directory.
 *
 * **When to use**
 *
 * Use it for drivers other than PostgreSQL, and in tests, with `MemoryStorage` in each place (and an infinite
 * `idleTimeToLive`, as what is in memory ends with its storage).
 *
 * **Details**
 *
 * - What is about one tenant goes to its place. A place that is away is away for its tenants alone.
 * - What looks across tenants goes to all places, and fails if one of them does not answer: a list is never without some
 *   tenants. An access is recorded in each place that is looked at.
 * - Projections are worked on in all places in turn; one that fails is left alone for a while.
 * - A tenant that the directory does not know: appends fail with `UnknownTenant`, its status is undefined, and everything
 *   else fails with `StorageUnavailable` (code `UnknownTenant`, not retryable), as a tenant without a database has
 *   nothing to read.
 */
export const layerWith = <E>(
  options: Options<E>
): Layer.Layer<EventStorage | ProjectionStorage | SnapshotStorage, never, TenantDirectory> =>
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
              dedicated: options.dedicated?.(placement) ?? false
            }))
          )
        const { hints, router } = yield* makeRouter(open, options)
        return Context.make(EventStorage, routedEvents.make(router, hints)).pipe(
          Context.add(ProjectionStorage, routedProjections.make(router, router.inTransactionOf)),
          Context.add(SnapshotStorage, routedSnapshots.make(router))
        )
      })
    )
  )

/** The open storages: each is opened at its first use, and closed when it has been idle for a while. */
import { type Cause, Clock, Context, Deferred, Duration, Effect, Exit, RcMap, Scope } from "effect"
import { StorageUnavailable, StorageFull } from "../driver/StoreError.ts"

/** Limits on open storages. */
export interface Limits {
  /** Maximum number of open storages. */
  readonly maxOpen: number
  /** Time after which an idle storage is closed. */
  readonly idleTimeToLive: Duration.Input
  /** Maximum wait while all open storages are in use. */
  readonly acquireTimeout: Duration.Input
}

/** Open storages. */
export interface OpenStorages<A> {
  /** Runs an effect with a storage, which stays open until the effect ends. */
  readonly use: <B, E, R>(
    placement: string,
    run: (opened: A) => Effect.Effect<B, E, R>
  ) => Effect.Effect<B, E | StorageUnavailable, R>
  /** Returns a storage that stays open as long as the scope. */
  readonly acquire: (placement: string) => Effect.Effect<A, StorageUnavailable, Scope.Scope>
  /** The placements of the open storages. */
  readonly open: Effect.Effect<ReadonlyArray<string>>
  /** Closes a storage once it is unused. The next use opens it again. */
  readonly close: (placement: string) => Effect.Effect<void>
}

const isFull = (
  error: StorageUnavailable | Cause.ExceededCapacityError
): error is Cause.ExceededCapacityError => error._tag === "ExceededCapacityError"

export const make = Effect.fnUntraced(function* <A>(
  open: (placement: string) => Effect.Effect<A, StorageUnavailable, Scope.Scope>,
  limits: Limits
): Effect.fn.Return<OpenStorages<A>, never, Scope.Scope> {
  const context = yield* Effect.context()
  const scope = yield* Effect.scope
  const acquireTimeout = Duration.toMillis(limits.acquireTimeout)
  const map: RcMap.RcMap<string, A, StorageUnavailable | Cause.ExceededCapacityError> = yield* RcMap.make({
    lookup: (placement: string) =>
      Effect.flatMap(Effect.scope, (entry) =>
        open(placement).pipe(
          // A failure is removed, because the map would keep it like a storage.
          Effect.onExit((exit) =>
            Exit.isSuccess(exit) || Exit.hasInterrupts(exit)
              ? Effect.void
              : Effect.asVoid(
                  Effect.forkIn(RcMap.invalidate(map, placement), scope, { startImmediately: true })
                )
          ),
          // All callers share a storage, so it must not keep the tenant or the transaction of the first caller.
          Effect.setContext(Context.add(context, Scope.Scope, entry))
        )
      ),
    idleTimeToLive: limits.idleTimeToLive,
    capacity: limits.maxOpen
  })

  /** Number of callers that wait for a storage to become idle. */
  let waiting = 0
  let freed = Deferred.makeUnsafe<void>()
  const wake = Effect.sync(() => {
    if (waiting === 0) return
    const waited = freed
    freed = Deferred.makeUnsafe<void>()
    Deferred.doneUnsafe(waited, Exit.void)
  })

  /** The placement that has been idle longest; undefined if all storages are being opened or used. */
  const idle = (): string | undefined => {
    if (map.state._tag === "Closed") return undefined
    let found: { readonly placement: string; readonly expiresAt: number } | undefined
    for (const [placement, { expiresAt, refCount }] of map.state.map) {
      if (refCount === 0 && (found === undefined || expiresAt < found.expiresAt))
        found = { placement, expiresAt }
    }
    return found?.placement
  }

  const get = (
    placement: string,
    deadline: number
  ): Effect.Effect<A, StorageUnavailable | Cause.ExceededCapacityError, Scope.Scope> =>
    Effect.suspend(() => {
      const next = freed
      return Effect.catchIf(RcMap.get(map, placement), isFull, (error) => {
        const unused = idle()
        const room =
          unused === undefined
            ? Effect.flatMap(Clock.currentTimeMillis, (now) =>
                Effect.timeoutOrElse(Deferred.await(next), {
                  duration: Math.max(0, deadline - now),
                  orElse: () => Effect.fail(error)
                })
              )
            : RcMap.invalidate(map, unused)
        return Effect.andThen(room, get(placement, deadline))
      })
    })

  const acquire = (placement: string): Effect.Effect<A, StorageUnavailable, Scope.Scope> =>
    // Finalizers run in reverse order, so the storage is released before the waiting callers wake up.
    Effect.andThen(
      Effect.addFinalizer(() => wake),
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        waiting++
        return get(placement, now + acquireTimeout).pipe(
          Effect.ensuring(Effect.sync(() => waiting--)),
          Effect.catchIf(isFull, () => Effect.fail(full))
        )
      })
    )

  return {
    acquire,
    use: (placement, run) =>
      Effect.acquireUseRelease(
        Scope.make(),
        (used) => Effect.flatMap(Scope.provide(acquire(placement), used), run),
        (used, exit) => Scope.close(used, exit)
      ),
    open: Effect.map(RcMap.keys(map), (keys) => [...keys]),
    close: (placement) => RcMap.invalidate(map, placement)
  }
})

/** The error of a database that has no connections left. */
const full = new StorageUnavailable({
  reason: new StorageFull({ operation: "open a database", code: "TooManyOpen" })
})

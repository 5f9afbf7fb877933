/**
 * The directory of tenants, which names the database of each tenant.
 */
import { Cache, Context, Duration, Effect, Exit, Layer } from "effect"
import { StorageUnavailable, UnknownTenant, OtherFailure, TenantRefused } from "../driver/StoreError.ts"
import type { CrossTenantAccess, TenantId } from "../domain/Tenant.ts"

/**
 * The directory of tenants: the placement of each tenant.
 *
 * **Details**
 *
 * A placement is the name of a database, either for a single tenant (a silo) or for many (a pool). Lookups depend on the tenant
 * of the operation and on nothing else.
 */
export class TenantDirectory extends Context.Service<
  TenantDirectory,
  {
    /** The placement of a tenant. */
    readonly placement: (
      tenantId: TenantId
    ) => Effect.Effect<string, TenantRefused<UnknownTenant> | StorageUnavailable>
    /** All placements, without duplicates, for operations across tenants and workers of projections. */
    readonly placements: Effect.Effect<ReadonlyArray<string>, StorageUnavailable>
    /** Forgets the cached placement of a tenant that has moved. */
    readonly invalidate: (tenantId: TenantId) => Effect.Effect<void>
    /**
     * Names another placement for a tenant that has moved, unless a third one is named by now. Returns true if `to` is named
     * afterwards. Undefined for a directory that cannot be changed, with which no tenant can move.
     */
    readonly replace: ((change: Replacement) => Effect.Effect<boolean, StorageUnavailable>) | undefined
  }
>()("effect-eventsourcing/TenantDirectory") {}

/** A change of a tenant's placement after a move. */
export interface Replacement {
  readonly tenantId: TenantId
  readonly from: string
  readonly to: string
  /** The recorded access of the move. */
  readonly access: CrossTenantAccess
}

/** Limits of the cache of placements. */
export interface CacheOptions {
  /** Time for which the placement of a tenant, and the list of placements, are cached. Default: 1 minute. */
  readonly timeToLive?: Duration.Input | undefined
  /** Maximum number of tenants in the cache. Default: 10,000. */
  readonly capacity?: number | undefined
}

/** Settings of {@link make} and {@link layerWith}. */
export interface Options extends CacheOptions {
  /** All placements. */
  readonly placements: Effect.Effect<ReadonlyArray<string>, StorageUnavailable> | ReadonlyArray<string>
  /** The placement of a tenant, one of `placements`; undefined if there is no such tenant. */
  readonly placementOf: (
    tenantId: TenantId
  ) => Effect.Effect<string | undefined, StorageUnavailable> | string | undefined
  /**
   * Names another placement for a tenant that has moved, in one step and only if the present one is `from`. Returns true if it is
   * `to` afterwards. Without this function, no tenant can move (`TenantMove`).
   */
  readonly replace?:
    | ((change: Replacement) => Effect.Effect<boolean, StorageUnavailable> | boolean)
    | undefined
}

/**
 * A directory from a function.
 *
 * **Details**
 *
 * Answers are cached per tenant for `timeToLive`, except failures and unknown tenants. Concurrent lookups of one tenant share
 * one call. A lookup fails with `StorageUnavailable` (code `UnknownPlacement`, not retryable) if the function returns a placement
 * that is not one of `placements`, because operations across tenants would not find the tenant there.
 */
export const make = (options: Options): Effect.Effect<TenantDirectory["Service"]> =>
  Effect.gen(function* () {
    // All callers share an answer, so the lookup must not use the services or the transaction of the first caller.
    const context = yield* Effect.context()
    const timeToLive = Duration.fromInputUnsafe(options.timeToLive ?? "1 minute")
    const kept = <A, E>(exit: Exit.Exit<A, E>) => (Exit.isSuccess(exit) ? timeToLive : Duration.zero)
    const given = options.placements
    const list = yield* Cache.makeWith(
      (_all: "all") =>
        (Effect.isEffect(given) ? given : Effect.succeed(given)).pipe(
          Effect.map((placements) => [...new Set(placements)]),
          Effect.setContext(context)
        ),
      { capacity: 1, timeToLive: kept }
    )
    const all = Cache.get(list, "all")

    /** Reads the list again before it says no, because the cached list may be older than the tenant. */
    const isKnown = (placement: string) =>
      Effect.flatMap(all, (known) =>
        known.includes(placement)
          ? Effect.succeed(true)
          : Effect.andThen(
              Cache.invalidate(list, "all"),
              Effect.map(all, (again) => again.includes(placement))
            )
      )

    const ask = Effect.fnUntraced(function* (tenantId: TenantId) {
      const answer = options.placementOf(tenantId)
      const placement = Effect.isEffect(answer) ? yield* answer : answer
      if (placement === undefined)
        return yield* new TenantRefused({ reason: new UnknownTenant({ tenantId }) })
      if (yield* isKnown(placement)) return placement
      return yield* new StorageUnavailable({
        reason: new OtherFailure({
          operation: "find the database of a tenant",
          retryable: false,
          code: "UnknownPlacement",
          remedy:
            "the directory sends the tenant to a database that it does not list: correct placementOf or placements"
        })
      })
    })

    const cache = yield* Cache.makeWith(
      (tenantId: TenantId) => Effect.suspend(() => ask(tenantId)).pipe(Effect.setContext(context)),
      { capacity: options.capacity ?? 10_000, timeToLive: kept }
    )

    const { replace } = options
    return TenantDirectory.of({
      placement: (tenantId) => Cache.get(cache, tenantId),
      placements: all,
      invalidate: (tenantId) => Cache.invalidate(cache, tenantId),
      replace:
        replace &&
        ((change) =>
          Effect.suspend(() => {
            const answer = replace(change)
            return Effect.isEffect(answer) ? Effect.setContext(answer, context) : Effect.succeed(answer)
          }).pipe(Effect.ensuring(Cache.invalidate(cache, change.tenantId))))
    })
  })

/**
 * A directory from a function. See {@link make}.
 *
 * **Example** (One tenant in a database of its own, all others in a shared one)
 *
 * ```ts
 * import { Tenant, TenantDirectory } from "effect-eventsourcing"
 *
 * const acme = Tenant.TenantId.make("0190c5a0-0000-7000-8000-00000000acee")
 *
 * const Directory = TenantDirectory.layerWith({
 *   placements: ["shared", "acme"],
 *   placementOf: (tenantId) => (tenantId === acme ? "acme" : "shared")
 * })
 * ```
 */
export const layerWith = (options: Options): Layer.Layer<TenantDirectory> =>
  Layer.effect(TenantDirectory, make(options))

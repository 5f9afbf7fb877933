/**
 * Where tenants live: the directory that says, for each tenant, which database its data is in.
 */
import { Cache, Context, Duration, Effect, Exit, Layer } from "effect"
import { StorageUnavailable, UnknownTenant, OtherFailure, TenantRefused } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

/**
 * The directory of tenants: which tenant is in which place.
 *
 * **Details**
 *
 * A placement is the name of a database: of one tenant alone (a silo), or of many (a pool). The directory is asked with
 * the tenant of the operation, never with anything else of a request.
 */
export class TenantDirectory extends Context.Service<
  TenantDirectory,
  {
    /** The placement of a tenant. */
    readonly placement: (
      tenantId: TenantId
    ) => Effect.Effect<string, TenantRefused<UnknownTenant> | StorageUnavailable>
    /** All placements, each once: what looks across tenants, and what runs projections, goes through them. */
    readonly placements: Effect.Effect<ReadonlyArray<string>, StorageUnavailable>
    /** Forgets what is known about a tenant: the next operation asks again. For a tenant that has moved. */
    readonly invalidate: (tenantId: TenantId) => Effect.Effect<void>
  }
>()("effect-eventsourcing/TenantDirectory") {}

/** How long answers are kept. */
export interface CacheOptions {
  /** How long the placement of a tenant, and the list of placements, are kept. Default: 1 minute. */
  readonly timeToLive?: Duration.Input | undefined
  /** Tenants whose placement is kept at most. Default: 10,000. */
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
}

/**
 * A directory from a function.
 *
 * **Details**
 *
 * Answers are kept per tenant for `timeToLive`, failures and unknown tenants are not kept. Concurrent questions about a
 * tenant are one. Fails with `StorageUnavailable` (code `UnknownPlacement`, not retryable) if the function answers a
 * placement that is not one of `placements`: nobody would find the tenant there who looks across tenants.
 */
export const make = (options: Options): Effect.Effect<TenantDirectory["Service"]> =>
  Effect.gen(function* () {
    // Answers are everybody's: what asks must see nothing of who asked first, nor join their transaction.
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

    /** The list may be older than the tenant. */
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
          code: "UnknownPlacement"
        })
      })
    })

    const cache = yield* Cache.makeWith(
      (tenantId: TenantId) => Effect.suspend(() => ask(tenantId)).pipe(Effect.setContext(context)),
      { capacity: options.capacity ?? 10_000, timeToLive: kept }
    )

    return TenantDirectory.of({
      placement: (tenantId) => Cache.get(cache, tenantId),
      placements: all,
      invalidate: (tenantId) => Cache.invalidate(cache, tenantId)
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

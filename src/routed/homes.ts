/** The homes of tenants: the directory is a hint, and the row that a moved tenant has left tells where it went. */
import { Clock, Duration, Effect } from "effect"
import { isImporting, isMoved, isMovedRead } from "../driver/moves.ts"
import type { EventStorage } from "../driver/EventStorage.ts"
import type { StorageUnavailable, TenantRefused, UnknownTenant } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type { OpenStorages } from "./openStorages.ts"
import type { TenantDirectory } from "./TenantDirectory.ts"

/** A storage that a tenant may have left. */
interface Left {
  readonly placement: string
  readonly events: Pick<EventStorage["Service"], "movedTo">
}

/** An answer of the directory that is out of date, and the home in its place. */
interface Redirect {
  readonly stale: string
  readonly to: string
}

/** Maximum number of remembered redirects. Each is needed only until the directory follows. */
const maxRedirects = 10_000

/** Pause until a tenant is looked up again whose move is decided but not finished, in milliseconds. */
const pause = 20

export class Homes<M extends Left> {
  readonly #directory: TenantDirectory["Service"]
  readonly #storages: OpenStorages<M>
  readonly #waitMillis: number
  readonly #redirects = new Map<TenantId, Redirect>()

  constructor(directory: TenantDirectory["Service"], storages: OpenStorages<M>, wait: Duration.Input) {
    this.#directory = directory
    this.#storages = storages
    this.#waitMillis = Duration.toMillis(wait)
  }

  /** The placement of a tenant, as far as it is known here. */
  readonly of = (
    tenantId: TenantId
  ): Effect.Effect<string, TenantRefused<UnknownTenant> | StorageUnavailable> =>
    this.#redirects.size === 0
      ? this.#directory.placement(tenantId)
      : Effect.map(this.#directory.placement(tenantId), (placement) => {
          const redirect = this.#redirects.get(tenantId)
          if (redirect === undefined) return placement
          if (redirect.stale === placement) return redirect.to
          this.#redirects.delete(tenantId)
          return placement
        })

  /** True if a tenant has moved, and the directory does not say so yet. */
  readonly isRedirected = (tenantId: TenantId): boolean => this.#redirects.has(tenantId)

  /** Learns where a tenant has gone that has moved away from a placement. Returns false if it is not known. */
  readonly learn = Effect.fnUntraced(
    { self: this },
    function* (
      tenantId: TenantId,
      backend: M
    ): Effect.fn.Return<boolean, TenantRefused<UnknownTenant> | StorageUnavailable> {
      yield* this.#directory.invalidate(tenantId)
      const to = yield* backend.events.movedTo(tenantId)
      const named = yield* this.#directory.placement(tenantId)
      const isStale = named === backend.placement || named === this.#redirects.get(tenantId)?.stale
      this.#redirects.delete(tenantId)
      // Otherwise the directory knows of a later move.
      if (isStale && to !== undefined && to !== named && (yield* this.#directory.placements).includes(to)) {
        this.#redirects.set(tenantId, { stale: named, to })
        for (const oldest of this.#redirects.keys()) {
          if (this.#redirects.size <= maxRedirects) break
          this.#redirects.delete(oldest)
        }
      }
      // it may be back
      return to === undefined || (yield* this.of(tenantId)) !== backend.placement
    }
  )

  /** True if a placement is the home of a tenant, also if the directory follows later. */
  readonly isHome = Effect.fnUntraced(
    { self: this },
    function* (
      placement: string,
      tenantId: TenantId
    ): Effect.fn.Return<boolean, TenantRefused<UnknownTenant> | StorageUnavailable> {
      const named = yield* this.of(tenantId)
      if (named === placement) return true
      yield* this.#storages.use(named, (backend) => this.learn(tenantId, backend))
      return (yield* this.of(tenantId)) === placement
    }
  )

  /**
   * Runs an operation, and again at the new home of a tenant that has moved away. The operation reports the storage that it found left.
   * A home whose import is just being finished is awaited.
   */
  readonly follow = <A, E, R>(
    tenantId: TenantId,
    operation: (
      left: (backend: M) => Effect.Effect<void, TenantRefused<UnknownTenant> | StorageUnavailable>
    ) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | TenantRefused<UnknownTenant> | StorageUnavailable, R> => {
    let deadline: number | undefined
    const attempt: Effect.Effect<A, E | TenantRefused<UnknownTenant> | StorageUnavailable, R> =
      Effect.suspend(() => {
        let found: M | undefined
        const run = operation((backend) => Effect.sync(() => void (found = backend)))
        return Effect.catchIf(
          run,
          (error) =>
            isMoved(error) ||
            isMovedRead(error) ||
            (isImporting(error) && (deadline !== undefined || this.isRedirected(tenantId))),
          (error) =>
            Effect.flatMap(Clock.currentTimeMillis, (now) => {
              const first = deadline === undefined
              deadline ??= now + this.#waitMillis
              if (now >= deadline && !first) return Effect.fail(error)
              const again = first ? attempt : Effect.andThen(Effect.sleep(pause), attempt)
              return found === undefined
                ? again
                : Effect.flatMap(this.learn(tenantId, found), (known) => (known ? again : Effect.fail(error)))
            })
        )
      })
    return attempt
  }
}

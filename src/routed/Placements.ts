/**
 * The storages of all placements, for what works on two of them at once.
 */
import { Context, type Effect, type Scope } from "effect"
import type { AdministrationStorage } from "../driver/AdministrationStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"

/**
 * The storages of all placements. Everything else is routed by the tenant; only a move looks at the same tenant in two places.
 * `RoutedStorage` and `PgSilo` provide it.
 */
export class Placements extends Context.Service<
  Placements,
  {
    /** All placements of the directory. */
    readonly all: Effect.Effect<ReadonlyArray<string>, StorageUnavailable>
    /** The administration of the tenants in a placement, which stays open as long as the scope. */
    readonly administration: (
      placement: string
    ) => Effect.Effect<AdministrationStorage["Service"], StorageUnavailable, Scope.Scope>
  }
>()("effect-eventsourcing/Placements") {}

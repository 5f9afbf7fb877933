/**
 * A driver that keeps events, progress of projections and snapshots in memory: for tests, examples and as the oracle of
 * the other drivers.
 */
import { Context, Effect, Layer } from "effect"
import { AdministrationStorage } from "../driver/AdministrationStorage.ts"
import { EventStorage } from "../driver/EventStorage.ts"
import { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import * as administration from "./administration.ts"
import * as events from "./events.ts"
import * as projections from "./projections.ts"
import { Store } from "./progressTable.ts"
import type { Registration } from "./registrations.ts"
import * as snapshots from "./snapshots.ts"

/** Settings of {@link layerWith}. */
export type Options = events.Options

/**
 * A store in memory, with settings.
 *
 * **Details**
 *
 * Each call returns a layer with a store of its own. One layer that is used twice in a program is one store, because Effect
 * builds a layer once; `Layer.fresh` makes another store.
 *
 * **Gotchas**
 *
 * Effects of projection handlers are not undone when a batch fails, and a rebuild has no tables of its own: both need a
 * database. A transaction, such as that of an append with inline projections, copies the tenant's log, so its duration grows
 * with the log.
 */
export const layerWith = (
  options: Options
): Layer.Layer<EventStorage | ProjectionStorage | SnapshotStorage | AdministrationStorage> =>
  Layer.effectContext(
    Effect.map(Effect.all([events.make(options), snapshots.make]), ([store, kept]) => {
      const progress = new Store()
      const registrations = new Map<string, Registration>()
      return Context.make(EventStorage, store.events).pipe(
        Context.add(
          ProjectionStorage,
          projections.make(store.events, store.heads, store.transactions, progress, registrations)
        ),
        Context.add(SnapshotStorage, kept.snapshots),
        Context.add(
          AdministrationStorage,
          administration.make({ ...store, progress, registrations, forgetSnapshots: kept.forget })
        )
      )
    })
  )

/** A store in memory that registers tenants on their first append. See {@link layerWith}. */
export const layer: Layer.Layer<EventStorage | ProjectionStorage | SnapshotStorage | AdministrationStorage> =
  layerWith({})

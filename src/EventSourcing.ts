/**
 * The services of a program, as one layer.
 */
import { Layer } from "effect"
import type { EventStorage } from "./driver/EventStorage.ts"
import type { ProjectionStorage } from "./driver/ProjectionStorage.ts"
import * as ProjectionManager from "./projection/ProjectionManager.ts"
import * as Decisions from "./store/Decisions.ts"
import * as EventStore from "./store/EventStore.ts"
import * as Repository from "./store/Repository.ts"
import * as TenantRegistry from "./store/TenantRegistry.ts"

/** The services that programs use. */
export type Services =
  | Decisions.Decisions
  | EventStore.EventStore
  | ProjectionManager.ProjectionManager
  | Repository.Repository
  | TenantRegistry.TenantRegistry

/**
 * `EventStore`, `Repository`, `Decisions`, `ProjectionManager` and `TenantRegistry` with their default settings.
 *
 * **When to use**
 *
 * Provide it with a storage: `PgStorage.layer`, `MemoryStorage.layer` or `PgSilo.layer`. For settings of one service, put
 * that service on top: `Repository.layerWith({ … }).pipe(Layer.provideMerge(EventSourcing.layer))`.
 *
 * **Details**
 *
 * It contains no workers: add `ProjectionRunner.layer` in the processes that run projections.
 */
export const layer: Layer.Layer<Services, never, EventStorage | ProjectionStorage> = Layer.mergeAll(
  Decisions.layer,
  ProjectionManager.layer,
  Repository.layer,
  TenantRegistry.layer
).pipe(Layer.provideMerge(EventStore.layer))

/** The program that the commands run in: its store, its aggregates and its projections. */
import { Effect, Layer, type Stdio, Terminal } from "effect"
import type { SqlClient } from "effect/sql"
import type * as Aggregate from "../domain/Aggregate.ts"
import type { AdministrationStorage } from "../driver/AdministrationStorage.ts"
import type { EventStorage } from "../driver/EventStorage.ts"
import type { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import type { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import * as Operations from "../operations/Operations.ts"
import * as PgStorage from "../pg/PgStorage.ts"
import type * as Projection from "../projection/Projection.ts"
import * as ProjectionManager from "../projection/ProjectionManager.ts"
import * as EventStore from "../store/EventStore.ts"
import * as TenantRegistry from "../store/TenantRegistry.ts"
import { client, secrets } from "./connection.ts"
import { type CliFailure, failureOf } from "./failures.ts"
import type { Settings } from "./settings.ts"

/** The storages of a driver. */
export type Storages = EventStorage | ProjectionStorage | SnapshotStorage | AdministrationStorage

/** The services that commands use. */
export type Services =
  | Storages
  | EventStore.EventStore
  | Operations.Operations
  | ProjectionManager.ProjectionManager
  | TenantRegistry.TenantRegistry

/** The parts of a program that the command line works on. */
export interface Options<E = never> {
  /** Aggregates whose events are read and whose states are folded. Others are shown as stored. Default: none. */
  readonly aggregates?: ReadonlyArray<Aggregate.Any> | undefined
  /** Projections whose work is counted, and that can be rebuilt. Default: none. */
  readonly projections?: ReadonlyArray<Projection.Any> | undefined
  /**
   * The store of the program. It may also provide `TenantMove`, `Forgetting` and `TenantErasure`, which the commands `move`, `forget`
   * and `erase` then use. Default: `PgStorage.layer`.
   */
  readonly layer?: Layer.Layer<Storages, E, SqlClient.SqlClient> | undefined
  /** The client of the database. Default: the one of `DATABASE_URL` and of the flags of the connection. */
  readonly database?: Layer.Layer<SqlClient.SqlClient, E> | undefined
  /** The beginning of the command lines in texts. Default: `eventsourcing`. */
  readonly name?: string | undefined
}

/** The surroundings of every command. */
export type Surroundings = Settings | Terminal.Terminal | Stdio.Stdio

/** A program, as commands see it. */
export interface Program {
  readonly name: string
  readonly aggregates: ReadonlyArray<Aggregate.Any>
  readonly projections: ReadonlyArray<Projection.Any>
  /** Runs on the database alone, which the store may refuse. */
  readonly onDatabase: <A, E, R>(
    effect: Effect.Effect<A, E, R | SqlClient.SqlClient>
  ) => Effect.Effect<A, CliFailure, Exclude<R, SqlClient.SqlClient> | Settings>
  /** Runs on the store. */
  readonly onStore: <A, E, R>(
    effect: Effect.Effect<A, E, R | Services>
  ) => Effect.Effect<A, CliFailure, Exclude<R, Services> | Settings>
}

/** Makes the failures of a command line from errors. */
export const asFailure = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, CliFailure, R | Settings> =>
  effect.pipe(
    Effect.catch((error) =>
      Terminal.isQuitError(error)
        ? Effect.interrupt
        : Effect.flatMap(secrets, (known) => Effect.fail(failureOf(error, known)))
    )
  )

/** The program of some options. */
export const makeProgram = <E>({
  aggregates = [],
  database,
  layer,
  name = "eventsourcing",
  projections = []
}: Options<E>): Program => {
  const databaseLayer: Layer.Layer<SqlClient.SqlClient, E | CliFailure, Settings> = database ?? client
  const storages: Layer.Layer<Storages, E | PgStorage.PgStorageError, SqlClient.SqlClient> =
    layer ?? PgStorage.layer
  const services = Layer.mergeAll(
    Operations.layer({ aggregates, projections }),
    ProjectionManager.layer,
    TenantRegistry.layer,
    EventStore.layer
  ).pipe(Layer.provideMerge(storages), Layer.provide(databaseLayer))
  return {
    name,
    aggregates,
    projections,
    onDatabase: (effect) => asFailure(Effect.provide(effect, databaseLayer)),
    onStore: (effect) => asFailure(Effect.provide(effect, services))
  }
}

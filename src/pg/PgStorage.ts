/**
 * The driver for PostgreSQL: events, progress of projections and snapshots of one database.
 */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { layerPer } from "../internal/layerPer.ts"
import { AdministrationStorage } from "../driver/AdministrationStorage.ts"
import { EventStorage } from "../driver/EventStorage.ts"
import { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import type * as PgCheck from "./PgCheck.ts"
import * as administration from "./administration.ts"
import * as announcements from "./announcements.ts"
import * as events from "./events.ts"
import { perClient } from "./perClient.ts"
import * as projections from "./projections.ts"
import * as retention from "./retention.ts"
import * as snapshots from "./snapshots.ts"

export type { Retention } from "./retention.ts"

/** Settings of {@link layerWith}. */
export interface Options extends events.Options {
  /**
   * Removal of old rows. Expired command keys are removed once an hour, also those of idle tenants. Records of accesses across
   * tenants are kept for ever unless `accesses` limits them.
   */
  readonly retention?: retention.Retention | undefined
}

/** Reasons why a store does not start. */
export type PgStorageError =
  | PgCheck.SchemaOutdated
  | PgCheck.IsolationImpaired
  | PgCheck.PrivilegedLogin
  | StorageUnavailable

/** One store per client and settings. */
const storeOf = perClient(
  (client, options: Options) =>
    Effect.map(
      Effect.all([
        events.make(options),
        projections.make,
        snapshots.make,
        retention.start(client, options.retention ?? {})
      ]),
      ([ofEvents, ofProjections, ofSnapshots]) =>
        Context.make(EventStorage, ofEvents).pipe(
          Context.add(ProjectionStorage, ofProjections),
          Context.add(SnapshotStorage, ofSnapshots),
          Context.add(AdministrationStorage, administration.make(client, ofEvents, options.pageBytes))
        )
    ),
  ({
    announce = true,
    listen,
    onImpairedIsolation = "refuse",
    onPrivilegedLogin,
    provisionOnAppend = true,
    ...sizes
  }) =>
    JSON.stringify([
      sizes.moveWait,
      announce,
      announcements.keyOf(listen),
      onImpairedIsolation,
      onPrivilegedLogin,
      provisionOnAppend,
      sizes.pageBytes,
      sizes.groupCommit,
      sizes.groupLoads,
      sizes.retention
    ])
)

/**
 * A store in PostgreSQL, with settings.
 *
 * **Details**
 *
 * Needs a client of a migrated database: `PgClient.layer` or `PgEmbedded.layer`, with `PgMigrator.layer` on it if the program
 * migrates the database itself. With a `PgClient` the store is also notified of appends by other processes.
 *
 * A client has one store, with one group commit and one listener, even if a program builds this layer several times.
 * Another client has another store. Different settings on one client are different stores, which share the listener. A
 * store ends with the last scope it was built in.
 *
 * Fails with `SchemaOutdated` if the database is not migrated, with `IsolationImpaired` if something in it defeats the
 * isolation of tenants, with `PrivilegedLogin` if the login of the program holds every right in production, and with
 * `StorageUnavailable` if it cannot be reached.
 */
export const layerWith = (
  options: Options
): Layer.Layer<
  EventStorage | ProjectionStorage | SnapshotStorage | AdministrationStorage,
  PgStorageError,
  SqlClient.SqlClient
> =>
  layerPer([SqlClient.SqlClient], () =>
    Layer.effectContext(Effect.flatMap(SqlClient.SqlClient, (client) => storeOf(client, options)))
  )

/** A store in PostgreSQL. See {@link layerWith}. */
export const layer: Layer.Layer<
  EventStorage | ProjectionStorage | SnapshotStorage | AdministrationStorage,
  PgStorageError,
  SqlClient.SqlClient
> = layerWith({})

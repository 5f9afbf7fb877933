/**
 * The drivers that every suite runs on: memory, the embedded PGlite, and every PostgreSQL server of the run.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer } from "effect"
import type { SqlClient } from "effect/sql"
import type { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import type { EventStorage } from "../../src/driver/EventStorage.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import type { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import type { SnapshotStorage } from "../../src/driver/SnapshotStorage.ts"
import { servers } from "./Databases.ts"

type Storages = AdministrationStorage | EventStorage | ProjectionStorage | SnapshotStorage

/** A driver on a fresh, empty store. */
export interface Backend {
  readonly name: string
  readonly layer: Layer.Layer<Storages>
}

/** A driver on a fresh database, with the client of the program. */
export interface SqlBackend {
  readonly name: string
  readonly layer: Layer.Layer<Storages | SqlClient.SqlClient | PgClient.PgClient>
}

const onServers: ReadonlyArray<SqlBackend> = servers.map(({ name, freshDatabase }) => ({
  name,
  layer: PgStorage.layer.pipe(
    Layer.provideMerge(Layer.unwrap(Effect.map(freshDatabase, ({ app }) => PgClient.layer(app)))),
    Layer.orDie
  )
}))

const embedded: SqlBackend = {
  name: "PGlite",
  layer: PgStorage.layer.pipe(
    Layer.provideMerge(PgMigrator.layer),
    Layer.provideMerge(PgEmbedded.layer),
    Layer.orDie
  )
}

/** Drivers on PostgreSQL servers, which really work concurrently. */
export const serverBackends: ReadonlyArray<SqlBackend> = onServers

/** Drivers on a database. */
export const sqlBackends: ReadonlyArray<SqlBackend> = [embedded, ...onServers]

/** All drivers. */
export const backends: ReadonlyArray<Backend> = [
  {
    name: "memory",
    layer: MemoryStorage.layer
  },
  ...sqlBackends
]

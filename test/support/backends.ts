/**
 * The drivers that suites run on: memory, the embedded PGlite, and every PostgreSQL server of the run. The contracts of drivers
 * always run on all of them. Suites of the layers above run on PGlite in the long run only (see `vitest.config.ts`).
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
import { inThisRun } from "./pgliteRuns.ts"

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

/** All drivers on a database, for contracts of drivers. */
export const everySqlBackend: ReadonlyArray<SqlBackend> = [embedded, ...onServers]

/** All drivers, for contracts of drivers. */
export const everyBackend: ReadonlyArray<Backend> = [
  {
    name: "memory",
    layer: MemoryStorage.layer
  },
  ...everySqlBackend
]

/** Drivers on a database, for what is built on drivers. */
export const sqlBackends: ReadonlyArray<SqlBackend> = inThisRun(everySqlBackend)

/** Drivers, for what is built on them. */
export const backends: ReadonlyArray<Backend> = inThisRun(everyBackend)

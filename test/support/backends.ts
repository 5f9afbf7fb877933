/**
 * The drivers that every suite runs on: memory, the embedded PGlite, and every PostgreSQL server of the run.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer } from "effect"
import type { SqlClient } from "effect/sql"
import type * as EventStorage from "../../src/driver/EventStorage.ts"
import * as MemoryEventStorage from "../../src/memory/events.ts"
import * as MemoryProjectionStorage from "../../src/memory/projections.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgEventStorage from "../../src/pg/events.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import * as PgProjectionStorage from "../../src/pg/projections.ts"
import type * as ProjectionStorage from "../../src/driver/ProjectionStorage.ts"
import { servers } from "./Databases.ts"

/** A driver on a fresh, empty store. */
export interface Backend {
  readonly name: string
  readonly layer: Layer.Layer<EventStorage.EventStorage | ProjectionStorage.ProjectionStorage>
}

/** A driver on a fresh database, and the database's client as the program under test has it. */
export interface SqlBackend {
  readonly name: string
  readonly layer: Layer.Layer<
    EventStorage.EventStorage | ProjectionStorage.ProjectionStorage | SqlClient.SqlClient | PgClient.PgClient
  >
}

const onServers: ReadonlyArray<SqlBackend> = servers.map(({ name, freshDatabase }) => ({
  name,
  layer: PgProjectionStorage.layer.pipe(
    Layer.provideMerge(PgEventStorage.layer),
    Layer.provideMerge(Layer.unwrap(Effect.map(freshDatabase, ({ app }) => PgClient.layer(app)))),
    Layer.orDie
  )
}))

const embedded: SqlBackend = {
  name: "PGlite",
  layer: PgProjectionStorage.layer.pipe(
    Layer.provideMerge(PgEventStorage.layer),
    Layer.provideMerge(PgMigrator.layer),
    Layer.provideMerge(PgEmbedded.layer),
    Layer.orDie
  )
}

/** Drivers on PostgreSQL servers, where what is concurrent is really so. */
export const serverBackends: ReadonlyArray<SqlBackend> = onServers

/** Drivers on a database. */
export const sqlBackends: ReadonlyArray<SqlBackend> = [embedded, ...onServers]

/** All drivers. */
export const backends: ReadonlyArray<Backend> = [
  {
    name: "memory",
    layer: MemoryProjectionStorage.layer.pipe(Layer.provideMerge(MemoryEventStorage.layer))
  },
  ...sqlBackends
]

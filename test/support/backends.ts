/**
 * The drivers that every suite runs on: memory, the embedded PGlite, and every PostgreSQL server of the run.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer } from "effect"
import type { SqlClient } from "effect/sql"
import type * as EventStorage from "../../src/EventStorage.ts"
import * as MemoryEventStorage from "../../src/MemoryEventStorage.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgEventStorage from "../../src/pg/PgEventStorage.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import { servers } from "./Databases.ts"

/** A driver on a fresh, empty store. */
export interface Backend {
  readonly name: string
  readonly layer: Layer.Layer<EventStorage.EventStorage>
}

/** A driver on a fresh database, and the database's client as the program under test has it. */
export interface SqlBackend {
  readonly name: string
  readonly layer: Layer.Layer<EventStorage.EventStorage | SqlClient.SqlClient | PgClient.PgClient>
}

const onServers: ReadonlyArray<SqlBackend> = servers.map(({ name, freshDatabase }) => ({
  name,
  layer: PgEventStorage.layer.pipe(
    Layer.provideMerge(Layer.unwrap(Effect.map(freshDatabase, ({ app }) => PgClient.layer(app)))),
    Layer.orDie
  )
}))

const embedded: SqlBackend = {
  name: "PGlite",
  layer: PgEventStorage.layer.pipe(
    Layer.provideMerge(PgMigrator.layer),
    Layer.provideMerge(PgEmbedded.layer),
    Layer.orDie
  )
}

/** Drivers on a database. */
export const sqlBackends: ReadonlyArray<SqlBackend> = [embedded, ...onServers]

/** All drivers. */
export const backends: ReadonlyArray<Backend> = [
  { name: "memory", layer: MemoryEventStorage.layer },
  ...sqlBackends
]

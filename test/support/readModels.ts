/** Databases with tables of the program, and the owner's client beside that of the program. */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import type { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import type { SnapshotStorage } from "../../src/driver/SnapshotStorage.ts"
import type * as EventStorage from "../../src/driver/EventStorage.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import type * as ProjectionStorage from "../../src/driver/ProjectionStorage.ts"
import { servers } from "./Databases.ts"
import { inThisRun } from "./pgliteRuns.ts"

/** The client of the database's owner. */
export class Owner extends Context.Service<Owner, SqlClient.SqlClient>()("test/Owner") {}

/** A driver on a fresh database with tables. */
export interface ReadModelBackend {
  readonly name: string
  readonly layer: Layer.Layer<
    | AdministrationStorage
    | EventStorage.EventStorage
    | ProjectionStorage.ProjectionStorage
    | SnapshotStorage
    | SqlClient.SqlClient
    | PgClient.PgClient
    | Owner
  >
}

/** Drivers on databases in which the owner has run these statements. */
export const backendsWith = (statements: ReadonlyArray<string>): ReadonlyArray<ReadModelBackend> => {
  const setup = (sql: SqlClient.SqlClient) =>
    Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })
  const drivers = PgStorage.layer
  const asOwner = Layer.effect(Owner, Effect.tap(SqlClient.SqlClient, setup))
  const embedded: ReadModelBackend = {
    name: "PGlite",
    layer: drivers.pipe(
      Layer.provideMerge(asOwner),
      Layer.provideMerge(PgMigrator.layer),
      Layer.provideMerge(PgEmbedded.layer),
      Layer.orDie
    )
  }
  return inThisRun([
    embedded,
    ...servers.map(({ name, freshDatabase }) => ({
      name,
      layer: drivers.pipe(
        Layer.provideMerge(
          Layer.unwrap(
            Effect.map(freshDatabase, ({ app, owner }) =>
              Layer.merge(
                PgClient.layer(app),
                Layer.provide(asOwner, PgClient.layer({ ...owner, maxConnections: 1 }))
              )
            )
          )
        ),
        Layer.orDie
      )
    }))
  ])
}

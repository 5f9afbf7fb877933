import { PgClient } from "@effect/sql-pg"
import { PGlite } from "@electric-sql/pglite"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import { execFile, spawnSync } from "node:child_process"
import { randomUUID } from "node:crypto"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import { type CatalogueObject, catalogueObjects } from "../support/catalogueObjects.ts"
import { type Config, servers } from "../support/Databases.ts"

const folder = fileURLToPath(new URL("../../migrations/", import.meta.url))

const objects = SqlClient.SqlClient.use((sql) => sql.unsafe<CatalogueObject>(catalogueObjects))

/** A PGlite for one test, without the library's client: it gets the statements that psql would send. */
const bare = Effect.acquireRelease(
  Effect.promise(() => PGlite.create()),
  (database) => Effect.promise(() => database.close())
)

/** Runs install.sql as psql does: statements in order, included files in their place, conditions by their query. */
const runList = async (database: PGlite, directory: string): Promise<void> => {
  let skipping = false
  let pending = false
  for (const line of Fs.readFileSync(Path.join(directory, "install.sql"), "utf8").split("\n")) {
    const [command = "", argument = ""] = line.split(" ")
    if (command === "\\endif") skipping = false
    else if (skipping || line === "" || line.startsWith("--")) continue
    else if (command === "\\if") skipping = !pending
    else if (command === "\\ir") await database.exec(Fs.readFileSync(Path.join(directory, argument), "utf8"))
    else if (line.endsWith("\\gset")) {
      const { rows } = await database.query<{ pending: boolean }>(line.replace("\\gset", ""))
      pending = rows[0]?.pending === true
    } else await database.exec(line)
  }
}

/** A copy of migrations/ with a change of data in its list. */
const withChange: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => {
    const copy = Fs.mkdtempSync(Path.join(tmpdir(), "eventsourcing-migrations-"))
    Fs.cpSync(folder, copy, { recursive: true })
    Fs.mkdirSync(Path.join(copy, "changes"))
    Fs.writeFileSync(
      Path.join(copy, "changes/0001_example.sql"),
      "insert into eventsourcing.projection_versions select 'example', count(*) from eventsourcing.projection_versions;\n"
    )
    const list = Path.join(copy, "install.sql")
    const change = [
      "select not exists (select from eventsourcing.schema_files where path = 'changes/0001_example.sql') as pending \\gset",
      "\\if :pending",
      "\\ir changes/0001_example.sql",
      "insert into eventsourcing.schema_files (path, sha256) values ('changes/0001_example.sql', 'applied by psql');",
      "\\endif"
    ].join("\n")
    const text = Fs.readFileSync(list, "utf8")
    Fs.writeFileSync(list, text.replace("\\ir privileges.sql", `${change}\n\\ir privileges.sql`))
    return copy
  }),
  (copy) => Effect.sync(() => Fs.rmSync(copy, { recursive: true, force: true }))
)

const byName = (rows: ReadonlyArray<CatalogueObject>): Readonly<Record<string, string>> =>
  Object.fromEntries(rows.map(({ definition, object }) => [object, definition]))

/** Reads the catalogue of a bare PGlite, and the rows that the change of data has written. */
const look = (database: PGlite) => ({
  objects: Effect.promise(() => database.query<CatalogueObject>(catalogueObjects)).pipe(
    Effect.map(({ rows }) => rows)
  ),
  changed: Effect.promise(() =>
    database.query("select version from eventsourcing.projection_versions where projection = 'example'")
  ).pipe(Effect.map(({ rows }) => rows))
})

describe("install.sql", () => {
  it.live(
    "creates the same database as PgMigrator, object by object, each with a comment, and changes data once",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const database = yield* bare
          const { changed, objects: found } = look(database)
          yield* Effect.promise(() => runList(database, folder))
          const made = yield* found
          assert.isAbove(made.length, 100)
          const migrated = yield* Effect.andThen(PgMigrator.run, objects).pipe(
            Effect.provide(PgEmbedded.layerWith({ migrate: false }), { local: true })
          )
          assert.deepStrictEqual(byName(made), byName(migrated))
          const bareOnes = made.filter(
            ({ comment, object }) =>
              comment === null && /^(schema|function|procedure|table|type|role) /.test(object)
          )
          assert.deepStrictEqual(
            bareOnes.map(({ object }) => object),
            []
          )

          const directory = yield* withChange
          yield* Effect.promise(() => runList(database, directory))
          yield* Effect.promise(() => runList(database, directory))
          assert.deepStrictEqual(byName(yield* found), byName(made))
          assert.deepStrictEqual(yield* changed, [{ version: 0 }])
        })
      ),
    120_000
  )
})

const psql = spawnSync("psql", ["--version"]).status === 0

describe.each(servers)("install.sql on $name", (server) => {
  const emptyDatabase = Effect.gen(function* () {
    const { owner } = yield* server.freshDatabase
    const name = `${String(owner.database)}_${randomUUID().slice(0, 8)}`
    return yield* Effect.acquireRelease(
      as(
        owner,
        SqlClient.SqlClient.use((sql) => sql`create database ${sql(name)} template template0`)
      ).pipe(Effect.as({ ...owner, database: name })),
      () =>
        Effect.orDie(
          as(
            owner,
            SqlClient.SqlClient.use((sql) => sql`drop database ${sql(name)} with (force)`)
          )
        )
    )
  })

  const as = <A, E>(config: Config, body: Effect.Effect<A, E, SqlClient.SqlClient>) =>
    Effect.provide(body, PgClient.layer({ ...config, maxConnections: 1 }), { local: true })

  const run = ({ database, host, password, port, url, username }: Config, directory: string) =>
    Effect.promise(() => {
      const read = (secret: unknown): string =>
        Redacted.isRedacted(secret) ? String(Redacted.value(secret)) : ""
      const own = url === undefined ? undefined : new URL(read(url))
      const env = {
        ...process.env,
        PGHOST: String(host ?? own?.hostname),
        PGPORT: String(port ?? own?.port),
        PGUSER: String(username ?? own?.username),
        PGPASSWORD: password === undefined ? decodeURIComponent(own?.password ?? "") : read(password),
        PGDATABASE: String(database)
      }
      const args = ["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", Path.join(directory, "install.sql")]
      return new Promise<string>((resolve) => {
        execFile("psql", args, { env }, (error, _, stderr) => resolve(error === null ? "" : stderr))
      })
    })

  it.live.skipIf(!psql)(
    "creates the same database with psql as PgMigrator does, object by object, and changes data once",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const [one, other] = [yield* emptyDatabase, yield* emptyDatabase]
          assert.strictEqual(yield* run(one, folder), "")
          yield* as(other, PgMigrator.run)
          assert.deepStrictEqual(byName(yield* as(one, objects)), byName(yield* as(other, objects)))
          const changed = yield* withChange
          assert.strictEqual(yield* run(one, changed), "")
          assert.strictEqual(yield* run(one, changed), "")
          assert.deepStrictEqual(
            yield* as(
              one,
              SqlClient.SqlClient.use(
                (sql) => sql`select projection, version from eventsourcing.projection_versions`
              )
            ),
            [{ projection: "example", version: 0 }]
          )
          // PgMigrator then only records the files
          assert.lengthOf(yield* as(one, PgMigrator.run), PgMigrator.files.length)
          assert.deepStrictEqual(byName(yield* as(one, objects)), byName(yield* as(other, objects)))
        })
      ),
    120_000
  )
})

/**
 * `npx tsx scripts/keep-release.ts`: keeps the next release in `test/released/<schema number>/`, for the test
 * that runs it beside newer schemas: the package from `npm pack`, a dump of its schema, and the program of the test,
 * written for its API. An unreleased number is replaced.
 *
 * The dump needs `pg_dump` with its server, as Debian installs them; `PG_NATIVE` names another folder that has them in `bin`.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { build } from "esbuild"
import { execFileSync } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import * as PgMigrator from "../src/pg/PgMigrator.ts"
import { schemaNumber } from "../src/pg/schemaNumber.ts"
import { configOf } from "../test/support/Databases.ts"
import { installedPostgres } from "../test/support/installedPostgres.ts"
import { type Connection, start } from "../test/support/PgServer.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

/** The schema from `pg_dump`, without commands that only its own psql understands. */
const dump = (folder: string, { host, password, port, user }: Connection): string =>
  execFileSync(
    Path.join(folder, "bin", "pg_dump"),
    ["--schema-only", "--schema=eventsourcing*", "postgres"],
    {
      env: { ...process.env, PGHOST: host, PGPORT: String(port), PGUSER: user, PGPASSWORD: password },
      encoding: "utf8",
      maxBuffer: 1 << 26
    }
  )
    .split("\n")
    .filter((line) => !line.startsWith("\\"))
    .join("\n")
    .replaceAll(/\n{3,}/g, "\n\n")

const main = async (): Promise<void> => {
  const folder = installedPostgres()
  if (folder === undefined)
    throw new Error(
      "A dump needs PostgreSQL's server and pg_dump: install them, or name their folder in PG_NATIVE"
    )
  const target = Path.join(root, "test/released", String(schemaNumber))
  const packing = mkdtempSync(Path.join(tmpdir(), "effect-eventsourcing-release-"))
  try {
    // The prepack script builds it.
    execFileSync("npm", ["pack", "--silent", "--pack-destination", packing], { cwd: root, stdio: "inherit" })
    const [tarball = ""] = readdirSync(packing)
    const server = await start({ native: folder, settings: { fsync: "off" } })
    let schema: string
    try {
      await Effect.runPromise(Effect.provide(PgMigrator.run, PgClient.layer(configOf(server))))
      schema = dump(folder, server)
    } finally {
      await server.stop()
    }
    rmSync(target, { recursive: true, force: true })
    mkdirSync(target, { recursive: true })
    copyFileSync(Path.join(packing, tarball), Path.join(target, "package.tgz"))
    await build({
      entryPoints: [Path.join(root, "test/support/rollingProgram.ts")],
      outfile: Path.join(target, "program.mjs"),
      platform: "node",
      format: "esm",
      target: "node20"
    })
    writeFileSync(Path.join(target, "schema.sql"), schema)
    console.log(`schema ${schemaNumber} is kept in ${Path.relative(root, target)}`)
  } finally {
    rmSync(packing, { recursive: true, force: true })
  }
}

await main()

/** pg_dump and other programs of PostgreSQL, and the servers that they fit. */
import { Effect, Redacted } from "effect"
import { execFile } from "node:child_process"
import * as Path from "node:path"
import { type Config, configOf, freshDatabase, servers, type TestServer } from "./Databases.ts"
import { installedPostgres } from "./installedPostgres.ts"
import { start } from "./PgServer.ts"

/** The end of a program. */
export interface Ended {
  readonly code: number
  readonly output: string
}

/** Runs one of PostgreSQL's programs on a database. */
export const run = (program: string, config: Config, ...args: ReadonlyArray<string>): Promise<Ended> =>
  new Promise((resolve) => {
    const url = new URL(config.url === undefined ? "postgres://localhost" : Redacted.value(config.url))
    const password = Redacted.isRedacted(config.password) ? Redacted.value(config.password) : url.password
    const child = execFile(
      program,
      args,
      {
        env: {
          ...process.env,
          PGHOST: config.host ?? url.hostname,
          PGPORT: String(config.port ?? (url.port || "5432")),
          PGDATABASE: config.database ?? url.pathname.slice(1),
          PGUSER: config.username ?? url.username,
          PGPASSWORD: password
        },
        maxBuffer: 1 << 26
      },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : (child.exitCode ?? 1), output: `${stdout}${stderr}` })
    )
  })

/** The major version of a program; 0 if it is not installed. */
export const majorOf = async (program: string): Promise<number> => {
  const { code, output } = await run(program, {}, "--version")
  return code === 0 ? Number(/(\d+)\./.exec(output)?.[1] ?? 0) : 0
}

/** The folder of pg_dump and pg_restore; empty for those in the path. */
export interface Installed extends TestServer {
  readonly bin: string
}

const folder = installedPostgres()
/** Servers with the programs for backups: those of the run, and one that is installed beside its programs. */
export const serversWithPrograms: ReadonlyArray<Installed> = [
  ...servers.map(({ freshDatabase: fresh, name }) => ({ name, freshDatabase: fresh, bin: "" })),
  ...(folder === undefined
    ? []
    : [
        {
          name: `the server in ${folder}`,
          bin: Path.join(folder, "bin"),
          freshDatabase: Effect.acquireRelease(
            Effect.promise(() => start({ native: folder, settings: { fsync: "off" } })),
            (server) => Effect.promise(server.stop)
          ).pipe(Effect.flatMap((server) => freshDatabase(configOf(server))))
        }
      ])
]

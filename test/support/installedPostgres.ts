/** PostgreSQL as a package of the operating system installs it: the server, with `pg_dump` and other programs of its version. */
import { existsSync, readdirSync } from "node:fs"
import * as Path from "node:path"

/** A folder whose `bin` has the server and `pg_dump`: the newest of Debian, or the one that `PG_NATIVE` names. */
export const installedPostgres = (): string | undefined => {
  const debian = "/usr/lib/postgresql"
  const versions = existsSync(debian) ? readdirSync(debian).toSorted((a, b) => Number(b) - Number(a)) : []
  const named = process.env["PG_NATIVE"]
  const folders = named === undefined ? versions.map((version) => Path.join(debian, version)) : [named]
  return folders.find((folder) =>
    ["initdb", "postgres", "pg_dump"].every((program) => existsSync(Path.join(folder, "bin", program)))
  )
}

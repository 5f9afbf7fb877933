/**
 * The SQL files of `migrations/` and of `migrations/vault/`, in the order of their `install.sql`. This module reads them from their
 * folders; `npm run build` replaces it with a module that contains their texts, so that a bundled program needs no folder.
 */
import { readFileSync } from "node:fs"
import { includes } from "./installList.ts"

/** A file of `migrations/`. */
export interface SqlFile {
  /** The path below `migrations/`, such as `append/append.sql`. */
  readonly path: string
  /** The content. */
  readonly sql: string
}

const read = (path: string): string =>
  readFileSync(new URL(`../../migrations/${path}`, import.meta.url), "utf8")

const listed = (folder: string): ReadonlyArray<SqlFile> =>
  includes(read(`${folder}install.sql`)).map((path) => ({
    path: folder + path,
    sql: read(folder + path)
  }))

/** The files, in the order in which they are applied. */
export const sqlFiles: ReadonlyArray<SqlFile> = listed("")

/** The files of the key vault, which is a database of its own. */
export const vaultFiles: ReadonlyArray<SqlFile> = listed("vault/")

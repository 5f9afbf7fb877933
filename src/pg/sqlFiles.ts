/**
 * The SQL files of `migrations/`, in the order of `install.sql`. This module reads them from their folder; `npm run build`
 * replaces it with a module that contains their texts, so that a bundled program needs no folder.
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

/** The files, in the order in which they are applied. */
export const sqlFiles: ReadonlyArray<SqlFile> = includes(read("install.sql")).map((path) => ({
  path,
  sql: read(path)
}))

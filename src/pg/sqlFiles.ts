/**
 * The SQL files of `migrations/`, in the order of `install.sql`. Here they are read from their folder; `npm run build`
 * puts a module with their texts in this one's place, so that a bundled program needs no folder.
 */
import { readFileSync } from "node:fs"
import { includes } from "./installList.ts"

/** One file of `migrations/`. */
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

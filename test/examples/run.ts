/**
 * Runs the examples as a user does: each in a process of its own.
 */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"

/** The root of the package. */
export const root: string = fileURLToPath(new URL("../..", import.meta.url))

/** How a program ended, and what it said. */
export interface Outcome {
  readonly status: number | null
  readonly output: string
  readonly errors: string
}

/** Runs a file of `examples/`. It sees no `DATABASE_URL` but the one that is given. */
export const run = (
  example: string,
  args: ReadonlyArray<string> = [],
  databaseUrl?: string
): Promise<Outcome> =>
  new Promise((resolve) => {
    const { DATABASE_URL: _, ...environment } = process.env
    const env = databaseUrl === undefined ? environment : { ...environment, DATABASE_URL: databaseUrl }
    const child = execFile(
      process.execPath,
      ["--import", "tsx", `examples/${example}.ts`, ...args],
      { cwd: root, env },
      (_error, output, errors) => resolve({ status: child.exitCode, output, errors })
    )
  })

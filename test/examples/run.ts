/**
 * Runs the examples as a user does: each in a process of its own.
 */
import { type ChildProcess, execFile } from "node:child_process"
import { fileURLToPath } from "node:url"

/** The root of the package. */
export const root: string = fileURLToPath(new URL("../..", import.meta.url))

/** How a program ended, and what it said. */
export interface Outcome {
  readonly status: number | null
  readonly output: string
  readonly errors: string
}

/** Starts a file of `examples/`. It sees no `DATABASE_URL` but the one that is given. */
const start = (
  example: string,
  args: ReadonlyArray<string>,
  databaseUrl: string | undefined,
  onEnd: (outcome: Outcome) => void
): ChildProcess => {
  const { DATABASE_URL: _, ...environment } = process.env
  const env = databaseUrl === undefined ? environment : { ...environment, DATABASE_URL: databaseUrl }
  const child = execFile(
    process.execPath,
    ["--import", "tsx", `examples/${example}.ts`, ...args],
    { cwd: root, env },
    (_error, output, errors) => onEnd({ status: child.exitCode, output, errors })
  )
  return child
}

/** Runs a file of `examples/`. */
export const run = (
  example: string,
  args: ReadonlyArray<string> = [],
  databaseUrl?: string
): Promise<Outcome> => new Promise((resolve) => void start(example, args, databaseUrl, resolve))

/** Runs a file of `examples/`, and kills it as soon as it has said something on its standard error. */
export const runUntil = (said: RegExp, example: string, args: ReadonlyArray<string>): Promise<Outcome> =>
  new Promise((resolve) => {
    const child = start(example, args, undefined, resolve)
    let errors = ""
    child.stderr?.on("data", (text: string) => {
      errors += text
      if (said.test(errors)) child.kill("SIGKILL")
    })
  })

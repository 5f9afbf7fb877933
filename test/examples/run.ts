/**
 * Runs the examples in separate processes: as a user does, or bundled into one file if the same example is run
 * again and only its outcome counts.
 */
import { type ChildProcess, execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { bundled } from "../support/programs.ts"

/** The root of the package. */
export const root: string = fileURLToPath(new URL("../..", import.meta.url))

/** The exit code and the output of a program. */
export interface Outcome {
  readonly status: number | null
  readonly output: string
  readonly errors: string
}

/** Starts a program. It sees only the given `DATABASE_URL`. */
const start = (
  program: ReadonlyArray<string>,
  databaseUrl: string | undefined,
  onEnd: (outcome: Outcome) => void
): ChildProcess => {
  const { DATABASE_URL: _, ...environment } = process.env
  const env = databaseUrl === undefined ? environment : { ...environment, DATABASE_URL: databaseUrl }
  // The embedded database's WebAssembly is not optimised: that takes longer than a short program runs.
  const child = execFile(
    process.execPath,
    ["--liftoff-only", ...program],
    { cwd: root, env },
    (_error, output, errors) => onEnd({ status: child.exitCode, output, errors })
  )
  return child
}

const asDocumented = (example: string, args: ReadonlyArray<string>): ReadonlyArray<string> => [
  "--import",
  "tsx",
  `examples/${example}.ts`,
  ...args
]

/** Runs a file of `examples/` as in its first lines. */
export const run = (
  example: string,
  args: ReadonlyArray<string> = [],
  databaseUrl?: string
): Promise<Outcome> => new Promise((resolve) => void start(asDocumented(example, args), databaseUrl, resolve))

/** Runs a file of `examples/` bundled, which starts a second and a half sooner. */
export const runBundled = async (
  example: string,
  args: ReadonlyArray<string> = [],
  databaseUrl?: string
): Promise<Outcome> => {
  const file = await bundled(`examples/${example}.ts`)
  return new Promise((resolve) => void start([file, ...args], databaseUrl, resolve))
}

/** Runs a file of `examples/` bundled, and kills it at its first output on standard error. */
export const runUntil = async (
  said: RegExp,
  example: string,
  args: ReadonlyArray<string>
): Promise<Outcome> => {
  const file = await bundled(`examples/${example}.ts`)
  return new Promise((resolve) => {
    const child = start([file, ...args], undefined, resolve)
    let errors = ""
    child.stderr?.on("data", (text: string) => {
      errors += text
      if (said.test(errors)) child.kill("SIGKILL")
    })
  })
}

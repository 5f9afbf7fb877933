/** Runs the command line in this process, with its output captured. */
import { NodeServices } from "@effect/platform-node"
import { ConfigProvider, Console, Effect, Layer, Queue, Redacted, Stdio, Stream, Terminal } from "effect"
import * as Cli from "../../src/cli/Cli.ts"
import type { Config as Connection } from "./Databases.ts"

/** The end of a command line. */
export interface Ended {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** The surroundings of a command line. */
export interface Surroundings {
  readonly env?: Readonly<Record<string, string>>
  /** Columns of a terminal; without one, the output is no terminal. */
  readonly columns?: number
  /** Keys that are pressed; without them, nobody is there. */
  readonly keys?: string
  /** Runs for each line of the standard output. */
  readonly onOutput?: (line: string) => void
}

const terminal = ({ columns = 0, keys }: Surroundings) =>
  Layer.succeed(
    Terminal.Terminal,
    Terminal.make({
      columns: Effect.succeed(columns),
      rows: Effect.succeed(24),
      size: Effect.die("not used"),
      readInput: Effect.gen(function* () {
        const queue = yield* Queue.unbounded<Terminal.UserInput>()
        for (const key of keys ?? "")
          yield* Queue.offer(queue, {
            input: { _tag: "Some", value: key } as never,
            key: { name: key === "\r" ? "return" : key, ctrl: false, meta: false, shift: false }
          })
        return queue as never
      }),
      readLine: Effect.die("not used"),
      display: () => Effect.void
    })
  )

/** Runs arguments with a command. A failure is not an error here: its exit code is. */
export const runCommand = (
  command: Cli.CliCommand,
  args: ReadonlyArray<string>,
  surroundings: Surroundings = {}
): Effect.Effect<Ended> =>
  Effect.gen(function* () {
    let stdout = ""
    let stderr = ""
    const write =
      (to: "out" | "err") =>
      (...parts: ReadonlyArray<unknown>) => {
        const line = `${parts.join(" ")}\n`
        if (to === "out") {
          stdout += line
          surroundings.onOutput?.(line)
        } else stderr += line
      }
    const captured = Object.assign(Object.create(globalThis.console) as Console.Console, {
      log: write("out"),
      error: write("err")
    })
    const stdio = Stdio.layerTest({
      args: Effect.succeed(args),
      stdinIsTerminal: Effect.succeed(surroundings.keys !== undefined),
      stdoutIsTerminal: Effect.succeed(surroundings.columns !== undefined),
      stderrIsTerminal: Effect.succeed(surroundings.columns !== undefined),
      stdin: Stream.empty
    })
    const environment = ConfigProvider.layer(ConfigProvider.fromUnknown(surroundings.env ?? {}))
    const exit = yield* Cli.runWith({ version: "1.2.3", args })(command).pipe(
      Effect.provide(
        Layer.mergeAll(stdio, terminal(surroundings), environment).pipe(
          Layer.provideMerge(NodeServices.layer)
        )
      ),
      Effect.provideService(Console.Console, captured),
      Effect.exit
    )
    return { exitCode: Cli.exitCodeOf(exit), stdout, stderr }
  })

/** The URL of a connection. */
export const urlOf = ({ database, host, password, port, username, url }: Connection): string =>
  url !== undefined
    ? Redacted.value(url)
    : `postgresql://${username ?? "postgres"}:${Redacted.isRedacted(password) ? Redacted.value(password) : ""}@${host}:${port}/${database}`

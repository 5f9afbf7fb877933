/**
 * The command line for operators: `npx eventsourcing`, and the same commands in a program that knows aggregates and projections.
 */
import { Console, Effect, type FileSystem, type Path, Stdio, type Terminal } from "effect"
import { type CliError, Command } from "effect/cli"
import type { ChildProcessSpawner } from "effect/process"
import type * as Projection from "../projection/Projection.ts"
import { exportTenant, importTenant } from "./commands/archive.ts"
import { audit } from "./commands/audit.ts"
import { completions } from "./commands/completions.ts"
import { deadLetters } from "./commands/deadLetters.ts"
import { doctor } from "./commands/doctor.ts"
import { erase } from "./commands/erase.ts"
import { forget } from "./commands/forget.ts"
import { inspect } from "./commands/inspect.ts"
import { migrate } from "./commands/migrate.ts"
import { move } from "./commands/move.ts"
import { projections } from "./commands/projections.ts"
import { rebuild } from "./commands/rebuild.ts"
import { stream } from "./commands/stream.ts"
import { tail } from "./commands/tail.ts"
import { tenants } from "./commands/tenants.ts"
import { trace } from "./commands/trace.ts"
import { usage } from "./commands/usage.ts"
import { verify } from "./commands/verify.ts"
import { CliFailure, exitCodes } from "./failures.ts"
import { clean } from "./output.ts"
import { type Handlers, makeProgram, type Options, type Program } from "./program.ts"
import { globalFlags } from "./settings.ts"

export { CliFailure, exitCodeOf, exitCodes } from "./failures.ts"
export type { Handlers, Options, Storages } from "./program.ts"

/** The platform that commands run on: `NodeServices.layer` of `@effect/platform-node` provides it. */
export type Platform =
  | FileSystem.FileSystem
  | Path.Path
  | Stdio.Stdio
  | Terminal.Terminal
  | ChildProcessSpawner.ChildProcessSpawner

/** The command with all its subcommands. */
export type CliCommand = Command.Command<"eventsourcing", {}, {}, CliFailure, Platform>

/** All commands that work on a store. */
const commandsOf = (program: Program) =>
  [
    migrate(program),
    doctor(program),
    tenants(program),
    tail(program),
    stream(program),
    trace(program),
    projections(program),
    deadLetters(program),
    rebuild(program),
    verify(program),
    usage(program),
    exportTenant(program),
    importTenant(program),
    move(program),
    erase(program),
    forget(program),
    audit(program),
    inspect(program)
  ] as const

/**
 * The commands for a program: `migrate`, `doctor`, `tenants`, `tail`, `stream`, `trace` and all others, as one command that can be run
 * ({@link run}) or put below another one (`Command.withSubcommands`).
 *
 * **Details**
 *
 * With aggregates they fold states and show events as they are read now; with projections they count the remaining work. Without
 * options these are the commands of `npx eventsourcing`.
 *
 * Each look and each act is recorded with its actor and reason (`--actor`, `--reason`).
 *
 * **Example**
 *
 * ```ts
 * Cli.make({ aggregates: [Order], projections: [Orders] }).pipe(
 *   Cli.run({ version: "1.0.0" }),
 *   Effect.provide(NodeServices.layer),
 *   NodeRuntime.runMain
 * )
 * ```
 */
export const make = <E = never, const Ps extends ReadonlyArray<Projection.Any> = readonly []>(
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only projections without requirements let the options be left out
  ...[options = {} as Options<E, Ps>]: [Handlers<Ps>] extends [never]
    ? [options?: Options<E, Ps>]
    : [options: Options<E, Ps>]
): CliCommand => {
  const program = makeProgram(options)
  // The scripts for shells complete the whole tree, which has this command.
  const tree: Array<Command.Command.Any> = []
  const root = Command.make("eventsourcing").pipe(
    Command.withDescription("Operate a multi-tenant event store on PostgreSQL"),
    Command.withSubcommands([...commandsOf(program), completions(program.name, tree)]),
    Command.withGlobalFlags(globalFlags)
  )
  tree.push(root)
  return root
}

/** The failure of a wrong command line; none for a help text. Effect has printed it. */
const usageOf = (error: CliError.CliError): Effect.Effect<void, CliFailure> =>
  error._tag === "ShowHelp" && error.errors.length === 0
    ? Effect.void
    : Effect.fail(
        new CliFailure({
          exitCode: exitCodes.usage,
          message: "",
          kind: error._tag,
          next: [],
          silent: true
        })
      )

/** Prints a failure: a JSON document on the standard error if the command line asks for JSON, else sentences. */
const report = (failure: CliFailure, isJson: boolean): Effect.Effect<void> =>
  failure.silent
    ? Effect.void
    : isJson
      ? Console.error(
          JSON.stringify({
            error: failure.kind,
            message: failure.message,
            exitCode: failure.exitCode,
            next: failure.next
          })
        )
      : Console.error(
          [
            clean(failure.message),
            ...failure.next.map(({ command, purpose }) => clean(`→ ${purpose}: ${command}`))
          ].join("\n")
        )

const withFailures = (
  args: ReadonlyArray<string>,
  running: Effect.Effect<void, CliFailure | CliError.CliError, Platform>
): Effect.Effect<void, CliFailure, Platform> =>
  running.pipe(
    Effect.catchIf((error) => !(error instanceof CliFailure), usageOf),
    Effect.tapError((failure) => report(failure, args.includes("--json")))
  )

/**
 * Runs a command on given arguments. Failures are printed, and have an exit code ({@link exitCodes}), which `NodeRuntime.runMain`
 * passes on.
 */
export const runWith =
  (options: { readonly version: string; readonly args: ReadonlyArray<string> }) =>
  (command: CliCommand): Effect.Effect<void, CliFailure, Platform> =>
    withFailures(options.args, Command.runWith(command, options)(options.args))

/** Runs a command on the arguments of the process. See {@link runWith}. */
export const run =
  (options: { readonly version: string }) =>
  (command: CliCommand): Effect.Effect<void, CliFailure, Platform> =>
    Stdio.Stdio.use(({ args }) =>
      Effect.flatMap(args, (given) => runWith({ ...options, args: given })(command))
    )

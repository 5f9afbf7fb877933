/** Failures of the command line, and their exit codes. */
import { Cause, Exit, Predicate, Runtime, Schema } from "effect"

/** The exit codes. */
export const exitCodes = {
  /** It is done. */
  ok: 0,
  /** It failed: the database cannot be reached, or something unexpected happened. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** It ran, and found something: a problem, a broken chain, a migration that is not applied. */
  findings: 3,
  /** It was refused: nobody confirmed it, or the store does not allow it. Nothing was changed. */
  refused: 4,
  /** It was interrupted (Ctrl-C). Its last lines say how to go on. */
  interrupted: 130
} as const

/** Raised when a command does not end well. The message is for people, and has no secret. */
export class CliFailure extends Schema.TaggedError<CliFailure>()("CliFailure", {
  /** The exit code of the process. */
  exitCode: Schema.Int,
  message: Schema.String,
  /** The tag of the error; `CliFailure` for one of the command line itself. */
  kind: Schema.String,
  /** The commands that help. */
  next: Schema.Array(Schema.Struct({ purpose: Schema.String, command: Schema.String })),
  /** True if nothing is left to print. */
  silent: Schema.Boolean
}) {
  override readonly [Runtime.errorExitCode]: number = this.exitCode
  override readonly [Runtime.errorReported] = false
}

type Next = CliFailure["next"]

const failure =
  (exitCode: number, silent = false) =>
  (message: string, next: Next = []): CliFailure =>
    new CliFailure({ exitCode, message, next, silent, kind: "CliFailure" })

/** A wrong command line. */
export const wrongUsage = failure(exitCodes.usage)
/** A command that was not confirmed, or cannot be carried out here. */
export const refused = failure(exitCodes.refused)
/** A command whose findings are printed. */
export const found = (): CliFailure => failure(exitCodes.findings, true)("")

/** Tags of errors by which the store refuses something: nothing was changed. */
const refusals = new Set([
  "ActionRefused",
  "ActionUnavailable",
  "CompressionUnavailable",
  "InvalidArchive",
  "InvalidInput",
  "SealedArchive",
  "TenantRefused",
  "TenantStateConflict"
])

/** Tags of errors that are findings, also below an action that failed. */
const findings = new Set(["HashChainBroken", "PositionDiverged", "IsolationImpaired", "SchemaOutdated"])

/** The tag of the error below a failed action, or of the error. */
const causeOf = (error: unknown, kind: string): string =>
  kind === "ActionFailed" && Predicate.hasProperty(error, "error") && Predicate.isString(error.error)
    ? error.error
    : kind

const tagOf = (error: unknown): string =>
  Predicate.hasProperty(error, "_tag") && Predicate.isString(error._tag) ? error._tag : "Error"

const messageOf = (error: unknown): string =>
  Predicate.hasProperty(error, "message") && Predicate.isString(error.message) && error.message !== ""
    ? error.message
    : tagOf(error)

/** A text in which secrets, and passwords in URLs, are replaced. */
const withoutSecrets = (text: string, secrets: ReadonlyArray<string>): string =>
  secrets
    .filter((secret) => secret !== "")
    .reduce((rest, secret) => rest.replaceAll(secret, "<redacted>"), text)
    .replaceAll(/(\w+:\/\/[^\s:/@]*):[^\s@]*@/g, "$1:<redacted>@")

/** The failure of an error. Secrets are taken out of its message. */
export const failureOf = (error: unknown, secrets: ReadonlyArray<string> = []): CliFailure => {
  if (error instanceof CliFailure) return error
  const kind = tagOf(error)
  const hint = kind === "ActionUnavailable" ? ". Put the commands into your own program with Cli.make." : ""
  return new CliFailure({
    exitCode: refusals.has(kind)
      ? exitCodes.refused
      : findings.has(causeOf(error, kind))
        ? exitCodes.findings
        : exitCodes.failed,
    message: withoutSecrets(messageOf(error) + hint, secrets),
    kind,
    next: [],
    silent: false
  })
}

/** The exit code of a command line that has ended. */
export const exitCodeOf = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit)) return exitCodes.ok
  return Cause.hasInterruptsOnly(exit.cause)
    ? exitCodes.interrupted
    : Runtime.getErrorExitCode(Cause.squash(exit.cause))
}

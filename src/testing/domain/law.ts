/** Checks laws and reports counterexamples. */
import { Arbitrary, Effect } from "effect"
import type { Command, Played, Step } from "./history.ts"
import { happens, showCommand } from "./history.ts"
import { isFrozenError } from "./purity.ts"
import { differenceOfTexts, indent, show, showOnLines } from "./show.ts"

/** The number and choice of values to try. */
export interface CheckOptions {
  /** Number of values to try. Default: 100; for the isolation of tenants, where each value is a whole scenario, 20. */
  readonly runs?: number | undefined
  /** Size of the values: lists have up to this many elements, histories up to three times as many commands. Default: 10. */
  readonly size?: number | undefined
  /** The seed of the values. Default: another one each time. */
  readonly seed?: string | number | undefined
  /** Runs one value again, as given in the message of a broken law. It does not affect other laws. */
  readonly replay?: string | undefined
}

/** A problem in words, with a difference that shows it. */
export interface Violation {
  readonly problem: string
  readonly details?: string | undefined
}

/** A broken law. */
export interface Report {
  readonly message: string
  readonly replay: string | undefined
}

/** Maximum number of attempts to make a counterexample smaller. */
const maxShrinks = 2000

/** The message of a counterexample. */
export const tell = (law: string, subject: string, input: string, { details, problem }: Violation): string =>
  [
    `${subject} breaks the law ${law}`,
    "",
    input,
    "",
    problem,
    ...(details === undefined ? [] : ["", details])
  ].join("\n")

/** Checks a law; fails with a report that begins with its smallest counterexample. */
export const checkLaw = <A, R>(
  law: string,
  subject: string,
  options: CheckOptions,
  arbitrary: Arbitrary.Arbitrary<A>,
  showInput: (value: A) => string,
  property: (value: A) => Violation | undefined | Effect.Effect<Violation | undefined, never, R>
): Effect.Effect<void, Report, R> =>
  Effect.gen(function* () {
    const { replay, ...others } = options
    const token = replay?.startsWith(`${law} `) ? replay.slice(law.length + 1) : undefined
    const result = yield* Arbitrary.checkEffect(
      arbitrary,
      (value) =>
        Effect.suspend(() => {
          const found = property(value)
          return Effect.isEffect(found) ? found : Effect.succeed(found)
        }).pipe(
          Effect.catchDefect((defect) =>
            Effect.succeed({ problem: "an error was thrown", details: show(defect) })
          ),
          Effect.flatMap((violation) =>
            violation === undefined ? Effect.succeed(true) : Effect.fail(violation)
          )
        ),
      { ...others, maxShrinks, replay: token }
    )
    const title = `${subject} breaks the law ${law}`
    switch (result._tag) {
      case "Passed":
        return
      case "Falsified": {
        const { problem, details }: Violation =
          result.failure._tag === "PropertyError" ? result.failure.error : { problem: "it does not hold" }
        const again = `${law} ${result.replay}`
        const message = [
          tell(law, subject, showInput(result.shrunkInput), { problem, details }),
          "",
          `found in run ${result.runs}, made smaller ${result.shrinks} times; to run it again: { replay: ${JSON.stringify(again)} }`
        ].join("\n")
        return yield* Effect.fail<Report>({ message, replay: again })
      }
      case "Exhausted":
        return yield* Effect.fail<Report>({
          message: `${title}, or that cannot be decided: ${result.discards} of the generated values cannot be stored (seed ${result.seed})`,
          replay: undefined
        })
      case "ReplayMismatch":
        return yield* Effect.fail<Report>({
          message: `${subject} no longer breaks the law ${law} with this replay (${result.reason})`,
          replay
        })
    }
  })

const stepLines = ({ decision, events, input }: Step<unknown>): ReadonlyArray<string> => {
  const shown = events.map(show)
  if (decision === happens) return shown
  const command = showCommand({ decision, input })
  return shown.length === 1 ? [`${command} -> ${shown[0]}`] : [`${command} ->`, ...shown.map(indent)]
}

const list = (title: string, lines: ReadonlyArray<string>): string =>
  lines.length === 0 ? "with no events" : [title, ...lines.map(indent)].join("\n")

/** A history as text, step by step. */
export const showPlayed = (played: Played<unknown, unknown>): string =>
  list("after", played.steps.flatMap(stepLines))

/** Commands as text. */
export const showCommands = (commands: ReadonlyArray<Command<never, unknown>>): string =>
  commands.length === 0
    ? "without commands"
    : ["with", ...commands.map((command) => indent(showCommand(command)))].join("\n")

/** The difference of two texts that should be the same. */
export const unequalTexts = (
  problem: string,
  [expectedLabel, expected]: readonly [string, string],
  [foundLabel, found]: readonly [string, string]
): Violation => ({
  problem,
  details: `- ${expectedLabel}\n+ ${foundLabel}\n\n${differenceOfTexts(expected, found)}`
})

/** The difference of two values that should be the same. */
export const unequal = (
  problem: string,
  [expectedLabel, expected]: readonly [string, unknown],
  [foundLabel, found]: readonly [string, unknown]
): Violation =>
  unequalTexts(problem, [expectedLabel, showOnLines(expected)], [foundLabel, showOnLines(found)])

/** A thrown error as a problem. */
export const threw = (doing: string, error: unknown): Violation => ({
  problem: `${doing} threw an error`,
  details: isFrozenError(error)
    ? showFrozen(error)
    : error instanceof Error
      ? `${error.name}: ${error.message}`
      : show(error)
})

/** The error of a change to a frozen object, with its reason. */
export const showFrozen = ({ message, name }: TypeError): string =>
  `${name}: ${message}\n(the inputs of folds and decisions are frozen: they must not change them)`

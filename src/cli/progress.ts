/** Progress of long work on the terminal, with its rate and the time left. */
import { Clock, Effect, Stdio, Stream } from "effect"
import { number, span } from "./output.ts"

/** Milliseconds between two lines. */
const interval = 100

const barWidth = 20

/** A line of progress. */
const progressLine = (label: string, done: number, total: number, millis: number): string => {
  const share = total <= 0 ? 1 : Math.min(1, done / total)
  const full = Math.round(share * barWidth)
  const rate = millis <= 0 ? 0 : (done * 1000) / millis
  const left = rate <= 0 ? "" : `, ${span(((total - done) / rate) * 1000)} left`
  return `${label} [${"#".repeat(full)}${".".repeat(barWidth - full)}] ${Math.floor(share * 100)} %  ${number(done)}/${number(total)}  ${number(Math.round(rate))}/s${left}`
}

/** Reports the done part of the work. */
export type Report = (done: number, total: number) => Effect.Effect<void>

/**
 * Runs long work that reports its progress. Lines are written to the standard error, and only if that is a terminal, so that the
 * output stays clean.
 */
export const withProgress = <A, E, R>(
  label: string,
  run: (report: Report) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | Stdio.Stdio> =>
  Effect.gen(function* () {
    const stdio = yield* Stdio.Stdio
    if (!(yield* stdio.stderrIsTerminal)) return yield* run(() => Effect.void)
    const write = (text: string) =>
      Effect.ignore(Stream.run(Stream.make(text), stdio.stderr({ endOnDone: false })))
    let begun: { readonly at: number; readonly done: number } | undefined
    let last = -Infinity
    const report: Report = (done, total) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        begun ??= { at: now, done }
        if (now - last < interval && done < total) return Effect.void
        last = now
        return write(
          `\r\u001b[2K${progressLine(label, done - begun.done, total - begun.done, now - begun.at)}`
        )
      })
    return yield* Effect.ensuring(
      run(report),
      Effect.suspend(() => (begun === undefined ? Effect.void : write("\n")))
    )
  })

/**
 * A progress bar: one line that is drawn again and again on a terminal, and a few plain lines anywhere else.
 */
import { Effect } from "effect"

/** Where it is shown. `process.stderr` is one. */
export interface Display {
  readonly isTTY?: boolean | undefined
  readonly write: (text: string) => unknown
}

const width = 30

/** A bar for so many things. It is called with the number of those that have been done since the last time. */
export const make = (
  display: Display,
  total: number,
  unit: string
): ((done: number) => Effect.Effect<void>) => {
  // On a terminal every percent shows; a log file wants less.
  const steps = display.isTTY === true ? 100 : 4
  let done = 0
  let shown = 0
  return (more) =>
    Effect.sync(() => {
      done += more
      const step = Math.floor((done * steps) / total)
      if (step === shown) return
      shown = step
      const percent = `${Math.floor((done * 100) / total)}%`.padStart(4)
      const text = `${percent}  ${done.toLocaleString("en")} of ${total.toLocaleString("en")} ${unit}`
      if (display.isTTY === true) {
        const filled = Math.round((done * width) / total)
        const bar = "█".repeat(filled) + "░".repeat(width - filled)
        display.write(`\r${bar}${text}${done < total ? "" : "\n"}`)
      } else {
        display.write(`${text}\n`)
      }
    })
}

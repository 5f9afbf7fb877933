/**
 * A progress bar: one line that is redrawn on a terminal, and a few plain lines elsewhere.
 */
import { Effect } from "effect"

/** The output of the bar, for example `process.stderr`. */
export interface Display {
  readonly isTTY?: boolean | undefined
  readonly write: (text: string) => unknown
}

const width = 30

/** A bar for a total. Call it with the number done since the last call. */
export const make = (
  display: Display,
  total: number,
  unit: string
): ((done: number) => Effect.Effect<void>) => {
  // A terminal shows every percent; a log file needs fewer lines.
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

import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Progress from "../../examples/helpdesk/Progress.ts"

/** The display for a thousand items in steps of ten. */
const display = (isTTY: boolean) =>
  Effect.gen(function* () {
    const writes: Array<string> = []
    const progress = Progress.make({ isTTY, write: (text) => writes.push(text) }, 1000, "things")
    for (let done = 0; done < 1000; done += 10) yield* progress(10)
    return writes
  })

describe("the progress bar", () => {
  it.effect("is a few plain lines without a terminal", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* display(false), [
        " 25%  250 of 1,000 things\n",
        " 50%  500 of 1,000 things\n",
        " 75%  750 of 1,000 things\n",
        "100%  1,000 of 1,000 things\n"
      ])
    })
  )

  it.effect("is one line that is redrawn on a terminal", () =>
    Effect.gen(function* () {
      const writes = yield* display(true)
      assert.strictEqual(writes.length, 100)
      assert.strictEqual(writes[49], `\r${"█".repeat(15)}${"░".repeat(15)} 50%  500 of 1,000 things`)
      assert.strictEqual(writes[99], `\r${"█".repeat(30)}100%  1,000 of 1,000 things\n`)
      assert.isTrue(writes.slice(0, 99).every((text) => text.startsWith("\r") && !text.includes("\n")))
    })
  )
})

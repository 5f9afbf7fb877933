import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { servers } from "../support/Databases.ts"
import { urlOf } from "../support/databaseUrl.ts"
import { run, runBundled } from "./run.ts"

/** The rows of the printed tables without frames, which versions of Node align differently. */
const lines = (output: string): ReadonlyArray<string> =>
  output
    .split("\n")
    .filter((line) => line !== "" && !/^[┌├└]/.test(line))
    .map((line) =>
      line
        .split("│")
        .map((cell) => cell.trim())
        .filter((cell) => cell !== "")
        .join(" | ")
    )

const expected = [
  "Teashop: orders",
  "(index) | customer | total | status",
  "1001 | 'Ada' | '56.90' | 'shipped'",
  "1002 | 'Grace' | '12.50' | 'placed'",
  "1003 | 'Ada' | '3.00' | 'shipped'",
  "Teashop: its numbers",
  "(index) | orders | revenue | shipped",
  "0 | 3 | '72.40' | 2",
  "Bookshop: orders",
  "(index) | customer | total | status",
  "1001 | 'Edsger' | '34.99' | 'placed'",
  "Bookshop: its numbers",
  "(index) | orders | revenue | shipped",
  "0 | 1 | '34.99' | 0",
  "All shops",
  "(index) | orders | revenue | shipped",
  "Teashop | 3 | '72.40' | 2",
  "Bookshop | 1 | '34.99' | 0",
  "Total | 4 | '107.39' | 2"
]

describe("examples/order-stats.ts", () => {
  it("counts the orders of each shop and of all, embedded", async () => {
    const { status, output, errors } = await run("order-stats")
    assert.strictEqual(errors, "")
    assert.strictEqual(status, 0)
    assert.deepStrictEqual(lines(output), expected)
  })

  it.live.each(servers)("counts the same on $name", ({ freshDatabase }) =>
    Effect.gen(function* () {
      const { owner } = yield* freshDatabase
      const { status, output, errors } = yield* Effect.promise(() =>
        runBundled("order-stats", [], urlOf(owner))
      )
      assert.strictEqual(errors, "")
      assert.strictEqual(status, 0)
      assert.deepStrictEqual(lines(output), expected)
    }).pipe(Effect.scoped)
  )
})

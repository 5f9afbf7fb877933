/** Output for people: tables that fit, progress on the terminal alone, commands that can be copied. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Sink, Stdio } from "effect"
import { quote, span, table, wrap } from "../../src/cli/output.ts"
import { withProgress } from "../../src/cli/progress.ts"
import { tolerantReading } from "../../src/cli/doctor/reading.ts"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import { Account } from "../../examples/bank/Account.ts"

const columns = [
  { title: "id", whole: true },
  { title: "text" },
  { title: "n", right: true },
  { title: "last" }
]
const rows = [
  ["0123456789", "a long text that is shortened", "7", "end"],
  ["0123456789", "短い文字", "12345", "\u001b[31mred"]
]

describe("a table", () => {
  it("has its natural widths without a terminal", () => {
    assert.deepStrictEqual(table(columns, rows, Infinity), [
      "ID          TEXT                               N  LAST",
      "0123456789  a long text that is shortened      7  end",
      "0123456789  短い文字                       12345  \u{fffd}[31mred"
    ])
  })

  it("shortens its widest columns, and leaves the last ones out", () => {
    assert.deepStrictEqual(table(columns, rows, 40), [
      "ID          TEXT             N  LAST",
      "0123456789  a long tex…      7  end",
      "0123456789  短い文字     12345  \u{fffd}[31mred"
    ])
    assert.deepStrictEqual(table(columns, rows, 20), [
      "ID          TEXT",
      "0123456789  a long …",
      "0123456789  短い文字"
    ])
    assert.deepStrictEqual(table(columns, rows, 5), ["ID", "0123456789", "0123456789"])
  })
})

describe("texts", () => {
  it("break at blanks, and show two units of a duration", () => {
    assert.deepStrictEqual(wrap("one two three four", 9, " "), [" one two", " three", " four"])
    assert.deepStrictEqual([span(0), span(61_000), span(90_061_000)], ["0 s", "1 min 1 s", "1 d 1 h"])
  })

  it("are quoted for a shell only if they have to be", () => {
    assert.deepStrictEqual(["plain-1", "a b", "it's", ""].map(quote), [
      "plain-1",
      "'a b'",
      `'it'\\''s'`,
      "''"
    ])
  })
})

describe("progress", () => {
  const run = (isTerminal: boolean) =>
    Effect.gen(function* () {
      let written = ""
      yield* withProgress("export", (report) => Effect.andThen(report(0, 100), report(100, 100))).pipe(
        Effect.provide(
          Stdio.layerTest({
            stderrIsTerminal: Effect.succeed(isTerminal),
            stderr: () =>
              Sink.forEach((part: string | Uint8Array) =>
                Effect.sync(() => void (written += typeof part === "string" ? part : ""))
              )
          })
        )
      )
      return written
    })

  it.effect("shows a bar, the rate and the time left, and ends its line", () =>
    Effect.map(run(true), (written) => {
      assert.match(written, /export \[\.{20}\] 0 % {2}0\/100/)
      assert.match(written, /export \[#{20}\] 100 % {2}100\/100 {2}\d+\/s/)
      assert.isTrue(written.endsWith("\n"))
    })
  )

  it.effect("is silent without a terminal", () =>
    Effect.map(run(false), (written) => assert.strictEqual(written, ""))
  )
})

describe("the doctor", () => {
  it("names aggregates that pass over events, once each", () => {
    const tolerant = Aggregate.tolerant(Account)
    assert.deepStrictEqual(tolerantReading([Account]), [])
    const findings = tolerantReading([Account, tolerant, tolerant])
    assert.deepStrictEqual(
      findings.map(({ check, severity }) => [check, severity]),
      [["tolerantReading", "warning"]]
    )
    assert.include(findings[0]?.problem, "UnknownEventType")
  })
})

import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { cases, columns, page, tableOf, type Tagged, taggedIn } from "../scripts/isolation-table.ts"

/** The cells of the table in a page, row by row, without the head. */
const rowsOf = (markdown: string): ReadonlyArray<ReadonlyArray<string>> =>
  markdown
    .split("\n")
    .filter((line) => /^\| *\d+ *\|/.test(line))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim())
    )

/** A passing test for each case and backend to which it applies. */
const complete: ReadonlyArray<Tagged> = columns.map((column) => ({
  numbers: cases.filter(({ notThere }) => notThere[column] === undefined).map(({ number }) => number),
  column,
  title: `all on ${column}`,
  passed: true
}))

describe("the table of isolation cases", () => {
  it("has 42 cases, each with its own sentence", () => {
    assert.deepStrictEqual(
      cases.map(({ number }) => number),
      Array.from({ length: 42 }, (_, index) => index + 1)
    )
    assert.strictEqual(new Set(cases.map(({ guarantee }) => guarantee)).size, 42)
  })

  it("is the same in docs/isolation.md and in the script, without gaps", () => {
    const rows = rowsOf(readFileSync(page, "utf8"))
    assert.deepStrictEqual(
      rows.map(([number, guarantee]) => [number, guarantee]),
      cases.map(({ guarantee, number }) => [String(number), guarantee])
    )
    for (const [index, [, , ...cells]] of rows.entries()) {
      assert.lengthOf(cells, columns.length)
      for (const [at, column] of columns.entries()) {
        const reason = cases[index]?.notThere[column]
        if (reason === undefined) assert.match(cells[at] ?? "", /^[1-9]\d*$/, `case ${index + 1}, ${column}`)
        else assert.strictEqual(cells[at], reason === "" ? "" : `n/a: ${reason}`)
      }
    }
  })

  it("reports no problem if every case has a passing test", () => {
    assert.deepStrictEqual(tableOf(complete).problems, [])
  })

  it("reports gaps, failures, unknown cases, and reasons that no longer apply", () => {
    const [memory, ...others] = complete
    const wrong = (change: Partial<Tagged>) =>
      tableOf([...others, { ...(memory ?? assert.fail("no column")), ...change }]).problems
    assert.deepStrictEqual(wrong({ numbers: memory?.numbers.filter((number) => number !== 5) ?? [] }), [
      "case 5 has no test: memory"
    ])
    assert.deepStrictEqual(wrong({ passed: false }), ["failed: all on memory"])
    assert.include(wrong({ numbers: [...(memory?.numbers ?? []), 99] }), "no case 99: all on memory")
    assert.include(
      wrong({ numbers: [...(memory?.numbers ?? []), 7] }),
      "case 7 has tests on memory, although: no connections"
    )
  })

  it("recognises cases and backends by the titles of tests", () => {
    const result = (title: string, status: string, ...ancestorTitles: ReadonlyArray<string>) => ({
      ancestorTitles,
      title,
      status
    })
    const tagged = taggedIn({
      testResults: [
        {
          name: "a.test.ts",
          assertionResults: [
            result("5, 7: one", "passed", "tenant isolation: PGlite", "the database"),
            result("20: two", "failed", "tenant isolation: memory"),
            result("1: three", "passed", "tenant isolation: PostgreSQL 18, in a pool and two silos"),
            result("1: four", "passed", "on PostgreSQL 18 { multiplex: true }"),
            result("2: does not compile", "passed", "a program"),
            result("34: later", "skipped", "memory"),
            result("says 5: nothing", "passed", "memory")
          ]
        }
      ]
    })
    assert.deepStrictEqual(
      tagged.map(({ column, numbers, passed }) => [numbers, column, passed]),
      [
        [[5, 7], "PGlite", true],
        [[20], "memory", false],
        [[1], "silo", true],
        [[1], "PostgreSQL", true],
        [[2], "types", true]
      ]
    )
  })
})

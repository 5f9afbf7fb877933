import { assert, describe, it } from "@effect/vitest"
import { run } from "./run.ts"

describe("examples/lifecycle.ts", () => {
  it("exports and imports a tenant, moves it under load, refuses a damaged archive, and erases the tenant", async () => {
    const { errors, output, status } = await run("lifecycle", [])
    assert.strictEqual(status, 0, errors)
    const lines = output.trim().split("\n")
    assert.match(lines[0] ?? "", /^exported \d\.\d MB while orders were placed$/)
    assert.match(lines[1] ?? "", /^the archive has 100\d events up to hash [0-9a-f]{4}…$/)
    assert.strictEqual(lines[2], "refused: InvalidArchive")
    assert.match(lines[3] ?? "", /^\[#{20}\] (\d+) of \1 events$/)
    assert.match(
      lines[4] ?? "",
      /^imported up to position 100\d; with one more order, 100\d events are proved$/
    )
    assert.match(lines[5] ?? "", /^copying \[#{20}\] (\d+) of \1 events$/)
    assert.match(lines.at(-3) ?? "", /^decided \[#{20}\] (\d+) of \1 events$/)
    assert.match(lines.at(-2) ?? "", /^moved to acme with 1\d{3} events; orders go on there: yes$/)
    assert.match(lines.at(-1) ?? "", /^erased (\d+) events; \d+ rows were removed$/)
  })
})

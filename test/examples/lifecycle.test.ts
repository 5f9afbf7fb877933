import { assert, describe, it } from "@effect/vitest"
import { run } from "./run.ts"

describe("examples/lifecycle.ts", () => {
  it("carries a tenant from one database to another, refuses a damaged archive, and erases the tenant", async () => {
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
    assert.match(lines[5] ?? "", /^erased (100\d) events; \1 rows were removed$/)
  })
})

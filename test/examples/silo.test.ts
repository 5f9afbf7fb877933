import { assert, describe, it } from "@effect/vitest"
import { run } from "./run.ts"

describe("examples/silo.ts", () => {
  it("keeps one tenant in its own database, and the others in a shared one", async () => {
    const { errors, output, status } = await run("silo")
    assert.strictEqual(status, 0, errors)
    assert.deepStrictEqual(output.split("\n"), [
      `Ada's notes are in the database "pool"`,
      `Bob's notes are in the database "pool"`,
      `Acme's notes are in the database "acme"`,
      "3 tenants in all",
      ""
    ])
  })
})

import { assert, describe, it } from "@effect/vitest"
import { run } from "./run.ts"

/** The lines of a shop behind its name, each time that it is shown. */
const shown = (output: string, shop: string): ReadonlyArray<ReadonlyArray<string>> =>
  [...output.matchAll(new RegExp(`^${shop}\n((?: .*\n|known of .*\n)*)`, "gm"))].map(([, lines = ""]) =>
    lines
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "" && !line.startsWith("known of"))
  )

describe("examples/forgetting.ts", () => {
  it("shows a customer, forgets her, and keeps her forgotten after a restore, beside one with the same id", async () => {
    const { errors, output, status } = await run("forgetting")
    assert.strictEqual(status, 0, errors)
    const ada = [
      'CustomerRegistered name: "Ada Lovelace"',
      'CustomerRegistered email: "Ada@example.org"',
      'OrderPlaced address: {"street":"1 Main Street","town":"London"}',
      "customers: Ada Lovelace"
    ]
    const grace = [
      'CustomerRegistered name: "Grace Hopper"',
      'CustomerRegistered email: "grace@example.org"',
      "customers: Grace Hopper"
    ]
    assert.deepStrictEqual(shown(output, "acme"), [ada, ["customers: none"], ["customers: none"]])
    assert.deepStrictEqual(shown(output, "globex"), [grace, grace, grace])
    assert.include(output, "found by e-mail: customer-7\n")
    assert.include(
      output,
      "another order: Order event OrderPlaced cannot be stored: payload.address: is personal data of"
    )
  })
})

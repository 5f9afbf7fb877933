import { assert, describe, it } from "@effect/vitest"
import { run } from "./run.ts"

describe("examples/operations.ts", () => {
  it("leads from an alert to the failed event without its payload, resumes the projection, and has all of it on record", async () => {
    const { errors, output, status } = await run("operations", [])
    assert.strictEqual(status, 0, errors)
    const lines = output.split("\n").filter((line) => !/^\[|^\s|^}$|^$/.test(line))
    assert.deepStrictEqual(lines.slice(0, 7), [
      "reports is 1 events behind",
      "reports is parked at 3: UnknownCurrency: ",
      'the last event, masked: {"_tag":"string(9)","amount":"number"}',
      "the request has 3 events",
      'its state, masked: {"owner":"string(3)","balance":"number"}',
      'the step to version 2: [{"op":"replace","path":"/balance","value":20}]',
      '{"owner":"Zoë","balance":20}'
    ])
    assert.include(lines, "live: Opened,Deposited")
    assert.include(lines, "1 projection would try again")
    assert.include(lines, "reports is running")
    assert.include(lines, 'Actions.resumeProjections {"projection":"reports","dryRun":false} succeeded')
    assert.notInclude(output.split("its state, masked")[0] ?? "", "Zoë")
  })
})

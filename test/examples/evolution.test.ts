import { assert, describe, it } from "@effect/vitest"
import { run } from "./run.ts"

describe("examples/evolution.ts", () => {
  it("reads the events of three releases as present events, and changes no stored event", async () => {
    const { status, output, errors } = await run("evolution")
    assert.strictEqual(errors, "")
    assert.strictEqual(status, 0)
    assert.deepStrictEqual(output.split("\n"), [
      "2024: Ada's order is placed in euros and viewed, and her contact changes",
      "2025: Ada's order is read as 1200 cents",
      "2025: her order is sent, and Bob's is placed in cents",
      "Today: the stored events …",
      '  1. version 1 of {"_tag":"OrderPlaced","customer":"Ada","euros":12}',
      '  2. version 1 of {"_tag":"OrderViewed"}',
      '  3. version 1 of {"_tag":"ContactChanged","street":"Main Street 1","phone":"555-0100"}',
      '  4. version 1 of {"_tag":"OrderSent","parcel":"p1"}',
      '  5. version 1 of {"_tag":"OrderViewed"}',
      '  6. version 2 of {"_tag":"OrderPlaced","customer":"Bob","cents":995}',
      '  7. version 1 of {"_tag":"PhoneChanged","phone":"555-0199"}',
      '  8. version 3 of {"_tag":"OrderPlaced","customer":"Ada","total":{"cents":2000,"currency":"USD"}}',
      "… and the events that they are read as:",
      '  1. {"_tag":"OrderPlaced","customer":"Ada","total":{"cents":1200,"currency":"EUR"}}',
      '  3. {"_tag":"AddressChanged","street":"Main Street 1"}',
      '  3. {"_tag":"PhoneChanged","phone":"555-0100"}',
      '  4. {"_tag":"OrderShipped","parcel":"p1"}',
      '  6. {"_tag":"OrderPlaced","customer":"Bob","total":{"cents":995,"currency":"EUR"}}',
      '  7. {"_tag":"PhoneChanged","phone":"555-0199"}',
      '  8. {"_tag":"OrderPlaced","customer":"Ada","total":{"cents":2000,"currency":"USD"}}',
      "Ada's order, version 5: shipped, 12 EUR, Main Street 1, 555-0100",
      'Revenue in cents: {"EUR":2195,"USD":2000}',
      "The release of 2025 stops: Order 3 version 1 (position 8): OrderPlaced has schema version 3, but only versions 1 to 2 are known: it was written by a newer program",
      ""
    ])
  })
})

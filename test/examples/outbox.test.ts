import { assert, describe, it } from "@effect/vitest"
import { run } from "./run.ts"

describe("examples/outbox.ts", () => {
  it("publishes the events of both shops in order, although the receiver is unavailable at first", async () => {
    const { errors, output, status } = await run("outbox", [])
    assert.strictEqual(status, 0, errors)
    const published = output
      .split("\n")
      .filter((line) => /^(OrderPaid|ParcelSent|Teashop|Bookshop)/.test(line))
      .map((line) => line.replaceAll(/[0-9a-f-]{36}/g, "tenant"))
    assert.deepStrictEqual(
      published,
      ["Teashop", "Bookshop"].flatMap((shop) => [
        'OrderPaid ["tenant","Order","1001"] caused by nobody',
        'ParcelSent ["tenant","Parcel","1001"] caused by an event',
        `${shop}: 2 events, all of them published`
      ])
    )
    assert.include(output, "A projection failed to handle an event")
  })
})

import { assert, describe, it } from "@effect/vitest"
import { run } from "./run.ts"

describe("examples/orders.ts", () => {
  it("creates and ships an order, refuses wrong commands, and prints the audit log", async () => {
    const { status, output, errors } = await run("orders")
    assert.strictEqual(errors, "")
    assert.strictEqual(status, 0)
    const ids: Array<string> = []
    // Ids and times differ from run to run: each id gets a number, in the order of first occurrence.
    const readable = output
      .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, (id) => {
        if (!ids.includes(id)) ids.push(id)
        return `<${ids.indexOf(id) + 1}>`
      })
      .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, "<time>")
    assert.deepStrictEqual(readable.split("\n"), [
      "Created an order",
      "Shipped it as parcel 1",
      "Shipped it as parcel 1 again: 0 new events",
      "Shipping it as parcel 2: the order has been shipped as parcel 1",
      "Shipping an unknown order: there is no such order",
      "Creating an empty order: an order needs at least one line",
      "The order is Shipped, version 2",
      "Loading it as the bookshop: Order <1> not found",
      "Audit log of the teashop:",
      '  1. <time> alice: {"_tag":"OrderCreated","lines":[{"product":"Teapot","quantity":1,"price":2990},{"product":"Cup","quantity":6,"price":450}]}',
      "     event <2>, correlation <2>, causation null",
      '  2. <time> warehouse: {"_tag":"OrderShipped","parcel":"parcel 1"}',
      "     event <3>, correlation <2>, causation <2>",
      ""
    ])
  })
})

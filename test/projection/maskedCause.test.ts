import { assert, describe, it } from "@effect/vitest"
import { Cause } from "effect"
import type * as Event from "../../src/domain/Event.ts"
import { Undecodable, UnknownEventType } from "../../src/driver/StoreError.ts"
import { describeFailure } from "../../src/driver/storageFailure.ts"
import { maskedCause } from "../../src/projection/maskedCause.ts"

const causeOf = (error: unknown, payload: object, metadata: object = {}) => {
  const envelope = { payload, metadata } as unknown as Event.Envelope<Event.Tagged>
  return maskedCause(Cause.fail(error), error, describeFailure(error), [envelope])
}

const masks = (text: string, payload: object) => causeOf(new Error(text), payload).message

describe("the cause of a failure", () => {
  it("names no stream and no event: the log has the tenant and the position", () => {
    const error = new Undecodable({
      reason: new UnknownEventType({
        tenantId: "t",
        aggregateType: "Note",
        aggregateId: "mrs-robinson",
        eventType: "Gone",
        schemaVersion: 1,
        version: 2,
        position: 3
      })
    })
    assert.include(error.message, "mrs-robinson")
    const { message, stack } = causeOf(error, {})
    assert.notInclude(message + stack, "mrs-robinson")
    assert.include(message, "Gone")
  })

  it("quotes no value of the event in any spelling, and shows the rest", () => {
    const name = "Mrs Robinson"
    const payload = {
      _tag: "Placed",
      customer: { name, tags: ["vip", new Set(["x"])] },
      n: 7,
      at: new Date(0)
    }
    for (const [text, shown] of [
      [`no room for "${name}" (${JSON.stringify({ name })})`, 'no room for "…" ({"name":"…"})'],
      [
        "Placed: no room for 7 of 70, vip or vipers, x or xy",
        "Placed: no room for … of 70, … or vipers, … or xy"
      ],
      ["not at 1970-01-01T00:00:00.000Z", "not at …"],
      [`${name}${name}`, "……"]
    ] as const) {
      assert.strictEqual(masks(text, payload), shown)
    }
    assert.strictEqual(
      masks('a "quoted\\nline" of 12 and -3.5', { a: "quoted\nline", b: -3.5 }),
      'a "…" of 12 and …'
    )
    assert.strictEqual(masks("a.b", { regular: "a.b|*" }), "a.b")
    assert.strictEqual(causeOf("secret of Ann", {}, { by: "Ann" }).message, "secret of …")
    assert.strictEqual(causeOf(new RangeError(`${name} is too long`), payload).message, "… is too long")
  })

  it("keeps the stack frames, masks nested errors, and has a maximum length", () => {
    const error = new Error("7 failed", { cause: new TypeError("because of 7") })
    const { message, stack } = causeOf(error, { n: 7 })
    assert.strictEqual(message, "… failed")
    assert.match(stack, /^Error: … failed\n\s+at .*maskedCause\.test/)
    assert.match(stack, /\n\[cause\]: TypeError: because of …\n\s+at /)
    const cause = causeOf(new Error("x".repeat(20_000)), {})
    assert.deepStrictEqual([cause.message.length, cause.stack.length], [4000, 10_000])
  })

  it("has the tag of a failure that is no error, and none of its fields", () => {
    assert.strictEqual(
      causeOf({ _tag: "TooMuch", secret: "canary" }, {}).message,
      "a failure of type object (TooMuch)"
    )
    assert.strictEqual(causeOf({ secret: "canary" }, {}).message, "a failure of type object")
    const payload: { self?: unknown; text: string } = { text: "over and over" }
    payload.self = payload
    assert.strictEqual(masks("over and over again", payload), "… again")
  })
})

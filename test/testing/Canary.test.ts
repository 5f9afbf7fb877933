import { assert, describe, it } from "@effect/vitest"
import { Cause, Data, Effect, Layer, Metric, Schema } from "effect"
import * as Canary from "../../src/testing/Canary.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", { why: Schema.String }) {
  override get message(): string {
    return `refused because of ${this.why}`
  }
}

class Hidden extends Data.TaggedError("Hidden")<{ readonly about: string }> {}

const requests = Metric.counter("test.requests")

const canary = Canary.make()
const secret = canary.in("test")

const hiding: Readonly<Record<string, (text: string) => unknown>> = {
  "a text": (text) => text,
  "a text in capitals": (text) => text.toUpperCase(),
  "a name": (text) => ({ [text]: 1 }),
  "the depths of a value": (text) => [{ a: [{ b: { c: text } }] }],
  "a map": (text) => new Map([["a", text]]),
  "a key of a map": (text) => new Map([[text, 1]]),
  "a set": (text) => new Set([text]),
  "a symbol's name": (text) => ({ [Symbol(text)]: 1 }),
  "a hidden member": (text) => Object.defineProperty({}, "hidden", { value: text, enumerable: false }),
  "a computed member": (text) => ({
    get computed() {
      return text
    }
  }),
  "a message": (text) => new Error(text),
  "a message that is computed": (text) => new Refused({ why: text }),
  "a field of an error": (text) => new Hidden({ about: text }),
  "the cause of an error": (text) => new Error("outer", { cause: new Error(text) }),
  "a cause": (text) => Cause.combine(Cause.fail("a"), Cause.die(new Error(text))),
  bytes: (text) => new TextEncoder().encode(text),
  "hexadecimal digits": (text) => Buffer.from(text).toString("hex"),
  base64: (text) => Buffer.from(text).toString("base64"),
  "base64 at another offset": (text) => Buffer.from(`x${text}`).toString("base64"),
  "base64 at a third offset": (text) => Buffer.from(`xx${text}`).toString("base64url"),
  "a UUID without hyphens": (text) => text.replaceAll("-", ""),
  "a member of a function": (text) => Object.assign(() => 1, { text })
}

describe("a canary", () => {
  for (const [where, hide] of Object.entries(hiding)) {
    it(`is found in ${where}, and only there`, () => {
      assert.isNotEmpty(Canary.find(canary, hide(secret)))
      assert.throws(() => Canary.assertAbsent(canary, { body: hide(secret) }), /the canary is in what was/)
      Canary.assertAbsent(canary, hide(Canary.make().in("test")))
      Canary.assertAbsent([Canary.make(), Canary.make()], hide(secret))
    })
  }

  it("is found once in a cyclic value, with its path", () => {
    const circle: { self?: unknown; readonly list: ReadonlyArray<unknown> } = { list: [{ note: secret }] }
    circle.self = circle
    assert.deepStrictEqual(Canary.find(canary, circle), [{ path: "list[0].note", text: secret }])
  })

  it("is shown with some surrounding text", () => {
    const [found] = Canary.find(canary, `${"a".repeat(1000)}${canary.secret}${"b".repeat(1000)}`)
    assert.strictEqual(found?.text, `${"a".repeat(40)}${canary.secret}${"b".repeat(40)}`)
  })
})

describe("a program that is overheard", () => {
  const tells: Readonly<Record<string, Effect.Effect<unknown, unknown>>> = {
    "its result": Effect.succeed({ secret }),
    "its error": Effect.fail(new Refused({ why: secret })),
    "its defect": Effect.die(new Error(secret)),
    "a line of its log": Effect.log(secret),
    "a line of the lowest level": Effect.logTrace({ secret }),
    "an annotation of its log": Effect.log("x").pipe(Effect.annotateLogs({ secret })),
    "a logged cause": Effect.logDebug(Cause.fail(new Refused({ why: secret }))),
    "the log of another fiber": Effect.andThen(Effect.forkChild(Effect.log(secret)), Effect.yieldNow),
    "the log of a layer": Effect.provide(Effect.void, Layer.effectDiscard(Effect.log(secret))),
    "a span's name": Effect.withSpan(Effect.void, secret),
    "a span's attribute": Effect.withSpan(Effect.void, "x", { attributes: { secret } }),
    "a span's event": Effect.flatMap(Effect.currentSpan, (span) =>
      Effect.sync(() => span.event("x", 0n, { secret }))
    ).pipe(Effect.withSpan("x")),
    "a span's failure": Effect.ignore(Effect.withSpan(Effect.fail(new Refused({ why: secret })), "x")),
    "an attribute of a metric": Metric.update(Metric.withAttributes(requests, { secret }), 1)
  }

  for (const [where, program] of Object.entries(tells)) {
    it.effect(`reveals a secret in ${where}`, () =>
      Effect.gen(function* () {
        const heard = yield* Canary.overhear(program)
        assert.throws(() => Canary.assertAbsent(canary, heard), /the canary is in what was observed/)
        const { exit, ...telemetry } = heard
        if (where.startsWith("its ")) {
          Canary.assertAbsent(canary, telemetry)
          assert.isNotEmpty(Canary.find(canary, exit))
        } else {
          Canary.assertAbsent(canary, exit)
        }
      })
    )
  }

  it.effect("contains nothing of another program, nor its metrics", () =>
    Effect.gen(function* () {
      yield* Metric.update(Metric.withAttributes(requests, { secret }), 1)
      const heard = yield* Canary.overhear(
        Metric.update(Metric.withAttributes(requests, { a: "b" }), 1).pipe(
          Effect.andThen(Effect.log("x")),
          Effect.withSpan("y")
        )
      )
      Canary.assertAbsent(canary, heard)
      assert.deepStrictEqual(
        [heard.logs.length, heard.spans.map(({ name }) => name), heard.metrics.length],
        [1, ["y"], 1]
      )
    })
  )
})

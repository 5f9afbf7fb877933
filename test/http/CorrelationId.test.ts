import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { HttpEffect, HttpServerResponse } from "effect/http"
import * as CorrelationId from "../../src/http/CorrelationId.ts"
import { serve } from "./support/guarded.ts"
import { resolver, sign } from "./support/tokens.ts"

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const trace = "4bf92f3577b34da6a3ce929d0e0e4736"

describe("a correlation id", () => {
  const sent = (headers: Record<string, string>) =>
    Effect.gen(function* () {
      const { send } = yield* serve(resolver)
      const authorization = `Bearer ${yield* sign()}`
      const answer = yield* send("/whoami", { headers: { ...headers, authorization } })
      assert.strictEqual(answer.headers.get("x-correlation-id"), answer.body["correlationId"])
      return answer.body["correlationId"]
    })

  it.effect("of the client is used for its events and returned", () =>
    Effect.gen(function* () {
      for (const id of ["a", "order-4711", "A.b_c:d-1", "x".repeat(128)]) {
        assert.strictEqual(yield* sent({ "x-correlation-id": id }), id)
      }
    })
  )

  it.effect("is the trace id if the client states none", () =>
    Effect.gen(function* () {
      const traceparent = `00-${trace}-00f067aa0ba902b7-01`
      assert.strictEqual(yield* sent({ traceparent }), trace)
      assert.strictEqual(yield* sent({ traceparent, "x-correlation-id": "mine" }), "mine")
      assert.strictEqual(yield* sent({ traceparent, "x-correlation-id": "not one" }), trace)
    })
  )

  for (const [what, headers] of Object.entries({
    "is missing": {},
    "is empty": { "x-correlation-id": "" },
    "is too long": { "x-correlation-id": "x".repeat(129) },
    "has a blank": { "x-correlation-id": "a b" },
    "was given twice": { "x-correlation-id": "a, b" },
    "has quotes": { "x-correlation-id": `"a"` },
    "would end a header": { "x-correlation-id": "a%0d%0ab" },
    "begins with a dash": { "x-correlation-id": "-a" },
    "has letters beyond ASCII": { "x-correlation-id": "\u00e4" },
    "is a trace id of zeros": { traceparent: `00-${"0".repeat(32)}-00f067aa0ba902b7-01` },
    "is a trace id in upper case": { traceparent: `00-${trace.toUpperCase()}-00f067aa0ba902b7-01` },
    "is a trace id of another version": { traceparent: `ff-${trace}-00f067aa0ba902b7-01` },
    "is half a trace id": { traceparent: `00-${trace.slice(16)}-00f067aa0ba902b7-01` }
  })) {
    it.effect(`is a new one if the client's ${what}`, () =>
      Effect.gen(function* () {
        const [one, two] = [yield* sent(headers), yield* sent(headers)]
        assert.match(String(one), uuid)
        assert.notStrictEqual(one, two)
      })
    )
  }

  it.effect("is in every response, also of refusals, defects, unguarded endpoints and unknown paths", () =>
    Effect.gen(function* () {
      const { send } = yield* serve(resolver)
      const headers = { "x-correlation-id": "c1" }
      const authorization = `Bearer ${yield* sign()}`
      const answers = [
        yield* send("/whoami", { headers }),
        yield* send("/broken", { headers: { ...headers, authorization } }),
        yield* send("/health", { headers }),
        yield* send("/nowhere", { headers })
      ]
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [401, 500, 200, 404]
      )
      for (const answer of answers) assert.strictEqual(answer.headers.get("x-correlation-id"), "c1")
    })
  )

  it.effect("is the same throughout a request", () =>
    Effect.gen(function* () {
      const handler = HttpEffect.toWebHandler(
        CorrelationId.provide(
          Effect.gen(function* () {
            const outer = yield* CorrelationId.CurrentCorrelationId
            const inner = yield* CorrelationId.provide(CorrelationId.CurrentCorrelationId)
            return HttpServerResponse.text(`${outer} ${inner}`)
          })
        )
      )
      const response = yield* Effect.promise(() => handler(new Request("http://localhost/")))
      const [outer, inner] = (yield* Effect.promise(() => response.text())).split(" ")
      assert.match(outer ?? "", uuid)
      assert.strictEqual(inner, outer)
      assert.strictEqual(response.headers.get("x-correlation-id"), outer)
    })
  )
})

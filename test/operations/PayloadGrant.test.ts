import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as PayloadGrant from "../../src/operations/PayloadGrant.ts"

/** A value of the same structure whose leaves are others of the same type and length. */
const changed = (json: Schema.Json, text: (value: string) => string): Schema.Json => {
  if (typeof json === "string") return text(json)
  if (typeof json === "number") return json + 1
  if (typeof json === "boolean") return !json
  if (Array.isArray(json)) return json.map((member: Schema.Json) => changed(member, text))
  if (json === null) return null
  return Object.fromEntries(Object.entries(json).map(([key, member]) => [key, changed(member, text)]))
}

describe("masking", () => {
  it("keeps structure and lengths, and no value", () => {
    assert.deepStrictEqual(
      PayloadGrant.mask({
        _tag: "Opened",
        name: "Zoë",
        balance: 17.5,
        vip: true,
        note: null,
        lines: [{ sku: "a" }, []],
        "ada@example.com": 1,
        "bob@example.com": 2,
        "0b7d1c7e-3c0e": "x"
      }),
      {
        _tag: "string(6)",
        name: "string(3)",
        balance: "number",
        vip: "boolean",
        note: "null",
        lines: [{ sku: "string(1)" }, []],
        "key(15)": "number",
        "key(15) 2": "number",
        "key(13)": "string(1)"
      }
    )
  })

  it.prop("does not depend on any value, only on types, lengths and names", [Schema.Json], ([json]) => {
    const other = changed(json, (value) => "§".repeat(value.length))
    assert.deepStrictEqual(PayloadGrant.mask(json), PayloadGrant.mask(other))
  })

  it.prop(
    "shows no text of a value: a mark in each of them does not occur in the mask",
    [Schema.Json],
    ([json]) => {
      // names may have the mark
      const mark = `§${JSON.stringify(json).length}§`
      const marked = changed(json, (value) => `${mark}${value}`)
      if (!JSON.stringify(json).includes(mark))
        assert.notInclude(JSON.stringify(PayloadGrant.mask(marked)), mark)
    }
  )

  it.effect("is the default, and personal data needs a grant of its own besides full payloads", () =>
    Effect.gen(function* () {
      const grant = Effect.map(PayloadGrant.PayloadGrant, (given) => given)
      assert.deepStrictEqual(yield* grant, { payloads: "masked", personal: false })
      assert.deepStrictEqual(yield* grant.pipe(PayloadGrant.provide("full")), {
        payloads: "full",
        personal: false
      })
      assert.deepStrictEqual(yield* grant.pipe(PayloadGrant.provide("masked", { personal: true })), {
        payloads: "masked",
        personal: false
      })
      assert.deepStrictEqual(yield* grant.pipe(PayloadGrant.provide("full", { personal: true })), {
        payloads: "full",
        personal: true
      })
    })
  )
})

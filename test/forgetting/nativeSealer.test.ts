/** The fast path of sealing makes and reads the same texts as the general one, and walks through texts find the same fields. */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Redacted, Schema } from "effect"
import { layerCrypto, nativeCrypto } from "../../src/forgetting/cipher.ts"
import { envelopeOfAll, envelopesOf, envelopeText } from "../../src/forgetting/envelope.ts"
import { endOfValue, walkJson } from "../../src/forgetting/jsonPlaces.ts"
import { nativeSealer } from "../../src/forgetting/nativeSealer.ts"
import { OpenedEvents } from "../../src/forgetting/openedEvents.ts"
import { makeSealer, readyKey } from "../../src/forgetting/sealer.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"

const key = (keyId: string) =>
  readyKey({
    keyId,
    subject: "ada",
    version: 1,
    secret: Redacted.make(Uint8Array.from({ length: 64 }, (_, n) => (n * 7 + keyId.charCodeAt(0)) % 256))
  })

const envelope = (text: string) => {
  const found = envelopeOfAll(text)
  return found ?? assert.fail("no envelope")
}

describe("the fast path of sealing", () => {
  it.effect("makes the same text as the general one, and each opens that of the other", () =>
    Effect.gen(function* () {
      const general = yield* makeSealer
      const now = nativeCrypto === undefined ? assert.fail("no node:crypto") : nativeSealer(nativeCrypto)
      const [one, other] = [yield* key("a".repeat(22)), yield* key("b".repeat(22))]
      for (const text of ['""', '"Ada \\" 🦊"', "1.50", '{"a":[null,true]}', `"${"é".repeat(3000)}"`])
        for (const place of ["", 'field 1 t e ["näme"]']) {
          const sealed = now.seal(one, place, '["a"]', text)
          assert.strictEqual(sealed, yield* general.seal(one, place, '["a"]', text))
          assert.strictEqual(now.open(one, place, envelope(sealed)), text)
          assert.strictEqual(yield* general.open(one, place, envelope(sealed)), text)
          for (const open of [
            (...given: Parameters<typeof now.open>) => Effect.sync(() => now.open(...given)),
            general.open
          ]) {
            assert.isUndefined(yield* open(one, `${place} `, envelope(sealed)))
            assert.isUndefined(yield* open(other, place, envelope(sealed)))
            const { ciphertext, nonce } = envelope(sealed)
            const flipped = `${ciphertext.startsWith("A") ? "B" : "A"}${ciphertext.slice(1)}`
            for (const damaged of [
              { nonce, ciphertext: flipped },
              { nonce, ciphertext: ciphertext.slice(0, -4) },
              { nonce, ciphertext: "" },
              { nonce, ciphertext: "*".repeat(40) },
              { nonce: "AAAAAAAAAAAAAAAA", ciphertext },
              { nonce: "", ciphertext }
            ])
              assert.isUndefined(yield* open(one, place, damaged))
          }
        }
    }).pipe(Effect.provide(layerCrypto))
  )
})

describe("a walk through a JSON text", () => {
  it.prop("shows every value at its path, with its end", [Arbitrary.schema(Schema.Json)], ([json]) => {
    const text = JSON.stringify(json)
    const shown: Array<readonly [string, string]> = []
    walkJson(text, (path, start) => {
      shown.push([JSON.stringify(path), text.slice(start, endOfValue(text, start))])
      return undefined
    })
    const expected: Array<readonly [string, unknown]> = []
    const add = (path: ReadonlyArray<string | number>, value: unknown): void => {
      expected.push([JSON.stringify(path), value])
      if (Array.isArray(value)) for (const [index, one] of value.entries()) add([...path, index], one)
      else if (typeof value === "object" && value !== null)
        for (const [name, one] of Object.entries(value)) add([...path, name], one)
    }
    add([], JSON.parse(text))
    const sorted = (entries: ReadonlyArray<readonly [string, unknown]>) =>
      entries.map(([path, value]) => `${path} ${JSON.stringify(value)}`).toSorted()
    assert.deepStrictEqual(sorted(shown.map(([path, value]) => [path, JSON.parse(value)])), sorted(expected))
  })

  it("finds envelopes at their own places only, and stops behind the last one", () => {
    const sealed = (path: string) => envelopeText("k".repeat(22), "n".repeat(16), "text", path)
    const text = `{"a" : {"b":[1,${sealed('["a","b",1]')}, "x"]},"{\\"$sealed\\":1":2,"c":${sealed('["c"]')},"d":[}`
    assert.deepStrictEqual(
      envelopesOf(text)?.map(({ path }) => path),
      ['["a","b",1]', '["c"]']
    )
    for (const damaged of [
      `{"a":${sealed('["b"]')}}`,
      `{"a":${sealed('["a"]').slice(0, -1)}`,
      `{"a":${sealed('["a"]').replace("A256GCM", "A128GCM")}}`,
      `[${sealed("[0]")},${sealed("[0]")}]`
    ])
      assert.isUndefined(envelopesOf(damaged), damaged)
    assert.deepStrictEqual(envelopesOf('{"a":1}'), [])
  })
})

describe("opened events", () => {
  const event = (stored: string, size = 10) => ({ stored, payload: "p".repeat(size), keyIds: ["k"] })
  const [tenant, other] = [newTenant(), newTenant()]

  it("are found by tenant, id and text, for their age", () => {
    const events = new OpenedEvents({ opened: 1000, ageMillis: 100 })
    events.set(tenant, "e", event("sealed"), 0)
    assert.containSubset(events.of(tenant, 99)("e", "sealed"), event("sealed"))
    assert.isUndefined(events.of(tenant, 100)("e", "sealed"))
    assert.isUndefined(events.of(tenant, 1)("e", "other"))
    assert.isUndefined(events.of(tenant, 1)("f", "sealed"))
    assert.isUndefined(events.of(other, 1)("e", "sealed"))
  })

  it("are dropped with their tenant, and others stay", () => {
    const events = new OpenedEvents({ opened: 1000, ageMillis: 100 })
    for (const tenantId of [tenant, other]) events.set(tenantId, "e", event("sealed"), 0)
    events.forget(tenant)
    assert.isUndefined(events.of(tenant, 1)("e", "sealed"))
    assert.isDefined(events.of(other, 1)("e", "sealed"))
  })

  it("are bounded by their characters, and those in use stay", () => {
    const events = new OpenedEvents({ opened: 1000, ageMillis: 100 })
    events.set(tenant, "used", event("sealed"), 0)
    for (let n = 0; n < 200; n++) {
      events.set(tenant, `e${n}`, event("sealed"), 0)
      assert.isDefined(events.of(tenant, 1)("used", "sealed"))
    }
    const kept = Array.from({ length: 200 }, (_, n) => events.of(tenant, 1)(`e${n}`, "sealed")).filter(
      (one) => one !== undefined
    )
    assert.isAtLeast(kept.length, 25)
    assert.isAtMost(kept.length * 16, 1000)
    events.set(tenant, "large", event("sealed", 600), 0)
    assert.isUndefined(events.of(tenant, 1)("large", "sealed"))
    const none = new OpenedEvents({ opened: 0, ageMillis: 100 })
    none.set(tenant, "e", event("sealed"), 0)
    assert.isUndefined(none.of(tenant, 1)("e", "sealed"))
  })
})

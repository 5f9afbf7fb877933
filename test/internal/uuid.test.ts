import { assert, describe, it } from "@effect/vitest"
import { afterEach, vi } from "vitest"
import { createHash } from "node:crypto"
import * as Event from "../../src/domain/Event.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { sha1 } from "../../src/internal/sha1.ts"
import { isCanonicalUuid, uuidV5, uuidV7 } from "../../src/internal/uuid.ts"

const millisOf = (id: string): number => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)

describe("uuidV7", () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it("returns canonical UUIDs of version 7 with the time", () => {
    const before = Date.now()
    const id = uuidV7()
    assert.isTrue(isCanonicalUuid(id))
    assert.match(id, /^.{14}7.{4}[89ab]/)
    assert.isAtLeast(millisOf(id), before)
    assert.isAtMost(millisOf(id), Date.now() + 1)
  })

  it("returns ascending ids, even more than fit a millisecond and with a clock that goes back", () => {
    const start = Date.now() + 60_000
    const clock = vi.spyOn(Date, "now").mockReturnValue(start)
    const ids = Array.from({ length: 10_000 }, uuidV7)
    clock.mockReturnValue(start - 30_000)
    ids.push(...Array.from({ length: 10_000 }, uuidV7))
    assert.deepStrictEqual(ids, ids.toSorted())
    assert.strictEqual(new Set(ids).size, ids.length)
  })

  it("returns ids whose successor cannot be guessed", () => {
    const tails = Array.from({ length: 1000 }, () => uuidV7().slice(19))
    assert.strictEqual(new Set(tails).size, tails.length)
  })
})

describe("uuidV5", () => {
  it("is that of RFC 9562 and of Node's SHA-1, for texts of any length", () => {
    const dns = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    assert.strictEqual(uuidV5(dns, "www.example.com"), "2ed6657d-e927-568b-95e1-2665a8aea6a2")
    assert.strictEqual(uuidV5(dns.toUpperCase(), "www.example.com"), "2ed6657d-e927-568b-95e1-2665a8aea6a2")
    for (let length = 0; length < 200; length++) {
      const text = new TextEncoder().encode("é😀x".repeat(length).slice(0, length))
      assert.deepStrictEqual(sha1(text), new Uint8Array(createHash("sha1").update(text).digest()))
    }
  })

  it("differs for each name and namespace, and refuses names that would have the id of another", () => {
    const [one, other] = [uuidV7(), uuidV7()]
    const ids = [uuidV5(one, ""), uuidV5(one, "a"), uuidV5(one, "A"), uuidV5(one, "a "), uuidV5(other, "a")]
    assert.strictEqual(new Set(ids).size, 5)
    for (const namespace of ["", "acme", `{${one}}`, one.slice(1)])
      assert.throws(() => uuidV5(namespace, "a"), /the namespace must be a UUID/)
    assert.throws(() => uuidV5(one, "\uD800"), /must be well-formed text/)
  })

  it("gives a tenant's id for a name and an event's id for a key", () => {
    const namespace = "0b7d1c7e-3c0e-4f4b-9d0a-6f3f4c1d2a5e"
    const acme = Tenant.fromName(namespace, "acme")
    assert.strictEqual(acme, uuidV5(namespace, "acme"))
    assert.strictEqual(Event.EventId.fromKey(acme, "row 1"), uuidV5(acme, "row 1"))
  })
})

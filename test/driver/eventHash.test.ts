import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import { createHash } from "node:crypto"
import { canonicalText, chainStart, eventHash, type HashedEvent } from "../../src/driver/eventHash.ts"
import { sha256 } from "../../src/internal/sha256.ts"

const tenant = "00000000-0000-7000-8000-000000000001"

const row: HashedEvent = {
  position: 12,
  aggregateType: "Order",
  aggregateId: "é-1",
  version: 3,
  eventId: "00000000-0000-7000-8000-000000000002",
  eventType: "Placed",
  schemaVersion: 1,
  occurredAt: -5,
  recordedAt: 1_700_000_000_000,
  actor: null,
  correlationId: "c",
  causationId: "",
  metadata: "{}",
  payload: '{"a":"😀"}',
  tags: ["a:1", "b"]
}

describe("sha256", () => {
  it("equals that of Node for messages of every length around the borders of blocks", () => {
    for (let length = 0; length < 260; length++) {
      const message = Uint8Array.from({ length }, (_, index) => (index * 31 + length) % 256)
      const expected = createHash("sha256").update(message).digest("hex")
      assert.strictEqual(Buffer.from(sha256(message)).toString("hex"), expected, `${length} bytes`)
    }
  })
})

describe("the hash of an event", () => {
  it("covers a text in which every field has its length in bytes", () => {
    assert.strictEqual(
      canonicalText(tenant, row),
      `36:${tenant}2:125:Order4:é-11:336:00000000-0000-7000-8000-0000000000026:Placed1:12:-513:1700000000000` +
        `-1:c0:2:{}12:{"a":"😀"}1:23:a:11:b`
    )
  })

  it("is SHA-256 of the previous hash and that text", () => {
    const first = eventHash(chainStart, tenant, row)
    for (const [previous, hash] of [
      [chainStart, first],
      [first, eventHash(first, tenant, row)]
    ] as const) {
      const expected = createHash("sha256")
        .update(Buffer.from(previous, "hex"))
        .update(canonicalText(tenant, row))
        .digest("hex")
      assert.strictEqual(hash, expected)
    }
  })

  it("differs if any field does, and if text moves from one field to the next", () => {
    const changes: ReadonlyArray<Partial<HashedEvent>> = [
      { position: 13 },
      { aggregateType: "Ordé" },
      { aggregateType: "Order4", aggregateId: "é-1" },
      { aggregateType: "Orde", aggregateId: "ré-1" },
      { aggregateId: "é-2" },
      { version: 4 },
      { eventId: "00000000-0000-7000-8000-000000000003" },
      { eventType: "Paid" },
      { schemaVersion: 2 },
      { occurredAt: 5 },
      { recordedAt: 1 },
      { actor: "" },
      { actor: "-" },
      { correlationId: "d" },
      { causationId: null },
      { metadata: "{ }" },
      { payload: "{}" },
      { tags: [] },
      { tags: ["a:1"] },
      { tags: ["a:", "1b"] },
      { tags: ["b", "a:1"] }
    ]
    const hashes = changes.map((change) => eventHash(chainStart, tenant, { ...row, ...change }))
    hashes.push(eventHash(chainStart, tenant, row), eventHash(chainStart, tenant.replace("1", "2"), row))
    hashes.push(eventHash("1".repeat(64), tenant, row))
    assert.strictEqual(new Set(hashes).size, hashes.length)
  })

  it.effect.prop("equals that of Node for any payload", [Arbitrary.schema(Schema.String)], ([text]) =>
    Effect.sync(() => {
      const event = { ...row, payload: Buffer.from(text).toString("utf8") }
      const expected = createHash("sha256")
        .update(Buffer.from(chainStart, "hex"))
        .update(canonicalText(tenant, event))
        .digest("hex")
      assert.strictEqual(eventHash(chainStart, tenant, event), expected)
    })
  )
})

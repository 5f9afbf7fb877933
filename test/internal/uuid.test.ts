import { assert, describe, it } from "@effect/vitest"
import { afterEach, vi } from "vitest"
import { isCanonicalUuid, uuidV7 } from "../../src/internal/uuid.ts"

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

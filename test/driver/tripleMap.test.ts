import { assert, describe, it } from "@effect/vitest"
import { TripleMap } from "../../src/driver/tripleMap.ts"

describe("a map with keys of three parts", () => {
  it("finds a value by all three parts, and counts values", () => {
    const map = new TripleMap<string, object, string, number>()
    const [one, other] = [{}, {}]
    map.set("a", one, "b", 1)
    map.set("a", other, "b", 2)
    map.set("a", one, "b", 3)
    assert.strictEqual(map.size, 2)
    assert.strictEqual(map.get("a", one, "b"), 3)
    assert.strictEqual(map.get("a", other, "b"), 2)
    for (const [first, second, third] of [
      ["b", one, "b"],
      ["a", {}, "b"],
      ["a", one, "c"]
    ] as const) {
      assert.isUndefined(map.get(first, second, third))
      map.delete(first, second, third)
    }
    map.delete("a", one, "b")
    map.delete("a", one, "b")
    assert.strictEqual(map.size, 1)
    assert.isUndefined(map.get("a", one, "b"))
    assert.strictEqual(map.get("a", other, "b"), 2)
    map.clear()
    assert.strictEqual(map.size, 0)
    assert.isUndefined(map.get("a", other, "b"))
  })
})

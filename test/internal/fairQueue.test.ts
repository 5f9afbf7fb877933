import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { FairQueue, Queue } from "../../src/internal/fairQueue.ts"

describe("a queue", () => {
  it.prop(
    "behaves like an array in all insertions and removals",
    [Arbitrary.schema(Schema.Array(Schema.Literals([0, 1, 2, 3, 4, 5])))],
    ([steps]) => {
      const queue = new Queue<object>()
      const model: Array<object> = []
      for (const step of steps) {
        const item = {}
        if (step < 2) {
          queue.add(item)
          model.push(item)
        } else if (step === 2) {
          queue.addFirst(item)
          model.unshift(item)
        } else if (step === 3) {
          const removed = model[Math.floor(model.length / 2)]
          if (removed !== undefined) {
            model.splice(model.indexOf(removed), 1)
            assert.isTrue(queue.remove(removed))
          }
          assert.isFalse(queue.remove(item))
        } else {
          assert.strictEqual(queue.peek(), model[0])
          assert.strictEqual(queue.take(), model.shift())
        }
        assert.strictEqual(queue.size, model.length)
      }
      while (model.length > 0) assert.strictEqual(queue.take(), model.shift())
      assert.isUndefined(queue.take())
    },
    { arbitrary: { size: 60 } }
  )

  it("keeps the order of many items if it is never empty", () => {
    const queue = new Queue<number>()
    for (let n = 0; n < 200; n++) queue.add(n)
    for (let n = 200; n < 20_000; n++) {
      queue.add(n)
      assert.strictEqual(queue.take(), n - 200)
    }
  })
})

describe("a fair queue", () => {
  const setUp = (...items: ReadonlyArray<string>) => {
    // the key is the first letter
    const queue = new FairQueue<string, string>({ keyOf: (item) => item.slice(0, 1), concurrency: 2 })
    for (const item of items) queue.add(item)
    return queue
  }

  it("serves the keys in turn, and continues with the next one", () => {
    const queue = setUp("a1", "a2", "a3", "a4", "b1", "c1", "c2")
    assert.deepStrictEqual(queue.take({ atMost: 4 }), ["a1", "b1", "c1", "a2"])
    queue.add("b2")
    assert.deepStrictEqual(queue.take({ atMost: 2 }), ["c2", "a3"])
    assert.deepStrictEqual([queue.waiting, queue.sizeOf("a"), queue.sizeOf("c")], [2, 1, 0])
    assert.deepStrictEqual(queue.take({ atMost: 9 }), ["b2", "a4"])
    assert.deepStrictEqual([...queue.keys()], [])
  })

  it("takes items of the given keys only", () => {
    const queue = setUp("a1", "b1", "c1", "a2", "c2")
    assert.deepStrictEqual(queue.take({ atMost: 3, keys: ["c", "a", "none"] }), ["c1", "a1", "c2"])
    assert.deepStrictEqual([...queue.keys()], ["b", "a"])
  })

  it("takes no more than the maximum weight, except a single item of any weight", () => {
    const queue = setUp("a9", "a1", "b2", "b9")
    const take = () => queue.take({ atMost: 9, maxWeight: 4, weightOf: (item) => Number(item.slice(1)) })
    assert.deepStrictEqual([take(), take(), take(), take()], [["a9"], ["b2", "a1"], ["b9"], []])
  })

  it("puts items before all others, in their order", () => {
    const queue = setUp("a2", "b2", "c1")
    queue.addFirst(["b0", "a0", "b1"])
    assert.strictEqual(queue.waiting, 6)
    assert.deepStrictEqual(queue.take({ atMost: 9 }), ["b0", "a0", "c1", "b1", "a2", "b2"])
  })

  it("removes a waiting item, and reports one that does not wait", () => {
    const queue = setUp("a1", "b1")
    assert.isTrue(queue.remove("a1"))
    assert.isFalse(queue.remove("a1"))
    assert.deepStrictEqual([queue.waiting, [...queue.keys()]], [1, ["b"]])
  })

  it("sends at most the maximum number of batches, and none while outcomes are handed out", () => {
    const queue = setUp()
    queue.enter(3)
    assert.isTrue(queue.hasPlace)
    queue.enter(1)
    assert.deepStrictEqual([queue.hasPlace, queue.sent], [false, 4])
    queue.leave(3)
    queue.handOut(() => assert.deepStrictEqual([queue.hasPlace, queue.isHandingOut], [false, true]))
    assert.deepStrictEqual([queue.hasPlace, queue.isHandingOut, queue.sent], [true, false, 1])
  })
})

import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { Queue } from "../../src/internal/fairQueue.ts"

describe("a queue", () => {
  it.prop(
    "is an array, whatever is put in, taken out and removed",
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

  it("keeps the order of many, of which some always wait", () => {
    const queue = new Queue<number>()
    for (let n = 0; n < 200; n++) queue.add(n)
    for (let n = 200; n < 20_000; n++) {
      queue.add(n)
      assert.strictEqual(queue.take(), n - 200)
    }
  })
})

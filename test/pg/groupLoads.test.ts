import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scheduler } from "effect"
import * as groupLoads from "../../src/pg/groupLoads.ts"
import { type TenantId, TenantId as TenantIdSchema } from "../../src/domain/Tenant.ts"

const tenant = (n: number): TenantId =>
  TenantIdSchema.make(`00000000-0000-7000-8000-${String(n).padStart(12, "0")}`)
const [a, b, c] = [tenant(1), tenant(2), tenant(3)]

interface Load {
  readonly tenantId: TenantId
  readonly id: string
}
const load = (tenantId: TenantId, id: string): Load => ({ tenantId, id })

/** A driver whose statements wait until they are released. The outcome of a load is its id. */
const setUp = Effect.fnUntraced(function* (
  limits: Partial<groupLoads.Limits> = {},
  options?: { readonly gathers: boolean }
) {
  const statements: Array<ReadonlyArray<string>> = []
  const gates: Array<Deferred.Deferred<void, string>> = []
  /** Loads that a batch does not reach. */
  const beyond = new Set<string>()
  /** Loads that fail in a batch. */
  const broken = new Set<string>()
  const stand = Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
    const gate = yield* Deferred.make<void, string>()
    statements.push(ids)
    gates.push(gate)
    yield* Deferred.await(gate)
  })
  const submit = groupLoads.make(
    ({ id }: Load) => Effect.as(stand([id]), id),
    (loads) =>
      Effect.as(
        Effect.orDie(stand(loads.map(({ id }) => id))),
        loads.map(({ id }) =>
          beyond.has(id) && loads.length > 1
            ? undefined
            : broken.has(id)
              ? Exit.fail(`${id} is broken`)
              : Exit.succeed(id)
        )
      ),
    Effect.runForkWith(yield* Effect.context()),
    { maxLoads: 100, concurrency: 1, ...limits },
    options
  )
  const settle = Effect.forEach([1, 2, 3, 4, 5], () => Effect.yieldNow, { discard: true })
  const start = (...loads: ReadonlyArray<Load>) =>
    Effect.forEach(loads, (one) => Effect.forkDetach(submit(one), { startImmediately: true })).pipe(
      Effect.tap(settle)
    )
  const letGo = (index: number) =>
    Effect.suspend(() => Deferred.succeed(gates[index] ?? assert.fail("no such statement"), undefined)).pipe(
      Effect.andThen(settle)
    )
  const letFail = (index: number) =>
    Effect.suspend(() => Deferred.fail(gates[index] ?? assert.fail("no such statement"), "failed")).pipe(
      Effect.andThen(settle)
    )
  return { beyond, broken, letFail, letGo, settle, start, statements, submit }
})

describe("grouped loads", () => {
  it.effect("that gather send those of one turn of the event loop together", () =>
    Effect.gen(function* () {
      const { letGo, start, statements } = yield* setUp({}, { gathers: true })
      const fibers = yield* start(load(a, "1"), load(b, "2"), load(a, "3"))
      assert.deepStrictEqual(statements, [["1", "2", "3"]])
      const later = yield* start(load(a, "4"))
      yield* letGo(0)
      assert.deepStrictEqual(yield* Fiber.joinAll(fibers), ["1", "2", "3"])
      assert.deepStrictEqual(statements.slice(1), [["4"]])
      yield* letGo(1)
      assert.deepStrictEqual(yield* Fiber.joinAll(later), ["4"])
    })
  )

  it.effect("that gather do not spread many of one turn over the allowed statements", () =>
    Effect.gen(function* () {
      const { letGo, start, statements } = yield* setUp({ concurrency: 2 }, { gathers: true })
      const ids = Array.from({ length: 20 }, (_, n) => `${n}`)
      const fibers = yield* start(...ids.map((id) => load(a, id)))
      assert.deepStrictEqual(statements, [ids])
      yield* letGo(0)
      assert.deepStrictEqual(yield* Fiber.joinAll(fibers), ids)
    })
  )

  it.effect("send a lone load at once, and those that arrive meanwhile together", () =>
    Effect.gen(function* () {
      const { letGo, start, statements } = yield* setUp()
      const fibers = yield* start(load(a, "1"), load(b, "2"), load(a, "3"))
      assert.deepStrictEqual(statements, [["1"]])
      yield* letGo(0)
      assert.deepStrictEqual(statements, [["1"], ["2", "3"]])
      yield* letGo(1)
      assert.deepStrictEqual(yield* Fiber.joinAll(fibers), ["1", "2", "3"])
    })
  )

  it.effect(
    "have at most the allowed number of statements in progress, with the loads spread over them",
    () =>
      Effect.gen(function* () {
        const { letGo, start, statements } = yield* setUp({ concurrency: 2 })
        const fibers = yield* start(...Array.from({ length: 18 }, (_, n) => load(a, `${n}`)))
        assert.deepStrictEqual(statements, [["0"], ["1"]])
        yield* letGo(0)
        assert.lengthOf(statements[2] ?? [], 9)
        assert.lengthOf(statements, 3)
        yield* letGo(1)
        assert.lengthOf(statements[3] ?? [], 7)
        yield* letGo(2)
        yield* letGo(3)
        assert.deepStrictEqual(
          yield* Fiber.joinAll(fibers),
          Array.from({ length: 18 }, (_, n) => `${n}`)
        )
      })
  )

  it.effect("take tenants in turn, and at most the allowed number of loads", () =>
    Effect.gen(function* () {
      const { letGo, start, statements } = yield* setUp({ maxLoads: 4 })
      yield* start(load(c, "first"))
      yield* start(...Array.from({ length: 8 }, (_, n) => load(a, `a${n}`)), load(b, "b1"), load(c, "c1"))
      yield* letGo(0)
      yield* letGo(1)
      yield* letGo(2)
      assert.deepStrictEqual(statements.slice(1), [
        ["a0", "b1", "c1", "a1"],
        ["a2", "a3", "a4", "a5"],
        ["a6", "a7"]
      ])
    })
  )

  it.effect(
    "send those of a tenant with more than its share after the others, and its turn comes again",
    () =>
      Effect.gen(function* () {
        const { letGo, start, statements } = yield* setUp({ maxLoads: 40, concurrency: 3 })
        const some = (tenantId: TenantId, name: string, count: number) =>
          Array.from({ length: count }, (_, n) => load(tenantId, `${name}${n}`))
        const count = (statement: number, name: string) =>
          statements[statement]?.filter((id) => id.startsWith(name)).length
        yield* start(load(c, "x"), load(c, "y"), load(c, "z"))
        yield* start(...some(a, "a", 110), ...some(b, "b", 21))
        // nothing of either is in progress yet: in turns
        yield* letGo(0)
        assert.deepStrictEqual([count(3, "a"), count(3, "b")], [20, 20])
        yield* letGo(1)
        assert.deepStrictEqual([count(4, "a"), count(4, "b")], [39, 1])
        yield* start(...some(b, "c", 39))
        yield* letGo(2)
        // 59 of the 80 loads in progress are of the first tenant
        assert.deepStrictEqual([count(5, "a"), count(5, "c")], [1, 39])
        yield* start(...some(b, "d", 40))
        yield* letGo(4)
        // 21 in progress are no longer more than its share, and the second tenant has more than its own
        assert.deepStrictEqual([count(6, "a"), count(6, "d")], [40, 0])
      })
  )

  it.effect("send loads again that a statement did not reach", () =>
    Effect.gen(function* () {
      const { beyond, letGo, start, statements } = yield* setUp()
      beyond.add("3")
      const fibers = yield* start(load(a, "1"), load(a, "2"), load(b, "3"))
      yield* letGo(0)
      yield* letGo(1)
      assert.strictEqual(yield* Fiber.join(fibers[1] ?? assert.fail()), "2")
      // alone now
      assert.deepStrictEqual(statements, [["1"], ["2", "3"], ["3"]])
      yield* letGo(2)
      assert.strictEqual(yield* Fiber.join(fibers[2] ?? assert.fail()), "3")
    })
  )

  it.effect("send unreached loads before all others, and none that nobody waits for", () =>
    Effect.gen(function* () {
      const { beyond, letGo, start, statements } = yield* setUp({ maxLoads: 4 })
      yield* start(load(c, "first"))
      yield* start(...["a1", "a2", "a3"].map((id) => load(a, id)))
      const [b1] = yield* start(load(b, "b1"), load(b, "b2"))
      for (const id of ["b1", "a2", "b2"]) beyond.add(id)
      yield* letGo(0)
      yield* start(load(a, "a4"), load(c, "c1"))
      yield* letGo(1)
      assert.deepStrictEqual(statements.slice(1), [
        ["a1", "b1", "a2", "b2"],
        ["b1", "a2", "c1", "b2"]
      ])
      yield* Fiber.interrupt(b1 ?? assert.fail())
      yield* letGo(2)
      assert.deepStrictEqual(statements[3], ["a2", "b2", "a3", "a4"])
    })
  )

  it.effect("return each load its own failure, and continue after it", () =>
    Effect.gen(function* () {
      const { broken, letFail, letGo, start } = yield* setUp()
      broken.add("2")
      const [one, two, three] = yield* start(load(a, "1"), load(a, "2"), load(b, "3"))
      yield* letFail(0)
      yield* letGo(1)
      assert.deepStrictEqual(yield* Fiber.await(one ?? assert.fail()), Exit.fail("failed"))
      assert.deepStrictEqual(yield* Fiber.await(two ?? assert.fail()), Exit.fail("2 is broken"))
      assert.deepStrictEqual(yield* Fiber.await(three ?? assert.fail()), Exit.succeed("3"))
    })
  )

  it.effect("return the defect of a statement to all of its loads, and continue after it", () =>
    Effect.gen(function* () {
      const { letFail, letGo, start, statements } = yield* setUp()
      const [, two, three] = yield* start(load(a, "1"), load(a, "2"), load(b, "3"))
      yield* letGo(0)
      const [four] = yield* start(load(a, "4"))
      yield* letFail(1)
      assert.isTrue(Exit.hasDies(yield* Fiber.await(two ?? assert.fail())))
      assert.isTrue(Exit.hasDies(yield* Fiber.await(three ?? assert.fail())))
      assert.deepStrictEqual(statements[2], ["4"])
      yield* letGo(2)
      assert.strictEqual(yield* Fiber.join(four ?? assert.fail()), "4")
    })
  )

  it.effect(
    "do not send loads that are interrupted while they wait, nor wait for loads that are interrupted in progress",
    () =>
      Effect.gen(function* () {
        const { letGo, start, statements } = yield* setUp()
        const [one, two, three, four] = yield* start(load(a, "1"), load(b, "2"), load(a, "3"), load(c, "4"))
        yield* Fiber.interrupt(two ?? assert.fail())
        // its place is free at once
        yield* Fiber.interrupt(one ?? assert.fail())
        assert.deepStrictEqual(statements, [["1"], ["3", "4"]])
        yield* Fiber.interrupt(three ?? assert.fail())
        yield* letGo(1)
        assert.strictEqual(yield* Fiber.join(four ?? assert.fail()), "4")
        const [five] = yield* start(load(b, "5"))
        assert.deepStrictEqual(statements[2], ["5"])
        yield* letGo(2)
        assert.strictEqual(yield* Fiber.join(five ?? assert.fail()), "5")
      })
  )

  it.effect("free the place of a statement whose loads are all interrupted", () =>
    Effect.gen(function* () {
      const { letGo, settle, start, statements } = yield* setUp()
      const [, two, three] = yield* start(load(a, "1"), load(b, "2"), load(c, "3"))
      yield* letGo(0)
      const [four] = yield* start(load(a, "4"))
      yield* Fiber.interrupt(two ?? assert.fail())
      assert.lengthOf(statements, 2)
      yield* Fiber.interrupt(three ?? assert.fail())
      yield* settle
      assert.deepStrictEqual(statements[2], ["4"])
      yield* letGo(2)
      assert.strictEqual(yield* Fiber.join(four ?? assert.fail()), "4")
    })
  )

  it.effect("free the place of a load that is interrupted at any point", () =>
    Effect.gen(function* () {
      const submit = groupLoads.make(
        ({ id }: Load) => Effect.as(Effect.yieldNow, id),
        (loads) =>
          Effect.as(
            Effect.yieldNow,
            loads.map(({ id }) => Exit.succeed(id))
          ),
        Effect.runForkWith(yield* Effect.context()),
        { maxLoads: 10, concurrency: 1 }
      )
      for (let operations = 3; operations < 40; operations++) {
        const fiber = yield* Effect.forkDetach(
          Effect.provideService(submit(load(a, "interrupted")), Scheduler.MaxOpsBeforeYield, operations),
          { startImmediately: true }
        )
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* submit(load(b, "next")), "next", `after ${operations} operations`)
      }
    })
  )

  it.effect("send together the loads of callers that got their outcomes together", () =>
    Effect.gen(function* () {
      const { letGo, settle, statements, submit } = yield* setUp()
      const twice = (id: string) => Effect.andThen(submit(load(a, id)), submit(load(a, `${id} again`)))
      yield* Effect.forEach(["0", "1", "2", "3"], (id) =>
        Effect.forkDetach(twice(id), { startImmediately: true })
      )
      yield* settle
      yield* letGo(0)
      assert.deepStrictEqual(statements[1], ["1", "2", "3"])
      yield* letGo(1)
      assert.deepStrictEqual(statements[2], ["0 again", "1 again", "2 again", "3 again"])
    })
  )
})

import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import type { TenantId } from "../../src/domain/Tenant.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import { inTurns } from "../../src/pg/readPlaces.ts"
import { append, events, newTenant, readLog, readStream, stream } from "../../src/testing/driver/eventKit.ts"
import { servers } from "../support/Databases.ts"

/** Reads that last until they are let go, and the order in which they begin. */
const setUp = (places: number) => {
  const begun: Array<string> = []
  const gates = new Map<string, Deferred.Deferred<void>>()
  const inTurn = inTurns(places)
  const start = (tenantId: TenantId, ...names: ReadonlyArray<string>) =>
    Effect.forEach(names, (name) => {
      const gate = Deferred.makeUnsafe<void>()
      gates.set(name, gate)
      const read = Effect.andThen(
        Effect.sync(() => void begun.push(name)),
        Deferred.await(gate)
      )
      return Effect.forkDetach(inTurn(tenantId, read), { startImmediately: true })
    })
  const settle = Effect.forEach([1, 2, 3, 4, 5], () => Effect.yieldNow, { discard: true })
  const letGo = (name: string) =>
    Effect.suspend(() => Deferred.succeed(gates.get(name) ?? assert.fail(name), undefined)).pipe(
      Effect.andThen(settle)
    )
  return { begun, letGo, settle, start }
}

const some = (name: string, count: number) => Array.from({ length: count }, (_, n) => `${name}${n}`)

describe("reads of pages", () => {
  it.effect("13: begin at once while there are places, and then wait in turns of their tenants", () =>
    Effect.gen(function* () {
      const [noisy, quiet] = [newTenant(), newTenant()]
      const { begun, letGo, start } = setUp(2)
      yield* start(noisy, ...some("n", 1000))
      yield* start(quiet, "q0", "q1")
      assert.deepStrictEqual(begun, ["n0", "n1"])
      for (const name of ["n0", "n1", "n2", "q0"]) yield* letGo(name)
      assert.deepStrictEqual(begun.slice(2), ["n2", "q0", "n3", "q1"])
    })
  )

  it.effect("of a tenant with more than its share come after the others, and never starve", () =>
    Effect.gen(function* () {
      const [noisy, quiet, other] = [newTenant(), newTenant(), newTenant()]
      const { begun, letGo, start } = setUp(40)
      yield* start(noisy, ...some("n", 60))
      yield* start(quiet, ...some("q", 8))
      yield* start(other, ...some("o", 8))
      for (let n = 0; n < 10; n++) yield* letGo(`n${n}`)
      assert.deepStrictEqual(begun.slice(40), ["q0", "o0", "q1", "o1", "q2", "o2", "q3", "o3", "q4", "o4"])
      // with 29 in progress it takes its turn
      yield* letGo("n10")
      assert.strictEqual(begun.at(-1), "n40")
      yield* letGo("n11")
      assert.strictEqual(begun.at(-1), "q5")
    })
  )

  it.effect("give back the place of a read that is interrupted at any point", () =>
    Effect.gen(function* () {
      const [one, two] = [newTenant(), newTenant()]
      const { begun, letGo, settle, start } = setUp(1)
      const [first] = yield* start(one, "first")
      const [waiting] = yield* start(two, "waiting")
      const [last] = yield* start(two, "last")
      assert(first !== undefined && waiting !== undefined && last !== undefined)
      yield* Fiber.interrupt(waiting)
      // admitted, and interrupted before it goes on
      yield* Fiber.interrupt(first)
      yield* Fiber.interrupt(last)
      yield* start(one, "again")
      yield* settle
      assert.strictEqual(begun.at(-1), "again")
      assert.notInclude(begun, "waiting")
      yield* letGo("again")
    })
  )
})

describe.each(servers)("reads on $name", ({ freshDatabase }) => {
  const storage = PgStorage.layer.pipe(
    Layer.provide(
      Layer.unwrap(Effect.map(freshDatabase, ({ app }) => PgClient.layer({ ...app, maxConnections: 2 })))
    )
  )

  it.live("13: of one tenant, however many, delay those of another by a few statements", () =>
    Effect.gen(function* () {
      const [noisy, quiet] = [newTenant(), newTenant()]
      for (const tenantId of [noisy, quiet]) yield* append(tenantId, stream("one", events(3)))
      const opened = EventStorage.use(({ openLog }) =>
        Effect.scoped(
          Effect.flatMap(
            openLog({
              tenantId: quiet,
              fromPosition: 1,
              toPosition: 3,
              recordedFrom: undefined,
              recordedBefore: undefined,
              aggregateTypes: undefined,
              eventTypes: undefined
            }),
            (reader) => reader?.next(10) ?? Effect.die("no reader")
          )
        )
      )
      for (const read of [readStream(quiet, "one"), readLog(quiet), opened]) {
        let ended = 0
        const flood = yield* Effect.forkChild(
          Effect.forEach(
            Array.from({ length: 500 }),
            () =>
              Effect.andThen(
                readStream(noisy, "one"),
                Effect.sync(() => ended++)
              ),
            { concurrency: "unbounded" }
          )
        )
        yield* Effect.yieldNow
        assert.lengthOf((yield* read).rows, 3)
        assert.isBelow(ended, 100)
        yield* Fiber.join(flood)
        assert.strictEqual(ended, 500)
      }
    }).pipe(Effect.provide(storage))
  )
})

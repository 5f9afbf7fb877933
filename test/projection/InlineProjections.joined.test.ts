/** Commands that go out together, of which one fails in an inline projection. */
import { assert, describe, layer } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer } from "effect"
import { InlineProjectionFailed } from "../../src/driver/StoreError.ts"
import * as InlineProjections from "../../src/projection/InlineProjections.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as Repository from "../../src/store/Repository.ts"
import { backends } from "../support/backends.ts"
import { asNewTenant, Order, placed } from "../support/shop.ts"

const buy = (total: number) =>
  Repository.Repository.use((repository) => repository.execute(Order, "1", () => [placed(total)]))

/** Refuses totals of three digits; the first order waits, so that those behind it go out together. */
const refusing = () => {
  const started = Deferred.makeUnsafe<void>()
  const gate = Deferred.makeUnsafe<void>()
  const handled: Array<number> = []
  const projection = Projection.make(
    "small-orders",
    { aggregates: [Order] },
    {
      Placed: ({ total }) =>
        Effect.suspend(() => {
          handled.push(total)
          if (total > 99) return Effect.fail({ _tag: `TooMuch${total}` })
          if (total > 1) return Effect.void
          return Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(gate))
        })
    }
  )
  return {
    handled,
    live: Repository.layer.pipe(Layer.provideMerge(InlineProjections.layer({ projections: [projection] }))),
    /** The outcomes of orders that come while the first one is under way. */
    behindOne: (totals: ReadonlyArray<number>) =>
      Effect.gen(function* () {
        const first = yield* Effect.forkChild(buy(1))
        yield* Deferred.await(started)
        const fibers = yield* Effect.forEach(totals, (total) =>
          Effect.forkChild(buy(total), { startImmediately: true })
        )
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(first)
        return yield* Effect.forEach(fibers, (fiber) => Fiber.await(fiber))
      })
  }
}

const outcomeOf = <A extends { readonly version: number }, E>(exit: Exit.Exit<A, E>): unknown =>
  Exit.isSuccess(exit) ? exit.value.version : Cause.squash(exit.cause)

// Without PGlite, whose one connection is no case of its own here.
const tried = backends.filter(({ name }) => name !== "PGlite")

describe.each(tried)("joined commands with an inline projection, on $name,", (backend) => {
  layer(backend.layer, { excludeTestServices: true })((it) => {
    it.effect("get the errors that they would have alone, and the others are carried out", () => {
      const { behindOne, handled, live } = refusing()
      return Effect.gen(function* () {
        const exits = yield* behindOne([10, 100, 20, 200, 30])
        // the first of those behind was tried together with the next one
        assert.deepStrictEqual(handled.slice(0, 3), [1, 10, 100])
        const alone = yield* Effect.forEach([100, 200], (total) => Effect.exit(buy(total)))
        const errors = alone.map(outcomeOf)
        for (const error of errors) assert.instanceOf(error, InlineProjectionFailed)
        assert.deepStrictEqual(exits.map(outcomeOf), [2, errors[0], 3, errors[1], 4])
        const repository = yield* Repository.Repository
        assert.strictEqual((yield* repository.load(Order, "1")).version, 4)
      }).pipe(Effect.provide(live), asNewTenant)
    })
  })
})

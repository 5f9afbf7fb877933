/** Programs whose directory does not know yet where a tenant has moved to. */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import type { TenantId } from "../../src/domain/Tenant.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as TenantMove from "../../src/lifecycle/TenantMove.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import { TenantDirectory } from "../../src/routed/TenantDirectory.ts"
import { append, events, newTenant, stream } from "../../src/testing/driver/eventKit.ts"
import { administer, makeWorld, program, type World } from "../support/moving.ts"

/** The calls of a storage of events that go to each placement, in their order. */
const counted = (world: World, calls: Array<string>): World => ({
  ...world,
  storages: new Map(
    [...world.storages].map(([placement, services]) => {
      const storage: EventStorage["Service"] = Context.get(services, EventStorage)
      const noting =
        <Request, A, E>(name: string, call: (request: Request) => Effect.Effect<A, E>) =>
        (request: Request) =>
          Effect.suspend(() => {
            calls.push(`${placement}.${name}`)
            return call(request)
          })
      return [
        placement,
        Context.add(services, EventStorage, {
          ...storage,
          append: noting("append", storage.append),
          readLog: noting("readLog", storage.readLog),
          movedTo: noting("movedTo", storage.movedTo)
        })
      ]
    })
  )
})

const head = (tenantId: TenantId) =>
  Effect.map(
    EventStorage.use((storage) => storage.head({ tenantId })),
    ({ position }) => position
  )

/** A tenant that has moved from a to b, as another program knows. */
const moved = Effect.gen(function* () {
  const world = yield* makeWorld({ a: MemoryStorage.layer, b: MemoryStorage.layer })
  const tenantId = newTenant()
  world.entries.set(tenantId, "a")
  const move = Effect.gen(function* () {
    yield* TenantMove.TenantMove.use((moves) => administer(moves.start(tenantId, { to: "b" })))
  }).pipe(Effect.provide(Layer.fresh(program(world))))
  const write = Effect.suspend(() => append(tenantId, stream("one", events(1))))
  return { world, tenantId, move, write }
})

it.effect(
  "a directory that stays out of date costs one redirect, and later work goes where the tenant is",
  () =>
    Effect.gen(function* () {
      const { move, tenantId, world, write } = yield* moved
      const calls: Array<string> = []
      yield* Effect.gen(function* () {
        yield* write
        yield* move
        calls.length = 0
        yield* write
        assert.deepStrictEqual(calls, ["a.append", "a.movedTo", "b.append"])
        for (let n = 0; n < 5; n++) yield* write
        assert.strictEqual(yield* head(tenantId), 7)
        assert.deepStrictEqual(
          calls.slice(3).filter((call) => !call.startsWith("b.")),
          []
        )
      }).pipe(
        Effect.provide(Layer.fresh(program(counted(world, calls), { directory: { placementOf: () => "a" } })))
      )
    }).pipe(Effect.scoped)
)

it.effect("a placement that is cached in the directory costs one redirect, and is looked up once more", () =>
  Effect.gen(function* () {
    const { move, tenantId, world, write } = yield* moved
    const calls: Array<string> = []
    let asked = 0
    const directory = {
      placementOf: () => {
        asked++
        return world.entries.get(tenantId)
      }
    }
    yield* Effect.gen(function* () {
      yield* write
      yield* move
      calls.length = 0
      for (let n = 0; n < 5; n++) yield* write
      assert.deepStrictEqual(calls, ["a.append", "a.movedTo", ...Array.from({ length: 5 }, () => "b.append")])
      assert.strictEqual(asked, 2)
      assert.strictEqual(yield* TenantDirectory.use((known) => known.placement(tenantId)), "b")
      assert.strictEqual(asked, 2)
    }).pipe(Effect.provide(Layer.fresh(program(counted(world, calls), { directory }))))
  }).pipe(Effect.scoped)
)

it.effect(
  "work that meets the redirect at the same time is redirected once each, and all of it is done",
  () =>
    Effect.gen(function* () {
      const { move, tenantId, world, write } = yield* moved
      const calls: Array<string> = []
      yield* Effect.gen(function* () {
        yield* write
        yield* move
        calls.length = 0
        yield* Effect.all(
          Array.from({ length: 8 }, () => write),
          { concurrency: "unbounded", discard: true }
        )
        assert.strictEqual(yield* head(tenantId), 9)
        assert.isAtMost(calls.filter((call) => call === "a.append").length, 8)
        assert.lengthOf(
          calls.filter((call) => call === "b.append"),
          8
        )
      }).pipe(
        Effect.provide(Layer.fresh(program(counted(world, calls), { directory: { placementOf: () => "a" } })))
      )
    }).pipe(Effect.scoped)
)

/** A tenant with 100,000 events moves while it is in full use. */
import { assert, it } from "@effect/vitest"
import { Console, Effect, Layer, References } from "effect"
import { servers } from "../support/Databases.ts"
import { fill, Followers, movedUnderLoad } from "../support/movingLoad.ts"
import { program, setup } from "../support/movingSilos.ts"

for (const server of servers)
  it.live(
    `a tenant with 100,000 events in full use moves on ${server.name}, with a pause of less than a second`,
    () =>
      Effect.gen(function* () {
        const { entries, known, tenantId } = yield* setup(server)
        const followers = new Followers(tenantId)
        const services = followers.layer.pipe(Layer.provideMerge(program(known, entries)))
        yield* Effect.gen(function* () {
          yield* fill(tenantId, 100_000)
          const { events, millis, moved } = yield* movedUnderLoad(followers, "silo", { after: 1000 })
          assert.isAbove(events, 100_000)
          assert.isTrue(moved.removed)
          const slowest = millis.at(Math.floor(millis.length * 0.99)) ?? Infinity
          yield* Console.log(
            `pause ${String(moved.pause)}, appends p99 ${slowest} ms, slowest ${millis.at(-1)} ms`
          )
          assert.isBelow(slowest, 1000)
        }).pipe(Effect.provide(services))
      }).pipe(Effect.scoped, Effect.provideService(References.CurrentLoggers, new Set()))
  )

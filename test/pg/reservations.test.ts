/** Reservations of streams on a server: what becomes of them when a process is gone, silent, or wants too many. */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Schedule, Scope } from "effect"
import * as Tenant from "../../src/domain/Tenant.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import { as, Note, write } from "../../src/testing/isolation/kit.ts"
import { servers } from "../support/Databases.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

const locks =
  "locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())"

for (const server of servers) {
  layer(layerOn(server), { excludeTestServices: true })(`a reservation on ${server.name}`, (it) => {
    const setUp = Effect.gen(function* () {
      const database = yield* TenantDatabase
      const stores = [
        yield* database.store({ maxConnections: 10 }),
        yield* database.store({ maxConnections: 10 })
      ] as const
      const tenantId = yield* Tenant.generate
      const writeOn = (text: string) => Effect.provideContext(write(text), stores[0])
      yield* writeOn("first").pipe(as(tenantId))
      const reserve = Effect.fnUntraced(function* (process: 0 | 1, aggregateId: string) {
        const { reserveStream } = Context.get(stores[process], EventStorage)
        // Closed with the test, or before; an interrupted wait leaves it at once.
        const scope = yield* Effect.acquireRelease(Scope.make(), (one) => Scope.close(one, Exit.void))
        const isReserved = yield* Scope.provide(
          reserveStream?.({ tenantId, aggregateType: Note.type, aggregateId }) ?? Effect.succeed(false),
          scope
        ).pipe(Effect.onInterrupt(() => Scope.close(scope, Exit.void)))
        return { isReserved, leave: Scope.close(scope, Exit.void) }
      })
      return { reserve, tenantId, writeOn }
    })

    it.effect("goes to another process when the first one is gone", () =>
      Effect.gen(function* () {
        const { outside } = yield* TenantDatabase
        const { reserve } = yield* setUp
        assert.isTrue((yield* reserve(0, "1")).isReserved)
        yield* outside(`select pg_terminate_backend(pid) from pg_locks where ${locks} and granted`)
        assert.isTrue((yield* reserve(1, "1")).isReserved)
      }).pipe(Effect.scoped)
    )

    it.effect("goes to another process when the first one is silent for two seconds", () =>
      Effect.gen(function* () {
        const { reserve } = yield* setUp
        const began = performance.now()
        assert.isTrue((yield* reserve(0, "1")).isReserved)
        const next = Effect.flatMap(reserve(1, "1"), ({ isReserved, leave }) =>
          isReserved ? Effect.void : Effect.andThen(leave, Effect.fail("not yet"))
        )
        yield* Effect.retry(next, { times: 5 })
        assert.isAbove(performance.now() - began, 1500)
      }).pipe(Effect.scoped)
    )

    it.effect("takes a fifth of the pool at most, and no place after it was left", () =>
      Effect.gen(function* () {
        const { reserve, tenantId, writeOn } = yield* setUp
        const held = [yield* reserve(0, "1"), yield* reserve(0, "2")]
        assert.deepStrictEqual(
          held.map(({ isReserved }) => isReserved),
          [true, true]
        )
        const third = yield* reserve(0, "3")
        assert.isFalse(third.isReserved)
        // Others append all the same, to a reserved stream too.
        yield* writeOn("second").pipe(as(tenantId))
        for (const { leave } of held) yield* leave
        assert.isTrue((yield* reserve(0, "3")).isReserved)
      }).pipe(Effect.scoped)
    )

    it.effect("that nobody waits for any more leaves no lock and no transaction", () =>
      Effect.gen(function* () {
        const { outside } = yield* TenantDatabase
        const { reserve } = yield* setUp
        const held = yield* reserve(0, "1")
        const waiting = yield* Effect.forkChild(reserve(1, "1"), { startImmediately: true })
        const count = outside<{ n: number }>(`select count(*)::int4 as n from pg_locks where ${locks}`)
        const until = (n: number) =>
          Effect.repeat(count, { until: ([row]) => row?.n === n, schedule: Schedule.spaced("5 millis") })
        yield* until(2)
        yield* Fiber.interrupt(waiting)
        yield* until(1)
        yield* held.leave
        yield* until(0)
      }).pipe(Effect.scoped)
    )
  })
}

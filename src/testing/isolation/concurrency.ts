/**
 * Cases about concurrency, repetition, clocks, interruption, and the resulting messages.
 */
import { assert } from "@effect/vitest"
import { Clock, DateTime, Effect, Exit, Fiber, Result, Schema, Stream } from "effect"
import * as Aggregate from "../../domain/Aggregate.ts"
import * as Event from "../../domain/Event.ts"
import * as EventContext from "../../domain/EventContext.ts"
import * as EventStore from "../../store/EventStore.ts"
import * as Repository from "../../store/Repository.ts"
import * as Tenant from "../../domain/Tenant.ts"
import { TenantRegistry } from "../../store/TenantRegistry.ts"
import * as Canary from "../Canary.ts"
import {
  acrossTenants,
  append,
  as,
  type Case,
  failsWith,
  id,
  log,
  Note,
  noted,
  observe,
  read,
  test,
  texts,
  withNeighbour,
  write
} from "./kit.ts"
import { reasonOf } from "../failures.ts"

/** An aggregate that knows none of the events of {@link Note}. */
const Other = Aggregate.make(
  Note.type,
  {
    id: Schema.String,
    state: Schema.Struct({}),
    initial: {},
    events: [Schema.TaggedStruct("Unheard", {})]
  },
  (state) => state
)

const numbers = (count: number): ReadonlyArray<number> =>
  Array.from({ length: count }, (_, index) => index + 1)

const assertGapless = (events: ReadonlyArray<Event.Envelope<unknown>>): void => {
  assert.deepStrictEqual(
    events.map(({ position }) => position),
    numbers(events.length)
  )
}

/** A clock that goes back an hour each time it is read. */
const backwards = (clock: Clock.Clock): Clock.Clock => {
  let time = clock.currentTimeMillisUnsafe()
  const back = () => (time -= 3_600_000)
  return {
    ...clock,
    currentTimeMillisUnsafe: back,
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    currentTimeMillis: Effect.sync(back),
    currentTimeNanosUnsafe: () => BigInt(back()) * 1_000_000n,
    currentTimeNanos: Effect.sync(() => BigInt(back()) * 1_000_000n),
    sleep: (duration) => clock.sleep(duration)
  }
}

/** The cases. */
export const concurrency: ReadonlyArray<Case> = [
  test("6: an interrupted append is stored whole or not at all, and no other tenant notices", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const before = (yield* log().pipe(as(mine))).length
        const fibers = yield* Effect.forEach(numbers(24), (n) =>
          Effect.forkChild(write(`interrupted ${n}`, { stream: `${n % 3}` }).pipe(as(theirs)))
        )
        const own = yield* Effect.forkChild(
          Effect.forEach(numbers(12), (n) => write(`mine ${n}`), { concurrency: 4 }).pipe(as(mine))
        )
        for (const [index, fiber] of fibers.entries()) {
          if (index % 3 !== 0) yield* Fiber.interrupt(fiber)
          if (index % 4 === 0) yield* Effect.sleep("1 millis")
        }
        const acknowledged = (yield* Fiber.awaitAll(fibers)).flatMap((exit) =>
          Exit.isSuccess(exit) ? exit.value.events.map(({ eventId }) => eventId) : []
        )
        yield* Fiber.join(own)
        const events = yield* log().pipe(as(theirs))
        assertGapless(events)
        assert.includeMembers(
          events.map(({ eventId }) => eventId),
          acknowledged
        )
        const undisturbed = yield* log().pipe(as(mine))
        assertGapless(undisturbed)
        assert.lengthOf(undisturbed, before + 12)
      })
    )),

  test("14: nothing that a tenant is told contains data of another", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const canary = Canary.make()
        const { secret } = canary
        const eventId = Event.generateId()
        const stream = `${secret}-id`
        const shared = { stream, eventId }
        const plant = append(
          { _tag: "Attached", json: { [`${secret}-key`]: `${secret}-value` } },
          { ...shared, actor: `${secret}-actor`, metadata: { [`${secret}-name`]: secret } }
        ).pipe(
          EventContext.provide({ correlationId: `${secret}-correlation`, causationId: `${secret}-cause` }),
          as(theirs)
        )
        yield* plant
        const repository = yield* Repository.Repository
        const registry = yield* TenantRegistry
        const store = yield* EventStore.EventStore
        const attempts: ReadonlyArray<
          Effect.Effect<unknown, unknown, EventStore.EventStore | Tenant.CurrentTenant>
        > = [
          Effect.provideService(observe, TenantRegistry, registry),
          write("x", { eventId }),
          write("y", { eventId }),
          write("z", { eventId, stream: "elsewhere" }),
          write("x", { expected: 99 }),
          write("x", { expected: "noStream" }),
          write("\0"),
          write("x", { stream: "\0" }),
          append({ _tag: "Measured", value: -0 }),
          append({ _tag: "Attached", json: "x".repeat(2 << 20) }),
          repository.load(Note, "nobody's"),
          repository.execute(Note, id, () => Effect.fail("refused")),
          repository.execute(Note, id, ({ texts: known }) => [noted(`${known.length}`)]),
          Stream.runCollect(store.readStream({ aggregate: Other, id })),
          registry.suspend(mine).pipe(acrossTenants),
          write("suspended"),
          registry.resume(mine).pipe(acrossTenants)
        ]
        const noise = yield* Effect.forkChild(Effect.forever(Effect.andThen(plant, Effect.sleep("1 millis"))))
        for (const attempt of attempts) {
          const heard = yield* Canary.overhear(attempt.pipe(Effect.withSpan("attempt"), as(mine)))
          assert.include(
            heard.spans.map(({ name }) => name),
            "attempt"
          )
          Canary.assertAbsent([canary, Canary.of(theirs)], heard)
        }
        yield* Fiber.interrupt(noise)
      })
    )),

  test("27: of many writers at one version one wins, and the others learn the version of their own tenant", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const stream = "contended"
        yield* Effect.forEach(numbers(3), () => write("ahead", { stream })).pipe(as(theirs))
        const race = (tenant: Tenant.TenantId, expected: number) =>
          Effect.forEach(
            numbers(16),
            (n) => write(`writer ${n}`, { stream, expected }).pipe(Effect.result, as(tenant)),
            { concurrency: "unbounded" }
          )
        const both = yield* Effect.all([race(mine, 0), race(theirs, 3)], { concurrency: 2 })
        for (const [index, [tenant, version]] of (
          [
            [mine, 1],
            [theirs, 4]
          ] as const
        ).entries()) {
          const outcomes = both[index] ?? []
          const winners = outcomes.filter(Result.isSuccess)
          assert.deepStrictEqual(
            winners.map(({ success }) => success.version),
            [version]
          )
          for (const { failure } of outcomes.filter(Result.isFailure)) {
            assert.deepInclude(reasonOf(failure), {
              _tag: "VersionConflict",
              tenantId: tenant,
              expected: version - 1,
              actual: version
            })
          }
          assert.lengthOf(yield* read(stream).pipe(as(tenant)), version)
        }
      })
    )),

  test("28: order is by position alone, whatever the clock says", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine) {
        const now = yield* DateTime.now
        const clock = backwards(yield* Effect.service(Clock.Clock))
        for (const n of numbers(3)) {
          yield* write(`backwards ${n}`, { stream: "clock" }).pipe(
            Effect.provideService(Clock.Clock, clock),
            as(mine)
          )
        }
        for (const n of numbers(3))
          yield* write(`equal ${n}`, { stream: "clock", occurredAt: now }).pipe(as(mine))
        yield* write("earlier", { stream: "clock", occurredAt: DateTime.subtract(now, { days: 1 }) }).pipe(
          as(mine)
        )
        const expected = [
          ...numbers(3).map((n) => `backwards ${n}`),
          ...numbers(3).map((n) => `equal ${n}`),
          "earlier"
        ]
        assert.deepStrictEqual(texts(yield* read("clock").pipe(as(mine))), expected)
        const events = yield* log().pipe(as(mine))
        assertGapless(events)
        assert.deepStrictEqual(texts(events).slice(-7), expected)
        const recorded = events.map(({ recordedAt }) => recordedAt.epochMilliseconds)
        assert.deepStrictEqual(
          recorded,
          recorded.toSorted((a, b) => a - b)
        )
        const occurred = events.slice(-7, -4).map(({ occurredAt }) => occurredAt.epochMilliseconds)
        assert.deepStrictEqual(
          occurred,
          occurred.toSorted((a, b) => b - a)
        )
      })
    )),

  test("29: a repeated append returns the first outcome and is stored once", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const eventId = Event.generateId()
        const attempt = (tenant: Tenant.TenantId) =>
          write("once", { stream: "retried", expected: "noStream", eventId }).pipe(as(tenant))
        const position = EventStore.EventStore.use((store) => store.position)
        const before = yield* position.pipe(as(mine))
        const outcomes = yield* Effect.forEach(
          numbers(16),
          (n) => Effect.map(attempt(n % 2 === 0 ? mine : theirs), (outcome) => ({ n, ...outcome })),
          { concurrency: "unbounded" }
        )
        const own = outcomes.filter(({ n }) => n % 2 === 0)
        assert.lengthOf(
          own.filter(({ replayed }) => !replayed),
          1
        )
        for (const outcome of own) {
          assert.deepStrictEqual([outcome.version, outcome.position], [1, before + 1])
          assert.deepStrictEqual(texts(outcome.events), ["once"])
        }
        yield* write("more", { stream: "retried" }).pipe(as(mine))
        const late = yield* attempt(mine)
        assert.deepStrictEqual([late.replayed, late.version, late.position], [true, 1, before + 1])
        assert.deepStrictEqual(texts(yield* read("retried").pipe(as(mine))), ["once", "more"])
        assert.deepStrictEqual(texts(yield* read("retried").pipe(as(theirs))), ["once"])
      })
    )),

  test("34: nothing is acknowledged after a suspension, and nothing acknowledged before it is lost", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const registry = yield* TenantRegistry
        const store = yield* EventStore.EventStore
        const former = (yield* log().pipe(as(theirs))).length
        let suspended = false
        const acknowledged: Array<string> = []
        const late: Array<string> = []
        const writer = Effect.gen(function* () {
          for (;;) {
            const begun = suspended
            const outcome = yield* Effect.result(write("race", { stream: "race" }))
            if (Result.isFailure(outcome)) {
              assert.strictEqual(reasonOf(outcome.failure)._tag, "TenantSuspended")
              return
            }
            const eventId = outcome.success.events[0]?.eventId ?? assert.fail("no event")
            acknowledged.push(eventId)
            if (begun) late.push(eventId)
            // memory answers at once, so yield to the other fibers
            yield* Effect.yieldNow
          }
        }).pipe(as(theirs))
        const writers = yield* Effect.forEach(numbers(8), () => Effect.forkChild(writer))
        yield* Effect.sleep("15 millis")
        yield* registry.suspend(theirs).pipe(acrossTenants)
        suspended = true
        const position = yield* store.position.pipe(as(theirs))
        yield* write("not suspended").pipe(as(mine))
        yield* write("refused").pipe(failsWith("TenantSuspended"), as(theirs))
        yield* Fiber.joinAll(writers)
        assert.deepStrictEqual(late, [])
        const events = yield* log().pipe(as(theirs))
        assertGapless(events)
        assert.lengthOf(events, position)
        assert.sameMembers(
          events.slice(former).map(({ eventId }) => eventId as string),
          acknowledged
        )
        yield* registry.resume(theirs).pipe(acrossTenants)
        assert.strictEqual((yield* write("resumed").pipe(as(theirs))).position, position + 1)
      })
    ))
]

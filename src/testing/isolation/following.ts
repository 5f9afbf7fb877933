/**
 * Cases about fairness, about positions presented by the wrong tenant, and about hints of new events.
 */
import { assert } from "@effect/vitest"
import { Effect, Exit, Fiber, Stream } from "effect"
import type * as Event from "../../domain/Event.ts"
import { EventStorage } from "../../driver/EventStorage.ts"
import * as EventStore from "../../store/EventStore.ts"
import * as Subscription from "../../projection/Subscription.ts"
import type * as Tenant from "../../domain/Tenant.ts"
import { as, type Case, failsWith, log, Note, observe, test, texts, withNeighbour, write } from "./kit.ts"

/** Writers of the noisy tenant, each with one append in progress. */
const writers = 8

/** Maximum number of a noisy writer's appends that another tenant's append waits for: those in progress, and some batches. */
const bound = 8

/** Follows the log of the tenant behind a position until it has seen the given number of events. */
const follow = (after: number | Event.Position, count: number) =>
  Subscription.log({ aggregates: [Note], after, pollInterval: "10 millis" }).pipe(
    Stream.take(count),
    Stream.runCollect
  )

const position = EventStore.EventStore.use((store) => store.position)

/** Wrong hints. */
const hints: Readonly<Record<string, Stream.Stream<void>>> = {
  lost: Stream.never,
  ended: Stream.empty,
  "repeated endlessly": Stream.forever(Stream.fromEffect(Effect.andThen(Effect.yieldNow, Effect.void)))
}

/** The cases. */
export const following: ReadonlyArray<Case> = [
  test(`13: an append waits for at most ${bound} appends of each writer of a noisy tenant`, () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        let acknowledged = 0
        const noise = yield* Effect.forEach(
          Array.from({ length: writers }, (_, n) => `noise ${n}`),
          (stream) =>
            write("noise", { stream }).pipe(
              Effect.tap(() => Effect.sync(() => acknowledged++)),
              // memory answers at once, so yield to the other fibers
              Effect.andThen(Effect.yieldNow),
              Effect.forever
            ),
          { concurrency: "unbounded" }
        ).pipe(as(theirs), Effect.forkChild)
        for (let n = 1; n <= 20; n++) {
          const before = acknowledged
          const { version } = yield* write(`mine ${n}`, { stream: "quiet" }).pipe(as(mine))
          assert.strictEqual(version, n)
          assert.isAtMost(acknowledged - before, writers * bound)
          yield* log({ limit: 1 }).pipe(as(mine))
          yield* Effect.yieldNow
        }
        assert.isAtLeast(acknowledged, writers)
        yield* Fiber.interrupt(noise)
      })
    )),

  test("18: the end of another tenant's log is no position in one's own", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const [ofMine, ofTheirs] = [yield* position.pipe(as(mine)), yield* position.pipe(as(theirs))]
        assert.notStrictEqual(ofMine, ofTheirs)
        const [short, long] = ofMine < ofTheirs ? [mine, theirs] : [theirs, mine]
        const head = Math.min(ofMine, ofTheirs)
        for (const forged of [Math.max(ofMine, ofTheirs), head + 1, Number.MAX_SAFE_INTEGER]) {
          const error = yield* follow(forged, 1).pipe(failsWith("PositionAhead"), as(short))
          assert.deepInclude(error, { tenantId: short, position: forged, head })
        }
        // A position that both logs have leads to one's own events only.
        assert.deepStrictEqual(
          (yield* follow(head - 1, 1).pipe(as(long))).map(({ tenantId }) => tenantId),
          [long]
        )
        // With the event's id it leads nowhere in another log, even if that has such a position.
        const [theirLast] = yield* log({ fromPosition: head, limit: 1 }).pipe(as(long))
        assert.isDefined(theirLast)
        if (theirLast !== undefined) {
          const error = yield* follow(theirLast, 1).pipe(failsWith("PositionDiverged"), as(short))
          assert.deepInclude(error, { tenantId: short, position: head, expected: theirLast.eventId })
        }
        assert.deepStrictEqual(yield* log({ fromPosition: ofMine + 1 }).pipe(as(mine)), [])
        assert.deepStrictEqual(yield* log({ toPosition: 0 }).pipe(as(mine)), [])
      })
    )),

  test("18: a cursor of all logs leads nowhere without the capability to read them", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const store = yield* EventStore.EventStore
        // The types forbid it, and with a cast it fails because the service is missing.
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- tries a call that the types refuse
        const feed = Stream.runCollect(
          store.readAllLogsJson({ after: { tenantId: theirs, position: 0 } })
        ) as unknown as Effect.Effect<unknown, unknown, Tenant.CurrentTenant>
        assert.isTrue(Exit.hasDies(yield* Effect.exit(feed.pipe(as(mine)))))
      })
    )),

  ...Object.entries(hints).map(([kind, changes]) =>
    test(`19: hints that are ${kind} change only the time at which events are seen`, () =>
      withNeighbour(
        Effect.fnUntraced(function* (mine, theirs) {
          const storage = yield* EventStorage
          const before = yield* position.pipe(as(mine))
          const followed = yield* follow(before, 3).pipe(
            as(mine),
            Effect.provideService(EventStorage, EventStorage.of({ ...storage, changes })),
            Effect.forkChild
          )
          for (let n = 1; n <= 3; n++) {
            yield* write(`theirs ${n}`).pipe(as(theirs))
            yield* write(`mine ${n}`).pipe(as(mine))
          }
          const seen = yield* Fiber.join(followed)
          assert.deepStrictEqual(texts(seen), ["mine 1", "mine 2", "mine 3"])
          assert.deepStrictEqual(
            seen.map(({ position: at }) => at),
            [before + 1, before + 2, before + 3]
          )
        })
      ))
  ),

  test("19: a hint does not say which log has new events, nor how many", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const storage = yield* EventStorage
        const before = yield* observe.pipe(as(mine))
        const heard = yield* storage.changes.pipe(Stream.take(1), Stream.runCollect, Effect.forkChild)
        const noise = yield* write("theirs").pipe(
          as(theirs),
          Effect.andThen(Effect.sleep("5 millis")),
          Effect.forever,
          Effect.forkChild
        )
        assert.deepStrictEqual(yield* Fiber.join(heard), [undefined])
        yield* Fiber.interrupt(noise)
        assert.deepStrictEqual(yield* observe.pipe(as(mine)), before)
      })
    ))
]

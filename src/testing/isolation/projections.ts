/**
 * Cases about projections of two tenants with the same ids, run by one runner.
 */
import { assert } from "@effect/vitest"
import { Effect, Layer, References, Schedule, Schema, Stream } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import * as Aggregate from "../../domain/Aggregate.ts"
import * as EventStore from "../../store/EventStore.ts"
import * as Projection from "../../projection/Projection.ts"
import * as ProjectionRunner from "../../projection/ProjectionRunner.ts"
import * as ProjectionManager from "../../projection/ProjectionManager.ts"
import type { ProjectionStorage } from "../../driver/ProjectionStorage.ts"
import * as Tenant from "../../domain/Tenant.ts"
import * as Canary from "../Canary.ts"
import { as, type Case, failsWith, id, type Services, test } from "./kit.ts"

const Done = Schema.TaggedStruct("Done", { text: Schema.String })

/** An aggregate type of its own, so that these projections skip the events of other cases. */
const Job = Aggregate.make(
  "Job",
  { id: Schema.String, state: Schema.Null, initial: null, events: [Done] },
  { Done: () => null }
)

const append = (...jobs: ReadonlyArray<string>) =>
  EventStore.EventStore.use((store) =>
    store.append({
      aggregate: Job,
      id,
      expectedVersion: "any",
      events: jobs.map((text) => Done.make({ text }))
    })
  )

/** An error whose message contains nothing of the event, because it is stored with the projection's progress. */
class CannotDo extends Schema.TaggedError<CannotDo>()("CannotDo", {}) {}

/** An event that a handler received, and the tenant that it ran as. */
interface Handled {
  readonly tenant: Tenant.TenantId
  readonly current: Tenant.TenantId
  readonly text: string
}

/** A projection that records the events it handles, and fails on request. */
const noting = (
  options: Partial<Projection.Options<readonly [typeof Job]>> = {},
  fails: (text: string) => boolean = () => false
) => {
  const handled: Array<Handled> = []
  const projection = Projection.make(
    `isolation ${uuidV4Unsafe()}`,
    { aggregates: [Job], retry: Schedule.recurs(0), ...options },
    {
      Done: ({ text }, { tenantId }) =>
        Effect.gen(function* () {
          if (fails(text)) return yield* new CannotDo()
          handled.push({ tenant: tenantId, current: yield* Tenant.CurrentTenant, text })
        })
    }
  )
  // Records outside of a database are not undone with the batch, so they may repeat.
  const of = (tenant: Tenant.TenantId) => [
    ...new Set(handled.flatMap((one) => (one.tenant === tenant ? [one.text] : [])))
  ]
  return { projection, handled, of }
}

type Running = ProjectionRunner.ProjectionRunner | ProjectionManager.ProjectionManager

/** Runs an effect with a runner that works on request. */
const beside =
  (projection: Projection.Projection<unknown, Tenant.CurrentTenant>) =>
  <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, unknown, Exclude<R, Running> | Services | ProjectionStorage> =>
    Effect.provide(
      effect,
      Layer.merge(
        ProjectionManager.layer,
        ProjectionRunner.layer({ projections: [projection], concurrency: 0, sweepInterval: "1 hour" })
      ),
      { local: true }
    )

const drain = ProjectionRunner.ProjectionRunner.use((runner) => runner.drain)

const status = (projection: ProjectionManager.Ref) =>
  ProjectionManager.ProjectionManager.use((projections) => projections.status(projection))

const deadLetters = (projection: ProjectionManager.Ref) =>
  ProjectionManager.ProjectionManager.use((projections) =>
    Stream.runCollect(projections.deadLetters(projection))
  )

/** Works until a projection is in a state, with retries, because an announcement may hide a tenant for a moment. */
const until = (
  projection: ProjectionManager.Ref,
  tenant: Tenant.TenantId,
  state: ProjectionManager.Status["state"],
  at: number
) =>
  drain.pipe(
    Effect.andThen(status(projection)),
    Effect.flatMap((found) =>
      found.state === state && found.position === at ? Effect.void : Effect.fail(found)
    ),
    Effect.retry(Schedule.spaced("10 millis").pipe(Schedule.upTo({ times: 500 }))),
    as(tenant)
  )

/** Runs in both directions, because the order of ids and of registration must not matter. */
const twice = <E, R>(
  run: (mine: Tenant.TenantId, theirs: Tenant.TenantId) => Effect.Effect<void, E, R>
): Effect.Effect<void, E, R> =>
  Effect.gen(function* () {
    for (const reversed of [false, true]) {
      const [first, second] = [yield* Tenant.generate, yield* Tenant.generate]
      yield* reversed ? run(second, first) : run(first, second)
    }
  }).pipe(
    // handlers fail on purpose
    Effect.provideService(References.CurrentLoggers, new Set())
  )

/** Maximum number of the noisy tenant's events that are handled before the other tenant's only event. */
const backlog = { events: 200, batchSize: 5, bound: 20 }

/** The cases. */
export const projections: ReadonlyArray<Case<Services | ProjectionStorage>> = [
  test("10: a handler runs as the tenant of its event, and a batch has one tenant", () =>
    twice(
      Effect.fnUntraced(function* (mine, theirs) {
        const batches: Array<ReadonlySet<string>> = []
        const { projection, handled, of } = noting()
        const inBatches: typeof projection = {
          ...projection,
          handleAll: (envelopes) =>
            Effect.gen(function* () {
              const current = yield* Tenant.CurrentTenant
              batches.push(new Set([current, ...envelopes.map(({ tenantId }) => tenantId)]))
            })
        }
        for (let n = 1; n <= 3; n++) {
          yield* append(`mine ${n}`).pipe(as(mine))
          yield* append(`theirs ${n}`).pipe(as(theirs))
        }
        for (const one of [projection, inBatches]) {
          yield* Effect.andThen(until(one, mine, "live", 3), until(one, theirs, "live", 3)).pipe(
            beside(one === inBatches ? { ...one, name: `${one.name} in batches` } : one)
          )
        }
        assert.deepStrictEqual(
          handled.filter(({ current, tenant }) => current !== tenant),
          []
        )
        assert.deepStrictEqual(of(mine), ["mine 1", "mine 2", "mine 3"])
        assert.deepStrictEqual(of(theirs), ["theirs 1", "theirs 2", "theirs 3"])
        assert.isNotEmpty(batches)
        for (const tenants of batches) assert.strictEqual(tenants.size, 1)
      })
    )),

  test("12: an event that cannot be handled stops its own tenant only", () =>
    twice(
      Effect.fnUntraced(function* (mine, theirs) {
        const poison = `poison ${theirs}`
        const { of, projection } = noting({}, (text) => text === poison)
        yield* Effect.gen(function* () {
          yield* append("before", poison, "behind").pipe(as(theirs))
          yield* append("before", "between", "behind").pipe(as(mine))
          yield* until(projection, theirs, "parked", 1)
          yield* until(projection, mine, "live", 3)
          yield* append("later").pipe(as(mine))
          yield* until(projection, mine, "live", 4)
          assert.deepStrictEqual(of(mine), ["before", "between", "behind", "later"])
          assert.deepStrictEqual(of(theirs), ["before"])
          assert.isUndefined((yield* status(projection).pipe(as(mine))).failure)
        }).pipe(beside(projection))
      })
    )),

  test(`13: behind a backlog of ${backlog.events} events another tenant waits for at most ${backlog.bound}`, () =>
    twice(
      Effect.fnUntraced(function* (mine, theirs) {
        const { handled, projection } = noting({ batchSize: backlog.batchSize })
        yield* Effect.gen(function* () {
          // First the events of other cases: databases take turns, so a tenant also waits for others in its own database, which
          // is not measured here.
          yield* drain
          yield* append(...Array.from({ length: backlog.events }, (_, n) => `theirs ${n}`)).pipe(as(theirs))
          yield* append("mine").pipe(as(mine))
          yield* until(projection, mine, "live", 1)
          yield* until(projection, theirs, "live", backlog.events)
        }).pipe(beside(projection))
        const of = handled.filter(({ tenant }) => tenant === mine || tenant === theirs)
        assert.lengthOf(of, backlog.events + 1)
        const waited = of.findIndex(({ tenant }) => tenant === mine)
        assert.isAtLeast(waited, 0)
        assert.isAtMost(waited, backlog.bound)
      })
    )),

  test("14: the report of one tenant's failed events contains nothing of another tenant", () =>
    twice(
      Effect.fnUntraced(function* (mine, theirs) {
        const canary = Canary.make()
        // Without the events of other cases.
        const { projection } = noting({ onFailure: "deadLetter" }, (text) =>
          [canary.in("event"), `mine ${mine}`].includes(text)
        )
        yield* Effect.gen(function* () {
          yield* append(canary.in("event")).pipe(as(theirs))
          yield* append(`mine ${mine}`).pipe(as(mine))
          const heard = yield* Canary.overhear(
            Effect.gen(function* () {
              yield* until(projection, theirs, "live", 1)
              yield* until(projection, mine, "live", 1)
              return {
                status: yield* status(projection),
                letters: yield* deadLetters(projection),
                replayed: yield* Effect.exit(
                  ProjectionManager.ProjectionManager.use(({ replayDeadLetters }) =>
                    replayDeadLetters(projection)
                  )
                ),
                behind: yield* Effect.exit(
                  ProjectionManager.ProjectionManager.use(({ awaitPosition }) =>
                    awaitPosition(projection, 2, { timeout: "20 millis" })
                  )
                )
              }
            }).pipe(Effect.withSpan("mine"), as(mine))
          )
          Canary.assertAbsent(canary, heard)
          assert.isNotEmpty(heard.spans)
          assert.isNotEmpty(heard.metrics)
          assert.lengthOf(yield* deadLetters(projection).pipe(as(theirs)), 1)
        }).pipe(beside(projection))
      })
    )),

  test("15: dead letters are listed, replayed and discarded by their own tenant only", () =>
    twice(
      Effect.fnUntraced(function* (mine, theirs) {
        const poison = `poison ${theirs}`
        let healed = false
        const { of, projection } = noting(
          { onFailure: "deadLetter" },
          (text) => !healed && text.startsWith(poison)
        )
        yield* Effect.gen(function* () {
          const service = yield* ProjectionManager.ProjectionManager
          yield* append(`${poison} 1`, `${poison} 2`, "good").pipe(as(theirs))
          yield* append("good 1", "good 2", "good 3").pipe(as(mine))
          yield* until(projection, theirs, "live", 3)
          yield* until(projection, mine, "live", 3)
          const before = yield* deadLetters(projection).pipe(as(theirs))
          assert.deepStrictEqual(
            before.map(({ position }) => position),
            [1, 2]
          )
          healed = true
          yield* Effect.gen(function* () {
            assert.deepStrictEqual(yield* deadLetters(projection), [])
            assert.strictEqual(yield* service.replayDeadLetters(projection), 0)
            assert.isFalse(yield* service.resume(projection))
            const error = yield* service
              .discardDeadLetter(projection, 1, "not mine")
              .pipe(failsWith("DeadLetterNotFound"))
            assert.strictEqual(error.tenantId, mine)
          }).pipe(as(mine))
          assert.deepStrictEqual(yield* deadLetters(projection).pipe(as(theirs)), before)
          assert.deepStrictEqual(of(theirs), ["good"])
          yield* service.discardDeadLetter(projection, 1, "not needed").pipe(as(theirs))
          assert.strictEqual(yield* service.replayDeadLetters(projection).pipe(as(theirs)), 1)
          assert.deepStrictEqual(of(theirs), ["good", `${poison} 2`])
          assert.deepStrictEqual(of(mine), ["good 1", "good 2", "good 3"])
        }).pipe(beside(projection))
      })
    ))
]

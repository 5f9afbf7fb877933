/**
 * Repositories are linearizable, with any concurrency and any failures: some sequential order of their operations explains all
 * answers. `EVENTSOURCING_HISTORIES` sets the number of histories (default: 500), `EVENTSOURCING_HISTORY` the seed of the only one
 * to run.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, References, type Scope } from "effect"
import { broken } from "../support/linearizability/broken.ts"
import { servers } from "../support/Databases.ts"
import { tryHistory, type World } from "../support/linearizability/history.ts"
import * as inMemory from "../support/linearizability/inMemory.ts"
import * as onServer from "../support/linearizability/onServer.ts"
import type { Odds, Plan } from "../support/linearizability/plan.ts"
import { repository } from "../support/linearizability/repositories.ts"

const histories = Number(process.env["EVENTSOURCING_HISTORIES"] ?? 500)
const only = process.env["EVENTSOURCING_HISTORY"]

/** Milliseconds that a test may take on a busy machine. */
const limit = 120_000 + 200 * histories

/** The seeds of a share of the histories. */
const seeds = (from: number, share: number): ReadonlyArray<number> =>
  only === undefined
    ? Array.from({ length: Math.ceil(histories * share) }, (_, n) => from + n)
    : [Number(only)]

/** Runs histories, several at a time. */
const run = (
  all: ReadonlyArray<number>,
  worldOf: (plan: Plan) => Effect.Effect<World, never, Scope.Scope>,
  { concurrency = 1, ...odds }: Odds & { readonly concurrency?: number } = {}
) =>
  Effect.forEach(
    all,
    Effect.fnUntraced(function* (seed) {
      const reports = yield* tryHistory(seed, worldOf, odds)
      assert.isEmpty(reports, reports.join("\n\n"))
    }),
    { concurrency, discard: true }
  ).pipe(Effect.provideService(References.MinimumLogLevel, "None"))

describe("the operations of repositories in two processes", () => {
  it.live(
    "are linearizable in memory",
    () =>
      Effect.andThen(
        inMemory.digestsAtOnce,
        run(seeds(1, 0.88), (plan) => inMemory.make(plan, repository))
      ).pipe(Effect.scoped),
    limit
  )

  for (const { freshDatabase, name } of servers) {
    it.live(
      `are linearizable on ${name}`,
      () =>
        Effect.gen(function* () {
          const database = yield* freshDatabase
          // A cut connection may belong to any history that runs meanwhile.
          const [cut, whole] = [
            yield* onServer.make(database, onServer.inThisProcess),
            yield* onServer.make(database, onServer.inThisProcess)
          ]
          yield* run(seeds(1_000_001, 0.1), (plan) => (plan.faults.silence > 0 ? cut : whole)(plan), {
            concurrency: 4
          })
        }).pipe(Effect.scoped),
      limit
    )

    it.live(
      `are linearizable on ${name}, when processes are killed`,
      () =>
        Effect.gen(function* () {
          const database = yield* freshDatabase
          yield* run(seeds(2_000_001, 0.02), yield* onServer.make(database, onServer.inChildren), {
            kills: 0.75
          })
        }).pipe(Effect.scoped),
      limit
    )
  }
})

describe("a broken repository", () => {
  for (const { driver, joins, loses, name, repository: wrong } of broken) {
    it.live(`is found if it ${name}`, () =>
      Effect.gen(function* () {
        yield* inMemory.digestsAtOnce
        for (let seed = 1; seed <= 200; seed++) {
          const reports = yield* tryHistory(seed, (plan) => inMemory.make(plan, wrong, driver), {
            loses,
            settings: { remembers: true, joins }
          })
          if (reports.length > 0) return
        }
        assert.fail("not found in 200 histories")
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))
    )
  }
})

/**
 * Whatever runs at once, and whatever fails: every answer of a repository is one that it could have given if its operations had
 * come one after another. `EVENTSOURCING_HISTORIES` sets the number of histories (default: 500), `EVENTSOURCING_HISTORY` the seed
 * of the only one to run.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Repository from "../../src/store/Repository.ts"
import * as SnapshotPolicy from "../../src/domain/SnapshotPolicy.ts"
import { tryHistory } from "../support/linearizability/history.ts"
import * as inMemory from "../support/linearizability/inMemory.ts"

const histories = Number(process.env["EVENTSOURCING_HISTORIES"] ?? 500)
const only = process.env["EVENTSOURCING_HISTORY"]

/** The seeds of a share of the histories. */
const seeds = (from: number, share: number): ReadonlyArray<number> =>
  only === undefined
    ? Array.from({ length: Math.ceil(histories * share) }, (_, n) => from + n)
    : [Number(only)]

const repository: inMemory.RepositoryLayer = ({ snapshots }, retry) =>
  snapshots
    ? Repository.layerWith({ retry, snapshots: { policy: SnapshotPolicy.every(3), taken: "atOnce" } })
    : Repository.layerWith({ retry })

describe("the operations of repositories in two processes", () => {
  it.live("are linearizable in memory", () =>
    Effect.gen(function* () {
      yield* inMemory.digestsAtOnce
      for (const seed of seeds(1, 0.7)) {
        const reports = yield* tryHistory(seed, (plan) => inMemory.make(plan, repository))
        assert.isEmpty(reports, reports.join("\n\n"))
      }
    }).pipe(Effect.scoped)
  )
})

import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Metric, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { RememberedStates } from "../../src/store/rememberedStates.ts"
import { rememberedEvictions } from "../../src/telemetry/Telemetry.ts"
import { initially, type LoadedState } from "../../src/store/snapshots.ts"

const Added = Schema.TaggedStruct("Added", {})
const shape = { id: Schema.String, state: Schema.Int, initial: 0, events: [Added] }
const Sum = Aggregate.make("Sum", shape, (state) => state + 1)
const Other = Aggregate.make("Sum", shape, (state) => state + 2)

const known = (version: number, weight = 1): LoadedState<number> => ({
  ...initially(version),
  version,
  weight,
  place: { version, position: version, eventId: `event ${version}`, recordedAt: 0 }
})

const tenants = Effect.runSync(Effect.replicateEffect(Tenant.generate, 3))
const [A, B, C] = [
  tenants[0] ?? Tenant.untenanted,
  tenants[1] ?? Tenant.untenanted,
  tenants[2] ?? Tenant.untenanted
]
const services = Context.empty()

const make = (entries: number, bytes = 1e9) => {
  const states = new RememberedStates(entries, bytes)
  return {
    states,
    keep: (tenantId: Tenant.TenantId, id: string, state = known(1), replace = false) =>
      states.keep(tenantId, Sum, id, state, services, replace),
    has: (tenantId: Tenant.TenantId, ...ids: ReadonlyArray<string>) =>
      ids.map((id) => states.find(tenantId, Sum, id) !== undefined)
  }
}

describe("remembered states", () => {
  it("belong to a tenant, an aggregate value and an id", () => {
    const { keep, states } = make(10)
    keep(A, "1", known(3))
    assert.strictEqual(states.find(A, Sum, "1")?.version, 3)
    assert.isUndefined(states.find(B, Sum, "1"))
    assert.isUndefined(states.find(A, Other, "1"))
    assert.isUndefined(states.find(A, Sum, "2"))
  })

  it("are replaced by newer ones, and by older ones only on request", () => {
    const { keep, states } = make(10)
    keep(A, "1", known(3))
    keep(A, "1", known(2))
    assert.strictEqual(states.find(A, Sum, "1")?.version, 3)
    keep(A, "1", known(4))
    assert.strictEqual(states.find(A, Sum, "1")?.version, 4)
    keep(A, "1", known(2), true)
    assert.strictEqual(states.find(A, Sum, "1")?.version, 2)
    // The state before the first event needs no memory.
    states.keep(A, Sum, "new", initially(0), services, false)
    assert.isUndefined(states.find(A, Sum, "new"))
  })

  it("are dropped when there are too many, the least recently used one first", () => {
    const { has, keep, states } = make(3)
    for (const id of ["1", "2", "3"]) keep(A, id)
    has(A, "1")
    keep(A, "4")
    assert.deepStrictEqual(has(A, "1", "2", "3", "4"), [true, false, true, true])
    assert.strictEqual(states.size, 3)
  })

  it("are dropped when they weigh too much together, and not kept if one alone weighs above a mebibyte", () => {
    const { has, keep, states } = make(100, 10)
    for (const id of ["1", "2", "3"]) keep(A, id, known(1, 4))
    assert.deepStrictEqual(has(A, "1", "2", "3"), [false, true, true])
    keep(A, "2", known(2, 8))
    assert.deepStrictEqual([has(A, "2", "3"), states.weight], [[true, false], 8])
    const large = make(100)
    large.keep(A, "1", known(1, 1 << 20))
    assert.deepStrictEqual(large.has(A, "1"), [true])
    large.keep(A, "1", known(2, (1 << 20) + 1))
    assert.deepStrictEqual([large.has(A, "1"), large.states.weight, large.states.size], [[false], 0, 0])
  })

  it("of one tenant take at most half of the entries if others need them", () => {
    const { has, keep, states } = make(10)
    const ids = Array.from({ length: 12 }, (_, index) => `${index}`)
    for (const id of ids) keep(A, id)
    assert.strictEqual(states.size, 10)
    keep(B, "b")
    // A continues to work, so all of its states were used after those of the others.
    for (const id of ["1", "2", "3", "4"]) {
      keep(C, id)
      has(A, ...ids)
    }
    assert.deepStrictEqual(has(B, "b"), [true])
    assert.deepStrictEqual(has(C, "1", "2", "3", "4"), [true, true, true, true])
    assert.lengthOf(has(A, ...ids).filter(Boolean), 5)
  })

  it("of one tenant take at most half of the weight if others need it", () => {
    const { has, keep } = make(100, 100)
    const ids = Array.from({ length: 10 }, (_, index) => `${index}`)
    for (const id of ids) keep(A, id, known(1, 10))
    for (const id of ["1", "2", "3", "4", "5"]) {
      keep(B, id, known(1, 10))
      has(A, ...ids)
    }
    assert.deepStrictEqual(has(B, "1", "2", "3", "4", "5"), [true, true, true, true, true])
    assert.lengthOf(has(A, ...ids).filter(Boolean), 5)
  })

  it("are dropped if they have another history, and are counted when dropped", () => {
    const { has, keep, states } = make(1)
    const count = (reason: string) =>
      Metric.withAttributes(rememberedEvictions, { aggregate: "Sum", reason }).valueUnsafe(services).count
    const [before, entries] = [count("otherHistory"), count("entries")]
    keep(A, "1", known(3))
    states.drop(A, Sum, "1", known(2).place, services)
    assert.deepStrictEqual(has(A, "1"), [true])
    states.drop(A, Sum, "1", known(3).place, services)
    assert.deepStrictEqual(has(A, "1"), [false])
    keep(A, "1")
    keep(B, "1")
    assert.deepStrictEqual([has(A, "1"), has(B, "1")], [[false], [true]])
    assert.deepStrictEqual([count("otherHistory") - before, count("entries") - entries], [1, 1])
  })

  it("note the snapshots that were taken of them", () => {
    const { keep, states } = make(10)
    keep(A, "1", { ...known(3), unusable: { version: 1, checksum: "" } })
    states.noteSnapshot(A, Sum, "1", 2)
    assert.deepInclude(states.find(A, Sum, "1"), { version: 3, snapshotVersion: 2, unusable: undefined })
    states.noteSnapshot(A, Sum, "1", 1)
    assert.deepInclude(states.find(A, Sum, "1"), { snapshotVersion: 2 })
  })
})

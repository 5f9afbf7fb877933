import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { FleetPolicy } from "effect-eventsourcing/fleet"
import { fleet, place, tenant, tenantIds } from "../support/fleets.ts"

const eu = { ...place({ tenants: 4 }), region: "eu" }

const { placements } = fleet(
  [
    ["full", { ...place({ tenants: 1 }), region: "eu" }],
    ["busy", eu],
    ["free", eu],
    ["paid", { ...eu, tier: "paid" }],
    ["us", { ...place({ tenants: 40 }), region: "us" }],
    ["closed", { ...place({ tenants: 100 }), open: false, region: "eu" }],
    ["own", { ...place({ tenants: 100 }), own: true, region: "eu" }]
  ],
  ["full", "busy", "busy", "free"].map((placement, index) => tenant(index, { placement }))
)

const asked = { tenantId: tenantIds(9), tier: undefined, region: undefined }

it.effect("the least loaded placement is that with the smallest share in use, of tier and region", () =>
  Effect.gen(function* () {
    assert.strictEqual(yield* FleetPolicy.leastLoaded(asked, placements), "us")
    const inEu = { ...asked, region: "eu" }
    assert.strictEqual(yield* FleetPolicy.leastLoaded(inEu, placements), "paid")
    assert.strictEqual(yield* FleetPolicy.leastLoaded({ ...inEu, tier: "standard" }, placements), "free")
  })
)

it.effect("a new tenant without a placement that has room is refused", () =>
  Effect.gen(function* () {
    const full = placements.filter(({ placement }) => ["full", "closed", "own"].includes(placement))
    const refused = yield* Effect.flip(FleetPolicy.leastLoaded(asked, full))
    assert.instanceOf(refused, FleetPolicy.NoPlace)
    const unknown = yield* Effect.flip(FleetPolicy.leastLoaded({ ...asked, tier: "gold" }, placements))
    assert.include(unknown.message, 'of the tier "gold"')
  })
)

it.effect("a tier is named by a function, a pin holds for its tenants alone", () =>
  Effect.gen(function* () {
    const tiered = FleetPolicy.byTier(({ tenantId }) => (tenantId === tenantIds(9) ? "paid" : "standard"))
    assert.strictEqual(yield* tiered(asked, placements), "paid")
    const pinned = FleetPolicy.pinned(
      (tenantId) => (tenantId === tenantIds(8) ? "closed" : undefined),
      tiered
    )
    assert.strictEqual(yield* pinned({ ...asked, tenantId: tenantIds(8) }, placements), "closed")
    assert.strictEqual(yield* pinned(asked, placements), "paid")
  })
)

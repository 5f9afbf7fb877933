import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { FleetLoad, FleetPlan } from "effect-eventsourcing/fleet"
import { applied, fleet, limits, place, tenant, tenantIds } from "../support/fleets.ts"

const Number0 = (most: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: most }))

/** A fleet, and the demands of its tenants. */
const Case = Schema.Struct({
  places: Schema.Array(
    Schema.Struct({
      tier: Schema.Literals(["free", "paid"]),
      region: Schema.Literals(["eu", "us"]),
      open: Schema.Literals([true, true, true, false]),
      own: Schema.Literals([false, false, false, true]),
      capacity: Schema.Literals(["tenants", "events", "eventsPerDay", "all"]),
      size: Number0(8)
    })
  ).check(Schema.isMinLength(1), Schema.isMaxLength(6)),
  tenants: Schema.Array(
    Schema.Struct({
      at: Number0(5),
      status: Schema.Literals(["active", "active", "active", "suspended", "moving"]),
      events: Number0(400),
      eventsPerDay: Number0(400),
      wants: Schema.Literals(["nothing", "nothing", "paid", "eu", "pin"])
    })
  ).check(Schema.isMaxLength(24)),
  evacuate: Schema.Array(Number0(5)).check(Schema.isMaxLength(2)),
  maxMoves: Schema.Literals(["all", "all", "three"])
})

const worldOf = ({ evacuate, maxMoves, places, tenants }: typeof Case.Type) => {
  const name = (index: number): string => `db-${index % places.length}`
  const load = fleet(
    places.map(({ capacity, size, ...declared }, index) => [
      name(index),
      { ...declared, capacity: limits(capacity, size + 1) }
    ]),
    tenants.map(({ at, events, eventsPerDay, status }, index) =>
      tenant(index, { events, eventsPerDay, status, placement: name(at) })
    )
  )
  const demands = new Map(
    tenants.map(({ at, wants }, index): [string, FleetPlan.Wanted] => [
      tenantIds(index),
      wants === "nothing"
        ? {}
        : wants === "paid"
          ? { tier: "paid" }
          : wants === "eu"
            ? { region: "eu" }
            : { placement: name(at * 7 + 1) }
    ])
  )
  const wanted = (tenantId: string): FleetPlan.Wanted => demands.get(tenantId) ?? {}
  const options: FleetPlan.Options = {
    evacuate: evacuate.map(name),
    maxMoves: maxMoves === "three" ? 3 : undefined,
    wanted
  }
  return { load, options, wanted }
}

const runs = { arbitrary: { runs: 400, size: 24 } }
const cases: [Arbitrary.Arbitrary<typeof Case.Type>] = [Arbitrary.schema(Case)]

describe("a plan", () => {
  it.prop(
    "moves active tenants, each once, from their placement to a known and another one",
    cases,
    ([given]) => {
      const { load, options } = worldOf(given)
      const { moves } = FleetPlan.make(load, options)
      const known = new Map(load.tenants.map((one) => [one.tenantId, one]))
      assert.lengthOf(new Set(moves.map(({ tenantId }) => tenantId)), moves.length)
      for (const { from, tenantId, to } of moves) {
        const found = known.get(tenantId)
        assert.containSubset(found, { placement: from, status: "active", isMoving: false })
        assert.notStrictEqual(from, to)
        assert.isTrue(load.placements.some(({ placement }) => placement === to))
        assert.notInclude(options.evacuate ?? [], to)
      }
      assert.isAtMost(moves.length, options.maxMoves ?? Infinity)
    },
    runs
  )

  it.prop(
    "keeps the tier and the region of a tenant, or gives it those that it wants",
    cases,
    ([given]) => {
      const { load, options, wanted } = worldOf(given)
      const at = (name: string) => load.placements.find(({ placement }) => placement === name)
      for (const { from, tenantId, to } of FleetPlan.make(load, options).moves) {
        const want = wanted(tenantId)
        if (want.placement !== undefined) {
          assert.strictEqual(to, want.placement)
          continue
        }
        assert.strictEqual(at(to)?.tier, want.tier ?? at(from)?.tier)
        assert.strictEqual(at(to)?.region, want.region ?? at(from)?.region)
        assert.containSubset(at(to), { open: true, own: false })
      }
    },
    runs
  )

  it.prop(
    "never fills a placement beyond the limit at any step, except for a pin",
    cases,
    ([given]) => {
      const { load, options, wanted } = worldOf(given)
      let now = load
      for (const move of FleetPlan.make(load, options).moves) {
        now = applied(now, [move])
        const to = now.placements.find(({ placement }) => placement === move.to) ?? assert.fail(move.to)
        if (wanted(move.tenantId).placement === undefined) assert.isAtMost(FleetLoad.fill(to), 0.9)
      }
      assert.deepStrictEqual(FleetPlan.make(load, options).after, now.placements)
    },
    runs
  )

  it.prop(
    "moves every tenant that must leave, or names the obstacle",
    cases,
    ([given]) => {
      const { load, options, wanted } = worldOf(given)
      const { left, moves } = FleetPlan.make(load, options)
      const named = new Set([...left, ...moves].map(({ tenantId }) => tenantId))
      for (const { placement, tenantId } of load.tenants) {
        const at = load.placements.find((one) => one.placement === placement)
        const want = wanted(tenantId)
        const mustLeave =
          options.evacuate?.includes(placement) === true ||
          (want.placement === undefined
            ? (want.tier ?? at?.tier) !== at?.tier || (want.region ?? at?.region) !== at?.region
            : want.placement !== placement)
        if (mustLeave) assert.isTrue(named.has(tenantId), tenantId)
        else assert.isFalse(left.some((one) => one.tenantId === tenantId))
      }
    },
    runs
  )

  it.prop(
    "calls for no further moves once it is carried out",
    cases,
    ([given]) => {
      const { load, options } = worldOf(given)
      const unbounded = { ...options, maxMoves: undefined }
      const { moves } = FleetPlan.make(load, unbounded)
      assert.deepStrictEqual(FleetPlan.make(applied(load, moves), unbounded).moves, [])
    },
    runs
  )

  it.prop(
    "does not depend on the order of placements and tenants",
    cases,
    ([given]) => {
      const { load, options } = worldOf(given)
      const turned = {
        ...load,
        placements: load.placements.toReversed(),
        tenants: load.tenants.toReversed()
      }
      const [one, other] = [FleetPlan.make(load, options), FleetPlan.make(turned, options)]
      assert.deepStrictEqual(one.moves, other.moves)
      assert.deepStrictEqual(one.left, other.left)
    },
    runs
  )
})

describe("a plan in numbers", () => {
  const three = (...loads: ReadonlyArray<number>) =>
    fleet(
      [0, 1, 2].map((index) => [`db-${index}`, place({ eventsPerDay: 1000 })]),
      loads.map((eventsPerDay, index) =>
        tenant(index, { placement: "db-0", eventsPerDay, events: eventsPerDay * 100 })
      )
    )

  it("empties a full placement to the lower limit, with the fewest moves", () => {
    const plan = FleetPlan.make(three(100, 200, 300, 400))
    assert.deepStrictEqual(
      plan.moves.map(({ eventsPerDay, reason, to }) => ({ eventsPerDay, reason, to })),
      [
        { eventsPerDay: 200, reason: { kind: "full", resource: "eventsPerDay", fill: 1 }, to: "db-1" },
        { eventsPerDay: 100, reason: { kind: "full", resource: "eventsPerDay", fill: 1 }, to: "db-2" }
      ]
    )
  })

  it("expects a move to take its events at the measured speed, and moves side by side", () => {
    const rate = { eventsPerSecond: 1000, secondsPerMove: 2, measured: 7 }
    const plan = FleetPlan.make(three(10, 20, 30), { evacuate: ["db-0"], rate, concurrency: 2 })
    assert.deepStrictEqual(
      plan.moves.map(({ seconds }) => seconds),
      [5, 4, 3]
    )
    assert.strictEqual(plan.seconds, 7)
    assert.include(FleetPlan.print(plan), "3 moves, about 7s (1000 events per second, measured in 7 moves)")
  })

  it("suggests a database of its own for a noisy tenant, and moves it there once it is pinned", () => {
    const load = fleet(
      [
        ["db-0", place({ eventsPerDay: 1000 })],
        ["own-0", { ...place({ eventsPerDay: 1000 }), own: true }]
      ],
      [
        tenant(0, { placement: "db-0", eventsPerDay: 600 }),
        tenant(1, { placement: "db-0", eventsPerDay: 50 })
      ]
    )
    const plan = FleetPlan.make(load)
    assert.deepStrictEqual(plan.moves, [])
    assert.deepStrictEqual(plan.noisy, [
      { tenantId: tenantIds(0), placement: "db-0", resource: "eventsPerDay", share: 0.6, to: "own-0" }
    ])
    const wanted = (tenantId: string) => (tenantId === tenantIds(0) ? { placement: "own-0" } : {})
    const pinned = FleetPlan.make(load, { wanted })
    assert.containSubset(pinned.moves, [{ tenantId: tenantIds(0), to: "own-0", reason: { kind: "pinned" } }])
    assert.deepStrictEqual(FleetPlan.make(applied(load, pinned.moves), { wanted }).noisy, [])
  })

  it("uses the room that its own moves have made", () => {
    const small = place({ eventsPerDay: 111 })
    const load = fleet(
      [
        ["db-0", place({ eventsPerDay: 1000 })],
        ["db-1", place({ eventsPerDay: 1000 })],
        ["db-2", small],
        ["db-3", small]
      ],
      [
        tenant(0, { placement: "db-0", eventsPerDay: 100 }),
        ...Array.from({ length: 95 }, (_, index) =>
          tenant(index + 1, { placement: "db-1", eventsPerDay: 10 })
        )
      ]
    )
    const plan = FleetPlan.make(load, { evacuate: ["db-0"] })
    assert.containSubset(plan.moves.at(-1), { tenantId: tenantIds(0), to: "db-1" })
    assert.deepStrictEqual(plan.left, [])
  })

  it("leaves the tenants of a placement that did not answer alone", () => {
    const load = { ...three(10, 20), missing: ["db-9"] }
    const plan = FleetPlan.make(load, { evacuate: ["db-9"] })
    assert.deepStrictEqual(plan.moves, [])
    assert.deepStrictEqual(plan.missing, ["db-9"])
    assert.include(FleetPlan.print(plan), "db-9  did not answer")
  })

  it("is plain data that a process can store and another one read", () => {
    const plan = FleetPlan.make(three(10, 20, 30), { evacuate: ["db-0"] })
    const json = Schema.toCodecJson(FleetPlan.FleetPlan)
    const text: unknown = JSON.parse(JSON.stringify(Schema.encodeSync(json)(plan)))
    assert.deepStrictEqual(Schema.decodeUnknownSync(json)(text), plan)
  })

  it("refuses settings out of their range", () => {
    assert.throws(() => FleetPlan.make(three(), { balance: { high: 0.5, low: 0.7 } }), RangeError)
    assert.throws(() => FleetPlan.make(three(), { concurrency: 0 }), RangeError)
    assert.throws(() => FleetLoad.emptyPlacement("db", { capacity: {} }), RangeError)
  })
})

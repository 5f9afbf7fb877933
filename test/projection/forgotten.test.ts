/** Projections of events with personal fields, and of forgotten subjects. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Ref, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Personal from "../../src/domain/Personal.ts"
import { PersonalSubject, SubjectForgotten } from "../../src/domain/PersonalSubject.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as InMemoryProjection from "../../src/projection/InMemoryProjection.ts"
import * as OutboxRelay from "../../src/projection/OutboxRelay.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as Reaction from "../../src/projection/Reaction.ts"
import * as ProjectionKit from "../../src/testing/ProjectionKit.ts"

const Registered = Schema.TaggedStruct("Registered", {
  name: Personal.make(Schema.String, Personal.aggregateId)
})
const Ordered = Schema.TaggedStruct("Ordered", { total: Schema.Int })
const Customer = Aggregate.make(
  "Customer",
  { id: Schema.String, state: Schema.Null, initial: null, events: [Registered, Ordered] },
  () => null
)
const nothing = () => Effect.void
const problem =
  "handles Registered, which has personal fields: give the option forgotten a handler that removes the data of a forgotten subject"

describe("a projection of events with personal fields", () => {
  it("says how it forgets", () => {
    const personal = { Registered: nothing }
    assert.throws(() => Projection.make("p", { aggregates: [Customer] }, personal), `projection p ${problem}`)
    assert.throws(() => Projection.makeAcrossTenants("p", { aggregates: [Customer] }, personal), problem)
    assert.throws(() => Projection.makeBatched("p", { aggregates: [Customer] }, nothing), problem)
    const initial = () => 0
    assert.throws(
      () => InMemoryProjection.make("p", { aggregates: [Customer], initial }, { Registered: () => 1 }),
      problem
    )
    assert.throws(() => InMemoryProjection.make("p", { aggregates: [Customer], initial }, () => 1), problem)
    assert.throws(() => OutboxRelay.make("p", { aggregates: [Customer] }), `relay p ${problem}`)
  })

  it("keeps none, or has a handler", () => {
    const plain = { Ordered: nothing }
    assert.deepStrictEqual(Projection.make("p", { aggregates: [Customer] }, plain).eventTypes, ["Ordered"])
    const none = Projection.make(
      "p",
      { aggregates: [Customer], forgotten: "keepsNone" },
      { Registered: nothing }
    )
    assert.deepStrictEqual([none.eventTypes, none.aggregates], [["Registered"], [Customer]])
    const forgets = Projection.make(
      "p",
      { aggregates: [Customer], forgotten: nothing },
      { Registered: nothing }
    )
    assert.deepStrictEqual(
      [forgets.eventTypes, forgets.aggregates],
      [
        ["Registered", "SubjectForgotten"],
        [Customer, PersonalSubject]
      ]
    )
    const others = { Registered: nothing, SubjectForgotten: nothing }
    const own = Projection.make("p", { aggregates: [Customer, PersonalSubject] }, others)
    assert.deepStrictEqual(own.eventTypes, ["Registered", "SubjectForgotten"])
    assert.throws(
      () => Projection.make("p", { aggregates: [Customer, PersonalSubject], forgotten: nothing }, others),
      "two handlers for SubjectForgotten"
    )
  })

  it("has no aggregate with another event of that name, if it has a handler", () => {
    const Other = Aggregate.make(
      "Other",
      { state: Schema.Null, initial: null, events: [Schema.TaggedStruct("SubjectForgotten", {})] },
      () => null
    )
    assert.throws(
      () => Projection.make("p", { aggregates: [Customer, Other], forgotten: nothing }, { Ordered: nothing }),
      "cannot have the option forgotten"
    )
  })

  it("may be a reaction, which has no read model", () => {
    assert.deepStrictEqual(
      Reaction.make("p", { aggregates: [Customer] }, { Registered: nothing }).eventTypes,
      ["Registered"]
    )
  })

  it("may be a relay, which can publish that a subject was forgotten", () => {
    const relay = OutboxRelay.make("p", {
      aggregates: [Customer],
      eventTypes: ["Registered"],
      forgotten: "publish"
    })
    assert.deepStrictEqual(relay.eventTypes, ["Registered", "SubjectForgotten"])
    assert.include(relay.aggregates, PersonalSubject)
    const none = OutboxRelay.make("p", { aggregates: [Customer], forgotten: "keepsNone" })
    assert.deepStrictEqual(none.eventTypes, ["Registered", "Ordered"])
  })
})

describe("a forgotten subject", () => {
  it.effect("was known to the projection before", () =>
    Effect.gen(function* () {
      const seen = yield* Ref.make<ReadonlyArray<unknown>>([])
      const tenantId = yield* Tenant.generate
      const projection = Projection.make(
        "p",
        { aggregates: [Customer], forgotten: "keepsNone" },
        { Registered: ({ name }) => Ref.update(seen, (names) => [...names, name]) }
      )
      yield* ProjectionKit.given(
        tenantId,
        Customer,
        "1",
        Registered.make({ name: "Ada" }),
        Registered.make({ name: Personal.forgotten })
      ).when(projection)
      assert.deepStrictEqual(yield* Ref.get(seen), ["Ada", Personal.forgotten])
    })
  )

  const steps = (
    make: (note: (text: string) => Effect.Effect<void>) => Projection.Projection<never, Tenant.CurrentTenant>
  ) =>
    Effect.gen(function* () {
      const seen = yield* Ref.make<ReadonlyArray<string>>([])
      const tenantId = yield* Tenant.generate
      yield* ProjectionKit.given(
        tenantId,
        Customer,
        "1",
        Ordered.make({ total: 1 }),
        Ordered.make({ total: 2 })
      )
        .and(tenantId, PersonalSubject, "1", SubjectForgotten.make({ subject: "1" }))
        .and(tenantId, Customer, "1", Ordered.make({ total: 3 }))
        .when(make((text) => Ref.update(seen, (texts) => [...texts, text])))
      return yield* Ref.get(seen)
    })
  const inOrder = ["1", "2", "forgotten 1", "3"]

  it.effect("is handled in the order of the log", () =>
    Effect.gen(function* () {
      const seen = yield* steps((note) =>
        Projection.make(
          "p",
          { aggregates: [Customer], forgotten: ({ subject }) => note(`forgotten ${subject}`) },
          { Ordered: ({ total }) => note(String(total)) }
        )
      )
      assert.deepStrictEqual(seen, inOrder)
    })
  )

  it.effect("splits a batch", () =>
    Effect.gen(function* () {
      const batches = yield* steps((note) =>
        Projection.makeBatched(
          "p",
          {
            aggregates: [Customer],
            eventTypes: ["Ordered"],
            forgotten: ({ subject }) => note(`forgotten ${subject}`)
          },
          (envelopes) => note(envelopes.map(({ payload }) => payload.total).join())
        )
      )
      assert.deepStrictEqual(batches, ["1,2", "forgotten 1", "3"])
    })
  )

  it.effect("is folded by a projection in memory", () =>
    Effect.gen(function* () {
      const envelopes: Array<unknown> = []
      yield* steps(() =>
        Projection.makeBatched(
          "p",
          { aggregates: [Customer, PersonalSubject], forgotten: "keepsNone" },
          (all) => Effect.sync(() => void envelopes.push(...all))
        )
      )
      const options = {
        aggregates: [Customer],
        initial: (): ReadonlyArray<string> => [],
        forgotten: (seen: ReadonlyArray<string>, { subject }: SubjectForgotten) => [
          ...seen,
          `forgotten ${subject}`
        ]
      }
      const byTag = InMemoryProjection.make("byTag", options, {
        Ordered: (seen: ReadonlyArray<string>, { total }) => [...seen, String(total)]
      })
      const whole = InMemoryProjection.make("whole", options, (seen: ReadonlyArray<string>, event) =>
        event._tag === "Ordered" ? [...seen, String(event.total)] : seen
      )
      assert.deepStrictEqual(byTag.fold(envelopes as never), inOrder)
      assert.deepStrictEqual(whole.fold(envelopes as never), inOrder)
    })
  )
})

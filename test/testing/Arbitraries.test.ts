import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Clock, Effect, Random, Result, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import * as Upcaster from "../../src/domain/Upcaster.ts"
import { Account, asNewTenant, Closed, deposited, inMemory, opened } from "../support/bank.ts"

const Wild = Schema.TaggedStruct("Wild", {
  text: Schema.String,
  json: Schema.Json,
  number: Schema.Finite,
  record: Schema.Record(Schema.String, Schema.String),
  tenant: Tenant.TenantId
})
const Other = Schema.TaggedStruct("Other", { at: Schema.DateTimeUtc })
const Old = Schema.TaggedStruct("Other", {})

/** An aggregate whose schemas allow values that cannot be stored. */
const Anything = Aggregate.make(
  "Anything",
  {
    id: Schema.String,
    state: Schema.Int,
    initial: 0,
    events: [Wild, Other],
    upcasters: [Upcaster.from(Old).to(Other, () => assert.fail("never"))],
    tags: { Wild: ({ tenant }, id) => [`id:${id.length}`, tenant] }
  },
  (count) => count + 1
)
const ById = Aggregate.make("ById", { state: Schema.Int, initial: 0, events: [Other] }, (count) => count + 1)

const sample = <A>(arbitrary: Arbitrary.Arbitrary<A>, count = 500) =>
  Arbitrary.sampleEffect(arbitrary, { count, size: 10, seed: 7 })

type State = typeof Account.initial

const open = (owner: string) => (account: State) =>
  account.status === "none" ? Result.succeed([opened(owner)]) : Result.fail("open already" as const)
const deposit = (amount: number) => (account: State) => (account.status === "open" ? [deposited(amount)] : [])
const decisions = {
  open: Arbitraries.decision(Schema.NonEmptyString, open),
  deposit: Arbitraries.decision(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100 })), deposit),
  nothing: () => []
}

describe("arbitrary events", () => {
  it.effect("are of every type, and can be stored and read back", () =>
    Effect.gen(function* () {
      const events = yield* sample(Arbitraries.event(Anything))
      assert.deepStrictEqual([...new Set(events.map(({ _tag }) => _tag))].toSorted(), ["Other", "Wild"])
      const ids = yield* sample(Arbitraries.id(Anything), 50)
      assert.isAbove(new Set(ids).size, 10)
      yield* asNewTenant(
        EventStore.EventStore.use((store) =>
          Effect.andThen(
            store.append({ aggregate: Anything, id: "1", expectedVersion: 0, events }),
            Effect.forEach(new Set(ids), (id) =>
              store.append({ aggregate: Anything, id, expectedVersion: "any", events: events.slice(0, 1) })
            )
          )
        )
      )
      const texts = events.flatMap((event) => (event._tag === "Wild" ? [event.text] : []))
      assert.isTrue(texts.some((text) => text.length > 5))
      assert.isTrue(texts.includes("__proto__"))
    }).pipe(Effect.provide(inMemory()))
  )

  it.effect("are instances if the schema is a class", () =>
    Effect.gen(function* () {
      const events = yield* sample(Arbitraries.event(Account), 50)
      assert.isTrue(events.some((event) => event instanceof Closed))
    })
  )
})

describe("arbitrary ids", () => {
  it.effect("are UUIDs if the id schema is a UUID", () =>
    Effect.gen(function* () {
      const ids = yield* sample(Arbitraries.id(ById), 50)
      assert.strictEqual(new Set(ids).size, 50)
      for (const id of ids) assert.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    })
  )
})

describe("arbitrary envelopes", () => {
  it.effect("are consistent", () =>
    Effect.gen(function* () {
      for (const envelope of yield* sample(Arbitraries.envelope(Anything), 200)) {
        const { payload } = envelope
        assert.strictEqual(envelope.aggregateType, "Anything")
        assert.strictEqual(envelope.eventType, payload._tag)
        assert.strictEqual(envelope.schemaVersion, payload._tag === "Other" ? 2 : 1)
        assert.isAtLeast(envelope.version, 1)
        assert.isAtLeast(envelope.position, envelope.version)
        assert.isNotEmpty(envelope.aggregateId)
        const tags = payload._tag === "Wild" ? [payload.tenant, `id:${envelope.aggregateId.length}`] : []
        assert.deepStrictEqual(envelope.tags, tags.toSorted())
        assert.isTrue(Number.isInteger(envelope.occurredAt.epochMilliseconds))
      }
    })
  )
})

describe("arbitrary histories", () => {
  it.effect("consist of events that the decisions yield", () =>
    Effect.gen(function* () {
      const histories = yield* sample(Arbitraries.history(Account, decisions))
      for (const { events, state, steps } of histories) {
        assert.deepStrictEqual(
          steps.flatMap((step) => step.events),
          events
        )
        assert.deepStrictEqual(Account.fold(events), state)
        assert.isTrue(events.every(({ _tag }, index) => (_tag === "Opened") === (index === 0)))
        for (const { decision, input } of steps)
          assert.isTrue(decision === "open" ? input !== "" : Number(input) > 0)
      }
      assert.isAbove(Math.max(...histories.map(({ events }) => events.length)), 10)
      assert.isAbove(histories.filter(({ events }) => events.length > 2).length, 250)
    })
  )

  it.effect("shrink to the commands that matter", () =>
    Effect.gen(function* () {
      const result = yield* Arbitrary.checkEffect(
        Arbitraries.history(Account, decisions),
        ({ state }) => state.balance < 150,
        { seed: 3, maxShrinks: 1000 }
      )
      assert.isTrue(result._tag === "Falsified")
      if (result._tag !== "Falsified") return
      assert.deepStrictEqual(
        result.shrunkInput.steps.map(({ decision }) => decision),
        ["open", "deposit", "deposit"]
      )
      assert.strictEqual(result.shrunkInput.state.balance, 150)
    })
  )

  it.effect("do not depend on the clock or on chance even if decisions do", () =>
    Effect.gen(function* () {
      const unsure = () =>
        Effect.gen(function* () {
          return [deposited((yield* Clock.currentTimeMillis) + (yield* Random.nextIntBetween(1, 1000)))]
        })
      const [first, second] = [
        yield* sample(Arbitraries.history(Account, { unsure }), 20),
        yield* sample(Arbitraries.history(Account, { unsure }), 20)
      ]
      assert.deepStrictEqual(first, second)
      const amounts = first.flatMap(({ events }) => events)
      assert.isAbove(new Set(amounts.map((event) => (event._tag === "Deposited" ? event.amount : 0))).size, 3)
    })
  )

  it("need a decision", () => {
    assert.throws(() => Arbitraries.history(Account, {}), "there must be at least one decision")
  })
})

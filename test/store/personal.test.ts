/** Personal fields of events that are appended. */
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Result, Schema, Stream } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import type * as Event from "../../src/domain/Event.ts"
import * as Personal from "../../src/domain/Personal.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as Upcaster from "../../src/domain/Upcaster.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as encode from "../../src/store/encode.ts"
import * as EventJson from "../../src/store/EventJson.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { asNewTenant } from "../support/bank.ts"

const personName = Personal.make(Schema.NonEmptyString, "id")

const RegisteredV1 = Schema.TaggedStruct("Registered", {
  id: Schema.String,
  first: personName,
  last: personName
})
const Registered = Schema.TaggedStruct("Registered", {
  id: Schema.String,
  name: personName,
  born: Schema.optionalKey(Personal.make(Schema.DateTimeUtcFromString, "id"))
})
const EmailChanged = Schema.TaggedStruct("EmailChanged", {
  email: Personal.make(Schema.String, Personal.aggregateId)
})
const Noted = Schema.TaggedStruct("Noted", { note: Schema.Json, more: Schema.optionalKey(Schema.Json) })

const Customer = Aggregate.make(
  "Customer",
  {
    id: Schema.String,
    state: Schema.Null,
    initial: null,
    events: [Registered, EmailChanged, Noted],
    upcasters: [
      Upcaster.from(RegisteredV1).to(Registered, ({ first, id, last }) => ({
        _tag: "Registered",
        id,
        name: Personal.map(first, (text) => `${text} ${Personal.getOrElse(last, () => "")}`)
      }))
    ]
  },
  () => null
)

const encoded = (event: Event.Appendable<Event.Tagged>, seals = true) => {
  const shared = { context: {}, now: 0, limits: encode.makeLimits(undefined), seals }
  const streams = encode.streams(
    [{ aggregate: Customer, id: "c-1", expectedVersion: "any", events: [event] }],
    shared
  )
  if (Result.isFailure(streams)) return streams.failure.message
  return streams.success[0]?.append.events.map(({ payload, personal }) => [
    payload,
    personal?.map(({ path, subject }) => `${path.join(".")} of ${subject}`)
  ])[0]
}

const tenantId = Tenant.TenantId.make("00000000-0000-4000-8000-000000000001")

/** The personal fields of an event that comes as JSON. */
const encodedJson = (eventType: string, payload: Schema.Json, schemaVersion?: number) => {
  const decoded = EventJson.decoder(
    [Customer],
    tenantId
  )({
    aggregateType: "Customer",
    aggregateId: "c-1",
    eventType,
    payload,
    schemaVersion
  })
  return Result.isSuccess(decoded) && decoded.success.event !== undefined
    ? encoded(decoded.success.event)
    : "cannot be decoded"
}

describe("an event that is appended", () => {
  it("takes its personal fields along", () => {
    assert.deepStrictEqual(encoded(Registered.make({ id: "1", name: "Ada" })), [
      '{"_tag":"Registered","id":"1","name":"Ada"}',
      ["name of 1"]
    ])
    assert.deepStrictEqual(encoded(EmailChanged.make({ email: "a@b" }))?.[1], ["email of c-1"])
    assert.deepStrictEqual(encoded(Noted.make({ note: "plain" }))?.[1], undefined)
  })

  it("as JSON takes along those of its own version", () => {
    assert.deepStrictEqual(encodedJson("Registered", { last: "Lovelace", first: "Ada", id: "1" }, 1), [
      '{"_tag":"Registered","last":"Lovelace","first":"Ada","id":"1"}',
      ["last of 1", "first of 1"]
    ])
    assert.deepStrictEqual(encodedJson("Registered", { name: "Ada", id: "1" })?.[1], ["name of 1"])
  })

  it("may have data that is forgotten already", () => {
    assert.deepStrictEqual(encoded(Registered.make({ id: "1", name: Personal.forgotten })), [
      '{"_tag":"Registered","id":"1","name":{"$forgotten":true}}',
      undefined
    ])
    const exported = { id: "1", name: { $forgotten: true }, born: "1815-12-10T00:00:00Z" }
    assert.deepStrictEqual(encodedJson("Registered", exported)?.[1], ["born of 1"])
  })

  it("is refused without the id of a subject", () => {
    assert.include(
      encoded(Registered.make({ id: "", name: "Ada" })),
      "payload.id: is empty, but is the id of the subject of name"
    )
  })

  it("is refused if it has members of the names by which sealed and forgotten data are told", () => {
    for (const note of [{ $sealed: {} }, { $forgotten: true }, [{ deep: [{ $sealed: 1 }] }]])
      assert.include(encoded(Noted.make({ note })), "is a member with a reserved name")
    assert.include(
      encodedJson("Registered", { id: "1", name: "Ada", extra: { $forgotten: true } }),
      "payload.extra.$forgotten: is a member with a reserved name"
    )
    assert.strictEqual(encodedJson("Registered", { id: "1", name: { $sealed: "x" } }), "cannot be decoded")
    // Texts may contain anything.
    const texts = ['{"$sealed":', '"$sealed":', "$forgotten"]
    assert.include(encoded(Noted.make({ note: texts, more: { '"$sealed': 1 } }))?.[0], "$forgotten")
  })
})

layer(EventStore.layer.pipe(Layer.provideMerge(MemoryStorage.layer)))("without a layer that seals", (it) => {
  it.effect("an event with personal fields is refused, however it comes", () =>
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      const events = [EmailChanged.make({ email: "a@b" })]
      const json: EventJson.NewEvent = {
        aggregateType: "Customer",
        aggregateId: "c-1",
        eventId: "00000000-0000-4000-8000-000000000002",
        eventType: "EmailChanged",
        payload: { email: "a@b" }
      }
      const attempts: ReadonlyArray<Effect.Effect<unknown, Error, Tenant.CurrentTenant>> = [
        store.append({ aggregate: Customer, id: "c-1", expectedVersion: "any", events }),
        store.encode({ aggregate: Customer, id: "c-1", events }),
        store.appendJson({ aggregates: [Customer], events: [json] }),
        store.importJson(Stream.make(json), { aggregates: [Customer] })
      ]
      for (const attempt of attempts) {
        const message = yield* Effect.match(attempt, {
          onFailure: (error) => error.message,
          onSuccess: () => "no error"
        })
        assert.include(message, "has personal fields, and nothing seals them: provide Forgetting.layer")
        assert.notInclude(message, "a@b")
      }
      yield* store.append({
        aggregate: Customer,
        id: "c-1",
        expectedVersion: 0,
        events: [Noted.make({ note: 1 })]
      })
    }).pipe(asNewTenant)
  )
})

import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Result, Schema } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { Account, append, asNewTenant, deposited, inMemory, opened } from "../support/bank.ts"

describe("an event id", () => {
  it("is a UUID of version 7, and ids of one process sort in the order in which they were generated", () => {
    const ids = Array.from({ length: 2000 }, Event.generateId)
    assert.strictEqual(new Set(ids).size, ids.length)
    assert.deepStrictEqual(ids.toSorted(), ids)
    for (const id of ids)
      assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })

  it("is accepted in canonical form only", () => {
    const decode = Schema.decodeUnknownResult(Event.EventId)
    const id = Event.generateId()
    assert.deepStrictEqual(decode(id), Result.succeed(id))
    for (const wrong of [id.toUpperCase(), `{${id}}`, `${id} `, "", "1", null]) {
      assert.isTrue(Result.isFailure(decode(wrong)))
    }
  })
})

describe("an event with options", () => {
  it.effect("is stored with them, and a plain payload with defaults", () =>
    Effect.gen(function* () {
      const occurredAt = DateTime.makeUnsafe("2001-02-03T04:05:06.789Z")
      const eventId = Event.generateId()
      const { events } = yield* append("1", [
        Event.make(opened(), { eventId, occurredAt, actor: "ada", metadata: { ip: "::1", tags: [1, null] } }),
        deposited(5)
      ])
      const [first, second] = events
      assert(first !== undefined && second !== undefined)
      assert.deepStrictEqual(
        { ...first, recordedAt: 0, tenantId: "" },
        {
          eventId,
          tenantId: "",
          position: 1,
          aggregateType: "Account",
          aggregateId: "1",
          version: 1,
          eventType: "Opened",
          schemaVersion: 1,
          occurredAt,
          recordedAt: 0,
          actor: "ada",
          correlationId: eventId,
          causationId: null,
          traceparent: null,
          metadata: { ip: "::1", tags: [1, null] },
          tags: [],
          payload: opened()
        }
      )
      // The test clock shows 1970.
      const now = DateTime.makeUnsafe(0)
      assert.deepInclude(second, {
        actor: null,
        causationId: null,
        occurredAt: now,
        recordedAt: now,
        metadata: {}
      })
      assert.notStrictEqual(second.eventId, first.eventId)
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )

  it.effect("is folded and read like its payload", () =>
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      const event = Event.make(opened(), {})
      assert.deepStrictEqual(Account.fold([event.payload]), Account.fold([opened()]))
      const appended = yield* store.append({
        aggregate: Account,
        id: "1",
        events: [event],
        expectedVersion: 0
      })
      assert.deepStrictEqual(appended.events[0]?.payload, opened())
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )
})

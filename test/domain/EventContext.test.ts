import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Exit, Fiber } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Account, append, asNewTenant, deposited, inMemory, Note, opened, written } from "../support/bank.ts"
import { flipped } from "../../src/testing/failures.ts"

const appendOne = (options: Event.EventOptions = {}) =>
  Effect.map(append("1", [Event.make(deposited(1), options)]), ({ events: [event] }) => {
    assert(event !== undefined)
    return event
  })

const handled: Event.Envelope<unknown> = {
  eventId: Event.generateId(),
  tenantId: Tenant.TenantId.make("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"),
  position: 7,
  aggregateType: "Other",
  aggregateId: "1",
  version: 3,
  eventType: "Happened",
  schemaVersion: 1,
  occurredAt: DateTime.makeUnsafe(0),
  recordedAt: DateTime.makeUnsafe(0),
  actor: "grace",
  correlationId: "the root of it all",
  causationId: "not this one",
  traceparent: null,
  metadata: { not: "inherited" },
  tags: [],
  payload: {}
}

describe("the event context", () => {
  it.effect("is empty by default, so every append starts a correlation of its own", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* EventContext.CurrentEventContext, {})
      const { events } = yield* append("1", [opened(), deposited(1), deposited(2)])
      const root = events[0]?.eventId ?? null
      assert.deepStrictEqual(
        events.map(({ actor, causationId, correlationId }) => [actor, causationId, correlationId]),
        events.map(() => [null, null, root])
      )
      const next = yield* appendOne()
      assert.strictEqual(next.correlationId, next.eventId)
      assert.notStrictEqual(next.correlationId, root)
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )

  it.effect("gives one correlation id to all events of an append of several streams", () =>
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      const eventId = Event.generateId()
      const [none, accounts, notes] = yield* store.appendAll([
        { aggregate: Account, id: "0", expectedVersion: "any", events: [] },
        {
          aggregate: Account,
          id: "1",
          expectedVersion: "any",
          events: [Event.make(opened(), { eventId }), deposited(1)]
        },
        { aggregate: Note, id: "1", expectedVersion: "any", events: [written("a"), written("b")] }
      ])
      assert.lengthOf(none.events, 0)
      const correlationIds = [...accounts.events, ...notes.events].map(({ correlationId }) => correlationId)
      assert.deepStrictEqual(correlationIds, [eventId, eventId, eventId, eventId])
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )

  it.effect("is added to the events: missing fields are inherited, and the event's own options win", () =>
    Effect.gen(function* () {
      const inner = EventContext.provide({
        causationId: "command 5",
        actor: undefined,
        metadata: { b: 2, c: 2 }
      })
      const outer = EventContext.provide({
        actor: "ada",
        correlationId: "request 1",
        metadata: { a: 1, b: 1 }
      })
      const options = { actor: "grace", metadata: { c: 3, d: 3 } }
      const [plain, own] = yield* Effect.all([appendOne(), appendOne(options)]).pipe(inner, outer)
      const context = { correlationId: "request 1", causationId: "command 5" }
      assert.deepInclude(plain, { ...context, actor: "ada", metadata: { a: 1, b: 2, c: 2 } })
      assert.deepInclude(own, { ...context, actor: "grace", metadata: { a: 1, b: 2, c: 3, d: 3 } })
      const after = yield* appendOne()
      assert.deepInclude(after, { actor: null, causationId: null, metadata: {} })
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )

  it.effect("is inherited by forked fibers, even if they outlive it", () =>
    Effect.gen(function* () {
      const provided = EventContext.provide({ actor: "ada" })
      const [first, second, third] = yield* Effect.gen(function* () {
        const child = yield* Effect.forkChild(appendOne())
        const detached = yield* Effect.forkDetach(Effect.andThen(Effect.yieldNow, appendOne()))
        const together = yield* Effect.all([appendOne(), appendOne()], { concurrency: 2 })
        return [yield* Fiber.join(child), together[1], detached] as const
      }).pipe(provided)
      const outlived = yield* Fiber.join(third)
      assert.deepStrictEqual([first.actor, second.actor, outlived.actor], ["ada", "ada", "ada"])
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )

  it.effect.each([
    [{ actor: "" }, "InvalidEvent"],
    [{ correlationId: "" }, "InvalidEvent"],
    [{ causationId: "a\0b" }, "InvalidEvent"],
    [{ correlationId: "\udc00" }, "InvalidEvent"],
    [{ metadata: { key: "\0" } }, "InvalidEvent"],
    [{ actor: "a".repeat(256) }, "LimitExceeded"],
    [{ correlationId: "c".repeat(256) }, "LimitExceeded"],
    [{ causationId: "c".repeat(256) }, "LimitExceeded"]
  ] as const)("is refused with %j", ([context, tag]) =>
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      const error = yield* flipped(append("1", [opened()]).pipe(EventContext.provide(context)))
      assert.strictEqual(error._tag, tag)
      assert.strictEqual(yield* store.position, 0)
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )

  it.effect("accepts texts of 255 characters", () =>
    Effect.gen(function* () {
      const text = "x".repeat(255)
      const context = { actor: text, correlationId: text, causationId: text }
      assert.deepInclude(yield* appendOne().pipe(EventContext.provide(context)), context)
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )
})

describe("while an event is being handled", () => {
  it.effect("appends go to its tenant, continue its correlation and name it as their cause", () =>
    Effect.gen(function* () {
      const caused = yield* appendOne().pipe(EventContext.whileHandling(handled))
      assert.deepInclude(caused, {
        tenantId: handled.tenantId,
        correlationId: "the root of it all",
        causationId: handled.eventId,
        actor: "grace",
        metadata: {}
      })
      const next = yield* appendOne().pipe(EventContext.whileHandling(caused))
      assert.deepInclude(next, { correlationId: "the root of it all", causationId: caused.eventId })
    }).pipe(Effect.provide(inMemory()))
  )

  it.effect("the surrounding context does not apply, and is restored afterwards", () =>
    Effect.gen(function* () {
      const anonymous = { ...handled, actor: null }
      const { after, caused } = yield* Effect.gen(function* () {
        return {
          caused: yield* appendOne().pipe(EventContext.whileHandling(anonymous)),
          after: yield* appendOne()
        }
      }).pipe(
        EventContext.provide({ actor: "ada", correlationId: "1", causationId: "2", metadata: { a: 1 } }),
        asNewTenant
      )
      assert.deepInclude(caused, { tenantId: handled.tenantId, actor: null, metadata: {} })
      assert.deepInclude(after, { actor: "ada", correlationId: "1", causationId: "2", metadata: { a: 1 } })
      assert.notStrictEqual(after.tenantId, handled.tenantId)
    }).pipe(Effect.provide(inMemory()))
  )

  it.effect("the tenant of the event takes precedence over the one around it", () =>
    Effect.gen(function* () {
      const exit = yield* Tenant.CurrentTenant.pipe(
        EventContext.whileHandling(handled),
        asNewTenant,
        Effect.exit
      )
      assert.deepStrictEqual(exit, Exit.succeed(handled.tenantId))
    })
  )
})

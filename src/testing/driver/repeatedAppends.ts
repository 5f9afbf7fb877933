/** The contract of drivers: appending the same events again. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect } from "effect"
import type { EventStorage, NewEventRow } from "../../driver/EventStorage.ts"
import {
  aggregateType,
  append,
  appended,
  batch,
  event,
  events,
  newTenant,
  position,
  readLog,
  refused,
  replayed,
  request,
  setStatus,
  stream
} from "./eventKit.ts"

const reused = (tenantId: string, { eventId }: NewEventRow) => ({
  _tag: "EventIdConflict",
  tenantId,
  eventId
})

export const replays = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("a repeated append gets the first outcome and writes nothing", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("zero", events(1)))
      const one = stream("one", events(2), 0)
      const first = yield* append(tenant, one)
      const before = yield* readLog(tenant)
      assert.deepStrictEqual(yield* append(tenant, one), { ...first, replayed: true })
      assert.deepStrictEqual(yield* readLog(tenant), before)
      assert.deepStrictEqual((yield* append(tenant, stream("one", events(1), 2))).positions, [4])
    })
  )

  it.effect(
    "a repeated append gets the first outcome even after later events, whatever version it expects",
    () =>
      Effect.gen(function* () {
        const tenant = newTenant()
        const one = stream("one", events(1), 0)
        yield* append(tenant, one)
        yield* append(tenant, stream("one", events(3), 1))
        for (const expectedVersion of [0, 1, 4, -1, "any", "noStream", "streamExists"] as const) {
          assert.deepStrictEqual(yield* batch(request(tenant, { ...one, expectedVersion })), [
            replayed([1], [1])
          ])
        }
      })
  )

  it.effect("a repeated append to several streams gets the first outcome", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("two", events(1)))
      const both = [stream("one", events(2), 0), stream("two", events(1), 1)] as const
      yield* append(tenant, ...both)
      yield* append(tenant, stream("one", events(1)), stream("two", events(1)))
      assert.deepStrictEqual(yield* batch(request(tenant, ...both)), [replayed([2, 3, 4], [1, 2, 2])])
    })
  )

  it.effect("an append of known and new events is refused, and the first known event is named", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const [known, another] = [event(), event()]
      yield* append(tenant, stream("one", [another, known]))
      const before = yield* readLog(tenant)
      const unknown = () => event()
      for (const streams of [
        [stream("one", [known, unknown()])],
        [stream("one", [unknown(), known])],
        [stream("one", [unknown(), known, another])],
        [stream("two", [unknown()]), stream("one", [known])],
        [stream("one", [known]), stream("two", [unknown()], 9)]
      ]) {
        assert.deepStrictEqual(yield* refused(tenant, ...streams), reused(tenant, known))
      }
      assert.deepStrictEqual(yield* readLog(tenant), before)
    })
  )

  it.effect("the same id with other content is refused, whatever version is expected", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const known = event({ payload: '{"a":[1,2]}', metadata: '{"b":1}' })
      yield* append(tenant, stream("one", [known]))
      const before = yield* readLog(tenant)
      const others = [
        { payload: '{"a":[2,1]}' },
        { payload: '{"a":[1,2],"c":null}' },
        { payload: "{}" },
        { metadata: '{"b":"1"}' },
        { eventType: "Else" },
        { schemaVersion: 2 }
      ].map((content) => stream("one", [{ ...known, ...content }]))
      others.push(stream("two", [known]), stream("one", [known], "any", "Other"))
      for (const other of others) {
        for (const expectedVersion of ["any", 1, 99] as const) {
          assert.deepStrictEqual(yield* refused(tenant, { ...other, expectedVersion }), reused(tenant, known))
        }
      }
      assert.deepStrictEqual(yield* readLog(tenant), before)
    })
  )

  it.effect("the first of several events with other content is named", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const [one, two, three] = [event(), event(), event()]
      yield* append(tenant, stream("one", [one, two, three]))
      const other = { payload: '{"other":true}' }
      assert.deepStrictEqual(
        yield* refused(tenant, stream("one", [one, { ...two, ...other }, { ...three, ...other }])),
        reused(tenant, two)
      )
    })
  )

  it.effect("a repeated append may differ in the order of keys and the spelling of JSON", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const written = event({
        payload: '{"a":1,"b":{"c":[1,{"d":"é"}],"e":null}}',
        metadata: '{"x":1,"y":2}'
      })
      yield* append(tenant, stream("one", [written]))
      const again = {
        ...written,
        payload: '{ "b": {"e":null, "c":[1.0,{"d":"\\u00e9"}]}, "a":1e0 }',
        metadata: '{"y":2,"x":1}'
      }
      assert.deepStrictEqual(yield* batch(request(tenant, stream("one", [again]))), [replayed([1], [1])])
      // The first text stays.
      assert.deepStrictEqual((yield* readLog(tenant)).rows[0]?.payload, written.payload)
    })
  )

  it.effect("a repeated append may differ in actor, times, correlation id and causation id", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const written = event()
      yield* append(tenant, stream("one", [written]))
      const before = yield* readLog(tenant)
      const again = { ...written, actor: null, occurredAt: 0, correlationId: "another", causationId: null }
      assert.deepStrictEqual(yield* batch(request(tenant, stream("one", [again]))), [replayed([1], [1])])
      assert.deepStrictEqual(yield* readLog(tenant), before)
    })
  )

  it.effect("events of another tenant do not count, whether equal or not", () =>
    Effect.gen(function* () {
      const [one, two, three] = [newTenant(), newTenant(), newTenant()]
      const known = event()
      yield* append(one, stream("one", [known], 0))
      assert.deepStrictEqual(yield* batch(request(two, stream("one", [known], 0))), [appended([1], [1])])
      assert.deepStrictEqual(
        yield* batch(request(three, stream("two", [{ ...known, payload: '{"other":true}' }, event()], 0))),
        [appended([1, 2], [1, 2])]
      )
      assert.deepStrictEqual(yield* batch(request(one, stream("one", [known], 0))), [replayed([1], [1])])
    })
  )

  it.effect("an append can be repeated later in its batch", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const [known, failed] = [event(), event()]
      const answers = yield* batch(
        request(tenant, stream("one", [known], 0)),
        request(tenant, stream("one", [known], 0)),
        request(tenant, stream("one", [{ ...known, eventType: "Else" }])),
        request(tenant, stream("two", [known])),
        request(tenant, stream("one", [failed], 9)),
        request(tenant, stream("two", [failed], 0))
      )
      assert.deepStrictEqual(answers, [
        appended([1], [1]),
        replayed([1], [1]),
        reused(tenant, known),
        reused(tenant, known),
        {
          _tag: "VersionConflict",
          tenantId: tenant,
          aggregateType,
          aggregateId: "one",
          expected: 9,
          actual: 1
        },
        appended([2], [1])
      ])
    })
  )

  it.effect("a suspended tenant gets no first outcome either", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const one = stream("one", events(1))
      yield* append(tenant, one)
      yield* setStatus(tenant, "suspended")
      assert.deepStrictEqual(yield* refused(tenant, one), { _tag: "TenantSuspended", tenantId: tenant })
      yield* setStatus(tenant, "active")
      assert.deepStrictEqual(yield* batch(request(tenant, one)), [replayed([1], [1])])
      assert.strictEqual(yield* position(tenant), 1)
    })
  )
}

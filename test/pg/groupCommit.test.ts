import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scheduler } from "effect"
import type { AppendRequest } from "../../src/driver/EventStorage.ts"
import * as groupCommit from "../../src/pg/groupCommit.ts"
import { type TenantId, TenantId as TenantIdSchema } from "../../src/domain/Tenant.ts"

const tenant = (n: number): TenantId =>
  TenantIdSchema.make(`00000000-0000-7000-8000-${String(n).padStart(12, "0")}`)
const [a, b, c] = [tenant(1), tenant(2), tenant(3)]

/** An append that is recognised by its aggregate id. */
const request = (tenantId: TenantId, id: string, payload = "{}"): AppendRequest => ({
  tenantId,
  streams: [
    {
      aggregateType: "T",
      aggregateId: id,
      expectedVersion: "any",
      events: [
        {
          eventId: id,
          eventType: "E",
          schemaVersion: 1,
          occurredAt: 0,
          actor: null,
          correlationId: "c",
          causationId: null,
          metadata: "",
          tags: [],
          payload
        }
      ]
    }
  ]
})

const idOf = ({ streams }: AppendRequest): string => streams[0]?.aggregateId ?? ""

/** A driver whose batches wait until they are released one by one. The outcome of an append is its id. */
const setUp = Effect.fnUntraced(function* (limits: Partial<groupCommit.Limits> = {}) {
  const batches: Array<ReadonlyArray<string>> = []
  const gates: Array<Deferred.Deferred<void, Error>> = []
  const held = new Set<TenantId>()
  const absent = new Set<TenantId>()
  const bad = new Set<string>()
  const submit = groupCommit.make<string, string>(
    (requests, wait) =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void, Error>()
        batches.push(requests.map(idOf))
        gates.push(gate)
        yield* Effect.orDie(Deferred.await(gate))
        const isBad = requests.some((one) => bad.has(idOf(one)))
        return requests.map((one) =>
          held.has(one.tenantId) && !wait
            ? "held"
            : absent.has(one.tenantId) && !wait
              ? "absent"
              : !isBad
                ? Exit.succeed(idOf(one))
                : requests.length > 1
                  ? "failedTogether"
                  : Exit.fail("bad")
        )
      }),
    Effect.runForkWith(yield* Effect.context()),
    {
      maxAppends: 100,
      maxCharacters: 1000,
      concurrency: 1,
      lockWaiters: 1,
      lockWaitMillis: 10_000,
      ...limits
    },
    () => "lock timeout"
  )
  const settle = Effect.forEach(Array.from({ length: 10 }), () => Effect.yieldNow, { discard: true })
  // Detached, because a test would wait for batches in progress at its end.
  const start = (...requests: ReadonlyArray<AppendRequest>) =>
    Effect.forEach(requests, (one) => Effect.forkDetach(submit(one), { startImmediately: true })).pipe(
      Effect.tap(settle)
    )
  const letGo = (index: number) =>
    Effect.suspend(() => Deferred.succeed(gates[index] ?? assert.fail("no such batch"), undefined)).pipe(
      Effect.andThen(settle)
    )
  const letDie = (index: number) =>
    Effect.suspend(() => Deferred.fail(gates[index] ?? assert.fail("no such batch"), new Error("broken")))
  return { absent, bad, batches, held, start, letGo, letDie, settle, submit }
})

const sorted = (batches: ReadonlyArray<ReadonlyArray<string>>) =>
  batches.toSorted((one, other) => (String(one) < String(other) ? -1 : 1))

/** Waits, in real time, until a batch is sent. */
const untilSent = (batches: ReadonlyArray<unknown>, at: number) =>
  Effect.promise(async () => {
    for (let n = 0; n < 1000 && batches.length <= at; n++)
      await new Promise((resolve) => setTimeout(resolve, 5))
  })

describe("group commit", () => {
  it.effect("sends a lone append at once, and those that arrive meanwhile together", () =>
    Effect.gen(function* () {
      const { batches, start, letGo } = yield* setUp()
      const fibers = yield* start(request(a, "1"), request(a, "2"), request(b, "3"))
      assert.deepStrictEqual(batches, [["1"]])
      yield* letGo(0)
      assert.deepStrictEqual(batches, [["1"], ["2", "3"]])
      yield* letGo(1)
      assert.deepStrictEqual(yield* Fiber.joinAll(fibers), ["1", "2", "3"])
    })
  )

  it.effect("has at most the allowed number of batches in progress, and a tenant in only one of them", () =>
    Effect.gen(function* () {
      const { batches, start, letGo } = yield* setUp({ concurrency: 2 })
      yield* start(request(a, "a1"), request(a, "a2"), request(b, "b1"), request(b, "b2"), request(c, "c1"))
      assert.deepStrictEqual(batches, [["a1"], ["b1"]])
      yield* letGo(1)
      assert.deepStrictEqual(batches, [["a1"], ["b1"], ["b2", "c1"]])
    })
  )

  it.effect("does not make other tenants wait for a locked tenant", () =>
    Effect.gen(function* () {
      const { batches, held, start, letGo } = yield* setUp()
      held.add(a)
      const [first, a1, a2, b1] = yield* start(
        request(c, "first"),
        request(a, "a1"),
        request(a, "a2"),
        request(b, "b1")
      )
      yield* letGo(0)
      assert.strictEqual(yield* Fiber.join(first ?? assert.fail()), "first")
      yield* letGo(1)
      assert.strictEqual(yield* Fiber.join(b1 ?? assert.fail()), "b1")
      assert.deepStrictEqual(batches.slice(1), [
        ["a1", "b1", "a2"],
        ["a1", "a2"]
      ])
      const [again] = yield* start(request(b, "b2"), request(a, "a3"))
      assert.deepStrictEqual(batches[3], ["b2"])
      yield* letGo(3)
      assert.strictEqual(yield* Fiber.join(again ?? assert.fail()), "b2")
      yield* letGo(2)
      assert.deepStrictEqual(yield* Fiber.joinAll([a1 ?? assert.fail(), a2 ?? assert.fail()]), ["a1", "a2"])
      assert.deepStrictEqual(batches[4], ["a3"])
    })
  )

  it.effect(
    "lets appends of a tenant that was just locked wait for its lock at once, in no place of others",
    () =>
      Effect.gen(function* () {
        const { batches, held, start, letGo } = yield* setUp()
        held.add(a)
        const first = yield* start(request(a, "1"))
        yield* letGo(0)
        yield* letGo(1)
        assert.deepStrictEqual(yield* Fiber.joinAll(first), ["1"])
        const later = yield* start(request(a, "2"), request(a, "3"), request(b, "4"))
        assert.deepStrictEqual(batches, [["1"], ["1"], ["2"], ["4"]])
        yield* letGo(3)
        yield* letGo(2)
        assert.deepStrictEqual(batches.slice(4), [["3"]])
        yield* letGo(4)
        assert.deepStrictEqual(yield* Fiber.joinAll(later), ["2", "3", "4"])
        assert.strictEqual(batches.length, 5)
      })
  )

  it.effect("sends appends with command keys that come at once together, in their order", () =>
    Effect.gen(function* () {
      const { batches, letGo, start } = yield* setUp()
      const keyed = (tenantId: TenantId, id: string): AppendRequest => ({
        ...request(tenantId, id),
        command: { key: id, fingerprint: "0".repeat(64), expiresInMillis: 1000 }
      })
      const fibers = yield* start(keyed(a, "1"), keyed(a, "2"), keyed(b, "3"), keyed(a, "4"))
      assert.deepStrictEqual(batches, [["1", "3", "2", "4"]])
      const later = yield* start(keyed(a, "5"), request(a, "6"), keyed(a, "7"))
      assert.lengthOf(batches, 1)
      yield* letGo(0)
      assert.deepStrictEqual(yield* Fiber.joinAll(fibers), ["1", "2", "3", "4"])
      assert.deepStrictEqual(batches.slice(1), [["5", "6", "7"]])
      yield* letGo(1)
      assert.deepStrictEqual(yield* Fiber.joinAll(later), ["5", "6", "7"])
    })
  )

  it.effect(
    "has at most the allowed number of statements waiting for locks, and retries other locked tenants",
    () =>
      Effect.gen(function* () {
        const { batches, held, start, letGo, settle } = yield* setUp({ lockWaiters: 1 })
        held.add(a).add(b)
        const [first, a1, b1, a2] = yield* start(
          request(c, "first"),
          request(a, "a1"),
          request(b, "b1"),
          request(a, "a2")
        )
        yield* letGo(0)
        yield* letGo(1)
        // a's append waits in the database, b's are retried and hold no connection meanwhile
        assert.deepStrictEqual(batches.slice(1), [
          ["a1", "b1", "a2"],
          ["a1", "a2"]
        ])
        const [c1] = yield* start(request(c, "c1"))
        yield* letGo(3)
        assert.deepStrictEqual(yield* Fiber.joinAll([first, c1].map((one) => one ?? assert.fail())), [
          "first",
          "c1"
        ])
        for (const at of [4, 5]) {
          yield* untilSent(batches, at)
          assert.deepStrictEqual(batches[at], ["b1"])
          if (at === 5) held.delete(b)
          yield* letGo(at)
        }
        yield* settle
        assert.strictEqual(yield* Fiber.join(b1 ?? assert.fail()), "b1")
        yield* letGo(2)
        assert.deepStrictEqual(yield* Fiber.joinAll([a1, a2].map((one) => one ?? assert.fail())), [
          "a1",
          "a2"
        ])
      })
  )

  it.effect("does not send an append that was interrupted during the pause of its locked tenant", () =>
    Effect.gen(function* () {
      const { batches, held, start, letGo } = yield* setUp({ lockWaiters: 0 })
      held.add(a)
      const [a1, a2] = yield* start(request(a, "a1"), request(a, "a2"))
      yield* letGo(0)
      yield* Fiber.interrupt(a1 ?? assert.fail())
      yield* untilSent(batches, 1)
      assert.deepStrictEqual(batches[1], ["a2"])
      held.delete(a)
      yield* letGo(1)
      assert.strictEqual(yield* Fiber.join(a2 ?? assert.fail()), "a2")
    })
  )

  it.effect(
    "fails the appends of a tenant that stays locked after a time, and not the ones that came later",
    () =>
      Effect.gen(function* () {
        const lockWaitMillis = 300
        const { batches, held, start, letGo, settle } = yield* setUp({ lockWaiters: 0, lockWaitMillis })
        let next = 0
        const letNextGo = Effect.suspend(() =>
          Effect.andThen(
            untilSent(batches, next),
            Effect.suspend(() => letGo(next++))
          )
        )
        held.add(a)
        const began = performance.now()
        const early = yield* start(request(a, "a1"), request(a, "a2"))
        while (early.some((fiber) => fiber.pollUnsafe() === undefined)) yield* letNextGo
        assert.isAtLeast(performance.now() - began, lockWaitMillis)
        assert.deepStrictEqual(yield* Effect.forEach(early, Fiber.await), [
          Exit.fail("lock timeout"),
          Exit.fail("lock timeout")
        ])
        const [late, other] = yield* start(request(a, "a3"), request(b, "b1"))
        yield* letNextGo
        yield* letNextGo
        assert.strictEqual(yield* Fiber.join(other ?? assert.fail()), "b1")
        assert.isUndefined(late?.pollUnsafe())
        held.delete(a)
        yield* letNextGo
        yield* settle
        assert.strictEqual(yield* Fiber.join(late ?? assert.fail()), "a3")
      })
  )

  it.effect("registers a new tenant in a separate statement", () =>
    Effect.gen(function* () {
      const { absent, batches, start, letGo } = yield* setUp({ concurrency: 2 })
      absent.add(a).add(b)
      const fibers = yield* start(request(c, "1"), request(c, "2"), request(a, "3"), request(b, "4"))
      assert.deepStrictEqual(batches, [["1"], ["3"]])
      yield* letGo(0)
      yield* letGo(1)
      assert.deepStrictEqual(
        batches
          .slice(2)
          .flat()
          .toSorted((one, other) => (one < other ? -1 : 1)),
        ["2", "3", "4"]
      )
      for (const at of [2, 3, 4, 5]) if (at < batches.length) yield* letGo(at)
      assert.deepStrictEqual(sorted(batches.slice(2)), [["2", "4"], ["3"], ["4"]])
      assert.deepStrictEqual(yield* Fiber.joinAll(fibers), ["1", "2", "3", "4"])
    })
  )

  it.effect("sends appends with conditions apart from others, and slow ones each alone", () =>
    Effect.gen(function* () {
      const { batches, start, letGo } = yield* setUp()
      const on = (tenantId: TenantId, id: string) => ({
        ...request(tenantId, id),
        conditions: [{ query: [], after: 0 }]
      })
      yield* start(request(a, "1"), on(b, "b1"), request(c, "2"), on(a, "a1"), on(c, "c1"), on(c, "c2"))
      assert.deepStrictEqual(batches, [["1"], ["b1"]])
      yield* letGo(0)
      assert.deepStrictEqual(batches.slice(2), [["2"]])
      yield* letGo(2)
      yield* letGo(1)
      assert.deepStrictEqual(batches.slice(3), [["a1", "c1", "c2"]])
      yield* start(on(a, "a2"), on(c, "c3"), on(b, "b2"))
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 150)))
      yield* letGo(3)
      // a and c were slow together: each is then timed alone, and b waits for neither
      assert.deepStrictEqual(batches.slice(4), [["a2"], ["b2"]])
      yield* letGo(4)
      assert.deepStrictEqual(batches.slice(6), [["c3"]])
      yield* letGo(5)
      yield* start(on(a, "a3"), on(b, "b3"), on(a, "a4"))
      assert.deepStrictEqual(batches.slice(7), [["a3"]])
      yield* letGo(7)
      assert.deepStrictEqual(batches.slice(8), [["b3", "a4"]])
    })
  )

  it.effect("sends each append of a failed statement alone", () =>
    Effect.gen(function* () {
      const { batches, bad, start, letGo } = yield* setUp()
      bad.add("3")
      const fibers = yield* start(request(a, "1"), request(b, "2"), request(b, "3"), request(c, "4"))
      yield* letGo(0)
      assert.deepStrictEqual(batches.slice(1), [["2", "4", "3"]])
      for (const at of [1, 2, 3, 4]) yield* letGo(at)
      assert.deepStrictEqual(sorted(batches.slice(2)), [["2"], ["3"], ["4"]])
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      assert.deepStrictEqual(
        exits.map(({ _tag }) => _tag),
        ["Success", "Success", "Failure", "Success"]
      )
    })
  )

  it.effect("limits a batch by appends and characters, and sends a larger append alone", () =>
    Effect.gen(function* () {
      const { batches, start, letGo } = yield* setUp({ maxAppends: 2, maxCharacters: 10 })
      yield* start(
        request(a, "0"),
        ...["1", "2", "3"].map((id) => request(a, id, "xx")),
        request(a, "large", "x".repeat(50)),
        request(a, "4", "x".repeat(6)),
        request(a, "5", "x".repeat(6))
      )
      for (let index = 0; index < 5; index++) yield* letGo(index)
      assert.deepStrictEqual(batches, [["0"], ["1", "2"], ["3"], ["large"], ["4"], ["5"]])
    })
  )

  it.effect("lets tenants take turns, so that a flood of one does not delay another", () =>
    Effect.gen(function* () {
      const { batches, start, letGo } = yield* setUp({ maxAppends: 4 })
      const flood = Array.from({ length: 10 }, (_, n) => request(a, `a${n}`))
      yield* start(request(a, "first"), ...flood, request(b, "b0"), request(b, "b1"))
      yield* letGo(0)
      assert.deepStrictEqual(batches[1], ["a0", "b0", "a1", "b1"])
    })
  )

  it.effect(
    "does not send an append that is interrupted while it waits, and other appends are not affected",
    () =>
      Effect.gen(function* () {
        const { batches, start, letGo } = yield* setUp()
        const [first, second, third] = yield* start(request(a, "1"), request(a, "2"), request(a, "3"))
        yield* Fiber.interrupt(second ?? assert.fail())
        yield* letGo(0)
        yield* letGo(1)
        assert.deepStrictEqual(batches, [["1"], ["3"]])
        assert.deepStrictEqual(yield* Fiber.joinAll([first ?? assert.fail(), third ?? assert.fail()]), [
          "1",
          "3"
        ])
      })
  )

  it.effect(
    "answers an append that is interrupted in progress at once, and completes it in the background",
    () =>
      Effect.gen(function* () {
        const { batches, start, letGo, settle } = yield* setUp({ concurrency: 1 })
        const [first] = yield* start(request(a, "1"))
        yield* Fiber.interrupt(first ?? assert.fail())
        yield* start(request(b, "2"))
        yield* settle
        // Its place stays occupied until the database has answered.
        assert.lengthOf(batches, 1)
        yield* letGo(0)
        yield* settle
        assert.lengthOf(batches, 2)
        yield* letGo(1)
      })
  )

  it.effect("spreads waiting appends over the allowed batches", () =>
    Effect.gen(function* () {
      const { batches, start, letGo } = yield* setUp({ concurrency: 2 })
      const tenants = Array.from({ length: 50 }, (_, n) => tenant(n + 1))
      yield* start(...tenants.map((one, n) => request(one, `${n}`)))
      assert.deepStrictEqual(
        batches.map((batch) => batch.length),
        [1, 1]
      )
      yield* letGo(0)
      yield* letGo(1)
      assert.deepStrictEqual(
        batches.map((batch) => batch.length),
        [1, 1, 25, 23]
      )
    })
  )

  it.effect("sends a second batch of a tenant with many appends behind the first, and no third", () =>
    Effect.gen(function* () {
      const { batches, start, letGo } = yield* setUp({ concurrency: 2 })
      const lengths = () => batches.map((batch) => batch.length)
      const many = Array.from({ length: 132 }, (_, n) => request(a, `a${n}`))
      yield* start(...many.slice(0, 32))
      assert.deepStrictEqual(lengths(), [1])
      const fibers = yield* start(...many.slice(32))
      // the second was sent as soon as enough waited
      assert.deepStrictEqual(lengths(), [1, 32])
      // others are sent while both batches of the tenant are in progress
      yield* start(request(b, "b1"))
      assert.deepStrictEqual(batches[2], ["b1"])
      yield* letGo(0)
      assert.deepStrictEqual(lengths(), [1, 32, 1, 66])
      yield* letGo(1)
      // the few that are left wait for their turn
      assert.deepStrictEqual(lengths(), [1, 32, 1, 66, 33])
      yield* letGo(3)
      yield* letGo(4)
      assert.lengthOf(yield* Fiber.joinAll(fibers), 100)
      assert.deepStrictEqual(
        [...(batches[0] ?? []), ...(batches[1] ?? []), ...(batches[3] ?? []), ...(batches[4] ?? [])],
        many.map(idOf)
      )
    })
  )

  it.effect("sends together the appends of callers that got their outcomes together", () =>
    Effect.gen(function* () {
      const { batches, start, letGo, submit } = yield* setUp({ concurrency: 2 })
      yield* start(request(b, "b"))
      yield* Effect.forEach([1, 2, 3, 4], (n) =>
        Effect.forkDetach(
          Effect.andThen(submit(request(a, `${n}`)), submit(request(tenant(10 + n), `${n} again`))),
          { startImmediately: true }
        )
      )
      yield* letGo(0)
      yield* letGo(1)
      assert.deepStrictEqual(batches, [["b"], ["1"], ["2", "3", "4"], ["1 again"]])
      yield* letGo(3)
      // the first of them does not take the free place alone
      yield* letGo(2)
      assert.deepStrictEqual(batches[4], ["2 again", "3 again", "4 again"])
    })
  )

  it.effect("passes a defect of the driver only to the appends of its batch, and continues", () =>
    Effect.gen(function* () {
      const { start, letGo, letDie } = yield* setUp()
      const [first, second] = yield* start(request(a, "1"), request(b, "2"))
      yield* letDie(0)
      assert.strictEqual((yield* Fiber.await(first ?? assert.fail()))._tag, "Failure")
      yield* letGo(1)
      assert.strictEqual(yield* Fiber.join(second ?? assert.fail()), "2")
    })
  )

  it.effect("frees the place of an append that is interrupted at any point", () =>
    Effect.gen(function* () {
      const submit = groupCommit.make<string, never>(
        (requests) =>
          Effect.as(
            Effect.yieldNow,
            requests.map((one) => Exit.succeed(idOf(one)))
          ),
        Effect.runForkWith(yield* Effect.context()),
        { maxAppends: 10, maxCharacters: 1000, concurrency: 1, lockWaiters: 1, lockWaitMillis: 10_000 },
        () => assert.fail("no tenant is locked")
      )
      for (let operations = 3; operations < 40; operations++) {
        const fiber = yield* Effect.forkDetach(
          Effect.provideService(submit(request(a, "interrupted")), Scheduler.MaxOpsBeforeYield, operations),
          { startImmediately: true }
        )
        yield* Fiber.interrupt(fiber)
        for (const tenantId of [a, b])
          assert.strictEqual(
            yield* submit(request(tenantId, "next")),
            "next",
            `after ${operations} operations`
          )
      }
    })
  )
})

/** The contract of drivers: command keys and hash chains. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect, Result } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import type { AppendRequest, CommandKey, CommandRow, StreamAppend } from "../../driver/EventStorage.ts"
import { EventStorage } from "../../driver/EventStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import { chainStart, eventHash } from "../../driver/eventHash.ts"
import {
  aggregateType,
  append,
  appended,
  attempt,
  batch,
  event,
  events,
  newTenant,
  plain,
  position,
  readLog,
  readStream,
  request,
  setStatus,
  stream,
  version
} from "./eventKit.ts"
import { reasonOf, flipped } from "../failures.ts"

const fingerprints = ["a", "b"].map((digit) => digit.repeat(64))
const [one = "", other = ""] = fingerprints

/** A key with a very long time to live. */
const key = (fields: Partial<CommandKey> = {}): CommandKey => ({
  key: "key",
  fingerprint: one,
  expiresInMillis: 3_600_000,
  ...fields
})

const carrying = (tenantId: TenantId, command: CommandKey, carried: StreamAppend): AppendRequest => ({
  ...request(tenantId, carried),
  command
})

const receiptOf = (sent: AppendRequest) =>
  Effect.map(attempt(sent), (outcome) =>
    Result.isSuccess(outcome) ? outcome.success : assert.fail(outcome.failure.message)
  )

const outcomeOf = (tenantId: TenantId, name = "key") =>
  EventStorage.use((storage) => storage.commandOutcome({ tenantId, key: name }))

const row = (fields: Partial<CommandRow>): CommandRow => ({
  fingerprint: one,
  aggregateType,
  aggregateId: "one",
  version: 1,
  position: 1,
  events: 1,
  ...fields
})

export const commands = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("a repeated command gets its first outcome, even if it would fail now", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("zero", events(2)), stream("one", events(1)))
      const first = yield* receiptOf(carrying(tenant, key(), stream("one", events(2), 1)))
      assert.deepStrictEqual(first.positions, [4, 5])
      assert.deepStrictEqual(first.versions, [2, 3])
      assert.isUndefined(first.command)
      yield* append(tenant, stream("one", events(3)), stream("zero", events(1)))
      const before = yield* readLog(tenant)
      const command = row({ version: 3, position: 5, events: 2 })
      for (const again of [
        stream("one", events(2), 1),
        stream("one", events(7), "noStream"),
        stream("one", [], 99),
        stream("elsewhere", events(1), "streamExists")
      ]) {
        assert.deepStrictEqual(yield* receiptOf(carrying(tenant, key(), again)), {
          ...first,
          replayed: true,
          command
        })
      }
      // also with a condition that no longer holds
      const conditional = {
        ...carrying(tenant, key(), stream("one", events(1))),
        conditions: [{ query: [{ eventTypes: undefined, tags: [] }], after: 0 }]
      }
      assert.isTrue((yield* receiptOf(conditional)).replayed)
      assert.deepStrictEqual(yield* readLog(tenant), before)
      assert.deepStrictEqual(yield* outcomeOf(tenant), command)
    })
  )

  it.effect("many keys are looked up at once, each in its own tenant", () =>
    Effect.gen(function* () {
      const [mine, theirs] = [newTenant(), newTenant()]
      const names = Array.from({ length: 12 }, (_, n) => `key ${n}`)
      for (const [n, name] of names.entries()) {
        if (n % 3 > 0) yield* receiptOf(carrying(mine, key({ key: name }), stream(name, events(1))))
        if (n % 3 < 2)
          yield* receiptOf(
            carrying(
              theirs,
              key({ key: name, expiresInMillis: n % 2 === 0 ? 0 : 3_600_000 }),
              stream(name, events(2))
            )
          )
      }
      const found = yield* Effect.forEach(
        names.flatMap((name) => [mine, theirs, newTenant()].map((tenantId) => ({ tenantId, name }))),
        ({ name, tenantId }) => outcomeOf(tenantId, name),
        { concurrency: "unbounded" }
      )
      let [ofMine, ofTheirs] = [0, 0]
      const expected = names.flatMap((name, n) => {
        if (n % 3 > 0) ofMine++
        if (n % 3 < 2) ofTheirs += 2
        return [
          n % 3 > 0 ? row({ aggregateId: name, position: ofMine }) : undefined,
          n % 3 < 2 && n % 2 > 0
            ? row({ aggregateId: name, version: 2, position: ofTheirs, events: 2 })
            : undefined,
          undefined
        ]
      })
      assert.deepStrictEqual(found, expected)
    })
  )

  it.effect("appends with new, repeated and conflicting keys may be sent at once", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* receiptOf(carrying(tenant, key({ key: "before" }), stream("one", events(2))))
      const sent = [
        carrying(tenant, key({ key: "a" }), stream("one", events(1), 2)),
        carrying(tenant, key({ key: "before" }), stream("one", events(3), 3)),
        carrying(tenant, key({ key: "b" }), stream("one", events(2), 3)),
        carrying(tenant, key({ key: "before", fingerprint: other }), stream("one", events(1), 5)),
        carrying(tenant, key({ key: "c" }), stream("one", [], 5)),
        carrying(tenant, key({ key: "d" }), stream("one", events(1), 4)),
        carrying(tenant, key({ key: "e" }), stream("two", events(1), "noStream"))
      ]
      const outcomes = yield* Effect.forEach(sent, attempt, { concurrency: "unbounded" })
      assert.deepStrictEqual(
        outcomes.map((outcome) =>
          Result.isSuccess(outcome)
            ? [outcome.success.positions, outcome.success.replayed]
            : reasonOf(outcome.failure)._tag
        ),
        [
          [[3], false],
          [[1, 2], true],
          [[4, 5], false],
          "CommandKeyConflict",
          [[], false],
          "VersionConflict",
          [[6], false]
        ]
      )
      const found = yield* Effect.forEach(["a", "b", "c", "d", "e"], (name) => outcomeOf(tenant, name), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(found, [
        row({ version: 3, position: 3 }),
        row({ version: 5, position: 5, events: 2 }),
        row({ version: 5, position: 5, events: 0 }),
        undefined,
        row({ aggregateId: "two", position: 6 })
      ])
    })
  )

  it.effect("another command with the same key is refused", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* receiptOf(carrying(tenant, key(), stream("one", events(1))))
      assert.deepStrictEqual(
        yield* batch(carrying(tenant, key({ fingerprint: other }), stream("one", events(1)))),
        [{ _tag: "CommandKeyConflict", tenantId: tenant, key: "key" }]
      )
      assert.strictEqual(yield* position(tenant), 1)
      assert.deepStrictEqual(yield* outcomeOf(tenant), row({}))
    })
  )

  it.effect("a command without events is recorded as well", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const nothing = { replayed: false, positions: [], versions: [], recordedAt: [] }
      assert.deepStrictEqual(yield* receiptOf(carrying(tenant, key(), stream("one", [], "noStream"))), {
        ...nothing,
        unchanged: { version: 0, position: 0 }
      })
      assert.deepStrictEqual(yield* outcomeOf(tenant), row({ version: 0, position: 0, events: 0 }))
      yield* append(tenant, stream("one", events(2)), stream("two", events(3)))
      const second = carrying(tenant, key({ key: "second" }), stream("two", [], 3))
      assert.deepStrictEqual(yield* receiptOf(second), {
        ...nothing,
        unchanged: { version: 3, position: 5 }
      })
      const known = row({ aggregateId: "two", version: 3, position: 5, events: 0 })
      assert.deepStrictEqual(yield* outcomeOf(tenant, "second"), known)
      assert.deepStrictEqual(yield* receiptOf(second), { ...nothing, replayed: true, command: known })
      assert.deepStrictEqual(yield* receiptOf(carrying(tenant, key(), stream("one", events(1)))), {
        ...nothing,
        replayed: true,
        command: row({ version: 0, position: 0, events: 0 })
      })
      assert.strictEqual(yield* position(tenant), 5)
      assert.deepStrictEqual(
        yield* batch(carrying(tenant, key({ key: "third" }), stream("two", [], 1))).pipe(
          Effect.map(([outcome]) => outcome?.["_tag"])
        ),
        "VersionConflict"
      )
    })
  )

  it.effect("a refused command is not recorded, and can succeed later", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const late = carrying(tenant, key(), stream("one", events(1), 1))
      const outcome = yield* attempt(late)
      assert.strictEqual(Result.isFailure(outcome) ? reasonOf(outcome.failure)._tag : "", "VersionConflict")
      assert.isUndefined(yield* outcomeOf(tenant))
      yield* append(tenant, stream("one", events(1)))
      assert.deepStrictEqual((yield* receiptOf(late)).positions, [2])
      yield* append(newTenant(), stream("one", events(1)))
      assert.isUndefined(yield* outcomeOf(tenant, "unknown"))
      assert.isUndefined(yield* outcomeOf(newTenant()))
    })
  )

  it.effect("an expired key counts as never used, and other keys are kept", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* receiptOf(carrying(tenant, key({ key: "kept" }), stream("one", events(1))))
      const expired = key({ expiresInMillis: 0 })
      for (const round of [2, 3]) {
        const receipt = yield* receiptOf(carrying(tenant, expired, stream("one", events(1))))
        assert.deepStrictEqual(receipt.positions, [round])
        assert.isUndefined(yield* outcomeOf(tenant))
      }
      const again = yield* receiptOf(carrying(tenant, key({ fingerprint: other }), stream("one", events(1))))
      assert.deepStrictEqual(again.positions, [4])
      const last = row({ fingerprint: other, version: 4, position: 4 })
      assert.deepStrictEqual(yield* outcomeOf(tenant), last)
      // many expired keys do not remove others
      for (let n = 0; n < 20; n++) {
        yield* receiptOf(carrying(tenant, key({ key: `short ${n}`, expiresInMillis: 0 }), stream("one", [])))
      }
      assert.deepStrictEqual(yield* outcomeOf(tenant), last)
      assert.deepStrictEqual(yield* outcomeOf(tenant, "kept"), row({}))
    })
  )

  it.effect("keys belong to one tenant", () =>
    Effect.gen(function* () {
      const tenants = [newTenant(), newTenant(), newTenant()]
      const [first = newTenant(), second = newTenant(), third = newTenant()] = tenants
      yield* receiptOf(carrying(first, key(), stream("one", events(1))))
      yield* append(second, stream("one", events(1)))
      assert.isUndefined(yield* outcomeOf(second))
      const different = yield* receiptOf(
        carrying(second, key({ fingerprint: other }), stream("one", events(2)))
      )
      assert.deepStrictEqual([different.replayed, different.positions], [false, [2, 3]])
      // expiry in one tenant removes nothing of another
      yield* receiptOf(carrying(third, key({ expiresInMillis: 0 }), stream("one", events(1))))
      yield* receiptOf(carrying(third, key({ key: "next", expiresInMillis: 0 }), stream("one", events(1))))
      assert.deepStrictEqual(yield* outcomeOf(first), row({}))
      assert.deepStrictEqual(
        yield* outcomeOf(second),
        row({ fingerprint: other, version: 3, position: 3, events: 2 })
      )
      assert.isUndefined(yield* outcomeOf(third))
    })
  )

  it.effect("the commands of a batch see each other", () =>
    Effect.gen(function* () {
      const [tenant, another] = [newTenant(), newTenant()]
      const answers = yield* batch(
        carrying(tenant, key(), stream("one", events(1), 0)),
        carrying(tenant, key(), stream("two", events(1), 0)),
        carrying(another, key({ fingerprint: other }), stream("one", events(1), 0)),
        carrying(tenant, key({ fingerprint: other }), stream("three", events(1), 0)),
        carrying(tenant, key({ key: "next" }), stream("four", events(2), 0)),
        request(tenant, stream("five", events(1), 0))
      )
      assert.deepStrictEqual(answers, [
        appended([1], [1]),
        { ...appended([1], [1]), replayed: true },
        appended([1], [1]),
        { _tag: "CommandKeyConflict", tenantId: tenant, key: "key" },
        appended([2, 3], [1, 2]),
        appended([4], [1])
      ])
    })
  )

  it.effect("of many callers with one key, exactly one runs the command", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("zero", events(1)))
      for (const round of ["first", "second", "third"]) {
        const receipts = yield* Effect.forEach(
          Array.from({ length: 16 }, (_, name) => name),
          (name) => receiptOf(carrying(tenant, key({ key: round }), stream(`${round} ${name}`, events(2)))),
          { concurrency: "unbounded" }
        )
        assert.lengthOf(
          receipts.filter(({ replayed }) => !replayed),
          1
        )
        assert.lengthOf([...new Set(receipts.map(({ positions }) => positions.join()))], 1)
      }
      assert.strictEqual(yield* position(tenant), 7)
    })
  )

  it.effect("a repeated command of a suspended tenant is refused, and its outcome stays recorded", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const command = carrying(tenant, key(), stream("one", events(1)))
      yield* receiptOf(command)
      yield* setStatus(tenant, "suspended")
      assert.deepStrictEqual(yield* batch(command), [{ _tag: "TenantSuspended", tenantId: tenant }])
      assert.deepStrictEqual(yield* outcomeOf(tenant), row({}))
    })
  )
}

/** Checks the hashes of a tenant's log from a position on. */
const assertChained = Effect.fnUntraced(function* (tenant: TenantId, from: number) {
  const { rows } = yield* readLog(tenant)
  let previous = chainStart
  for (const row_ of rows) {
    if (row_.position < from) {
      assert.isNull(row_.hash, `position ${row_.position}`)
      continue
    }
    const expected = eventHash(previous, tenant, row_)
    assert.strictEqual(row_.hash, expected, `position ${row_.position}`)
    previous = expected
  }
  return rows.length
})

const start = (tenantId: TenantId) => EventStorage.use((storage) => storage.startHashChain(tenantId))
const startOf = (tenantId: TenantId) => EventStorage.use((storage) => storage.hashChainStart(tenantId))

export const hashChains = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("events carry no hash unless a chain was started", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      assert.isUndefined(yield* startOf(tenant))
      yield* append(tenant, stream("one", events(2)))
      assert.isUndefined(yield* startOf(tenant))
      assert.strictEqual(yield* assertChained(tenant, Infinity), 2)
    })
  )

  it.effect("from the start of a chain on, every event carries the hash of itself and its predecessor", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(3)))
      assert.strictEqual(yield* start(tenant), 4)
      assert.strictEqual(yield* start(tenant), 4)
      yield* append(tenant, stream("one", events(1)))
      assert.strictEqual(yield* start(tenant), 4)
      assert.strictEqual(yield* startOf(tenant), 4)
      yield* append(tenant, stream("one", events(2)), stream("two", events(3)))
      yield* append(
        tenant,
        stream("é😀", [
          event({
            eventType: "Ünusual",
            schemaVersion: 77,
            occurredAt: -123_456_789,
            actor: null,
            causationId: null,
            correlationId: "ç",
            metadata: '{ "z":1, "a":"😀" }',
            payload: '{"b" : [1.50, "é"], "a":null}',
            tags: ["1:a", "-", "a\\b", 'q"q', "é"].toSorted()
          }),
          event({ occurredAt: 253_402_300_799_999, actor: "-", causationId: "0:", payload: "1" }),
          event({ occurredAt: -62_135_596_800_000, tags: ["x"] })
        ])
      )
      assert.strictEqual(yield* assertChained(tenant, 4), 12)
    })
  )

  it.effect("a chain can start at the first event, and belongs to one tenant", () =>
    Effect.gen(function* () {
      const [one_, two, three] = [newTenant(), newTenant(), newTenant()]
      yield* EventStorage.use((storage) => storage.provisionTenant(one_))
      assert.strictEqual(yield* start(one_), 1)
      const same = events(2)
      for (const tenant of [one_, two, three]) yield* append(tenant, stream("one", same))
      assert.strictEqual(yield* start(three), 3)
      for (const tenant of [one_, two, three]) yield* append(tenant, stream("one", events(1)))
      yield* assertChained(one_, 1)
      yield* assertChained(two, Infinity)
      yield* assertChained(three, 3)
      assert.isUndefined(yield* startOf(two))
    })
  )

  it.effect("the chain of an unknown tenant cannot start", () =>
    Effect.gen(function* () {
      const tenantId = newTenant()
      const error = yield* flipped(start(tenantId))
      assert.deepInclude(reasonOf(error), { _tag: "UnknownTenant", tenantId })
    })
  )

  it.effect("refused and repeated appends, conditions and commands leave no gap in a chain", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(1)))
      yield* start(tenant)
      const again = request(tenant, stream("one", events(2)))
      yield* batch(again)
      const none = { query: [{ eventTypes: undefined, tags: ["x"] }], after: 0 }
      const tagged = () => [event({ tags: ["x"] })]
      const answers = yield* batch(
        request(tenant, stream("two", events(1), 5)),
        request(tenant, stream("three", events(2))),
        again,
        { ...request(tenant, stream("four", tagged())), conditions: [none] },
        { ...request(tenant, stream("five", tagged())), conditions: [none] },
        carrying(tenant, key(), stream("six", events(2))),
        carrying(tenant, key(), stream("seven", events(2))),
        request(tenant, stream("three", events(1)))
      )
      assert.deepStrictEqual(
        answers.map(({ _tag, replayed }) => (_tag === "Appended" ? replayed : _tag)),
        ["VersionConflict", false, true, false, "AppendConditionFailed", false, true, false]
      )
      assert.strictEqual(yield* assertChained(tenant, 2), 9)
    })
  )

  it.effect("concurrent appends, with a start among them, make one chain", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("zero", events(1)))
      const writers = Array.from({ length: 24 }, (_, name) =>
        Effect.forEach([1, 2, 3, 4], (count) => append(tenant, stream(`${name}`, events(count))), {
          discard: true
        })
      )
      const [starts] = yield* Effect.all(
        [
          Effect.all([start(tenant), start(tenant)], { concurrency: "unbounded" }),
          Effect.all(writers, { concurrency: "unbounded", discard: true })
        ],
        { concurrency: "unbounded" }
      )
      assert.strictEqual(starts[0], starts[1])
      assert.strictEqual(yield* assertChained(tenant, starts[0]), 241)
    })
  )

  it.effect("streams and the log have the same hashes", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(1)))
      yield* start(tenant)
      yield* append(tenant, stream("one", [event({ eventId: uuidV4Unsafe() })]))
      assert.strictEqual(yield* version(tenant, "one"), 2)
      assert.deepStrictEqual((yield* readStream(tenant, "one")).rows, (yield* readLog(tenant)).rows)
      assert.match((yield* readLog(tenant)).rows[1]?.hash ?? "", /^[0-9a-f]{64}$/)
      assert.strictEqual(plain(yield* attempt(request(tenant, stream("one", events(1)))))["replayed"], false)
    })
  )
}

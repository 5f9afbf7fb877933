import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect, Schema } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as HashChain from "../../src/store/HashChain.ts"
import { chainStart, eventHash } from "../../src/driver/eventHash.ts"
import { CurrentTenant, type TenantId } from "../../src/domain/Tenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { asNewTenant, Note, written } from "../support/bank.ts"
import { enrolled, offered, toCourse } from "../support/enrolment.ts"
import { tamperable, Tampering } from "../support/tampering.ts"
import { flipped } from "../../src/testing/failures.ts"

type Row = EventStorage.EventRow
type Rows = ReadonlyArray<Row>

/** Ten events: five of a course with tags, and five notes with all optional fields. */
const tenEvents = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  yield* toCourse("a", offered(2), enrolled("ada"), enrolled("böb \u{1f30d}"))
  yield* store.append({
    aggregate: Note,
    id: "1",
    expectedVersion: "any",
    events: [
      written({ b: 1, a: "\u{1f30d} \u2028" }),
      Event.make(written([1e21, 0.1, null]), { actor: "ada", metadata: { from: "test", "0": [{}] } }),
      Event.make(written(""), {
        occurredAt: DateTime.makeUnsafe("0001-01-01T00:00:00.000Z"),
        tags: ["b", "a"]
      })
    ]
  })
  yield* toCourse("a", enrolled("eve"), enrolled("dan"))
  yield* store.append({
    aggregate: Note,
    id: "2",
    expectedVersion: "any",
    events: [written(1), written(2)]
  })
})

/** Starts the chain of a tenant, which may have no events yet. */
const start = Effect.gen(function* () {
  const storage = yield* EventStorage.EventStorage
  yield* storage.provisionTenant(yield* CurrentTenant)
  return yield* HashChain.start
})

const rowsOf = Effect.gen(function* () {
  const storage = yield* EventStorage.EventStorage
  const { rows } = yield* storage.readLog({
    tenantId: yield* CurrentTenant,
    fromPosition: 1,
    toPosition: 1000,
    recordedFrom: undefined,
    recordedBefore: undefined,
    aggregateTypes: undefined,
    eventTypes: undefined,
    direction: "forwards",
    limit: 1000
  })
  return rows
})

const tamper = (change: (rows: Rows, tenantId: TenantId) => Rows) =>
  Effect.gen(function* () {
    const tenantId = yield* CurrentTenant
    const { replace } = yield* Tampering
    yield* replace(tenantId, change(yield* rowsOf, tenantId))
  })

const chainFrom = (position: number | undefined) =>
  Effect.gen(function* () {
    const { chainFrom: set } = yield* Tampering
    yield* set(yield* CurrentTenant, position)
  })

/** Changes one row. */
const change =
  (position: number, changes: Partial<Row>) =>
  (rows: Rows): Rows =>
    rows.map((row) => (row.position === position ? Object.assign({}, row, changes) : row))

/** Computes all hashes from a position on again, as an attacker with the source code could. */
const rehash =
  (from: number, to = Infinity) =>
  (rows: Rows, tenantId: TenantId): Rows => {
    const rehashed: Array<Row> = []
    for (const row of rows) {
      const before = rehashed.at(-1)?.hash ?? chainStart
      const isMade = row.position >= from && row.position <= to
      rehashed.push(isMade ? { ...row, hash: eventHash(before, tenantId, row) } : row)
    }
    return rehashed
  }

/** Swaps two rows. */
const swap =
  (one: number, other: number) =>
  (rows: Rows): Rows =>
    rows
      .map((row) =>
        Object.assign({}, row, {
          position: row.position === one ? other : row.position === other ? one : row.position
        })
      )
      .toSorted((left, right) => left.position - right.position)

/** Adds a row and moves the rows from there on. */
const insert =
  (position: number, hash: string | null) =>
  (rows: Rows): Rows => {
    const [first] = rows
    if (first === undefined) return rows
    const forged = {
      ...first,
      eventId: Event.generateId(),
      aggregateId: "forged",
      version: 1,
      position,
      hash
    }
    return [
      ...rows.filter((row) => row.position < position),
      forged,
      ...rows
        .filter((row) => row.position >= position)
        .map((row) => Object.assign({}, row, { position: row.position + 1 }))
    ]
  }

const broken = (position: number, reason: HashChain.HashChainBroken["reason"]) => ({
  _tag: "HashChainBroken" as const,
  position,
  reason
})

type Broken = ReturnType<typeof broken>

const forgedHash = "f".repeat(64)

/** An anchor without an event id, like those of former versions. */
const withoutId = (anchor: HashChain.Anchor | undefined): HashChain.Anchor | undefined =>
  anchor && { position: anchor.position, hash: anchor.hash }

const cases: ReadonlyArray<
  readonly [what: string, change: (rows: Rows, tenantId: TenantId) => Rows, found: Broken]
> = [
  ["a changed payload", change(4, { payload: '{"_tag":"Written","text":"b"}' }), broken(4, "changed")],
  [
    "a payload that means the same in another order",
    change(4, { payload: '{"text":{"a":"\u{1f30d} \u2028","b":1},"_tag":"Written"}' }),
    broken(4, "changed")
  ],
  ["changed metadata", change(5, { metadata: '{"from":"elsewhere"}' }), broken(5, "changed")],
  ["another actor", change(5, { actor: "bob" }), broken(5, "changed")],
  ["an actor where there was none", change(4, { actor: "" }), broken(4, "changed")],
  ["another time", change(6, { occurredAt: 0 }), broken(6, "changed")],
  [
    "another time of recording",
    (rows) => change(6, { recordedAt: (rows[5]?.recordedAt ?? 0) + 1 })(rows),
    broken(6, "changed")
  ],
  ["another type of event", change(2, { eventType: "Left" }), broken(2, "changed")],
  ["another version of its schema", change(2, { schemaVersion: 2 }), broken(2, "changed")],
  ["another tag", change(2, { tags: ["course:a", "student:eve"] }), broken(2, "changed")],
  ["one tag less", change(2, { tags: ["course:a"] }), broken(2, "changed")],
  ["tags in another order", change(6, { tags: ["b", "a"] }), broken(6, "changed")],
  ["another stream", change(1, { aggregateId: "b" }), broken(1, "changed")],
  ["another version", change(8, { version: 9 }), broken(8, "changed")],
  ["another event id", change(3, { eventId: "00000000-0000-4000-8000-000000000000" }), broken(3, "changed")],
  ["another correlation", change(3, { correlationId: "x" }), broken(3, "changed")],
  ["a cause where there was none", change(3, { causationId: "x" }), broken(3, "changed")],
  ["a removed event", (rows) => rows.filter(({ position }) => position !== 5), broken(5, "missing")],
  ["a removed beginning", (rows) => rows.slice(2), broken(1, "missing")],
  [
    "a removed event, with the others moved up",
    (rows) =>
      rows
        .filter(({ position }) => position !== 5)
        .map((row) =>
          Object.assign({}, row, { position: row.position > 5 ? row.position - 1 : row.position })
        ),
    broken(5, "changed")
  ],
  ["two events in each other's place", swap(3, 9), broken(3, "changed")],
  ["neighbours in each other's place", swap(7, 8), broken(7, "changed")],
  ["an event that was added", insert(6, forgedHash), broken(6, "changed")],
  ["an event that was added without a hash", insert(6, null), broken(6, "unlinked")],
  ["an event that was added at the end", insert(11, null), broken(11, "unlinked")],
  ["an event whose hash was removed", change(10, { hash: null }), broken(10, "unlinked")],
  ["another hash", change(10, { hash: forgedHash }), broken(10, "changed")],
  [
    "a changed event with the hash that fits it",
    (rows, tenantId) => rehash(4, 4)(change(4, { actor: "bob" })(rows), tenantId),
    broken(5, "changed")
  ]
]

describe.each(tamperable)("a hash chain on $name", (backend) => {
  layer(backend.layer, { excludeTestServices: true })((it) => {
    it.effect("of an unaltered log is intact, on every page", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* flipped(HashChain.start))._tag, "UnknownTenant")
        assert.strictEqual(yield* start, 1)
        assert.deepStrictEqual(yield* HashChain.verify(), { from: 1, events: 0, head: undefined })
        assert.isUndefined(yield* HashChain.head)
        yield* tenEvents
        const head = yield* HashChain.head
        assert.deepInclude(head, { position: 10 })
        assert.match(head?.hash ?? "", /^[0-9a-f]{64}$/)
        assert.deepStrictEqual(yield* HashChain.verify(), { from: 1, events: 10, head })
        assert.strictEqual(yield* HashChain.start, 1)
        yield* Effect.forEach(
          Array.from({ length: 30 }, (_, n) => n),
          (n) => toCourse(`course ${n}`, ...Array.from({ length: 20 }, () => offered(n))),
          { concurrency: 8 }
        )
        const last = yield* HashChain.head
        assert.deepStrictEqual(yield* HashChain.verify(), { from: 1, events: 610, head: last })
        assert.deepStrictEqual(yield* HashChain.verify({ anchor: head, from: 11 }), {
          from: 11,
          events: 600,
          head: last
        })
        assert.deepStrictEqual(yield* HashChain.verify({ anchor: last }), {
          from: 1,
          events: 610,
          head: last
        })
      }).pipe(asNewTenant)
    )

    it.effect("is intact after rows were rewritten with the same content", () =>
      Effect.gen(function* () {
        yield* start
        yield* tenEvents
        yield* tamper((rows) => rows)
        assert.strictEqual((yield* HashChain.verify()).events, 10)
      }).pipe(asNewTenant)
    )

    for (const [what, doctor, expected] of cases) {
      it.effect(`reveals ${what}, at the first broken position`, () =>
        Effect.gen(function* () {
          yield* start
          yield* tenEvents
          yield* tamper(doctor)
          const failure = yield* flipped(HashChain.verify())
          assert.deepInclude(failure, { ...expected, tenantId: yield* CurrentTenant })
        }).pipe(asNewTenant)
      )
    }

    it.effect("reveals with an anchor that its last events were removed, and that it was rewritten", () =>
      Effect.gen(function* () {
        yield* start
        yield* tenEvents
        const anchor = withoutId(yield* HashChain.head)
        const rows = yield* rowsOf
        yield* tamper(() => rows.slice(0, 8))
        assert.strictEqual((yield* HashChain.verify()).events, 8)
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor })), broken(9, "anchor"))
        yield* tamper((_rows, tenantId) => rehash(4)(change(4, { actor: "bob" })(rows), tenantId))
        assert.strictEqual((yield* HashChain.verify()).events, 10)
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor })), broken(10, "anchor"))
        // A verification from there finds it too.
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor, from: 11 })), broken(10, "anchor"))
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor, from: 1000 })), broken(10, "anchor"))
        yield* tamper(() => [])
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor })), broken(1, "anchor"))
      }).pipe(asNewTenant)
    )

    it.effect("that a restore or a failover replaced is detected by an anchor with an event id", () =>
      Effect.gen(function* () {
        yield* start
        yield* tenEvents
        const tenantId = yield* CurrentTenant
        const anchor = yield* HashChain.head
        const bare = withoutId(anchor)
        const rows = yield* rowsOf
        const diverged = (actual: string | null) => ({
          _tag: "PositionDiverged" as const,
          tenantId,
          position: 10,
          expected: rows[9]?.eventId ?? "",
          actual
        })
        // The last two events are lost, and the shorter chain is intact.
        yield* tamper(() => rows.slice(0, 8))
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor })), diverged(null))
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor, from: 11 })), diverged(null))
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor: bare })), broken(9, "anchor"))
        // Others take their positions, and the chain of the same length is intact.
        const others = rows.map((row) =>
          row.position > 8 ? Object.assign({}, row, { eventId: Event.generateId() }) : row
        )
        yield* tamper((_rows, id) => rehash(9)(others, id))
        const other = yield* HashChain.head
        assert.deepStrictEqual([other?.position, other?.eventId], [10, others[9]?.eventId])
        assert.strictEqual((yield* HashChain.verify({ anchor: other })).events, 10)
        const found = diverged(others[9]?.eventId ?? null)
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor })), found)
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor, from: 11 })), found)
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor: bare })), broken(10, "anchor"))
        // The same event with other content is not another log, but was changed.
        yield* tamper((_rows, id) => rehash(10)(change(10, { actor: "bob" })(rows), id))
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor })), broken(10, "anchor"))
        // A break before the anchor is reported first.
        yield* tamper(() => change(4, { actor: "bob" })(rows.slice(0, 8)))
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor })), broken(4, "changed"))
      }).pipe(asNewTenant)
    )

    it.effect("has anchors that are kept as JSON, with or without an event id", () =>
      Effect.gen(function* () {
        yield* start
        yield* tenEvents
        const head = yield* HashChain.head
        const { decodeUnknownEffect, encodeEffect } = Schema
        assert.isDefined(head)
        const kept = JSON.stringify(yield* encodeEffect(HashChain.Anchor)(head))
        assert.deepStrictEqual(yield* decodeUnknownEffect(HashChain.Anchor)(JSON.parse(kept)), head)
        const { hash, position } = head
        assert.deepStrictEqual(yield* decodeUnknownEffect(HashChain.Anchor)({ hash, position }), {
          hash,
          position
        })
        assert.strictEqual((yield* HashChain.verify({ anchor: { hash, position } })).events, 10)
      }).pipe(asNewTenant)
    )

    it.effect("can be verified from a position, with the hash before it", () =>
      Effect.gen(function* () {
        yield* start
        yield* tenEvents
        yield* tamper(change(4, { actor: "bob" }))
        const head = yield* HashChain.head
        assert.deepStrictEqual(yield* HashChain.verify({ from: 5 }), { from: 5, events: 6, head })
        assert.deepInclude(yield* flipped(HashChain.verify({ from: 4 })), broken(4, "changed"))
        assert.deepStrictEqual(yield* HashChain.verify({ from: 99 }), { from: 11, events: 0, head })
        assert.deepInclude(yield* flipped(HashChain.verify({ from: -99 })), broken(4, "changed"))
        yield* tamper(change(8, { hash: null }))
        assert.deepInclude(yield* flipped(HashChain.verify({ from: 9 })), broken(8, "unlinked"))
      }).pipe(asNewTenant)
    )

    it.effect("is verified from the anchor on, even if a later position is requested", () =>
      Effect.gen(function* () {
        yield* start
        yield* tenEvents
        const [, , third] = yield* rowsOf
        const anchor = { position: 3, hash: third?.hash ?? "" }
        assert.deepInclude(yield* HashChain.verify({ anchor, from: 8 }), { from: 4, events: 7 })
        assert.deepInclude(yield* HashChain.verify({ anchor, from: 2 }), { from: 2, events: 9 })
        yield* tamper(change(5, { actor: "bob" }))
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor, from: 8 })), broken(5, "changed"))
      }).pipe(asNewTenant)
    )

    it.effect("that was started in the middle of a log covers the later events", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        yield* store.append({
          aggregate: Note,
          id: "0",
          expectedVersion: 0,
          events: [written(1), written(2)]
        })
        assert.strictEqual((yield* flipped(HashChain.verify()))._tag, "NoHashChain")
        assert.isUndefined(yield* HashChain.head)
        assert.strictEqual(yield* HashChain.start, 3)
        assert.deepInclude(yield* HashChain.verify(), { from: 3, events: 0 })
        yield* tenEvents
        assert.deepInclude(yield* HashChain.verify(), { from: 3, events: 10, head: yield* HashChain.head })
        assert.strictEqual(yield* HashChain.start, 3)
        const rows = yield* rowsOf
        yield* tamper(change(2, { actor: "bob" }))
        assert.deepInclude(yield* HashChain.verify(), { from: 3, events: 10 })
        yield* tamper(() => change(3, { actor: "bob" })(rows))
        assert.deepInclude(yield* flipped(HashChain.verify()), broken(3, "changed"))
        yield* tamper(() => rows)
        const anchor = { position: 2, hash: chainStart }
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor })), broken(2, "anchor"))
      }).pipe(asNewTenant)
    )

    it.effect("is broken at its start if that was moved or removed", () =>
      Effect.gen(function* () {
        yield* start
        yield* tenEvents
        const anchor = yield* HashChain.head
        for (const moved of [5, 11, 1000, undefined]) {
          yield* chainFrom(moved)
          assert.deepInclude(yield* flipped(HashChain.verify()), broken(1, "unlinked"))
        }
        yield* chainFrom(5)
        assert.deepInclude(yield* flipped(HashChain.verify({ from: 5 })), broken(4, "unlinked"))
        yield* tamper(change(4, { hash: null }))
        assert.deepInclude(yield* flipped(HashChain.verify({ from: 5 })), broken(5, "changed"))
        for (const behind of [11, 1000, undefined]) {
          yield* chainFrom(behind)
          assert.deepInclude(yield* flipped(HashChain.verify({ from: 5 })), broken(10, "unlinked"))
        }
        assert.deepInclude(yield* flipped(HashChain.verify({ anchor })), broken(10, "anchor"))
      }).pipe(asNewTenant)
    )

    it.effect(
      "that was switched off for some events is broken at the first event with a hash before that",
      () =>
        Effect.gen(function* () {
          yield* toCourse("a", offered(2))
          assert.strictEqual(yield* start, 2)
          yield* toCourse("a", enrolled("ada"), enrolled("eve"))
          const anchor = yield* HashChain.head
          const rows = yield* rowsOf
          yield* toCourse("a", enrolled("dan"), enrolled("bob"))
          // The result of updating the tenant's row: 4 has no hash, and another chain begins at 5.
          yield* chainFrom(undefined)
          yield* tamper(change(4, { hash: null }))
          assert.deepInclude(yield* flipped(HashChain.verify()), broken(2, "unlinked"))
          yield* tamper((all, tenantId) =>
            all.map((row) =>
              row.position === 5
                ? Object.assign({}, row, { hash: eventHash(chainStart, tenantId, row) })
                : row
            )
          )
          yield* chainFrom(5)
          assert.deepInclude(yield* flipped(HashChain.verify()), broken(2, "unlinked"))
          assert.deepInclude(yield* flipped(HashChain.verify({ anchor, from: 4 })), broken(3, "anchor"))
          // If the start is restored, the event without a hash is found.
          yield* chainFrom(2)
          assert.deepInclude(yield* flipped(HashChain.verify()), broken(4, "unlinked"))
          assert.deepInclude(yield* flipped(HashChain.verify({ anchor, from: 4 })), broken(4, "unlinked"))
          yield* tamper(() => rows)
          assert.deepInclude(yield* HashChain.verify({ anchor }), { from: 2, events: 2, head: anchor })
        }).pipe(asNewTenant)
    )

    it.effect("that covers no event yet still reveals missing events before it", () =>
      Effect.gen(function* () {
        yield* toCourse("a", offered(2), enrolled("ada"))
        assert.strictEqual(yield* start, 3)
        assert.deepStrictEqual(yield* HashChain.verify(), { from: 3, events: 0, head: undefined })
        yield* tamper((rows) => rows.slice(1))
        assert.deepInclude(yield* flipped(HashChain.verify()), broken(1, "missing"))
      }).pipe(asNewTenant)
    )

    it.effect("of one tenant is independent of that of another", () =>
      Effect.gen(function* () {
        const [a, b, c] = [yield* Tenant.generate, yield* Tenant.generate, yield* Tenant.generate]
        yield* Effect.andThen(start, tenEvents).pipe(Tenant.provide(a))
        yield* Effect.andThen(start, tenEvents).pipe(Tenant.provide(b))
        yield* tenEvents.pipe(Tenant.provide(c))
        const whole = yield* HashChain.verify().pipe(Tenant.provide(b))
        yield* tamper(change(4, { actor: "bob" })).pipe(Tenant.provide(a))
        assert.deepStrictEqual(yield* HashChain.verify().pipe(Tenant.provide(b)), whole)
        const failure = yield* flipped(HashChain.verify().pipe(Tenant.provide(a)))
        assert.deepInclude(failure, { tenantId: a, position: 4 })
        // A row of another tenant is not accepted, with any hash.
        const theirs = yield* rowsOf.pipe(Tenant.provide(b))
        yield* tamper(() => theirs).pipe(Tenant.provide(a))
        assert.deepInclude(yield* flipped(HashChain.verify().pipe(Tenant.provide(a))), broken(1, "changed"))
        const none = yield* flipped(HashChain.verify().pipe(Tenant.provide(c)))
        assert.deepInclude(none, { _tag: "NoHashChain", tenantId: c })
      })
    )
  })
})

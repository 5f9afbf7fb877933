/** The contract of operations: logs, streams, states, traces and decisions. */
import { assert, type Vitest } from "@effect/vitest"
import { DateTime, Effect, Fiber, Schema, Stream } from "effect"
import * as Looks from "../../operations/Looks.ts"
import type { Storages } from "../../operations/Operations.ts"
import * as PayloadGrant from "../../operations/PayloadGrant.ts"
import { SnapshotStorage } from "../../driver/SnapshotStorage.ts"
import { append, event, newTenant, stream } from "../driver/eventKit.ts"
import { at, fill, full, nthId, operating } from "./kit.ts"

const positions = ({ events }: { readonly events: ReadonlyArray<{ readonly position: number }> }) =>
  events.map(({ position }) => position)

export const logs = (it: Vitest.MethodsNonLive<Storages>): void => {
  it.effect("pages through a log in both directions, and goes on after a search without events", () =>
    operating([], (operations) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        const back = yield* operations.log({ limit: 2 }).pipe(at(tenant))
        assert.deepStrictEqual([positions(back), back.next, back.head], [[5, 4], 3, 5])
        const rest = yield* operations.log({ limit: 3, from: 3 }).pipe(at(tenant))
        assert.deepStrictEqual([positions(rest), rest.next], [[3, 2, 1], null])
        const forwards = yield* operations.log({ direction: "forwards", limit: 4 }).pipe(at(tenant))
        assert.deepStrictEqual([positions(forwards), forwards.next], [[1, 2, 3, 4], 5])
        const empty = yield* operations
          .log({ direction: "forwards", eventTypes: ["Noted"], scan: 3 })
          .pipe(at(tenant))
        assert.deepStrictEqual([positions(empty), empty.scanned, empty.next], [[], 3, 4])
        const found = yield* operations
          .log({ direction: "forwards", eventTypes: ["Noted"], scan: 3, from: 4 })
          .pipe(at(tenant))
        assert.deepStrictEqual([positions(found), found.next], [[4], null])
      })
    )
  )

  it.effect("selects events by type, tag, aggregate, actor, correlation and time", () =>
    operating([], (operations) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        const found = (request: Parameters<typeof operations.log>[0]) =>
          Effect.map(operations.log({ direction: "forwards", ...request }).pipe(at(tenant)), positions)
        assert.deepStrictEqual(yield* found({ eventTypes: ["Deposited"] }), [2, 3])
        assert.deepStrictEqual(yield* found({ eventTypes: [] }), [])
        assert.deepStrictEqual(yield* found({ tags: ["large"] }), [3, 5])
        assert.deepStrictEqual(yield* found({ aggregateType: "Note" }), [4])
        assert.deepStrictEqual(yield* found({ aggregateType: "Account", aggregateId: "2" }), [5])
        assert.deepStrictEqual(yield* found({ actor: "bob" }), [3])
        assert.deepStrictEqual(yield* found({ actor: "ada", limit: 2 }), [1, 2])
        assert.deepStrictEqual(yield* found({ correlationId: "other" }), [4, 5])
        assert.deepStrictEqual(yield* found({ correlationId: "other", tags: ["large"] }), [5])
        const { events } = yield* operations.log({ direction: "forwards" }).pipe(at(tenant))
        const first = events[0]?.recordedAt ?? assert.fail("no events")
        const later = DateTime.add(first, { days: 1 })
        assert.deepStrictEqual(yield* found({ recordedFrom: first, recordedBefore: later }), [1, 2, 3, 4, 5])
        assert.deepStrictEqual(yield* found({ recordedFrom: later }), [])
        assert.deepStrictEqual(yield* found({ recordedBefore: first }), [])
      })
    )
  )

  it.effect("follows a log live, from a position on", () =>
    operating([], (operations) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        const tailed = yield* operations
          .tail({ after: 4, aggregateType: "Account" })
          .pipe(Stream.take(2), Stream.runCollect, at(tenant), Effect.forkChild({ startImmediately: true }))
        yield* append(
          tenant,
          stream("1", [event({ eventType: "Noted" })], "any", "Note"),
          stream("3", [event({ eventType: "Deposited" })], "any", "Account")
        )
        assert.deepStrictEqual(positions({ events: yield* Fiber.join(tailed) }), [5, 7])
      })
    )
  )

  it.effect("shows payloads as the grant allows", () =>
    operating([], (operations) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        const note = operations.log({ aggregateType: "Note" }).pipe(
          at(tenant),
          Effect.map(({ events }) => events.map(({ metadata, stored }) => ({ metadata, stored })))
        )
        assert.deepStrictEqual(yield* note, [
          { stored: { _tag: "string(5)", text: "string(6)" }, metadata: { secret: "string(6)" } }
        ])
        assert.deepStrictEqual(yield* note.pipe(PayloadGrant.provide("none")), [
          { stored: null, metadata: null }
        ])
        assert.deepStrictEqual(yield* note.pipe(PayloadGrant.provide("full")), [
          { stored: { _tag: "Noted", text: "secret" }, metadata: { secret: "secret" } }
        ])
      })
    )
  )

  it.effect("shows a stream as stored and as it is read now, also events that cannot be read", () =>
    operating([], (operations) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        const first = yield* operations
          .stream({ aggregateType: "Account", aggregateId: "1", limit: 2 })
          .pipe(full, at(tenant))
        assert.deepStrictEqual(
          first.events.map(({ present, stored, version }) => ({ present, stored, version })),
          [
            {
              version: 1,
              stored: { _tag: "Opened", owner: "secret" },
              present: [{ _tag: "Opened", name: "secret" }]
            },
            {
              version: 2,
              stored: { _tag: "Deposited", amount: 20 },
              present: [{ _tag: "Deposited", amount: 20 }]
            }
          ]
        )
        assert.deepStrictEqual([first.version, first.next], [3, 3])
        const rest = yield* operations
          .stream({ aggregateType: "Account", aggregateId: "1", fromVersion: 3 })
          .pipe(at(tenant))
        assert.deepStrictEqual([positions(rest), rest.next], [[3], null])
        const broken = yield* operations
          .stream({ aggregateType: "Account", aggregateId: "2" })
          .pipe(at(tenant))
        assert.deepStrictEqual(
          broken.events.map(({ present, unreadable }) => ({ present, unreadable })),
          [{ present: null, unreadable: "UnknownSchemaVersion" }]
        )
        const unknown = yield* operations
          .stream({ aggregateType: "Account", aggregateId: "9" })
          .pipe(at(tenant))
        assert.deepStrictEqual(unknown, { events: [], version: 0, next: null })
      })
    )
  )

  it.effect(
    "folds the state at any version, with the difference to the one before and the snapshot beside",
    () =>
      operating([], (operations) =>
        Effect.gen(function* () {
          const tenant = newTenant()
          yield* fill(tenant, "secret")
          const key = { aggregateType: "Account", aggregateId: "1" }
          const state = (version?: number) => operations.state({ ...key, version }).pipe(at(tenant))
          const shownState = ({ difference, state: json, version }: Looks.StateView) => ({
            version,
            json,
            difference
          })
          assert.deepStrictEqual(shownState(yield* state(0).pipe(full)), {
            version: 0,
            json: { name: "", balance: 0 },
            difference: []
          })
          assert.deepStrictEqual(shownState(yield* state(1).pipe(full)), {
            version: 1,
            json: { name: "secret", balance: 0 },
            difference: [{ op: "replace", path: "/name", value: "secret" }]
          })
          const last = yield* state(99).pipe(full)
          assert.deepStrictEqual(shownState(last), {
            version: 3,
            json: { name: "secret", balance: 220 },
            difference: [{ op: "replace", path: "/balance", value: 220 }]
          })
          assert.deepStrictEqual([last.latest, last.known, last.snapshot], [3, true, null])
          assert.deepStrictEqual(shownState(yield* state()), {
            version: 3,
            json: { name: "string(6)", balance: "number" },
            difference: [{ op: "replace", path: "/balance", value: "number" }]
          })
          const hidden = yield* state().pipe(PayloadGrant.provide("none"))
          assert.deepStrictEqual(shownState(hidden), { version: 3, json: null, difference: [] })
          yield* SnapshotStorage.use((storage) =>
            storage.save({
              ...key,
              tenantId: tenant,
              version: 2,
              position: 2,
              eventId: nthId(2),
              recordedAt: 1_600_000_000_000,
              stateVersion: 7,
              fingerprint: "f".repeat(64),
              checksum: "0".repeat(64),
              state: "{}"
            })
          )
          const { snapshot } = yield* state()
          assert.deepInclude(snapshot, {
            version: 2,
            position: 2,
            stateVersion: 7,
            current: false,
            characters: 2
          })
          const broken = yield* operations.state({ ...key, aggregateId: "2" }).pipe(at(tenant))
          assert.deepStrictEqual(
            [broken.version, broken.unreadable],
            [0, { position: 5, error: "UnknownSchemaVersion" }]
          )
          const foreign = yield* operations
            .state({ aggregateType: "Note", aggregateId: "1" })
            .pipe(full, at(tenant))
          assert.deepStrictEqual([foreign.known, foreign.state, foreign.latest], [false, null, 1])
        })
      )
  )

  it.effect("draws the graph of a correlation id, and goes on where its search ended", () =>
    operating([], (operations) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        const graph = yield* operations.trace({ correlationId: "request" }).pipe(at(tenant))
        assert.deepStrictEqual(positions({ events: graph.nodes }), [1, 2, 3])
        assert.deepStrictEqual(graph.edges, [
          { cause: nthId(1), effect: nthId(2), known: true },
          { cause: nthId(2), effect: nthId(3), known: true }
        ])
        assert.isNull(graph.next)
        const part = yield* operations.trace({ correlationId: "request", limit: 1, from: 2 }).pipe(at(tenant))
        assert.deepStrictEqual(positions({ events: part.nodes }), [2])
        assert.deepStrictEqual(part.edges, [{ cause: nthId(1), effect: nthId(2), known: false }])
        assert.strictEqual(part.next, 3)
        const none = yield* operations.trace({ correlationId: nthId(3) }).pipe(at(tenant))
        assert.deepStrictEqual([none.nodes, none.next], [[], null])
      })
    )
  )

  it.effect("shows the events that the query of a decision matches", () =>
    operating([], (operations) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        const matched = (...items: Parameters<typeof operations.decision>[0]["items"]) =>
          Effect.map(operations.decision({ items }).pipe(at(tenant)), positions)
        assert.deepStrictEqual(yield* matched({ tags: ["large"] }), [3, 5])
        assert.deepStrictEqual(yield* matched({ aggregateType: "Account", eventTypes: ["Opened"] }), [1, 5])
        assert.deepStrictEqual(
          yield* matched({ eventTypes: ["Noted"] }, { tags: ["large"], eventTypes: ["Deposited"] }),
          [3, 4]
        )
        assert.deepStrictEqual(yield* matched(), [])
      })
    )
  )

  it.effect("answers with values that are JSON, and the same again when they are decoded", () =>
    operating([], (operations) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        const page = yield* operations.log().pipe(at(tenant))
        const json: unknown = JSON.parse(JSON.stringify(yield* Schema.encodeEffect(Looks.LogPage)(page)))
        assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(Looks.LogPage)(json), page)
        const state = yield* operations.state({ aggregateType: "Account", aggregateId: "1" }).pipe(at(tenant))
        const written: unknown = JSON.parse(
          JSON.stringify(yield* Schema.encodeEffect(Looks.StateView)(state))
        )
        assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(Looks.StateView)(written), state)
      })
    )
  )
}

/**
 * Quick cases in which two tenants with the same ids must not notice each other. Together they fail if a driver lacks a
 * single predicate on the tenant.
 */
import { assert } from "@effect/vitest"
import { DateTime, Effect, Layer, Stream } from "effect"
import * as Event from "../../domain/Event.ts"
import * as EventContext from "../../domain/EventContext.ts"
import { EventStorage } from "../../driver/EventStorage.ts"
import * as EventStore from "../../store/EventStore.ts"
import * as Repository from "../../store/Repository.ts"
import * as Tenant from "../../domain/Tenant.ts"
import { TenantRegistry, type Usage } from "../../store/TenantRegistry.ts"
import {
  acrossTenants,
  answer,
  append,
  as,
  type Case,
  failsWith,
  id,
  ids,
  log,
  Note,
  noted,
  observe,
  read,
  test,
  texts,
  withNeighbour,
  write
} from "./kit.ts"

const heads = EventStore.EventStore.use((store) => Stream.runCollect(store.tenants)).pipe(acrossTenants)

const headOf = (tenant: Tenant.TenantId) =>
  Effect.map(heads, (all) => all.find(({ tenantId }) => tenantId === tenant)?.position)

/** The cases. */
export const separation: ReadonlyArray<Case> = [
  test("1: the same aggregate id, version and event id in two tenants are independent", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const eventId = Event.generateId()
        const before = yield* observe.pipe(as(mine))
        const stream = "new in both"
        const first = yield* write("theirs", { stream, expected: "noStream", eventId }).pipe(as(theirs))
        assert.deepStrictEqual(yield* observe.pipe(as(mine)), before)
        const second = yield* write("mine", { stream, expected: "noStream", eventId }).pipe(as(mine))
        assert.deepStrictEqual([first.version, second.version], [1, 1])
        assert.deepStrictEqual([first.replayed, second.replayed], [false, false])
        assert.strictEqual(second.position, before.position + 1)
        assert.deepStrictEqual(texts(yield* read(stream).pipe(as(theirs))), ["theirs"])
        assert.deepStrictEqual(texts(yield* read(stream).pipe(as(mine))), ["mine"])
      })
    )),

  test("18: positions of one's own log lead to one's own events, and another tenant's to none", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const storage = yield* EventStorage
        const own = yield* log().pipe(as(mine))
        for (let n = 0; n <= own.length; n++) yield* write(`more ${n}`).pipe(as(theirs))
        for (const { position } of yield* log().pipe(as(theirs))) {
          const { eventId, eventIdAt } = yield* storage.head({ tenantId: mine, at: position })
          assert.strictEqual(eventId, own.at(-1)?.eventId)
          assert.strictEqual(eventIdAt, own[position - 1]?.eventId ?? null)
        }
      })
    )),

  test("1: an append in one tenant changes nothing that another can observe", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const before = yield* observe.pipe(as(mine))
        assert.isAbove(before.position, 0)
        for (const stream of ids) yield* write("more", { stream }).pipe(as(theirs))
        yield* write("stale", { expected: 0 }).pipe(failsWith("VersionConflict"), as(theirs))
        assert.deepStrictEqual(yield* observe.pipe(as(mine)), before)
        // every way of reading returns one's own events only
        for (const { backwards, forwards } of before.streams) {
          for (const events of [before.log, before.backwards, before.typed, forwards, backwards]) {
            for (const text of texts(events)) assert.include(String(text), mine)
          }
        }
      })
    )),

  test("1: events too large for chunks are read from one's own log only", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        for (const tenant of [mine, theirs, mine])
          yield* write(tenant + "x".repeat(40_000), { stream: "large" }).pipe(as(tenant))
        const large = texts(yield* log().pipe(as(mine))).filter((text) => String(text).length > 40_000)
        assert.deepStrictEqual(large, [mine + "x".repeat(40_000), mine + "x".repeat(40_000)])
        assert.lengthOf(yield* read("large").pipe(as(mine)), 2)
      })
    )),

  test("1: events are found by recorded time, whatever other tenants recorded", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const events = yield* log().pipe(as(mine))
        const last = events.at(-1)?.recordedAt ?? assert.fail("no events")
        const all = texts(events)
        const early = DateTime.makeUnsafe("2001-01-01T00:00:00Z")
        assert.deepStrictEqual(texts(yield* log({ recordedFrom: early }).pipe(as(mine))), all)
        assert.deepStrictEqual(
          texts(yield* log({ recordedBefore: DateTime.add(last, { hours: 1 }) }).pipe(as(mine))),
          all
        )
        assert.deepStrictEqual(yield* log({ recordedBefore: early }).pipe(as(mine)), [])
        yield* write("later").pipe(as(theirs))
        const after = log({ recordedFrom: DateTime.add(last, { hours: 1 }), direction: "backwards" })
        assert.deepStrictEqual(yield* after.pipe(as(mine)), [])
      })
    )),

  test("1: a suspended tenant is refused, and no other one", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const registry = yield* TenantRegistry
        const former = yield* registry.suspend(theirs).pipe(acrossTenants)
        assert.strictEqual(former, "active")
        assert.strictEqual(yield* registry.status.pipe(as(theirs)), "suspended")
        assert.strictEqual(yield* registry.status.pipe(as(mine)), "active")
        yield* write("refused").pipe(failsWith("TenantSuspended"), as(theirs))
        yield* write("accepted").pipe(as(mine))
        assert.strictEqual(yield* registry.provision(theirs), "suspended")
        assert.strictEqual(yield* registry.provision(mine), "active")
        assert.strictEqual(yield* registry.resume(theirs).pipe(acrossTenants), "suspended")
        yield* write("accepted again").pipe(as(theirs))
        const unknown = yield* Tenant.generate
        yield* registry.suspend(unknown).pipe(failsWith("UnknownTenant"), acrossTenants)
        assert.isUndefined(yield* registry.status.pipe(as(unknown)))
      })
    )),

  test("1: a new tenant can write while all others are suspended", () =>
    Effect.gen(function* () {
      const registry = yield* TenantRegistry
      yield* write("one event").pipe(as(yield* Tenant.generate))
      const active = (yield* heads).filter(({ status }) => status === "active")
      const setAll = (set: typeof registry.suspend) =>
        Effect.forEach(active, ({ tenantId }) => acrossTenants(set(tenantId)), { discard: true })
      const tenant = yield* Tenant.generate
      yield* setAll(registry.suspend)
      const first = yield* write("first").pipe(
        as(tenant),
        Effect.ensuring(Effect.orDie(setAll(registry.resume)))
      )
      assert.deepStrictEqual([first.version, first.position], [1, 1])
      assert.strictEqual(yield* registry.status.pipe(as(tenant)), "active")
    })),

  test("3: a tenant named in metadata, payload or ids is data", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const before = yield* observe.pipe(as(theirs))
        const metadata = { tenantId: theirs, tenant_id: theirs, CurrentTenant: theirs }
        const { events } = yield* append(
          { _tag: "Attached", json: metadata },
          { stream: theirs, metadata }
        ).pipe(as(mine))
        assert.deepStrictEqual(
          events.map(({ tenantId }) => tenantId),
          [mine]
        )
        assert.deepStrictEqual((yield* read(theirs).pipe(as(mine)))[0]?.metadata, metadata)
        assert.deepStrictEqual(yield* read(theirs).pipe(as(theirs)), [])
        assert.deepStrictEqual(yield* observe.pipe(as(theirs)), before)
      })
    )),

  test("5: a tenant inside another one ends with its effect, whether it succeeds or fails", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const before = yield* observe.pipe(as(theirs))
        const own = yield* Effect.gen(function* () {
          assert.deepStrictEqual(yield* observe.pipe(as(theirs)), before)
          yield* write("fails", { expected: 99 }).pipe(failsWith("VersionConflict"), as(theirs))
          return yield* write("mine")
        }).pipe(as(mine))
        assert.strictEqual(own.events[0]?.tenantId, mine)
        assert.deepStrictEqual(yield* observe.pipe(as(theirs)), before)
      })
    )),

  test("8: services built and used under one tenant serve the next tenant its own data", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const storage = yield* EventStorage
        // built afresh, because layers are memoised and those of the suite were built without a tenant
        const layer = Layer.fresh(
          Repository.layer.pipe(
            Layer.provideMerge(EventStore.layer),
            Layer.provide(Layer.succeed(EventStorage, storage))
          )
        )
        const use = Effect.gen(function* () {
          const repository = yield* Repository.Repository
          const { state } = yield* repository.execute(Note, "used by both", ({ texts: known }) => [
            noted(`after ${known.join()}`)
          ])
          return state.texts.join()
        })
        yield* Effect.gen(function* () {
          const services = yield* Layer.build(layer)
          const both = Effect.all([use.pipe(as(mine)), use.pipe(as(theirs))], { concurrency: 2 })
          assert.deepStrictEqual(yield* both.pipe(Effect.provideContext(services)), ["after ", "after "])
          const again = yield* use.pipe(Effect.provideContext(services), as(mine))
          assert.strictEqual(again, "after ,after after ")
        }).pipe(as(theirs), Effect.scoped)
      })
    )),

  test("8: concurrent loads of the same ids in several tenants return to each its own", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const repository = yield* Repository.Repository
        const stranger = yield* Tenant.generate
        yield* write("mine", { stream: "loaded" }).pipe(as(mine))
        yield* Effect.forEach(["theirs", "again"], (text) => write(text, { stream: "loaded" })).pipe(
          as(theirs)
        )
        const expected = new Map([
          [mine, ["mine"]],
          [theirs, ["theirs", "again"]],
          [stranger, []]
        ])
        const tenants = [mine, theirs, stranger, theirs, mine, stranger].flatMap((one) => [one, one, one])
        const found = yield* Effect.forEach(
          tenants,
          (tenant) =>
            Effect.map(repository.loadOrInitial(Note, "loaded"), ({ state }) => state.texts).pipe(as(tenant)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          found,
          tenants.map((tenant) => expected.get(tenant) ?? [])
        )
      })
    )),

  test("16: another tenant's event id as causation or correlation id is data that leads nowhere", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const [other] = yield* read().pipe(as(theirs))
        const causationId = other?.eventId ?? assert.fail("no event")
        const before = yield* observe.pipe(as(theirs))
        const { events } = yield* write("caused").pipe(
          EventContext.provide({ causationId, correlationId: causationId }),
          as(mine)
        )
        assert.deepStrictEqual([events[0]?.causationId, events[0]?.correlationId], [causationId, causationId])
        assert.deepStrictEqual(yield* observe.pipe(as(theirs)), before)
      })
    )),

  test("17: an event id belongs to one tenant: another may use it too, the same tenant only for the same content", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const eventId = Event.generateId()
        const first = yield* write("content", { eventId }).pipe(as(theirs))
        const independent = yield* write("content", { eventId }).pipe(as(mine))
        assert.isFalse(independent.replayed)
        const before = yield* Effect.all([observe.pipe(as(mine)), observe.pipe(as(theirs))])
        const conflict = yield* write("other content", { eventId }).pipe(
          failsWith("EventIdConflict"),
          as(theirs)
        )
        assert.deepStrictEqual([conflict.tenantId, conflict.eventId], [theirs, eventId])
        yield* write("content", { eventId, stream: "elsewhere" }).pipe(
          failsWith("EventIdConflict"),
          as(theirs)
        )
        const again = yield* write("content", { eventId, expected: 0 }).pipe(as(theirs))
        assert.deepStrictEqual([again.replayed, again.version], [true, first.version])
        assert.deepStrictEqual(yield* Effect.all([observe.pipe(as(mine)), observe.pipe(as(theirs))]), before)
      })
    )),

  test("20: loads, appends and reads of another tenant's id are answered as for an unused id", () =>
    withNeighbour(
      Effect.fnUntraced(function* (_mine, theirs) {
        const stream = "secret-1"
        const eventId = Event.generateId()
        yield* write("secret", { stream, eventId }).pipe(as(theirs))
        const store = yield* EventStore.EventStore
        const repository = yield* Repository.Repository
        const attempts = (
          key: string,
          usedId: Event.EventId
        ): ReadonlyArray<Effect.Effect<unknown, unknown, EventStore.EventStore | Tenant.CurrentTenant>> => [
          repository.load(Note, key),
          repository.loadOrInitial(Note, key),
          repository.exists(Note, key),
          store.version({ aggregate: Note, id: key }),
          read(key),
          write("x", { stream: key, expected: "streamExists" }),
          write("x", { stream: key, expected: 1 }),
          write("x", { stream: key, expected: "noStream", eventId: usedId }),
          write("x", { stream: key, expected: "noStream", eventId: usedId }),
          write("y", { stream: key, eventId: usedId }),
          write("z", { stream: key, expected: 1 }),
          repository.load(Note, key)
        ]
        const ask = Effect.fnUntraced(function* (key: string, usedId: Event.EventId) {
          const tenant = yield* Tenant.generate
          return yield* Effect.forEach(attempts(key, usedId), (attempt) =>
            answer(attempt, { [key]: "<id>" }).pipe(as(tenant))
          )
        })
        const used = yield* ask(stream, eventId)
        assert.deepStrictEqual(used, yield* ask("unused-1", Event.generateId()))
        assert.include(used[0], "AggregateNotFound")
        assert.deepStrictEqual(texts(yield* read(stream).pipe(as(theirs))), ["secret"])
      })
    )),

  test("21: positions and versions are 1..n without gaps, whatever other tenants do", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const store = yield* EventStore.EventStore
        const burst = (tenant: Tenant.TenantId) =>
          Effect.forEach(
            Array.from({ length: 8 }),
            (_, n) => write(`burst ${n}`, { stream: ids[n % 2] ?? id }).pipe(as(tenant)),
            { concurrency: 4 }
          )
        yield* Effect.all([burst(mine), burst(theirs)], { concurrency: 2 })
        for (const tenant of [mine, theirs]) {
          const events = yield* log().pipe(as(tenant))
          assert.deepStrictEqual(
            events.map(({ position }) => position),
            events.map((_, index) => index + 1)
          )
          for (const stream of ids) {
            const versions = (yield* read(stream).pipe(as(tenant))).map(({ version }) => version)
            assert.deepStrictEqual(
              versions,
              versions.map((_, index) => index + 1)
            )
            assert.strictEqual(
              yield* store.version({ aggregate: Note, id: stream }).pipe(as(tenant)),
              versions.length
            )
          }
          assert.strictEqual(yield* store.position.pipe(as(tenant)), events.length)
          assert.strictEqual(yield* headOf(tenant), events.length)
        }
      })
    )),

  test("21: usage is counted for its own tenant only", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const registry = yield* TenantRegistry
        const { knownForgotten } = yield* EventStore.EventStore
        const now = yield* DateTime.now
        const range = {
          recordedFrom: DateTime.subtract(now, { days: 1 }),
          recordedBefore: DateTime.add(now, { days: 1 })
        }
        yield* write("more", { stream: "a third" }).pipe(as(theirs))
        const all = yield* Stream.runCollect(registry.usage(range)).pipe(acrossTenants)
        for (const tenant of [mine, theirs]) {
          const events = yield* log().pipe(as(tenant))
          const days = all.filter(({ tenantId }) => tenantId === tenant)
          const sum = (of: (day: Usage) => number) => days.reduce((total, day) => total + of(day), 0)
          assert.deepStrictEqual(
            { events: sum((day) => day.events), newStreams: sum((day) => day.newStreams) },
            { events: events.length, newStreams: tenant === theirs ? 3 : 2 }
          )
          const written = events.reduce(
            (total, { metadata, payload }) =>
              total + Buffer.byteLength(JSON.stringify(payload) + JSON.stringify(metadata)),
            0
          )
          const bytes = sum((day) => day.bytes)
          // Sealed texts take more room.
          if (knownForgotten === undefined) assert.strictEqual(bytes, written)
          else assert.isAtLeast(bytes, written)
        }
      })
    ))
]

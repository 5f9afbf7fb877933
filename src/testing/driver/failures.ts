/** The contract of projection storages: failures, dead letters and progress. */
import { assert } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { type Claim, type Failure, pausedError, ProjectionStorage } from "../../driver/ProjectionStorage.ts"
import {
  ConnectionFailed,
  Contended,
  OtherFailure,
  ReadOnly,
  SchemaMismatch,
  ShuttingDown,
  StorageFull,
  StorageUnavailable,
  TimedOut,
  type UnavailableReason
} from "../../driver/StoreError.ts"
import {
  access,
  append,
  eventId,
  failNext,
  failing,
  type It,
  newProjection,
  newTenant,
  tenantsWith
} from "./projectionKit.ts"
import { EventStorage } from "../../driver/EventStorage.ts"

export const failures = (it: It): void => {
  it.effect("a failed event is tried again when it is due, not before, and other tenants continue", () =>
    Effect.gen(function* () {
      const projected = yield* newProjection()
      const [tenant = newTenant()] = yield* tenantsWith(2)
      yield* projected.step(1)
      const before = yield* Clock.currentTimeMillis
      yield* projected.fail(200, "Error: too early 🙈")
      const [other = newTenant()] = yield* tenantsWith(1)
      assert.strictEqual((yield* projected.step()).tenantId, other)
      const again = yield* projected.look
      // Clocks differ by less than this.
      assert.isAtLeast((yield* Clock.currentTimeMillis) - before, 150)
      assert.deepInclude(again, {
        tenantId: tenant,
        position: 1,
        attempts: 1,
        failedPosition: 2,
        error: "Error: too early 🙈"
      })
      yield* projected.fail(0)
      assert.deepInclude(yield* projected.look, { attempts: 2, failedPosition: 2, error: "Error: broken" })
      yield* projected.fail(3_600_000)
      yield* projected.idle
      assert.deepInclude((yield* projected.progress(tenant)).live, { attempts: 3, parked: false })
    })
  )

  it.effect("a success clears the failure of the next event, not of one further on", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      yield* tenantsWith(5)
      const fails = { position: 3, attempts: 2, error: "Error: broken", ...failing(0) }
      yield* projected.work((claim) => storage.fail({ claim, ...fails }))
      yield* projected.step(2)
      assert.deepInclude(yield* projected.look, { position: 2, attempts: 2, failedPosition: 3 })
      const late = yield* projected.step(1)
      const none = { attempts: 0, failedPosition: undefined, error: undefined }
      assert.deepInclude(yield* projected.look, { position: 3, ...none })
      // Another worker has passed it meanwhile.
      yield* storage.fail({ claim: late, ...fails, ...failing(undefined) })
      assert.deepInclude(yield* projected.look, { position: 3, ...none })
      // The failed event is not known, so the next one is tried alone.
      yield* storage.fail({ claim: late, ...fails, position: 4, attempts: 0 })
      assert.deepInclude(yield* projected.look, { position: 3, attempts: 0, failedPosition: 4 })
    })
  )

  it.effect("a paused projection gets no work, also before its first event, until it is resumed", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const [tenant = newTenant(), other = newTenant()] = yield* tenantsWith(3, 3)
      assert.isFalse(yield* storage.pause(projected.of(newTenant())))
      assert.isTrue(yield* storage.pause(projected.of(other)))
      assert.deepInclude(yield* projected.step(1), { tenantId: tenant })
      assert.isTrue(yield* storage.pause(projected.of(tenant)))
      assert.isFalse(yield* storage.pause(projected.of(tenant)))
      yield* append(tenant, 1)
      yield* projected.idle
      assert.deepInclude((yield* projected.progress(tenant)).live, {
        position: 1,
        parked: true,
        error: pausedError
      })
      assert.isTrue(yield* storage.resume(projected.of(tenant)))
      assert.deepInclude(yield* projected.step(), { tenantId: tenant, position: 1 })
      assert.isTrue(yield* storage.resume(projected.of(other)))
      // one that would be tried again by itself is stopped, too
      yield* projected.on(other, failNext(0))
      assert.isTrue(yield* storage.pause(projected.of(other)))
      yield* projected.idle
    })
  )

  it.effect("a parked projection gets no work, also after new events, until it is resumed", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const [tenant = newTenant()] = yield* tenantsWith(3)
      assert.isFalse(yield* storage.resume(projected.of(tenant)))
      yield* projected.step(1)
      yield* projected.fail(undefined)
      yield* append(tenant, 1)
      yield* projected.idle
      assert.deepStrictEqual((yield* projected.progress(tenant)).live, {
        rebuild: false,
        shared: false,
        position: 1,
        head: 4,
        parked: true,
        attempts: 1,
        failedPosition: 2,
        error: "Error: broken",
        failureKind: "handler",
        oldestUnprocessed: yield* recordedAt(tenant, 2),
        rebuilt: 0
      })
      assert.isTrue(yield* storage.resume(projected.of(tenant)))
      assert.isFalse(yield* storage.resume(projected.of(tenant)))
      assert.deepInclude(yield* projected.step(1), {
        tenantId: tenant,
        position: 1,
        attempts: 0,
        failedPosition: 2
      })
      assert.deepInclude((yield* projected.progress(tenant)).live, { position: 2, parked: false })
    })
  )
}

/** Failures of the storage or of its schema. */
export const waiting = (it: It): void => {
  it.effect(
    "the next claim has the kind of the failure and the time waited, until the event is handled",
    () =>
      Effect.gen(function* () {
        const storage = yield* ProjectionStorage
        const projected = yield* newProjection()
        const [tenant = newTenant()] = yield* tenantsWith(2)
        yield* projected.work((claim) =>
          storage.fail({ claim, ...failure(1), kind: "storage", waited: 12.5, parked: false, retryIn: 0 })
        )
        assert.deepInclude((yield* projected.progress(tenant)).live, {
          failureKind: "storage",
          parked: false
        })
        assert.deepInclude(yield* projected.step(1), { failureKind: "storage", waited: 12.5, attempts: 1 })
        assert.deepInclude(yield* projected.look, { position: 1, failureKind: undefined, waited: 0 })
      })
  )

  it.effect(
    "a parked projection with a time to retry is claimed again then, and success ends the parking",
    () =>
      Effect.gen(function* () {
        const storage = yield* ProjectionStorage
        const projected = yield* newProjection()
        const [tenant = newTenant()] = yield* tenantsWith(2)
        const before = yield* Clock.currentTimeMillis
        yield* projected.work((claim) => storage.fail({ claim, ...failure(1), ...parkedFor(200) }))
        assert.deepInclude((yield* projected.progress(tenant)).live, { failureKind: "schema", parked: true })
        assert.deepInclude(yield* projected.look, { position: 0, failureKind: "schema", waited: 7 })
        // Clocks differ by less.
        assert.isAtLeast((yield* Clock.currentTimeMillis) - before, 150)
        assert.deepInclude((yield* projected.progress(tenant)).live, { parked: true })
        yield* projected.step(1)
        assert.deepInclude((yield* projected.progress(tenant)).live, { position: 1, parked: false })
      })
  )

  it.effect(
    "registering a projection retries it at once if it is parked with a time to retry, and only then",
    () =>
      Effect.gen(function* () {
        const storage = yield* ProjectionStorage
        const [trying, parked] = [yield* newProjection(), yield* newProjection()]
        const [tenant = newTenant()] = yield* tenantsWith(1)
        for (const [projected, retryIn] of [
          [trying, 3_600_000],
          [parked, undefined]
        ] as const) {
          yield* projected.work((claim) => storage.fail({ claim, ...failure(1), ...parkedFor(retryIn) }))
          yield* projected.idle
        }
        for (const { projection, version } of [trying, parked])
          yield* storage.register([{ projection, version, startAt: "beginning", tables: [] }])
        assert.deepInclude(yield* trying.look, { tenantId: tenant, failureKind: "schema" })
        yield* parked.idle
        assert.isTrue(yield* storage.resume(trying.of(tenant)))
        assert.deepInclude(yield* trying.look, { waited: 0, attempts: 0 })
      })
  )

  it.effect("one projection, or all of them, can be resumed for all tenants under a recorded access", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const accessId = yield* access
      const [mine, other] = [yield* newProjection(), yield* newProjection()]
      const tenants = yield* tenantsWith(1, 1, 1)
      yield* mine.fail(undefined)
      yield* mine.work((claim) => storage.fail({ claim, ...failure(1), ...parkedFor(3_600_000) }))
      yield* other.fail(undefined)
      const { projection, version } = mine
      const unknown = { accessId: eventId(1), projection: { projection, version } }
      assert.deepInclude(
        { ...(yield* Effect.flip(storage.resumeAll(unknown))) },
        { _tag: "StorageUnavailable" }
      )
      assert.strictEqual(yield* storage.resumeAll({ accessId, projection: { projection, version: 2 } }), 0)
      assert.strictEqual(yield* storage.resumeAll({ accessId, projection: { projection, version } }), 2)
      assert.strictEqual(yield* storage.resumeAll({ accessId, projection: { projection, version } }), 0)
      const worked = [yield* mine.step(), yield* mine.step(), yield* mine.step()]
      assert.sameMembers(
        worked.map(({ tenantId }) => tenantId),
        tenants
      )
      const parkedOf = Effect.map(
        Effect.forEach(tenants, (tenant) => other.progress(tenant)),
        (found) => found.filter(({ live }) => live?.parked === true).length
      )
      assert.strictEqual(yield* parkedOf, 1)
      assert.isAtLeast(yield* storage.resumeAll({ accessId, projection: undefined }), 1)
      assert.strictEqual(yield* parkedOf, 0)
    })
  )

  it.effect("causes are kept per position and listed under a recorded access, the latest first", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const accessId = yield* access
      const projected = yield* newProjection()
      const [tenant = newTenant(), other = newTenant()] = yield* tenantsWith(3, 3)
      const cause = { code: null, message: "it is ü broken 🙈", stack: "Error: it\n    at there" }
      const failAt = (position: number, more: Partial<Failure> = {}) =>
        projected.on(tenant, (claim) =>
          storage.fail({ claim, ...failure(position), ...parkedFor(0), cause, ...more })
        )
      yield* failAt(1)
      yield* failAt(2)
      yield* failAt(1, { kind: "handler", cause: { ...cause, code: "22012" } })
      const found = yield* storage.failures({ ...projected.of(tenant), accessId })
      assert.isTrue(found.every(({ firstAt, lastAt }) => lastAt >= firstAt))
      assert.deepStrictEqual(
        found.map(({ code, kind, message, position, rebuild, stack, times }) => [
          { code, message, stack },
          [rebuild, position, kind, times]
        ]),
        [
          [{ ...cause, code: "22012" }, [false, 1, "handler", 2]],
          [cause, [false, 2, "schema", 1]]
        ]
      )
      assert.isEmpty(yield* storage.failures({ ...projected.of(other), accessId }))
      assert.isEmpty(yield* storage.failures({ ...projected.of(tenant), version: 2, accessId }))
      const refused = yield* Effect.flip(storage.failures({ ...projected.of(tenant), accessId: eventId(1) }))
      assert.strictEqual(refused._tag, "StorageUnavailable")
    })
  )

  it.effect("failures of the storage, of its schema and of a handler are told apart", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const kindOf = (error: unknown) =>
        Effect.map(storage.describeFailure(error), ({ kind, unavailable }) => {
          assert.strictEqual(unavailable === undefined, kind === "handler")
          return kind
        })
      const coded = { operation: "test", code: null }
      const unavailable = (reason: UnavailableReason) => kindOf(new StorageUnavailable({ reason }))
      for (const reason of [
        new ConnectionFailed({ ...coded, retryable: true }),
        new TimedOut(coded),
        new ShuttingDown(coded),
        new Contended(coded),
        new ReadOnly(coded),
        new StorageFull(coded),
        new OtherFailure({ ...coded, retryable: true })
      ]) {
        assert.strictEqual(yield* unavailable(reason), "storage", reason._tag)
      }
      assert.strictEqual(yield* unavailable(new SchemaMismatch(coded)), "schema")
      assert.strictEqual(yield* unavailable(new OtherFailure({ ...coded, retryable: false })), "handler")
      for (const error of [new Error("no"), "no", { _tag: "No" }, undefined])
        assert.strictEqual(yield* kindOf(error), "handler")
      const { message, summary } = yield* storage.describeFailure(new RangeError("x".repeat(5000)))
      assert.deepStrictEqual([summary.length, message.length], [1000, 5000])
    })
  )
}

const failure = (position: number) => ({ position, attempts: 1, error: "Error: broken", cause: undefined })

const parkedFor = (retryIn: number | undefined) =>
  ({ kind: "schema", waited: 7, parked: true, retryIn }) as const

export const deadLetters = (it: It): void => {
  it.effect("they are listed by position, page by page, as they were recorded", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const [tenant = newTenant()] = yield* tenantsWith(12)
      const before = yield* Clock.currentTimeMillis
      for (const position of [11, 2, 9]) yield* projected.putAside({ position, error: "Error: ü 🙈" })
      // The first record is kept.
      yield* projected.putAside({ position: 2, error: "Error: later", attempts: 9 })
      assert.deepStrictEqual(yield* projected.letters(tenant), [2, 9, 11])
      const [letter] = yield* storage.deadLetters({ ...projected.of(tenant), after: 0, limit: 1 })
      const { failedAt = 0, ...rest } = letter ?? {}
      assert.isAtLeast(failedAt, before - 60_000)
      assert.deepStrictEqual(rest, { position: 2, eventId: eventId(2), error: "Error: ü 🙈", attempts: 3 })
      const next = yield* storage.deadLetters({ ...projected.of(tenant), after: 2, limit: 5 })
      assert.deepStrictEqual(
        next.map(({ position }) => position),
        [9, 11]
      )
      assert.isEmpty(yield* storage.deadLetters({ ...projected.of(tenant), after: 11, limit: 5 }))
      assert.isEmpty(yield* storage.deadLetters({ ...projected.of(tenant), after: 0, limit: 0 }))
    })
  )

  it.effect("removing one removes nothing else, and discarding one needs a reason", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const [tenant = newTenant()] = yield* tenantsWith(3)
      for (const _ of [1, 2, 3]) yield* projected.putAside()
      const remove = (position: number, reason?: string) =>
        storage.removeDeadLetter({ ...projected.of(tenant), position, reason })
      assert.isTrue(yield* remove(2))
      assert.isFalse(yield* remove(2))
      assert.isFalse(yield* remove(2, "not there"))
      assert.isTrue(yield* remove(1, "of no use"))
      assert.deepStrictEqual(yield* projected.letters(tenant), [3])
      assert.deepInclude({ ...(yield* Effect.flip(remove(3, ""))) }, { _tag: "StorageUnavailable" })
      assert.deepStrictEqual(yield* projected.letters(tenant), [3])
    })
  )

  it.effect("each version of a projection has its own dead letters", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const [tenant = newTenant()] = yield* tenantsWith(1)
      yield* projected.putAside()
      const two = { ...projected.of(tenant), version: 2 }
      assert.isEmpty(yield* storage.deadLetters({ ...two, after: 0, limit: 5 }))
      assert.isFalse(yield* storage.removeDeadLetter({ ...two, position: 1, reason: undefined }))
      assert.isEmpty(yield* storage.progress(two))
      assert.deepStrictEqual(yield* projected.letters(tenant), [1])
    })
  )
}

export const progress = (it: It): void => {
  it.effect("the backlog counts the events and the parked projections of all tenants", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const { projection, version } = projected
      const measure = Effect.andThen(
        storage.sweep,
        Effect.map(storage.backlog([{ projection, version }]), ([backlog]) => backlog)
      )
      assert.deepStrictEqual(yield* measure, {
        projection,
        version,
        pending: 0,
        oldestAge: 0,
        parked: 0,
        deadLetters: 0,
        oldestDeadLetter: 0
      })
      const [stuck = newTenant(), done = newTenant()] = yield* tenantsWith(3, 2, 4)
      yield* projected.on(stuck, failNext(undefined))
      yield* projected.on(done, (claim) => storage.advance(claim, claim.head))
      const left = yield* measure
      assert.deepInclude(left, { pending: 7, parked: 1 })
      assert.isAtLeast(left?.oldestAge ?? -1, 0)
      yield* projected.step()
      yield* storage.startRebuild({ ...projected.of(done), tables: [] })
      // A rebuild does not count as behind, because readers use the live read model.
      assert.deepInclude(yield* measure, { pending: 3, parked: 1 })
      yield* projected.when(({ rebuild }) => rebuild, failNext(undefined))
      assert.deepInclude(yield* measure, { pending: 3, parked: 2 })
    })
  )

  it.effect("the backlog counts the dead letters of live read models, of all tenants", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const { projection, version } = projected
      const [one = newTenant(), other = newTenant()] = yield* tenantsWith(2, 1)
      const letter = (position: number, rebuild: boolean) => (claim: Claim) =>
        storage.addDeadLetter(
          { ...claim, rebuild },
          { position, eventId: eventId(1), error: "x", attempts: 1 }
        )
      yield* projected.on(one, (claim) =>
        Effect.andThen(
          letter(1, false)(claim),
          Effect.andThen(letter(2, true)(claim), storage.advance(claim, 2))
        )
      )
      yield* projected.on(other, letter(1, false))
      const [found] = yield* storage.backlog([{ projection, version }])
      assert.strictEqual(found?.deadLetters, 2)
      assert.isAtLeast(found?.oldestDeadLetter ?? -1, 0)
    })
  )

  it.effect("the progress has the position, and the recorded time of the next event", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const unknown = newTenant()
      assert.isEmpty(yield* storage.progress(projected.of(unknown)))
      const [tenant = newTenant()] = yield* tenantsWith(2)
      const expected = {
        rebuild: false,
        shared: false,
        head: 2,
        parked: false,
        attempts: 0,
        failedPosition: undefined,
        error: undefined,
        failureKind: undefined,
        rebuilt: 0
      }
      yield* projected.step(1)
      assert.deepStrictEqual(yield* storage.progress(projected.of(tenant)), [
        { ...expected, position: 1, oldestUnprocessed: yield* recordedAt(tenant, 2) }
      ])
      yield* projected.step(1)
      assert.deepStrictEqual(yield* storage.progress(projected.of(tenant)), [
        { ...expected, position: 2, oldestUnprocessed: undefined }
      ])
      yield* append(tenant, 5)
      assert.deepStrictEqual(yield* storage.progress(projected.of(tenant)), [
        { ...expected, position: 2, head: 7, oldestUnprocessed: yield* recordedAt(tenant, 3) }
      ])
    })
  )
}

/** The recorded time of an event. */
const recordedAt = (tenantId: ReturnType<typeof newTenant>, position: number) =>
  EventStorage.use((storage) =>
    storage.readLog({
      tenantId,
      fromPosition: position,
      toPosition: position,
      recordedFrom: undefined,
      recordedBefore: undefined,
      aggregateTypes: undefined,
      eventTypes: undefined,
      direction: "forwards",
      limit: 1
    })
  ).pipe(Effect.map(({ rows }) => rows[0]?.recordedAt))

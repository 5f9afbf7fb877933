/** Moves whose processes stop at one of their steps, are carried on by others, and leave exactly one home. */
import { assert } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, Option } from "effect"
import { AdministrationStorage, type ProgressRow } from "../../src/driver/AdministrationStorage.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import type { TenantAdministration, TenantId } from "../../src/domain/Tenant.ts"
import * as TenantMove from "../../src/lifecycle/TenantMove.ts"
import { rawEvents } from "../../src/testing/driver/administrationKit.ts"
import { append, events, newTenant, stream } from "../../src/testing/driver/eventKit.ts"
import { administer, full, homes, program, recordsOf, Stop, type World } from "./moving.ts"

const handledBefore: Omit<ProgressRow, "tables"> = {
  projection: "mails",
  version: 1,
  position: 2,
  parked: false,
  attempts: 0,
  failedPosition: undefined,
  error: undefined
}

const parked: Omit<ProgressRow, "tables"> = {
  projection: "parcels",
  version: 2,
  position: 3,
  parked: true,
  attempts: 2,
  failedPosition: 4,
  error: "no"
}

const letter = {
  projection: "mails",
  version: 1,
  position: 2,
  eventId: newTenant(),
  error: "no",
  attempts: 3,
  failedAt: 1_700_000_000_123
}

const letters = [
  { ...letter, discarded: undefined },
  { ...letter, position: 3, discarded: { at: 1_700_000_000_456, reason: "obsolete" } }
]

const command = { key: "k", fingerprint: "f".repeat(64), expiresInMillis: 3_600_000 }

/** A tenant that was imported in a placement with rows of every kind. */
const furnished = Effect.fnUntraced(function* (world: World, placement: string) {
  const count = 5
  const services = world.storages.get(placement) ?? assert.fail(placement)
  const [source, tenantId] = [newTenant(), newTenant()]
  world.entries.set(tenantId, placement)
  return yield* Effect.gen(function* () {
    const storage = yield* AdministrationStorage
    yield* append(source, stream("one", events(count, { tags: ["t"] })))
    const rows = yield* rawEvents(source)
    const accessId = yield* storage.recordAccess({ actor: "test", reason: "test", operation: "furnish" })
    const at = { accessId, tenantId, token: newTenant() }
    yield* storage.changeState({ ...at, change: "beginImport" })
    yield* storage.writeEvents({ ...at, events: rows })
    yield* storage.writeDeadLetters({ ...at, letters })
    yield* storage.writeProgress({ ...at, progress: [handledBefore, parked] })
    yield* storage.changeState({
      ...at,
      change: "finishImport",
      head: count,
      chainedFrom: undefined,
      status: "active"
    })
    yield* storage.setHold({ ...at, reason: "lawsuit" })
    yield* storage.setQuota({ ...at, quota: { events: 1000 } })
    const store = yield* EventStorage
    yield* store.startHashChain(tenantId)
    yield* store.append({ tenantId, streams: [stream("two", events(1))], command })
    const ledger: Ledger = {
      tenantId,
      eventIds: (yield* rawEvents(tenantId)).map(({ eventId }) => eventId),
      handled: handledBefore.position
    }
    return ledger
  }).pipe(Effect.provideContext(services))
})

/** The content that a tenant must have: every event that was acknowledged, and each one handled once. */
interface Ledger {
  readonly tenantId: TenantId
  readonly eventIds: Array<string>
  /** The last position that the reaction has handled. */
  handled: number
}

const mails = { projection: "mails", version: 1 }

/** Writes an event, or not, and lets the reaction handle one, if the tenant is in use. */
const use = Effect.fnUntraced(function* (world: World, ledger: Ledger, writes = true) {
  const { tenantId } = ledger
  // whoever asks for the status removes an expired fence
  for (const services of world.storages.values())
    yield* Context.get(services, EventStorage).tenantStatus(tenantId)
  for (const [name, { state }] of yield* recordsOf(world, tenantId)) {
    if (state.status !== "active") continue
    yield* Effect.gen(function* () {
      const projections = yield* ProjectionStorage
      const written = events(1)
      if (writes) {
        yield* append(tenantId, stream("two", written))
        ledger.eventIds.push(...written.map(({ eventId }) => eventId))
      }
      yield* projections.register([{ ...mails, startAt: "beginning", tables: [] }])
      yield* projections.sweep
      const request = { projections: [{ ...mails, acrossTenants: false }], accessId: undefined }
      const handle = projections.work(request, (claim) =>
        Effect.as(projections.advance(claim, claim.position + 1), claim)
      )
      while (ledger.handled < ledger.eventIds.length) {
        const claim = Option.getOrUndefined(yield* handle)
        if (claim?.tenantId !== tenantId) continue
        assert.strictEqual(claim.position, ledger.handled, "an event is handled once, and none is skipped")
        ledger.handled++
        break
      }
    }).pipe(Effect.provideContext(world.storages.get(name) ?? assert.fail(name)))
  }
})

/** Fails unless the tenant has one home, with everything that it must have. */
const assertWhole = Effect.fnUntraced(function* (world: World, ledger: Ledger, label: string) {
  const { tenantId } = ledger
  const [home, ...others] = yield* homes(world, tenantId)
  assert.deepStrictEqual(others, [], label)
  const services = world.storages.get(home ?? "") ?? assert.fail(`${label}: no home`)
  assert.strictEqual(world.entries.get(tenantId), home, `${label}: the directory`)
  const records = yield* recordsOf(world, tenantId)
  for (const [name, record] of records)
    if (name !== home)
      assert.containSubset(
        record,
        { position: 0, state: { status: "moved", purged: true } },
        `${label}: ${name}`
      )
  assert.containSubset(
    records.get(home ?? ""),
    { chainedFrom: 6, hold: { actor: "test", reason: "lawsuit" }, quota: { events: 1000 } },
    label
  )
  yield* Effect.gen(function* () {
    const rows = yield* rawEvents(tenantId)
    assert.deepStrictEqual(
      rows.map(({ eventId }) => eventId),
      ledger.eventIds,
      label
    )
    const storage = yield* AdministrationStorage
    const accessId = yield* storage.recordAccess({ actor: "test", reason: "test", operation: "look" })
    const at = { accessId, tenantId }
    assert.deepStrictEqual(
      yield* storage.readProgress(at),
      [
        { ...handledBefore, position: ledger.handled, tables: [] },
        { ...parked, tables: [] }
      ],
      label
    )
    assert.deepStrictEqual(
      (yield* storage.readDeadLetters({ ...at, after: 0, limit: 10 })).rows,
      letters,
      label
    )
    const store = yield* EventStorage
    const again = yield* store.append({ tenantId, streams: [stream("two", events(1))], command })
    assert.isTrue(again.replayed, label)
  }).pipe(Effect.provideContext(services))
})

const inProcess = <A, E>(
  world: World,
  stop: Stop | undefined,
  // the fence of a process that pauses has expired
  fence: "1 millis" | "8 seconds",
  lease: "1 millis" | "10 seconds",
  tenantId: TenantId,
  run: (moves: TenantMove.TenantMove["Service"]) => Effect.Effect<A, E, TenantAdministration>
) =>
  TenantMove.TenantMove.use((moves) => administer(run(moves))).pipe(
    Effect.provide(Layer.fresh(program(world, { stop, watched: tenantId, settings: { fence, lease } }))),
    Effect.exit
  )

/** A process that moves the tenant, or carries its move on, and may stop at a call. */
const starts = (
  world: World,
  tenantId: TenantId,
  stop: Stop,
  fence: "1 millis" | "8 seconds" = "8 seconds"
) => inProcess(world, stop, fence, "1 millis", tenantId, (moves) => moves.start(tenantId, { to: "b" }))
const carriesOn = (
  world: World,
  tenantId: TenantId,
  stop?: Stop,
  fence: "1 millis" | "8 seconds" = "8 seconds",
  lease: "1 millis" | "10 seconds" = "10 seconds"
) =>
  // the lease of the stopped process has expired
  Effect.andThen(
    Effect.sleep("2 millis"),
    inProcess(world, stop, fence, lease, tenantId, (moves) => moves.resumeAll)
  )

const assertAlive = (exit: Exit.Exit<unknown, unknown>, label: string) => {
  if (Exit.isFailure(exit) && exit.cause.reasons.some(Cause.isDieReason))
    assert.fail(`${label}: ${Cause.pretty(exit.cause)}`)
}

/** Waits until a process pauses, or ends. */
const pausedOrEnded = (stop: Stop, process: Fiber.Fiber<unknown>) =>
  Effect.raceFirst(stop.paused.await, Effect.asVoid(Fiber.await(process)))

/** The last process carries the move on, with the tenant in use before and after, and nothing is lost. */
const settles = Effect.fnUntraced(function* (world: World, ledger: Ledger, label: string) {
  yield* use(world, ledger)
  yield* carriesOn(world, ledger.tenantId)
  yield* use(world, ledger)
  yield* assertWhole(world, ledger, label)
})

/** Kills a process at a call; another one carries on. Returns false if the process had fewer calls. */
export const killed = Effect.fnUntraced(function* (
  world: World,
  kind: "killBefore" | "killAfter",
  at: number
) {
  const stop = new Stop(kind, at)
  const ledger = yield* furnished(world, "a")
  const exit = yield* starts(world, ledger.tenantId, stop)
  const label = `${kind} ${at} (${stop.names.at(-1)})`
  assertAlive(exit, label)
  yield* settles(world, ledger, label)
  return stop.hit
})

/** The states of a tenant, without the durations in them. */
const statesOf = (world: World, tenantId: TenantId) =>
  Effect.map(recordsOf(world, tenantId), (records) =>
    [...records].map(([name, { calledOff, position, run, state }]) => ({
      name,
      position,
      calledOff,
      run,
      status: state.status,
      token: "token" in state ? state.token : undefined
    }))
  )

/** A process wakes up. If another one has taken its move over before a decision, it can change nothing, at no placement. */
const wakesUp = Effect.fnUntraced(function* (
  world: World,
  tenantId: TenantId,
  [stop, process]: readonly [Stop, Fiber.Fiber<Exit.Exit<unknown, unknown>>],
  other: Stop,
  label: string
) {
  const before = yield* statesOf(world, tenantId)
  yield* stop.wakeUp
  assertAlive(yield* Fiber.join(process), label)
  const isDecided = before.some(({ status }) => status === "moved")
  // the last call is the one before which it pauses
  const isReplaced = stop.hit && other.names.slice(0, -1).includes("takeOver")
  if (isReplaced && !isDecided) assert.deepStrictEqual(yield* statesOf(world, tenantId), before, label)
})

/**
 * Lets a process pause before a call, and another one, which carries on, before one of its own calls. Then the first wakes up, and
 * then the second. Returns the processes that paused.
 */
export const paused = Effect.fnUntraced(function* (world: World, at: number, next: number) {
  const [one, two] = [new Stop("pause", at), new Stop("pause", next)]
  const ledger = yield* furnished(world, "a")
  const { tenantId } = ledger
  const first = yield* Effect.forkChild(starts(world, tenantId, one, "1 millis"))
  yield* pausedOrEnded(one, first)
  yield* Effect.sleep("2 millis")
  yield* use(world, ledger, (at + next) % 2 === 0)
  const second = yield* Effect.forkChild(carriesOn(world, tenantId, two))
  yield* pausedOrEnded(two, second)
  const label = `pause ${at} (${one.names.at(-1)}) and ${next} (${two.names.at(-1)})`
  yield* use(world, ledger)
  yield* wakesUp(world, tenantId, [one, first], two, label)
  yield* use(world, ledger)
  yield* two.wakeUp
  assertAlive(yield* Fiber.join(second), label)
  yield* settles(world, ledger, label)
  return { first: one.hit, second: two.hit }
})

/**
 * Lets a process pause before a call, and another one, which carries on, just before it decides or finishes. The first wakes up, makes
 * its call, and is killed. Returns true if it paused.
 */
export const belated = Effect.fnUntraced(function* (
  world: World,
  at: number,
  change: "decide" | "finishImport"
) {
  const [one, two] = [new Stop("pauseAndKillAfter", at), new Stop("pause", change)]
  const ledger = yield* furnished(world, "a")
  const { tenantId } = ledger
  const first = yield* Effect.forkChild(starts(world, tenantId, one, "1 millis"))
  yield* pausedOrEnded(one, first)
  yield* Effect.sleep("2 millis")
  // the reaction goes on, so that the progress which the first has read is out of date
  yield* use(world, ledger, false)
  const second = yield* Effect.forkChild(carriesOn(world, tenantId, two))
  yield* pausedOrEnded(two, second)
  const label = `${one.names.at(-1)} (${at}) before ${change}`
  yield* wakesUp(world, tenantId, [one, first], two, label)
  yield* two.wakeUp
  assertAlive(yield* Fiber.join(second), label)
  if (two.hit) {
    const tried = two.names.filter((name) => name === change)
    assert.lengthOf(tried, 1, label)
    assert.deepStrictEqual(yield* homes(world, tenantId), ["b"], label)
  }
  yield* settles(world, ledger, label)
  return one.hit
})

/** A move to a placement whose disk is full pauses at a call; another process, for which there is room again, takes it over. */
export const calledOffTooLate = Effect.fnUntraced(function* (
  world: World,
  change: "decide" | "finishImport"
) {
  const [one, two] = [new Stop("pause", "callOff"), new Stop("pause", change)]
  const ledger = yield* furnished(world, "a")
  const { tenantId } = ledger
  const first = yield* Effect.forkChild(starts(full(world, "b"), tenantId, one))
  yield* pausedOrEnded(one, first)
  assert.isTrue(one.hit)
  const second = yield* Effect.forkChild(carriesOn(world, tenantId, two))
  yield* pausedOrEnded(two, second)
  assert.isTrue(two.hit)
  yield* wakesUp(world, tenantId, [one, first], two, `callOff before ${change}`)
  yield* two.wakeUp
  assertAlive(yield* Fiber.join(second), change)
  assert.deepStrictEqual(yield* homes(world, tenantId), ["b"])
  yield* settles(world, ledger, `called off before ${change}`)
})

/**
 * Lets a process, which begins a move or carries on with one, pause before a call. The move is called off, and the next one leads to
 * the same place or elsewhere; its process pauses just before it decides. The first wakes up: it must have no effect on the next move.
 * Returns true if it paused.
 */
export const superseded = Effect.fnUntraced(function* (
  world: World,
  at: number,
  role: "starts" | "carries on",
  to: "b" | "c"
) {
  const [one, two] = [new Stop("pause", at), new Stop("pause", "decide")]
  const ledger = yield* furnished(world, "a")
  const { tenantId } = ledger
  if (role === "carries on") yield* starts(world, tenantId, new Stop("killAfter", "writeEvents"))
  const first = yield* Effect.forkChild(
    role === "starts"
      ? starts(world, tenantId, one, "1 millis")
      : carriesOn(world, tenantId, one, "1 millis", "1 millis")
  )
  yield* pausedOrEnded(one, first)
  yield* Effect.sleep("2 millis")
  yield* use(world, ledger, false)
  const label = `${role} ${at} (${one.names.at(-1)}), then a move to ${to}`
  yield* inProcess(world, undefined, "8 seconds", "10 seconds", tenantId, (moves) => moves.abort(tenantId))
  const second = yield* Effect.forkChild(
    inProcess(world, two, "8 seconds", "10 seconds", tenantId, (moves) => moves.start(tenantId, { to }))
  )
  yield* pausedOrEnded(two, second)
  const before = yield* statesOf(world, tenantId)
  yield* one.wakeUp
  assertAlive(yield* Fiber.join(first), label)
  const left = yield* statesOf(world, tenantId)
  // a move that was decided before has rows to remove at its source; another one has a copy, and is noted as called off
  const isDecided = before.some(({ name, status }) => name === "a" && status === "moved")
  const itsOwn = isDecided ? "a" : to === "c" ? "b" : undefined
  const kept = (states: typeof before) =>
    states.filter(({ name }) => name !== itsOwn).map(({ calledOff: _calledOff, ...state }) => state)
  if (two.hit) assert.deepStrictEqual(kept(left), kept(before), label)
  yield* two.wakeUp
  assertAlive(yield* Fiber.join(second), label)
  if (two.hit) assert.deepStrictEqual(yield* homes(world, tenantId), [to], label)
  yield* settles(world, ledger, label)
  return one.hit
})

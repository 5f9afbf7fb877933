/**
 * Group commit: appends that wait while others are in progress are sent together, in one statement and one commit. There is no timer:
 * an append is sent at once and alone if no other is in progress.
 */
import { Array, Effect, Exit, type Fiber } from "effect"
import type { AppendRequest } from "../driver/EventStorage.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { FairQueue } from "../internal/fairQueue.ts"

/** Limits of batches. */
export interface Limits {
  /** Maximum number of appends in a batch. */
  readonly maxAppends: number
  /** Maximum characters of payload and metadata in a batch; a larger append is sent alone. */
  readonly maxCharacters: number
  /** Maximum number of batches in progress of each kind: without conditions, with conditions, with slow conditions. */
  readonly concurrency: number
  /**
   * Maximum number of statements that wait for the lock of a tenant at the same time, each on its own connection. Appends of
   * further locked tenants are retried every few milliseconds and hold no connection.
   */
  readonly lockWaiters: number
  /** Longest time for which an append of a locked tenant is retried without a connection, in milliseconds. */
  readonly lockWaitMillis: number
}

/**
 * The reason why an append of a batch has no outcome. `held`: another transaction has locked its tenant. `absent`: its tenant is
 * not registered, and registering it may have to wait for another transaction. `failedTogether`: the statement failed, perhaps
 * because of another append.
 */
export type Unsettled = "held" | "absent" | "failedTogether"

/** The outcome of an append of a batch. */
export type Answer<A, E> = Exit.Exit<A, E> | Unsettled

/** An append that waits or is in progress. */
interface Waiting<A, E> {
  readonly request: AppendRequest
  /** Time of its arrival if a tenant was locked then, else 0. */
  readonly arrived: number
  readonly resume: (outcome: Effect.Effect<A, E>) => void
}

const charactersOf = ({ streams }: AppendRequest): number => {
  let characters = 0
  for (const { events } of streams) {
    for (const { payload, metadata } of events) characters += payload.length + metadata.length
  }
  return characters
}

/** Up to this number, appends are not spread over several batches, because each batch has a commit of its own. */
const minShare = 16

/** From this number on, appends of a tenant are sent while the previous batch still holds its lock, so that the server continues at once. */
const minAhead = 32

/** A batch with conditions that takes longer marks its tenants as slow; in milliseconds. */
const slowMillis = 100

/** Time for which a tenant counts as locked by other processes, in milliseconds, and the maximum number of such tenants. */
const lockedFor = 1000
const maxLocked = 1000

/** The pause before the appends of a locked tenant are retried, in milliseconds: it doubles each time, up to 100. */
const restMillis = (times: number): number => Math.min(5 * 2 ** times, 100)

const isConditional = ({ conditions }: AppendRequest): boolean =>
  conditions !== undefined && conditions.length > 0

/**
 * Merges appends into batches for `run`, which returns the outcome of each append.
 *
 * **Details**
 *
 * Tenants take turns, and a tenant is in one batch at a time. If many of its appends wait meanwhile, a second batch of this
 * tenant alone follows the first one and waits for it in the database.
 *
 * No append waits for another tenant's work:
 * - A batch does not wait for a tenant that another transaction has locked. The appends of that tenant are sent again
 *   separately: up to `lockWaiters` statements wait in the database, the others are retried after a few milliseconds, and fail
 *   with `lockTimeout` after `lockWaitMillis`.
 * - Appends with conditions, which may read much, share no statement with those without. A tenant whose conditions were slow
 *   gets batches of its own, in places for such tenants, until they are fast again.
 * - A tenant that is not registered yet is registered by a separate statement.
 * - If a statement fails for a reason that one of its appends may have caused, each of them is sent alone.
 *
 * Appends with a command key that come in the same turn of the event loop are sent together: the commands of a line do, one behind
 * the other.
 *
 * An append that is interrupted while it waits here is not sent. An append that was already sent completes in the background,
 * and its caller is answered at once.
 */
export const make = <A, E>(
  run: (requests: ReadonlyArray<AppendRequest>, wait: boolean) => Effect.Effect<ReadonlyArray<Answer<A, E>>>,
  fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>,
  limits: Limits,
  lockTimeout: () => E
): ((request: AppendRequest) => Effect.Effect<A, E>) => {
  type Append = Waiting<A, E>
  type Batch = ReadonlyArray<Append>
  type Outcomes = Exit.Exit<ReadonlyArray<Answer<A, E>>>
  /** Appends of one kind, which wait for, and share statements with, no other kind. */
  interface Lane {
    readonly queue: FairQueue<TenantId, Append>
    /** Maximum number of tenants in a batch. */
    readonly maxTenants: number
    /** Maximum number of appends in a batch. */
    readonly maxAppends: number
    /** True if its batches wait for the locks of their tenants. */
    readonly waits: boolean
    /** Number of batches in progress that follow another one of their tenant. */
    ahead: number
    /** True until the appends of this turn of the event loop are sent. */
    gathering: boolean
  }
  const makeLane = (bounds: Partial<Pick<Lane, "maxTenants" | "maxAppends" | "waits">> = {}): Lane => ({
    queue: new FairQueue({ keyOf: ({ request }) => request.tenantId, concurrency: limits.concurrency }),
    maxTenants: Infinity,
    maxAppends: limits.maxAppends,
    waits: false,
    ahead: 0,
    gathering: false,
    ...bounds
  })
  const unconditional = makeLane()
  const conditional = makeLane()
  const slow = makeLane({ maxTenants: 1 })
  const single = makeLane({ maxTenants: 1, maxAppends: 1 })
  const adding = makeLane({ maxTenants: 1, waits: true })
  const lanes = [unconditional, conditional, slow, single, adding]
  const weight = { maxWeight: limits.maxCharacters, weightOf: ({ request }: Append) => charactersOf(request) }
  /** Tenants with batches in progress, with the number of these batches and their appends. */
  const served = new Map<TenantId, { batches: number; appends: number }>()
  /** Tenants with slow conditions. */
  const slowTenants = new Set<TenantId>()
  /** Locked tenants during the pause before a retry. */
  const resting = new Set<TenantId>()
  /** Tenants that are retried: the time at which they were first found locked, and the number of pauses since then. */
  const holds = new Map<TenantId, { readonly since: number; pauses: number }>()
  let lockWaiters = 0
  /** Until these times, tenants count as locked by other processes: their appends wait for the lock at once. */
  const lockedUntil = new Map<TenantId, number>()

  const laneOf = (request: AppendRequest): Lane =>
    !isConditional(request) ? unconditional : slowTenants.has(request.tenantId) ? slow : conditional

  const tenantsOf = (batch: Batch): ReadonlyMap<TenantId, number> => {
    const tenants = new Map<TenantId, number>()
    for (const { request } of batch) tenants.set(request.tenantId, (tenants.get(request.tenantId) ?? 0) + 1)
    return tenants
  }

  const begin = (tenants: ReadonlyMap<TenantId, number>): void => {
    for (const [tenantId, appends] of tenants) {
      const now = served.get(tenantId)
      if (now === undefined) {
        served.set(tenantId, { batches: 1, appends })
      } else {
        now.batches++
        now.appends += appends
      }
    }
  }

  const end = (tenants: ReadonlyMap<TenantId, number>): void => {
    for (const [tenantId, appends] of tenants) {
      const now = served.get(tenantId)
      if (now === undefined) continue
      now.batches--
      now.appends -= appends
      if (now.batches === 0) served.delete(tenantId)
    }
  }

  /** Half of the waiting appends of one tenant, so that the other half can follow. */
  const halfOf = (waiting: number): number => (waiting < 2 * minAhead ? waiting : Math.ceil(waiting / 2))

  const takeBatch = ({ maxAppends, maxTenants, queue }: Lane): Batch => {
    const candidates: Array<TenantId> = []
    for (const tenantId of queue.keys())
      if (!served.has(tenantId) && !resting.has(tenantId)) candidates.push(tenantId)
    // other tenants are left to further batches
    const isShared = queue.waiting + queue.sent > minShare
    const share = isShared ? Math.ceil((candidates.length + served.size) / limits.concurrency) : Infinity
    candidates.length = Math.min(candidates.length, share, maxTenants)
    const [only] = candidates
    const atMost =
      candidates.length === 1 && only !== undefined
        ? Math.min(maxAppends, halfOf(queue.sizeOf(only)))
        : maxAppends
    return queue.take({ atMost, keys: candidates, ...weight })
  }

  /** The batch that follows the one in progress of its tenant. */
  const takeAhead = ({ maxAppends, queue }: Lane, tenantId: TenantId, appends: number): Batch => {
    const waiting = queue.sizeOf(tenantId)
    if (waiting < minAhead || maxAppends < minAhead) return []
    // about as many as are in progress, so that client and server are always busy
    const half = Math.ceil((waiting + appends) / 2)
    const atMost = Math.min(maxAppends, Math.max(minAhead, half))
    return queue.take({ atMost, keys: [tenantId], ...weight })
  }

  /** Runs a batch and hands out its outcomes; `leave` returns its place. */
  const start = (lane: Lane, batch: Batch, wait: boolean, leave: () => void): void => {
    const tenants = tenantsOf(batch)
    begin(tenants)
    fork(
      Effect.suspend(() => {
        const requests = batch.map(requestOf)
        // the time of a statement that waits for a lock says nothing about its conditions
        const isTimed = !wait && lane !== unconditional && requests.every(isConditional)
        const began = isTimed ? performance.now() : 0
        return Effect.onExit(run(requests, wait), (outcomes) =>
          Effect.sync(() => {
            if (isTimed) noteSpeed(tenants, performance.now() - began)
            end(tenants)
            leave()
            // Callers that append again at once then share a batch; a single one finds its place free.
            if (batch.length > 1) lane.queue.handOut(() => settle(lane, batch, outcomes))
            for (const one of lanes) if (one !== lane) sendAll(one)
            sendAll(lane)
            if (lane.queue.waiting >= minAhead)
              for (const tenantId of tenants.keys()) sendAhead(lane, tenantId)
            if (batch.length === 1) settle(lane, batch, outcomes)
          })
        )
      }).pipe(Effect.exit, Effect.asVoid)
    )
  }

  const noteSpeed = (tenants: ReadonlyMap<TenantId, number>, millis: number): void => {
    for (const tenantId of tenants.keys()) {
      if (millis > slowMillis) {
        slowTenants.add(tenantId)
        for (const append of conditional.queue.take({ atMost: Infinity, keys: [tenantId] }))
          slow.queue.add(append)
      } else {
        slowTenants.delete(tenantId)
      }
    }
  }

  /** Hands out the outcomes of a batch. Appends without an outcome are sent again. */
  const settle = (lane: Lane, batch: Batch, outcomes: Outcomes): void => {
    const unsettled: Record<Unsettled, Array<Append>> = { held: [], absent: [], failedTogether: [] }
    batch.forEach((append, index) => {
      const answer = answerOf(outcomes, index)
      if (typeof answer === "string") {
        unsettled[answer].push(append)
      } else {
        if (holds.size > 0) holds.delete(append.request.tenantId)
        append.resume(answer)
      }
    })
    const { absent, failedTogether, held } = unsettled
    for (const append of failedTogether) single.queue.add(append)
    if (failedTogether.length > 0) sendAll(single)
    for (const append of absent) adding.queue.add(append)
    if (absent.length > 0) sendAll(adding)
    for (const ofTenant of Object.values(Array.groupBy(held, ({ request }) => request.tenantId)))
      sendHeld(lane, ofTenant)
  }

  /** Sends appends of a tenant that wait for its lock. They take no place of others. */
  const startWaiting = (lane: Lane, batch: Batch): void => {
    lockWaiters++
    start(lane, batch, true, () => lockWaiters--)
  }

  /** True if a tenant was found locked lately, and another statement may wait for a lock: it saves the one that finds it locked. */
  const isLocked = (tenantId: TenantId): boolean => {
    if (lockedUntil.size === 0 || lockWaiters >= limits.lockWaiters) return false
    const until = lockedUntil.get(tenantId)
    if (until === undefined) return false
    if (performance.now() < until) return true
    lockedUntil.delete(tenantId)
    return false
  }

  const isOfLocked = (batch: Batch): boolean => {
    const tenantId = batch[0]?.request.tenantId
    return (
      tenantId !== undefined &&
      isLocked(tenantId) &&
      batch.every(({ request }) => request.tenantId === tenantId)
    )
  }

  /** Sends the appends of a tenant that another transaction has locked. */
  const sendHeld = (lane: Lane, batch: Array.NonEmptyReadonlyArray<Append>): void => {
    const [{ request }] = batch
    const { tenantId } = request
    if (lockedUntil.size >= maxLocked) lockedUntil.clear()
    lockedUntil.set(tenantId, performance.now() + lockedFor)
    if (lockWaiters < limits.lockWaiters) {
      startWaiting(lane, batch)
      return
    }
    const now = performance.now()
    const hold = holds.get(tenantId) ?? { since: now, pauses: 0 }
    holds.set(tenantId, hold)
    const isLate = ({ arrived }: Append): boolean =>
      now - Math.max(hold.since, arrived) >= limits.lockWaitMillis
    resting.add(tenantId)
    lane.queue.addFirst(batch.filter((append) => !isLate(append)))
    setTimeout(
      () => {
        resting.delete(tenantId)
        if (!lanes.some(({ queue }) => queue.sizeOf(tenantId) > 0)) holds.delete(tenantId)
        lanes.forEach(sendAll)
      },
      restMillis(hold.pauses++)
    )
    for (const append of batch) if (isLate(append)) append.resume(Effect.fail(lockTimeout()))
  }

  const sendAll = (lane: Lane): void => {
    const { queue } = lane
    while (queue.waiting > 0 && queue.hasPlace) {
      const batch = takeBatch(lane)
      if (batch.length === 0) return
      if (isOfLocked(batch)) {
        startWaiting(lane, batch)
        continue
      }
      queue.enter(batch.length)
      start(lane, batch, lane.waits, () => queue.leave(batch.length))
    }
  }

  const sendAhead = (lane: Lane, tenantId: TenantId): void => {
    const now = served.get(tenantId)
    if (lane.queue.isHandingOut || lane.ahead >= limits.concurrency || now?.batches !== 1) return
    const batch = takeAhead(lane, tenantId, now.appends)
    if (batch.length === 0) return
    lane.ahead++
    start(lane, batch, true, () => lane.ahead--)
  }

  /** Sends the appends of this turn of the event loop. */
  const gather = (lane: Lane): void => {
    if (lane.gathering) return
    lane.gathering = true
    queueMicrotask(() => {
      lane.gathering = false
      sendAll(lane)
      for (const tenantId of served.keys())
        if (lane.queue.sizeOf(tenantId) >= minAhead) sendAhead(lane, tenantId)
    })
  }

  /** Sends an append that finds no other waiting, without the cost of forming a batch. */
  const sendAlone = (lane: Lane, append: Append): void => {
    if (isLocked(append.request.tenantId)) return startWaiting(lane, [append])
    lane.queue.enter(1)
    start(lane, [append], false, () => lane.queue.leave(1))
  }

  return (request) =>
    Effect.callback<A, E>((resume) => {
      const { tenantId } = request
      const lane = laneOf(request)
      const { queue } = lane
      const append: Append = { request, arrived: holds.size > 0 ? performance.now() : 0, resume }
      if (request.command !== undefined) {
        queue.add(append)
        gather(lane)
      } else if (queue.waiting === 0 && queue.hasPlace && !served.has(tenantId)) {
        sendAlone(lane, append)
      } else {
        queue.add(append)
        sendAll(lane)
        if (queue.sizeOf(tenantId) >= minAhead) sendAhead(lane, tenantId)
      }
      // A sent append completes in the background.
      return Effect.sync(() => void lanes.some((one) => one.queue.remove(append)))
    })
}

const requestOf = <A, E>({ request }: Waiting<A, E>): AppendRequest => request

const answerOf = <A, E>(
  outcomes: Exit.Exit<ReadonlyArray<Answer<A, E>>>,
  index: number
): Effect.Effect<A, E> | Unsettled =>
  Exit.isFailure(outcomes) ? Exit.failCause(outcomes.cause) : (outcomes.value[index] ?? noOutcome)

/** A batch has an answer for each of its appends. */
export const noOutcome: Effect.Effect<never> = Effect.die(
  new Error("a batch of appends has no outcome for one of them")
)

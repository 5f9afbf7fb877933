/**
 * Group commit: appends that wait while others are under way go out together, in one statement and one commit. There is
 * no timer: an append that finds nobody under way goes out at once and alone.
 */
import { Array, Effect, Exit, type Fiber } from "effect"
import type { AppendRequest } from "../driver/EventStorage.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { FairQueue } from "../internal/fairQueue.ts"

/** What bounds a batch. */
export interface Limits {
  /** Appends that go out together at most. */
  readonly maxAppends: number
  /** Characters of payload and metadata that go out together at most; a larger append goes out alone. */
  readonly maxCharacters: number
  /** Batches that are under way at the same time. */
  readonly concurrency: number
}

/** An append that waits or is under way. */
interface Waiting<A, E> {
  readonly request: AppendRequest
  readonly characters: number
  readonly resume: (outcome: Effect.Effect<A, E>) => void
}

const charactersOf = ({ streams }: AppendRequest): number => {
  let characters = 0
  for (const { events } of streams) {
    for (const { payload, metadata } of events) characters += payload.length + metadata.length
  }
  return characters
}

/** So many appends are not spread over several batches: each has its commit. */
const minShare = 16

/** So many of one tenant are sent while its lock is still held by the batch before: the server goes on at once. */
const minAhead = 32

/**
 * Merges appends into batches for `run`, which gives the outcome of each.
 *
 * **Details**
 *
 * Tenants take turns. A batch does not wait for a tenant that somebody else has locked: `run` gives no outcome for its
 * appends, and they go out again by themselves, to wait where nobody waits with them. A tenant is in one batch at a time;
 * if many of its appends wait meanwhile, a second batch of this tenant alone follows the first one and waits for it in the
 * database. An append that is interrupted while it waits here is not sent; one that is under way is settled behind its
 * caller, who is answered at once.
 */
export const make = <A, E>(
  run: (
    requests: ReadonlyArray<AppendRequest>,
    wait: boolean
  ) => Effect.Effect<ReadonlyArray<Exit.Exit<A, E> | undefined>>,
  fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>,
  limits: Limits
): ((request: AppendRequest) => Effect.Effect<A, E>) => {
  type Append = Waiting<A, E>
  type Batch = ReadonlyArray<Append>
  const queue = new FairQueue<TenantId, Append>({
    keyOf: ({ request }) => request.tenantId,
    concurrency: limits.concurrency
  })
  const weight = { maxWeight: limits.maxCharacters, weightOf: ({ characters }: Append) => characters }
  /** What is under way of a tenant. */
  const served = new Map<TenantId, { batches: number; appends: number }>()
  let ahead = 0

  /** How many appends of each tenant a batch has. */
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

  /** The half of what waits for one tenant, so that the other half can follow it. */
  const halfOf = (waiting: number): number => (waiting < 2 * minAhead ? waiting : Math.ceil(waiting / 2))

  const takeBatch = (): Batch => {
    const candidates: Array<TenantId> = []
    for (const tenantId of queue.keys()) if (!served.has(tenantId)) candidates.push(tenantId)
    if (queue.waiting + queue.sent > minShare) {
      // the other tenants are for the other batches that may be under way
      const share = Math.ceil((candidates.length + served.size) / limits.concurrency)
      candidates.length = Math.min(candidates.length, share)
    }
    const [only] = candidates
    const atMost =
      candidates.length === 1 && only !== undefined
        ? Math.min(limits.maxAppends, halfOf(queue.sizeOf(only)))
        : limits.maxAppends
    return queue.take({ atMost, keys: candidates, ...weight })
  }

  /** What follows the batch of a tenant that is under way. */
  const takeAhead = (tenantId: TenantId, appends: number): Batch => {
    const waiting = queue.sizeOf(tenantId)
    if (waiting < minAhead) return []
    // about as many as are under way, so that both sides always have something to do
    const half = Math.ceil((waiting + appends) / 2)
    const atMost = Math.min(limits.maxAppends, Math.max(minAhead, half))
    return queue.take({ atMost, keys: [tenantId], ...weight })
  }

  /** Runs a batch and hands out its outcomes; what has none is handed to `rest`. */
  const send = (batch: Batch, wait: boolean, rest: (without: Batch) => void): void => {
    const tenants = tenantsOf(batch)
    begin(tenants)
    const requests = batch.map(({ request }) => request)
    fork(
      Effect.exit(Effect.suspend(() => run(requests, wait))).pipe(
        Effect.flatMap((exit) =>
          Effect.sync(() => {
            queue.handOut(() => {
              const without = batch.filter((waiting, index) => {
                const outcome: Effect.Effect<A, E> | undefined = outcomeOf(exit, index)
                if (outcome === undefined) return true
                waiting.resume(outcome)
                return false
              })
              end(tenants)
              rest(without)
            })
            sendAll()
            for (const tenantId of tenants.keys()) sendAhead(tenantId)
          })
        )
      )
    )
  }

  /** Runs a batch that waits for whoever holds the locks. */
  const sendWaiting = (batch: Batch, then: () => void): void =>
    send(batch, true, (without) => {
      for (const { resume } of without) resume(noOutcome)
      then()
    })

  const sendAll = (): void => {
    while (queue.hasPlace) {
      const batch = takeBatch()
      if (batch.length === 0) return
      queue.enter(batch.length)
      send(batch, false, (without) => {
        queue.leave(batch.length)
        const byTenant = Array.groupBy(without, ({ request }) => request.tenantId)
        for (const ofTenant of Object.values(byTenant)) sendWaiting(ofTenant, () => {})
      })
    }
  }

  const sendAhead = (tenantId: TenantId): void => {
    const now = served.get(tenantId)
    if (queue.isHandingOut || ahead >= limits.concurrency || now?.batches !== 1) return
    const batch = takeAhead(tenantId, now.appends)
    if (batch.length === 0) return
    ahead++
    sendWaiting(batch, () => {
      ahead--
    })
  }

  /**
   * An append that finds nobody waiting: a batch of one without what it takes to merge.
   */
  const alone = (request: AppendRequest): Effect.Effect<A, E> => {
    const { tenantId } = request
    const requests = [request]
    const tenants = new Map([[tenantId, 1]])
    let holdsPlace = true
    const leavePlace = (): void => {
      if (!holdsPlace) return
      holdsPlace = false
      queue.leave(1)
    }
    begin(tenants)
    queue.enter(1)
    return Effect.suspend(() => run(requests, false)).pipe(
      Effect.flatMap(([outcome]) => {
        if (outcome !== undefined) return outcome
        leavePlace()
        sendAll()
        return Effect.flatMap(run(requests, true), ([late]) => late ?? noOutcome)
      }),
      Effect.onExit(() =>
        Effect.sync(() => {
          leavePlace()
          end(tenants)
          sendAll()
          sendAhead(tenantId)
        })
      )
    )
  }

  const submit = (request: AppendRequest): Effect.Effect<A, E> =>
    Effect.callback<A, E>((resume) => {
      const { tenantId } = request
      if (queue.waiting === 0 && queue.hasPlace && !served.has(tenantId)) {
        fork(Effect.map(Effect.exit(alone(request)), resume))
        return
      }
      const waiting: Append = { request, characters: charactersOf(request), resume }
      queue.add(waiting)
      sendAll()
      if (queue.sizeOf(tenantId) >= minAhead) sendAhead(tenantId)
      // One that was sent is settled behind its caller.
      return Effect.sync(() => void queue.remove(waiting))
    })

  return submit
}

const outcomeOf = <A, E>(
  exit: Exit.Exit<ReadonlyArray<Exit.Exit<A, E> | undefined>>,
  index: number
): Effect.Effect<A, E> | undefined => (Exit.isFailure(exit) ? Exit.failCause(exit.cause) : exit.value[index])

/** A batch that waits has an outcome for each of its appends. */
export const noOutcome: Effect.Effect<never> = Effect.die(
  new Error("a batch of appends gave no outcome for one of them")
)

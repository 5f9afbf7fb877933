/**
 * Loading together: loads that wait while others are under way go out in one statement. There is no timer: a load that
 * finds a free place goes out at once and alone.
 */
import { Effect, Exit, type Fiber } from "effect"
import type { TenantId } from "../domain/Tenant.ts"
import { Queue } from "../internal/fairQueue.ts"

/** What bounds a batch. */
export interface Limits {
  /** Loads that go out together at most. */
  readonly maxLoads: number
  /** Batches that are under way at the same time. */
  readonly concurrency: number
}

/** A load that waits or is under way. */
interface Waiting<Request, A, E> {
  readonly request: Request
  readonly resume: (outcome: Effect.Effect<A, E>) => void
  /** Whether its caller was interrupted. */
  gone: boolean
  /** Tells the batch that it is in that its caller was interrupted. */
  leave: (() => void) | undefined
}

/** So many loads are not spread over several batches: each is a statement. */
const minShare = 8

/**
 * Merges loads into batches for `runAll`, which gives an exit per load, or none for what it did not come to: that goes
 * out again, before all that has come meanwhile.
 *
 * **Details**
 *
 * Tenants take turns, a load each, so that one that floods the queue does not delay the others. A load that is interrupted
 * while it waits is not sent. A batch whose loads are all interrupted is interrupted as well: it must not keep its place.
 */
export const make = <Request extends { readonly tenantId: TenantId }, A, E>(
  run: (request: Request) => Effect.Effect<A, E>,
  runAll: (requests: ReadonlyArray<Request>) => Effect.Effect<ReadonlyArray<Exit.Exit<A, E> | undefined>>,
  fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>,
  limits: Limits
): ((request: Request) => Effect.Effect<A, E>) => {
  /** Waiting loads by tenant; the order of the map is that of the turns. */
  const queues = new Map<TenantId, Queue<Waiting<Request, A, E>>>()
  let waitingLoads = 0
  let sentLoads = 0
  let underWay = 0
  let handingOut = 0

  const add = (waiting: Waiting<Request, A, E>): void => {
    const { tenantId } = waiting.request
    let queue = queues.get(tenantId)
    if (queue === undefined) queues.set(tenantId, (queue = new Queue<Waiting<Request, A, E>>()))
    queue.add(waiting)
    waitingLoads++
  }

  /** Has loads wait before all others: the first of them will be the first to go out. */
  const putBack = (left: ReadonlyArray<Waiting<Request, A, E>>): void => {
    const others = [...queues]
    queues.clear()
    for (const { request } of left) queues.set(request.tenantId, new Queue<Waiting<Request, A, E>>())
    for (const [tenantId, queue] of others) queues.set(tenantId, queue)
    for (const waiting of left.toReversed()) queues.get(waiting.request.tenantId)?.addFirst(waiting)
    waitingLoads += left.length
  }

  const remove = (waiting: Waiting<Request, A, E>): void => {
    const { tenantId } = waiting.request
    const queue = queues.get(tenantId)
    if (queue?.remove(waiting) !== true) return
    waitingLoads--
    if (queue.size === 0) queues.delete(tenantId)
  }

  const takeBatch = (): ReadonlyArray<Waiting<Request, A, E>> => {
    const loads = waitingLoads + sentLoads
    // the others are for the other batches that may be under way
    const share = loads > minShare ? Math.ceil(loads / limits.concurrency) : loads
    const atMost = Math.min(limits.maxLoads, share)
    const batch: Array<Waiting<Request, A, E>> = []
    // Who has had its turn goes to the end of the map, and so comes again in this loop.
    for (const [tenantId, queue] of queues) {
      const next = queue.take()
      queues.delete(tenantId)
      if (next !== undefined) {
        batch.push(next)
        waitingLoads--
        if (queue.size > 0) queues.set(tenantId, queue)
      }
      if (batch.length >= atMost) break
    }
    return batch
  }

  /** Hands out what a batch has given. */
  const finish = (
    batch: ReadonlyArray<Waiting<Request, A, E>>,
    exit: Exit.Exit<ReadonlyArray<Exit.Exit<A, E> | undefined>>
  ): void => {
    underWay--
    sentLoads -= batch.length
    const left: Array<Waiting<Request, A, E>> = []
    // Who gets its outcome may load again at once: that waits until all have theirs, and goes out together.
    handingOut++
    for (const [index, waiting] of batch.entries()) {
      waiting.leave = undefined
      if (waiting.gone) continue
      const outcome = Exit.isFailure(exit) ? Exit.failCause(exit.cause) : exit.value[index]
      if (outcome === undefined) left.push(waiting)
      else waiting.resume(outcome)
    }
    if (left.length > 0) putBack(left)
    handingOut--
    send()
  }

  const send = (): void => {
    while (handingOut === 0 && underWay < limits.concurrency && waitingLoads > 0) {
      const batch = takeBatch()
      underWay++
      sentLoads += batch.length
      const outcomes = Effect.suspend(() => runAll(batch.map(({ request }) => request)))
      const sent: { wanted: number; fiber?: Fiber.Fiber<void> } = { wanted: batch.length }
      for (const waiting of batch) {
        waiting.leave = () => {
          sent.wanted--
          if (sent.wanted === 0) sent.fiber?.interruptUnsafe()
        }
      }
      sent.fiber = fork(
        Effect.asVoid(Effect.onExit(outcomes, (exit) => Effect.sync(() => finish(batch, exit))))
      )
    }
  }

  const queued = (request: Request): Effect.Effect<A, E> =>
    Effect.callback<A, E>((resume) => {
      const waiting: Waiting<Request, A, E> = { request, resume, gone: false, leave: undefined }
      add(waiting)
      send()
      return Effect.sync(() => {
        waiting.gone = true
        remove(waiting)
        waiting.leave?.()
      })
    })

  const leavePlace = Effect.sync(() => {
    underWay--
    sentLoads--
    send()
  })

  // A fiber may be interrupted between any two steps: a place is taken in the step that sees to its being left.
  return (request) =>
    Effect.uninterruptibleMask((restore) => {
      if (waitingLoads > 0 || handingOut > 0 || underWay >= limits.concurrency)
        return restore(queued(request))
      // A load that finds nobody waiting runs in the fiber of its caller.
      underWay++
      sentLoads++
      return Effect.onExit(restore(run(request)), () => leavePlace)
    })
}

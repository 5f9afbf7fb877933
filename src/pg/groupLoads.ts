/**
 * Loading together: loads that wait while others are under way go out in one statement. There is no timer: a load that
 * finds a free place goes out at once and alone.
 */
import { Effect, Exit, type Fiber } from "effect"
import type { TenantId } from "../domain/Tenant.ts"
import { FairQueue } from "../internal/fairQueue.ts"

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
 * Merges loads into batches for `runAll`, which gives an exit per load, or none for one that it did not come to: that goes
 * out again, before all that have come meanwhile.
 *
 * **Details**
 *
 * Tenants take turns. A load that is interrupted while it waits is not sent. A batch whose loads are all interrupted is
 * interrupted as well: it must not keep its place.
 */
export const make = <Request extends { readonly tenantId: TenantId }, A, E>(
  run: (request: Request) => Effect.Effect<A, E>,
  runAll: (requests: ReadonlyArray<Request>) => Effect.Effect<ReadonlyArray<Exit.Exit<A, E> | undefined>>,
  fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>,
  { concurrency, maxLoads }: Limits
): ((request: Request) => Effect.Effect<A, E>) => {
  type Load = Waiting<Request, A, E>
  const queue = new FairQueue<TenantId, Load>({ keyOf: ({ request }) => request.tenantId, concurrency })

  const takeBatch = (): ReadonlyArray<Load> => {
    const loads = queue.waiting + queue.sent
    // the others are for the other batches that may be under way
    const share = loads > minShare ? Math.ceil(loads / concurrency) : loads
    return queue.take({ atMost: Math.min(maxLoads, share) })
  }

  const finish = (
    batch: ReadonlyArray<Load>,
    exit: Exit.Exit<ReadonlyArray<Exit.Exit<A, E> | undefined>>
  ): void => {
    queue.leave(batch.length)
    queue.handOut(() => {
      const left = batch.filter((load, index) => {
        load.leave = undefined
        if (load.gone) return false
        const outcome = Exit.isFailure(exit) ? Exit.failCause(exit.cause) : exit.value[index]
        if (outcome === undefined) return true
        load.resume(outcome)
        return false
      })
      if (left.length > 0) queue.addFirst(left)
    })
    send()
  }

  const send = (): void => {
    while (queue.hasPlace && queue.waiting > 0) {
      const batch = takeBatch()
      queue.enter(batch.length)
      const outcomes = Effect.suspend(() => runAll(batch.map(({ request }) => request)))
      const sent: { wanted: number; fiber?: Fiber.Fiber<void> } = { wanted: batch.length }
      for (const load of batch) {
        load.leave = () => {
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
      const load: Load = { request, resume, gone: false, leave: undefined }
      queue.add(load)
      send()
      return Effect.sync(() => {
        load.gone = true
        queue.remove(load)
        load.leave?.()
      })
    })

  const leavePlace = Effect.sync(() => {
    queue.leave(1)
    send()
  })

  // A fiber may be interrupted between any two steps: a place is taken in the step that sees to its being left.
  return (request) =>
    Effect.uninterruptibleMask((restore) => {
      if (queue.waiting > 0 || !queue.hasPlace) return restore(queued(request))
      // A load that finds nobody waiting runs in the fiber of its caller.
      queue.enter(1)
      return Effect.onExit(restore(run(request)), () => leavePlace)
    })
}

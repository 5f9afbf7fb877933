/**
 * Grouped loads: loads that wait while others are in progress are sent in one statement. There is no timer: a load is sent at once and
 * alone if there is a free place.
 */
import { Effect, Exit, type Fiber } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import type { TenantId } from "../domain/Tenant.ts"
import type { ReadError, StorageUnavailable } from "../driver/StoreError.ts"
import { FairShare } from "../driver/fairShare.ts"
import { FairQueue } from "../internal/fairQueue.ts"
import { failFor, openIn, refuseOthers } from "./openTransaction.ts"
import * as sqlErrors from "./sqlErrors.ts"

/** Limits of a batch. */
export interface Limits {
  /** Maximum number of loads in a batch. */
  readonly maxLoads: number
  /** Maximum number of batches in progress. */
  readonly concurrency: number
}

/** Options of grouped look-ups. */
export interface Options {
  /** Limits of batches; undefined to send each request alone. */
  readonly limits: Limits | undefined
  /** Runs batches outside of all transactions. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  /** See {@link make}. Default: false. */
  readonly gathers?: boolean | undefined
}

/** A load that waits or is in progress. */
interface Waiting<Request, A, E> {
  readonly request: Request
  readonly resume: (outcome: Effect.Effect<A, E>) => void
  /** True if its caller was interrupted. */
  gone: boolean
  /** Tells its batch that its caller was interrupted. */
  leave: (() => void) | undefined
}

/** Up to this number, loads are not spread over several batches, because each batch is a statement. */
const minShare = 8

/**
 * Merges loads into batches for `runAll`, which returns an exit per load, or none for a load that it did not reach. Such a load is sent
 * again before all that arrived meanwhile.
 *
 * **Details**
 *
 * Tenants take turns, and those with more than their share of the loads in progress come after the others. A load that is
 * interrupted while it waits is not sent. A batch whose loads are all interrupted is interrupted as well, to free its place.
 */
export const make = <Request extends { readonly tenantId: TenantId }, A, E>(
  run: (request: Request) => Effect.Effect<A, E>,
  runAll: (requests: ReadonlyArray<Request>) => Effect.Effect<ReadonlyArray<Exit.Exit<A, E> | undefined>>,
  fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>,
  { concurrency, maxLoads }: Limits,
  /**
   * `gathers`: requests of one turn of the event loop go together, in one statement. A lone one waits for the end of that turn
   * then.
   */
  { gathers = false }: { readonly gathers?: boolean } = {}
): ((request: Request) => Effect.Effect<A, E>) => {
  type Load = Waiting<Request, A, E>
  const queue = new FairQueue<TenantId, Load>({ keyOf: ({ request }) => request.tenantId, concurrency })
  const shares = new FairShare()

  const takeBatch = (): ReadonlyArray<Load> => {
    const loads = queue.waiting + queue.sent
    // The other loads are left to further batches, unless a statement takes longer than all that it looks up.
    const share = loads > minShare && !gathers ? Math.ceil(loads / concurrency) : loads
    return shares.take(queue, Math.min(maxLoads, share))
  }

  const finish = (
    batch: ReadonlyArray<Load>,
    exit: Exit.Exit<ReadonlyArray<Exit.Exit<A, E> | undefined>>
  ): void => {
    queue.leave(batch.length)
    for (const { request } of batch) shares.leave(request.tenantId)
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
      for (const { request } of batch) shares.enter(request.tenantId)
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

  let gathering = false
  const gather = (): void => {
    if (gathering) return
    gathering = true
    queueMicrotask(() => {
      gathering = false
      send()
    })
  }

  const queued = (request: Request): Effect.Effect<A, E> =>
    Effect.callback<A, E>((resume) => {
      const load: Load = { request, resume, gone: false, leave: undefined }
      queue.add(load)
      if (gathers) gather()
      else send()
      return Effect.sync(() => {
        load.gone = true
        queue.remove(load)
        load.leave?.()
      })
    })

  const leavePlace = (tenantId: TenantId): Effect.Effect<void> =>
    Effect.sync(() => {
      queue.leave(1)
      shares.leave(tenantId)
      send()
    })

  // A fiber may be interrupted between any two steps, so the place is taken in the step that also ensures its release.
  return (request) =>
    Effect.uninterruptibleMask((restore) => {
      if (gathers || queue.waiting > 0 || !queue.hasPlace) return restore(queued(request))
      // Without other waiting loads, a load runs in the fiber of its caller.
      queue.enter(1)
      shares.enter(request.tenantId)
      return Effect.onExit(restore(run(request)), () => leavePlace(request.tenantId))
    })
}

/** Runs a batch in one statement. If one request may have made it fail, each half is tried again, so that only that one fails. */
export const inHalves = <Request, Row, A, E>(
  operation: string,
  run: (requests: ReadonlyArray<Request>) => Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError>,
  runOne: (request: Request) => Effect.Effect<A, E>,
  /** An exit per request; undefined for one that the statement did not reach. */
  exitsOf: (
    rows: ReadonlyArray<Row>,
    requests: ReadonlyArray<Request>
  ) => ReadonlyArray<Exit.Exit<A, E> | undefined>
): ((
  requests: ReadonlyArray<Request>
) => Effect.Effect<ReadonlyArray<Exit.Exit<A, E | StorageUnavailable> | undefined>>) => {
  type Exits = ReadonlyArray<Exit.Exit<A, E | StorageUnavailable> | undefined>
  const runAll = (requests: ReadonlyArray<Request>): Effect.Effect<Exits> => {
    const [first] = requests
    if (first !== undefined && requests.length === 1)
      return Effect.map(Effect.exit(runOne(first)), (exit) => [exit])
    return Effect.matchEffect(run(requests), {
      onSuccess: (rows): Effect.Effect<Exits> => Effect.succeed(exitsOf(rows, requests)),
      onFailure: (error) => {
        if (sqlErrors.isTransient(error))
          return Effect.succeed(requests.map(() => Exit.fail(sqlErrors.toUnavailable(operation, error))))
        const half = Math.ceil(requests.length / 2)
        const halves = [requests.slice(0, half), requests.slice(half)]
        return Effect.map(Effect.forEach(halves, runAll), (exits) => exits.flat())
      }
    })
  }
  return runAll
}

/** Groups requests, but for those in an open transaction of the program: each of these runs in it. */
export const unlessInTransaction =
  <Request extends { readonly tenantId: TenantId }, A, E>(
    sql: SqlClient.SqlClient,
    grouped: (request: Request) => Effect.Effect<A, E>,
    run: (request: Request) => Effect.Effect<A, E>
  ) =>
  (request: Request): Effect.Effect<A, E | StorageUnavailable> =>
    Effect.withFiber(({ context }) =>
      openIn(context, sql) === undefined
        ? grouped(request)
        : Effect.andThen(refuseOthers(sql, request.tenantId), run(request))
    )

/** Looks requests up by a statement that takes any number of them and answers each: see {@link make} and {@link unlessInTransaction}. */
export const lookUps = <Request extends { readonly tenantId: TenantId }, Row, A>(
  sql: SqlClient.SqlClient,
  operation: string,
  run: (requests: ReadonlyArray<Request>) => Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError>,
  /** The answer to the request at an index, from the rows of the statement. */
  answerOf: (rows: ReadonlyArray<Row>, index: number) => A,
  { fork, gathers = false, limits }: Options
): ((request: Request) => Effect.Effect<A, ReadError>) => {
  const runOne = (request: Request): Effect.Effect<A, ReadError> =>
    run([request]).pipe(
      Effect.map((rows) => answerOf(rows, 0)),
      Effect.catch((error) => failFor(sql, operation, request.tenantId, error))
    )
  const runAll = inHalves(operation, run, runOne, (rows, requests) =>
    requests.map((_, index) => Exit.succeed(answerOf(rows, index)))
  )
  const grouped = limits === undefined ? runOne : make(runOne, runAll, fork, limits, { gathers })
  return unlessInTransaction(sql, grouped, runOne)
}

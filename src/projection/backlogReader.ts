/** Reads the backlog of a projection beside the worker's transaction, while the worker handles what has arrived. */
import { Clock, Effect, Exit, Fiber, Option, Scope } from "effect"
import type { EventRow, LogReader, LogStep } from "../driver/EventStorage.ts"
import type { ReadError } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type { Any } from "./Projection.ts"

/** Selects all events of a log. */
export const wholeLog = {
  fromPosition: 1,
  toPosition: Number.MAX_SAFE_INTEGER,
  recordedFrom: undefined,
  recordedBefore: undefined,
  aggregateTypes: undefined,
  eventTypes: undefined,
  direction: "forwards"
} as const

/** The events of a projection after one position, up to another. */
export interface Batch {
  readonly projection: Any
  readonly tenantId: TenantId
  /** True for the events of a rebuild. */
  readonly rebuild: boolean
  readonly after: number
  readonly upTo: number
}

interface Opened {
  readonly batch: Batch
  readonly scope: Scope.Closeable
  readonly fiber: Fiber.Fiber<LogReader | undefined, ReadError>
  /** The position up to which its rows were returned; undefined while it returns some. */
  position: number | undefined
  /** Number of pages for which it had no connection. */
  waits: number
}

/** Number of events from which a reader of its own is worth its connection and transaction. */
const worthwhile = 1000

/**
 * Longest wait for a connection and for a full page, in milliseconds, and the number of pages that a worker reads itself until the
 * reader has a connection.
 */
const patience = { connection: 5, page: 100, pages: 20 }

/** Number of pages for which none is opened after one that had to wait too long. */
const recovery = 30

/**
 * The reader of one worker. A worker never waits long for it, because the reader's connection may be that of another worker that
 * waits: without rows in time, it reads a page in its own transaction.
 */
export class BacklogReader {
  readonly #open: (batch: Batch) => Effect.Effect<LogReader | undefined, ReadError, Scope.Scope>
  /** Runs effects outside of the worker's transaction. */
  readonly #fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  #opened: Opened | undefined
  /** The last batch that the worker read itself: after two in a row of the same log, more are likely. */
  #last: Batch | undefined
  #withoutReader = 0

  constructor(
    open: (batch: Batch) => Effect.Effect<LogReader | undefined, ReadError, Scope.Scope>,
    fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  ) {
    this.#open = open
    this.#fork = fork
  }

  /**
   * The next rows of a batch, as many as it wants or those that arrive soon. Undefined if the worker must read them itself. If the
   * batch is `sure` to be wanted, its reader is opened at once.
   */
  page(batch: Batch, limit: number, sure: boolean): Effect.Effect<LogStep | undefined, ReadError> {
    if (sure && this.#opened === undefined) this.expect(batch, sure)
    const opened = this.#opened
    if (opened === undefined) return Effect.undefined
    const isNext =
      isSame(opened.batch, batch) &&
      opened.position !== undefined &&
      opened.position <= batch.after &&
      opened.batch.upTo > batch.after &&
      opened.batch.upTo <= batch.upTo
    const exit = isNext ? opened.fiber.pollUnsafe() : undefined
    if (isNext && exit === undefined && ++opened.waits < patience.pages) return Effect.undefined
    const reader = exit !== undefined && Exit.isSuccess(exit) ? exit.value : undefined
    if (reader === undefined) return Effect.as(this.drop, undefined)
    return Effect.flatMap(isReady(reader, opened.waits), (ready) => {
      if (ready) return this.#fill(opened, reader, batch.after, limit)
      if (++opened.waits < patience.pages) return Effect.undefined
      this.#withoutReader = recovery
      return Effect.as(this.drop, undefined)
    })
  }

  /** Opens a reader for a batch that comes next, if it is likely to be wanted. `sure` if it is. */
  expect(batch: Batch, sure: boolean): void {
    const likely = sure || (this.#last !== undefined && isSame(this.#last, batch))
    this.#last = batch
    if (this.#withoutReader > 0) {
      this.#withoutReader--
      return
    }
    if (!likely || this.#opened !== undefined || batch.upTo - batch.after < worthwhile) return
    const scope = Scope.makeUnsafe()
    const fiber = this.#fork(Scope.provide(this.#open(batch), scope))
    this.#opened = { batch, scope, fiber, position: batch.after, waits: 0 }
  }

  /** Closes the reader, because its rows are not wanted. */
  readonly drop: Effect.Effect<void> = Effect.suspend(() => {
    const opened = this.#opened
    if (opened === undefined) return Effect.void
    this.#opened = undefined
    opened.fiber.interruptUnsafe()
    return Scope.close(opened.scope, Exit.void)
  })

  /** Takes rows behind a position; those before it were read by the worker while the reader had no connection. */
  readonly #fill = Effect.fnUntraced(function* (
    this: BacklogReader,
    opened: Opened,
    reader: LogReader,
    after: number,
    limit: number
  ): Effect.fn.Return<LogStep, ReadError> {
    // An interrupted step may have taken rows.
    opened.position = undefined
    const ends = (yield* Clock.currentTimeMillis) + patience.page
    const rows: Array<EventRow> = []
    let [complete, position] = [false, after]
    do {
      const step = yield* reader.step(limit - rows.length)
      for (const row of step.rows) if (row.position > after) rows.push(row)
      complete = step.complete
      position = Math.max(after, step.position)
    } while (!complete && rows.length < limit && reader.isReady() && (yield* Clock.currentTimeMillis) < ends)
    opened.position = position
    opened.waits = 0
    if (!complete) return { rows, complete, position }
    yield* this.drop
    return { rows, complete, position: opened.batch.upTo }
  })
}

const isReady = (reader: LogReader, waits: number): Effect.Effect<boolean> => {
  if (reader.isReady()) return Effect.succeed(true)
  // It waits only once.
  if (waits > 0) return Effect.succeed(false)
  return Effect.map(Effect.timeoutOption(reader.untilReady, patience.connection), Option.isSome)
}

const isSame = (left: Batch, right: Batch): boolean =>
  left.projection === right.projection && left.tenantId === right.tenantId && left.rebuild === right.rebuild

/** Reads the next page of a log while a worker handles the current one. */
import { Effect, Exit, Fiber } from "effect"
import type { EventRow, Page } from "../driver/EventStorage.ts"
import type { Any } from "./Projection.ts"
import type { ReadError } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** Stored events. */
export type Rows = Page<EventRow>

/** The events of a projection after one position, up to another. */
export interface Batch {
  readonly projection: Any
  readonly tenantId: TenantId
  readonly after: number
  readonly upTo: number
}

/**
 * The page that a worker reads ahead while it handles the current one. The worker never waits for it, because the read may wait for
 * the worker's own connection, or for that of another waiting worker.
 */
export class ReadAhead {
  readonly #read: (batch: Batch) => Fiber.Fiber<Rows, ReadError>
  #reading: { readonly batch: Batch; readonly fiber: Fiber.Fiber<Rows, ReadError> } | undefined
  /** The last handled log: after two consecutive batches of the same log, a third one is likely. */
  #last: Batch | undefined

  constructor(read: (batch: Batch) => Fiber.Fiber<Rows, ReadError>) {
    this.#read = read
  }

  /** The rows of a batch, if they have arrived. */
  take(batch: Batch): Rows | undefined {
    const reading = this.#reading
    this.#reading = undefined
    if (reading === undefined) return undefined
    const exit = reading.fiber.pollUnsafe()
    if (exit === undefined) reading.fiber.interruptUnsafe()
    if (exit === undefined || Exit.isFailure(exit)) return undefined
    if (
      !isSame(reading.batch, batch) ||
      reading.batch.after !== batch.after ||
      reading.batch.upTo > batch.upTo
    )
      return undefined
    const { rows, complete } = exit.value
    // The log may have grown since then.
    return rows.length === 0 ? undefined : { rows, complete: complete && reading.batch.upTo === batch.upTo }
  }

  /** Starts to read a batch if it is likely to be wanted. */
  start(batch: Batch): void {
    const inARow = this.#last !== undefined && isSame(this.#last, batch)
    this.#last = batch
    if (inARow) this.#reading = { batch, fiber: this.#read(batch) }
  }

  /** Discards the page, because there is no work. */
  drop(): void {
    this.#reading?.fiber.interruptUnsafe()
    this.#reading = undefined
  }

  readonly end: Effect.Effect<void> = Effect.suspend(() =>
    this.#reading === undefined ? Effect.void : Fiber.interrupt(this.#reading.fiber)
  )
}

const isSame = (left: Batch, right: Batch): boolean =>
  left.projection === right.projection && left.tenantId === right.tenantId

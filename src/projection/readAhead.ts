/** What the workers of projections read before they need it. */
import { Effect, Exit, Fiber } from "effect"
import type { EventRow, Page } from "../driver/EventStorage.ts"
import type { Any } from "./Projection.ts"
import type { ReadError } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** Events as they are stored. */
export type Rows = Page<EventRow>

/** The events behind a position, up to another one, that a projection handles. */
export interface Batch {
  readonly projection: Any
  readonly tenantId: TenantId
  readonly after: number
  readonly upTo: number
}

/**
 * What a worker that catches up reads while it handles what it has. It never waits for it: the connection that this may
 * wait for can be its own, or that of another worker that waits as well.
 */
export class ReadAhead {
  readonly #read: (batch: Batch) => Fiber.Fiber<Rows, ReadError>
  #reading: { readonly batch: Batch; readonly fiber: Fiber.Fiber<Rows, ReadError> } | undefined
  /** What was handled last: who handles two batches in a row of the same log may well handle a third one. */
  #last: Batch | undefined

  constructor(read: (batch: Batch) => Fiber.Fiber<Rows, ReadError>) {
    this.#read = read
  }

  /** The batch, if it is there. */
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
    // Since then the log may have grown.
    return rows.length === 0 ? undefined : { rows, complete: complete && reading.batch.upTo === batch.upTo }
  }

  /** Begins to read a batch, if it is likely to be wanted. */
  start(batch: Batch): void {
    const inARow = this.#last !== undefined && isSame(this.#last, batch)
    this.#last = batch
    if (inARow) this.#reading = { batch, fiber: this.#read(batch) }
  }

  /** Lets go of what it has: there is nothing to do. */
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

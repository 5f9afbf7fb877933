/**
 * Reactions: what is done about a tenant's events, such as sending commands to other aggregates.
 */
import type { Schedule } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import * as EventContext from "../domain/EventContext.ts"
import * as Projection from "./Projection.ts"

/** What a reaction consists of, besides its name and handlers. */
export interface Options<As extends ReadonlyArray<Aggregate.Any>> {
  /** To whose events it reacts. */
  readonly aggregates: As
  /**
   * Where a reaction that is new to the database begins: at what is appended from now on, or at the beginning of every
   * log. Default: `"now"`, as it must not do again today what was due in the past years. It counts when the first runner
   * makes the reaction known; later it changes nothing.
   */
  readonly startAt?: Projection.StartAt | undefined
  /** When a failed event is tried again. Default: {@link Projection.defaultRetry}. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** Default: `"park"`. */
  readonly onFailure?: Projection.OnFailure | undefined
  /**
   * Events of one tenant that are handled in one transaction at most. Default: 1, as a transaction that has appended
   * makes the other appends of the tenant wait until it ends.
   */
  readonly batchSize?: number | undefined
}

/** A reaction, to be run by a `ProjectionRunner`. */
export interface Reaction<out E, out R> extends Projection.Projection<E, R> {
  readonly kind: "reaction"
}

/**
 * A reaction to the events of aggregates: handlers that send commands (`Repository.execute`), append, or do something
 * outside of the store.
 *
 * **Details**
 *
 * Handlers run in the event's tenant, in the order of its log. What they append has the event as its cause and continues
 * its correlation. They run at least once for each event; what they append is there exactly once, because its ids follow
 * from the reaction's name and the event (`EventContext.derivingIds`). On PostgreSQL the appends are also in the
 * transaction that moves the checkpoint: all of what a handler did to the database is there, or nothing. The tenant's
 * other appends wait from a handler's first append to the end of that transaction, so do slow things before it.
 *
 * A reaction has no version and no tables, and cannot be rebuilt: changed handlers go on where the old ones came to. To
 * start over, give it another name.
 *
 * **Gotchas**
 *
 * Nobody but the handler makes other effects idempotent, such as a mail or a request: pass on the event's id. The name is
 * part of all ids: after a change, events that were handled and are handled again count as new.
 *
 * **Example**
 *
 * ```ts
 * const Shipping = Reaction.make("shipping", { aggregates: [Order] }, {
 *   OrderPaid: (_event, { aggregateId }) =>
 *     Repository.Repository.use((repository) =>
 *       repository.execute(Shipment, aggregateId, ({ status }) => (status === "none" ? [ShipmentRequested.make({})] : [])))
 * })
 * ```
 */
export const make = <const As extends ReadonlyArray<Aggregate.Any>, H extends Projection.Handlers<As>>(
  name: string,
  options: Options<As>,
  handlers: H & Aggregate.NoOthers<H, Aggregate.EventOf<As[number]>["_tag"]>
): Reaction<Projection.ErrorOf<H[keyof H]>, Projection.RequirementsOf<H[keyof H]>> => {
  const { aggregates, retry, onFailure, batchSize = 1, startAt = "now" } = options
  const projection = Projection.make(name, { aggregates, retry, onFailure, batchSize }, handlers)
  return {
    ...projection,
    kind: "reaction",
    startAt,
    handle: (envelope) => {
      const { eventId, part } = envelope
      const parts = part === undefined ? [] : [String(part)]
      return projection.handle(envelope).pipe(EventContext.derivingIds(["reaction", name, eventId, ...parts]))
    }
  }
}

/**
 * Reactions: effects in response to a tenant's events, such as commands to other aggregates.
 */
import type { Schedule } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import * as EventContext from "../domain/EventContext.ts"
import * as Projection from "./Projection.ts"

/** Options of a reaction. */
export interface Options<As extends ReadonlyArray<Aggregate.Any>> {
  /** The aggregates whose events it handles. */
  readonly aggregates: As
  /**
   * The start of a reaction that is new to the database: new events only, or the beginning of every log. Default: `"now"`, so that
   * it does not react today to events of past years. It applies when the first runner registers the reaction, and never later.
   */
  readonly startAt?: Projection.StartAt | undefined
  /** Schedule of retries of a failed event. Default: {@link Projection.defaultRetry}. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** Default: `"park"`. */
  readonly onFailure?: Projection.OnFailure | undefined
  /**
   * Maximum number of events of one tenant per transaction. Default: 1, because a transaction that has appended makes the tenant's
   * other appends wait until it ends.
   */
  readonly batchSize?: number | undefined
}

/** A reaction, to be run by a `ProjectionRunner`. */
export interface Reaction<out E, out R> extends Projection.Projection<E, R> {
  readonly kind: "reaction"
}

/**
 * A reaction to the events of aggregates: handlers that run commands (`Repository.execute`), append, or do something outside of the
 * store.
 *
 * **Details**
 *
 * Handlers run in the event's tenant, in the order of its log. Their appends have the event as their cause and continue its
 * correlation. Handlers run at least once per event; their appends are stored exactly once, because the ids are derived from the
 * reaction's name and the event (`EventContext.derivingIds`). On PostgreSQL the appends are also in the transaction that moves
 * the checkpoint, so all database changes of a handler commit together. The tenant's other appends wait from a handler's first
 * append to the end of that transaction, so do slow work before it.
 *
 * A reaction has no version and no tables, and cannot be rebuilt: changed handlers continue where the old ones stopped. To start
 * over, give it another name.
 *
 * A reaction has no read model, and need not say how it forgets. One that keeps personal data elsewhere adds
 * `PersonalSubject.PersonalSubject` to its aggregates and handles `SubjectForgotten`.
 *
 * **Gotchas**
 *
 * Other effects, such as a mail or a request, are idempotent only if the handler makes them so: pass on the event's id. The name is
 * part of all ids: under another name, an event that is handled again is appended for again.
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
  const projection = Projection.make(
    name,
    { aggregates, retry, onFailure, batchSize, forgotten: "keepsNone" },
    handlers
  )
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

/** Finds the events of an earlier run of a decision with derived ids, wherever they are in the log. */
import { Effect, Stream } from "effect"
import type { EventStore } from "./EventStore.ts"
import type { ReadError } from "../driver/StoreError.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import type { Ids } from "../domain/derivedIds.ts"
import type * as Event from "../domain/Event.ts"

/** The positions of a decision's events, which are consecutive because they were appended together. */
export interface DecisionRange {
  /** The position of the first event. */
  readonly first: number
  /** The position of the last event. */
  readonly last: number
  /** The id of the last event; undefined if the log has lost the events meanwhile. */
  readonly lastId: Event.EventId | undefined
  /** The aggregates of these events. */
  readonly aggregateTypes: ReadonlySet<string>
}

export const makeFinder = (store: EventStore["Service"]) => {
  return {
    /** The position of the first event of a decision; undefined if it was not stored. */
    find: (ids: Ids): Effect.Effect<number | undefined, ReadError, CurrentTenant> =>
      store.eventPosition(ids.at(0)),

    /** The range from the first to the last event with one of the ids; one of them is at `position`. */
    around: (ids: Ids, position: number): Effect.Effect<DecisionRange, ReadError, CurrentTenant> =>
      Effect.gen(function* () {
        const before = yield* store.readLogJson({ toPosition: position, direction: "backwards" }).pipe(
          Stream.takeUntil(({ eventId }) => ids.indexOf(eventId) === 0),
          Stream.runCollect
        )
        const first = before.findLast(({ eventId }) => ids.indexOf(eventId) !== undefined)
        const behind = yield* store.readLogJson({ fromPosition: first?.position ?? position }).pipe(
          // Events that were appended together have the same recorded time.
          Stream.takeWhile(
            ({ recordedAt }) => recordedAt.epochMilliseconds === first?.recordedAt.epochMilliseconds
          ),
          Stream.runCollect
        )
        const events = behind.slice(
          0,
          behind.findLastIndex(({ eventId }) => ids.indexOf(eventId) !== undefined) + 1
        )
        return {
          first: first?.position ?? position,
          last: events.at(-1)?.position ?? position,
          lastId: events.at(-1)?.eventId,
          aggregateTypes: new Set(events.map(({ aggregateType }) => aggregateType))
        }
      })
  }
}

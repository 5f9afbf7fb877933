/** The events of an earlier run of a decision with derived ids, wherever they are in the log. */
import { Effect, Stream } from "effect"
import type { EventStore } from "./EventStore.ts"
import type { ReadError } from "../driver/StoreError.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import type { Ids } from "../domain/derivedIds.ts"

/** The events of a decision, which are consecutive because they were appended together. */
export interface Place {
  /** The position of the first. */
  readonly first: number
  /** The position of the last. */
  readonly last: number
  /** The aggregates of these events. */
  readonly aggregateTypes: ReadonlySet<string>
}

export const makeFinder = (store: EventStore["Service"]) => {
  return {
    /** The position of the first event of a decision; undefined if it was not stored. */
    find: (ids: Ids): Effect.Effect<number | undefined, ReadError, CurrentTenant> =>
      store.eventPosition(ids.at(0)),

    /** All events that were appended together, from the first id to the last, around the position of one. */
    around: (ids: Ids, position: number): Effect.Effect<Place, ReadError, CurrentTenant> =>
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
          aggregateTypes: new Set(events.map(({ aggregateType }) => aggregateType))
        }
      })
  }
}

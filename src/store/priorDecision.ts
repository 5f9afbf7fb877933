/** What a decision with derived ids came to when it was made before, wherever in the log that is. */
import { Effect, Stream } from "effect"
import type { EventStore } from "./EventStore.ts"
import type { ReadError } from "../driver/StoreError.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import type { Ids } from "../domain/derivedIds.ts"

/** The events of a decision: they follow each other, as they were appended together. */
export interface Place {
  /** The position of the first. */
  readonly first: number
  /** The position of the last. */
  readonly last: number
  /** Whose events they are. */
  readonly aggregateTypes: ReadonlySet<string>
}

export const makeFinder = (store: EventStore["Service"]) => {
  return {
    /** The position of the first event of a decision; undefined if it was not stored. */
    find: (ids: Ids): Effect.Effect<number | undefined, ReadError, CurrentTenant> =>
      store.eventPosition(ids.at(0)),

    /** All that was appended together, from the first of the ids to the last, around the position of one. */
    around: (ids: Ids, position: number): Effect.Effect<Place, ReadError, CurrentTenant> =>
      Effect.gen(function* () {
        const before = yield* store.readLogJson({ toPosition: position, direction: "backwards" }).pipe(
          Stream.takeUntil(({ eventId }) => ids.indexOf(eventId) === 0),
          Stream.runCollect
        )
        const first = before.findLast(({ eventId }) => ids.indexOf(eventId) !== undefined)
        const behind = yield* store.readLogJson({ fromPosition: first?.position ?? position }).pipe(
          // What was appended together was recorded at the same time.
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

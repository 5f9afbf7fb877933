/** What a decision with derived ids came to when it was made before, wherever in the log that is. */
import { Effect, Option, Schema, Stream } from "effect"
import * as Aggregate from "../domain/Aggregate.ts"
import type { AppendFailure } from "./append.ts"
import type { EventStore } from "./EventStore.ts"
import type { ReadError } from "../driver/StoreError.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import * as Event from "../domain/Event.ts"
import type { Ids } from "../domain/derivedIds.ts"
import { maxVersion } from "./encode.ts"

/** The events of a decision: they follow each other, as they were appended together. */
export interface Place {
  /** The position of the first. */
  readonly first: number
  /** The position of the last. */
  readonly last: number
  /** Whose events they are. */
  readonly aggregateTypes: ReadonlySet<string>
}

/** No event of it is ever stored. */
const Sought = Schema.TaggedStruct("Sought", {})
const Seeker = Aggregate.make(
  "decision",
  { id: Schema.String, state: Schema.Null, initial: null, events: [Sought] },
  (state) => state
)

export const makeFinder = (store: EventStore["Service"]) => {
  /**
   * Whether an event id is in the log. The index of the ids is looked into by appends alone: so here is one that is refused
   * in any case, for its id or for the version that no stream has.
   */
  const isStored = (eventId: Event.EventId): Effect.Effect<boolean, AppendFailure, CurrentTenant> =>
    store
      .append({
        aggregate: Seeker,
        id: "sought",
        expectedVersion: maxVersion,
        events: [Event.make(Sought.make({}), { eventId })]
      })
      .pipe(
        Effect.as(false),
        Effect.catchReasons("Conflict", {
          EventIdConflict: () => Effect.succeed(true),
          VersionConflict: () => Effect.succeed(false)
        })
      )

  return {
    /**
     * The position of an event with one of the ids; undefined if there is none. The log is only read if there is one,
     * backwards, as it rarely lies far behind.
     */
    find: Effect.fnUntraced(function* (ids: Ids) {
      if ((yield* store.position) === 0 || !(yield* isStored(ids.at(0)))) return undefined
      const found = yield* store.readLogJson({ direction: "backwards" }).pipe(
        Stream.filter(({ eventId }) => ids.indexOf(eventId) !== undefined),
        Stream.runHead
      )
      return Option.getOrUndefined(found)?.position
    }),

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

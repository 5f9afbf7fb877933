/** Appends JSON events. */
import { type DateTime, Effect, Result } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import { currentTenant } from "../domain/currentTenant.ts"
import type * as Event from "../domain/Event.ts"
import type { JsonEvent } from "../domain/jsonEvent.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import type { ExpectedVersion } from "../driver/StoreError.ts"
import type { AppendConditions, Appended, AppendFailure, AppendOptions, StreamEventsOf } from "./append.ts"
import * as EventJson from "./EventJson.ts"

/** JSON events to append together. */
export interface JsonEvents {
  /** The aggregates whose events are accepted. Their schemas check ids and payloads. */
  readonly aggregates: ReadonlyArray<Aggregate.Any>
  /** The events, in the order of their positions. */
  readonly events: ReadonlyArray<EventJson.NewEvent>
  /** The version that each stream must have before the append. Default: `"any"`. */
  readonly expectedVersion?: ExpectedVersion | undefined
}

/** The place of an appended JSON event. */
export type JsonReceipt = Pick<
  Event.Envelope<unknown>,
  "eventId" | "aggregateType" | "aggregateId" | "version" | "position"
> & { readonly recordedAt: DateTime.Utc }

/** The outcome of an append of JSON events. */
export interface JsonAppended {
  /** The highest position of these events; 0 if there are none. */
  readonly position: number
  /** The places of the events, stream by stream, without events that their aggregate drops. */
  readonly events: ReadonlyArray<JsonReceipt>
  /** True if the same events had been appended before. These are their places then, and nothing was written. */
  readonly replayed: boolean
}

/** The append of typed events. */
export type AppendAll = <Condition extends AppendConditions | undefined = undefined>(
  streams: ReadonlyArray<StreamEventsOf<Aggregate.Any>>,
  options?: AppendOptions<Condition>
) => Effect.Effect<ReadonlyArray<Appended<Event.Tagged>>, AppendFailure<Condition>, CurrentTenant>

/** Appends JSON events by an append of typed events. */
export const appendJson =
  (appendAll: AppendAll) =>
  <Condition extends AppendConditions | undefined = undefined>({
    aggregates,
    condition,
    events,
    expectedVersion = "any"
  }: JsonEvents & AppendOptions<Condition>): Effect.Effect<
    JsonAppended,
    AppendFailure<Condition>,
    CurrentTenant
  > =>
    Effect.gen(function* () {
      const decode = EventJson.decoder(aggregates, yield* currentTenant)
      const streams: Array<StreamEventsOf<Aggregate.Any>> = []
      /** The streams that have occurred. */
      const seen = new Map<Aggregate.Any, Set<string>>()
      let last:
        | { readonly aggregate: Aggregate.Any; readonly id: string; readonly events: Array<JsonEvent> }
        | undefined
      for (const json of events) {
        const decoded = decode(json)
        if (Result.isFailure(decoded)) return yield* decoded.failure.error
        const { aggregate, event, id } = decoded.success
        if (event === undefined) continue
        const { aggregateId } = json
        if (last?.aggregate === aggregate && last.id === aggregateId) {
          last.events.push(event)
          continue
        }
        last = { aggregate, id: aggregateId, events: [event] }
        const ids = seen.get(aggregate) ?? new Set()
        streams.push({
          aggregate,
          id,
          // The expected version applies to the stream before the append.
          expectedVersion: ids.has(aggregateId) ? "any" : expectedVersion,
          events: last.events
        })
        seen.set(aggregate, ids.add(aggregateId))
      }
      const appended = yield* appendAll(streams, { condition })
      return {
        position: appended.reduce((highest, { position }) => Math.max(highest, position), 0),
        replayed: appended.some(({ replayed }) => replayed),
        events: appended.flatMap((stream) =>
          stream.events.filter(({ part }) => part === undefined).map(receipt)
        )
      }
    })

const receipt = ({
  aggregateId,
  aggregateType,
  eventId,
  position,
  recordedAt,
  version
}: Event.Envelope<unknown>): JsonReceipt => ({
  eventId,
  aggregateType,
  aggregateId,
  version,
  position,
  recordedAt
})

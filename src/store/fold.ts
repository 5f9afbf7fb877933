/** The load path: folds a stream page by page, from its beginning or from a state of it that is known. */
import { Effect, Result, Stream } from "effect"
import { currentTenant } from "../domain/currentTenant.ts"
import type * as Event from "../domain/Event.ts"
import type { CurrentTenant, TenantId } from "../domain/Tenant.ts"
import type { EventContent, EventRow } from "../driver/EventStorage.ts"
import { type InvalidId, PositionDiverged, type ReadError, type Undecodable } from "../driver/StoreError.ts"
import { type StreamKey, storedStream } from "./append.ts"
import * as decode from "./decode.ts"
import { type EventPlace, eventRef, type Reader, type StoredStream, type VersionRange } from "./read.ts"

/** A state of an aggregate, and the version of its stream that it is of. */
export interface FoldedState<out State> {
  readonly state: State
  /** 0 stands for the initial state. */
  readonly version: number
}

/** A stream to fold. */
export interface FoldRequest<Type extends string, State, Payload extends Event.Tagged, Id> extends StreamKey<
  Type,
  State,
  Payload,
  Id
> {
  /** Fold the events behind this state. Default: all, from the initial state. */
  readonly from?: FoldedState<NoInfer<State>> | undefined
  /** Highest version, inclusive. Default: the end of the stream. */
  readonly toVersion?: number | undefined
  /** The event with the version of `from`. It is read again, and another one there is `PositionDiverged`. */
  readonly confirm?: EventPlace | undefined
  /** Also name the last event. Without it less is read of each event. Default: false. */
  readonly withLast?: boolean | undefined
  /** Receives each event that is folded. */
  readonly inspect?: ((envelope: Event.Envelope<Payload, Type>) => void) | undefined
}

/** A folded stream. */
export interface Folded<out State> extends FoldedState<State> {
  /** The last event that was read, even if an upcaster drops it; undefined if there was none. Certain only with `withLast`. */
  readonly last: EventPlace | undefined
}

/** The failures of a fold. `PositionDiverged` occurs only with `confirm`. */
export type FoldError = ReadError | Undecodable | InvalidId | PositionDiverged

const isSame = (one: EventPlace, other: EventPlace): boolean =>
  one.version === other.version &&
  one.position === other.position &&
  one.eventId === other.eventId &&
  one.recordedAt === other.recordedAt

const diverged = (tenantId: TenantId, expected: EventPlace, actual: EventPlace | undefined) =>
  new PositionDiverged({
    tenantId,
    position: expected.position,
    expected: expected.eventId,
    actual: actual?.eventId ?? null
  })

export const makeFolder = (reader: Reader) => {
  /** Fast path for a stream of one page: no `Stream`, and no envelopes unless someone inspects them. */
  const foldRows = <Type extends string, State, Payload extends Event.Tagged, Id>(
    { aggregate, confirm, inspect, toVersion }: FoldRequest<Type, State, Payload, Id>,
    key: StoredStream,
    from: FoldedState<State>
  ): Effect.Effect<Folded<State>, FoldError> => {
    let { state } = from
    let last: EventRow | undefined
    const foldPage = (
      rows: ReadonlyArray<EventRow>
    ): decode.Decoded<never, Undecodable | PositionDiverged> => {
      const [first] = rows
      if (last === undefined && first !== undefined && confirm !== undefined && !isSame(first, confirm))
        return { events: [], failure: diverged(key.tenantId, confirm, first) }
      last = rows.at(-1) ?? last
      if (inspect === undefined)
        return decode.eachPayload(key.tenantId, aggregate, rows, ({ version }, payload) => {
          if (version > from.version) state = aggregate.apply(state, payload)
        })
      const { events, ...page } = decode.envelopes(key.tenantId, aggregate, rows)
      for (const envelope of events) {
        if (envelope.version <= from.version) continue
        state = aggregate.apply(state, envelope.payload)
        inspect(envelope)
      }
      return { events: [], ...page }
    }
    const result = (): Effect.Effect<Folded<State>, PositionDiverged> => {
      if (last !== undefined) return Effect.succeed({ state, version: last.version, last: eventRef(last) })
      return confirm === undefined
        ? Effect.succeed({ ...from, last: undefined })
        : Effect.fail(diverged(key.tenantId, confirm, undefined))
    }
    const range: VersionRange = { fromVersion: confirm?.version ?? from.version + 1, toVersion }
    return Effect.flatMap(reader.readStreamOnce(key, range), ({ complete, rows }) => {
      const page = foldPage(rows)
      const ended = complete || last === undefined
      if (page.failure === undefined && page.skipped?.length === 0 && ended) return result()
      const reported = decode.reportSkipped(page)
      if (page.failure !== undefined) return Effect.andThen(reported, Effect.fail(page.failure))
      if (ended || last === undefined) return Effect.andThen(reported, Effect.suspend(result))
      const rest = reader.readStream(key, { ...range, fromVersion: last.version + 1 }, foldPage, true)
      return Effect.andThen(reported, Effect.flatMap(Stream.runDrain(rest), result))
    })
  }

  /**
   * Fast path for folding alone: reads version, type and payload only. At the first event that cannot be decoded it falls
   * back to full rows, which the error needs.
   */
  const foldContents = <Type extends string, State, Payload extends Event.Tagged, Id>(
    request: FoldRequest<Type, State, Payload, Id>,
    key: StoredStream,
    from: FoldedState<State>
  ): Effect.Effect<Folded<State>, FoldError> => {
    const { aggregate, toVersion } = request
    let reached: Folded<State> = { state: from.state, version: from.version, last: undefined }
    const foldPage = (rows: ReadonlyArray<EventContent>): boolean => {
      const last = rows.at(-1)
      const folded = decode.foldContents(aggregate, rows, reached.state)
      if (last !== undefined && folded !== undefined)
        reached = { state: folded.state, version: last.version, last: undefined }
      return folded !== undefined
    }
    const asRows = Effect.suspend(() => foldRows(request, key, reached))
    return Effect.flatMap(
      reader.readContents(key, { fromVersion: from.version + 1, toVersion }),
      (page): Effect.Effect<Folded<State>, FoldError> => {
        if (page === undefined || !foldPage(page.rows)) return asRows
        if (page.complete) return Effect.succeed(reached)
        return reader
          .readAllContents(key, { fromVersion: reached.version + 1, toVersion }, foldPage)
          .pipe(Effect.flatMap((all) => (all ? Effect.succeed(reached) : asRows)))
      }
    )
  }

  return <Type extends string, State, Payload extends Event.Tagged, Id>(
    request: FoldRequest<Type, State, Payload, Id>
  ): Effect.Effect<Folded<State>, FoldError, CurrentTenant> =>
    Effect.flatMap(currentTenant, (tenantId): Effect.Effect<Folded<State>, FoldError> => {
      const { aggregate, confirm, from = { state: aggregate.initial, version: 0 }, inspect } = request
      const key = storedStream(tenantId, request)
      if (Result.isFailure(key)) return Effect.fail(key.failure)
      return confirm === undefined && inspect === undefined && request.withLast !== true
        ? foldContents(request, key.success, from)
        : foldRows(request, key.success, from)
    })
}

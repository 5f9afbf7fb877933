/** Folds a stream page by page, from its beginning or from a known state. */
import { Effect, Result, Stream } from "effect"
import { currentTenant } from "../domain/currentTenant.ts"
import type * as Event from "../domain/Event.ts"
import type { CurrentTenant, TenantId } from "../domain/Tenant.ts"
import type { EventContent, EventPlace, EventRow, StreamPage } from "../driver/EventStorage.ts"
import { type InvalidId, PositionDiverged, type ReadError, type Undecodable } from "../driver/StoreError.ts"
import { type StreamKey, storedStream } from "./append.ts"
import * as decode from "./decode.ts"
import { placeOf, type Reader, type StoredStream, type VersionRange } from "./read.ts"

/** A state of an aggregate with the version of its stream. */
export interface FoldedState<out State> {
  readonly state: State
  /** 0 for the initial state. */
  readonly version: number
}

/** A stream to fold. */
export interface FoldRequest<
  Type extends string,
  State,
  Payload extends Event.Tagged,
  Id,
  out Confirm extends EventPlace | undefined = EventPlace | undefined
> extends StreamKey<Type, State, Payload, Id> {
  /** The state to continue from. Default: the initial state, so that all events are folded. */
  readonly from?: FoldedState<NoInfer<State>> | undefined
  /** Highest version, inclusive. Default: the end of the stream. */
  readonly toVersion?: number | undefined
  /** The event with the version of `from`. It is read again, and `PositionDiverged` is raised if another event is there. */
  readonly confirm?: Confirm | undefined
  /** Receives each event that is folded. */
  readonly inspect?: ((envelope: Event.Envelope<Payload, Type>) => void) | undefined
}

/** A folded stream. */
export interface Folded<out State> extends FoldedState<State> {
  /** The last event that was read, even if an upcaster drops it; undefined if there was none. */
  readonly last: EventPlace | undefined
  /** Characters of the payloads that were folded, as JSON. */
  readonly characters: number
}

/** The errors of a fold, with or without an event to confirm. */
export type FoldError<Confirm = EventPlace> =
  | ReadError
  | Undecodable
  | InvalidId
  | (Confirm extends undefined ? never : PositionDiverged)

const diverged = (tenantId: TenantId, expected: EventPlace, actual: string | undefined) =>
  new PositionDiverged({
    tenantId,
    position: expected.position,
    expected: expected.eventId,
    actual: actual ?? null
  })

const charactersOf = (rows: ReadonlyArray<EventContent>): number => {
  let characters = 0
  for (const { payload } of rows) characters += payload.length
  return characters
}

export const makeFolder = (reader: Reader) => {
  /** Folds full rows: for callers that inspect the events, and for the error of an undecodable event. */
  const foldRows = <Type extends string, State, Payload extends Event.Tagged, Id>(
    { aggregate, confirm, inspect, toVersion }: FoldRequest<Type, State, Payload, Id>,
    key: StoredStream,
    from: Folded<State>
  ): Effect.Effect<Folded<State>, FoldError> => {
    let { characters, state } = from
    let last: EventRow | undefined
    const foldPage = (
      rows: ReadonlyArray<EventRow>
    ): decode.Decoded<never, Undecodable | PositionDiverged> => {
      const [first] = rows
      if (
        last === undefined &&
        first !== undefined &&
        confirm !== undefined &&
        first.eventId !== confirm.eventId
      )
        return { events: [], failure: diverged(key.tenantId, confirm, first.eventId) }
      last = rows.at(-1) ?? last
      for (const { payload, version } of rows) if (version > from.version) characters += payload.length
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
      if (last !== undefined)
        return Effect.succeed({ state, version: last.version, last: placeOf(last), characters })
      return confirm === undefined
        ? Effect.succeed(from)
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

  /** Reads version, type and payload only. Most streams have one page and need no `Stream`. */
  const foldContents = <Type extends string, State, Payload extends Event.Tagged, Id>(
    request: FoldRequest<Type, State, Payload, Id>,
    key: StoredStream,
    from: Folded<State>
  ): Effect.Effect<Folded<State>, FoldError> => {
    const { aggregate, confirm, toVersion } = request
    let reached = from
    const foldPage = ({ last, rows }: StreamPage): boolean => {
      if (last === undefined) return true
      // The state already contains the confirmed event.
      const events = rows[0]?.version === reached.version ? rows.slice(1) : rows
      const folded = decode.foldContents(aggregate, events, reached.state)
      if (folded === undefined) return false
      const characters = reached.characters + charactersOf(events)
      reached = { state: folded.state, version: last.version, last, characters }
      return true
    }
    const asRows = Effect.suspend(() => foldRows({ ...request, confirm: undefined }, key, reached))
    return Effect.flatMap(
      reader.loadStreamOnce(key, { fromVersion: confirm?.version ?? from.version + 1, toVersion }),
      (page): Effect.Effect<Folded<State>, FoldError> => {
        if (confirm !== undefined && page.firstEventId !== confirm.eventId)
          return Effect.fail(diverged(key.tenantId, confirm, page.firstEventId))
        if (!foldPage(page)) return asRows
        if (page.complete) return Effect.succeed(reached)
        return reader
          .loadStreamRest(key, { fromVersion: reached.version + 1, toVersion }, foldPage)
          .pipe(Effect.flatMap((all) => (all ? Effect.succeed(reached) : asRows)))
      }
    )
  }

  return <
    Type extends string,
    State,
    Payload extends Event.Tagged,
    Id,
    Confirm extends EventPlace | undefined = undefined
  >(
    request: FoldRequest<Type, State, Payload, Id, Confirm>
  ): Effect.Effect<Folded<State>, FoldError<Confirm>, CurrentTenant> =>
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- PositionDiverged is raised only with an event to confirm
    Effect.flatMap(currentTenant, (tenantId): Effect.Effect<Folded<State>, FoldError> => {
      const { aggregate, from, inspect } = request
      const key = storedStream(tenantId, request)
      if (Result.isFailure(key)) return Effect.fail(key.failure)
      const start: Folded<State> =
        from === undefined
          ? { state: aggregate.initial, version: 0, last: undefined, characters: 0 }
          : { state: from.state, version: from.version, last: undefined, characters: 0 }
      return inspect === undefined
        ? foldContents(request, key.success, start)
        : foldRows(request, key.success, start)
    }) as Effect.Effect<Folded<State>, FoldError<Confirm>, CurrentTenant>
}

/** How a repository loads aggregates: from the newest snapshot that fits, and from there on event by event. */
import { Effect, Result, Stream } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import type { EventContent, EventRow } from "../driver/EventStorage.ts"
import type { EventPlace, EventStore, VersionRange } from "./EventStore.ts"
import type { Undecodable, InvalidInput, ReadError } from "../driver/StoreError.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import { currentTenant } from "../domain/currentTenant.ts"
import * as decode from "./decode.ts"
import { aggregateId as encodeId } from "./encode.ts"
import { initially, isOffered, type Known, type Snapshots } from "./snapshots.ts"
import { placeOf, type Reader, readerOf, type StoredStream } from "./read.ts"

/** How much is loaded, and who looks at it. */
export interface Extent<Payload, Type extends string> {
  /** Up to which version; default: all. Then `inspectFrom` is not more than one above it. */
  readonly toVersion?: number | undefined
  /** The lowest version that is to be looked at: no snapshot that contains it is used. Default: none. */
  readonly inspectFrom?: number | undefined
  /** Sees the events that are read. */
  readonly inspect?: ((envelope: Event.Envelope<Payload, Type>) => void) | undefined
}

type LoadError = ReadError | Undecodable | InvalidInput

/** The stream is not the one that a snapshot was taken of. */
class OtherStream {
  readonly reason: "ahead" | "otherHistory"
  constructor(reason: "ahead" | "otherHistory") {
    this.reason = reason
  }
}

const isSame = (one: EventPlace, other: EventPlace): boolean =>
  one.version === other.version &&
  one.position === other.position &&
  one.eventId === other.eventId &&
  one.recordedAt === other.recordedAt

const storedStream = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  id: Id
): Effect.Effect<StoredStream, InvalidInput, CurrentTenant> =>
  Effect.flatMap(currentTenant, (tenantId) => {
    const encoded = encodeId(aggregate, id)
    return Result.isFailure(encoded)
      ? Effect.fail(encoded.failure)
      : Effect.succeed({ tenantId, aggregateType: aggregate.type, aggregateId: encoded.success })
  })

export const makeLoader = (store: EventStore["Service"], snapshots: Snapshots) => {
  const reader = readerOf(store)

  /** The same as `fold` where nobody wants the envelopes: without them, and a page that is the only one without a stream. */
  const foldRows = <Type extends string, State, Payload extends Event.Tagged, Id>(
    from: Reader,
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    key: StoredStream,
    known: Known<State>,
    range: VersionRange,
    check: EventPlace | undefined
  ): Effect.Effect<Known<State>, LoadError | OtherStream> => {
    let { state } = known
    let last: EventRow | undefined
    const foldPage = (rows: ReadonlyArray<EventRow>): decode.Decoded<never, Undecodable | OtherStream> => {
      const [first] = rows
      if (last === undefined && first !== undefined && check !== undefined && !isSame(first, check))
        return { events: [], failure: new OtherStream("otherHistory") }
      last = rows.at(-1) ?? last
      return decode.eachPayload(key.tenantId, aggregate, rows, ({ version }, payload) => {
        if (version > known.version) state = aggregate.apply(state, payload)
      })
    }
    const result = (): Effect.Effect<Known<State>, OtherStream> => {
      if (last !== undefined)
        return Effect.succeed({
          ...known,
          state,
          version: last.version,
          place: placeOf(last),
          read: known.read + last.version - known.version
        })
      return check === undefined ? Effect.succeed(known) : Effect.fail(new OtherStream("ahead"))
    }
    return Effect.flatMap(from.readStreamOnce(key, range), ({ complete, rows }) => {
      const page = foldPage(rows)
      const ended = complete || last === undefined
      if (page.failure === undefined && page.skipped?.length === 0 && ended) return result()
      const reported = decode.reportSkipped(page)
      if (page.failure !== undefined) return Effect.andThen(reported, Effect.fail(page.failure))
      if (ended || last === undefined) return Effect.andThen(reported, Effect.suspend(result))
      const rest = from.readStream(key, { ...range, fromVersion: last.version + 1 }, foldPage, true)
      return Effect.andThen(reported, Effect.flatMap(Stream.runDrain(rest), result))
    })
  }

  /**
   * The same for who takes no snapshots, and needs nothing of the events but what is folded. From the first page on that
   * is not of that kind, or has an event that is not simply folded, rows are read: they tell all about it.
   */
  const foldContents = <Type extends string, State, Payload extends Event.Tagged, Id>(
    from: Reader,
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    key: StoredStream,
    known: Known<State>,
    toVersion: number | undefined
  ): Effect.Effect<Known<State>, LoadError | OtherStream> => {
    let reached = known
    /** Whether all of a page could be folded. */
    const foldPage = (rows: ReadonlyArray<EventContent>): boolean => {
      const last = rows.at(-1)
      const folded = decode.foldContents(aggregate, rows, reached.state)
      if (last !== undefined && folded !== undefined)
        reached = { ...reached, ...folded, version: last.version, read: reached.read + rows.length }
      return folded !== undefined
    }
    const asRows = Effect.suspend(() =>
      foldRows(from, aggregate, key, reached, { fromVersion: reached.version + 1, toVersion }, undefined)
    )
    return Effect.flatMap(
      from.readContents(key, { fromVersion: known.version + 1, toVersion }),
      (page): Effect.Effect<Known<State>, LoadError | OtherStream> => {
        if (page === undefined || !foldPage(page.rows)) return asRows
        if (page.complete) return Effect.succeed(reached)
        return from
          .readAllContents(key, { fromVersion: reached.version + 1, toVersion }, foldPage)
          .pipe(Effect.flatMap((all) => (all ? Effect.succeed(reached) : asRows)))
      }
    )
  }

  /** Folds the events behind what is known. `check`: the event it was reached with must still be there; it is read again. */
  const fold = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    known: Known<State>,
    { inspect, toVersion }: Extent<Payload, Type>,
    check?: EventPlace
  ): Effect.Effect<Known<State>, LoadError | OtherStream, CurrentTenant> =>
    Effect.suspend(() => {
      let { place, state, version } = known
      let unchecked = check
      const range = { fromVersion: check?.version ?? version + 1, toVersion }
      if (reader !== undefined && inspect === undefined)
        return Effect.flatMap(storedStream(aggregate, id), (key) =>
          check === undefined && !snapshots.areUsed(aggregate.type)
            ? foldContents(reader, aggregate, key, known, toVersion)
            : foldRows(reader, aggregate, key, known, range, check)
        )
      return store.readStreamPages({ aggregate, id, ...range }).pipe(
        Stream.runForEach(({ events, first, last }) =>
          Effect.suspend(() => {
            if (unchecked !== undefined && !isSame(first, unchecked))
              return Effect.fail(new OtherStream("otherHistory"))
            unchecked = undefined
            for (const envelope of events) {
              if (envelope.version <= known.version) continue
              state = aggregate.apply(state, envelope.payload)
              inspect?.(envelope)
            }
            version = last.version
            place = last
            return Effect.void
          })
        ),
        Effect.flatMap(() =>
          unchecked === undefined
            ? Effect.succeed({
                ...known,
                state,
                version,
                place,
                read: known.read + version - known.version
              })
            : Effect.fail(new OtherStream("ahead"))
        )
      )
    })

  /** Reads on from what is known. */
  const readOn = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    known: Known<State>,
    extent: Extent<Payload, Type>
  ): Effect.Effect<Known<State>, LoadError, CurrentTenant> =>
    Effect.catchIf(
      fold(aggregate, id, known, extent),
      (error): error is OtherStream => error instanceof OtherStream,
      // only what is checked can fail so
      (error) => Effect.die(error)
    )

  /** Loads an aggregate as it is, or as it was at a version. */
  const load = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    extent: Extent<Payload, Type> = {}
  ): Effect.Effect<Known<State>, LoadError, CurrentTenant> => {
    const initial = initially(aggregate.initial)
    if (!snapshots.areUsed(aggregate.type)) return readOn(aggregate, id, initial, extent)
    return Effect.gen(function* () {
      const found = yield* snapshots.offer(aggregate, yield* storedStream(aggregate, id))
      if (!isOffered(found)) return yield* readOn(aggregate, id, { ...initial, useless: found }, extent)
      const { known, row } = found
      // It would do for another load.
      if (row.version >= (extent.inspectFrom ?? Infinity))
        return yield* readOn(aggregate, id, initial, extent)
      return yield* fold(aggregate, id, known, extent, row).pipe(
        Effect.tap(() => snapshots.hit(aggregate.type, row.version)),
        Effect.catchIf(
          (error): error is OtherStream => error instanceof OtherStream,
          ({ reason }) =>
            Effect.andThen(
              snapshots.miss(aggregate.type, reason),
              readOn(
                aggregate,
                id,
                { ...initial, useless: { version: row.version, checksum: row.checksum } },
                extent
              )
            )
        )
      )
    })
  }

  /** Takes a snapshot of what was loaded, or of what a command made of it, if it is due. */
  const consider = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    known: Known<State>,
    appended: number
  ): Effect.Effect<void, InvalidInput, CurrentTenant> =>
    snapshots.areUsed(aggregate.type)
      ? Effect.flatMap(storedStream(aggregate, id), (key) =>
          snapshots.consider(aggregate, key, known, appended)
        )
      : Effect.void

  return { load, readOn, consider }
}

/** How a repository loads. */
export type Loader = ReturnType<typeof makeLoader>

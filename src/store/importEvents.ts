/** Many events at once: in order, in chunks that are written whole or not at all, and safe to run again. */
import { Effect, Result, Stream } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import * as Event from "../domain/Event.ts"
import { CurrentEventContext } from "../domain/EventContext.ts"
import type * as EventStorage from "../driver/EventStorage.ts"
import {
  type AppendError,
  type Undecodable,
  type ExpectedVersion,
  InvalidEvent,
  InvalidInput,
  Conflict,
  EventIdConflict
} from "../driver/StoreError.ts"
import { CurrentTenant, type TenantId } from "../domain/Tenant.ts"
import * as encode from "./encode.ts"
import { currentMillis } from "../internal/clock.ts"
import type { Appended, StreamEventsOf } from "./append.ts"

/** {@link StreamEventsOf} any of some aggregates; the expected version is `"any"` if it is left out. */
export type ImportedEvents<A extends Aggregate.Any> = A extends Aggregate.Any
  ? Omit<StreamEventsOf<A>, "expectedVersion"> & { readonly expectedVersion?: ExpectedVersion | undefined }
  : never

/** Settings of an import. */
export interface ImportOptions {
  /** Events that are written together at most. Default: 1,000. */
  readonly chunkEvents?: number | undefined
  /** Runs after each chunk. */
  readonly onProgress?: ((soFar: Imported) => Effect.Effect<void>) | undefined
}

/** What an import has done. */
export interface Imported {
  /** Events that were written now. */
  readonly appended: number
  /** Events that had been written before. */
  readonly known: number
  /** The highest position of these events in the tenant's log; 0 if there are none. */
  readonly position: number
}

const defaultChunkEvents = 1000
/** Large enough to cost little a byte, small enough not to keep the tenant's lock for long. */
const chunkCharacters = 4 << 20

/** Events as they were given, with what is expected of their stream. */
type Given = StreamEventsOf<Aggregate.Any>

/** A run of events of one stream: as it was given, and ready for the driver. */
interface Piece {
  readonly given: Given
  readonly encoded: EventStorage.StreamAppend
}

/** What became of a chunk. */
interface Written {
  readonly replayed: boolean
  readonly positions: ReadonlyArray<number>
}

/** Settings of an import, and how its chunks are appended if not by the driver alone. */
export interface ImportThrough extends ImportOptions {
  readonly appendAll?:
    | ((
        streams: ReadonlyArray<Given>
      ) => Effect.Effect<
        ReadonlyArray<Appended<Event.Tagged>>,
        AppendError | InvalidInput | Undecodable,
        CurrentTenant
      >)
    | undefined
}

const charactersOf = ({ encoded: { events } }: Piece): number =>
  events.reduce((sum, { payload, metadata }) => sum + payload.length + metadata.length, 0)

const keyOf = ({ encoded: { aggregateType, aggregateId } }: Piece): string =>
  JSON.stringify([aggregateType, aggregateId])

/** What is expected of a stream holds for the first event that is given with it, and moves on with the others. */
const expectedAt = (expected: ExpectedVersion, from: number): ExpectedVersion =>
  from === 0
    ? expected
    : typeof expected === "number"
      ? expected + from
      : expected === "noStream"
        ? from
        : "any"

/** Some of the events of a piece. */
const slice = ({ given, encoded }: Piece, from: number, to: number): Piece => {
  const expectedVersion = expectedAt(encoded.expectedVersion, from)
  return {
    given: { ...given, expectedVersion, events: given.events.slice(from, to) },
    encoded: { ...encoded, expectedVersion, events: encoded.events.slice(from, to) }
  }
}

const eventsIn = (pieces: ReadonlyArray<Piece>): number =>
  pieces.reduce((sum, { encoded }) => sum + encoded.events.length, 0)

/** Two halves, in order. */
const halves = (pieces: ReadonlyArray<Piece>): readonly [ReadonlyArray<Piece>, ReadonlyArray<Piece>] => {
  let left = Math.floor(eventsIn(pieces) / 2)
  const [before, behind]: [Array<Piece>, Array<Piece>] = [[], []]
  for (const piece of pieces) {
    const count = piece.encoded.events.length
    if (left >= count) before.push(piece)
    else if (left <= 0) behind.push(piece)
    else {
      before.push(slice(piece, 0, left))
      behind.push(slice(piece, left, count))
    }
    left -= count
  }
  return [before, behind]
}

/**
 * Collects pieces. A stream that comes again, after others, begins a new chunk, so that order is kept; and so does an
 * event id, so that it is found to be known, or another event's.
 */
class Chunker {
  readonly #chunkEvents: number
  #pieces: Array<Piece> = []
  readonly #keys = new Set<string>()
  readonly #eventIds = new Set<string>()
  #events = 0
  #characters = 0

  constructor(chunkEvents: number) {
    this.#chunkEvents = chunkEvents
  }

  /** Adds a piece. Returns the chunk before it, if that is complete. */
  add(piece: Piece): ReadonlyArray<ReadonlyArray<Piece>> {
    const [key, characters] = [keyOf(piece), charactersOf(piece)]
    const { events } = piece.encoded
    const full =
      this.#keys.has(key) ||
      events.some(({ eventId }) => this.#eventIds.has(eventId)) ||
      this.#events + events.length > this.#chunkEvents ||
      this.#characters + characters > chunkCharacters
    const complete = full ? this.take() : []
    this.#pieces.push(piece)
    this.#keys.add(key)
    for (const { eventId } of events) this.#eventIds.add(eventId)
    this.#events += events.length
    this.#characters += characters
    return complete
  }

  /** What has been collected, if there is anything. */
  take(): ReadonlyArray<ReadonlyArray<Piece>> {
    const pieces = this.#pieces
    this.#pieces = []
    this.#keys.clear()
    this.#eventIds.clear()
    this.#events = 0
    this.#characters = 0
    return pieces.length === 0 ? [] : [pieces]
  }
}

/** Imports events of one tenant. */
export const importEvents = Effect.fnUntraced(function* <E, R>(
  storage: EventStorage.EventStorage["Service"],
  limits: encode.Limits,
  tenantId: TenantId,
  streams: Stream.Stream<ImportedEvents<Aggregate.Any>, E, R>,
  { chunkEvents = defaultChunkEvents, onProgress, appendAll }: ImportThrough
): Effect.fn.Return<Imported, E | AppendError | InvalidInput | Undecodable, R> {
  if (!Number.isSafeInteger(chunkEvents) || chunkEvents < 1)
    return yield* Effect.die(new RangeError("chunkEvents must be a positive integer"))
  const most = Math.min(chunkEvents, limits.appendEvents)
  const context = yield* CurrentEventContext
  let imported: Imported = { appended: 0, known: 0, position: 0 }

  const toPieces = (
    given: ImportedEvents<Aggregate.Any>
  ): Effect.Effect<ReadonlyArray<Piece>, InvalidInput> =>
    Effect.flatMap(currentMillis, (now) =>
      Effect.fromResult(
        Result.gen(function* () {
          const nameless = given.events.find(
            (event) => !(event instanceof Event.NewEvent) || event.options.eventId === undefined
          )
          if (nameless !== undefined) {
            return yield* Result.fail(
              new InvalidInput({
                reason: new InvalidEvent({
                  aggregateType: given.aggregate.type,
                  eventType: (nameless instanceof Event.NewEvent ? nameless.payload : nameless)._tag,
                  path: ["eventId"],
                  reason: "is missing: without it the import could not be run again"
                })
              })
            )
          }
          const pieces: Array<Piece> = []
          for (let from = 0; from < given.events.length; from += most) {
            const expectedVersion = expectedAt(given.expectedVersion ?? "any", from)
            const part: Given = { ...given, expectedVersion, events: given.events.slice(from, from + most) }
            const [prepared] = yield* encode.streams([part], { context, now, limits })
            if (prepared !== undefined) pieces.push({ given: part, encoded: prepared.append })
          }
          return pieces
        })
      )
    )

  const write = (
    pieces: ReadonlyArray<Piece>
  ): Effect.Effect<Written, AppendError | InvalidInput | Undecodable> =>
    appendAll === undefined
      ? storage.append({ tenantId, streams: pieces.map(({ encoded }) => encoded) })
      : Effect.map(
          Effect.provideService(appendAll(pieces.map(({ given }) => given)), CurrentTenant, tenantId),
          (appended) => ({
            replayed: appended.some(({ replayed }) => replayed),
            positions: appended.flatMap(({ events }) => events.map(({ position }) => position))
          })
        )

  /** Appends a chunk. If only some of it had been appended before, the chunks were others then: it goes by halves. */
  const append = (
    pieces: ReadonlyArray<Piece>
  ): Effect.Effect<void, AppendError | InvalidInput | Undecodable> =>
    Effect.matchEffect(write(pieces), {
      onFailure: (error) => {
        if (!(error instanceof Conflict && error.reason instanceof EventIdConflict) || eventsIn(pieces) === 1)
          return Effect.fail(error)
        const [before, behind] = halves(pieces)
        return Effect.andThen(
          append(before),
          Effect.suspend(() => append(behind))
        )
      },
      onSuccess: ({ replayed, positions }) =>
        Effect.sync(() => {
          imported = {
            appended: imported.appended + (replayed ? 0 : positions.length),
            known: imported.known + (replayed ? positions.length : 0),
            position: positions.reduce((left, right) => Math.max(left, right), imported.position)
          }
        })
    })

  yield* streams.pipe(
    Stream.mapEffect(toPieces),
    Stream.flattenIterable,
    Stream.mapAccum(
      () => new Chunker(most),
      (chunker, piece) => [chunker, chunker.add(piece)] as const,
      { onHalt: (chunker) => chunker.take() }
    ),
    // The next chunk is encoded while one is under way.
    Stream.buffer({ capacity: 1 }),
    Stream.runForEach((pieces) =>
      Effect.andThen(
        append(pieces),
        Effect.suspend(() => onProgress?.(imported) ?? Effect.void)
      )
    )
  )
  return imported
})

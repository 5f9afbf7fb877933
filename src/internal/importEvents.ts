/** Many events at once: in order, in chunks that are written whole or not at all, and safe to run again. */
import { Clock, Effect, Result, Stream } from "effect"
import type * as Aggregate from "../Aggregate.ts"
import * as Event from "../Event.ts"
import { CurrentEventContext } from "../EventContext.ts"
import type * as EventStorage from "../EventStorage.ts"
import type { Imported, ImportedEvents, ImportOptions } from "../EventStore.ts"
import { type AppendError, InvalidEvent, type InvalidInput, type ReadError } from "../StoreError.ts"
import type { TenantId } from "../Tenant.ts"
import * as encode from "./encode.ts"

const defaultChunkEvents = 1000
/** Large enough to cost little a byte, small enough not to keep the tenant's lock for long. */
const chunkCharacters = 4 << 20

/** A run of events of one stream, ready for the driver. */
type Piece = EventStorage.StreamAppend

const charactersOf = ({ events }: Piece): number =>
  events.reduce((sum, { payload, metadata }) => sum + payload.length + metadata.length, 0)

const keyOf = ({ aggregateType, aggregateId }: Piece): string => JSON.stringify([aggregateType, aggregateId])

/** Events of a piece; what is expected of the stream holds for its first event, and moves on with the others. */
const slice = (piece: Piece, from: number, to: number): Piece => {
  const { expectedVersion: expected } = piece
  return {
    ...piece,
    expectedVersion:
      from === 0
        ? expected
        : typeof expected === "number"
          ? expected + from
          : expected === "noStream"
            ? from
            : "any",
    events: piece.events.slice(from, to)
  }
}

const eventsIn = (pieces: ReadonlyArray<Piece>): number =>
  pieces.reduce((sum, { events }) => sum + events.length, 0)

/** Two halves, in order. */
const halves = (pieces: ReadonlyArray<Piece>): readonly [ReadonlyArray<Piece>, ReadonlyArray<Piece>] => {
  let left = Math.floor(eventsIn(pieces) / 2)
  const [before, behind]: [Array<Piece>, Array<Piece>] = [[], []]
  for (const piece of pieces) {
    const count = piece.events.length
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

/** Collects pieces: a stream that comes again, after others, begins a new chunk, so that order is kept. */
class Chunker {
  readonly #chunkEvents: number
  #pieces: Array<Piece> = []
  readonly #keys = new Set<string>()
  #events = 0
  #characters = 0

  constructor(chunkEvents: number) {
    this.#chunkEvents = chunkEvents
  }

  /** Adds a piece. Returns the chunk before it, if that is complete. */
  add(piece: Piece): ReadonlyArray<ReadonlyArray<Piece>> {
    const [key, characters] = [keyOf(piece), charactersOf(piece)]
    const full =
      this.#keys.has(key) ||
      this.#events + piece.events.length > this.#chunkEvents ||
      this.#characters + characters > chunkCharacters
    const complete = full ? this.take() : []
    this.#pieces.push(piece)
    this.#keys.add(key)
    this.#events += piece.events.length
    this.#characters += characters
    return complete
  }

  /** What has been collected, if there is anything. */
  take(): ReadonlyArray<ReadonlyArray<Piece>> {
    const pieces = this.#pieces
    this.#pieces = []
    this.#keys.clear()
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
  { chunkEvents = defaultChunkEvents, onProgress }: ImportOptions
): Effect.fn.Return<Imported, E | AppendError | InvalidInput | ReadError, R> {
  if (!Number.isSafeInteger(chunkEvents) || chunkEvents < 1)
    return yield* Effect.die(new RangeError("chunkEvents must be a positive integer"))
  const most = Math.min(chunkEvents, limits.appendEvents)
  const context = yield* CurrentEventContext
  let imported: Imported = { appended: 0, known: 0, position: 0 }

  const toPieces = (
    given: ImportedEvents<Aggregate.Any>
  ): Effect.Effect<ReadonlyArray<Piece>, InvalidInput> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.fromResult(
        Result.gen(function* () {
          const nameless = given.events.find(
            (event) => !(event instanceof Event.NewEvent) || event.options.eventId === undefined
          )
          if (nameless !== undefined) {
            return yield* Result.fail(
              new InvalidEvent({
                aggregateType: given.aggregate.type,
                eventType: (nameless instanceof Event.NewEvent ? nameless.payload : nameless)._tag,
                path: ["eventId"],
                reason: "is missing: without it the import could not be run again"
              })
            )
          }
          const pieces: Array<Piece> = []
          for (let from = 0; from < given.events.length; from += most) {
            const events = given.events.slice(from, from + most)
            const [prepared] = yield* encode.streams(
              [{ ...given, expectedVersion: given.expectedVersion ?? "any", events }],
              {
                context,
                now: Math.floor(now),
                limits
              }
            )
            if (prepared === undefined) continue
            const { append } = prepared
            pieces.push(
              from === 0 ? append : { ...append, expectedVersion: slice(append, from, from).expectedVersion }
            )
          }
          return pieces
        })
      )
    )

  /** Appends a chunk. If only some of it had been appended before, the chunks were others then: it goes by halves. */
  const append = (pieces: ReadonlyArray<Piece>): Effect.Effect<void, AppendError | ReadError> =>
    Effect.flatMap(storage.append([{ tenantId, streams: pieces }]), ([outcome]) => {
      if (outcome === undefined) return Effect.die(new Error("the driver gave no outcome for an append"))
      if (Result.isFailure(outcome)) {
        if (outcome.failure._tag !== "EventIdConflict" || eventsIn(pieces) === 1)
          return Effect.fail(outcome.failure)
        const [before, behind] = halves(pieces)
        return Effect.andThen(
          append(before),
          Effect.suspend(() => append(behind))
        )
      }
      const { positions, replayed } = outcome.success
      imported = {
        appended: imported.appended + (replayed ? 0 : positions.length),
        known: imported.known + (replayed ? positions.length : 0),
        position: positions.reduce((left, right) => Math.max(left, right), imported.position)
      }
      return Effect.void
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

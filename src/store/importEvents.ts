/** Imports many events in order, in chunks that are written whole or not at all. An import can be repeated. */
import { Effect, Result, Schema, Stream } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import * as Event from "../domain/Event.ts"
import { CurrentEventContext } from "../domain/EventContext.ts"
import type * as EventStorage from "../driver/EventStorage.ts"
import {
  type AppendError,
  Conflict,
  EventIdConflict,
  type ExpectedVersion,
  InvalidAggregateId,
  InvalidEvent,
  InvalidInput,
  type InvalidReason,
  LimitExceeded,
  type Undecodable,
  VersionConflict
} from "../driver/StoreError.ts"
import { CurrentTenant, type TenantId } from "../domain/Tenant.ts"
import * as encode from "./encode.ts"
import { wholeMillis } from "../internal/clock.ts"
import type { Appended, StreamEventsOf } from "./append.ts"
import { CurrentExemption } from "./exemption.ts"

/** An item of an import: events for one stream. The expected version is `"any"` by default. */
export type ImportedEvents<A extends Aggregate.Any> = A extends Aggregate.Any
  ? Omit<StreamEventsOf<A>, "expectedVersion"> & { readonly expectedVersion?: ExpectedVersion | undefined }
  : never

/** Settings of an import. */
export interface ImportOptions {
  /** Maximum number of events that are written together. Default: 1,000. */
  readonly chunkEvents?: number | undefined
  /**
   * Maximum number of refused items that do not end the import. They are listed in {@link Imported.setAside}. One more ends the
   * import with {@link ImportFailed}. Default: 0.
   */
  readonly setAsideAtMost?: number | undefined
  /** Runs after each chunk. */
  readonly onProgress?: ((soFar: Imported) => Effect.Effect<void>) | undefined
}

/** The result of an import. */
export interface Imported {
  /** Number of events that this import wrote. */
  readonly appended: number
  /** Number of events that had been stored before. */
  readonly known: number
  /** The highest position of these events in the tenant's log; 0 if there are none. */
  readonly position: number
  /** The refused items, in the order of their chunks in the input. */
  readonly setAside: ReadonlyArray<ImportFailed>
}

/** Raised when an item of an import is refused. All items before it are written, and none after it. */
export class ImportFailed extends Schema.TaggedError<ImportFailed>()("ImportFailed", {
  /** The item's number in the input: 1, 2, 3 … */
  item: Schema.Int,
  aggregateType: Schema.String,
  aggregateId: Schema.String,
  /** The id of the refused event, or of the first of several that were refused together; null if it has none. */
  eventId: Schema.NullOr(Schema.String),
  reason: Schema.Union([InvalidEvent, InvalidAggregateId, LimitExceeded, VersionConflict, EventIdConflict])
}) {
  override get message(): string {
    const { aggregateId, aggregateType, eventId, item, reason } = this
    return `item ${item} of the import (${aggregateType} ${aggregateId}, event ${eventId ?? "without an id"}) is refused: ${reason.message}`
  }
}

/** Errors of an import, besides those of its input. A conflict is the reason of an `ImportFailed`. */
export type ImportError = ImportFailed | Exclude<AppendError, Conflict | InvalidInput> | Undecodable

const defaultChunkEvents = 1000
/** Large enough for a low cost per byte, and small enough to release the tenant's lock soon. */
const chunkCharacters = 4 << 20

/** The reason for which something is no item, and the stream and event that it names. */
export interface Refused {
  readonly aggregateType: string
  readonly aggregateId: string
  readonly eventId: string | null
  readonly error: InvalidInput<InvalidEvent | InvalidAggregateId>
}

/** Events for one stream. */
type Events = StreamEventsOf<Aggregate.Any>

/** Some successive events of an item. */
interface Piece {
  readonly item: number
  readonly given: ImportedEvents<Aggregate.Any>
  /** The index of its first event among those of the item. */
  readonly from: number
  readonly encoded: EventStorage.StreamAppend
}

/** The events of a piece as they were given. */
const givenEvents = ({ encoded, from, given }: Piece): Events => ({
  ...given,
  expectedVersion: encoded.expectedVersion,
  events: given.events.slice(from, from + encoded.events.length)
})

/** Pieces to write together, and the items between them that were refused already. */
interface Chunk {
  readonly pieces: ReadonlyArray<Piece>
  readonly refused: ReadonlyArray<ImportFailed>
}

/** The result of writing pieces. */
interface Written {
  readonly replayed: boolean
  readonly positions: ReadonlyArray<number>
}

/** Settings of an import whose chunks are appended by another function. */
export interface ImportThrough extends ImportOptions {
  readonly appendAll?:
    | ((
        streams: ReadonlyArray<Events>
      ) => Effect.Effect<
        ReadonlyArray<Appended<Event.Tagged>>,
        AppendError | InvalidInput | Undecodable,
        CurrentTenant
      >)
    | undefined
}

const addCharacters = (sum: number, { payload, metadata }: EventStorage.NewEventRow): number =>
  sum + payload.length + metadata.length

const charactersOf = ({ encoded: { events } }: Piece): number => events.reduce(addCharacters, 0)

/** The expected version of the event at an index: that of the item applies to its first event. */
const expectedAt = (expected: ExpectedVersion, from: number): ExpectedVersion =>
  from === 0
    ? expected
    : typeof expected === "number"
      ? expected + from
      : expected === "noStream"
        ? from
        : "any"

/** Some of the events of a piece. */
const slice = (piece: Piece, from: number, to: number): Piece => ({
  ...piece,
  from: piece.from + from,
  encoded: {
    ...piece.encoded,
    expectedVersion: expectedAt(piece.encoded.expectedVersion, from),
    events: piece.encoded.events.slice(from, to)
  }
})

const eventsIn = (pieces: ReadonlyArray<Piece>): number =>
  pieces.reduce((sum, { encoded }) => sum + encoded.events.length, 0)

/** Splits pieces into two halves with equal numbers of events. */
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

/** The index of the piece that a version conflict may concern first; -1 for another conflict. */
const refusedPiece = (pieces: ReadonlyArray<Piece>, reason: VersionConflict | EventIdConflict): number =>
  reason instanceof VersionConflict
    ? pieces.findIndex(
        ({ encoded: { aggregateId, aggregateType, expectedVersion } }) =>
          aggregateType === reason.aggregateType &&
          aggregateId === reason.aggregateId &&
          Object.is(expectedVersion, reason.expected)
      )
    : -1

const eventIdOf = (event: Event.Appendable<Event.Tagged> | undefined): string | null =>
  event instanceof Event.NewEvent ? (event.options.eventId ?? null) : null

const hasNoId = (event: Event.Appendable<Event.Tagged>): boolean => eventIdOf(event) === null

/** The id of an item, which may be invalid, for its error. */
const displayedId = ({ aggregate, id }: Pick<Events, "aggregate" | "id">): string =>
  Result.getOrElse(encode.aggregateId(aggregate, id), () => String(id))

/** An item that is refused before anything of it is written. */
const refusedItemOf = (
  given: Pick<Events, "aggregate" | "id">,
  item: number,
  reason: InvalidReason,
  event: Event.Appendable<Event.Tagged> | undefined
): ImportFailed =>
  new ImportFailed({
    item,
    aggregateType: given.aggregate.type,
    aggregateId: displayedId(given),
    eventId: eventIdOf(event),
    reason
  })

const none: ReadonlyArray<Chunk> = []

/**
 * Collects pieces into chunks. A repeated event id begins a new chunk, so that the store recognises it or reports a conflict.
 * If no item may be set aside, a refused item ends its chunk, so that everything before it is written.
 */
class Chunker {
  readonly #chunkEvents: number
  readonly #refusedEnds: boolean
  #pieces: Array<Piece> = []
  #refused: Array<ImportFailed> = []
  readonly #eventIds = new Set<string>()
  #events = 0
  #characters = 0

  constructor(chunkEvents: number, refusedEnds: boolean) {
    this.#chunkEvents = chunkEvents
    this.#refusedEnds = refusedEnds
  }

  /** Adds a piece or a refused item. Returns the chunks that are now complete. */
  add(piece: Piece | ImportFailed): ReadonlyArray<Chunk> {
    if (piece instanceof ImportFailed) {
      this.#refused.push(piece)
      return this.#refusedEnds || this.#refused.length >= this.#chunkEvents ? this.take() : []
    }
    const characters = charactersOf(piece)
    const { events } = piece.encoded
    let full =
      this.#events + events.length > this.#chunkEvents || this.#characters + characters > chunkCharacters
    for (const { eventId } of events) full ||= this.#eventIds.has(eventId)
    const complete = full ? this.take() : none
    this.#pieces.push(piece)
    for (const { eventId } of events) this.#eventIds.add(eventId)
    this.#events += events.length
    this.#characters += characters
    return complete
  }

  /** The collected chunk, if it is not empty. */
  take(): ReadonlyArray<Chunk> {
    const chunk: Chunk = { pieces: this.#pieces, refused: this.#refused }
    this.#pieces = []
    this.#refused = []
    this.#eventIds.clear()
    this.#events = 0
    this.#characters = 0
    return chunk.pieces.length + chunk.refused.length === 0 ? [] : [chunk]
  }
}

/** Imports events of one tenant. */
export const importEvents = Effect.fnUntraced(function* <Item, E, R>(
  storage: EventStorage.EventStorage["Service"],
  limits: encode.Limits,
  tenantId: TenantId,
  items: Stream.Stream<Item, E, R>,
  /** Reads an item. */
  read: (item: Item) => Result.Result<ImportedEvents<Aggregate.Any>, Refused>,
  { appendAll, chunkEvents = defaultChunkEvents, onProgress, setAsideAtMost = 0 }: ImportThrough
): Effect.fn.Return<Imported, E | ImportError, R> {
  if (!Number.isSafeInteger(chunkEvents) || chunkEvents < 1)
    return yield* Effect.die(new RangeError("chunkEvents must be a positive integer"))
  if (!Number.isSafeInteger(setAsideAtMost) || setAsideAtMost < 0)
    return yield* Effect.die(new RangeError("setAsideAtMost must be an integer, 0 or more"))
  const maxEvents = Math.min(chunkEvents, limits.appendEvents)
  const context = yield* CurrentEventContext
  const services = yield* Effect.context()
  const setAside: Array<ImportFailed> = []
  let imported: Imported = { appended: 0, known: 0, position: 0, setAside }
  /** The last refused item. Its remaining events are not written. */
  let refusedItem = 0

  const shared = { context, limits, seals: storage.seals === true }
  const encodeEvents = (
    { aggregate, id }: Pick<Events, "aggregate" | "id">,
    events: Events["events"],
    expectedVersion: ExpectedVersion,
    now: number
  ) => encode.streams([{ aggregate, id, expectedVersion, events }], { ...shared, now })

  // Without functions of its own, because it runs for every item.
  const toPieces = (value: Item, item: number, now: number): ReadonlyArray<Piece | ImportFailed> => {
    const found = read(value)
    if (Result.isFailure(found)) {
      const { error, ...place } = found.failure
      return [new ImportFailed({ item, ...place, reason: error.reason })]
    }
    const given = found.success
    const withoutId = given.events.find(hasNoId)
    if (withoutId !== undefined) {
      const reason = new InvalidEvent({
        aggregateType: given.aggregate.type,
        eventType: (withoutId instanceof Event.NewEvent ? withoutId.payload : withoutId)._tag,
        path: ["eventId"],
        reason: "is missing: without it the import cannot be repeated"
      })
      return [refusedItemOf(given, item, reason, withoutId)]
    }
    const pieces: Array<Piece> = []
    for (let from = 0; from < given.events.length; from += maxEvents) {
      const expectedVersion = expectedAt(given.expectedVersion ?? "any", from)
      const events =
        given.events.length <= maxEvents ? given.events : given.events.slice(from, from + maxEvents)
      const prepared = encodeEvents(given, events, expectedVersion, now)
      if (Result.isFailure(prepared)) {
        // The refused event is the first one that is also refused alone.
        const refused = events.find((event) =>
          Result.isFailure(encodeEvents(given, [event], expectedVersion, now))
        )
        return [refusedItemOf(given, item, prepared.failure.reason, refused ?? events[0])]
      }
      const [only] = prepared.success
      if (only !== undefined) pieces.push({ item, given, from, encoded: only.append })
    }
    return pieces
  }

  const write = (
    pieces: ReadonlyArray<Piece>
  ): Effect.Effect<Written, AppendError | InvalidInput | Undecodable> =>
    appendAll === undefined
      ? storage.append({ tenantId, streams: pieces.map(({ encoded }) => encoded), exempt: true })
      : Effect.map(
          appendAll(pieces.map(givenEvents)).pipe(
            Effect.provideService(CurrentTenant, tenantId),
            Effect.provideService(CurrentExemption, true)
          ),
          (appended) => ({
            replayed: appended.some(({ replayed }) => replayed),
            positions: appended.flatMap(({ events }) => events.map(({ position }) => position))
          })
        )

  const refuse = (refused: ImportFailed): Effect.Effect<void, ImportFailed> =>
    Effect.suspend(() => {
      refusedItem = refused.item
      if (setAside.length === setAsideAtMost) return Effect.fail(refused)
      setAside.push(refused)
      return Effect.void
    })

  const refusePiece = ({ encoded, item }: Piece, reason: ImportFailed["reason"]) =>
    refuse(
      new ImportFailed({
        item,
        aggregateType: encoded.aggregateType,
        aggregateId: encoded.aggregateId,
        eventId: encoded.events[0]?.eventId ?? null,
        reason
      })
    )

  /**
   * Appends pieces in order. If one is refused, those before and after it are appended separately. If only some of the events
   * are stored already, an earlier run used other chunks; the pieces are then appended by halves.
   */
  const append = (given: ReadonlyArray<Piece>): Effect.Effect<void, ImportError> =>
    Effect.suspend(() => {
      const pieces = given.filter(({ item }) => item !== refusedItem)
      const [first] = pieces
      if (first === undefined) return Effect.void
      const inTurn = (parts: ReadonlyArray<ReadonlyArray<Piece>>) =>
        Effect.forEach(parts, append, { discard: true })
      return Effect.matchEffect(write(pieces), {
        onFailure: (error): Effect.Effect<void, ImportError> => {
          if (error instanceof InvalidInput) return refusePiece(first, error.reason)
          if (!(error instanceof Conflict)) return Effect.fail(error)
          const { reason } = error
          if (!(reason instanceof VersionConflict || reason instanceof EventIdConflict))
            return Effect.die(error)
          if (eventsIn(pieces) === 1 || (pieces.length === 1 && reason instanceof VersionConflict))
            return refusePiece(first, reason)
          const at = refusedPiece(pieces, reason)
          return at < 0
            ? inTurn(halves(pieces))
            : inTurn([pieces.slice(0, at), pieces.slice(at, at + 1), pieces.slice(at + 1)])
        },
        onSuccess: ({ replayed, positions }) =>
          Effect.sync(() => {
            imported = {
              appended: imported.appended + (replayed ? 0 : positions.length),
              known: imported.known + (replayed ? positions.length : 0),
              position: positions.reduce((left, right) => Math.max(left, right), imported.position),
              setAside
            }
          })
      })
    })

  const chunker = new Chunker(maxEvents, setAsideAtMost === 0)
  let item = 0
  const chunksOf = function* (given: ReadonlyArray<Item>): Generator<Chunk> {
    const now = wholeMillis(services)
    for (const one of given) for (const piece of toPieces(one, ++item, now)) yield* chunker.add(piece)
  }

  yield* items.pipe(
    // Several operators for each item would take longer than encoding it.
    Stream.mapArray((given) => [given]),
    Stream.flatMap((given) => Stream.fromIterable(chunksOf(given), { chunkSize: 1 })),
    Stream.concat(Stream.suspend(() => Stream.fromIterable(chunker.take()))),
    // While one chunk is being written, the next one is encoded.
    Stream.buffer({ capacity: 1 }),
    Stream.runForEach(({ pieces, refused }) =>
      append(pieces).pipe(
        Effect.andThen(Effect.forEach(refused, refuse, { discard: true })),
        Effect.andThen(
          Effect.suspend(() => onProgress?.({ ...imported, setAside: [...setAside] }) ?? Effect.void)
        )
      )
    )
  )
  return { ...imported, setAside: [...setAside] }
})

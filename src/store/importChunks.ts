/** The events of an import in chunks that are written whole or not at all. */
import { Schema } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as EventStorage from "../driver/EventStorage.ts"
import {
  EventIdConflict,
  type ExpectedVersion,
  InvalidAggregateId,
  InvalidEvent,
  LimitExceeded,
  VersionConflict
} from "../driver/StoreError.ts"
import type { StreamEventsOf } from "./append.ts"

/** An item of an import: events for one stream. The expected version is `"any"` by default. */
export type ImportedEvents<A extends Aggregate.Any> = A extends Aggregate.Any
  ? Omit<StreamEventsOf<A>, "expectedVersion"> & { readonly expectedVersion?: ExpectedVersion | undefined }
  : never

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

/** Large enough for a low cost per byte, and small enough to release the tenant's lock soon. */
const chunkCharacters = 4 << 20

/** Events for one stream. */
export type Events = StreamEventsOf<Aggregate.Any>

/** Some successive events of an item. */
export interface Piece {
  readonly item: number
  readonly given: ImportedEvents<Aggregate.Any>
  /** The index of its first event among those of the item. */
  readonly from: number
  readonly encoded: EventStorage.StreamAppend
}

/** Pieces to write together, and the items between them that were refused already. */
export interface Chunk {
  readonly pieces: ReadonlyArray<Piece>
  readonly refused: ReadonlyArray<ImportFailed>
}

const addCharacters = (sum: number, { payload, metadata }: EventStorage.NewEventRow): number =>
  sum + payload.length + metadata.length

const charactersOf = ({ encoded: { events } }: Piece): number => events.reduce(addCharacters, 0)

/** The expected version of the event at an index: that of the item applies to its first event. */
export const expectedAt = (expected: ExpectedVersion, from: number): ExpectedVersion =>
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

export const eventsIn = (pieces: ReadonlyArray<Piece>): number =>
  pieces.reduce((sum, { encoded }) => sum + encoded.events.length, 0)

/** Splits pieces into two halves with equal numbers of events. */
export const halves = (
  pieces: ReadonlyArray<Piece>
): readonly [ReadonlyArray<Piece>, ReadonlyArray<Piece>] => {
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

const none: ReadonlyArray<Chunk> = []

/**
 * Collects pieces into chunks. A repeated event id begins a new chunk, so that the store recognises it or reports a conflict.
 * If no item may be set aside, a refused item ends its chunk, so that everything before it is written.
 */
export class Chunker {
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

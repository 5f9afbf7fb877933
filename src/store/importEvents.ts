/** Imports many events in order, in chunks that are written whole or not at all. An import can be repeated. */
import { Effect, Result, Stream } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import * as Event from "../domain/Event.ts"
import { CurrentEventContext } from "../domain/EventContext.ts"
import type * as EventStorage from "../driver/EventStorage.ts"
import {
  type AppendError,
  Conflict,
  EventIdConflict,
  type ExpectedVersion,
  type InvalidAggregateId,
  InvalidEvent,
  InvalidInput,
  type InvalidReason,
  type Undecodable,
  VersionConflict
} from "../driver/StoreError.ts"
import { CurrentTenant, type TenantId } from "../domain/Tenant.ts"
import * as encode from "./encode.ts"
import { wholeMillis } from "../internal/clock.ts"
import type { Appended } from "./append.ts"
import {
  type Chunk,
  Chunker,
  type Events,
  eventsIn,
  expectedAt,
  halves,
  type ImportedEvents,
  ImportFailed,
  type Piece
} from "./importChunks.ts"
import { ImportedVersions } from "./importedVersions.ts"
import { CurrentExemption } from "./exemption.ts"

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

/** Errors of an import, besides those of its input. A conflict is the reason of an `ImportFailed`. */
export type ImportError = ImportFailed | Exclude<AppendError, Conflict | InvalidInput> | Undecodable

const defaultChunkEvents = 1000
/** The reason for which something is no item, and the stream and event that it names. */
export interface Refused {
  readonly aggregateType: string
  readonly aggregateId: string
  readonly eventId: string | null
  readonly error: InvalidInput<InvalidEvent | InvalidAggregateId>
}

/** The events of a piece as they were given. */
const givenEvents = ({ encoded, from, given }: Piece): Events => ({
  ...given,
  expectedVersion: encoded.expectedVersion,
  events: given.events.slice(from, from + encoded.events.length)
})

/** The result of writing pieces. */
type Written = Pick<EventStorage.AppendReceipt, "replayed" | "positions">

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

  const versions = new ImportedVersions()

  const write = (
    pieces: ReadonlyArray<Piece>
  ): Effect.Effect<Written, AppendError | InvalidInput | Undecodable> =>
    appendAll === undefined
      ? versions.append(storage, { tenantId, streams: pieces.map(({ encoded }) => encoded), exempt: true })
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

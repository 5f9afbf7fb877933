/** Reads rows of a stream or of a tenant's log page by page and decodes them. */
import { type DateTime, Effect, Scope, Stream } from "effect"
import type * as Event from "../domain/Event.ts"
import type * as EventStorage from "../driver/EventStorage.ts"
import type { ReadError } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type * as decode from "./decode.ts"
import { maxVersion } from "./encode.ts"
import * as eventQuery from "./queryTerms.ts"
import { paged } from "./pages.ts"
import type * as EventQuery from "../domain/EventQuery.ts"

/** The limit and direction of a read. */
export interface ReadOptions {
  /** Default: forwards. */
  readonly direction?: EventStorage.Direction | undefined
  /** Maximum number of events. Default: all. */
  readonly limit?: number | undefined
}

/** A range of versions, both ends inclusive. Default: the whole stream. */
export interface VersionRange {
  readonly fromVersion?: number | undefined
  readonly toVersion?: number | undefined
}

/** A selection of events of a tenant's log. They must meet all given criteria; an empty list of types selects nothing. */
export interface LogRange {
  /** Lowest position, inclusive. Default: 1. */
  readonly fromPosition?: number | undefined
  /** Highest position, inclusive. Default: the end of the log. */
  readonly toPosition?: number | undefined
  /** Earliest recorded time, inclusive. */
  readonly recordedFrom?: DateTime.Utc | undefined
  /** Latest recorded time, exclusive. */
  readonly recordedBefore?: DateTime.Utc | undefined
  /** Event types (`_tag`s). Default: all. */
  readonly eventTypes?: ReadonlyArray<string> | undefined
  /** A query that the events must match. */
  readonly query?: EventQuery.Any | undefined
  /**
   * The stored id of the aggregate, of any type. There is no index for it; see `correlationId`. For one stream use
   * `EventStore.readStream` or `EventStore.readStreamJson`.
   */
  readonly aggregateId?: string | undefined
  /**
   * The correlation id. There is no index for it, as each index costs every append: the whole range is searched, which takes
   * one to three seconds per million events, in steps of 50,000 positions, up to the head of the log at the beginning. Narrow the
   * range where you can: if the id is that of an event, nothing before its position (`EventStore.eventPosition`) follows from it.
   */
  readonly correlationId?: string | undefined
}

/** The key of a stream for the driver. */
export interface StoredStream {
  readonly tenantId: TenantId
  readonly aggregateType: string
  readonly aggregateId: string
}

/** Ends the reading of a fold that needs full rows. */
const givenUp = { _tag: "GivenUp" } as const

type DecodePage<A, E> = (rows: ReadonlyArray<EventStorage.EventRow>) => decode.Decoded<A, E>

export const makeReader = (storage: EventStorage.EventStorage["Service"], pageSize: number) => {
  return {
    readStream: <A, E>(
      key: StoredStream,
      range: VersionRange & ReadOptions,
      decodePage: DecodePage<A, E>,
      /** Reads ahead from the first page on. Default: from the second. */
      prefetchFirstPage = false
    ): Stream.Stream<A, ReadError | E> => {
      const { direction = "forwards", limit } = range
      const { fromVersion, toVersion } = versions(range)
      checkIntegers({ limit })
      return paged({
        start: direction === "forwards" ? fromVersion : toVersion,
        pageSize,
        limit,
        read: (cursor, size) =>
          storage.readStream({
            ...key,
            fromVersion: direction === "forwards" ? cursor : fromVersion,
            toVersion: direction === "forwards" ? toVersion : cursor,
            direction,
            limit: size
          }),
        next: (last) => (direction === "forwards" ? last.version + 1 : last.version - 1),
        decode: decodePage,
        prefetchFirstPage
      })
    },

    /** The first page of a stream, forwards. Most streams have only one and need no `Stream`. */
    readStreamOnce: (
      key: StoredStream,
      range: VersionRange
    ): Effect.Effect<EventStorage.Page<EventStorage.EventRow>, ReadError> =>
      storage.readStream({ ...key, ...versions(range), direction: "forwards", limit: pageSize }),

    /** The first page of a stream, to be folded. Most streams have only one and need no `Stream`. */
    loadStreamOnce: (
      key: StoredStream,
      range: VersionRange
    ): Effect.Effect<EventStorage.StreamPage, ReadError> =>
      storage.loadStream({ ...key, ...versions(range), limit: pageSize }),

    /** Folds the pages after the first, reading ahead. Returns false if `foldPage` does. */
    loadStreamRest: (
      key: StoredStream,
      range: VersionRange,
      foldPage: (page: EventStorage.StreamPage) => boolean
    ): Effect.Effect<boolean, ReadError> => {
      const { fromVersion, toVersion } = versions(range)
      return paged({
        start: fromVersion,
        pageSize,
        read: (cursor, limit) => storage.loadStream({ ...key, fromVersion: cursor, toVersion, limit }),
        next: (last) => last.version + 1,
        decode: (_, page) => ({ events: [], failure: foldPage(page) ? undefined : givenUp }),
        prefetchFirstPage: true
      }).pipe(
        Stream.runDrain,
        Effect.as(true),
        Effect.catchTag("GivenUp", () => Effect.succeed(false))
      )
    },

    readLog: <A, E>(
      tenantId: TenantId,
      /** The aggregate types and the stored event types. */
      types: Pick<EventStorage.ReadLogRequest, "aggregateTypes" | "eventTypes">,
      range: LogRange & ReadOptions,
      decodePage: DecodePage<A, E>,
      /** True for events to return. Default: all. */
      keep?: (event: A) => boolean
    ): Stream.Stream<A, ReadError | E> => {
      const { direction = "forwards", limit } = range
      const { fromPosition, toPosition } = positions(range)
      checkIntegers({ limit })
      const { aggregateId, correlationId } = range
      const given = range.query === undefined ? undefined : eventQuery.toStorage(range.query)
      const isSearch = aggregateId !== undefined || correlationId !== undefined
      const query = isSearch ? eventQuery.withIds(given, { aggregateId, correlationId }) : given
      const selection = {
        tenantId,
        recordedFrom: range.recordedFrom?.epochMilliseconds,
        recordedBefore: range.recordedBefore?.epochMilliseconds,
        aggregateTypes: eventQuery.aggregateTypes(range.query, types.aggregateTypes),
        eventTypes: types.eventTypes,
        query
      }
      const read = (
        from: number,
        to: number,
        size: number
      ): Effect.Effect<EventStorage.Page<EventStorage.EventRow>, ReadError> =>
        storage.readLog({ ...selection, fromPosition: from, toPosition: to, direction, limit: size })
      /** Reads the first page with events, step by step, so that no statement takes long. */
      const search = (
        from: number,
        to: number,
        size: number
      ): Effect.Effect<EventStorage.Page<EventStorage.EventRow>, ReadError> => {
        const [low, high] =
          direction === "forwards"
            ? [from, Math.min(to, from + searchedPositions - 1)]
            : [Math.max(from, to - searchedPositions + 1), to]
        const isLast = low <= from && high >= to
        return Effect.flatMap(read(low, high, size), (page) => {
          if (isLast) return Effect.succeed(page)
          if (page.rows.length > 0) return Effect.succeed({ ...page, complete: false })
          return direction === "forwards" ? search(high + 1, to, size) : search(from, low - 1, size)
        })
      }
      let end: number | undefined
      const upTo = Effect.suspend(() =>
        end === undefined
          ? Effect.map(storage.head({ tenantId }), ({ position }) => (end = Math.min(position, toPosition)))
          : Effect.succeed(end)
      )
      const readPage: ReadPage = (cursor, size) => {
        if (isSearch)
          return Effect.flatMap(upTo, (last) =>
            direction === "forwards"
              ? search(cursor, last, size)
              : search(fromPosition, Math.min(cursor, last), size)
          )
        return direction === "forwards" ? read(cursor, toPosition, size) : read(fromPosition, cursor, size)
      }
      const pages = (source: Pages) =>
        paged({
          ...source,
          start: direction === "forwards" ? fromPosition : toPosition,
          pageSize,
          limit,
          next: (last) => (direction === "forwards" ? last.position + 1 : last.position - 1),
          decode: (rows) => {
            const page = decodePage(rows)
            return keep === undefined ? page : { ...page, events: page.events.filter(keep) }
          }
        })
      if (isSearch || direction === "backwards" || (limit ?? Infinity) < Infinity)
        return pages({ read: readPage })
      const open = (cursor: number) => storage.openLog({ ...selection, fromPosition: cursor, toPosition })
      return Stream.unwrap(Effect.map(Effect.scope, (scope) => pages(openedAtSecond(scope, readPage, open))))
    }
  }
}

/** Positions that one statement of a search reads: some 50 milliseconds. */
const searchedPositions = 50_000

type ReadPage = (
  cursor: number,
  size: number
) => Effect.Effect<EventStorage.Page<EventStorage.EventRow>, ReadError>

interface Pages {
  readonly read: ReadPage
  readonly isReadAhead?: () => boolean
}

/** Reads the first page alone. A caller that wants a second page probably wants all, which the driver may read ahead. */
const openedAtSecond = (
  scope: Scope.Scope,
  readPage: ReadPage,
  open: (cursor: number) => Effect.Effect<EventStorage.LogReader | undefined, ReadError, Scope.Scope>
): Pages => {
  let pages = 0
  let reader: EventStorage.LogReader | undefined
  return {
    isReadAhead: () => reader !== undefined,
    read: (cursor, size) => {
      if (++pages !== 2) return reader === undefined ? readPage(cursor, size) : reader.next(size)
      return Effect.flatMap(Scope.provide(open(cursor), scope), (opened) => {
        reader = opened
        return opened === undefined ? readPage(cursor, size) : opened.next(size)
      })
    }
  }
}

/** The read functions of the typed store. */
export type Reader = ReturnType<typeof makeReader>

/** Checks ends of ranges and limits: integers, or infinity for no end. Any other number is a defect. */
export const checkIntegers = (numbers: Readonly<Record<string, number | undefined>>): void => {
  for (const [name, value] of Object.entries(numbers)) {
    if (value !== undefined && !Number.isInteger(value) && Math.abs(value) !== Infinity)
      throw new RangeError(`${name} must be an integer`)
  }
}

/** The nearest number that a driver accepts; it selects the same events. */
const within = (value: number, highest: number): number => Math.min(Math.max(value, 0), highest)

const versions = ({
  fromVersion = 1,
  toVersion = maxVersion
}: VersionRange): { readonly fromVersion: number; readonly toVersion: number } => {
  checkIntegers({ fromVersion, toVersion })
  return { fromVersion: within(fromVersion, maxVersion), toVersion: within(toVersion, maxVersion) }
}

const positions = ({
  fromPosition = 1,
  toPosition = maxPosition
}: LogRange): { readonly fromPosition: number; readonly toPosition: number } => {
  checkIntegers({ fromPosition, toPosition })
  return { fromPosition: within(fromPosition, maxPosition), toPosition: within(toPosition, maxPosition) }
}

/** The position of a cursor, in the range that drivers accept. */
export const wholePosition = (position: number): number => {
  checkIntegers({ position })
  return within(position, maxPosition)
}

const maxPosition = Number.MAX_SAFE_INTEGER

/** Selects events after decoding: an upcaster may turn one stored type into several. */
export const eventFilter = ({
  eventTypes,
  query
}: LogRange): ((envelope: Event.Envelope<Event.Tagged>) => boolean) | undefined =>
  eventTypes === undefined && query === undefined
    ? undefined
    : (envelope) =>
        (eventTypes === undefined || eventTypes.includes(envelope.payload._tag)) &&
        (query === undefined || query.matches(envelope))

export const placeOf = ({
  eventId,
  position,
  recordedAt,
  version
}: EventStorage.EventRow): EventStorage.EventPlace => ({ version, position, eventId, recordedAt })

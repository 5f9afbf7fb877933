/**
 * The event store: typed events in, typed events out, always of the current tenant.
 */
import { Clock, Context, DateTime, Effect, Layer, Result, type Schema, Stream } from "effect"
import type * as Aggregate from "./Aggregate.ts"
import type * as Event from "./Event.ts"
import { CurrentEventContext } from "./EventContext.ts"
import * as EventStorage from "./EventStorage.ts"
import { currentTenant } from "./internal/currentTenant.ts"
import * as decode from "./internal/decode.ts"
import { CurrentDerivedIds, deriveIds } from "./internal/derivedIds.ts"
import * as encode from "./internal/encode.ts"
import { importEvents } from "./internal/importEvents.ts"
import { isExpected } from "./internal/expectedVersion.ts"
import { paged } from "./internal/paged.ts"
import { recordAccess } from "./internal/tenants.ts"
import {
  type AppendError,
  type DecodeError,
  type ExpectedVersion,
  type InvalidInput,
  type ReadError,
  type StorageUnavailable,
  VersionConflict
} from "./StoreError.ts"
import type { AllTenants, CurrentTenant, TenantId } from "./Tenant.ts"

/** Events for one stream. */
export interface StreamEvents<Type extends string, State, Payload extends Event.Tagged, Id> {
  readonly aggregate: Aggregate.Aggregate<Type, State, Payload, Id>
  readonly id: Id
  /** The version the stream must have; `"any"` to append whatever it is. */
  readonly expectedVersion: ExpectedVersion
  // NoInfer around it all: inside of the union it would refuse literals with a field of several types.
  readonly events: ReadonlyArray<NoInfer<Event.Appendable<Payload>>>
}

/** {@link StreamEvents} of an aggregate. */
// Not in terms of StreamEvents: from a conditional type, aggregates could not be inferred.
export interface StreamEventsOf<A extends Aggregate.Any> {
  readonly aggregate: A
  readonly id: Aggregate.IdOf<A>
  readonly expectedVersion: ExpectedVersion
  readonly events: ReadonlyArray<Event.Appendable<Aggregate.EventOf<A>>>
}

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

/** The outcome of an append. */
export interface Appended<out Payload, out Type extends string = string> {
  /** The stream's version after the append. */
  readonly version: number
  /** The position of the last of the events in the tenant's log; the log's head if there was nothing to append. */
  readonly position: number
  /** The events as they are stored. */
  readonly events: ReadonlyArray<Event.Envelope<Payload, Type>>
  /** Whether the same events had been appended before: then this is the first outcome, and nothing was written. */
  readonly replayed: boolean
}

/** {@link Appended} of an aggregate. */
export type AppendedOf<A> =
  A extends Aggregate.Aggregate<infer Type, infer _State, infer Payload, infer _Id>
    ? Appended<Payload, Type>
    : never

/** Envelopes of the events of an aggregate. */
export type EnvelopeOf<A> =
  A extends Aggregate.Aggregate<infer Type, infer _State, infer Payload, infer _Id>
    ? Event.Envelope<Payload, Type>
    : never

/** Identifies a stream. */
export interface StreamKey<Type extends string, State, Payload extends Event.Tagged, Id> {
  readonly aggregate: Aggregate.Aggregate<Type, State, Payload, Id>
  readonly id: Id
}

/** How much is read, and in which direction. */
export interface ReadOptions {
  /** Default: forwards. */
  readonly direction?: EventStorage.Direction | undefined
  /** At most this many events. Default: all. */
  readonly limit?: number | undefined
}

/** A range of versions, both ends inclusive. Default: the whole stream. */
export interface VersionRange {
  readonly fromVersion?: number | undefined
  readonly toVersion?: number | undefined
}

/** What of a tenant's log is read. Everything that is given must hold; an empty list of types selects nothing. */
export interface LogRange {
  /** Lowest position, inclusive. Default: 1. */
  readonly fromPosition?: number | undefined
  /** Highest position, inclusive. Default: the end. */
  readonly toPosition?: number | undefined
  /** Recorded at this time or later. */
  readonly recordedFrom?: DateTime.Utc | undefined
  /** Recorded before this time. */
  readonly recordedBefore?: DateTime.Utc | undefined
  /** Event types (`_tag`s). Default: all. */
  readonly eventTypes?: ReadonlyArray<string> | undefined
}

/** A tenant and the head of its log. */
export interface TenantHead {
  readonly tenantId: TenantId
  readonly status: EventStorage.TenantStatus
  readonly createdAt: DateTime.Utc
  /** The last position of its log; 0 if it is empty. */
  readonly position: number
}

/** A place in the logs of all tenants: behind this position of this tenant. */
export interface AllLogsCursor {
  readonly tenantId: TenantId
  readonly position: number
}

/**
 * The event store.
 *
 * **Details**
 *
 * Every method on a tenant's data has `CurrentTenant` in its requirements. Streams page through with bounded memory and
 * read on only as fast as they are consumed.
 */
export class EventStore extends Context.Service<
  EventStore,
  {
    /**
     * Appends events to one stream. All are written, or none.
     *
     * **Details**
     *
     * Appending the same events (by event id) with the same content again yields the first outcome again, whatever
     * version is expected: a retry after a lost answer is safe. Content is stream, type, schema version, payload and
     * metadata. With no events, only the expected version is checked.
     */
    readonly append: <Type extends string, State, Payload extends Event.Tagged, Id>(
      events: StreamEvents<Type, State, Payload, Id>
    ) => Effect.Effect<Appended<Payload, Type>, AppendError | InvalidInput | DecodeError, CurrentTenant>
    /** Appends events to several streams of the tenant, each stream once. All are written, or none. */
    readonly appendAll: <const As extends ReadonlyArray<Aggregate.Any>>(streams: {
      readonly [K in keyof As]: StreamEventsOf<As[K]>
    }) => Effect.Effect<
      { readonly [K in keyof As]: AppendedOf<As[K]> },
      AppendError | InvalidInput | DecodeError,
      CurrentTenant
    >
    /**
     * Appends many events to any streams of the tenant, in the given order, in chunks: for imports. Each chunk is written
     * whole or not at all.
     *
     * **Details**
     *
     * Every event needs an id of its own (`Event.make`). So the import can be run again, from the beginning, after
     * whatever stopped it: events that are there already are passed over. A stream may come several times; what is
     * expected of its version holds for the first event given with it. At the first event that is refused the import
     * fails; what comes before the chunk it is in is written, and may be more.
     */
    readonly importEvents: <A extends Aggregate.Any, E, R>(
      events: Stream.Stream<ImportedEvents<A>, E, R>,
      options?: ImportOptions
    ) => Effect.Effect<Imported, E | AppendError | InvalidInput, R | CurrentTenant>
    /** The events of a stream. Empty if there are none. */
    readonly readStream: <Type extends string, State, Payload extends Event.Tagged, Id>(
      request: StreamKey<Type, State, Payload, Id> & VersionRange & ReadOptions
    ) => Stream.Stream<Event.Envelope<Payload, Type>, ReadError | DecodeError | InvalidInput, CurrentTenant>
    /** The events of the given aggregates in the tenant's log, in its order. */
    readonly readLog: <const As extends ReadonlyArray<Aggregate.Any>>(
      request: { readonly aggregates: As } & LogRange & ReadOptions
    ) => Stream.Stream<EnvelopeOf<As[number]>, ReadError | DecodeError, CurrentTenant>
    /** The tenant's log with payloads as the JSON they are stored in: for audits, exports and tools. */
    readonly readLogJson: (
      request: { readonly aggregateTypes?: ReadonlyArray<string> | undefined } & LogRange & ReadOptions
    ) => Stream.Stream<Event.Envelope<Schema.Json>, ReadError, CurrentTenant>
    /** The version of a stream; 0 if it has no events. */
    readonly version: <Type extends string, State, Payload extends Event.Tagged, Id>(
      key: StreamKey<Type, State, Payload, Id>
    ) => Effect.Effect<number, ReadError | InvalidInput, CurrentTenant>
    /** Whether a stream has events. */
    readonly exists: <Type extends string, State, Payload extends Event.Tagged, Id>(
      key: StreamKey<Type, State, Payload, Id>
    ) => Effect.Effect<boolean, ReadError | InvalidInput, CurrentTenant>
    /** The last position of the tenant's log; 0 if it is empty. */
    readonly position: Effect.Effect<number, ReadError, CurrentTenant>
    /** All tenants with the heads of their logs, ordered by id. Every run is written to the audit trail. */
    readonly tenants: Stream.Stream<TenantHead, StorageUnavailable, AllTenants>
    /**
     * The logs of all tenants, tenant by tenant, each in its order, with payloads as JSON. Every run is written to the
     * audit trail.
     */
    readonly readAllLogsJson: (request?: {
      /** Read on behind this place. */
      readonly after?: AllLogsCursor | undefined
    }) => Stream.Stream<Event.Envelope<Schema.Json>, StorageUnavailable, AllTenants>
  }
>()("effect-eventsourcing/EventStore") {}

/** Settings of {@link layerWith}. */
export interface Options {
  /** What is refused before anything is written. */
  readonly limits?: Partial<encode.Limits> | undefined
  /** Events a page of a read has at most. Default: 500. */
  readonly pageSize?: number | undefined
}

const defaultPageSize = 500

const make = (options: Options): Effect.Effect<EventStore["Service"], never, EventStorage.EventStorage> =>
  Effect.map(EventStorage.EventStorage, (storage) => {
    const limits = encode.makeLimits(options.limits)
    const pageSize = options.pageSize ?? defaultPageSize
    if (!Number.isSafeInteger(pageSize) || pageSize < 1)
      throw new RangeError("pageSize must be a positive integer")

    const streamKey = <Type extends string, State, Payload extends Event.Tagged, Id>(
      tenantId: TenantId,
      { aggregate, id }: StreamKey<Type, State, Payload, Id>
    ) =>
      Result.map(encode.aggregateId(aggregate, id), (aggregateId) => ({
        tenantId,
        aggregateType: aggregate.type,
        aggregateId
      }))

    const streamVersion: EventStore["Service"]["version"] = Effect.fnUntraced(function* (key) {
      const tenantId = yield* currentTenant
      return yield* storage.streamVersion(yield* Effect.fromResult(streamKey(tenantId, key)))
    })

    const readStream = <A, E>(
      key: { readonly tenantId: TenantId; readonly aggregateType: string; readonly aggregateId: string },
      range: VersionRange & ReadOptions,
      decodePage: (rows: ReadonlyArray<EventStorage.EventRow>) => decode.Decoded<A, E>
    ) => {
      const { fromVersion = 1, toVersion = encode.maxVersion, direction = "forwards", limit } = range
      checkIntegers({ fromVersion, toVersion, limit })
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
        decode: decodePage
      })
    }

    const readLog = <A, E>(
      tenantId: TenantId,
      aggregateTypes: ReadonlyArray<string> | undefined,
      range: LogRange & ReadOptions,
      decodePage: (rows: ReadonlyArray<EventStorage.EventRow>) => decode.Decoded<A, E>
    ) => {
      const { fromPosition = 1, toPosition = Number.MAX_SAFE_INTEGER, direction = "forwards", limit } = range
      checkIntegers({ fromPosition, toPosition, limit })
      return paged({
        start: direction === "forwards" ? fromPosition : toPosition,
        pageSize,
        limit,
        read: (cursor, size) =>
          storage.readLog({
            tenantId,
            fromPosition: direction === "forwards" ? cursor : fromPosition,
            toPosition: direction === "forwards" ? toPosition : cursor,
            recordedFrom: range.recordedFrom?.epochMilliseconds,
            recordedBefore: range.recordedBefore?.epochMilliseconds,
            aggregateTypes,
            eventTypes: range.eventTypes,
            direction,
            limit: size
          }),
        next: (last) => (direction === "forwards" ? last.position + 1 : last.position - 1),
        decode: decodePage
      })
    }

    /** The events of an append that had been made before, as they were stored then. */
    const storedBefore = (
      tenantId: TenantId,
      aggregate: Aggregate.Any,
      aggregateId: string,
      versions: ReadonlySet<number>
    ) => {
      let fromVersion = Infinity
      let toVersion = 0
      for (const version of versions) {
        fromVersion = Math.min(fromVersion, version)
        toVersion = Math.max(toVersion, version)
      }
      return readStream(
        { tenantId, aggregateType: aggregate.type, aggregateId },
        { fromVersion, toVersion, limit: versions.size === 0 ? 0 : undefined },
        (rows) => decode.envelopes(tenantId, aggregate, rows)
      ).pipe(
        Stream.filter((envelope) => versions.has(envelope.version)),
        Stream.runCollect
      )
    }

    const appendStreams = Effect.fnUntraced(function* (
      streams: ReadonlyArray<StreamEventsOf<Aggregate.Any>>
    ) {
      const tenantId = yield* currentTenant
      // An id that is not one is refused further on.
      return yield* deriveIds(
        yield* CurrentDerivedIds,
        streams,
        (stream) => Result.getOrUndefined(streamKey(tenantId, stream)),
        (named) => write(tenantId, named)
      )
    })

    const write = Effect.fnUntraced(function* (
      tenantId: TenantId,
      streams: ReadonlyArray<StreamEventsOf<Aggregate.Any>>
    ) {
      // A test clock stands between milliseconds after a jittered delay.
      const now = Math.floor(yield* Clock.currentTimeMillis)
      const context = yield* CurrentEventContext
      const prepared = yield* Effect.fromResult(encode.streams(streams, { context, now, limits }))
      // Streams without events are checked, not written.
      const versions: Array<number> = []
      for (const { append } of prepared) {
        const { aggregateType, aggregateId, expectedVersion: expected, events } = append
        const actual =
          events.length > 0 ? 0 : yield* storage.streamVersion({ tenantId, aggregateType, aggregateId })
        if (events.length === 0 && !isExpected(expected, actual)) {
          return yield* new VersionConflict({ tenantId, aggregateType, aggregateId, expected, actual })
        }
        versions.push(actual)
      }
      const written = prepared.map(({ append }) => append).filter(({ events }) => events.length > 0)
      if (written.length === 0) {
        const position = yield* storage.position(tenantId)
        return versions.map((version): Appended<Event.Tagged> => ({
          version,
          position,
          events: [],
          replayed: false
        }))
      }
      const [outcome] = yield* storage.append([{ tenantId, streams: written }])
      if (outcome === undefined)
        return yield* Effect.die(new Error("the driver gave no outcome for an append"))
      const receipt = yield* Effect.fromResult(outcome)
      const results: Array<Appended<Event.Tagged>> = []
      let first = 0
      for (const [index, { append, events }] of prepared.entries()) {
        const end = first + events.length
        const aggregate = streams[index]?.aggregate
        const positions = events.length === 0 ? receipt.positions : receipt.positions.slice(first, end)
        results.push({
          // The highest: events that had been appended before may be given in another order now.
          version: receipt.versions.slice(first, end).reduce(larger, versions[index] ?? 0),
          position: positions.reduce(larger, 0),
          events:
            receipt.replayed && aggregate !== undefined
              ? yield* storedBefore(
                  tenantId,
                  aggregate,
                  append.aggregateId,
                  new Set(receipt.versions.slice(first, end))
                )
              : events.map((event, place) =>
                  decode.appended(tenantId, append, event, receipt, first + place)
                ),
          replayed: receipt.replayed
        })
        first = end
      }
      return results
    })

    return EventStore.of({
      append: Effect.fn("EventStore.append")(function* <
        Type extends string,
        State,
        Payload extends Event.Tagged,
        Id
      >(events: StreamEvents<Type, State, Payload, Id>) {
        const [appended] = yield* appendStreams([events])
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- One stream, one result, with the events of that stream.
        return appended as Appended<Payload, Type>
      }),
      appendAll: Effect.fn("EventStore.appendAll")(function* <
        const As extends ReadonlyArray<Aggregate.Any>
      >(streams: {
        readonly [K in keyof As]: StreamEventsOf<As[K]>
      }) {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- One result per stream, in order, each with the events of its stream.
        return (yield* appendStreams(streams)) as { readonly [K in keyof As]: AppendedOf<As[K]> }
      }),
      importEvents: (events, settings = {}) =>
        Effect.flatMap(currentTenant, (tenantId) =>
          importEvents(storage, limits, tenantId, events, settings)
        ).pipe(Effect.withSpan("EventStore.importEvents")),
      readStream: (request) =>
        Stream.unwrap(
          Effect.gen(function* () {
            const tenantId = yield* currentTenant
            const key = yield* Effect.fromResult(streamKey(tenantId, request))
            return readStream(key, request, (rows) => decode.envelopes(tenantId, request.aggregate, rows))
          })
        ),
      readLog: <const As extends ReadonlyArray<Aggregate.Any>>({
        aggregates,
        ...range
      }: { readonly aggregates: As } & LogRange & ReadOptions) =>
        Stream.unwrap(
          Effect.map(currentTenant, (tenantId) => {
            const byType = new Map(aggregates.map((aggregate) => [aggregate.type, aggregate]))
            return readLog(
              tenantId,
              [...byType.keys()],
              range,
              // Each event is decoded by the aggregate whose type it has.
              (rows) =>
                // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each event is decoded by the aggregate whose type it has
                decode.mixedEnvelopes(tenantId, byType, rows) as decode.Decoded<
                  EnvelopeOf<As[number]>,
                  DecodeError
                >
            )
          })
        ),
      readLogJson: ({ aggregateTypes, ...range }) =>
        Stream.unwrap(
          Effect.map(currentTenant, (tenantId) =>
            readLog(tenantId, aggregateTypes, range, (rows) => decode.jsonEnvelopes(tenantId, rows))
          )
        ),
      version: streamVersion,
      exists: (key) => Effect.map(streamVersion(key), (version) => version > 0),
      position: Effect.flatMap(currentTenant, storage.position),
      tenants: Stream.unwrap(
        Effect.map(recordAccess(storage, "EventStore.tenants"), (accessId) =>
          paged({
            start: undefined as TenantId | undefined,
            pageSize,
            read: (after, limit) => storage.listTenants({ accessId, after, limit }),
            next: (last) => last.tenantId,
            decode: decode.tenantHeads
          })
        )
      ),
      readAllLogsJson: (request) =>
        Stream.unwrap(
          Effect.map(recordAccess(storage, "EventStore.readAllLogsJson"), (accessId) =>
            paged({
              start: request?.after,
              pageSize,
              read: (after, limit) => storage.readAllLogs({ accessId, after, limit }),
              next: (last) => ({ tenantId: last.tenantId, position: last.position }),
              decode: decode.allLogsJson
            })
          )
        )
    })
  })

const larger = (left: number, right: number): number => Math.max(left, right)

/** Drivers would differ about other numbers; infinity does as an end. A wrong one is a defect. */
const checkIntegers = (numbers: Readonly<Record<string, number | undefined>>): void => {
  for (const [name, value] of Object.entries(numbers)) {
    if (value !== undefined && !Number.isInteger(value) && Math.abs(value) !== Infinity)
      throw new RangeError(`${name} must be an integer`)
  }
}

/** The event store on a driver. */
export const layer: Layer.Layer<EventStore, never, EventStorage.EventStorage> = Layer.effect(
  EventStore,
  make({})
)

/** The event store on a driver, with settings. */
export const layerWith = (options: Options): Layer.Layer<EventStore, never, EventStorage.EventStorage> =>
  Layer.effect(
    EventStore,
    Effect.suspend(() => make(options))
  )

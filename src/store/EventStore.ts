/**
 * The event store: appends and reads typed events of the current tenant.
 */
import { Context, type DateTime, Effect, Layer, Result, type Schema, type Scope, Stream } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import * as EventStorage from "../driver/EventStorage.ts"
import { nameProblem } from "../internal/json.ts"
import { checkEventId } from "../internal/uuid.ts"
import { currentTenant, tenantOf } from "../domain/currentTenant.ts"
import * as decode from "./decode.ts"
import * as encode from "./encode.ts"
import { type Folded, type FoldError, type FoldRequest, makeFolder } from "./fold.ts"
import { appendJson, type JsonAppended, type JsonEvents } from "./appendJson.ts"
import * as EventJson from "./EventJson.ts"
import { importEvents } from "./importEvents.ts"
import { paged } from "./pages.ts"
import { eventContextOf } from "./eventContext.ts"
import {
  measuredFold,
  measuredImport,
  notingReplay,
  recordAppend,
  recordingAll,
  typesOf
} from "./storeMeasures.ts"
import { timed } from "../telemetry/spanned.ts"
import { attribute } from "../telemetry/Telemetry.ts"
import { wholeMillis } from "../internal/clock.ts"
import { storedTypes } from "../domain/storedTypes.ts"
import { checkIntegers, eventFilter, makeReader, wholePosition } from "./read.ts"
import { checkCommandKey, makeWriter, storedStream } from "./append.ts"
import { recordAccess } from "./crossTenant.ts"
import type {
  InvalidCommand,
  InvalidId,
  InvalidInput,
  Undecodable,
  ReadError,
  StorageUnavailable
} from "../driver/StoreError.ts"
import type { AllTenants, CurrentTenant, TenantId } from "../domain/Tenant.ts"
import type {
  StreamEvents,
  StreamEventsOf,
  AppendConditions,
  AppendFailure,
  AppendOptions,
  CommandOptions,
  Appended,
  AppendedOf,
  EventsToEncode,
  StreamKey
} from "./append.ts"
import type { ReadOptions, VersionRange, LogRange } from "./read.ts"
import type { ImportedEvents } from "./importChunks.ts"
import type { ImportError, ImportOptions, Imported } from "./importEvents.ts"

export type {
  StreamEvents,
  StreamEventsOf,
  AppendCondition,
  AppendConditions,
  AppendConflict,
  AppendFailure,
  AppendOptions,
  CommandOptions,
  Appended,
  AppendedOf,
  EventsToEncode,
  StreamKey
} from "./append.ts"
export type { EventPlace } from "../driver/EventStorage.ts"
export type { ReadOptions, VersionRange, LogRange } from "./read.ts"
export type { FoldedState, FoldRequest, Folded, FoldError } from "./fold.ts"
export { ImportFailed } from "./importChunks.ts"
export type { ImportedEvents } from "./importChunks.ts"
export type { ImportError, ImportOptions, Imported } from "./importEvents.ts"
export type { JsonAppended, JsonEvents, JsonReceipt } from "./appendJson.ts"

/** Envelopes of the events of an aggregate. */
export type EnvelopeOf<A> =
  A extends Aggregate.Aggregate<infer Type, infer _State, infer Payload, infer _Id>
    ? Event.Envelope<Payload, Type>
    : never

/** A tenant and the head of its log. */
export interface TenantHead {
  readonly tenantId: TenantId
  readonly status: EventStorage.TenantStatus
  readonly createdAt: DateTime.Utc
  /** The last position of its log; 0 if it is empty. */
  readonly position: number
}

/** A place in the logs of all tenants: a position in the log of one tenant. */
export interface AllLogsCursor {
  readonly tenantId: TenantId
  readonly position: number
}

/**
 * The event store.
 *
 * **Details**
 *
 * Every method that touches a tenant's data requires `CurrentTenant`. Streams read page by page, as fast as they are consumed
 * and with bounded memory.
 */
export class EventStore extends Context.Service<
  EventStore,
  {
    /**
     * Appends events to one stream. All are written, or none.
     *
     * **Details**
     *
     * Appending the same events (by event id) with the same content again returns the first outcome and ignores the expected
     * version, so a retry after a lost answer is safe. The content is stream, type, schema version, payload, tags and
     * metadata. Without events, only the expected version and the condition are checked. With a tracer, every append is a
     * span.
     *
     * **Gotchas**
     *
     * After `OutcomeUnknown`, and after an interruption, the events may be stored. An event without an id gets a new one at
     * each call. So for a safe retry give the events ids (`Event.make(event, { eventId })`), give the append a command key, or
     * repeat it with the ids in the error.
     */
    readonly append: <
      Type extends string,
      State,
      Payload extends Event.Tagged,
      Id,
      Condition extends AppendConditions | undefined = undefined,
      Command extends EventStorage.CommandKey | undefined = undefined
    >(
      events: StreamEvents<Type, State, Payload, Id> & CommandOptions<Condition, Command>
    ) => Effect.Effect<Appended<Payload, Type>, AppendFailure<Condition, Command>, CurrentTenant>
    /**
     * Checks events and encodes them in the event context of the running effect, without appending them, for appends with events
     * of several writers.
     *
     * **Details**
     *
     * `append` accepts them unchanged, in any context: ids, times, actor, correlation, causation, metadata and trace are those of
     * this call. Without a correlation id in the context, all have the id of the first event as theirs. Fails with the errors
     * of the append, before anything is sent.
     *
     * **Gotchas**
     *
     * The events belong to this stream; for another one they are encoded again. Ids are not derived
     * (`EventContext.derivingIds`).
     */
    readonly encode: <Type extends string, State, Payload extends Event.Tagged, Id>(
      events: EventsToEncode<Type, State, Payload, Id>
    ) => Effect.Effect<ReadonlyArray<Event.NewEvent<Payload>>, InvalidInput, CurrentTenant>
    /** Appends events to several streams of the tenant, in the given order. All are written, or none. */
    readonly appendAll: <
      const As extends ReadonlyArray<Aggregate.Any>,
      Condition extends AppendConditions | undefined = undefined
    >(
      streams: { readonly [K in keyof As]: StreamEventsOf<As[K]> },
      options?: AppendOptions<Condition>
    ) => Effect.Effect<
      { readonly [K in keyof As]: AppendedOf<As[K]> },
      AppendFailure<Condition>,
      CurrentTenant
    >
    /** The recorded outcome of a command by its key; undefined if there is none, or if it has expired. */
    readonly commandOutcome: (
      key: string
    ) => Effect.Effect<EventStorage.CommandRow | undefined, ReadError | InvalidCommand, CurrentTenant>
    /**
     * Imports many events into streams of the tenant, in the given order and in chunks. Each chunk is written whole or not at
     * all.
     *
     * **Details**
     *
     * Every event needs an id of its own (`Event.make`), so that an import that was stopped can be run again from the
     * beginning: events that are stored already are skipped. Positions follow the order of the input. A stream may occur any
     * number of times, so a log can be imported in the order of time. The expected version of an item applies to its first
     * event, after all items before it.
     *
     * A refused item ends the import with `ImportFailed`, which names the item. Everything before it is written, and nothing
     * after it. With `setAsideAtMost`, refused items are listed instead and the import continues.
     */
    readonly importEvents: <A extends Aggregate.Any, E, R>(
      events: Stream.Stream<ImportedEvents<A>, E, R>,
      options?: ImportOptions
    ) => Effect.Effect<Imported, E | ImportError, R | CurrentTenant>
    /**
     * Appends JSON events to one stream or several, in the given order, for programs in other languages, bridges and tools. All
     * are written, or none.
     *
     * **Details**
     *
     * The aggregates' schemas check ids and payloads. Events are stored unchanged with their schema version, and upcast when they
     * are read, like all stored events. So the same JSON remains the same event: appending it again (by event id) returns its
     * first place, even if its aggregate has a newer version by then. An event that its aggregate drops is left out. An event
     * that names another tenant, or fits no aggregate, raises `InvalidInput`.
     *
     * **Gotchas**
     *
     * Members of a payload that are not in its schema are stored too.
     */
    readonly appendJson: <Condition extends AppendConditions | undefined = undefined>(
      request: JsonEvents & AppendOptions<Condition>
    ) => Effect.Effect<JsonAppended, AppendFailure<Condition>, CurrentTenant>
    /**
     * Like `importEvents`, but with JSON events (see `appendJson`), for example an export of `readLogJson`. An item that is not
     * such an event is refused.
     */
    readonly importJson: <E, R>(
      events: Stream.Stream<unknown, E, R>,
      options: ImportOptions & Pick<JsonEvents, "aggregates">
    ) => Effect.Effect<Imported, E | ImportError, R | CurrentTenant>
    /** The events of a stream. Empty if there are none. */
    readonly readStream: <Type extends string, State, Payload extends Event.Tagged, Id>(
      request: StreamKey<Type, State, Payload, Id> & VersionRange & ReadOptions
    ) => Stream.Stream<Event.Envelope<Payload, Type>, ReadError | Undecodable | InvalidId, CurrentTenant>
    /**
     * Folds the events of an aggregate into its state, from the beginning or from a known state.
     *
     * **Details**
     *
     * Most callers want `Repository.load`, which also uses snapshots. The returned version is that of the last event in the
     * range, even if an upcaster drops it. Without `inspect`, only version, type and payload of the events are read.
     *
     * **Gotchas**
     *
     * `from` is trusted to be a state of this stream. `confirm` checks that the stream still has its last event.
     */
    readonly fold: <
      Type extends string,
      State,
      Payload extends Event.Tagged,
      Id,
      Confirm extends EventStorage.EventPlace | undefined = undefined
    >(
      request: FoldRequest<Type, State, Payload, Id, Confirm>
    ) => Effect.Effect<Folded<State>, FoldError<Confirm>, CurrentTenant>
    /** The events of some aggregates in the tenant's log, in the order of the log. */
    readonly readLog: <const As extends ReadonlyArray<Aggregate.Any>>(
      request: { readonly aggregates: As } & LogRange & ReadOptions
    ) => Stream.Stream<EnvelopeOf<As[number]>, ReadError | Undecodable, CurrentTenant>
    /** The tenant's log with payloads as stored JSON, for audits, exports and tools. */
    readonly readLogJson: (
      request: { readonly aggregateTypes?: ReadonlyArray<string> | undefined } & LogRange & ReadOptions
    ) => Stream.Stream<Event.Envelope<Schema.Json>, ReadError, CurrentTenant>
    /** The events of a stream with payloads as stored JSON, by aggregate type and stored id, for tools. */
    readonly readStreamJson: (
      request: Pick<EventStorage.StreamRow, "aggregateType" | "aggregateId"> & VersionRange & ReadOptions
    ) => Stream.Stream<Event.Envelope<Schema.Json>, ReadError, CurrentTenant>
    /** The version of a stream; 0 if it has no events. */
    readonly version: <Type extends string, State, Payload extends Event.Tagged, Id>(
      key: StreamKey<Type, State, Payload, Id>
    ) => Effect.Effect<number, ReadError | InvalidId, CurrentTenant>
    /** True if a stream has events. */
    readonly exists: <Type extends string, State, Payload extends Event.Tagged, Id>(
      key: StreamKey<Type, State, Payload, Id>
    ) => Effect.Effect<boolean, ReadError | InvalidId, CurrentTenant>
    /**
     * True if a stream ends with an event: it has the event with this id at this version, and none after it. A state with that
     * version and event is the present one then. Calls that wait go in one statement, so it costs less than a read.
     */
    readonly endsWith: <Type extends string, State, Payload extends Event.Tagged, Id>(
      key: StreamKey<Type, State, Payload, Id> & {
        /** An integer from 1. */
        readonly version: number
        readonly eventId: Event.EventId
        /** The number of forgotten subjects on which the state relies. At another number it is not the present one. Default: any. */
        readonly forgotten?: number | undefined
      }
    ) => Effect.Effect<boolean, ReadError | InvalidId, CurrentTenant>
    /**
     * The number of a tenant's subjects that were forgotten, as this process last saw it; undefined if it has seen no sealed data of
     * the tenant. Only for a storage that seals. A state that was read at another number may contain data of a forgotten person.
     */
    readonly knownForgotten?: ((tenantId: TenantId) => number | undefined) | undefined
    /**
     * Replaces the fingerprint of a command by a hash that nobody without a key of the tenant can compute. `Repository` uses it for
     * aggregates with personal fields. Only for a storage that seals.
     */
    readonly sealFingerprint?:
      | ((fingerprint: string) => Effect.Effect<string, StorageUnavailable, CurrentTenant>)
      | undefined
    /**
     * Reserves a stream among the processes that write to it, until the scope closes, so that they take turns instead of refusing
     * each other's appends. Waits for a second at most; false if it is not reserved. Appends need no reservation and regard none.
     * Default: the storage reserves nothing.
     */
    readonly reserve?:
      | (<Type extends string, State, Payload extends Event.Tagged, Id>(
          key: StreamKey<Type, State, Payload, Id>
        ) => Effect.Effect<boolean, InvalidId, CurrentTenant | Scope.Scope>)
      | undefined
    /** Reads the number of the tenant's subjects that were forgotten. Calls that wait go in one statement. */
    readonly forgottenSubjects: Effect.Effect<number, ReadError, CurrentTenant>
    /**
     * True if the fiber is in a transaction of the program, in which it appends and reads. Its results become final only when the
     * transaction commits.
     */
    readonly inTransaction: Effect.Effect<boolean>
    /** The position of an event by its id; undefined if the tenant's log has no such event. */
    readonly eventPosition: (
      eventId: Event.EventId
    ) => Effect.Effect<number | undefined, ReadError, CurrentTenant>
    /** The last position of the tenant's log; 0 if it is empty. */
    readonly position: Effect.Effect<number, ReadError, CurrentTenant>
    /** The position and id of the last event of the tenant's log; undefined if the log is empty. */
    readonly head: Effect.Effect<Event.Position | undefined, ReadError, CurrentTenant>
    /**
     * The tenant's streams with their versions, ordered by type and id, for tools. Streams that begin during the listing may
     * be missing.
     */
    readonly streams: (request?: {
      /** The aggregate type of the streams. Default: all types. */
      readonly aggregateType?: string | undefined
      /** Start after this stream. */
      readonly after?: Omit<EventStorage.StreamRow, "version"> | undefined
      /** Maximum number of streams. Default: all. */
      readonly limit?: number | undefined
    }) => Stream.Stream<EventStorage.StreamRow, ReadError, CurrentTenant>
    /** All tenants with the heads of their logs, ordered by id. Every run is written to the audit trail. */
    readonly tenants: Stream.Stream<TenantHead, StorageUnavailable, AllTenants>
    /**
     * The logs of all tenants, one tenant after the other, with payloads as stored JSON. Every run is written to the audit
     * trail.
     */
    readonly readAllLogsJson: (request?: {
      /** Start after this place. */
      readonly after?: AllLogsCursor | undefined
    }) => Stream.Stream<Event.Envelope<Schema.Json>, StorageUnavailable, AllTenants>
  }
>()("effect-eventsourcing/EventStore") {}

/** Settings of {@link layerWith}. */
export interface Options {
  /** Limits that are checked before anything is written. */
  readonly limits?: Partial<encode.Limits> | undefined
  /** Maximum number of events per page of a read. Default: 500. */
  readonly pageSize?: number | undefined
}

const defaultPageSize = 500

/** Selects the result of the only stream, or the results of all streams. */
const firstOf = (results: ReadonlyArray<unknown>): unknown => results[0]
const allOf = (results: ReadonlyArray<unknown>): unknown => results

const make = (options: Options): Effect.Effect<EventStore["Service"], never, EventStorage.EventStorage> =>
  Effect.map(EventStorage.EventStorage, (storage) => {
    const limits = encode.makeLimits(options.limits)
    const pageSize = options.pageSize ?? defaultPageSize
    if (!Number.isSafeInteger(pageSize) || pageSize < 1)
      throw new RangeError("pageSize must be a positive integer")

    const { sealFingerprint } = storage
    const reader = makeReader(storage, pageSize)
    const write = makeWriter(storage, reader, limits)

    const streamVersion: EventStore["Service"]["version"] = Effect.fnUntraced(function* (key) {
      const tenantId = yield* currentTenant
      return yield* storage.streamVersion(yield* Effect.fromResult(storedStream(tenantId, key)))
    })

    const appendAll = <
      const As extends ReadonlyArray<Aggregate.Any>,
      Condition extends AppendConditions | undefined = undefined
    >(
      streams: { readonly [K in keyof As]: StreamEventsOf<As[K]> },
      { condition, forgotten }: AppendOptions<Condition> = {}
    ) =>
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- One result per stream, in order, each with the events of its stream; conflicts of the terms that are given.
      timed(
        "append",
        typesOf(streams),
        recordingAll(streams),
        (services, span) => notingReplay(span, write(services, streams, { condition, forgotten }, allOf)),
        () => ({ [attribute.events]: streams.reduce((sum, { events }) => sum + events.length, 0) })
      ) as Effect.Effect<
        { readonly [K in keyof As]: AppendedOf<As[K]> },
        AppendFailure<Condition>,
        CurrentTenant
      >

    return EventStore.of({
      append: <
        Type extends string,
        State,
        Payload extends Event.Tagged,
        Id,
        Condition extends AppendConditions | undefined,
        Command extends EventStorage.CommandKey | undefined
      >(
        request: StreamEvents<Type, State, Payload, Id> & CommandOptions<Condition, Command>
      ) =>
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- One stream has one result with the events of that stream; only conflicts of the given terms are raised.
        timed(
          "append",
          request.aggregate.type,
          recordAppend,
          (services, span) => notingReplay(span, write(services, [request], request, firstOf)),
          () => ({ [attribute.events]: request.events.length })
        ) as Effect.Effect<Appended<Payload, Type>, AppendFailure<Condition, Command>, CurrentTenant>,
      encode: ({ aggregate, events, id }) =>
        Effect.withFiber(({ context: services }) => {
          const context = eventContextOf(services)
          const shared = { context, now: wholeMillis(services), limits, seals: storage.seals === true }
          return Effect.fromResult(encode.ahead(aggregate, id, events, shared))
        }),
      appendAll,
      appendJson: appendJson(appendAll),
      commandOutcome: (key) =>
        Effect.withFiber(({ context }): ReturnType<EventStore["Service"]["commandOutcome"]> => {
          const tenantId = tenantOf(context)
          const checked = checkCommandKey(key)
          return Result.isFailure(checked)
            ? Effect.fail(checked.failure)
            : storage.commandOutcome({ tenantId, key })
        }),
      importEvents: (events, settings = {}) =>
        measuredImport(
          Effect.flatMap(currentTenant, (tenantId) =>
            importEvents(storage, limits, tenantId, events, Result.succeed, settings)
          )
        ),
      importJson: (events, { aggregates, ...settings }) =>
        measuredImport(
          Effect.flatMap(currentTenant, (tenantId) =>
            importEvents(
              storage,
              limits,
              tenantId,
              events,
              EventJson.itemReader(aggregates, tenantId),
              settings
            )
          )
        ),
      readStream: (request) =>
        Stream.unwrap(
          Effect.gen(function* () {
            const tenantId = yield* currentTenant
            const key = yield* Effect.fromResult(storedStream(tenantId, request))
            return reader.readStream(key, request, (rows) =>
              decode.envelopes(tenantId, request.aggregate, rows, request.direction)
            )
          })
        ),
      fold: measuredFold(makeFolder(reader)),
      readLog: <const As extends ReadonlyArray<Aggregate.Any>>({
        aggregates,
        ...range
      }: { readonly aggregates: As } & LogRange & ReadOptions) =>
        Stream.unwrap(
          Effect.map(currentTenant, (tenantId) => {
            const byType = new Map(aggregates.map((aggregate) => [aggregate.type, aggregate]))
            const { eventTypes } = range
            const wanted = eventTypes === undefined ? undefined : new Set(eventTypes)
            return reader.readLog(
              tenantId,
              {
                aggregateTypes: [...byType.keys()],
                eventTypes: eventTypes === undefined ? undefined : storedTypes(aggregates, eventTypes)
              },
              range,
              (rows) =>
                // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each event is decoded by the aggregate whose type it has
                decode.mixedEnvelopes(tenantId, byType, rows, wanted, range.direction) as decode.Decoded<
                  EnvelopeOf<As[number]>,
                  Undecodable
                >,
              eventFilter(range)
            )
          })
        ),
      readLogJson: ({ aggregateTypes, ...range }) =>
        Stream.unwrap(
          Effect.map(currentTenant, (tenantId) =>
            reader.readLog(tenantId, { aggregateTypes, eventTypes: range.eventTypes }, range, (rows) =>
              decode.jsonEnvelopes(tenantId, rows)
            )
          )
        ),
      readStreamJson: ({ aggregateId, aggregateType, ...range }) =>
        Stream.unwrap(
          Effect.map(currentTenant, (tenantId) =>
            // No stream has a name that cannot be stored, and the database would not accept one.
            nameProblem(aggregateType) !== undefined || nameProblem(aggregateId) !== undefined
              ? Stream.empty
              : reader.readStream({ tenantId, aggregateType, aggregateId }, range, (rows) =>
                  decode.jsonEnvelopes(tenantId, rows)
                )
          )
        ),
      version: streamVersion,
      endsWith: (request) =>
        Effect.withFiber(({ context: services }): Effect.Effect<boolean, ReadError | InvalidId> => {
          const { eventId, forgotten, version } = request
          checkIntegers({ version })
          checkEventId({ eventId })
          const key = storedStream(tenantOf(services), request)
          if (Result.isFailure(key)) return Effect.fail(key.failure)
          return version < 1 || version > encode.maxVersion
            ? Effect.succeed(false)
            : storage.streamEndsWith({ ...key.success, version, eventId, forgotten })
        }),
      knownForgotten: storage.knownForgotten,
      sealFingerprint:
        sealFingerprint === undefined
          ? undefined
          : (fingerprint) =>
              Effect.flatMap(currentTenant, (tenantId) => sealFingerprint({ tenantId, fingerprint })),
      reserve:
        storage.reserveStream === undefined
          ? undefined
          : (request) =>
              Effect.flatMap(currentTenant, (tenantId) => {
                const key = storedStream(tenantId, request)
                return Result.isFailure(key)
                  ? Effect.fail(key.failure)
                  : (storage.reserveStream?.(key.success) ?? Effect.succeed(false))
              }),
      forgottenSubjects: Effect.flatMap(currentTenant, (tenantId) =>
        Effect.map(storage.forgottenSubjects({ tenantId }), ({ forgotten }) => forgotten)
      ),
      exists: (key) => Effect.map(streamVersion(key), (version) => version > 0),
      inTransaction: storage.inTransaction,
      eventPosition: (eventId) =>
        Effect.flatMap(currentTenant, (tenantId) => {
          checkEventId({ eventId })
          return storage.eventPosition({ tenantId, eventId })
        }),
      head: Effect.flatMap(currentTenant, (tenantId) =>
        Effect.map(storage.head({ tenantId }), ({ eventId, position }) =>
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only ids of events are stored
          eventId === null ? undefined : { position, eventId: eventId as Event.EventId }
        )
      ),
      streams: ({ after, aggregateType, limit } = {}) =>
        Stream.unwrap(
          Effect.map(currentTenant, (tenantId) => {
            checkIntegers({ limit })
            return paged({
              start: after,
              pageSize,
              limit,
              read: (cursor, size) =>
                storage.listStreams({ tenantId, aggregateType, after: cursor, limit: size }),
              next: (last): Omit<EventStorage.StreamRow, "version"> | undefined => last,
              decode: decode.streams
            })
          })
        ),
      position: Effect.flatMap(currentTenant, (tenantId) =>
        Effect.map(storage.head({ tenantId }), ({ position }) => position)
      ),
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
              start: request?.after && { ...request.after, position: wholePosition(request.after.position) },
              pageSize,
              read: (after, limit) => storage.readAllLogs({ accessId, after, limit }),
              next: (last) => ({ tenantId: last.tenantId, position: last.position }),
              decode: decode.allLogsJson
            })
          )
        )
    })
  })

/** The event store on a driver. */
export const layer: Layer.Layer<EventStore, never, EventStorage.EventStorage> = layerPer(
  [EventStorage.EventStorage],
  () => Layer.effect(EventStore, make({}))
)

/** The event store on a driver, with settings. */
export const layerWith = (options: Options): Layer.Layer<EventStore, never, EventStorage.EventStorage> =>
  layerPer([EventStorage.EventStorage], () =>
    Layer.effect(
      EventStore,
      Effect.suspend(() => make(options))
    )
  )

/** Reading events from PostgreSQL: a page is one round trip. */
import { Effect } from "effect"
import type * as EventStorage from "../driver/EventStorage.ts"
import type { ReadError, StorageUnavailable } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import * as pgAppend from "./appendBatch.ts"
import * as pgColumns from "./chunks.ts"

const columns = [
  '"position"',
  "aggregate_type",
  "aggregate_id",
  "version",
  "event_id::text",
  "event_type",
  "schema_version",
  "occurred_at",
  "recorded_at",
  "actor",
  "correlation_id",
  "causation_id",
  "metadata",
  "payload",
  "more",
  "tags",
  "hash"
]

/** The same, but for what is known of a stream before it is read. */
const streamColumns = columns.filter((column) => column !== "aggregate_type" && column !== "aggregate_id")

const readStreamSql = `select ${streamColumns.join(", ")} from eventsourcing.read_stream($1::uuid, $2::text, $3::text, $4::integer, $5::integer, $6::boolean, $7::integer, $8::bigint)`
const readLogSql = `select ${columns.join(", ")} from eventsourcing.read_log($1::uuid, $2::bigint, $3::bigint, $4::timestamptz, $5::timestamptz, $6::text[], $7::text[], $8::jsonb, $9::boolean, $10::integer, $11::bigint)`
const readAllLogsSql = `select tenant_id::text, ${columns.map((column) => `(event).${column}`).join(", ")} from eventsourcing.read_all_logs($1::uuid, $2::uuid, $3::bigint, $4::integer, $5::bigint)`

type EventColumns = readonly [
  position: number,
  aggregateType: string,
  aggregateId: string,
  version: number,
  eventId: string,
  eventType: string,
  schemaVersion: number,
  occurredAt: Date,
  recordedAt: Date,
  actor: string | null,
  correlationId: string,
  causationId: string | null,
  metadata: string,
  payload: string,
  more: boolean,
  tags: ReadonlyArray<string> | null,
  hash: string | null
]

type StreamColumns = EventColumns extends readonly [
  infer Position,
  string,
  string,
  ...infer Others extends ReadonlyArray<unknown>
]
  ? readonly [Position, ...Others]
  : never

const noTags: ReadonlyArray<string> = Object.freeze([])

const eventRow = (row: EventColumns): EventStorage.EventRow => ({
  position: row[0],
  aggregateType: row[1],
  aggregateId: row[2],
  version: row[3],
  eventId: row[4],
  eventType: row[5],
  schemaVersion: row[6],
  occurredAt: row[7].getTime(),
  recordedAt: row[8].getTime(),
  actor: row[9],
  correlationId: row[10],
  causationId: row[11],
  metadata: row[12],
  payload: row[13],
  tags: row[15] ?? noTags,
  hash: row[16]
})

/** The rows of a stream; the last one says whether there are more. */
const streamPage = (
  rows: ReadonlyArray<StreamColumns>,
  { aggregateId, aggregateType }: EventStorage.ReadStreamRequest
): EventStorage.Page<EventStorage.EventRow> => ({
  rows: rows.map((row) => ({
    position: row[0],
    aggregateType,
    aggregateId,
    version: row[1],
    eventId: row[2],
    eventType: row[3],
    schemaVersion: row[4],
    occurredAt: row[5].getTime(),
    recordedAt: row[6].getTime(),
    actor: row[7],
    correlationId: row[8],
    causationId: row[9],
    metadata: row[10],
    payload: row[11],
    tags: row[13] ?? noTags,
    hash: row[14]
  })),
  complete: rows.at(-1)?.[12] !== true
})

/** The last row says whether there are more. */
const eventPage = (rows: ReadonlyArray<EventColumns>): EventStorage.Page<EventStorage.EventRow> => ({
  rows: rows.map(eventRow),
  complete: rows.at(-1)?.[14] !== true
})

/** Runs a query on one tenant, which is its first parameter; `Row` is what its columns decode to. */
type OfTenant = <Row>(
  operation: string,
  tenantId: TenantId,
  text: string,
  parameters: ReadonlyArray<unknown>
) => Effect.Effect<ReadonlyArray<Row>, ReadError>

/** Runs a query across tenants. */
type AcrossTenants = <Row>(
  operation: string,
  text: string,
  parameters: ReadonlyArray<unknown>
) => Effect.Effect<ReadonlyArray<Row>, StorageUnavailable>

/** The reading of events of a driver. */
type Reading = Pick<EventStorage.EventStorage["Service"], "readStream" | "readLog" | "readAllLogs">

export const make = (ofTenant: OfTenant, acrossTenants: AcrossTenants, pageBytes: bigint): Reading => {
  const inColumns = comeInColumns(pageBytes)

  /** A page as columns, if it is of the kind that is read so: forwards, without a query or times. */
  const logColumns = (
    request: EventStorage.ReadLogRequest
  ): Effect.Effect<EventStorage.Page<EventStorage.EventRow> | undefined, ReadError> => {
    const { direction, limit, query, recordedBefore, recordedFrom } = request
    if (
      !inColumns ||
      direction === "backwards" ||
      query !== undefined ||
      recordedFrom !== undefined ||
      recordedBefore !== undefined
    )
      return Effect.undefined
    return Effect.map(
      ofTenant<pgColumns.LogChunk>("read a log", request.tenantId, pgColumns.readLogColumnsSql, [
        BigInt(request.fromPosition),
        BigInt(request.toPosition),
        request.aggregateTypes ?? null,
        request.eventTypes ?? null,
        oneMore(limit),
        pageBytes
      ]),
      (chunks) => pgColumns.logPage(chunks, limit)
    )
  }

  const logRows = (request: EventStorage.ReadLogRequest) =>
    Effect.map(
      ofTenant<EventColumns>("read a log", request.tenantId, readLogSql, [
        BigInt(request.fromPosition),
        BigInt(request.toPosition),
        toDate(request.recordedFrom),
        toDate(request.recordedBefore),
        request.aggregateTypes ?? null,
        request.eventTypes ?? null,
        request.query === undefined ? null : JSON.stringify(pgAppend.queryJson(request.query)),
        request.direction === "backwards",
        request.limit,
        pageBytes
      ]),
      eventPage
    )

  return {
    readStream: (request) =>
      Effect.map(
        ofTenant<StreamColumns>("read a stream", request.tenantId, readStreamSql, [
          request.aggregateType,
          request.aggregateId,
          request.fromVersion,
          request.toVersion,
          request.direction === "backwards",
          request.limit,
          pageBytes
        ]),
        (rows) => streamPage(rows, request)
      ),
    readLog: (request) =>
      Effect.flatMap(logColumns(request), (page) =>
        page === undefined ? logRows(request) : Effect.succeed(page)
      ),
    readAllLogs: ({ accessId, after, limit }) =>
      Effect.map(
        acrossTenants<readonly [TenantId, ...EventColumns]>("read all logs", readAllLogsSql, [
          accessId,
          after?.tenantId ?? null,
          BigInt(after?.position ?? 0),
          limit,
          pageBytes
        ]),
        (rows) => ({
          rows: rows.map(([tenantId, ...event]) => ({ tenantId, ...eventRow(event) })),
          complete: rows.at(-1)?.[15] !== true
        })
      )
  }
}

/** Whether pages of a size come in chunks. Those of smaller ones would have room for small events only. */
const comeInColumns = (pageBytes: bigint): boolean => pageBytes >= 1n << 20n

const maxInteger = 2_147_483_647

/** A page is read with one more, which says whether there are more. */
export const oneMore = (limit: number): number => Math.min(limit + 1, maxInteger)

export const toDate = (time: number | undefined): Date | null => (time === undefined ? null : new Date(time))

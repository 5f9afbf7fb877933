/** Reads events from PostgreSQL, a page per round trip. */
import { Effect } from "effect"
import type { EventRow, EventStorage, Page } from "../driver/EventStorage.ts"
import type { ReadError, StorageUnavailable } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { queryJson } from "./appendBatch.ts"
import * as chunks from "./chunks.ts"
import type { StatementOptions } from "./statement.ts"

const readAllLogsSql =
  'select tenant_id::pg_catalog.text, "position", aggregate_type, aggregate_id, version, event_id::pg_catalog.text, event_type, ' +
  "schema_version, occurred_at, recorded_at, actor, correlation_id, causation_id, metadata, payload, tags, hash, traceparent, more " +
  "from eventsourcing.read_all_logs($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::bigint, $4::integer, $5::bigint)"

type TenantEventColumns = readonly [
  tenantId: TenantId,
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
  tags: ReadonlyArray<string> | null,
  hash: string | null,
  traceparent: string | null,
  more: boolean
]

const noTags: ReadonlyArray<string> = Object.freeze([])

/** Runs a query whose first parameter is the tenant. `Row` is the type of its decoded columns. */
type OfTenant = <Row>(
  operation: string,
  tenantId: TenantId,
  text: string,
  parameters: ReadonlyArray<unknown>
) => Effect.Effect<ReadonlyArray<Row>, ReadError>

/** Runs a query across tenants. */
export type AcrossTenants = <Row>(
  operation: string,
  text: string,
  parameters: ReadonlyArray<unknown>,
  execution?: StatementOptions
) => Effect.Effect<ReadonlyArray<Row>, StorageUnavailable>

/** The read methods of the driver. */
type Reading = Pick<EventStorage["Service"], "readStream" | "readLog" | "readAllLogs">

/** Reads a page in chunks. If the first texts contain the separator, reads one event, whose chunk needs none. */
const pageOf = (
  read: (limit: number) => Effect.Effect<Page<EventRow> | undefined, ReadError>,
  limit: number
): Effect.Effect<Page<EventRow>, ReadError> =>
  Effect.flatMap(read(oneMore(limit)), (page) =>
    page === undefined
      ? Effect.map(read(1), (one = { rows: [], complete: true }) => one)
      : Effect.succeed(page)
  )

export const make = (ofTenant: OfTenant, acrossTenants: AcrossTenants, pageBytes: bigint): Reading => ({
  readStream: (request) =>
    pageOf(
      (limit) =>
        Effect.map(
          ofTenant<chunks.EventChunk>("read a stream", request.tenantId, chunks.readStreamSql, [
            request.aggregateType,
            request.aggregateId,
            request.fromVersion,
            request.toVersion,
            request.direction === "backwards",
            limit,
            pageBytes
          ]),
          (found) => chunks.eventPage(found, request, request)
        ),
      request.limit
    ),
  readLog: (request) =>
    pageOf(
      (limit) =>
        Effect.map(
          ofTenant<chunks.EventChunk>("read a log", request.tenantId, chunks.readLogSql, [
            BigInt(request.fromPosition),
            BigInt(request.toPosition),
            toDate(request.recordedFrom),
            toDate(request.recordedBefore),
            request.aggregateTypes ?? null,
            request.eventTypes ?? null,
            request.query === undefined ? null : JSON.stringify(queryJson(request.query)),
            request.direction === "backwards",
            limit,
            pageBytes
          ]),
          (found) => chunks.eventPage(found, request)
        ),
      request.limit
    ),
  readAllLogs: ({ accessId, after, limit }) =>
    Effect.map(
      acrossTenants<TenantEventColumns>("read all logs", readAllLogsSql, [
        accessId,
        after?.tenantId ?? null,
        BigInt(after?.position ?? 0),
        limit,
        pageBytes
      ]),
      (rows) => ({
        rows: rows.map((row) => ({
          tenantId: row[0],
          position: row[1],
          aggregateType: row[2],
          aggregateId: row[3],
          version: row[4],
          eventId: row[5],
          eventType: row[6],
          schemaVersion: row[7],
          occurredAt: row[8].getTime(),
          recordedAt: row[9].getTime(),
          actor: row[10],
          correlationId: row[11],
          causationId: row[12],
          metadata: row[13],
          payload: row[14],
          tags: row[15] ?? noTags,
          hash: row[16],
          traceparent: row[17]
        })),
        // the last row shows if there are more
        complete: rows.at(-1)?.[18] !== true
      })
    )
})

const maxInteger = 2_147_483_647

/** A page is read with one extra row, which shows if there are more. */
export const oneMore = (limit: number): number => Math.min(limit + 1, maxInteger)

export const toDate = (time: number | undefined): Date | null => (time === undefined ? null : new Date(time))

/** Confirms on PostgreSQL that streams end with given events: a single one at once, waiting ones together in one statement. */
import { PgTypes } from "@effect/sql-pg"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { EventStorage, StreamEndRequest } from "../driver/EventStorage.ts"
import { array } from "./appendBatch.ts"
import * as groupLoads from "./groupLoads.ts"
import { decodedRows } from "./statement.ts"

const streamsEndWithSql =
  "select eventsourcing.streams_end_with($1::pg_catalog.text[], $2::pg_catalog.text[], $3::pg_catalog.text[], $4::integer[], $5::pg_catalog.uuid[], $6::integer[])"

const parameters = (requests: ReadonlyArray<StreamEndRequest>): ReadonlyArray<unknown> => {
  const texts = (of: (request: StreamEndRequest) => string) => array(requests.map(of), PgTypes.OID.text)
  return [
    texts(({ tenantId }) => tenantId),
    texts(({ aggregateType }) => aggregateType),
    texts(({ aggregateId }) => aggregateId),
    array(
      requests.map(({ version }) => version),
      PgTypes.OID.int4
    ),
    array(
      requests.map(({ eventId }) => eventId),
      PgTypes.OID.uuid
    ),
    array(
      requests.every(({ forgotten }) => forgotten === undefined)
        ? []
        : requests.map(({ forgotten }) => forgotten ?? null),
      PgTypes.OID.int4
    )
  ]
}

/** `EventStorage.streamEndsWith` on a client. */
export const make = (
  sql: SqlClient.SqlClient,
  options: groupLoads.Options
): EventStorage["Service"]["streamEndsWith"] =>
  groupLoads.lookUps(
    sql,
    "confirm a state",
    (requests: ReadonlyArray<StreamEndRequest>) =>
      Effect.map(
        decodedRows<readonly [ReadonlyArray<boolean>]>(sql, streamsEndWithSql, parameters(requests)),
        ([row]) => row?.[0] ?? []
      ),
    (ends, index) => ends[index] === true,
    options
  )

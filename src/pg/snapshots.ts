/**
 * Snapshots in PostgreSQL: one round trip per operation, to functions of `migrations/` that bind the tenant and run under
 * row-level security.
 */
import { Effect } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import * as sqlErrors from "./sqlErrors.ts"
import * as SnapshotStorage from "../driver/SnapshotStorage.ts"
import type { ReadError } from "../driver/StoreError.ts"
import * as PgTenant from "./PgTenant.ts"
import { failFor, inTransaction, refuseOthers } from "./openTransaction.ts"
import { statement, type StatementOptions } from "./statement.ts"

type SnapshotColumns = readonly [
  version: number,
  position: number,
  eventId: string,
  recordedAt: Date,
  stateVersion: number,
  fingerprint: string,
  checksum: string,
  state: string,
  takenAt: Date
]

const loadSql =
  'select version, "position", event_id::pg_catalog.text, recorded_at, state_version, fingerprint, checksum, state, taken_at' +
  " from eventsourcing.load_snapshot($1::pg_catalog.uuid, $2::pg_catalog.text, $3::pg_catalog.text)"

const saveSql =
  "select eventsourcing.save_snapshot($1::pg_catalog.uuid, $2::pg_catalog.text, $3::pg_catalog.text, $4::integer, $5::bigint, $6::pg_catalog.uuid, $7::pg_catalog.timestamptz, " +
  "$8::integer, $9::pg_catalog.text, $10::pg_catalog.text, $11::pg_catalog.text, $12::integer, $13::pg_catalog.text)"

/** The snapshots of a database, which must be migrated. */
export const make: Effect.Effect<SnapshotStorage.SnapshotStorage["Service"], never, SqlClient.SqlClient> =
  Effect.map(SqlClient.SqlClient, (sql) => {
    /** The rows of a query on a stream. `Row` is the type of its decoded columns. */
    const ofStream = <Row>(
      operation: string,
      { aggregateId, aggregateType, tenantId }: SnapshotStorage.SnapshotKey,
      text: string,
      parameters: ReadonlyArray<unknown>,
      execution?: StatementOptions
    ): Effect.Effect<ReadonlyArray<Row>, ReadError> =>
      Effect.andThen(
        refuseOthers(sql, tenantId),
        statement(
          sql,
          (connection) =>
            // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Row is the type of the decoded columns
            connection.executeValues(text, [
              tenantId,
              aggregateType,
              aggregateId,
              ...parameters
            ]) as Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError>,
          execution
        ).pipe(Effect.catch((error) => failFor(sql, operation, tenantId, error)))
      )

    /** Protects an open transaction of the program, which must not fail because of a snapshot. */
    const inSavepoint = <A>(
      effect: Effect.Effect<A, ReadError>,
      operation: string
    ): Effect.Effect<A, ReadError> =>
      Effect.flatMap(inTransaction(sql), (isOpen) =>
        isOpen
          ? PgTenant.savepoint(sql, (error) => sqlErrors.toUnavailable(operation, error))(effect)
          : effect
      )

    return SnapshotStorage.SnapshotStorage.of({
      load: (key) =>
        Effect.map(ofStream<SnapshotColumns>("load a snapshot", key, loadSql, []), ([row]) => {
          if (row === undefined) return undefined
          const [
            version,
            position,
            eventId,
            recordedAt,
            stateVersion,
            fingerprint,
            checksum,
            state,
            takenAt
          ] = row
          return {
            version,
            position,
            eventId,
            recordedAt: recordedAt.getTime(),
            stateVersion,
            fingerprint,
            checksum,
            state,
            takenAt: takenAt.getTime()
          }
        }),
      save: (snapshot) =>
        inSavepoint(
          ofStream<[boolean]>(
            "save a snapshot",
            snapshot,
            saveSql,
            [
              snapshot.version,
              BigInt(snapshot.position),
              snapshot.eventId,
              new Date(snapshot.recordedAt),
              snapshot.stateVersion,
              snapshot.fingerprint,
              snapshot.checksum,
              snapshot.state,
              snapshot.replaces?.version ?? null,
              snapshot.replaces?.checksum ?? null
            ],
            { commits: true }
          ),
          "save a snapshot"
        ).pipe(Effect.map(([row]) => row?.[0] === true)),
      remove: (key) =>
        Effect.map(
          ofStream<[boolean]>(
            "remove a snapshot",
            key,
            "select eventsourcing.remove_snapshot($1::pg_catalog.uuid, $2::pg_catalog.text, $3::pg_catalog.text)",
            [],
            { commits: true }
          ),
          ([row]) => row?.[0] === true
        )
    })
  })

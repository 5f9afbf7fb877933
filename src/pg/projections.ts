/**
 * The progress of projections in PostgreSQL. A claim is a row lock in the worker's transaction: it is released when the
 * transaction ends or the worker dies. There is no leader.
 */
import { type Context, Effect, Option } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { describe } from "./failures.ts"
import * as sqlErrors from "./sqlErrors.ts"
import * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import type { OutcomeUnknown, ReadError, StorageUnavailable } from "../driver/StoreError.ts"
import { CurrentTenant, type TenantId } from "../domain/Tenant.ts"
import * as PgTenant from "./PgTenant.ts"
import { failFor, inTransaction, openTransaction, refuse } from "./openTransaction.ts"
import { decodedRows, statement } from "./statement.ts"
import * as rebuilds from "./rebuilds.ts"

type ClaimColumns = readonly [
  tenantId: TenantId,
  projection: string,
  version: number,
  rebuild: boolean,
  position: number,
  head: number,
  attempts: number,
  failedPosition: number | null,
  error: string | null,
  failureKind: ProjectionStorage.FailureKind | null,
  waited: number,
  alone: string | null
]

type ProgressColumns = readonly [
  rebuild: boolean,
  position: number,
  head: number,
  parked: boolean,
  attempts: number,
  failedPosition: number | null,
  error: string | null,
  failureKind: ProjectionStorage.FailureKind | null,
  oldestUnprocessed: Date | null,
  shared: boolean,
  rebuilt: number
]

type FailureColumns = readonly [
  rebuild: boolean,
  position: number,
  kind: ProjectionStorage.FailureKind,
  code: string | null,
  message: string,
  stack: string,
  times: number,
  firstAt: Date,
  lastAt: Date
]

const claimSql =
  'select tenant_id::pg_catalog.text, projection, version, rebuild, "position", head, attempts, failed_position, error, failure_kind, waited_ms, ' +
  "pg_catalog.current_setting('eventsourcing.alone', true)" +
  " from eventsourcing.begin_projection($1::pg_catalog.text[], $2::integer[], $3::boolean[], $4::pg_catalog.uuid)"

type BacklogColumns = readonly [
  projection: string,
  version: number,
  pending: number,
  oldestMillis: number | null,
  parked: number,
  deadLetters: number,
  oldestLetterMillis: number | null
]

type RefusalColumns = readonly [
  reason: string,
  table: string | null,
  projection: string | null,
  version: number | null,
  retired: boolean | null
]

const runOf = ([reason]: RefusalColumns): ProjectionStorage.ProjectionRefused["run"] =>
  reason === "Inline" ? "inline" : reason === "Runner" ? "runner" : null

const takenOf = ([
  _reason,
  table,
  projection,
  version,
  retired
]: RefusalColumns): ProjectionStorage.ProjectionRefused["taken"] =>
  table === null || projection === null || version === null
    ? null
    : { table, projection, version, retired: retired === true }

/** The progress of projections in a database, which must be migrated. */
export const make: Effect.Effect<ProjectionStorage.ProjectionStorage["Service"], never, SqlClient.SqlClient> =
  Effect.map(SqlClient.SqlClient, (sql) => {
    /** The rows of a query on a projection of a tenant. `Row` is the type of its decoded columns. */
    const ofTenant = <Row>(
      operation: string,
      key: ProjectionStorage.TenantProjection,
      text: string,
      parameters: ReadonlyArray<unknown> = []
    ): Effect.Effect<ReadonlyArray<Row>, ReadError> =>
      statement(
        sql,
        (connection) =>
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Row is the type of the decoded columns
          connection.executeValues(text, [
            key.tenantId,
            key.projection,
            key.version,
            ...parameters
          ]) as Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError>
      ).pipe(Effect.catch((error) => failFor(sql, operation, key.tenantId, error)))

    /** The rows of a query without a tenant. */
    const rowsOf = <Row>(
      operation: string,
      text: string,
      parameters: ReadonlyArray<unknown>
    ): Effect.Effect<ReadonlyArray<Row>, StorageUnavailable> =>
      decodedRows<Row>(sql, text, parameters).pipe(
        Effect.mapError((error) => sqlErrors.toUnavailable(operation, error))
      )

    const run = (operation: string, text: string, parameters: ReadonlyArray<unknown>) =>
      Effect.asVoid(rowsOf(operation, text, parameters))

    const sweep = run("look for work", "select eventsourcing.announce(null)", [])

    const transaction = <A, E, R>(
      tenantId: TenantId,
      effect: Effect.Effect<A, E, R>,
      accessId?: string
    ): Effect.Effect<A, E | ReadError | OutcomeUnknown, R> =>
      accessId === undefined
        ? Effect.contextWith((context: Context.Context<R>) =>
            PgTenant.transaction(Effect.provideContext(effect, context)).pipe(
              Effect.provideService(SqlClient.SqlClient, sql),
              Effect.provideService(CurrentTenant, tenantId)
            )
          )
        : Effect.flatMap(openTransaction(sql), (open): Effect.Effect<A, E | ReadError | OutcomeUnknown, R> =>
            Option.isSome(open)
              ? refuse(sql, tenantId)
              : PgTenant.boundTransaction(
                  sql,
                  {
                    text: "select eventsourcing.begin_across_tenants($1::pg_catalog.uuid, $2::pg_catalog.uuid)",
                    parameters: [tenantId, accessId]
                  },
                  (_row, bound) => bound(tenantId)(effect),
                  (error, eventIds) => PgTenant.failedTransaction(tenantId, error, eventIds)
                )
          )

    return ProjectionStorage.ProjectionStorage.of({
      register: (projections) =>
        Effect.forEach(
          projections,
          ({ projection, version, tables, startAt, inline = false }) =>
            (inline
              ? rowsOf<RefusalColumns>(
                  "register an inline projection",
                  "select reason, read_model, filled_by, filled_by_version, filled_by_retired from eventsourcing.register_inline_projection($1::pg_catalog.text, $2::integer, $3::pg_catalog.text[])",
                  [projection, version, tables]
                )
              : rowsOf<RefusalColumns>(
                  "register a projection",
                  "select reason, read_model, filled_by, filled_by_version, filled_by_retired from eventsourcing.register_projection($1::pg_catalog.text, $2::integer, $3::pg_catalog.text[], $4::boolean)",
                  [projection, version, tables, startAt === "now"]
                )
            ).pipe(
              Effect.flatMap(([row]) =>
                row === undefined
                  ? Effect.void
                  : Effect.fail(
                      new ProjectionStorage.ProjectionRefused({
                        projection,
                        version,
                        run: runOf(row),
                        taken: takenOf(row)
                      })
                    )
              )
            ),
          { discard: true }
        ),
      retire: ({ accessId, projection, version }) =>
        rowsOf<[boolean]>(
          "retire a projection",
          "select eventsourcing.retire_projection($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer)",
          [accessId, projection, version]
        ).pipe(
          Effect.tap(sweep),
          Effect.map(([row]) => row?.[0] === true)
        ),
      sweep,
      backlog: (projections) =>
        Effect.map(
          rowsOf<BacklogColumns>(
            "measure the work of projections",
            // Both functions answer for each projection once.
            "select b.projection, b.version, b.pending, b.oldest_millis, b.parked, l.dead_letters, l.oldest_millis" +
              " from eventsourcing.projection_backlog($1::pg_catalog.text[], $2::integer[]) b" +
              " join eventsourcing.projection_dead_letters($1::pg_catalog.text[], $2::integer[]) l using (projection, version)",
            [projections.map(({ projection }) => projection), projections.map(({ version }) => version)]
          ),
          (rows) =>
            rows.map(
              ([projection, version, pending, oldestMillis, parked, deadLetters, oldestLetterMillis]) => ({
                projection,
                version,
                pending,
                // The clock may have gone back.
                oldestAge: Math.max(0, oldestMillis ?? 0),
                parked,
                deadLetters,
                oldestDeadLetter: Math.max(0, oldestLetterMillis ?? 0)
              })
            )
        ),
      work: ({ projections, accessId }, body) =>
        PgTenant.boundTransaction(
          sql,
          {
            text: claimSql,
            parameters: [
              projections.map(({ projection }) => projection),
              projections.map(({ version }) => version),
              projections.map(({ acrossTenants }) => acrossTenants),
              accessId ?? null
            ]
          },
          (row, bound) => {
            if (row === undefined) return Effect.succeedNone
            const [
              tenantId,
              projection,
              version,
              rebuild,
              position,
              head,
              attempts,
              failedPosition,
              error,
              failureKind,
              waited,
              alone
              // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the decoded columns of the claim
            ] = row as ClaimColumns
            return body({
              tenantId,
              projection,
              version,
              rebuild,
              position,
              head,
              attempts,
              failedPosition: failedPosition ?? undefined,
              error: error ?? undefined,
              failureKind: failureKind ?? undefined,
              waited,
              alone: alone === "on"
            }).pipe(bound(tenantId), Effect.asSome)
          },
          (error) => sqlErrors.toUnavailable("work on a projection", error)
        ),
      attempt: PgTenant.savepoint(sql, (error) => sqlErrors.toUnavailable("work on a projection", error)),
      advance: (claim, position) =>
        Effect.map(
          ofTenant<[number]>(
            "move a checkpoint",
            claim,
            "select eventsourcing.advance_projection($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer, $4::boolean, $5::bigint)",
            [claim.rebuild, BigInt(position)]
          ),
          ([row]) => row?.[0] ?? position
        ),
      describeFailure: (error) => Effect.succeed(describe(error)),
      fail: ({ claim, position, attempts, cause, error, kind, parked, retryIn, waited }) =>
        ofTenant(
          "record a failure",
          claim,
          "select eventsourcing.fail_projection($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer, $4::boolean, $5::bigint, $6::integer, $7::pg_catalog.text, $8::pg_catalog.text, $9::pg_catalog.float8, $10::boolean, $11::pg_catalog.float8, $12::pg_catalog.text, $13::pg_catalog.text, $14::pg_catalog.text)",
          [
            claim.rebuild,
            BigInt(position),
            attempts,
            error,
            kind,
            waited,
            parked,
            retryIn ?? null,
            cause?.code ?? null,
            cause?.message ?? null,
            cause?.stack ?? ""
          ]
        ).pipe(Effect.asVoid),
      addDeadLetter: (claim, { position, eventId, error, attempts }) =>
        ofTenant(
          "add a dead letter",
          claim,
          "select eventsourcing.add_dead_letter($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer, $4::boolean, $5::bigint, $6::pg_catalog.uuid, $7::pg_catalog.text, $8::integer)",
          [claim.rebuild, BigInt(position), eventId, error, attempts]
        ).pipe(Effect.asVoid),
      deadLetters: (key) =>
        Effect.map(
          ofTenant<[number, string, string, number, Date]>(
            "list dead letters",
            key,
            'select "position", event_id::pg_catalog.text, error, attempts, failed_at from eventsourcing.list_dead_letters($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer, $4::bigint, $5::integer)',
            [BigInt(key.after), key.limit]
          ),
          (rows) =>
            rows.map(([position, eventId, error, attempts, failedAt]) => ({
              position,
              eventId,
              error,
              attempts,
              failedAt: failedAt.getTime()
            }))
        ),
      removeDeadLetter: (key) =>
        Effect.map(
          ofTenant<[boolean]>(
            "remove a dead letter",
            key,
            "select eventsourcing.remove_dead_letter($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer, $4::bigint, $5::pg_catalog.text)",
            [BigInt(key.position), key.reason ?? null]
          ),
          ([row]) => row?.[0] === true
        ),
      progress: (key) =>
        Effect.map(
          ofTenant<ProgressColumns>(
            "read the progress of a projection",
            key,
            'select rebuild, "position", head, parked, attempts, failed_position, error, failure_kind, oldest_unprocessed, shared, rebuilt from eventsourcing.projection_status($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer)'
          ),
          (rows) =>
            rows.map(
              ([
                rebuild,
                position,
                head,
                parked,
                attempts,
                failedPosition,
                error,
                failureKind,
                oldestUnprocessed,
                shared,
                rebuilt
              ]) => ({
                rebuild,
                shared,
                position,
                head,
                parked,
                attempts,
                failedPosition: failedPosition ?? undefined,
                error: error ?? undefined,
                failureKind: failureKind ?? undefined,
                oldestUnprocessed: oldestUnprocessed?.getTime(),
                rebuilt
              })
            )
        ),
      pause: (key) =>
        Effect.map(
          ofTenant<[boolean]>(
            "pause a projection",
            key,
            "select eventsourcing.pause_projection($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer, $4::pg_catalog.text)",
            [ProjectionStorage.pausedError]
          ),
          ([row]) => row?.[0] === true
        ),
      resume: (key) =>
        Effect.map(
          ofTenant<[boolean]>(
            "resume a projection",
            key,
            "select eventsourcing.resume_projection($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer)"
          ),
          ([row]) => row?.[0] === true
        ),
      resumeAll: ({ accessId, projection }) =>
        statement(sql, (connection) =>
          connection.executeValues(
            "select eventsourcing.resume_projections($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer)",
            [accessId, projection?.projection ?? null, projection?.version ?? null]
          )
        ).pipe(
          Effect.mapError((error) => sqlErrors.toUnavailable("resume projections", error)),
          Effect.map(([row]) => Number(row?.[0] ?? 0))
        ),
      failures: ({ accessId, ...key }) =>
        statement(
          sql,
          (connection) =>
            // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the decoded columns of the query
            connection.executeValues(
              'select rebuild, "position", kind, code, message, stack, times, first_at, last_at from eventsourcing.list_projection_failures($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::pg_catalog.text, $4::integer)',
              [accessId, key.tenantId, key.projection, key.version]
            ) as Effect.Effect<ReadonlyArray<FailureColumns>, SqlError.SqlError>
        ).pipe(
          Effect.mapError((error) => sqlErrors.toUnavailable("list the failures of a projection", error)),
          Effect.map((rows) =>
            rows.map(([rebuild, position, kind, code, message, stack, times, firstAt, lastAt]) => ({
              rebuild,
              position,
              kind,
              code,
              message,
              stack,
              times,
              firstAt: firstAt.getTime(),
              lastAt: lastAt.getTime()
            }))
          )
        ),
      ...rebuilds.make({ ofTenant, rowsOf, transaction }),
      inTransaction: inTransaction(sql),
      clearReadModel: ({ tables, tenantId }) =>
        Effect.gen(function* () {
          // The lock that an append takes first, so that appends wait.
          yield* sql`select 1 from eventsourcing.tenants where tenant_id = ${tenantId}::pg_catalog.uuid for no key update`
          for (const table of tables)
            yield* sql`delete from ${sql(table)} where tenant_id = ${tenantId}::pg_catalog.uuid`
        }).pipe(Effect.mapError((error) => sqlErrors.toUnavailable("empty a read model", error))),
      transaction
    })
  })

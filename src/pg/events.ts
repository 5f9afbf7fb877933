/**
 * The driver for PostgreSQL on any `PgClient`. Every append and every page of a read is one round trip to a function of `migrations/`,
 * which binds the tenant and runs under row-level security.
 */
import type { PgClient, PgConnection } from "@effect/sql-pg"
import { Context, type Duration, Effect, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as EventStorage from "../driver/EventStorage.ts"
import type * as groupCommit from "./groupCommit.ts"
import type * as groupLoads from "./groupLoads.ts"
import { make as makeAccesses } from "./accesses.ts"
import { make as makeAppend } from "./append.ts"
import * as sqlErrors from "./sqlErrors.ts"
import { isPgClient, make as makeAnnouncements } from "./announcements.ts"
import { make as makeCommandOutcome } from "./commandOutcomes.ts"
import { make as makeLoad } from "./load.ts"
import { make as makeReading, oneMore, toDate } from "./read.ts"
import { make as makeReadPlaces } from "./readPlaces.ts"
import { make as makeReservations } from "./reservations.ts"
import { make as makeStreamEnds } from "./streamEnds.ts"
import { make as makeForgottenSubjects } from "./subjects.ts"
import { make as makeOpenLog } from "./streamLog.ts"
import { OtherFailure, StorageUnavailable, UnknownTenant, TenantRefused } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { defaultMoveWait, waitForMoves } from "../driver/moves.ts"
import { refusalOf } from "../driver/refusals.ts"
import { clampPosition } from "../driver/queryMatch.ts"
import * as PgCheck from "./PgCheck.ts"
import * as deadlines from "./deadlines.ts"
import { lockTimeoutOf } from "./lockTimeout.ts"
import { byEnvironment, type OnPrivilegedLogin } from "./login.ts"
import { failFor, inTransaction, refuseOthers } from "./openTransaction.ts"
import { decodedRows, type StatementOptions } from "./statement.ts"

/** Settings of a store. */
export interface Options {
  /**
   * Maximum wait of an append whose tenant is just moving to another database; afterwards it fails with `TenantRefused`
   * (`TenantMoving`). Default: 10 seconds.
   */
  readonly moveWait?: Duration.Input | undefined
  /** Registers an unknown tenant with its first append. Default: true. */
  readonly provisionOnAppend?: boolean | undefined
  /** Approximate maximum of payload and metadata in a page of a read, in bytes. Default: 4 MiB. */
  readonly pageBytes?: number | undefined
  /**
   * Sends appends that wait while others are in progress together, in one statement and one commit. Appends in a transaction
   * of the program are always sent alone. Default: on, with up to 512 appends and a million characters per batch, 2 batches
   * of each kind in progress, and a fifth of the pool's connections for statements that wait for a tenant's lock. Appends of
   * further locked tenants are tried again for the client's `lock_timeout` (10 seconds unless set), and then fail with `StorageUnavailable` (`TimedOut`).
   */
  readonly groupCommit?: Partial<groupCommit.Limits> | false | undefined
  /**
   * Sends loads of aggregates that wait while others are in progress together, in one statement, and so confirmations of
   * remembered states. Those in a transaction of the program are always sent alone. Default: on, with up to 64 per batch, and
   * 2 batches of each kind in progress.
   */
  readonly groupLoads?: Partial<groupLoads.Limits> | false | undefined
  /**
   * Announces appends to projections and subscriptions in this process and in others, with a statement every few milliseconds while
   * there are any. Without it they find new events by polling. Default: true.
   */
  readonly announce?: boolean | undefined
  /**
   * Connection settings for the listener of announcements, where they differ from the client's. Behind a pooler such as PgBouncer,
   * whose connections receive no announcements, give the host and port of the server itself.
   */
  readonly listen?: PgConnection.Config | undefined
  /**
   * The action at start-up if the database impairs the isolation of tenants: refuse to start, or log a warning. Default: refuse.
   */
  readonly onImpairedIsolation?: "refuse" | "warn" | undefined
  /**
   * The action at start-up if the login holds every right (`PgCheck.login`): refuse to start, log a warning, or accept it. Default:
   * refuse if the variable `NODE_ENV` is `production` (read with `Config`), otherwise accept.
   */
  readonly onPrivilegedLogin?: OnPrivilegedLogin | undefined
}

const pageOf = <Columns, Row>(
  rows: ReadonlyArray<Columns>,
  limit: number,
  toRow: (row: Columns) => Row
): EventStorage.Page<Row> => ({ rows: rows.slice(0, limit).map(toRow), complete: rows.length <= limit })

/** Limits of a batch; undefined to send one by one. A limit below 1 would block everything. */
const limitsOf = <Limits extends Readonly<Record<keyof Limits, number>>>(
  name: string,
  defaults: Limits,
  given: Partial<Limits> | false | undefined
): Limits | undefined => {
  if (given === false) return undefined
  // undefined limits take their defaults
  const limits = {
    ...defaults,
    ...Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => value !== undefined))
  }
  for (const [bound, value] of Object.entries<number>(limits)) {
    const least = bound === "lockWaiters" ? 0 : 1
    if (!(value >= least)) throw new RangeError(`${name}.${bound} must be at least ${least}`)
  }
  return limits
}

const configOf = (sql: SqlClient.SqlClient): PgClient.PgPoolConfig => (isPgClient(sql) ? sql.config : {})

/** A fifth of the pool's connections may wait for locks of tenants, and at least one, so that each append is answered. */
const lockWaitersOf = (sql: SqlClient.SqlClient): number =>
  Math.max(1, Math.floor((configOf(sql).maxConnections ?? 10) / 5))

/** Runs a check of the database. A finding is refused, or logged as a warning. */
const checked = <E extends PgCheck.IsolationImpaired | PgCheck.PrivilegedLogin, R>(
  check: Effect.Effect<void, E | StorageUnavailable, R>,
  action: "refuse" | "warn"
): Effect.Effect<void, E | StorageUnavailable, R> =>
  Effect.catchIf(
    check,
    (error) => action === "warn" && !(error instanceof StorageUnavailable),
    ({ message }) => Effect.logWarning(message)
  )

/** The events of a database, which must be migrated. */
export const make = (
  options: Options
): Effect.Effect<
  EventStorage.EventStorage["Service"],
  PgCheck.SchemaOutdated | PgCheck.IsolationImpaired | PgCheck.PrivilegedLogin | StorageUnavailable,
  SqlClient.SqlClient | Scope.Scope
> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* PgCheck.schema
    yield* deadlines.openStore(sql)
    yield* checked(PgCheck.isolation, options.onImpairedIsolation ?? "refuse")
    const onPrivilegedLogin = options.onPrivilegedLogin ?? (yield* byEnvironment)
    if (onPrivilegedLogin !== "accept") yield* checked(PgCheck.login, onPrivilegedLogin)
    const provision = options.provisionOnAppend ?? true
    const announcements = yield* makeAnnouncements(sql, options.announce ?? true, options.listen)
    const pageBytes = BigInt(options.pageBytes ?? 4 << 20)

    /** The rows of a query. `Row` is the type of its decoded columns. */
    const query = <Row>(text: string, parameters: ReadonlyArray<unknown>, execution?: StatementOptions) =>
      decodedRows<Row>(sql, text, parameters, execution)

    const ofTenant = <Row>(
      operation: string,
      tenantId: TenantId,
      text: string,
      parameters: ReadonlyArray<unknown>,
      execution?: StatementOptions
    ) =>
      Effect.andThen(
        refuseOthers(sql, tenantId),
        query<Row>(text, [tenantId, ...parameters], execution).pipe(
          Effect.catch((error) => failFor(sql, operation, tenantId, error))
        )
      )

    const acrossTenants = <Row>(
      operation: string,
      text: string,
      parameters: ReadonlyArray<unknown>,
      execution?: StatementOptions
    ) =>
      Effect.mapError(query<Row>(text, parameters, execution), (error) =>
        sqlErrors.toUnavailable(operation, error)
      )

    // The store may have been built in a transaction, which must not be used for batches.
    const fork = Effect.runForkWith(Context.omit(sql.transactionService)(yield* Effect.context()))
    const append = makeAppend(sql, {
      provision,
      batches: limitsOf(
        "groupCommit",
        {
          maxAppends: 512,
          maxCharacters: 1_000_000,
          concurrency: 2,
          lockWaiters: lockWaitersOf(sql),
          lockWaitMillis: lockTimeoutOf(configOf(sql))
        },
        options.groupCommit
      ),
      announcements,
      fork
    })
    const loads = limitsOf("groupLoads", { maxLoads: 64, concurrency: 2 }, options.groupLoads)
    const inTurn = makeReadPlaces(sql)
    const reading = makeReading(
      (operation, tenantId, text, parameters) =>
        inTurn(tenantId, ofTenant(operation, tenantId, text, parameters)),
      acrossTenants,
      pageBytes
    )

    const tenantStatus: EventStorage.EventStorage["Service"]["tenantStatus"] = (tenantId) =>
      Effect.map(
        ofTenant<[EventStorage.TenantStatus | "elsewhere" | null]>(
          "read the status of a tenant",
          tenantId,
          "select eventsourcing.tenant_status($1::pg_catalog.uuid)",
          []
        ),
        ([row]) => row?.[0] ?? undefined
      )

    return EventStorage.EventStorage.of({
      ...reading,
      openLog: makeOpenLog(sql, reading.readLog, inTurn),
      loadStream: makeLoad(sql, { limits: loads, pageBytes, fork }),
      streamEndsWith: makeStreamEnds(sql, { limits: loads, fork }),
      reserveStream: makeReservations(sql, fork),
      forgottenSubjects: makeForgottenSubjects(sql, { limits: loads, fork, gathers: true }),
      changes: announcements.changes,
      append: yield* waitForMoves(
        { append, inTransaction: inTransaction(sql), tenantStatus },
        options.moveWait ?? defaultMoveWait
      ),
      streamVersion: ({ tenantId, aggregateType, aggregateId }) =>
        Effect.map(
          ofTenant<[number]>(
            "read a version",
            tenantId,
            "select eventsourcing.stream_version($1::pg_catalog.uuid, $2::pg_catalog.text, $3::pg_catalog.text)",
            [aggregateType, aggregateId]
          ),
          ([row]) => row?.[0] ?? 0
        ),
      listStreams: ({ after, aggregateType, limit, tenantId }) =>
        Effect.map(
          ofTenant<[string, string, number]>(
            "list streams",
            tenantId,
            "select aggregate_type, aggregate_id, version from eventsourcing.list_streams($1::pg_catalog.uuid, $2::pg_catalog.text, $3::pg_catalog.text, $4::pg_catalog.text, $5::integer)",
            [
              aggregateType ?? null,
              after?.aggregateType ?? null,
              after?.aggregateId ?? null,
              // One extra row shows if there are more.
              Math.min(limit + 1, 2_147_483_647)
            ]
          ),
          (rows) => ({
            rows: rows
              .slice(0, limit)
              .map(([type, aggregateId, version]) => ({ aggregateType: type, aggregateId, version })),
            complete: rows.length <= limit
          })
        ),
      head: ({ at, tenantId }) =>
        Effect.map(
          ofTenant<[number, string | null, string | null]>(
            "read the head of a log",
            tenantId,
            'select "position", event_id, event_id_at from eventsourcing.log_head($1::pg_catalog.uuid, $2::bigint)',
            [at === undefined ? null : BigInt(clampPosition(at))]
          ),
          ([row]) => ({ position: row?.[0] ?? 0, eventId: row?.[1] ?? null, eventIdAt: row?.[2] ?? null })
        ),
      eventPosition: ({ eventId, tenantId }) =>
        Effect.map(
          ofTenant<[number | null]>(
            "find an event",
            tenantId,
            "select eventsourcing.event_position($1::pg_catalog.uuid, $2::pg_catalog.uuid)",
            [eventId]
          ),
          ([row]) => row?.[0] ?? undefined
        ),
      commandOutcome: makeCommandOutcome(sql, { limits: loads, fork }),
      startHashChain: (tenantId) =>
        Effect.flatMap(
          ofTenant<[number | null]>(
            "start a hash chain",
            tenantId,
            "select eventsourcing.start_hash_chain($1::pg_catalog.uuid)",
            [],
            { commits: true }
          ),
          ([row]) =>
            row === undefined || row[0] === null
              ? Effect.fail(new TenantRefused({ reason: new UnknownTenant({ tenantId }) }))
              : Effect.succeed(row[0])
        ),
      hashChainStart: (tenantId) =>
        Effect.map(
          ofTenant<[number | null]>(
            "read the start of a hash chain",
            tenantId,
            "select eventsourcing.hash_chain_start($1::pg_catalog.uuid)",
            []
          ),
          ([row]) => row?.[0] ?? undefined
        ),
      inTransaction: inTransaction(sql),
      provisionTenant: (tenantId) =>
        Effect.flatMap(
          ofTenant<[EventStorage.TenantStatus | "elsewhere"]>(
            "provision a tenant",
            tenantId,
            "select eventsourcing.provision_tenant($1::pg_catalog.uuid)",
            [],
            { commits: true }
          ),
          ([row]) => {
            const status = row?.[0] ?? "active"
            if (status !== "elsewhere") return Effect.succeed(status)
            const operation = "provision a tenant that has another database"
            return Effect.fail(
              new StorageUnavailable({
                reason: new OtherFailure({ operation, retryable: false, code: "UnknownTenant" })
              })
            )
          }
        ),
      tenantStatus,
      movedTo: (tenantId) =>
        Effect.map(
          ofTenant<[string | null]>(
            "find the new place of a tenant",
            tenantId,
            "select eventsourcing.moved_to($1::pg_catalog.uuid)",
            []
          ),
          ([row]) => row?.[0] ?? undefined
        ),
      ...makeAccesses(acrossTenants),
      setTenantStatus: ({ accessId, tenantId, status }) =>
        Effect.flatMap(
          acrossTenants<[EventStorage.TenantStatus | null]>(
            "set the status of a tenant",
            "select eventsourcing.set_tenant_status($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::pg_catalog.text)",
            [accessId, tenantId, status],
            { commits: true }
          ),
          ([row]) =>
            row === undefined || row[0] === null
              ? Effect.fail(new TenantRefused({ reason: new UnknownTenant({ tenantId }) }))
              : row[0] === "active" || row[0] === "suspended"
                ? Effect.succeed(row[0])
                : Effect.fail(refusalOf(tenantId, row[0]))
        ),
      listTenants: ({ accessId, after, limit }) =>
        Effect.map(
          acrossTenants<[TenantId, EventStorage.TenantStatus, Date, number]>(
            "list tenants",
            'select tenant_id::pg_catalog.text, status, created_at, "position" from eventsourcing.list_tenants($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::integer)',
            [accessId, after ?? null, oneMore(limit)]
          ),
          (rows) =>
            pageOf(rows, limit, ([tenantId, status, createdAt, position]) => ({
              tenantId,
              status,
              createdAt: createdAt.getTime(),
              position
            }))
        ),
      usage: ({ accessId, after, limit, recordedBefore, recordedFrom }) =>
        Effect.map(
          acrossTenants<readonly [TenantId, Date, number, number, number, number, boolean]>(
            "read the usage of tenants",
            "select tenant_id::pg_catalog.text, day, events, bytes, streams, new_streams, more from eventsourcing.usage($1::pg_catalog.uuid, $2::pg_catalog.timestamptz, $3::pg_catalog.timestamptz, $4::pg_catalog.uuid, $5::pg_catalog.timestamptz, $6::integer)",
            [
              accessId,
              new Date(recordedFrom),
              new Date(recordedBefore),
              after?.tenantId ?? null,
              toDate(after?.day),
              limit
            ]
          ),
          (rows) => ({
            rows: rows.map(([tenantId, day, events, bytes, streams, newStreams]) => ({
              tenantId,
              day: day.getTime(),
              events,
              bytes,
              streams,
              newStreams
            })),
            complete: rows.at(-1)?.[6] !== true
          })
        )
    })
  })

/** The administration of tenants on PostgreSQL: functions of `migrations/administration`, each of which requires a recorded access. */
import { PgTypes } from "@effect/sql-pg"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import * as Storage from "../driver/AdministrationStorage.ts"
import type { EventRow, EventStorage } from "../driver/EventStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { clampPosition } from "../driver/queryMatch.ts"
import { array, arrayText } from "./appendBatch.ts"
import * as chunks from "./chunks.ts"
import * as overviews from "./overviews.ts"
import { oneMore } from "./read.ts"
import * as sqlErrors from "./sqlErrors.ts"
import { decodedRows } from "./statement.ts"
import * as streamLog from "./streamLog.ts"
import * as subjects from "./subjects.ts"

/** A tenant as `administered_tenant.sql` returns it. */
interface StoredTenant {
  readonly status: Storage.Status
  readonly undertaking: {
    readonly token: string
    readonly head: number
    readonly until: number
    readonly to: string
    readonly erasedAt: number
    readonly actor: string
    readonly reason: string
    readonly events: number
    readonly lastHash: string | null
    readonly purgeFrom: number
    readonly purging?: boolean
    readonly purged?: boolean
    /** The id of a move that is over, or its properties while it is under way. */
    readonly move?:
      | string
      | { readonly id: string; readonly from: string; readonly to: string; readonly until: number }
    readonly at?: number
    readonly calledOff?: ReadonlyArray<string>
    readonly run?: Storage.MoveRun
  } | null
  readonly hold: Storage.LegalHold | null
  readonly origin: Storage.Origin | null
  readonly quota: Storage.Quota | null
  readonly chainedFrom: number | null
  readonly createdAt: number
  readonly now: number
  readonly position: number
  readonly lastEventId: string | null
  readonly lastHash: string | null
  readonly forgotten: number
}

const stateOf = ({ now, status, undertaking }: StoredTenant): Storage.TenantState => {
  if (undertaking === null || status === "active" || status === "suspended" || status === "elsewhere") {
    // The other statuses have an undertaking.
    if (status === "active" || status === "suspended" || status === "elsewhere") return { status }
    throw new Error(`a tenant is ${status} without an undertaking`)
  }
  const { at, head, move, to, token, until } = undertaking
  const under = typeof move === "object" ? move : undefined
  switch (status) {
    case "importing":
      return {
        status,
        token,
        move: under && { id: under.id, from: under.from, leaseMillis: under.until - now }
      }
    case "moving":
      return {
        status,
        token,
        head,
        expiresInMillis: until - now,
        move: under && { id: under.id, to: under.to }
      }
    case "moved":
      return {
        status,
        token,
        to,
        head,
        move: typeof move === "string" ? move : undefined,
        sinceMillis: now - (at ?? now),
        purged: undertaking.purged ?? false
      }
    case "erased": {
      const {
        actor,
        erasedAt,
        events,
        lastHash,
        purged = false,
        purgeFrom,
        purging = false,
        reason
      } = undertaking
      return {
        status,
        token,
        erasedAt,
        actor,
        reason,
        events,
        lastHash,
        purgeInMillis: purgeFrom - now,
        purging,
        purged
      }
    }
  }
}

const recordOf = (
  tenantId: Storage.TenantRecord["tenantId"],
  stored: StoredTenant
): Storage.TenantRecord => ({
  tenantId,
  state: stateOf(stored),
  createdAt: stored.createdAt,
  position: stored.position,
  lastEventId: stored.lastEventId,
  lastHash: stored.lastHash,
  chainedFrom: stored.chainedFrom ?? undefined,
  origin: stored.origin ?? undefined,
  hold: stored.hold ?? undefined,
  quota: stored.quota ?? undefined,
  calledOff: stored.undertaking?.calledOff ?? [],
  run: stored.undertaking?.run,
  forgotten: stored.forgotten
})

/** The refusal of a change or a purge. */
interface Refusal {
  readonly problem?: string
  readonly held?: Storage.LegalHold
  readonly heldSubjects?: Storage.TenantHeld["subjects"]
}

const eventTypes = [
  "text",
  "text",
  "int4",
  "uuid",
  "text",
  "int4",
  "timestamptz",
  "timestamptz",
  "text",
  "text",
  "text",
  "text",
  "text",
  "text",
  "text",
  "text"
] as const

const writeEventsSql = `select eventsourcing.write_events($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::pg_catalog.uuid, $4::bigint, ${eventTypes
  .map((type, index) => `$${index + 5}::pg_catalog.${type}[]`)
  .join(", ")})`

const residues: ReadonlyArray<string> = [
  "Dead rows hold the texts in the files of the tables until VACUUM has removed them. It is left to autovacuum; to remove them at once, run VACUUM as the owner of the database.",
  "The write-ahead log and its archive hold the texts until these segments are recycled or expire.",
  "Backups and replicas from before the erasure hold the texts until they expire or have caught up. Erase the tenant again after restoring one."
]

/** The arrays of `write_events.sql`. */
const eventArrays = (events: ReadonlyArray<EventRow>): ReadonlyArray<unknown> => {
  const tagged = events.some(({ tags }) => tags.length > 0)
  const columns: ReadonlyArray<ReadonlyArray<unknown>> = [
    events.map(({ aggregateType }) => aggregateType),
    events.map(({ aggregateId }) => aggregateId),
    events.map(({ version }) => version),
    events.map(({ eventId }) => eventId),
    events.map(({ eventType }) => eventType),
    events.map(({ schemaVersion }) => schemaVersion),
    events.map(({ occurredAt }) => occurredAt),
    events.map(({ recordedAt }) => recordedAt),
    events.map(({ actor }) => actor ?? ""),
    events.map(({ correlationId }) => correlationId),
    events.map(({ causationId }) => causationId ?? ""),
    events.map(({ metadata }) => metadata),
    events.map(({ payload }) => payload),
    tagged ? events.map(({ tags }) => arrayText(tags)) : [],
    events.map(({ hash }) => hash ?? ""),
    events.map(({ traceparent }) => traceparent ?? "")
  ]
  return columns.map((values, index) => array(values, PgTypes.OID[eventTypes[index] ?? "text"]))
}

/** The administration of the tenants of a database, which must be migrated. */
export const make = (
  sql: SqlClient.SqlClient,
  events: EventStorage["Service"],
  pageBytes: number = 4 << 20
): Storage.AdministrationStorage["Service"] => {
  /** The rows of a query. `Row` is the type of its decoded columns. */
  const query = <Row>(
    operation: string,
    text: string,
    parameters: ReadonlyArray<unknown>,
    { commits = true } = {}
  ): Effect.Effect<ReadonlyArray<Row>, StorageUnavailable> =>
    decodedRows<Row>(sql, text, parameters, { commits }).pipe(
      Effect.mapError((error) => sqlErrors.toUnavailable(operation, error))
    )

  const tenant = ({ accessId, tenantId }: Storage.Administered) =>
    Effect.map(
      query<[StoredTenant | null]>(
        "read a tenant for its administration",
        "select eventsourcing.administered_tenant($1::pg_catalog.uuid, $2::pg_catalog.uuid)",
        [accessId, tenantId]
      ),
      ([row]) => (row === undefined || row[0] === null ? undefined : recordOf(tenantId, row[0]))
    )

  /** Fails because of the tenant's state. */
  const conflict = (operation: string, request: Storage.Administered, problem: string) =>
    Effect.flatMap(tenant(request), (record) =>
      Effect.fail(
        new Storage.TenantStateConflict({
          tenantId: request.tenantId,
          operation,
          status: record?.state.status ?? null,
          position: record?.position ?? 0,
          problem
        })
      )
    )

  /** Succeeds if the answer of a function is no refusal. */
  const unless = (
    operation: string,
    request: Storage.Administered,
    answer: Refusal | null
  ): Effect.Effect<void, Storage.TenantStateConflict | Storage.TenantHeld | StorageUnavailable> => {
    if (answer?.held !== undefined) {
      const { actor, reason } = answer.held
      return Effect.fail(new Storage.TenantHeld({ tenantId: request.tenantId, actor, reason }))
    }
    const [first] = answer?.heldSubjects ?? []
    if (first !== undefined) {
      const { actor, reason } = first
      return Effect.fail(
        new Storage.TenantHeld({
          tenantId: request.tenantId,
          actor,
          reason,
          subjects: answer?.heldSubjects ?? []
        })
      )
    }
    return answer?.problem === undefined ? Effect.void : conflict(operation, request, answer.problem)
  }

  /** Runs a function that returns a sentence if it refuses. */
  const refusable = (
    operation: string,
    request: Storage.Administered,
    text: string,
    parameters: ReadonlyArray<unknown>
  ) =>
    Effect.flatMap(query<[string | null]>(operation, text, parameters), ([row]) =>
      row === undefined || row[0] === null ? Effect.void : conflict(operation, request, row[0])
    )

  const readRows = <Row>(
    { accessId, tenantId }: Storage.Administered,
    kind: string,
    after: string | null,
    limit: number,
    fromPosition = 0
  ) =>
    Effect.map(
      query<[Row]>(
        `read ${kind}`,
        "select eventsourcing.read_tenant_rows($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::pg_catalog.text, $4::pg_catalog.text, $5::integer, $6::bigint)",
        [accessId, tenantId, kind, after, limit, BigInt(clampPosition(fromPosition))]
      ),
      (rows) => rows.map(([row]) => row)
    )

  const writeRows = (request: Storage.Imported, kind: string, rows: ReadonlyArray<unknown>) =>
    refusable(
      `write ${kind}`,
      request,
      "select eventsourcing.write_tenant_rows($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::pg_catalog.uuid, $4::pg_catalog.text, $5::pg_catalog.jsonb)",
      [request.accessId, request.tenantId, request.token, kind, JSON.stringify(rows)]
    )

  const pageOf = <Row>(rows: ReadonlyArray<Row>, limit: number) => ({
    rows: rows.slice(0, limit),
    complete: rows.length <= limit
  })

  const readEvents: Storage.AdministrationStorage["Service"]["readEvents"] = ({
    accessId,
    fromPosition,
    limit,
    tenantId,
    toPosition
  }) => {
    const read = (most: number) =>
      Effect.map(
        query<chunks.EventChunk>("read a log for its administration", chunks.readRawLogSql, [
          accessId,
          tenantId,
          BigInt(clampPosition(fromPosition)),
          BigInt(clampPosition(toPosition)),
          most,
          BigInt(pageBytes)
        ]),
        (found) => chunks.eventPage(found, { direction: "forwards", limit })
      )
    const general = Effect.flatMap(read(oneMore(limit)), (page) =>
      page === undefined
        ? // a text contains the separator of chunks: one event needs none
          Effect.map(read(1), (one = { rows: [], complete: true }) => one)
        : Effect.succeed(page)
    )
    const first = Math.max(clampPosition(fromPosition), 1)
    return Effect.flatMap(
      query<chunks.EventChunk>(
        "read a log for its administration",
        chunks.streamRawLogSql,
        [
          accessId,
          tenantId,
          BigInt(first),
          // positions have no gaps
          BigInt(Math.min(clampPosition(toPosition), first + limit)),
          BigInt(pageBytes)
        ],
        { commits: false }
      ),
      (found) => {
        const page = chunks.rawPage(found, limit)
        return page === undefined ? general : Effect.succeed(page)
      }
    )
  }

  return Storage.AdministrationStorage.of({
    recordAccess: events.recordAccess,
    tenant,
    changeState: (request) =>
      Effect.gen(function* () {
        const { accessId, change, tenantId, token, ...given } = request
        const [row] = yield* query<[Refusal | null]>(
          `change the state of a tenant (${change})`,
          "select eventsourcing.change_tenant_state($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::pg_catalog.text, $4::pg_catalog.uuid, $5::pg_catalog.jsonb)",
          [accessId, tenantId, change, token ?? null, JSON.stringify(given)]
        )
        yield* unless(change, request, row?.[0] ?? null)
        const record = yield* tenant(request)
        return record ?? (yield* conflict(change, request, "the tenant was removed meanwhile"))
      }),
    movingTenants: ({ accessId }) =>
      Effect.map(
        query<[Storage.TenantRecord["tenantId"]]>(
          "list the tenants on the move",
          "select t from eventsourcing.moving_tenants($1::pg_catalog.uuid) t",
          [accessId]
        ),
        (rows) => rows.map(([tenantId]) => tenantId)
      ),
    overviews: (request) =>
      Effect.map(
        query<[overviews.StoredOverview]>(
          "list tenants for their administration",
          overviews.sql,
          overviews.parameters(request)
        ),
        (rows) =>
          pageOf(
            rows.map(([row]) => overviews.toRow(row)),
            request.limit
          )
      ),
    work: (request) =>
      Effect.map(readRows<overviews.StoredWork>(request, "work", null, 2_147_483_647), (rows) =>
        rows.map(overviews.toWork)
      ),
    setHold: (request) =>
      refusable(
        "set the legal hold",
        request,
        "select eventsourcing.hold_tenant($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::pg_catalog.text)",
        [request.accessId, request.tenantId, request.reason ?? null]
      ),
    setQuota: (request) =>
      refusable(
        "set the quota",
        request,
        "select eventsourcing.set_quota($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::pg_catalog.jsonb)",
        [
          request.accessId,
          request.tenantId,
          request.quota === undefined ? null : JSON.stringify(request.quota)
        ]
      ),
    changeSubject: ({ accessId, change, subject, tenantId, ...given }) =>
      Effect.flatMap(
        query<[Refusal & { readonly subject?: subjects.StoredSubject }]>(
          `change a subject (${change})`,
          "select eventsourcing.change_subject($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::pg_catalog.text, $4::pg_catalog.text, $5::pg_catalog.jsonb)",
          [accessId, tenantId, subject, change, JSON.stringify(given)]
        ),
        ([row]): Effect.Effect<
          Storage.SubjectRow,
          Storage.TenantStateConflict | Storage.SubjectHeld | StorageUnavailable
        > => {
          const answer = row?.[0]
          if (answer?.held !== undefined) {
            const { actor, reason } = answer.held
            return Effect.fail(new Storage.SubjectHeld({ tenantId, subject, actor, reason }))
          }
          return answer?.subject === undefined
            ? conflict(`${change} a subject`, { accessId, tenantId }, answer?.problem ?? "no answer")
            : Effect.succeed(subjects.toRow(answer.subject))
        }
      ),
    subjects: (request) =>
      Effect.map(
        readRows<subjects.StoredSubject>(request, "subjects", request.after ?? null, oneMore(request.limit)),
        (rows) => pageOf(rows.map(subjects.toRow), request.limit)
      ),
    writeSubjects: (request) =>
      writeRows(request, "subjects", [
        { forgotten: request.forgotten },
        ...request.subjects.map(subjects.fromRow)
      ]),
    definePlan: ({ accessId, limits, name }) =>
      Effect.asVoid(
        query(
          "define a plan",
          "select eventsourcing.define_plan($1::pg_catalog.uuid, $2::pg_catalog.text, $3::pg_catalog.jsonb)",
          [accessId, name, JSON.stringify(limits)]
        )
      ),
    plans: ({ accessId }) =>
      Effect.map(
        query<[string, Storage.Limits]>(
          "list the plans",
          "select name, limits from eventsourcing.list_plans($1::pg_catalog.uuid)",
          [accessId]
        ),
        (rows) => rows.map(([name, limits]) => ({ name, limits }))
      ),
    readEvents,
    openEvents: streamLog.makeForAdministration(sql, { readEvents, tenant }),
    hasPayloadWith: (request) => {
      const { fromPosition, text, toPosition } = request
      const from = clampPosition(fromPosition)
      const count = Math.min(clampPosition(toPosition) - from + 1, 2_147_483_647)
      return count < 1
        ? Effect.succeed(false)
        : Effect.map(readRows(request, "payloadsWith", text, count, from), ({ length }) => length > 0)
    },
    writeEvents: (request) => {
      const [first] = request.events
      if (first === undefined) {
        return Effect.map(tenant(request), (record) => record?.position ?? 0)
      }
      return Effect.flatMap(
        query<[Refusal & { readonly position: number }]>("write events", writeEventsSql, [
          request.accessId,
          request.tenantId,
          request.token,
          BigInt(first.position),
          ...eventArrays(request.events)
        ]),
        ([row]) =>
          row?.[0].problem === undefined
            ? Effect.succeed(row?.[0].position ?? 0)
            : conflict("write events", request, row[0].problem)
      )
    },
    readCommandKeys: (request) =>
      Effect.map(
        readRows<Storage.CommandKeyRow>(
          request,
          "commandKeys",
          request.after ?? null,
          oneMore(request.limit),
          request.fromPosition
        ),
        (rows) => pageOf(rows, request.limit)
      ),
    writeCommandKeys: (request) => writeRows(request, "commandKeys", request.keys),
    readDeadLetters: (request) =>
      Effect.map(
        readRows<
          Omit<Storage.DeadLetterRow, "discarded"> & {
            readonly discarded: Storage.DeadLetterRow["discarded"] | null
          }
        >(request, "deadLetters", String(request.after), oneMore(request.limit)),
        (rows) =>
          pageOf(
            rows.map(({ discarded, ...row }) => ({ ...row, discarded: discarded ?? undefined })),
            request.limit
          )
      ),
    writeDeadLetters: (request) => writeRows(request, "deadLetters", request.letters),
    readProgress: (request) =>
      Effect.map(
        readRows<{
          readonly projection: string
          readonly version: number
          readonly position: number
          readonly parked: boolean
          readonly attempts: number
          readonly failedPosition: number | null
          readonly error: string | null
          readonly tables: ReadonlyArray<string> | null
        }>(request, "progress", null, 2_147_483_647),
        (rows) =>
          rows.map(({ error, failedPosition, tables, ...row }) => ({
            ...row,
            failedPosition: failedPosition ?? undefined,
            error: error ?? undefined,
            tables: tables ?? []
          }))
      ),
    writeProgress: (request) => writeRows(request, "progress", request.progress),
    openTransactions: ({ accessId, tenantId }) =>
      Effect.map(
        query<[string]>(
          "list open transactions",
          "select t from eventsourcing.open_transactions($1::pg_catalog.uuid, $2::pg_catalog.uuid) t",
          [accessId, tenantId]
        ),
        (rows) => rows.map(([transaction]) => transaction)
      ),
    tables: ({ accessId, tenantId }) =>
      Effect.map(
        query<[string, Storage.TableHandling | null, string | null, boolean]>(
          "list the tables of tenants",
          "select name, handling, reason, has_rows from eventsourcing.administered_tables($1::pg_catalog.uuid, $2::pg_catalog.uuid)",
          [accessId, tenantId]
        ),
        (rows) =>
          rows.map(([table, handling, reason, hasRows]) => ({
            table,
            handling: handling ?? undefined,
            reason: reason ?? undefined,
            hasRows
          }))
      ),
    readTable: (request) =>
      Effect.flatMap(
        query<[string | null]>(
          "read a table of a tenant",
          "select * from eventsourcing.read_tenant_table($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::pg_catalog.text, $4::pg_catalog.text, $5::integer)",
          [request.accessId, request.tenantId, request.table, request.after ?? null, oneMore(request.limit)]
        ),
        (rows) => {
          const texts = rows.flatMap(([row]) => (row === null ? [] : [row]))
          return texts.length < rows.length
            ? conflict("read a table", request, `table ${request.table} is not declared as carried here`)
            : Effect.succeed(pageOf(texts, request.limit))
        }
      ),
    writeTable: (request) =>
      refusable(
        "write a table",
        request,
        "select eventsourcing.write_tenant_table($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::pg_catalog.uuid, $4::pg_catalog.text, $5::pg_catalog.text, $6::boolean)",
        [
          request.accessId,
          request.tenantId,
          request.token,
          request.table,
          // the texts as they are: a number of many digits would not survive JSON.parse
          `[${request.rows.join()}]`,
          request.replace
        ]
      ),
    residues,
    purge: (request) =>
      Effect.flatMap(
        query<[Refusal & Storage.Purged]>(
          "purge a tenant",
          "select eventsourcing.purge_tenant($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::pg_catalog.uuid, $4::integer)",
          [request.accessId, request.tenantId, request.token, request.limit]
        ),
        ([row]) => {
          const answer = row?.[0] ?? { removed: 0, complete: false }
          return Effect.as(unless("purge", request, answer), {
            removed: answer.removed,
            complete: answer.complete
          })
        }
      )
  })
}

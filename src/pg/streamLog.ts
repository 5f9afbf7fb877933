/**
 * Fast path for readers of a whole log: chunks arrive while the server makes the next ones. Each statement reads a bounded range of
 * positions, on its own connection and in a short transaction, and always runs to its end. Chunks that the consumer has not taken
 * are kept, and the next range is requested when most of them are taken. So neither the time that the consumer takes nor its early end
 * touches a statement, and a connection is held only while the server reads. A consumer that holds a connection itself asks for a
 * spare reader, which never waits for connections: it would otherwise wait for consumers that wait for their readers.
 *
 * It declines in transactions, for selections by more than positions and types, and on the embedded database, which has one
 * connection. There, for chunks with large events, and after failures, pages of `readLog` are read.
 */
import type { PgClient } from "@effect/sql-pg"
import { type Context, Effect, Exit, type Fiber, Option, type Scope, Stream } from "effect"
import type { SqlClient, SqlConnection, SqlError } from "effect/sql"
import type { AdministrationStorage } from "../driver/AdministrationStorage.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type { EventRow, EventStorage, LogReader, LogStep, Page } from "../driver/EventStorage.ts"
import { isPgClient } from "./announcements.ts"
import * as chunks from "./chunks.ts"
import { usesOf } from "./deadlines.ts"
import { openIn, openTransaction } from "./openTransaction.ts"
import { boundTransaction } from "./PgTenant.ts"
import type { InTurn } from "./readPlaces.ts"

/** Number of positions of the first statement, and of the largest one, which is 64 MiB of events of 8 kB. */
const positions = { first: 1024, most: 8192 }

/** Positions of a chunk, as in stream_log. */
const chunkPositions = 128

/**
 * Number of statements in one transaction while the consumer takes chunks as fast as they come, so that it does not wait for COMMIT,
 * BEGIN and the first statement between two ranges: about 65,000 events.
 */
const maxStatements = 8

/** Number of consecutive statements without a chunk after which the rest of the log is read in pages. */
const maxFailures = 2

/** Number of statements of spare readers in progress, by client. */
const spares = new WeakMap<SqlClient.SqlClient, number>()
const sparesOf = (sql: SqlClient.SqlClient): number => spares.get(sql) ?? 0

const maxConnectionsOf = (sql: SqlClient.SqlClient): number => {
  const { maxConnections = 10 }: PgClient.PgPoolConfig = isPgClient(sql) ? sql.config : {}
  return maxConnections
}

/** True if a reader may keep its connection for another statement: others, each of which is one use or two, find one as well. */
const mayKeep = (sql: SqlClient.SqlClient): boolean => usesOf(sql).size < maxConnectionsOf(sql)

/** True if a spare reader may take a connection: at most a fifth of the pool, and never the last free one. */
const hasSpare = (sql: SqlClient.SqlClient): boolean => {
  const maxConnections = maxConnectionsOf(sql)
  const taken = sparesOf(sql)
  // a reader is two uses: its statement, and the transaction of it
  const inUse = usesOf(sql).size - taken
  return taken < Math.max(1, Math.floor(maxConnections / 5)) && inUse + 2 <= maxConnections
}

type ReadLog = EventStorage["Service"]["readLog"]

/** A log, or a part of it, that is read as a whole. Positions are those of its first and last event at most. */
interface Source<E> {
  readonly tenantId: TenantId
  readonly fromPosition: number
  readonly toPosition: number
  /** See `OpenLogRequest`. */
  readonly spare: boolean
  /** Undefined: all. */
  readonly aggregateTypes?: ReadonlyArray<string> | undefined
  readonly eventTypes?: ReadonlyArray<string> | undefined
  /** A page of a range, read in another way. */
  readonly readPage: (range: Range, limit: number) => Effect.Effect<Page<EventRow>, E>
}

/** Positions, both ends inclusive. */
interface Range {
  readonly first: number
  readonly last: number
}

/** A transaction that reads. */
interface Reading {
  /** The range of the present statement. */
  range: Range
  /** The last position that it has brought. */
  received: number | undefined
  /** Number of chunks that it has brought. */
  brought: number
  /** The head of the log when the transaction began. */
  head: number
  /** Number of statements that have ended. */
  statements: number
}

class Reader<E> {
  readonly #sql: SqlClient.SqlClient
  readonly #source: Source<E>
  readonly #inTurn: InTurn
  readonly #context: Context.Context<never>

  /** Arrived chunks. */
  readonly #chunks: Array<chunks.EventChunk> = []
  /** The rows of a chunk that are not taken yet. */
  #rows: ReadonlyArray<EventRow> = []
  /** Positions before the chunks that must be read in pages. */
  #range: Range | undefined
  #waits: ReadonlyArray<() => void> = []

  /** The last requested position. */
  #asked: number
  /** The end of the last range that was read as a whole. */
  #settled: number
  /** The position up to which all rows have been returned. */
  #returned: number
  #size = positions.first
  #statement: "none" | "waits for a connection" | "reads" = "none"
  #fiber: Fiber.Fiber<void, SqlError.SqlError> | undefined
  /** Number of statements that have ended. */
  #ended = 0
  #failures = 0
  /** True if a statement has failed, so that a page is read before the next one. */
  #pageFirst = false
  /** True if the log ends with the requested positions. */
  #asksNoMore = false
  #closed = false

  constructor(sql: SqlClient.SqlClient, source: Source<E>, inTurn: InTurn, context: Context.Context<never>) {
    this.#sql = sql
    this.#source = source
    this.#inTurn = inTurn
    this.#context = context
    this.#asked = this.#settled = this.#returned = Math.max(source.fromPosition, 1) - 1
    this.#ask()
  }

  readonly isReady = (): boolean =>
    this.#isSpare
      ? this.#rows.length > 0 || this.#chunks.length > 0 || this.#statement !== "waits for a connection"
      : this.#range === undefined &&
        (this.#rows.length > 0 || this.#chunks.length > 0 || this.#statement === "reads" || this.#isComplete)

  readonly untilReady: Effect.Effect<void> = Effect.suspend(() =>
    this.isReady() ? Effect.void : Effect.flatMap(this.#arrival, () => this.untilReady)
  )

  readonly next = (limit: number): Effect.Effect<Page<EventRow>, E> =>
    Effect.flatMap(this.step(limit), ({ complete, rows }) =>
      rows.length > 0 || complete ? Effect.succeed({ rows, complete }) : this.next(limit)
    )

  readonly step = (limit: number): Effect.Effect<LogStep, E> =>
    Effect.suspend(() => {
      const rows = this.#take(limit)
      this.#ask()
      if (rows.length > 0 || this.#isComplete) return Effect.succeed(this.#stepOf(rows))
      if (this.#range !== undefined) return this.#readRange(this.#range, limit)
      if (this.#statement === "none") return this.#readPage(limit)
      const ended = this.#ended
      return Effect.flatMap(this.#arrival, () =>
        this.#ended === ended || this.#chunks.length > 0 ? this.step(limit) : Effect.succeed(this.#stepOf([]))
      )
    })

  /** Ends the reader. A statement that reads runs to its end. */
  readonly close: Effect.Effect<void> = Effect.sync(() => {
    this.#closed = true
    this.#rows = []
    this.#chunks.length = 0
    if (this.#statement === "waits for a connection") this.#fiber?.interruptUnsafe()
  })

  get #isSpare(): boolean {
    return this.#source.spare
  }

  #stepOf(rows: ReadonlyArray<EventRow>): LogStep {
    const last = rows.at(-1)
    if (last !== undefined) this.#returned = last.position
    if (this.#rows.length === 0 && this.#chunks.length === 0 && this.#range === undefined)
      this.#returned = Math.max(this.#returned, this.#settled)
    return { rows, complete: this.#isComplete, position: this.#returned }
  }

  get #isComplete(): boolean {
    return (
      this.#asksNoMore &&
      this.#statement === "none" &&
      this.#range === undefined &&
      this.#rows.length === 0 &&
      this.#chunks.length === 0
    )
  }

  /** Takes arrived rows, up to a chunk that cannot be read. */
  #take(limit: number): ReadonlyArray<EventRow> {
    const taken: Array<EventRow> = []
    while (this.#range === undefined && taken.length < limit) {
      if (this.#rows.length === 0) {
        const chunk = this.#chunks.shift()
        if (chunk === undefined) break
        const rows = chunks.streamed(chunk)
        if (rows === undefined) this.#range = chunks.rangeOf(chunk)
        else this.#rows = rows
        continue
      }
      const left = limit - taken.length
      for (const row of left < this.#rows.length ? this.#rows.slice(0, left) : this.#rows) taken.push(row)
      this.#rows = this.#rows.slice(left)
    }
    return taken
  }

  #readRange({ first, last }: Range, limit: number): Effect.Effect<LogStep, E> {
    return Effect.map(this.#source.readPage({ first, last }, limit), ({ complete, rows }) => {
      const end = rows.at(-1)?.position
      this.#range = complete || end === undefined || end >= last ? undefined : { first: end + 1, last }
      return this.#stepOf(rows)
    })
  }

  #readPage(limit: number): Effect.Effect<LogStep, E> {
    const rest = { first: this.#asked + 1, last: this.#source.toPosition }
    return Effect.map(this.#source.readPage(rest, limit), ({ complete, rows }) => {
      this.#pageFirst = false
      this.#asked = rows.at(-1)?.position ?? this.#asked
      this.#settled = this.#asked
      this.#asksNoMore = complete
      return this.#stepOf(rows)
    })
  }

  /** Waits for a chunk, or for the end of the statement. */
  get #arrival(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const arrived = (): void => resume(Effect.void)
      this.#waits = [...this.#waits, arrived]
      return Effect.sync(() => {
        this.#waits = this.#waits.filter((wait) => wait !== arrived)
      })
    })
  }

  #arrived(): void {
    const waits = this.#waits
    // first, because callers that wait again add themselves
    this.#waits = []
    for (const arrived of waits) arrived()
  }

  /** The next range, unless there is enough to take. Nothing else is asked for until its statement ends. */
  #nextRange(): Range | undefined {
    const asks =
      !this.#closed &&
      !this.#asksNoMore &&
      !this.#pageFirst &&
      this.#failures < maxFailures &&
      this.#chunks.length * chunkPositions <= this.#size / 2
    if (!asks) return undefined
    const first = this.#asked + 1
    const last = Math.min(this.#asked + this.#size, this.#source.toPosition)
    if (last < first) {
      this.#asksNoMore = true
      return undefined
    }
    return { first, last }
  }

  /** Begins a transaction for the next statement. */
  #ask(): void {
    const range = this.#statement === "none" ? this.#nextRange() : undefined
    if (range === undefined || (this.#isSpare && !hasSpare(this.#sql))) return
    this.#asked = range.last
    this.#statement = "waits for a connection"
    const reading: Reading = { range, received: undefined, brought: 0, head: 0, statements: 0 }
    const read = this.#read(reading)
    const fiber = Effect.runForkWith(this.#context)(
      // a spare reader takes only connections that nobody waits for
      this.#isSpare ? read : this.#inTurn(this.#source.tenantId, read)
    )
    this.#fiber = fiber
    const uses = usesOf(this.#sql)
    if (this.#isSpare) spares.set(this.#sql, sparesOf(this.#sql) + 1)
    const giveUp = (): void => fiber.interruptUnsafe()
    uses.add(giveUp)
    fiber.addObserver((exit) => {
      uses.delete(giveUp)
      if (this.#isSpare) spares.set(this.#sql, sparesOf(this.#sql) - 1)
      this.#statement = "none"
      this.#ended++
      if (Exit.isFailure(exit)) {
        const { range: failed, received } = reading
        this.#asked = this.#settled = received ?? failed.first - 1
        this.#failures = received === undefined ? this.#failures + 1 : 0
        this.#pageFirst = received === undefined
        this.#size = positions.first
      }
      this.#ask()
      this.#arrived()
    })
  }

  /** Notes the end of a range. Returns the next one if it is to be read in the same transaction. */
  #endRange(reading: Reading): Range | undefined {
    const { last } = reading.range
    const left = this.#chunks.length > reading.brought / 2
    this.#failures = 0
    this.#settled = last
    this.#asksNoMore = last >= this.#source.toPosition || last >= reading.head
    this.#size = left ? Math.max(this.#size / 2, positions.first) : Math.min(this.#size * 2, positions.most)
    const next = reading.statements < maxStatements && mayKeep(this.#sql) ? this.#nextRange() : undefined
    // a consumer that waits for rows of the range finds out that it has none
    this.#ended++
    this.#arrived()
    return next
  }

  /** Reads ranges to their ends, in one transaction. */
  #read(reading: Reading): Effect.Effect<void, SqlError.SqlError> {
    const { aggregateTypes, eventTypes, tenantId } = this.#source
    const types = [aggregateTypes ?? null, eventTypes ?? null]
    const onChunk = (chunk: chunks.EventChunk): void => {
      reading.received = chunks.rangeOf(chunk)?.last
      reading.brought++
      if (this.#closed) return
      this.#chunks.push(chunk)
      this.#arrived()
    }
    const readRange = (connection: SqlConnection.Connection): Effect.Effect<void, SqlError.SqlError> => {
      const { first, last } = reading.range
      const rows: Stream.Stream<unknown, SqlError.SqlError> = connection.executeStream(
        chunks.streamLogSql,
        [tenantId, BigInt(first), BigInt(last), ...types],
        undefined
      )
      return Effect.flatMap(
        Stream.runForEachArray(rows, (arrived) =>
          Effect.sync(() => {
            for (const columns of arrived)
              // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the columns, in their order
              onChunk(Object.values(columns as object) as unknown as chunks.EventChunk)
          })
        ),
        // The consumer takes what has arrived, before it is decided if it has enough.
        () =>
          Effect.flatMap(Effect.yieldNow, () => {
            reading.statements++
            const next = this.#endRange(reading)
            if (next === undefined) return Effect.void
            this.#asked = next.last
            Object.assign(reading, { range: next, received: undefined, brought: 0 })
            return readRange(connection)
          })
      )
    }
    return boundTransaction(
      this.#sql,
      { text: "select eventsourcing.begin_reading($1::pg_catalog.uuid)", parameters: [tenantId] },
      (row, bound) =>
        Effect.flatMap(openTransaction(this.#sql), (opened) => {
          if (Option.isNone(opened)) return Effect.die(new Error("no connection in a transaction"))
          reading.head = Number(row?.[0] ?? 0)
          this.#statement = "reads"
          this.#arrived()
          return readRange(opened.value)
        }).pipe(bound(tenantId)),
      (error) => error
    ).pipe(
      Effect.tapCause((cause) =>
        Effect.logDebug("A part of a log could not be streamed and is read in pages", cause)
      )
    )
  }
}

/** A reader until the scope closes. Undefined where there is none. */
const open = <E>(
  sql: SqlClient.SqlClient,
  source: Source<E>,
  inTurn: InTurn
): Effect.Effect<Reader<E> | undefined, never, Scope.Scope> =>
  Effect.withFiber<Reader<E> | undefined, never, Scope.Scope>(({ context }) =>
    sql.driver === "pglite" || openIn(context, sql) !== undefined
      ? Effect.undefined
      : Effect.acquireRelease(
          Effect.sync(() => new Reader(sql, source, inTurn, context)),
          (reader) => reader.close
        )
  )

/** `EventStorage.openLog` on a client. */
export const make =
  (sql: SqlClient.SqlClient, readLog: ReadLog, inTurn: InTurn): EventStorage["Service"]["openLog"] =>
  (request): Effect.Effect<LogReader | undefined, never, Scope.Scope> =>
    request.query !== undefined || request.recordedFrom !== undefined || request.recordedBefore !== undefined
      ? Effect.undefined
      : open(
          sql,
          {
            ...request,
            spare: request.spare === true,
            readPage: ({ first, last }, limit) =>
              readLog({ ...request, fromPosition: first, toPosition: last, direction: "forwards", limit })
          },
          inTurn
        )

type Administration = AdministrationStorage["Service"]

/**
 * `AdministrationStorage.openEvents` on a client: reads a tenant that work can see as work does, which costs the server less than a
 * function of the administration. Declines for others. Every login of a store has that right.
 */
export const makeForAdministration =
  (
    sql: SqlClient.SqlClient,
    { readEvents, tenant }: Pick<Administration, "readEvents" | "tenant">
  ): NonNullable<Administration["openEvents"]> =>
  (request) =>
    Effect.flatMap(tenant(request), (record) => {
      if (record === undefined) return Effect.undefined
      const { status } = record.state
      if (status !== "active" && status !== "suspended" && status !== "moving") return Effect.undefined
      return open(
        sql,
        {
          ...request,
          spare: false,
          readPage: ({ first, last }, limit) =>
            readEvents({ ...request, fromPosition: first, toPosition: last, limit })
        },
        // without turns, as all operations of the administration
        (_, read) => read
      )
    })

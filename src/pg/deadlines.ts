/** Deadlines for a silent database: the caller is answered after a time, and the connection is closed. */
import { PgClient } from "@effect/sql-pg"
import { Context, Duration, Effect, Exit, Scope } from "effect"
import { layer as reactivity } from "effect/reactivity/Reactivity"
import { type SqlClient, type SqlConnection, SqlError } from "effect/sql"

/** The longest wait for a connection, and for the answer to a statement. */
export const Silence: Context.Reference<Duration.Duration> = Context.Reference<Duration.Duration>(
  "effect-eventsourcing/pg/Silence",
  { defaultValue: () => Duration.minutes(1) }
)

/** The cause of the error for a silent connection, or for a pool without a free one. */
class NoAnswer extends Error {
  readonly sent: boolean
  constructor(sent: boolean, millis: number) {
    super(
      sent
        ? `the database did not answer for ${millis} ms: the connection was closed`
        : `no connection was free for ${millis} ms: the pool is too small, or its connections are held`
    )
    this.sent = sent
  }
}

/** The error of a deadline, for an answer or for a connection. */
export const noAnswer = (sent: boolean, millis: number): SqlError.SqlError => {
  const cause = new NoAnswer(sent, millis)
  const operation = sent ? "query" : "connect"
  return new SqlError.SqlError({
    reason: new SqlError.ConnectionError({ cause, message: cause.message, operation })
  })
}

/** The cause of the error for work that the closing store did not wait for any longer. */
class StoreClosed extends Error {}

/** The error for work that was in progress when the store closed. */
export const storeClosed = (sent: boolean): SqlError.SqlError => {
  const cause = new StoreClosed("the store was closed, and with it the connection of this work")
  const operation = sent ? "query" : "connect"
  return new SqlError.SqlError({
    reason: new SqlError.ConnectionError({ cause, message: cause.message, operation })
  })
}

/** True if the store has closed: trying again would outlive it. */
export const isStoreClosed = (error: SqlError.SqlError): boolean => error.reason.cause instanceof StoreClosed

/** True for the error of a deadline. */
export const isNoAnswer = (error: SqlError.SqlError): boolean => error.reason.cause instanceof NoAnswer

/** True if a statement was sent and its outcome is unknown. */
export const isUnanswered = (error: SqlError.SqlError): boolean =>
  error.reason._tag === "ConnectionError" && error.reason.operation === "query"

/** The longest timer: 31 bits of milliseconds. */
const maxMillis = 2_147_483_647

/** The deadline in milliseconds. None for the embedded database, which blocks the thread of the program. */
export const deadlineOf = (context: Context.Context<never>, sql: SqlClient.SqlClient): number =>
  sql.driver === "pglite" ? Infinity : Math.min(Duration.toMillis(Context.get(context, Silence)), maxMillis)

/** True for the error of a silent connection, of which the pool may have more. */
export const isSilence = (error: SqlError.SqlError): boolean =>
  error.reason.cause instanceof NoAnswer && error.reason.cause.sent

const Fresh = Context.Reference<boolean>("effect-eventsourcing/pg/Fresh", { defaultValue: () => false })

/** Lets an effect use connections beside the pool, whose connections may be silent as well. */
export const afresh: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> =
  Effect.provideService(Fresh, true)

const isPgClient = (sql: SqlClient.SqlClient): sql is PgClient.PgClient => PgClient.TypeId in sql

/** An exclusive connection until the scope closes. */
export const reserve = (sql: SqlClient.SqlClient): SqlConnection.Acquirer =>
  Effect.withFiber(({ context }) =>
    Context.get(context, Fresh) && isPgClient(sql) && sql.config.stream === undefined
      ? Effect.flatMap(
          PgClient.makeClient({ ...sql.config, multiplex: false }),
          (client) => client.reserve
        ).pipe(Effect.provide(reactivity))
      : sql.reserve
  )

type Uses = Set<() => void>

/** Functions that end work on connections, by client. */
const inUse = new WeakMap<SqlClient.SqlClient, Uses>()

/** Work on connections, for which closing the store waits. Calling one ends it and gives its connection back. */
export const usesOf = (sql: SqlClient.SqlClient): Uses => {
  let uses = inUse.get(sql)
  if (uses === undefined) inUse.set(sql, (uses = new Set()))
  return uses
}

/** Time for work to end when nobody waits for it any more, in milliseconds. */
export const grace = 5_000

/** Time for work to end when the store closes. */
export const Grace: Context.Reference<Duration.Duration> = Context.Reference<Duration.Duration>(
  "effect-eventsourcing/pg/Grace",
  { defaultValue: () => Duration.millis(grace) }
)

/** Waits for work in progress, and ends the rest of it after a time. */
const settle = (uses: Uses, others: ReadonlySet<() => void>, time: Duration.Duration): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const ends = Date.now() + Duration.toMillis(time)
    const look = (): void => {
      const left = [...uses].filter((use) => !others.has(use))
      if (left.length > 0 && Date.now() < ends) {
        setTimeout(look, 10)
        return
      }
      for (const end of left) end()
      resume(Effect.void)
    }
    look()
  })

/** The number of stores on a client, and the work that was in progress before the first of them. */
const stores = new WeakMap<SqlClient.SqlClient, { open: number; readonly before: ReadonlySet<() => void> }>()

/**
 * Counts a store on a client until the scope closes. The last one waits for statements and transactions in progress, and ends the rest
 * after 5 seconds: the pool of a client closes only when all its connections are back, also those of fibers that outlive the store.
 */
export const openStore = (sql: SqlClient.SqlClient): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const found = stores.get(sql)
      if (found === undefined) stores.set(sql, { open: 1, before: new Set(usesOf(sql)) })
      else found.open++
    }),
    () =>
      Effect.flatMap(Grace, (time) => {
        const found = stores.get(sql)
        if (found === undefined || --found.open > 0) return Effect.void
        stores.delete(sql)
        return settle(usesOf(sql), found.before, time)
      })
  )

/**
 * Runs an effect on a connection and in a fiber of its own. An interruption returns at once; the client then cancels the statement and
 * returns or closes the connection in the background, within 5 seconds.
 *
 * Fails after {@link Silence} without a connection, or without an answer on it. Closing a reserved connection with a running statement
 * closes its socket, which also ends the statement and frees the place in the pool.
 */
export const onConnection = <A>(
  sql: SqlClient.SqlClient,
  use: (connection: SqlConnection.Connection) => Effect.Effect<A, SqlError.SqlError>
): Effect.Effect<A, SqlError.SqlError> =>
  Effect.withFiber(({ context }) =>
    Effect.callback<A, SqlError.SqlError>((resume) => {
      const millis = deadlineOf(context, sql)
      const scope = Scope.makeUnsafe()
      let sent = false
      const giveUp = (error: SqlError.SqlError): void => {
        resume(Effect.fail(error))
        if (sent) Effect.runFork(Scope.close(scope, Exit.void))
        else worker.interruptUnsafe()
      }
      const atClosing = (): void => giveUp(storeClosed(sent))
      const uses = usesOf(sql)
      uses.add(atClosing)
      const timer = millis === Infinity ? undefined : setTimeout(() => giveUp(noAnswer(sent, millis)), millis)
      const worker = Effect.runForkWith(context)(
        Effect.onExit(
          Effect.flatMap(Scope.provide(reserve(sql), scope), (connection) => {
            sent = true
            timer?.refresh()
            return use(connection)
          }),
          (exit) => Scope.close(scope, exit)
        )
      )
      worker.addObserver((exit) => {
        clearTimeout(timer)
        uses.delete(atClosing)
        resume(exit)
      })
      return Effect.sync(() => {
        clearTimeout(timer)
        worker.interruptUnsafe()
      })
    })
  )

/**
 * Runs statements of a client in the open transaction, which has its own deadline; without one, as {@link onConnection} does.
 */
export const guarded = <A>(
  sql: SqlClient.SqlClient,
  statements: Effect.Effect<A, SqlError.SqlError>
): Effect.Effect<A, SqlError.SqlError> =>
  Effect.withFiber(({ context }) =>
    Context.getOrUndefined(context, sql.transactionService) === undefined
      ? onConnection(sql, (connection) =>
          Effect.provideService(statements, sql.transactionService, [connection, 0])
        )
      : statements
  )

/**
 * Runs an effect in a fiber of its own, and fails without an answer in time. Neither the failure nor an interruption waits for the
 * effect to end.
 */
export const within = <A>(
  millis: number,
  effect: Effect.Effect<A, SqlError.SqlError>
): Effect.Effect<A, SqlError.SqlError> =>
  Effect.withFiber(({ context }) =>
    Effect.callback<A, SqlError.SqlError>((resume) => {
      const worker = Effect.runForkWith(context)(effect)
      const leave = (): void => {
        clearTimeout(timer)
        worker.interruptUnsafe()
      }
      const timer =
        millis === Infinity
          ? undefined
          : setTimeout(() => {
              resume(Effect.fail(noAnswer(true, millis)))
              leave()
            }, millis)
      worker.addObserver((exit) => {
        clearTimeout(timer)
        resume(exit)
      })
      return Effect.sync(leave)
    })
  )

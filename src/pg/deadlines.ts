/** Silence of the database: whoever waits for an answer is answered after a time, and the connection is given up. */
import { PgClient } from "@effect/sql-pg"
import { Context, Duration, Effect, Exit, Scope } from "effect"
import { layer as reactivity } from "effect/reactivity/Reactivity"
import { type SqlClient, type SqlConnection, SqlError } from "effect/sql"

/** The longest wait for a connection, and for the answer to a statement. */
export const Silence: Context.Reference<Duration.Duration> = Context.Reference<Duration.Duration>(
  "effect-eventsourcing/pg/Silence",
  { defaultValue: () => Duration.minutes(1) }
)

/** The cause of an error that a silent connection, or a pool without a free one, is answered with. */
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

/** The error of a deadline: the wait was for an answer, or for a connection. */
export const noAnswer = (sent: boolean, millis: number): SqlError.SqlError => {
  const cause = new NoAnswer(sent, millis)
  const operation = sent ? "query" : "connect"
  return new SqlError.SqlError({
    reason: new SqlError.ConnectionError({ cause, message: cause.message, operation })
  })
}

/** Whether an error is that of a deadline. */
export const isNoAnswer = (error: SqlError.SqlError): boolean => error.reason.cause instanceof NoAnswer

/** Whether what failed was sent, and nobody knows whether it was done. */
export const isUnanswered = (error: SqlError.SqlError): boolean =>
  error.reason._tag === "ConnectionError" && error.reason.operation === "query"

/** Timers take 31 bits of milliseconds. */
const maxMillis = 2_147_483_647

/** In milliseconds. The embedded database answers on the thread of the program: a deadline would only be late. */
export const deadlineOf = (context: Context.Context<never>, sql: SqlClient.SqlClient): number =>
  sql.driver === "pglite" ? Infinity : Math.min(Duration.toMillis(Context.get(context, Silence)), maxMillis)

/** Whether an error is that of a connection which did not answer, so that the pool may have more of the kind. */
export const isSilence = (error: SqlError.SqlError): boolean =>
  error.reason.cause instanceof NoAnswer && error.reason.cause.sent

const Fresh = Context.Reference<boolean>("effect-eventsourcing/pg/Fresh", { defaultValue: () => false })

/** Has an effect take connections beside the pool: those of the pool may be as silent as the one that was given up. */
export const afresh: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> =
  Effect.provideService(Fresh, true)

const isPgClient = (sql: SqlClient.SqlClient): sql is PgClient.PgClient => PgClient.TypeId in sql

/** A connection for oneself, until the scope closes. */
export const reserve = (sql: SqlClient.SqlClient): SqlConnection.Acquirer =>
  Effect.withFiber(({ context }) =>
    Context.get(context, Fresh) && isPgClient(sql) && sql.config.stream === undefined
      ? Effect.flatMap(
          PgClient.makeClient({ ...sql.config, multiplex: false }),
          (client) => client.reserve
        ).pipe(Effect.provide(reactivity))
      : sql.reserve
  )

/** How connections that are in use are given up, by client. */
const inUse = new WeakMap<SqlClient.SqlClient, Set<() => void>>()

/** The connections in use that closing the store waits for: calling one gives it up. */
export const usesOf = (sql: SqlClient.SqlClient): Set<() => void> => {
  let uses = inUse.get(sql)
  if (uses === undefined) inUse.set(sql, (uses = new Set()))
  return uses
}

/** The time that statements have to end when the store closes, or when nobody waits for them any more; in milliseconds. */
export const grace = 5_000

/** Waits for the statements under way, and after 5 seconds closes their connections. */
export const settle = (sql: SqlClient.SqlClient): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const uses = usesOf(sql)
    const ends = Date.now() + grace
    const look = (): void => {
      if (uses.size > 0 && Date.now() < ends) {
        setTimeout(look, 10)
        return
      }
      for (const giveUp of uses) giveUp()
      resume(Effect.void)
    }
    look()
  })

/**
 * Runs an effect on a connection of its own, in a fiber of its own: an interruption returns at once, and the client
 * cancels the statement and returns or closes the connection behind it, within 5 seconds.
 *
 * After {@link Silence} without a connection, or without an answer on it, fails. Closing a reserved connection while a
 * statement is under way closes its socket: so the statement ends as well, and the pool has its place back.
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
      const giveUp = (): void => {
        resume(Effect.fail(noAnswer(sent, millis)))
        if (sent) Effect.runFork(Scope.close(scope, Exit.void))
        else worker.interruptUnsafe()
      }
      const uses = usesOf(sql)
      uses.add(giveUp)
      const timer = millis === Infinity ? undefined : setTimeout(giveUp, millis)
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
        uses.delete(giveUp)
        resume(exit)
      })
      return Effect.sync(() => {
        clearTimeout(timer)
        worker.interruptUnsafe()
      })
    })
  )

/**
 * Runs statements of a client: in the open transaction, which has its own deadline, or like {@link onConnection}.
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
 * Runs an effect in a fiber of its own, and fails if there is no answer in time. Neither that nor an interruption waits for
 * the effect to end.
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

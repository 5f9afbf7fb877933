/**
 * Transactions with deadlines. Every statement, including BEGIN, COMMIT and ROLLBACK, has the deadline of `deadlines`: after it the
 * connection is closed and the caller answered. An interruption returns at once, and the transaction is rolled back in the
 * background.
 */
import { PgClient } from "@effect/sql-pg"
import { type Cause, Context, Effect, Exit, type Fiber, Predicate, Scope, Semaphore, Stream } from "effect"
import { SqlClient, type SqlConnection, SqlError } from "effect/sql"
import { deadlineOf, grace, noAnswer, reserve, storeClosed, usesOf } from "./deadlines.ts"

/** Runs an effect in a transaction, or in a savepoint of the open one. */
type WithTransaction = SqlClient.SqlClient["withTransaction"]

/** Time for which an interrupted caller waits for the end of its transaction, in milliseconds. Usually it ends at once. */
const patience = 250

/** An error whose transaction may have been committed. */
const lostCommit = (cause: unknown): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new SqlError.ConnectionError({
      cause,
      message: "the answer to COMMIT was lost: the transaction may or may not be stored",
      operation: "commit"
    })
  })

/** True if the answer to a COMMIT was lost and its outcome is unknown. */
export const isLostCommit = (error: SqlError.SqlError): boolean =>
  error.reason._tag === "ConnectionError" && error.reason.operation === "commit"

/** A COMMIT that the server did not answer, or answered by shutting down. */
const mayBeCommitted = ({ reason }: SqlError.SqlError): boolean =>
  reason._tag === "ConnectionError" ||
  (Predicate.hasProperty(reason.cause, "code") &&
    Predicate.isString(reason.cause.code) &&
    reason.cause.code.startsWith("57P"))

/** PostgreSQL answers the COMMIT of a transaction that had failed with ROLLBACK. */
const rolledBack = new SqlError.SqlError({
  reason: new SqlError.UnknownError({
    cause: new Error("COMMIT rolled back an aborted transaction"),
    message: "COMMIT rolled back an aborted transaction: one of its statements had failed",
    operation: "commit"
  })
})

type Wait = (error: SqlError.SqlError) => void

/** The connection of a transaction. Its statements run in fibers of their own, so that callers need not wait for their end. */
export class Lease implements SqlConnection.Connection {
  /** Runs before the ROLLBACK, on this connection. */
  beforeRollback: Effect.Effect<void> = Effect.void
  /** Determines the outcome of a COMMIT whose answer was lost: succeeds if it was committed. */
  onLostCommit: (error: SqlError.SqlError) => Effect.Effect<void, SqlError.SqlError> = Effect.fail

  readonly #sql: SqlClient.SqlClient
  readonly #scope = Scope.makeUnsafe()
  /** Callers that wait for an answer, or for the connection. */
  readonly #waits = new Set<Wait>()
  #millis: number
  #timer: ReturnType<typeof setTimeout> | undefined
  #reserving: Fiber.Fiber<SqlConnection.Connection, SqlError.SqlError> | undefined
  #connection: SqlConnection.Connection | undefined
  #open = false
  #closed = false
  #lost: SqlError.SqlError | undefined
  #ending: Fiber.Fiber<void, SqlError.SqlError> | undefined

  constructor(sql: SqlClient.SqlClient, millis: number) {
    this.#sql = sql
    this.#millis = millis
  }

  /** Waits for a connection. */
  readonly acquire: Effect.Effect<void, SqlError.SqlError> = Effect.withFiber(({ context }) =>
    Effect.callback<void, SqlError.SqlError>((resume) => {
      const wait = this.#wait(resume)
      usesOf(this.#sql).add(this.#atClosing)
      const worker = Effect.runForkWith(context)(Scope.provide(reserve(this.#sql), this.#scope))
      this.#reserving = worker
      worker.addObserver((exit) => {
        if (Exit.isSuccess(exit)) this.#connection = exit.value
        this.#answered(wait)
        resume(Exit.asVoid(exit))
      })
      return Effect.sync(() => worker.interruptUnsafe())
    })
  )

  readonly begin = (statement: string | undefined): Effect.Effect<void, SqlError.SqlError> =>
    Effect.suspend(() => {
      this.#open = true
      const begin =
        statement === undefined
          ? this.execute("BEGIN", [], undefined)
          : this.executeUnprepared(statement, [], undefined)
      return Effect.interruptible(
        Effect.tapError(Effect.asVoid(begin), () => Effect.sync(() => (this.#open = false)))
      )
    })

  readonly commit: Effect.Effect<void, SqlError.SqlError> = Effect.suspend(() => {
    // Without its connection the transaction was rolled back.
    if (this.#lost !== undefined) return Effect.fail(this.#lost)
    return this.#end(
      this.executeRaw("COMMIT", []).pipe(
        Effect.flatMap((result) =>
          Predicate.hasProperty(result, "command") && result.command === "ROLLBACK"
            ? Effect.fail(rolledBack)
            : Effect.void
        ),
        Effect.catchIf(mayBeCommitted, (error) =>
          Effect.andThen(
            Scope.close(this.#scope, Exit.void),
            Effect.suspend(() => this.onLostCommit(lostCommit(error.reason.cause)))
          )
        )
      ),
      Effect.interrupt
    )
  })

  readonly rollback: Effect.Effect<void, SqlError.SqlError> = Effect.suspend(() =>
    this.#end(this.#undo, Effect.void)
  )

  readonly control = (statement: string): Effect.Effect<void, SqlError.SqlError> =>
    Effect.asVoid(this.execute(statement, [], undefined))

  /** Returns the connection; in the background, if it may not be clean. */
  readonly release: Effect.Effect<void> = Effect.suspend(() => {
    const ending = this.#ending
    if (this.#waits.size === 0 && !this.#open && (ending === undefined || ending.pollUnsafe() !== undefined))
      return this.#close
    this.#millis = this.#millis === Infinity ? Infinity : Math.min(this.#millis, grace)
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#touch()
    const left =
      ending !== undefined ? awaited(ending) : this.#connection === undefined ? this.#reserved : this.#undo
    Effect.runFork(Effect.andThen(Effect.exit(left), this.#close))
    return Effect.void
  })

  /** Answers all waiting callers and closes the connection. */
  #giveUp(lost: SqlError.SqlError): void {
    if (this.#lost !== undefined) return
    const connection = this.#connection
    const isIdle = this.#open && this.#waits.size === 0
    this.#lost = lost
    for (const wait of this.#waits) wait(lost)
    const close = Scope.close(this.#scope, Exit.void)
    if (connection === undefined) this.#reserving?.interruptUnsafe()
    // Closing the scope of a connection with a running statement closes its socket. An idle one goes back to the pool.
    else if (!isIdle) Effect.runFork(close)
    else
      connection
        .executeUnprepared("ROLLBACK", [], undefined)
        .pipe(Effect.timeout(patience), Effect.exit, Effect.andThen(close), Effect.runFork)
  }

  /** Ends the transaction of a fiber that may outlive the store. */
  readonly #atClosing = (): void => this.#giveUp(storeClosed(this.#connection !== undefined))

  get #reserved(): Effect.Effect<unknown, SqlError.SqlError> {
    return this.#reserving === undefined ? Effect.void : awaited(this.#reserving)
  }

  get #undo(): Effect.Effect<void, SqlError.SqlError> {
    return Effect.andThen(
      this.beforeRollback,
      Effect.suspend(() => this.control("ROLLBACK"))
    )
  }

  get #close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#closed = true
      clearTimeout(this.#timer)
      usesOf(this.#sql).delete(this.#atClosing)
      return Scope.close(this.#scope, Exit.void)
    })
  }

  /** Ends the transaction in a fiber of its own. An interrupted caller waits only a moment. */
  #end(
    end: Effect.Effect<void, SqlError.SqlError>,
    left: Effect.Effect<void>
  ): Effect.Effect<void, SqlError.SqlError> {
    return Effect.withFiber(({ context }) => {
      this.#open = false
      const worker = (this.#ending = Effect.runForkWith(context)(end))
      return Effect.flatMap(
        Effect.exit(Effect.interruptible(awaited(worker))),
        (exit) => worker.pollUnsafe() ?? (Exit.hasInterrupts(exit) ? soon(worker, left) : exit)
      )
    })
  }

  #wait<A>(resume: (exit: Effect.Effect<A, SqlError.SqlError>) => void): Wait {
    const wait: Wait = (error) => resume(Effect.fail(error))
    this.#waits.add(wait)
    this.#touch()
    return wait
  }

  #answered(wait: Wait): void {
    this.#waits.delete(wait)
    this.#touch()
  }

  /** Restarts the deadline. */
  #touch(): void {
    if (this.#millis === Infinity || this.#closed) return
    if (this.#timer !== undefined) this.#timer.refresh()
    else
      this.#timer = setTimeout(() => {
        if (this.#waits.size > 0) this.#giveUp(noAnswer(this.#connection !== undefined, this.#millis))
      }, this.#millis)
  }

  #send<A>(
    statement: (connection: SqlConnection.Connection) => Effect.Effect<A, SqlError.SqlError>
  ): Effect.Effect<A, SqlError.SqlError> {
    return Effect.withFiber(({ context }) =>
      Effect.callback<A, SqlError.SqlError>((resume) => {
        const connection = this.#connection
        if (this.#lost !== undefined || connection === undefined) {
          resume(Effect.fail(this.#lost ?? noAnswer(false, this.#millis)))
          return undefined
        }
        const wait = this.#wait(resume)
        const worker = Effect.runForkWith(context)(statement(connection))
        worker.addObserver((exit) => {
          this.#answered(wait)
          resume(exit)
        })
        return Effect.sync(() => worker.interruptUnsafe())
      })
    )
  }

  readonly execute: SqlConnection.Connection["execute"] = (text, parameters, transform) =>
    this.#send((connection) => connection.execute(text, parameters, transform))

  readonly executeRaw: SqlConnection.Connection["executeRaw"] = (text, parameters) =>
    this.#send((connection) => connection.executeRaw(text, parameters))

  readonly executeValues: SqlConnection.Connection["executeValues"] = (text, parameters) =>
    this.#send((connection) => connection.executeValues(text, parameters))

  readonly executeValuesUnprepared: SqlConnection.Connection["executeValuesUnprepared"] = (
    text,
    parameters
  ) => this.#send((connection) => connection.executeValuesUnprepared(text, parameters))

  readonly executeUnprepared: SqlConnection.Connection["executeUnprepared"] = (text, parameters, transform) =>
    this.#send((connection) => connection.executeUnprepared(text, parameters, transform))

  /** The deadline counts only while the stream waits for rows, because its consumer may be slow. */
  readonly executeStream: SqlConnection.Connection["executeStream"] = (text, parameters, transform) =>
    Stream.suspend(() => {
      const connection = this.#connection
      if (this.#lost !== undefined || connection === undefined)
        return Stream.fail(this.#lost ?? noAnswer(false, this.#millis))
      return Stream.transformPull(connection.executeStream(text, parameters, transform), (pull) =>
        Effect.succeed(
          Effect.suspend(() => {
            const wait = this.#wait(() => {})
            return Effect.onExit(pull, () => Effect.sync(() => this.#answered(wait)))
          })
        )
      )
    })
}

/** Waits for a fiber, which continues if the wait is interrupted. */
const awaited = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<A, E> =>
  Effect.callback<A, E>((resume) => Effect.sync(fiber.addObserver(resume)))

/** Waits a moment for a fiber. */
const soon = <E>(fiber: Fiber.Fiber<void, E>, otherwise: Effect.Effect<void>): Effect.Effect<void, E> =>
  Effect.callback<void, E>((resume) => {
    const timer = setTimeout(() => resume(otherwise), patience)
    fiber.addObserver((exit) => {
      clearTimeout(timer)
      resume(exit)
    })
  })

const nowhere: SqlConnection.Connection = {
  execute: () => Effect.die(new Error("no connection")),
  executeRaw: () => Effect.die(new Error("no connection")),
  executeStream: () => Stream.die(new Error("no connection")),
  executeValues: () => Effect.die(new Error("no connection")),
  executeValuesUnprepared: () => Effect.die(new Error("no connection")),
  executeUnprepared: () => Effect.die(new Error("no connection"))
}

/**
 * The service by which a client runs the savepoints of a transaction in turn. It is private to the client; the error for its absence
 * contains its name.
 */
const turnsOf = (
  sql: SqlClient.SqlClient
): Context.Key<Semaphore.Semaphore, Semaphore.Semaphore> | undefined => {
  const exit = Effect.runSyncExit(
    Effect.provideService(sql.withTransaction(Effect.void), sql.transactionService, [nowhere, 0])
  )
  const key = Exit.isFailure(exit)
    ? /effect\/sql\/SqlClient\/TransactionSemaphore\/\d+/.exec(messageOf(exit.cause))?.[0]
    : undefined
  return key === undefined ? undefined : Context.Service<Semaphore.Semaphore>(key)
}

const messageOf = (cause: Cause.Cause<unknown>): string =>
  cause.reasons.map((reason) => ("defect" in reason ? String(reason.defect) : "")).join(" ")

const spanAttributesOf = (sql: SqlClient.SqlClient): ReadonlyArray<readonly [string, unknown]> => {
  if (!(PgClient.TypeId in sql)) return [["db.system.name", "postgresql"]]
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it has the type id of a PgClient
  const { config } = sql as PgClient.PgClient
  return [
    ...Object.entries(config.spanAttributes ?? {}),
    ["db.system.name", "postgresql"],
    ["db.namespace", config.database ?? config.username ?? "postgres"],
    ["server.address", config.host ?? "localhost"],
    ["server.port", config.port ?? 5432]
  ]
}

const on = <A>(
  connection: SqlConnection.Connection,
  use: (lease: Lease) => Effect.Effect<A, SqlError.SqlError>
): Effect.Effect<A, SqlError.SqlError> =>
  connection instanceof Lease ? use(connection) : Effect.die(new Error("another caller's transaction"))

const make = (sql: SqlClient.SqlClient): WithTransaction => {
  const turns = turnsOf(sql)
  // A client that orders savepoints in another way gets transactions without deadlines.
  if (turns === undefined) return sql.withTransaction
  const guarded = SqlClient.makeWithTransaction({
    transactionService: sql.transactionService,
    spanAttributes: spanAttributesOf(sql),
    acquireConnection: (restore) =>
      Effect.withFiber<SqlConnection.Connection, SqlError.SqlError, Scope.Scope>(({ context }) => {
        const lease = new Lease(sql, deadlineOf(context, sql))
        return Effect.addFinalizer(() => lease.release).pipe(
          Effect.andThen(restore(lease.acquire)),
          Effect.as(lease)
        )
      }),
    begin: (connection, statement) => on(connection, (lease) => lease.begin(statement)),
    savepoint: (connection, id) => on(connection, (lease) => lease.control(`SAVEPOINT effect_sql_${id}`)),
    releaseSavepoint: (connection, id) =>
      on(connection, (lease) => lease.control(`RELEASE SAVEPOINT effect_sql_${id}`)),
    commit: (connection) => on(connection, (lease) => lease.commit),
    rollback: (connection) => on(connection, (lease) => lease.rollback),
    rollbackSavepoint: (connection, id) =>
      on(connection, (lease) => lease.control(`ROLLBACK TO SAVEPOINT effect_sql_${id}`))
  })
  return (effect) =>
    guarded(Effect.suspend(() => Effect.provideService(effect, turns, Semaphore.makeUnsafe(1))))
}

const byClient = new WeakMap<SqlClient.SqlClient, WithTransaction>()

/** Sets the start of transactions for a client that routes to other clients. */
export const register = (sql: SqlClient.SqlClient, withTransaction: WithTransaction): void => {
  byClient.set(sql, withTransaction)
}

/** Runs an effect in a transaction whose statements have deadlines; within an open one, in a savepoint. */
export const withTransaction = (sql: SqlClient.SqlClient): WithTransaction => {
  let found = byClient.get(sql)
  if (found === undefined) byClient.set(sql, (found = make(sql)))
  const outermost = found
  return (effect) =>
    Effect.withFiber(({ context }) =>
      Context.getOrUndefined(context, sql.transactionService) === undefined
        ? outermost(effect)
        : sql.withTransaction(effect)
    )
}

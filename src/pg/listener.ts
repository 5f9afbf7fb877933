/** Receives notifications on a connection beside the pool, which is probed regularly. */
import { type PgClient, PgConnection } from "@effect/sql-pg"
import { Effect, Exit, Queue, Scope } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { deadlineOf, within } from "./deadlines.ts"

/** Interval between two probes in milliseconds, unless the deadline for silence is shorter. */
const interval = 30_000

/** Clients whose store listens with other connection settings, because the client may use a pooler. */
const elsewhere = new WeakSet<SqlClient.SqlClient>()

/** True if a store on the client listens with other connection settings. */
export const listensElsewhere = (sql: SqlClient.SqlClient): boolean => elsewhere.has(sql)

/**
 * Runs an effect for each notification on a channel, and once when listening starts. Fails when the connection is lost, or does not
 * answer within the deadline for silence. The connection has the client's settings, overridden by the given ones.
 */
export const listen = (
  sql: PgClient.PgClient,
  channel: string,
  heard: Effect.Effect<void>,
  over?: PgConnection.Config
): Effect.Effect<never, SqlError.SqlError> =>
  Effect.withFiber(({ context }) => {
    const millis = deadlineOf(context, sql)
    if (over !== undefined) elsewhere.add(sql)
    return Effect.acquireUseRelease(
      Effect.sync(() => ({ connection: Scope.makeUnsafe(), listening: Scope.makeUnsafe() })),
      (scopes) =>
        Effect.gen(function* () {
          const connection = yield* within(
            millis,
            Scope.provide(PgConnection.make({ ...sql.config, ...over, multiplex: false }), scopes.connection)
          )
          const pinned = yield* Scope.provide(connection.pin, scopes.connection)
          const queue = yield* within(millis, Scope.provide(pinned.listen(channel), scopes.listening))
          yield* heard
          const hearing = Effect.forever(Effect.andThen(Queue.take(queue), heard))
          const asking = Effect.forever(
            Effect.andThen(Effect.sleep(Math.min(interval, millis)), within(millis, pinned.query("select 1")))
          )
          return yield* Effect.raceFirst(hearing, asking)
        }),
      // In this order, so that no UNLISTEN is sent on the closed connection, whose answer would never come.
      (scopes) =>
        Effect.andThen(Scope.close(scopes.connection, Exit.void), Scope.close(scopes.listening, Exit.void))
    )
  })

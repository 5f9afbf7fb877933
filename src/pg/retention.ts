/** Removes rows that no other operation removes: expired command keys of idle tenants, and old records of accesses. */
import { Duration, Effect, type Scope } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { statement } from "./statement.ts"
import { sqlState } from "./sqlErrors.ts"

/** Settings of the removal of old rows. */
export interface Retention {
  /** Time for which records of accesses across tenants are kept: at least 7 days. Default: for ever. */
  readonly accesses?: Duration.Input | undefined
  /** Interval at which a process removes old rows, the first time after at most a minute. Default: 1 hour. */
  readonly every?: Duration.Input | undefined
}

const batch = 10_000
const shortest = Duration.days(7)
/** The SQLSTATE for a missing right. */
const insufficientPrivilege = "42501"

/** Removes old rows at intervals while the scope is open. */
export const start = (
  sql: SqlClient.SqlClient,
  { accesses, every = "1 hour" }: Retention
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.suspend(() => {
    const kept = accesses === undefined ? undefined : Duration.fromInputUnsafe(accesses)
    if (kept !== undefined && Duration.isLessThan(kept, shortest))
      return Effect.die(new RangeError("records of accesses across tenants must be kept for at least 7 days"))
    const interval = Duration.fromInputUnsafe(every)

    const remove = (text: string, parameter: number): Effect.Effect<number, SqlError.SqlError> =>
      Effect.map(
        statement(sql, (connection) => connection.executeValues(text, [parameter])),
        ([row]) => Number(row?.[0] ?? 0)
      )

    // A login that lacks the right for one removal leaves it to programs that have it.
    const unlessForbidden = <A>(effect: Effect.Effect<A, SqlError.SqlError>) =>
      effect.pipe(
        Effect.catch((error) =>
          sqlState(error) === insufficientPrivilege
            ? Effect.void
            : Effect.logWarning("Old rows could not be removed; the next run tries again", error)
        )
      )

    const removeKeys: Effect.Effect<void, SqlError.SqlError> = Effect.flatMap(
      remove("select eventsourcing.remove_expired_keys($1::integer)", batch),
      (removed) => (removed < batch ? Effect.void : removeKeys)
    )
    const removeAccesses =
      kept === undefined || !Duration.isFinite(kept)
        ? Effect.void
        : remove("select eventsourcing.remove_old_accesses($1::pg_catalog.float8)", Duration.toSeconds(kept))

    return Effect.andThen(unlessForbidden(removeKeys), unlessForbidden(removeAccesses)).pipe(
      Effect.andThen(Effect.sleep(interval)),
      Effect.forever,
      Effect.delay(Duration.min(interval, Duration.minutes(1))),
      Effect.forkScoped,
      Effect.asVoid
    )
  })

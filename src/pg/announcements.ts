/** Announcements of new events between processes: hints, sent outside of appends and at most every few milliseconds. */
import { PgClient, type PgConnection } from "@effect/sql-pg"
import { Clock, Context, Effect, Latch, PubSub, Redacted, Schedule, type Scope, Stream } from "effect"
import type { SqlClient } from "effect/sql"
import * as listener from "./listener.ts"
import { perClient } from "./perClient.ts"
import { openIn } from "./openTransaction.ts"
import { statement } from "./statement.ts"
import type { TenantId } from "../domain/Tenant.ts"

const channel = "eventsourcing"

/** Interval between two statements with announcements, in milliseconds; longer while statements are slow. */
const pause = (lasted: number): number => Math.min(Math.max(5, 8 * lasted), 100)

/** Sends and receives hints of changed logs. */
export interface Announcements {
  /** Announces tenants whose logs have changed, soon and together with others; inside a transaction after its commit. */
  readonly announce: (tenants: ReadonlyArray<TenantId>) => Effect.Effect<void>
  readonly changes: Stream.Stream<void>
}

/** The announcements that the stores of a client share. */
interface Shared extends Pick<Announcements, "changes"> {
  readonly announce: (tenants: ReadonlyArray<TenantId>, toOthers: boolean) => Effect.Effect<void>
}

export const isPgClient = (sql: SqlClient.SqlClient): sql is PgClient.PgClient => PgClient.TypeId in sql

const makeShared = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  over: PgConnection.Config | undefined
): Effect.fn.Return<Shared, never, Scope.Scope> {
  const changed = yield* PubSub.sliding<void>(1)
  const pending = new Set<TenantId>()
  const waiting = yield* Latch.make(false)

  // Lost announcements cost only time, because consumers also poll.
  const send = Effect.gen(function* () {
    yield* waiting.await
    // first the callers of the appends get their answers, and send their next ones
    yield* Effect.yieldNow
    yield* waiting.close
    const tenants = [...pending]
    pending.clear()
    if (tenants.length === 0) return
    const began = yield* Clock.currentTimeMillis
    const [row] = yield* statement(sql, (connection) =>
      connection.executeValues("call eventsourcing.announce_committing($1::pg_catalog.uuid[], null)", [
        tenants
      ])
    ).pipe(Effect.catch(() => Effect.as(Effect.logDebug("An announcement of new events was lost"), [])))
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the function returns some of the given ids
    for (const tenant of (row?.[0] ?? []) as ReadonlyArray<TenantId>) pending.add(tenant)
    if (pending.size > 0) waiting.openUnsafe()
    PubSub.publishUnsafe(changed, undefined)
    // announcements that arrive meanwhile are sent together
    yield* Effect.sleep(pause((yield* Clock.currentTimeMillis) - began))
  })
  yield* Effect.forever(send).pipe(
    // The store may have been built in a transaction, which must not be used for announcements.
    Effect.updateContext((context: Context.Context<never>) => Context.omit(sql.transactionService)(context)),
    Effect.forkScoped
  )

  // One connection listens for all listeners of this process, from the first one on.
  const scope = yield* Effect.scope
  // The embedded database has no second connection to listen on.
  let deaf = false
  const listen =
    isPgClient(sql) && sql.config.stream === undefined
      ? listener
          .listen(
            sql,
            channel,
            Effect.sync(() => {
              deaf = false
              PubSub.publishUnsafe(changed, undefined)
            }),
            over
          )
          .pipe(
            // Logged once until listening works again.
            Effect.tapError((error) => {
              const logged = deaf
              deaf = true
              return logged
                ? Effect.void
                : Effect.logWarning(
                    "Listening for the appends of other processes failed and is tried again",
                    error.reason.message
                  )
            }),
            Effect.retry(Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")])),
            Effect.forkIn(scope)
          )
      : Effect.void
  const listenOnce = yield* Effect.cached(listen)

  const publish = (tenants: ReadonlyArray<TenantId>, toOthers: boolean): void => {
    PubSub.publishUnsafe(changed, undefined)
    if (!toOthers) return
    for (const tenant of tenants) pending.add(tenant)
    waiting.openUnsafe()
  }

  return {
    announce: (tenants, toOthers) =>
      tenants.length === 0
        ? Effect.void
        : Effect.withFiber(({ context }) => {
            if (openIn(context, sql) !== undefined)
              return sql.afterCommit(Effect.sync(() => publish(tenants, toOthers)))
            publish(tenants, toOthers)
            return Effect.void
          }),
    changes: Stream.unwrap(Effect.as(listenOnce, Stream.fromPubSub(changed)))
  }
})

/** A key for the connection settings of the listener. */
export const keyOf = (over: PgConnection.Config | undefined): string =>
  JSON.stringify([
    over?.host,
    over?.port,
    over?.path,
    over?.database,
    over?.username,
    over?.url && Redacted.value(over.url)
  ])

const sharedOf = perClient(makeShared, keyOf)

/**
 * The announcements of a store. All stores of a client that listen in the same way share one sender and one listener. With
 * `toOthers` this store also announces to other processes.
 */
export const make = (
  sql: SqlClient.SqlClient,
  toOthers: boolean,
  over?: PgConnection.Config
): Effect.Effect<Announcements, never, Scope.Scope> =>
  Effect.map(sharedOf(sql, over), ({ announce, changes }) => ({
    announce: (tenants) => announce(tenants, toOthers),
    changes
  }))

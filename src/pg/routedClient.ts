/** One SQL client for several databases: each statement goes to the database of the current tenant. */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Option, Schedule, type Scope } from "effect"
import type { Reactivity } from "effect/reactivity"
import { SqlClient, type SqlConnection, SqlError, Statement } from "effect/sql"
import type { StorageUnavailable, TenantRefused, UnknownTenant } from "../driver/StoreError.ts"
import { CurrentTenant, type TenantId } from "../domain/Tenant.ts"
import type { Backend, Router } from "../routed/router.ts"
import * as sqlErrors from "./sqlErrors.ts"
import * as transactions from "./transactions.ts"

/** The storages of a database, and its client. */
export interface PgBackend extends Backend {
  readonly sql: SqlClient.SqlClient
}

/** The client, and functions that send effects to another database than the current tenant's. */
export interface RoutedClient {
  readonly sql: SqlClient.SqlClient
  /** Marks an effect as running in a transaction that the client of a database has opened. */
  readonly inTransactionOf: (
    backend: PgBackend,
    tenantId: TenantId | undefined
  ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Sends the statements of an effect to a database. Tenants of other databases are refused, and so are their transactions. */
  readonly on: (placement: string) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** The wait of a transaction for the new home of its tenant: at most 10 seconds. */
const patience = { schedule: Schedule.spaced("20 millis"), times: 500 }

/** Without a tenant there is no database: SQLSTATE of a missing connection. */
const noTenant = new SqlError.SqlError({
  reason: new SqlError.AuthorizationError({
    cause: { code: "08003" },
    message:
      "this statement has no current tenant, and so no database: provide a tenant, or choose a database with PgSilo"
  })
})

/** Has the code of a tenant that is refused in the transaction of another one. */
const otherDatabase = new SqlError.SqlError({
  reason: new SqlError.AuthorizationError({
    cause: { code: "ES001" },
    message: "the open transaction is in another database than the chosen one: start another transaction"
  })
})

/** Errors with the codes of `migrations/`, so that they are recognised. */
const toSqlError = (error: TenantRefused<UnknownTenant> | StorageUnavailable): SqlError.SqlError => {
  const { message } = error
  switch (error._tag) {
    case "TenantRefused":
      return new SqlError.SqlError({
        reason: new SqlError.AuthorizationError({ cause: { code: "UnknownTenant" }, message })
      })
    case "StorageUnavailable": {
      const reason = { cause: { code: error.code ?? undefined }, message }
      return new SqlError.SqlError({
        reason: error.retryable
          ? new SqlError.ConnectionError(reason)
          : new SqlError.AuthorizationError(reason)
      })
    }
  }
}

export const make = (
  router: Router<PgBackend>
): Effect.Effect<RoutedClient, never, Scope.Scope | Reactivity.Reactivity> =>
  Effect.gen(function* () {
    /** The database for the statements of the fiber, with its tenant. */
    const current: Effect.Effect<
      { readonly backend: PgBackend; readonly tenantId: TenantId | undefined },
      SqlError.SqlError,
      Scope.Scope
    > = Effect.gen(function* () {
      const transaction = yield* router.current
      const chosen = yield* router.chosen
      const tenantId = Option.getOrUndefined(yield* Effect.serviceOption(CurrentTenant))
      if (transaction !== undefined) {
        if (chosen !== undefined && chosen !== transaction.backend.placement) return yield* otherDatabase
        // Between tenants of one database, the database itself decides.
        if (tenantId !== undefined) yield* router.placementOf(tenantId)
        return transaction
      }
      if (tenantId !== undefined) return { backend: yield* router.acquireRegistered(tenantId), tenantId }
      if (chosen === undefined) return yield* noTenant
      return { backend: yield* router.storages.acquire(chosen), tenantId }
    }).pipe(Effect.mapError((error) => (SqlError.isSqlError(error) ? error : toSqlError(error))))

    const compiler = PgClient.makeCompiler()
    const spanAttributes: ReadonlyArray<readonly [string, unknown]> = [["db.system.name", "postgresql"]]
    const client = yield* SqlClient.make({
      acquirer: Effect.flatMap(current, ({ backend }) => backend.sql.reserve),
      compiler,
      driver: "pg",
      spanAttributes
    })
    const Transaction = client.transactionService

    /** The connection for one statement: that of the open transaction, if it is allowed. */
    const connection: SqlConnection.Acquirer = Effect.flatMap(current, ({ backend }) =>
      Effect.flatMap(
        Effect.serviceOption(Transaction),
        Option.match({
          onNone: () => backend.sql.reserve,
          onSome: ([opened]) => Effect.succeed(opened)
        })
      )
    )

    /** Makes the open transaction of the database's client that of the routed client as well. */
    const adopt =
      (backend: PgBackend) =>
      <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
        Effect.flatMap(Effect.serviceOption(backend.sql.transactionService), (opened) =>
          Option.isNone(opened) ? effect : Effect.provideService(effect, Transaction, opened.value)
        )

    const inTransactionOf: RoutedClient["inTransactionOf"] = (backend, tenantId) => (effect) =>
      router.inTransactionOf(backend, tenantId)(adopt(backend)(effect))

    const withTransaction = <A, E, R>(
      effect: Effect.Effect<A, E, R>
    ): Effect.Effect<A, E | SqlError.SqlError, R> =>
      Effect.suspend(() => {
        let isArriving = false
        const attempt = router.use(current, ({ backend, tenantId }) =>
          transactions
            .withTransaction(backend.sql)(inTransactionOf(backend, tenantId)(effect))
            .pipe(
              Effect.tapError((error) => {
                isArriving = false
                if (tenantId === undefined || !SqlError.isSqlError(error)) return Effect.void
                isArriving = sqlErrors.isImporting(error) && router.isRedirected(tenantId)
                // the next transaction of the tenant begins in its new database
                return sqlErrors.hasMoved(error)
                  ? Effect.ignore(router.learn(backend, tenantId))
                  : Effect.void
              })
            )
        )
        // A new home that is just being made active is awaited.
        return Effect.retry(attempt, { while: () => isArriving, ...patience })
      })

    /** Runs an effect after the transaction and outside of it. */
    const afterCommit = <R>(effect: Effect.Effect<void, never, R>): Effect.Effect<void, never, R> =>
      Effect.flatMap(router.current, (transaction) =>
        transaction === undefined
          ? client.afterCommit(effect)
          : transaction.backend.sql.afterCommit(
              Effect.updateContext(
                effect,
                (context: Context.Context<R>) =>
                  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no effect requires a transaction
                  Context.omit(Transaction, router.current)(context) as Context.Context<R>
              )
            )
      )

    // The client's own methods would use the open transaction for any tenant.
    const statement = Statement.make(connection, compiler, spanAttributes, undefined)
    const routed = Object.assign(statement, { ...client, ...statement, withTransaction, afterCommit })
    const sql: SqlClient.SqlClient = Object.assign(routed, { safe: routed })
    transactions.register(sql, withTransaction)
    return {
      sql,
      inTransactionOf,
      on: (placement) => (effect) => Effect.provideService(effect, router.chosen, placement)
    }
  })

/** One SQL client for several databases: each statement goes to the database of the current tenant. */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Option, type Scope } from "effect"
import type { Reactivity } from "effect/reactivity"
import { SqlClient, type SqlConnection, SqlError, Statement } from "effect/sql"
import type { StorageUnavailable, TenantRefused, UnknownTenant } from "../driver/StoreError.ts"
import { CurrentTenant, type TenantId } from "../domain/Tenant.ts"
import type { Backend, Router } from "../routed/router.ts"
import * as transactions from "./transactions.ts"

/** The storages of a database, and its client. */
export interface PgBackend extends Backend {
  readonly sql: SqlClient.SqlClient
}

/** The client, and how effects are sent to a database that is not the current tenant's. */
export interface RoutedClient {
  readonly sql: SqlClient.SqlClient
  /** Says that an effect runs in a transaction of a database, which has been opened by its own client. */
  readonly inTransactionOf: (
    backend: PgBackend,
    tenantId: TenantId | undefined
  ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Sends what an effect does to a database; a tenant of another one is refused, and another one's transaction. */
  readonly on: (placement: string) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** No tenant, and so no database: SQLSTATE of a missing connection. */
const noTenant = new SqlError.SqlError({
  reason: new SqlError.AuthorizationError({
    cause: { code: "08003" },
    message:
      "there is no current tenant, and so no database for this statement: provide a tenant, or choose a database with PgSilo"
  })
})

/** The code is that of a tenant who is refused in the transaction of another one. */
const otherDatabase = new SqlError.SqlError({
  reason: new SqlError.AuthorizationError({
    cause: { code: "ES001" },
    message: "the open transaction is in another database than the one that was chosen: start another one"
  })
})

/** The codes are those of `migrations/`, so that the errors are taken for what they are. */
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
    /** The database that statements of the fiber go to, and the tenant whose database it is. */
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
        // Of the tenants of one database, which of them sees what is for the database to say.
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

    /** For one statement: that of the open transaction, if it may be used. */
    const connection: SqlConnection.Acquirer = Effect.flatMap(current, ({ backend }) =>
      Effect.flatMap(
        Effect.serviceOption(Transaction),
        Option.match({
          onNone: () => backend.sql.reserve,
          onSome: ([opened]) => Effect.succeed(opened)
        })
      )
    )

    /** The transaction that the database's own client has opened is that of the routed one, too. */
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
      router.use(current, ({ backend, tenantId }) =>
        transactions.withTransaction(backend.sql)(inTransactionOf(backend, tenantId)(effect))
      )

    /** Runs after the transaction, and so without it. */
    const afterCommit = <R>(effect: Effect.Effect<void, never, R>): Effect.Effect<void, never, R> =>
      Effect.flatMap(router.current, (transaction) =>
        transaction === undefined
          ? client.afterCommit(effect)
          : transaction.backend.sql.afterCommit(
              Effect.updateContext(
                effect,
                (context: Context.Context<R>) =>
                  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a transaction is nobody's requirement
                  Context.omit(Transaction, router.current)(context) as Context.Context<R>
              )
            )
      )

    /** Those of the client would take the open transaction as it is, whoever they are for. */
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

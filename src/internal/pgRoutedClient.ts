/** One SQL client for several databases: each statement goes to the database of the current tenant. */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Option, type Scope } from "effect"
import type { Reactivity } from "effect/reactivity"
import { SqlClient, SqlError } from "effect/sql"
import { type StorageUnavailable, TenantMismatch, type UnknownTenant } from "../StoreError.ts"
import { CurrentTenant, type TenantId } from "../Tenant.ts"
import type { Member, Router } from "./storageRouter.ts"

/** The storages of a database, and its client. */
export interface PgMember extends Member {
  readonly sql: SqlClient.SqlClient
}

/** The client, and how effects are sent to a database that is not the current tenant's. */
export interface RoutedClient {
  readonly sql: SqlClient.SqlClient
  /** Says that an effect runs in a transaction of a database, which has been opened by its own client. */
  readonly within: (
    member: PgMember,
    tenantId: TenantId | undefined
  ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Sends what an effect does with the client to a database; a tenant of another one is refused. */
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

/** The codes are those of `migrations/`, so that the errors are taken for what they are. */
const toSqlError = (error: UnknownTenant | TenantMismatch | StorageUnavailable): SqlError.SqlError => {
  const { message } = error
  switch (error._tag) {
    case "TenantMismatch":
      return new SqlError.SqlError({
        reason: new SqlError.AuthorizationError({ cause: { code: "ES001" }, message })
      })
    case "UnknownTenant":
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

let clients = 0

export const make = (
  router: Router<PgMember>
): Effect.Effect<RoutedClient, never, Scope.Scope | Reactivity.Reactivity> =>
  Effect.gen(function* () {
    const Chosen = Context.Reference<string | undefined>(`effect-eventsourcing/PgSilo/Chosen/${++clients}`, {
      defaultValue: () => undefined
    })

    /** The database that statements of the fiber go to, and the tenant whose database it is. */
    const current: Effect.Effect<
      { readonly member: PgMember; readonly tenantId: TenantId | undefined },
      SqlError.SqlError,
      Scope.Scope
    > = Effect.gen(function* () {
      const transaction = yield* router.current
      if (transaction !== undefined) return transaction
      const placement = yield* Chosen
      const tenantId = Option.getOrUndefined(yield* Effect.serviceOption(CurrentTenant))
      if (tenantId === undefined) {
        if (placement === undefined) return yield* noTenant
        return { member: yield* router.storages.acquire(placement), tenantId }
      }
      const member = yield* router.acquireRegistered(tenantId)
      if (placement !== undefined && placement !== member.placement) {
        return yield* new TenantMismatch({ tenantId })
      }
      return { member, tenantId }
    }).pipe(Effect.mapError((error) => (SqlError.isSqlError(error) ? error : toSqlError(error))))

    const acquirer = Effect.flatMap(current, ({ member }) => member.sql.reserve)

    const client = yield* SqlClient.make({
      acquirer,
      compiler: PgClient.makeCompiler(),
      driver: "pg",
      spanAttributes: [["db.system.name", "postgresql"]]
    })
    const Transaction = client.transactionService

    /** The transaction that the database's own client has opened is that of the routed one, too. */
    const adopt =
      (member: PgMember) =>
      <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
        Effect.flatMap(Effect.serviceOption(member.sql.transactionService), (opened) =>
          Option.isNone(opened) ? effect : Effect.provideService(effect, Transaction, opened.value)
        )

    const within: RoutedClient["within"] = (member, tenantId) => (effect) =>
      router.within(member, tenantId)(adopt(member)(effect))

    const withTransaction = <A, E, R>(
      effect: Effect.Effect<A, E, R>
    ): Effect.Effect<A, E | SqlError.SqlError, R> =>
      router.use(current, ({ member, tenantId }) =>
        member.sql.withTransaction(within(member, tenantId)(effect))
      )

    /** Runs after the transaction, and so without it. */
    const afterCommit = <R>(effect: Effect.Effect<void, never, R>): Effect.Effect<void, never, R> =>
      Effect.flatMap(router.current, (transaction) =>
        transaction === undefined
          ? client.afterCommit(effect)
          : transaction.member.sql.afterCommit(
              Effect.updateContext(
                effect,
                (context: Context.Context<R>) =>
                  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a transaction is nobody's requirement
                  Context.omit(Transaction, router.current)(context) as Context.Context<R>
              )
            )
      )

    const sql: SqlClient.SqlClient = Object.assign(client, { withTransaction, afterCommit })
    return {
      sql,
      within,
      on: (placement) => (effect) => Effect.provideService(effect, Chosen, placement)
    }
  })

/** Transactions on the log of a tenant. Each changes a copy, which replaces the log when the transaction succeeds. */
import { Context, Effect, Exit, Fiber, Latch } from "effect"
import type { TenantId } from "../domain/Tenant.ts"
import { TenantMismatch } from "../driver/StoreError.ts"
import type { TenantLog } from "./tenantLog.ts"

/** An open transaction. */
interface Transaction {
  readonly tenantId: TenantId
  /** The changed log, from the first change on. No other transaction changes the log meanwhile. */
  copy: TenantLog | undefined
  /** Opened at the end, for others that wait to change the log. */
  readonly done: Latch.Latch
  /** A fiber may outlive the transaction in which it was started. */
  ended: boolean
  /** Set by work for another tenant: the transaction must fail then. */
  mismatch: TenantMismatch | undefined
}

let stores = 0

export class Transactions {
  readonly #logs: Map<TenantId, TenantLog>
  readonly #committed: () => void
  readonly #current: Context.Reference<Transaction | undefined>
  /** The transactions that change a log. */
  readonly #changing = new Map<TenantId, Transaction>()
  #open = 0

  constructor(logs: Map<TenantId, TenantLog>, committed: () => void) {
    this.#logs = logs
    this.#committed = committed
    this.#current = Context.Reference<Transaction | undefined>(
      `effect-eventsourcing/memory/transactions/${++stores}`,
      { defaultValue: () => undefined }
    )
  }

  /** The transaction of the running fiber. */
  #currentOf(tenantId: TenantId): Transaction | undefined {
    // most programs have no transaction, so the fiber is asked only if one is open
    const fiber = this.#open === 0 ? undefined : Fiber.getCurrent()
    const transaction = fiber === undefined ? undefined : Context.get(fiber.context, this.#current)
    if (transaction === undefined || transaction.ended) return undefined
    if (transaction.tenantId !== tenantId) throw (transaction.mismatch ??= new TenantMismatch({ tenantId }))
    return transaction
  }

  /** A tenant's log as the running fiber sees it. */
  log(tenantId: TenantId): TenantLog | undefined {
    return this.#currentOf(tenantId)?.copy ?? this.#logs.get(tenantId)
  }

  /** Changes a log, as soon as no other transaction does. */
  change<A, E>(
    tenantId: TenantId,
    provided: () => TenantLog | undefined,
    run: (log: TenantLog | undefined) => Effect.Effect<A, E>
  ): Effect.Effect<A, E> {
    return Effect.suspend(() => this.changeNow(tenantId, provided, run))
  }

  /** Like `change`, called while an effect of the fiber is evaluated. */
  changeNow<A, E>(
    tenantId: TenantId,
    provided: () => TenantLog | undefined,
    run: (log: TenantLog | undefined) => Effect.Effect<A, E>
  ): Effect.Effect<A, E> {
    // most programs have no transaction
    if (this.#open === 0) return run(provided())
    const transaction = this.#currentOf(tenantId)
    const other = this.#changing.get(tenantId)
    if (other !== undefined && other !== transaction)
      return Effect.andThen(other.done.await, this.change(tenantId, provided, run))
    if (transaction === undefined) return run(provided())
    this.#changing.set(tenantId, transaction)
    transaction.copy ??= provided()?.fork()
    return run(transaction.copy)
  }

  /** Keeps others from changing the log until the transaction ends. */
  hold(tenantId: TenantId): Effect.Effect<void> {
    return this.change(
      tenantId,
      () => this.log(tenantId),
      () => Effect.void
    )
  }

  /** True if the fiber is in a transaction. */
  readonly inTransaction: Effect.Effect<boolean> = Effect.suspend(() =>
    Effect.map(this.#current, (transaction) => transaction !== undefined && !transaction.ended)
  )

  /** Runs an effect in a transaction. Inside one of the same tenant, a failure undoes only the effect's own changes. */
  run<A, E, R>(tenantId: TenantId, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const outer = this.#currentOf(tenantId)
      if (outer !== undefined) {
        const before = outer.copy?.fork()
        return Effect.onExit(effect, (exit) =>
          Effect.sync(() => {
            if (Exit.isFailure(exit)) outer.copy = before
          })
        )
      }
      const transaction: Transaction = {
        tenantId,
        copy: undefined,
        done: Latch.makeUnsafe(false),
        ended: false,
        mismatch: undefined
      }
      this.#open++
      return Effect.provideService(effect, this.#current, transaction).pipe(
        Effect.tap(() =>
          transaction.mismatch === undefined ? Effect.void : Effect.die(transaction.mismatch)
        ),
        Effect.onExit((exit) => Effect.sync(() => this.#end(transaction, Exit.isSuccess(exit))))
      )
    })
  }

  #end(transaction: Transaction, commit: boolean): void {
    const { copy, tenantId } = transaction
    transaction.ended = true
    this.#open--
    if (commit && copy !== undefined) this.#logs.set(tenantId, copy)
    if (this.#changing.get(tenantId) === transaction) this.#changing.delete(tenantId)
    transaction.done.openUnsafe()
    if (commit && copy !== undefined) this.#committed()
  }
}

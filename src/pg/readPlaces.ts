/**
 * Reads of pages wait here for one of as many places as the pool has connections, and tenants take turns. In the pool's own line a
 * tenant that reads much would delay all others.
 */
import type { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { TenantId } from "../domain/Tenant.ts"
import { FairShare } from "../driver/fairShare.ts"
import { FairQueue } from "../internal/fairQueue.ts"
import { isPgClient } from "./announcements.ts"
import { openIn } from "./openTransaction.ts"

/** Runs a read of a tenant in its turn; at once in a transaction of the program, which has a connection. */
export type InTurn = <A, E, R>(tenantId: TenantId, read: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** A read that waits for a place. */
interface Waiting {
  readonly tenantId: TenantId
  readonly resume: (admitted: Effect.Effect<void>) => void
}

/** Number of statements that a client runs at the same time. */
const placesOf = ({
  maxConnections = 10,
  multiplex = false,
  multiplexConcurrency = 32
}: PgClient.PgPoolConfig): number => maxConnections * (multiplex ? multiplexConcurrency : 1)

/** Runs reads in the turns of their tenants, at most the given number at the same time. */
export const inTurns = (places: number): InTurn => {
  const queue = new FairQueue<TenantId, Waiting>({
    keyOf: ({ tenantId }) => tenantId,
    concurrency: places
  })
  const shares = new FairShare()

  const enter = (tenantId: TenantId): void => {
    queue.enter(1)
    shares.enter(tenantId)
  }

  const leave = (tenantId: TenantId): void => {
    queue.leave(1)
    shares.leave(tenantId)
    while (queue.waiting > 0 && queue.hasPlace) {
      for (const next of shares.take(queue, 1)) {
        enter(next.tenantId)
        next.resume(Effect.void)
      }
    }
  }

  // A fiber may be interrupted between any two steps, so each place is given back where it is certain to have been taken.
  return (tenantId, read) =>
    Effect.uninterruptibleMask((restore) => {
      if (queue.waiting === 0 && queue.hasPlace) {
        enter(tenantId)
        return Effect.onExit(restore(read), () => Effect.sync(() => leave(tenantId)))
      }
      let waiting: Waiting | undefined
      const admitted = Effect.callback<void>((resume) => {
        waiting = { tenantId, resume }
        queue.add(waiting)
      })
      return Effect.onExit(restore(Effect.andThen(admitted, read)), () =>
        Effect.sync(() => {
          if (waiting !== undefined && !queue.remove(waiting)) leave(tenantId)
        })
      )
    })
}

/** Reads on a client in turns. Another client than that of PostgreSQL has a line of its own. */
export const make = (sql: SqlClient.SqlClient): InTurn => {
  if (!isPgClient(sql)) return (_tenantId, read) => read
  const inTurn = inTurns(placesOf(sql.config))
  return (tenantId, read) =>
    Effect.contextWith((context) => (openIn(context, sql) === undefined ? inTurn(tenantId, read) : read))
}

/**
 * Reservations of streams among processes: an advisory lock in a transaction of its own, on a connection of its own. The end of the
 * connection frees it, and nothing but speed depends on it.
 */
import type { PgClient } from "@effect/sql-pg"
import { Effect, type Fiber, Latch } from "effect"
import type { SqlClient } from "effect/sql"
import type { EventStorage, ReserveRequest } from "../driver/EventStorage.ts"
import { sha256 } from "../internal/sha256.ts"
import { isPgClient } from "./announcements.ts"
import { boundTransaction } from "./PgTenant.ts"

/** The longest wait for a reservation, in milliseconds. */
const longestWait = 1000

/** The server frees a reservation whose process is silent for so long, in milliseconds. */
const longestSilence = 2000

/** The share of a pool's connections that may wait for reservations or hold them. */
const share = 1 / 5

/** In the order of the columns: the tenant is bound and the wait limited before it begins. */
const reserveSql = `select eventsourcing.begin_tenant($1::pg_catalog.uuid),
  pg_catalog.set_config('lock_timeout', '${longestWait}', true),
  pg_catalog.set_config('idle_in_transaction_session_timeout', '${longestSilence}', true),
  pg_catalog.pg_advisory_xact_lock($2::bigint)`

const encoder = new TextEncoder()

/** The key of a stream's lock: part of a hash that no tenant can make equal to that of another tenant's stream. */
const keyOf = ({ aggregateId, aggregateType, tenantId }: ReserveRequest): bigint => {
  const hash = sha256(encoder.encode(JSON.stringify([tenantId, aggregateType, aggregateId])))
  return new DataView(hash.buffer, hash.byteOffset).getBigInt64(0)
}

/** `EventStorage.reserveStream` on a client; undefined for a pool that is too small, and for the embedded database. */
export const make = (
  sql: SqlClient.SqlClient,
  fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
): EventStorage["Service"]["reserveStream"] => {
  if (!isPgClient(sql)) return undefined
  const config: PgClient.PgPoolConfig = sql.config
  if (config.stream !== undefined) return undefined
  const places = Math.floor((config.maxConnections ?? 10) * share)
  if (places < 1) return undefined
  let taken = 0

  return (request) =>
    Effect.suspend(() => {
      if (taken >= places) return Effect.succeed(false)
      taken++
      let isCounted = true
      const free = (): void => {
        if (isCounted) taken--
        isCounted = false
      }
      const left = Latch.makeUnsafe(false)
      let isHeld = false
      let answer: (isReserved: boolean) => void = () => {}
      const worker = fork(
        boundTransaction(
          sql,
          { text: reserveSql, parameters: [request.tenantId, keyOf(request)] },
          () =>
            Effect.suspend(() => {
              isHeld = true
              answer(true)
              return left.await
            }),
          (error) => error
        ).pipe(
          Effect.ignore,
          Effect.ensuring(
            Effect.sync(() => {
              free()
              answer(false)
            })
          )
        )
      )
      const leave = Effect.sync(() => {
        free()
        if (isHeld) left.openUnsafe()
        else worker.interruptUnsafe()
      })
      return Effect.andThen(
        Effect.addFinalizer(() => leave),
        Effect.callback<boolean>((resume) => {
          // A silent connection does not answer, and its transaction has a longer deadline.
          const timer = setTimeout(() => answer(false), 2 * longestWait)
          answer = (isReserved) => {
            clearTimeout(timer)
            resume(Effect.succeed(isReserved))
          }
          if (isHeld || worker.pollUnsafe() !== undefined) answer(isHeld)
          return Effect.sync(() => clearTimeout(timer))
        })
      )
    })
}

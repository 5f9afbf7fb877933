/** Loading from PostgreSQL: one stream by the shortest way, those that wait together in one statement. */
import { PgTypes } from "@effect/sql-pg"
import { Effect, Exit, type Fiber } from "effect"
import type { SqlClient } from "effect/sql"
import type * as EventStorage from "../driver/EventStorage.ts"
import * as PgTenant from "./PgTenant.ts"
import type { ReadError } from "../driver/StoreError.ts"
import * as groupLoads from "./groupLoads.ts"
import { array } from "./appendBatch.ts"
import * as pgColumns from "./chunks.ts"
import * as pgError from "./sqlErrors.ts"
import { clampVersion } from "./read.ts"

type ReadContents = NonNullable<EventStorage.EventStorage["Service"]["readContents"]>
type Request = Parameters<ReadContents>[0]
type Contents = EventStorage.Page<EventStorage.EventContent> | undefined

/** Undefined: the statement did not come to it. */
type Exits = ReadonlyArray<Exit.Exit<Contents, ReadError> | undefined>

/** How loads are done. */
export interface Options {
  readonly limits: groupLoads.Limits
  /** About how many bytes of payload and metadata a statement reads at most. */
  readonly pageBytes: bigint
  /** Runs batches, outside of every transaction. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

const parameters = (requests: ReadonlyArray<Request>, pageBytes: bigint): ReadonlyArray<unknown> => {
  const texts = (of: (request: Request) => string) => array(requests.map(of), PgTypes.OID.text)
  const integers = (of: (request: Request) => number) => array(requests.map(of), PgTypes.OID.int4)
  return [
    texts(({ tenantId }) => tenantId),
    texts(({ aggregateType }) => aggregateType),
    texts(({ aggregateId }) => aggregateId),
    integers(({ fromVersion }) => clampVersion(Math.ceil(fromVersion))),
    integers(({ toVersion }) => clampVersion(Math.floor(toVersion))),
    integers(({ limit }) => limit),
    pageBytes
  ]
}

/** `EventStorage.readContents` on a client, of `readOne`, which is also that within transactions. */
export const make = (
  sql: SqlClient.SqlClient,
  readOne: ReadContents,
  { fork, limits, pageBytes }: Options
): ReadContents => {
  /** A failure that only one of them can have caused is not spread over the others. */
  const readAll = (requests: ReadonlyArray<Request>): Effect.Effect<Exits> => {
    const [first] = requests
    if (first !== undefined && requests.length === 1)
      return Effect.map(Effect.exit(readOne(first)), (exit) => [exit])
    return Effect.matchEffect(
      PgTenant.statement(sql, (connection) =>
        connection.executeValues(pgColumns.readStreamsContentsSql, parameters(requests, pageBytes))
      ),
      {
        onSuccess: (rows) => {
          const exits: Array<Exits[number]> = requests.map(() => undefined)
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the function's columns decode to
          for (const row of rows as unknown as ReadonlyArray<pgColumns.StreamContents>)
            exits[row[0] - 1] = Exit.succeed(pgColumns.streamContentsPage(row))
          return Effect.succeed(exits)
        },
        onFailure: (error) => {
          if (pgError.isTransient(error))
            return Effect.succeed(
              requests.map(() => Exit.fail(pgError.toUnavailable("read a stream", error)))
            )
          const half = Math.ceil(requests.length / 2)
          const halves = [requests.slice(0, half), requests.slice(half)]
          return Effect.map(Effect.forEach(halves, readAll), (exits) => exits.flat())
        }
      }
    )
  }

  const load = groupLoads.make(readOne, readAll, fork, limits)
  return (request) =>
    Effect.withFiber(({ context }) =>
      PgTenant.openIn(context, sql) === undefined ? load(request) : readOne(request)
    )
}

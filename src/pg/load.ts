/** Loads from PostgreSQL: a single load at once, waiting loads together in one statement. */
import { PgTypes } from "@effect/sql-pg"
import { Effect, Exit, type Fiber } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import type { EventStorage, LoadStreamRequest, StreamPage } from "../driver/EventStorage.ts"
import { failFor } from "./openTransaction.ts"
import { decodedRows } from "./statement.ts"
import type { ReadError } from "../driver/StoreError.ts"
import * as groupLoads from "./groupLoads.ts"
import { array } from "./appendBatch.ts"
import * as chunks from "./chunks.ts"

/** Undefined if an event type contains the separator of a chunk. */
type Loaded = StreamPage | undefined

/** An exit per load; undefined for a load that the statement did not reach. */
type Exits = ReadonlyArray<Exit.Exit<Loaded, ReadError> | undefined>

/** Options of loads. */
export interface Options {
  /** Limits of grouped loads; undefined to send each load alone. */
  readonly limits: groupLoads.Limits | undefined
  /** Approximate maximum of payload and metadata that a statement reads, in bytes. */
  readonly pageBytes: bigint
  /** Runs batches outside of all transactions. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

const parameters = (
  requests: ReadonlyArray<LoadStreamRequest>,
  pageBytes: bigint
): ReadonlyArray<unknown> => {
  const texts = (of: (request: LoadStreamRequest) => string) => array(requests.map(of), PgTypes.OID.text)
  const integers = (of: (request: LoadStreamRequest) => number) => array(requests.map(of), PgTypes.OID.int4)
  return [
    texts(({ tenantId }) => tenantId),
    texts(({ aggregateType }) => aggregateType),
    texts(({ aggregateId }) => aggregateId),
    integers(({ fromVersion }) => fromVersion),
    integers(({ toVersion }) => toVersion),
    integers(({ limit }) => limit),
    pageBytes
  ]
}

/** `EventStorage.loadStream` on a client. */
export const make = (
  sql: SqlClient.SqlClient,
  { fork, limits, pageBytes }: Options
): EventStorage["Service"]["loadStream"] => {
  const run = (
    requests: ReadonlyArray<LoadStreamRequest>
  ): Effect.Effect<ReadonlyArray<chunks.StreamChunk>, SqlError.SqlError> =>
    decodedRows<chunks.StreamChunk>(sql, chunks.loadStreamsSql, parameters(requests, pageBytes))

  const loadOne = (request: LoadStreamRequest): Effect.Effect<Loaded, ReadError> =>
    run([request]).pipe(
      Effect.map((rows) => chunks.streamPage(rows, request)),
      Effect.catch((error) => failFor(sql, "load a stream", request.tenantId, error))
    )

  const loadAll = groupLoads.inHalves("load a stream", run, loadOne, (rows, requests): Exits => {
    const exits: Array<Exits[number]> = requests.map(() => undefined)
    for (const row of rows) {
      const request = requests[row[0] - 1]
      if (request !== undefined) exits[row[0] - 1] = Exit.succeed(chunks.streamPage([row], request))
    }
    return exits
  })

  const load = limits === undefined ? loadOne : groupLoads.make(loadOne, loadAll, fork, limits)

  /** Loads one event, whose chunk needs no separator. */
  const loadOneEvent = (request: LoadStreamRequest): Effect.Effect<StreamPage, ReadError> =>
    Effect.flatMap(loadOne({ ...request, limit: 1 }), (page) =>
      page === undefined ? Effect.die(new Error("a chunk of one event was joined")) : Effect.succeed(page)
    )

  const loadGrouped = groupLoads.unlessInTransaction(sql, load, loadOne)
  return (request) =>
    Effect.flatMap(loadGrouped(request), (page) =>
      page === undefined ? loadOneEvent(request) : Effect.succeed(page)
    )
}

/** Appends on PostgreSQL: a single append on the fast path, waiting appends together in one statement. */
import { Effect, Exit, type Fiber } from "effect"
import type { SqlClient, SqlConnection, SqlError } from "effect/sql"
import type { AppendReceipt, AppendRequest } from "../driver/EventStorage.ts"
import { openIn, recordAppended, refuse, refuseOthers } from "./openTransaction.ts"
import { statement } from "./statement.ts"
import { type AppendError, OutcomeUnknown } from "../driver/StoreError.ts"
import { isUnanswered } from "./deadlines.ts"
import { refuseUnsealed } from "../driver/refusals.ts"
import type { TenantId } from "../domain/Tenant.ts"
import * as groupCommit from "./groupCommit.ts"
import * as appendBatch from "./appendBatch.ts"
import * as appendOutcomes from "./appendOutcomes.ts"
import * as sqlErrors from "./sqlErrors.ts"
import type { Announcements } from "./announcements.ts"

export interface Options {
  /** Registers an unknown tenant with its first append. */
  readonly provision: boolean
  /** Limits of batches of waiting appends; undefined to send each append alone. */
  readonly batches: groupCommit.Limits | undefined
  /** The announcements of appends. */
  readonly announcements: Announcements
  /** Runs batches outside of all transactions. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

type Outcome = appendOutcomes.Outcome

type Outcomes = ReadonlyArray<Outcome>

const runBatch = (
  connection: SqlConnection.Connection,
  alone: boolean,
  requests: ReadonlyArray<AppendRequest>,
  flags: { readonly provision: boolean; readonly wait: boolean }
): Effect.Effect<Outcomes, SqlError.SqlError> => {
  const batch = appendBatch.encode(requests, flags)
  return Effect.map(
    connection.executeValues(alone ? appendBatch.callSql : appendBatch.selectSql, batch.parameters),
    ([row]) => {
      if (row === undefined) throw new Error("eventsourcing.append returned no row")
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the decoded columns of the function
      return appendOutcomes.decode(requests, batch, row as unknown as appendOutcomes.ResultColumns)
    }
  )
}

/** Runs a batch. A single append tries the fast path first. */
const run = (
  connection: SqlConnection.Connection,
  alone: boolean,
  requests: ReadonlyArray<AppendRequest>,
  flags: { readonly provision: boolean; readonly wait: boolean }
): Effect.Effect<Outcomes, SqlError.SqlError> => {
  const [request] = requests
  const one =
    alone && request !== undefined && requests.length === 1 ? appendBatch.encodeOne(request) : undefined
  if (one === undefined) return runBatch(connection, alone, requests, flags)
  return Effect.flatMap(connection.executeValues(appendBatch.callOneSql, one), ([row]) => {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the decoded columns of the procedure
    const answer = row as unknown as appendOutcomes.OneColumns | undefined
    const outcome = answer === undefined ? undefined : appendOutcomes.decodeOne(answer)
    return outcome === undefined ? runBatch(connection, alone, requests, flags) : Effect.succeed([outcome])
  })
}

/** The tenants whose logs a batch changed. */
const tenantsAppendedTo = (
  requests: ReadonlyArray<AppendRequest>,
  outcomes: Outcomes
): ReadonlyArray<TenantId> => {
  const changed: Array<TenantId> = []
  let index = 0
  for (const { tenantId } of requests) {
    const outcome = outcomes[index++]
    if (outcome === undefined || typeof outcome === "string" || Exit.isFailure(outcome)) continue
    const { positions, replayed } = outcome.value
    if (!replayed && positions.length > 0) changed.push(tenantId)
  }
  return changed
}

const eventIdsOf = ({ streams }: AppendRequest): ReadonlyArray<string> =>
  streams.flatMap(({ events }) => events.map(({ eventId }) => eventId))

const outcomeUnknown = (request: AppendRequest): OutcomeUnknown =>
  new OutcomeUnknown({ tenantId: request.tenantId, eventIds: eventIdsOf(request) })

/** `EventStorage.append` on a client. */
export const make = (
  sql: SqlClient.SqlClient,
  { announcements, batches, fork, provision }: Options
): ((request: AppendRequest) => Effect.Effect<AppendReceipt, AppendError>) => {
  /**
   * Runs a batch. If one append may have made the statement fail, none of the batch has an outcome, and group commit sends
   * each alone. Without `wait`, appends of a tenant that another transaction has locked have no outcome either.
   */
  const attempt = (requests: ReadonlyArray<AppendRequest>, wait: boolean): Effect.Effect<Outcomes> =>
    Effect.matchEffect(
      statement(sql, (connection, alone) => run(connection, alone, requests, { provision, wait })),
      {
        onSuccess: (outcomes): Effect.Effect<Outcomes> =>
          Effect.as(announcements.announce(tenantsAppendedTo(requests, outcomes)), outcomes),
        onFailure: (error): Effect.Effect<Outcomes> =>
          requests.length > 1 && !sqlErrors.isOfConnection(error)
            ? Effect.succeed(requests.map(() => "failedTogether" as const))
            : sqlErrors.isBoundToAnother(error)
              ? refuse(sql, requests[0]?.tenantId ?? "")
              : Effect.withFiber(({ context }) => {
                  // An append in an open transaction is stored only by its commit.
                  const unknown = isUnanswered(error) && openIn(context, sql) === undefined
                  return Effect.succeed(
                    requests.map((request) =>
                      Exit.fail(unknown ? outcomeUnknown(request) : sqlErrors.toAppendError(error))
                    )
                  )
                })
      }
    )

  const append = (request: AppendRequest): Effect.Effect<AppendReceipt, AppendError> =>
    Effect.flatMap(attempt([request], true), ([outcome]) =>
      Exit.isExit(outcome) ? outcome : groupCommit.noOutcome
    )

  const submit =
    batches === undefined ? append : groupCommit.make(attempt, fork, batches, sqlErrors.lockTimeout)

  const appendInTransaction = (request: AppendRequest): Effect.Effect<AppendReceipt, AppendError> =>
    refuseOthers(sql, request.tenantId).pipe(
      Effect.andThen(append(request)),
      Effect.tap(({ positions, replayed }) =>
        Effect.withFiber(({ context }) => {
          if (!replayed && positions.length > 0) recordAppended(context, sql, eventIdsOf(request))
          return Effect.void
        })
      )
    )

  return (request) =>
    Effect.withFiber(({ context }) => {
      refuseUnsealed(request)
      return openIn(context, sql) === undefined ? submit(request) : appendInTransaction(request)
    })
}

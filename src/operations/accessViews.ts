/** Shows the record of looks and actions. */
import { Effect, Option, Schema } from "effect"
import type { Administered } from "../driver/AdministrationStorage.ts"
import type { CrossTenantAccessRow, EventStorage } from "../driver/EventStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { Outcome, Verify } from "./Acts.ts"
import { timeOf, timeOrNull } from "./eventView.ts"
import type * as Looks from "./Looks.ts"
import type { AccessesRequest } from "./requests.ts"

const pageSize = 500
const maxPages = 10

/** Number of verifications that are searched. */
const searchedVerifications = 100

/** Number of verifications that are shown. */
const shownVerifications = 10

const outcomeOf = Schema.decodeUnknownOption(Outcome)

const view = ({ completed, parameters, ...row }: CrossTenantAccessRow): Looks.AccessView => ({
  accessId: row.accessId,
  accessedAt: timeOf(row.accessedAt),
  actor: row.actor,
  reason: row.reason,
  operation: row.operation,
  parameters: parameters ?? null,
  completedAt: timeOrNull(completed?.completedAt),
  outcome: completed === undefined ? null : Option.getOrNull(outcomeOf(completed.outcome))
})

const isVerify = Schema.is(Verify)

const Head = Schema.Struct({ position: Schema.Int, eventId: Schema.String, hash: Schema.String })
const headOf = Schema.decodeUnknownOption(Head)

/** The verification of a record; none for a dry run, and for one that has not ended. */
const verificationOf = (row: CrossTenantAccessRow): ReadonlyArray<Looks.ChainVerification> => {
  const { accessId, actor, completedAt, outcome, parameters } = view(row)
  if (completedAt === null || outcome === null || outcome.status === "interrupted") return []
  if (isVerify(parameters) && parameters.dryRun === true) return []
  const succeeded = outcome.status === "succeeded"
  return [
    {
      accessId,
      verifiedAt: completedAt,
      actor,
      events: succeeded ? outcome.counts.events : null,
      anchor: succeeded ? Option.getOrNull(headOf(outcome.details["head"])) : null,
      problem: succeeded ? null : (outcome.message ?? outcome.error)
    }
  ]
}

export const makeAccessViews = (events: EventStorage["Service"]) => ({
  /** A page of the record, the newest first. */
  page: Effect.fnUntraced(function* (
    accessId: string,
    { actor, before, operation, tenantId }: AccessesRequest,
    limit: number
  ): Effect.fn.Return<Looks.AccessPage, StorageUnavailable> {
    const accesses: Array<Looks.AccessView> = []
    let cursor = before
    for (let pages = 0; pages < maxPages; pages++) {
      const page = yield* events.listAccesses({ accessId, before: cursor, limit: pageSize })
      for (const row of page.rows) {
        cursor = row.accessId
        if (actor !== undefined && row.actor !== actor) continue
        if (operation !== undefined && !row.operation.startsWith(operation)) continue
        if (tenantId !== undefined && !row.operation.includes(tenantId)) continue
        accesses.push(view(row))
        if (accesses.length === limit) return { accesses, next: cursor }
      }
      if (page.complete) return { accesses, next: null }
    }
    return { accesses, next: cursor ?? null }
  }),
  /** The last recorded verifications of a tenant's chain, the newest first. */
  verifications: ({
    accessId,
    tenantId
  }: Administered): Effect.Effect<ReadonlyArray<Looks.ChainVerification>, StorageUnavailable> =>
    Effect.map(
      events.listAccesses({
        accessId,
        before: undefined,
        operation: `Actions.verify ${tenantId}`,
        limit: searchedVerifications
      }),
      ({ rows }) => rows.flatMap(verificationOf).slice(0, shownVerifications)
    )
})

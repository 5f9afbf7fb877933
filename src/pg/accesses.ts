/** The record of accesses across tenants and of operations. */
import { Effect, type Schema } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import type { CrossTenantAccessRow, EventStorage } from "../driver/EventStorage.ts"
import { type AcrossTenants, oneMore } from "./read.ts"

type Accesses = Pick<EventStorage["Service"], "recordAccess" | "completeAccess" | "listAccesses">

type AccessColumns = readonly [
  accessId: string,
  accessedAt: Date,
  actor: string,
  reason: string,
  operation: string,
  parameters: string | null,
  completedAt: Date | null,
  outcome: string | null
]

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the column has a value of this type
const jsonOf = (text: string): Schema.Json => JSON.parse(text) as Schema.Json

const rowOf = ([
  accessId,
  accessedAt,
  actor,
  reason,
  operation,
  parameters,
  completedAt,
  outcome
]: AccessColumns): CrossTenantAccessRow => ({
  accessId,
  accessedAt: accessedAt.getTime(),
  actor,
  reason,
  operation,
  ...(parameters === null ? undefined : { parameters: jsonOf(parameters) }),
  ...(completedAt === null || outcome === null
    ? undefined
    : { completed: { completedAt: completedAt.getTime(), outcome: jsonOf(outcome) } })
})

export const make = (acrossTenants: AcrossTenants): Accesses => ({
  recordAccess: ({ accessId: given, actor, operation, parameters, reason }) =>
    Effect.suspend(() => {
      const accessId = given ?? uuidV7Unsafe()
      return Effect.as(
        acrossTenants(
          "record a cross-tenant access",
          "select eventsourcing.record_operation($1::pg_catalog.uuid, $2::pg_catalog.text, $3::pg_catalog.text, $4::pg_catalog.text, $5::pg_catalog.text::pg_catalog.jsonb)",
          [accessId, actor, reason, operation, parameters === undefined ? null : JSON.stringify(parameters)],
          { commits: true }
        ),
        accessId
      )
    }),
  completeAccess: ({ accessId, outcome }) =>
    Effect.map(
      acrossTenants<[boolean]>(
        "complete the record of an operation",
        "select eventsourcing.complete_operation($1::pg_catalog.uuid, $2::pg_catalog.text::pg_catalog.jsonb)",
        [accessId, JSON.stringify(outcome)],
        { commits: true }
      ),
      ([row]) => row?.[0] === true
    ),
  listAccesses: ({ accessId, before, limit, operation }) =>
    Effect.map(
      acrossTenants<AccessColumns>(
        "list cross-tenant accesses",
        "select access_id::pg_catalog.text, accessed_at, actor, reason, operation, parameters::pg_catalog.text, completed_at, outcome::pg_catalog.text from eventsourcing.list_accesses($1::pg_catalog.uuid, $2::pg_catalog.text, $3::pg_catalog.uuid, $4::integer)",
        [accessId, operation ?? null, before ?? null, oneMore(limit)]
      ),
      (rows) => ({ rows: rows.slice(0, limit).map(rowOf), complete: rows.length <= limit })
    )
})

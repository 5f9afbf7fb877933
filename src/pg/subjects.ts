/** The subjects of tenants on PostgreSQL: the number of forgotten ones, those after a number, and rows for the administration. */
import { PgTypes } from "@effect/sql-pg"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { LegalHold, SubjectRow } from "../driver/AdministrationStorage.ts"
import type { EventStorage, ForgottenSubject } from "../driver/EventStorage.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { array } from "./appendBatch.ts"
import * as groupLoads from "./groupLoads.ts"
import { failFor } from "./openTransaction.ts"
import { decodedRows } from "./statement.ts"

interface Request {
  readonly tenantId: TenantId
}

type WithNull<A> = {
  readonly [K in keyof A]: undefined extends A[K] ? Exclude<A[K], undefined> | null : A[K]
}

const countsSql = "select eventsourcing.forgotten_counts($1::pg_catalog.text[])"

const subjectsSql =
  "select forgotten, subjects from eventsourcing.forgotten_subjects($1::pg_catalog.uuid, $2::integer)"

const maxNumber = 2_147_483_647

/** `EventStorage.forgottenSubjects` on a client. */
export const make = (
  sql: SqlClient.SqlClient,
  options: groupLoads.Options
): EventStorage["Service"]["forgottenSubjects"] => {
  const count = groupLoads.lookUps(
    sql,
    "read the number of forgotten subjects",
    (requests: ReadonlyArray<Request>) =>
      Effect.suspend(() => {
        const tenants = [...new Set(requests.map(({ tenantId }) => tenantId))]
        return Effect.map(
          decodedRows<readonly [ReadonlyArray<number>]>(sql, countsSql, [array(tenants, PgTypes.OID.text)]),
          ([row]) => {
            const counts = new Map(tenants.map((tenantId, index) => [tenantId, row?.[0][index] ?? 0]))
            return requests.map(({ tenantId }) => counts.get(tenantId) ?? 0)
          }
        )
      }),
    (counts, index) => counts[index] ?? 0,
    options
  )

  const list = ({ after, tenantId }: Request & { readonly after: number }) =>
    decodedRows<readonly [number, ReadonlyArray<WithNull<ForgottenSubject>>]>(sql, subjectsSql, [
      tenantId,
      Math.min(after, maxNumber)
    ]).pipe(
      Effect.map(([row]) => ({
        forgotten: row?.[0] ?? 0,
        subjects: (row?.[1] ?? []).map((subject) =>
          Object.assign({}, subject, { allowedAgainAt: subject.allowedAgainAt ?? undefined })
        )
      })),
      Effect.catch((error) => failFor(sql, "read the forgotten subjects", tenantId, error))
    )

  const listed = groupLoads.unlessInTransaction(sql, list, list)

  return ({ after, tenantId }) =>
    after === undefined
      ? Effect.map(count({ tenantId }), (forgotten) => ({ forgotten, subjects: [] }))
      : listed({ tenantId, after })
}

/** A subject as the functions of the administration take and return it. */
export interface StoredSubject {
  readonly subject: string
  readonly number: number | null
  readonly forgotten: {
    readonly forgetting: string
    readonly forgottenAt: number
    readonly actor: string
    readonly reason: string
    readonly allowedAgainAt?: number
  } | null
  readonly begun: string | null
  readonly hold: LegalHold | null
}

export const toRow = ({ begun, forgotten, hold, number, subject }: StoredSubject): SubjectRow => ({
  subject,
  forgotten:
    forgotten === null || number === null
      ? undefined
      : { number, ...forgotten, allowedAgainAt: forgotten.allowedAgainAt },
  begun: begun ?? undefined,
  hold: hold ?? undefined
})

export const fromRow = ({ begun, forgotten: last, hold, subject }: SubjectRow): StoredSubject => {
  const kept = { subject, begun: begun ?? null, hold: hold ?? null }
  if (last === undefined) return { ...kept, number: null, forgotten: null }
  const { allowedAgainAt, number, ...forgotten } = last
  return {
    ...kept,
    number,
    forgotten: allowedAgainAt === undefined ? forgotten : { ...forgotten, allowedAgainAt }
  }
}

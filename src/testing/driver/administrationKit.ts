/** Helpers of the suite for the administration of tenants. */
import { Effect } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import {
  type Administered,
  AdministrationStorage,
  type StateChange,
  type SubjectChange,
  type SubjectHeld,
  type SubjectRow,
  type TenantHeld,
  type TenantRecord,
  type TenantStateConflict
} from "../../driver/AdministrationStorage.ts"
import { type EventRow, EventStorage, type ForgottenSubjects, type Page } from "../../driver/EventStorage.ts"
import type { ReadError, StorageUnavailable } from "../../driver/StoreError.ts"
import type { TenantId } from "../../domain/Tenant.ts"

/** The token of a new undertaking. */
export const newToken = (): string => uuidV4Unsafe()

/** Names a newly recorded access and a tenant. */
export const administered = (
  tenantId: TenantId
): Effect.Effect<Administered, StorageUnavailable, AdministrationStorage> =>
  Effect.map(
    AdministrationStorage.use((storage) =>
      storage.recordAccess({ actor: "suite", reason: "contract", operation: `administer ${tenantId}` })
    ),
    (accessId) => ({ accessId, tenantId })
  )

type ChangeError = TenantStateConflict | TenantHeld | StorageUnavailable

/** Changes the state of a tenant. */
export const change = (
  tenantId: TenantId,
  wanted: StateChange
): Effect.Effect<TenantRecord, ChangeError, AdministrationStorage> =>
  Effect.flatMap(administered(tenantId), (request) =>
    AdministrationStorage.use((storage) => storage.changeState({ ...request, ...wanted }))
  )

/** A tenant. */
export const record = (
  tenantId: TenantId
): Effect.Effect<TenantRecord | undefined, StorageUnavailable, AdministrationStorage> =>
  Effect.flatMap(administered(tenantId), (request) =>
    AdministrationStorage.use((storage) => storage.tenant(request))
  )

/** All events of a tenant in any state. */
export const rawEvents = (
  tenantId: TenantId
): Effect.Effect<ReadonlyArray<EventRow>, StorageUnavailable, AdministrationStorage> =>
  Effect.gen(function* () {
    const storage = yield* AdministrationStorage
    const request = yield* administered(tenantId)
    const rows: Array<EventRow> = []
    for (;;) {
      const page = yield* storage.readEvents({
        ...request,
        fromPosition: rows.length + 1,
        toPosition: Number.MAX_SAFE_INTEGER,
        limit: 1000
      })
      rows.push(...page.rows)
      if (page.complete) return rows
    }
  })

/** Imports events as a tenant, without ending the import. Returns its token. */
export const begun = Effect.fnUntraced(function* (tenantId: TenantId, events: ReadonlyArray<EventRow>) {
  const storage = yield* AdministrationStorage
  const token = newToken()
  const request = yield* administered(tenantId)
  yield* storage.changeState({ ...request, change: "beginImport", token })
  yield* storage.writeEvents({ ...request, token, events })
  return token
})

/** Removes all rows of a tenant. Returns their number. */
export const purge = Effect.fnUntraced(function* (tenantId: TenantId, token: string, limit: number) {
  const storage = yield* AdministrationStorage
  const request = yield* administered(tenantId)
  let total = 0
  for (;;) {
    const { complete, removed } = yield* storage.purge({ ...request, token, limit })
    total += removed
    if (complete) return total
  }
})

/** Changes a subject of a tenant. */
export const changeSubject = (
  tenantId: TenantId,
  subject: string,
  wanted: SubjectChange
): Effect.Effect<SubjectRow, TenantStateConflict | SubjectHeld | StorageUnavailable, AdministrationStorage> =>
  Effect.flatMap(administered(tenantId), (at) =>
    AdministrationStorage.use((storage) => storage.changeSubject({ ...at, subject, ...wanted }))
  )

/** The change that forgets a subject, by default with a new id. */
export const forgetting = (
  id: string = uuidV4Unsafe()
): Extract<SubjectChange, { readonly change: "forget" }> => ({
  change: "forget",
  forgetting: id,
  forgottenAt: 1_700_000_000_123,
  actor: "officer",
  reason: "request"
})

/** A tenant's number of forgotten subjects, and those after a number. */
export const forgottenSubjects = (
  tenantId: TenantId,
  after?: number
): Effect.Effect<ForgottenSubjects, ReadError, EventStorage> =>
  EventStorage.use((storage) => storage.forgottenSubjects({ tenantId, after }))

/** A page of a tenant's subjects. */
export const listedSubjects = (
  tenantId: TenantId,
  after?: string,
  limit = 10
): Effect.Effect<Page<SubjectRow>, StorageUnavailable, AdministrationStorage> =>
  Effect.flatMap(administered(tenantId), (at) =>
    AdministrationStorage.use((storage) => storage.subjects({ ...at, after, limit }))
  )

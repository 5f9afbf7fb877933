/** Forgets subjects step by step. Each step may be repeated, so that a run that was killed anywhere is carried on by the next one. */
import { Clock, Effect } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import type { Fence, KeyVault } from "./keyVaultContract.ts"
import { PersonalSubject } from "../domain/PersonalSubject.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type {
  AdministrationStorage,
  SubjectHeld,
  SubjectRow,
  TenantStateConflict
} from "../driver/AdministrationStorage.ts"
import type { EventStorage, ForgottenSubject, NewEventRow } from "../driver/EventStorage.ts"
import { type AppendError, OtherFailure, StorageUnavailable } from "../driver/StoreError.ts"
import { canonicalJson } from "../internal/canonicalJson.ts"

/** Errors of forgetting. */
export type ForgetError = TenantStateConflict | SubjectHeld | AppendError

/** The services that forget. */
export interface Parts {
  /** Appends an event of the library, with what belongs to it. */
  readonly append: EventStorage["Service"]["append"]
  readonly events: EventStorage["Service"]
  readonly administration: AdministrationStorage["Service"]
  readonly vault: KeyVault["Service"]
}

/** A subject of a tenant, under a recorded access. */
interface Named {
  readonly accessId: string
  readonly tenantId: TenantId
  readonly subject: string
}

/** The event that tells of a forgetting. It is the same for the same fence, so that a repetition writes nothing. */
const eventOf = ({ actor, forgetting, forgottenAt, reason, subject }: Fence): NewEventRow => ({
  eventId: forgetting,
  eventType: "SubjectForgotten",
  schemaVersion: 1,
  occurredAt: forgottenAt,
  actor,
  correlationId: forgetting,
  causationId: null,
  metadata: canonicalJson({ reason }),
  payload: canonicalJson({ _tag: "SubjectForgotten", subject }),
  tags: []
})

export const makeForgetSubjects = ({ administration, append, events, vault }: Parts) => {
  /** The steps behind the fence in the vault. */
  const complete = Effect.fnUntraced(function* (at: Named, fence: Fence) {
    const { tenantId } = at
    const { actor, forgetting, forgottenAt, reason, subject } = fence
    const row = yield* administration.changeSubject({
      ...at,
      change: "forget",
      forgetting,
      forgottenAt,
      actor,
      reason
    })
    yield* vault.destroy({ tenantId, forgetting })
    const told = append({
      tenantId,
      streams: [
        {
          aggregateType: PersonalSubject.type,
          aggregateId: subject,
          expectedVersion: "any",
          events: [eventOf(fence)]
        }
      ],
      exempt: true
    })
    // A restored vault may have the fence with another reason: the event tells of this forgetting all the same.
    yield* Effect.catchIf(
      told,
      (error) => error._tag === "Conflict" && error.reason._tag === "EventIdConflict",
      () => Effect.void
    )
    yield* administration.changeSubject({ ...at, change: "end", forgetting })
    return row
  })

  /** The fences of a subject that was not allowed again. */
  const openFences = ({
    subject,
    tenantId
  }: Named): Effect.Effect<ReadonlyArray<Fence>, StorageUnavailable> =>
    Effect.map(vault.fences({ tenantId }), (fences) =>
      fences.filter((fence) => fence.subject === subject && fence.allowedAgainAt === undefined)
    )

  const forget = Effect.fnUntraced(function* (
    at: Named,
    { actor, reason }: { readonly actor: string; readonly reason: string }
  ): Effect.fn.Return<SubjectRow, ForgetError> {
    const { subject, tenantId } = at
    let row: SubjectRow | undefined
    for (const fence of yield* openFences(at)) row = yield* complete(at, fence)
    if (row !== undefined) return row
    const forgetting = uuidV7Unsafe()
    const { begun = forgetting } = yield* administration.changeSubject({ ...at, change: "begin", forgetting })
    const forgottenAt = Math.floor(yield* Clock.currentTimeMillis)
    return yield* complete(
      at,
      yield* vault.fence({ tenantId, subject, forgetting: begun, forgottenAt, actor, reason })
    )
  })

  const allowAgain = Effect.fnUntraced(function* (at: Named): Effect.fn.Return<SubjectRow, ForgetError> {
    const allowedAt = Math.floor(yield* Clock.currentTimeMillis)
    // A forgetting that was killed ends first: its keys must not be used again.
    for (const fence of yield* openFences(at)) yield* complete(at, fence)
    yield* vault.allow({ tenantId: at.tenantId, subject: at.subject, allowedAt })
    return yield* administration.changeSubject({ ...at, change: "allow", allowedAt })
  })

  /**
   * Forgets in the vault what it lacks and the storage has: it was restored from a backup. Every key of the backup is older than the
   * forgetting. Returns the number of subjects.
   */
  const catchUpVault = Effect.fnUntraced(function* (
    tenantId: TenantId,
    fences: ReadonlyArray<Fence>,
    known: ReadonlyArray<ForgottenSubject>
  ) {
    const fenced = new Set(fences.map(({ forgetting }) => forgetting))
    const missing = known.filter(({ forgetting }) => !fenced.has(forgetting))
    for (const { allowedAgainAt, forgetting, forgottenAt, subject } of missing) {
      yield* vault.fence({
        tenantId,
        subject,
        forgetting,
        forgottenAt,
        actor: "effect-eventsourcing",
        reason: "the storage has the subject as forgotten, and the key vault lacked it"
      })
      yield* vault.destroy({ tenantId, forgetting })
      if (allowedAgainAt !== undefined) yield* vault.allow({ tenantId, subject, allowedAt: allowedAgainAt })
    }
    return missing.length
  })

  /**
   * Forgets again what the storage or the vault lacks: one of them was restored from a backup, or a forgetting was killed. Returns the
   * number of subjects. The last fence of a subject stands for those before it. Without an access it records one of the
   * library.
   */
  const catchUp = Effect.fnUntraced(function* (
    tenantId: TenantId,
    givenAccess?: string
  ): Effect.fn.Return<number, ForgetError> {
    const known = yield* vault.fences({ tenantId })
    const { subjects } = yield* events.forgottenSubjects({ tenantId, after: 0 })
    const inVault = yield* catchUpVault(tenantId, known, subjects)
    const fences = inVault === 0 ? known : yield* vault.fences({ tenantId })
    const last = new Map(fences.map((fence) => [fence.subject, fence]))
    // One that has not ended was killed in between: its keys may be left, and its event may be missing.
    for (const { ended, forgetting, subject } of subjects)
      if (ended && last.get(subject)?.forgetting === forgetting) last.delete(subject)
    if (last.size === 0) return inVault
    const status = yield* events.tenantStatus(tenantId)
    // nothing of it can be read
    if (status !== "active" && status !== "suspended") return inVault
    const accessId =
      givenAccess ??
      (yield* administration.recordAccess({
        actor: "effect-eventsourcing",
        reason: "the storage lacks subjects that the key vault has as forgotten",
        operation: `Forgetting.catchUp ${tenantId}`
      }))
    for (const [subject, fence] of last) {
      const at = { accessId, tenantId, subject }
      yield* complete(at, fence)
      if (fence.allowedAgainAt !== undefined)
        yield* administration.changeSubject({ ...at, change: "allow", allowedAt: fence.allowedAgainAt })
    }
    return last.size + inVault
  })

  return { forget, allowAgain, catchUp }
}

/** A failure to forget again before a read: nothing is shown then. */
export const asUnavailable = (error: ForgetError): StorageUnavailable =>
  error._tag === "StorageUnavailable"
    ? error
    : new StorageUnavailable({
        reason: new OtherFailure({
          operation: "forget again what a restored storage lacks",
          retryable: true,
          code: error._tag,
          remedy: "provide a login that may administer tenants, or call Forgetting.catchUp with one"
        })
      })

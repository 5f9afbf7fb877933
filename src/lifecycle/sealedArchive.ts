/** The error of an archive whose sealed fields cannot be opened where it is imported, and the sealing of its events anew. */
import { Effect, Schema } from "effect"
import type { EventRow } from "../driver/EventStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import type { SubjectRow } from "../driver/AdministrationStorage.ts"
import type { TenantId } from "../domain/Tenant.ts"
import {
  type ArchiveRoot,
  failMissing,
  makeKeyCheck,
  makeReseal,
  ofAnotherTenant,
  openArchiveKey
} from "../forgetting/carriedSeals.ts"
import type { CarriedKey, Fence, KeyVault } from "../forgetting/KeyVault.ts"
import type * as format from "./archiveFormat.ts"

/**
 * Raised when an archive has sealed fields that could not be opened after its import, for one of these reasons:
 * - `noKeys`: it is to be imported into another tenant, and carries no keys. Export it with `keys`.
 * - `noVault`: it is to be imported into another tenant, and the import has no `keys`.
 * - `wrongRoot`: its keys are wrapped by another root key than the given one, or no root key is given.
 * - `broken`: a key or a field of it does not open: it was changed, or moved.
 *
 * The first three are raised before anything is written.
 */
export class SealedArchive extends Schema.TaggedError<SealedArchive>()("SealedArchive", {
  /** The tenant of the archive. */
  tenantId: Schema.String,
  /** The tenant to write. */
  into: Schema.String,
  reason: Schema.Literals(["noKeys", "noVault", "wrongRoot", "broken"]),
  /** The problem and its remedy. */
  problem: Schema.String
}) {
  override get message(): string {
    return `the archive of tenant ${this.tenantId} cannot be imported into ${this.into}: ${this.problem}`
  }
}

/** The vault and the root key of an import. */
export interface ImportKeys {
  /** The vault of the tenant to write. It gets the keys of the archive, or makes new ones for another tenant. */
  readonly vault: KeyVault["Service"]
  /** The key that was given to the export. Default: none, so that keys in the archive are left out. */
  readonly root?: ArchiveRoot | undefined
}

type Failure = SealedArchive | StorageUnavailable

/** The sealed fields of an import. Steps may be repeated. */
export interface Seals {
  /** Takes the keys of the archive, behind the fences of the vault that it comes from. */
  readonly keys: (lines: ReadonlyArray<format.KeyLine>) => Effect.Effect<void, Failure>
  /** The events as they are written. */
  readonly events: (rows: ReadonlyArray<EventRow>) => Effect.Effect<ReadonlyArray<EventRow>, Failure>
  /** Keeps forgotten subjects so: the vault makes no keys for them. */
  readonly subjects: (rows: ReadonlyArray<SubjectRow>) => Effect.Effect<void, Failure>
}

/** Checks that the sealed fields of an archive can be opened after its import. */
export const makeSeals = Effect.fnUntraced(function* (
  header: format.Header,
  into: TenantId,
  given: ImportKeys | undefined
): Effect.fn.Return<Seals, Failure> {
  const { archiveId, keys: archiveKeys, sealed, tenantId } = header
  const refuse = (reason: SealedArchive["reason"], problem: string) =>
    new SealedArchive({ tenantId, into, reason, problem })
  const isOther = into !== tenantId
  if (isOther && sealed && archiveKeys === null)
    return yield* refuse(
      "noKeys",
      "it has sealed fields, and no keys. Export it with keys, or import it into its own tenant"
    )
  if (isOther && sealed && given === undefined)
    return yield* refuse(
      "noVault",
      "it has sealed fields: give the option keys, with a vault and the root key"
    )
  const wrongRoot = refuse("wrongRoot", "its keys do not open: give the root key with which it was exported")
  if (isOther && sealed && given?.root === undefined) return yield* wrongRoot
  const open =
    given?.root === undefined || archiveKeys === null
      ? undefined
      : yield* openArchiveKey({ archiveId, tenantId }, given.root, archiveKeys.wrapped).pipe(
          Effect.mapError((error) => (error === "wrongKey" ? wrongRoot : error))
        )
  if (given === undefined)
    return { keys: () => Effect.void, events: Effect.succeed, subjects: () => Effect.void }
  const { vault } = given
  const carried = new Map<string, CarriedKey>()
  const reseal =
    isOther && open !== undefined
      ? yield* makeReseal({ from: tenantId, into, keys: carried, vault })
      : undefined
  // An archive with keys has all those of its fields that are not destroyed.
  const onUnknown =
    open === undefined
      ? failMissing("import a tenant", into)
      : (destroyed: ReadonlyArray<string>) => vault.importKeys({ tenantId: into, keys: [], destroyed })
  const keyCheck = makeKeyCheck(vault, into, [], onUnknown)
  /** Records that a subject was forgotten, before the keys that it got afterwards. */
  const fence = Effect.fnUntraced(function* ({
    allowedAgainAt,
    ...forgotten
  }: Pick<Fence, "subject" | "forgetting" | "forgottenAt" | "actor" | "reason" | "allowedAgainAt">) {
    const { actor, forgetting, forgottenAt, reason, subject } = forgotten
    const known = yield* vault.fence({ tenantId: into, subject, forgetting, forgottenAt, actor, reason })
    yield* vault.destroy({ tenantId: into, forgetting })
    if (allowedAgainAt !== undefined && known.allowedAgainAt === undefined)
      yield* vault.allow({ tenantId: into, subject, allowedAt: allowedAgainAt })
  })

  return {
    keys: Effect.fnUntraced(function* (lines) {
      if (open === undefined) return
      const opened: Array<CarriedKey> = []
      for (const line of lines) {
        if ("fence" in line) {
          yield* fence(line.fence)
          continue
        }
        const key = yield* Effect.mapError(open(line), () =>
          refuse("broken", `its key ${line.keyId} does not open: it was changed. Export it again`)
        )
        opened.push(key)
        carried.set(key.keyId, key)
      }
      yield* vault.importKeys({
        tenantId: into,
        keys: isOther
          ? opened.filter(({ purpose }) => purpose !== undefined).map((key) => ofAnotherTenant(into, key))
          : opened
      })
    }),
    events: (rows) =>
      reseal === undefined
        ? isOther
          ? Effect.succeed(rows)
          : Effect.suspend(() => {
              for (const { payload } of rows) keyCheck.note(payload)
              return Effect.as(keyCheck.check, rows)
            })
        : Effect.catchTag(reseal(rows), "Broken", ({ eventId }) =>
            Effect.fail(
              refuse(
                "broken",
                `a sealed field of event ${eventId} does not open: it was changed or moved. Compare it with the original`
              )
            )
          ),
    subjects: Effect.fnUntraced(function* (rows) {
      for (const { forgotten, subject } of rows)
        if (forgotten !== undefined) yield* fence({ ...forgotten, subject })
    })
  }
})

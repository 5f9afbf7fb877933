/**
 * Erasure of tenants: at once, or after a delay in which it can be undone. Only a record of the erasure remains.
 */
import { Context, DateTime, Duration, Effect, Layer } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import { layerPer } from "../internal/layerPer.ts"
import {
  AdministrationStorage,
  type TenantHeld,
  type TenantRecord,
  TenantStateConflict
} from "../driver/AdministrationStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import type { TenantAdministration, TenantId } from "../domain/Tenant.ts"
import { KeyVault } from "../forgetting/KeyVault.ts"
import { recordAdministration } from "./administer.ts"
import { ofTenant } from "../telemetry/spanned.ts"

/** The record of an erasure, which remains. */
export interface Erasure {
  readonly tenantId: TenantId
  readonly erasedAt: DateTime.Utc
  readonly actor: string
  readonly reason: string
  /** Number of events in the log of the tenant. */
  readonly events: number
  /** The hash of its last event; null without a hash chain. */
  readonly lastHash: string | null
  /** Time until rows may be removed; until then {@link TenantErasure} `undo` restores the tenant. Zero if it is over. */
  readonly delay: Duration.Duration
  /** True if every row is removed. */
  readonly complete: boolean
}

/** States that no row of a tenant remains in the tables of the storage, and the copies that may hold its texts for a time. */
export interface Certificate extends Omit<Erasure, "delay" | "complete"> {
  /** The time of the certificate, by the clock of this program. */
  readonly certifiedAt: DateTime.Utc
  /**
   * `destroyed`: the keys of the tenant in the key vault are destroyed, so that nobody can open personal fields in a copy of its events.
   * `noVault`: this program has no key vault ({@link layerWithVault}).
   */
  readonly keys: "destroyed" | "noVault"
  /** Number of rows that this run removed. Earlier runs of the same erasure may have removed others. */
  readonly removed: number
  /** Sentences on copies outside of the tables, each with the way in which it ends: dead rows, write-ahead log, backups. */
  readonly residues: ReadonlyArray<string>
}

/** Errors of an erasure. */
export type ErasureError = TenantStateConflict | TenantHeld | StorageUnavailable

/** Settings of {@link layerWith}. */
export interface Options {
  /** Approximate number of rows that are removed per transaction. Default: 1,000. */
  readonly rowsPerStep?: number | undefined
  /** The pause between these transactions, which leaves room for the work of other tenants. Default: 10 milliseconds. */
  readonly pause?: Duration.Input | undefined
}

/** Settings of an erasure. */
export interface EraseOptions {
  /**
   * True to erase the tenant although subjects of it are under a legal hold (`Forgetting.hold`). Their data are erased, too. A
   * hold of the tenant itself has to be released in any case. Default: false, so that these subjects are refused by name.
   */
  readonly heldSubjects?: boolean | undefined
}

/**
 * Erasure of tenants.
 *
 * **Details**
 *
 * A tenant is marked as erased before its first row goes: from then on its appends, imports and reads are refused
 * (`TenantErased`). Its rows are removed in many short transactions: events, tags, command keys, snapshots, progress, dead
 * letters, rows in protected tables of the application, and the entry in the directory. If the program is killed, `finish`
 * continues. A record remains, so that the id cannot be used again.
 *
 * With a key vault ({@link layerWithVault}) the keys of the tenant are destroyed, too: as soon as the first rows are gone, from
 * which on the erasure cannot be undone. So copies of its personal fields cannot be opened any more, in backups and archives as well,
 * unless an archive has its keys.
 */
export class TenantErasure extends Context.Service<
  TenantErasure,
  {
    /**
     * Erases a tenant now and returns the certificate. For a tenant that is marked as erased already, like `finish`. Fails with
     * `TenantHeld` under a legal hold of the tenant, or of one of its subjects: see {@link EraseOptions}.
     */
    readonly erase: (
      tenantId: TenantId,
      options?: EraseOptions
    ) => Effect.Effect<Certificate, ErasureError, TenantAdministration>
    /**
     * Marks a tenant as erased. Its rows stay for a delay: `undo` restores it, and afterwards `finish` removes them. Fails as `erase`
     * does.
     */
    readonly schedule: (
      tenantId: TenantId,
      options: EraseOptions & { readonly delay: Duration.Input }
    ) => Effect.Effect<Erasure, ErasureError, TenantAdministration>
    /** Restores a tenant to its state before the erasure, if none of its rows is removed. */
    readonly undo: (tenantId: TenantId) => Effect.Effect<void, ErasureError, TenantAdministration>
    /** Removes the rows of a tenant that is marked as erased and whose delay is over, or the rest of them. */
    readonly finish: (tenantId: TenantId) => Effect.Effect<Certificate, ErasureError, TenantAdministration>
    /** The erasure of a tenant; undefined if it is not erased. */
    readonly status: (
      tenantId: TenantId
    ) => Effect.Effect<Erasure | undefined, StorageUnavailable, TenantAdministration>
    /** Sets a legal hold for a reason: until its release the tenant cannot be erased, nor its rows removed. */
    readonly hold: (
      tenantId: TenantId,
      reason: string
    ) => Effect.Effect<void, TenantStateConflict | StorageUnavailable, TenantAdministration>
    /** Releases the legal hold of a tenant. */
    readonly release: (
      tenantId: TenantId
    ) => Effect.Effect<void, TenantStateConflict | StorageUnavailable, TenantAdministration>
  }
>()("effect-eventsourcing/TenantErasure") {}

const erasureOf = ({ state, tenantId }: TenantRecord): (Erasure & { readonly token: string }) | undefined =>
  state.status === "erased"
    ? {
        tenantId,
        erasedAt: DateTime.makeUnsafe(state.erasedAt),
        actor: state.actor,
        reason: state.reason,
        events: state.events,
        lastHash: state.lastHash,
        delay: Duration.millis(Math.max(state.purgeInMillis, 0)),
        complete: state.purged,
        token: state.token
      }
    : undefined

const withoutToken = ({ token: _token, ...erasure }: Erasure & { readonly token: string }): Erasure => erasure

const make = ({ pause = "10 millis", rowsPerStep = 1000 }: Options, vault: KeyVault["Service"] | undefined) =>
  Effect.map(AdministrationStorage, (storage) => {
    if (!(rowsPerStep >= 1)) throw new RangeError("rowsPerStep must be 1 or more")

    const notErased = (operation: string, tenantId: TenantId, record: TenantRecord | undefined) =>
      new TenantStateConflict({
        tenantId,
        operation,
        status: record?.state.status ?? null,
        position: record?.position ?? 0,
        problem: record === undefined ? "the tenant is not registered here" : "the tenant is not erased"
      })

    const removeRows = Effect.fnUntraced(function* (
      accessId: string,
      { complete: _complete, delay: _delay, token, ...erasure }: Erasure & { readonly token: string }
    ) {
      const { tenantId } = erasure
      let removed = 0
      let isFirst = true
      for (;;) {
        const step = yield* storage.purge({ accessId, tenantId, token, limit: rowsPerStep })
        removed += step.removed
        // From the first step on the erasure cannot be undone. A run that was killed here is carried on by `finish`.
        if (isFirst && vault !== undefined) yield* vault.eraseTenant({ tenantId })
        isFirst = false
        if (step.complete) break
        yield* Effect.sleep(pause)
      }
      const certificate: Certificate = {
        ...erasure,
        certifiedAt: yield* DateTime.now,
        removed,
        keys: vault === undefined ? "noVault" : "destroyed",
        residues: vault === undefined ? storage.residues : [...storage.residues, vaultResidue]
      }
      return certificate
    })

    /** The erasure of a tenant that is marked as erased. */
    const marked = Effect.fnUntraced(function* (operation: string, accessId: string, tenantId: TenantId) {
      const record = yield* storage.tenant({ accessId, tenantId })
      const erasure = record === undefined ? undefined : erasureOf(record)
      return erasure ?? (yield* notErased(operation, tenantId, record))
    })

    const mark = Effect.fnUntraced(function* (
      accessId: string,
      tenantId: TenantId,
      delay: Duration.Input,
      heldSubjects: boolean | undefined
    ) {
      const known = yield* storage.tenant({ accessId, tenantId })
      const before = known === undefined ? undefined : erasureOf(known)
      if (before !== undefined) return before
      const record = yield* storage.changeState({
        accessId,
        tenantId,
        change: "erase",
        token: uuidV7Unsafe(),
        purgeInMillis: Math.ceil(Duration.toMillis(delay)),
        heldSubjects
      })
      return erasureOf(record) ?? (yield* notErased("erase", tenantId, record))
    })

    return TenantErasure.of({
      erase: Effect.fnUntraced(
        function* (tenantId, { heldSubjects }: EraseOptions = {}) {
          const accessId = yield* recordAdministration(storage, "TenantErasure.erase", tenantId)
          return yield* removeRows(accessId, yield* mark(accessId, tenantId, 0, heldSubjects))
        },
        (run, tenantId) => ofTenant("erase", tenantId)(run)
      ),
      schedule: Effect.fnUntraced(function* (tenantId, { delay, heldSubjects }) {
        const accessId = yield* recordAdministration(storage, "TenantErasure.schedule", tenantId)
        return withoutToken(yield* mark(accessId, tenantId, delay, heldSubjects))
      }),
      undo: Effect.fnUntraced(function* (tenantId) {
        const accessId = yield* recordAdministration(storage, "TenantErasure.undo", tenantId)
        const { token } = yield* marked("undo", accessId, tenantId)
        yield* storage.changeState({ accessId, tenantId, change: "restore", token })
      }),
      finish: Effect.fnUntraced(
        function* (tenantId) {
          const accessId = yield* recordAdministration(storage, "TenantErasure.finish", tenantId)
          return yield* removeRows(accessId, yield* marked("finish", accessId, tenantId))
        },
        (run, tenantId) => ofTenant("erase", tenantId)(run)
      ),
      status: Effect.fnUntraced(function* (tenantId) {
        const accessId = yield* recordAdministration(storage, "TenantErasure.status", tenantId)
        const record = yield* storage.tenant({ accessId, tenantId })
        const erasure = record === undefined ? undefined : erasureOf(record)
        return erasure === undefined ? undefined : withoutToken(erasure)
      }),
      hold: Effect.fnUntraced(function* (tenantId, reason) {
        const accessId = yield* recordAdministration(storage, "TenantErasure.hold", tenantId)
        yield* storage.setHold({ accessId, tenantId, reason })
      }),
      release: Effect.fnUntraced(function* (tenantId) {
        const accessId = yield* recordAdministration(storage, "TenantErasure.release", tenantId)
        yield* storage.setHold({ accessId, tenantId, reason: undefined })
      })
    })
  })

const vaultResidue =
  "Backups of the key vault, and archives with keys, may hold the keys of the tenant: destroy those that are older than this certificate."

/** Erasure on a driver, with settings. */
export const layerWith = (options: Options): Layer.Layer<TenantErasure, never, AdministrationStorage> =>
  layerPer([AdministrationStorage], () => Layer.effect(TenantErasure, make(options, undefined)))

/** Erasure on a driver that also destroys the tenant's keys, for programs that seal personal fields (`Forgetting`). */
export const layerWithVault = (
  options: Options = {}
): Layer.Layer<TenantErasure, never, AdministrationStorage | KeyVault> =>
  layerPer([AdministrationStorage, KeyVault], () =>
    Layer.effect(
      TenantErasure,
      Effect.flatMap(KeyVault, (vault) => make(options, vault))
    )
  )

/** Erasure on a driver. */
export const layer: Layer.Layer<TenantErasure, never, AdministrationStorage> = layerWith({})

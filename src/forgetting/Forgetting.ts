/**
 * Forgets persons inside a tenant, although events are never changed: their personal fields are stored sealed, each under a key of
 * the person, and the keys are destroyed.
 */
import { Context, Effect, Layer } from "effect"
import { layerCrypto } from "./cipher.ts"
import { cacheLimits, KeyCache, type CacheOptions } from "./keyCache.ts"
import { Keyring, type ReadForgotten } from "./keyring.ts"
import { KeyVault } from "./keyVaultContract.ts"
import { asUnavailable, type ForgetError, makeForgetSubjects } from "./forgetSubjects.ts"
import { checkReason, checkSubject } from "./inputs.ts"
import { OpenedEvents } from "./openedEvents.ts"
import { makeOwnAppends } from "./ownAppends.ts"
import { makeSealedEvents } from "./sealedEvents.ts"
import { makeSealedSnapshots } from "./sealedSnapshots.ts"
import { makeSealer } from "./sealer.ts"
import {
  AdministrationStorage,
  type SubjectHeld,
  type SubjectRow,
  type TenantStateConflict
} from "../driver/AdministrationStorage.ts"
import { EventStorage } from "../driver/EventStorage.ts"
import { waitToChange } from "../driver/moves.ts"
import { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import { CurrentTenant, TenantAdministration, type TenantId } from "../domain/Tenant.ts"
import type { InvalidInput, StorageUnavailable } from "../driver/StoreError.ts"
import { layerPer } from "../internal/layerPer.ts"
import { spanned } from "../telemetry/spanned.ts"

export type { CacheOptions } from "./keyCache.ts"
export type { ForgetError } from "./forgetSubjects.ts"

/** Settings of {@link layerWith}. */
export interface Options {
  /** Bounds of the keys that this process keeps. */
  readonly cache?: CacheOptions | undefined
}

/**
 * Reads the number alone, which goes together for all tenants, and the subjects only if it has changed. Before the first use of a
 * tenant, and when the number has gone back, the storage may come from a backup: what it lacks is forgotten again.
 */
const readForgotten = (
  storage: EventStorage["Service"],
  catchUp: (tenantId: TenantId) => Effect.Effect<number, ForgetError>
): ReadForgotten =>
  Effect.fnUntraced(function* (tenantId, after) {
    const { forgotten } = yield* storage.forgottenSubjects({ tenantId })
    if (forgotten === after) return { forgotten, subjects: [] }
    if (after !== undefined && forgotten > after) {
      const found = yield* storage.forgottenSubjects({ tenantId, after })
      return { forgotten: found.forgotten, subjects: found.subjects.map(({ subject }) => subject) }
    }
    const caughtUp = yield* Effect.mapError(catchUp(tenantId), asUnavailable)
    if (caughtUp === 0) return { forgotten, subjects: [] }
    return { forgotten: (yield* storage.forgottenSubjects({ tenantId })).forgotten, subjects: [] }
  })

/** Settings of a forgetting. */
export interface ForgetOptions {
  /**
   * The reason, which is kept in the key vault, in the storage and with the event: at most 1,000 characters, and not blank. It must
   * not contain personal data.
   */
  readonly reason: string
}

/** A method on a subject of the current tenant, under the permission to administer it. */
type OnSubject<A, E> = Effect.Effect<A, E | StorageUnavailable, CurrentTenant | TenantAdministration>

/** Errors of a legal hold. */
export type HoldError = TenantStateConflict | SubjectHeld | InvalidInput

/**
 * Forgets subjects of the current tenant.
 *
 * **Details**
 *
 * The id of a subject has 1 to 255 characters, without U+0000, and is not checked against the log: a subject without events can be
 * forgotten too, and gets no key from then on. Another text is refused (`InvalidInput`).
 *
 * A run that is killed at any step is carried on by calling the same method again. If the key vault does not answer, the method
 * fails with `StorageUnavailable`. The vault may have recorded the forgetting all the same, if only its answer was lost: call the
 * method again.
 */
export class Forgetting extends Context.Service<
  Forgetting,
  {
    /**
     * Forgets a subject: fences it in the key vault, then in the storage, destroys its keys, and appends `SubjectForgotten`. Once it
     * has returned, no process shows personal data of the subject, decides on it, or appends more of it. A subject that is forgotten
     * already stays so. Fails with `SubjectHeld` under a legal hold.
     */
    readonly forget: (
      subject: string,
      options: ForgetOptions
    ) => OnSubject<SubjectRow, ForgetError | InvalidInput>
    /** Allows a subject again: new events get a new key. Events from before stay forgotten. */
    readonly allowAgain: (subject: string) => OnSubject<SubjectRow, ForgetError | InvalidInput>
    /** Sets a legal hold for a reason (as in {@link ForgetOptions}): until its release the subject cannot be forgotten. */
    readonly hold: (subject: string, reason: string) => OnSubject<SubjectRow, HoldError>
    /** Releases the legal hold. Does nothing if there is none. */
    readonly release: (subject: string) => OnSubject<SubjectRow, HoldError>
    /**
     * Forgets again what the storage or the key vault lacks, because it was restored from a backup, and returns the number of subjects.
     * It happens by itself before sealed data of the tenant are used for the first time in a process. Call it after a restore, before
     * programs read tables of read models, which the backup brought back too.
     */
    readonly catchUp: OnSubject<number, ForgetError>
  }
>()("effect-eventsourcing/Forgetting") {}

type Storages = EventStorage | SnapshotStorage

type Needs = Storages | AdministrationStorage | KeyVault

const makeService = (
  administration: AdministrationStorage["Service"],
  { allowAgain, catchUp, forget }: ReturnType<typeof makeForgetSubjects>,
  keyring: Keyring
): Forgetting["Service"] => {
  /** Runs on the tenant under a recorded access. */
  const recorded = <A, E>(
    operation: string,
    run: (at: { readonly accessId: string; readonly tenantId: TenantId }) => Effect.Effect<A, E>
  ): OnSubject<A, E> =>
    Effect.gen(function* () {
      const tenantId = yield* CurrentTenant
      const access = yield* TenantAdministration
      const accessId = yield* administration.recordAccess({
        ...access,
        operation: `${operation} ${tenantId}`
      })
      return yield* run({ accessId, tenantId })
    })
  /** Runs on a subject under a recorded access. */
  const on = <A, E>(
    operation: string,
    subject: string,
    run: (at: {
      readonly accessId: string
      readonly tenantId: TenantId
      readonly subject: string
    }) => Effect.Effect<A, E>
  ): OnSubject<A, E | InvalidInput> =>
    Effect.andThen(
      checkSubject(subject),
      recorded(operation, (at) => run({ ...at, subject }))
    )
  return Forgetting.of({
    forget: Effect.fnUntraced(
      function* (subject, { reason }) {
        const { actor } = yield* TenantAdministration
        yield* checkReason("SubjectForgotten", reason)
        return yield* on("Forgetting.forget", subject, (at) =>
          Effect.tap(forget(at, { actor, reason }), () => keyring.confirm(at.tenantId))
        )
      },
      (run) => spanned("forget", undefined, () => run)
    ),
    allowAgain: (subject) => on("Forgetting.allowAgain", subject, allowAgain),
    hold: Effect.fnUntraced(function* (subject, reason) {
      yield* checkReason("legal hold", reason)
      return yield* on("Forgetting.hold", subject, (at) =>
        administration.changeSubject({ ...at, change: "hold", reason })
      )
    }),
    release: (subject) =>
      on("Forgetting.release", subject, (at) => administration.changeSubject({ ...at, change: "release" })),
    catchUp: recorded("Forgetting.catchUp", ({ accessId, tenantId }) => catchUp(tenantId, accessId))
  })
}

/** An administration whose changes of subjects wait for the end of a move of the tenant, as appends do. */
const waitingForMoves = (
  events: EventStorage["Service"],
  administration: AdministrationStorage["Service"]
): AdministrationStorage["Service"] => ({
  ...administration,
  changeSubject: waitToChange(events, administration)
})

const make = (options: Options): Layer.Layer<Storages | Forgetting, never, Needs> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const events = yield* EventStorage
      const snapshots = yield* SnapshotStorage
      const vault = yield* KeyVault
      const sealer = yield* makeSealer
      const own = makeOwnAppends(events.append)
      const administration = waitingForMoves(events, yield* AdministrationStorage)
      const subjects = makeForgetSubjects({ append: own.append, events, administration, vault })
      const limits = cacheLimits(options.cache)
      const openedEvents = new OpenedEvents(limits)
      const keyring = new Keyring(
        vault,
        new KeyCache(limits),
        openedEvents,
        readForgotten(events, subjects.catchUp)
      )
      const sealed = { ...makeSealedEvents(events, keyring, sealer, openedEvents), joinOwnAppends: own.join }
      return Context.make(EventStorage, sealed).pipe(
        Context.add(SnapshotStorage, makeSealedSnapshots(snapshots, keyring, sealer)),
        Context.add(Forgetting, makeService(administration, subjects, keyring))
      )
    })
  ).pipe(Layer.provide(layerCrypto))

const layerOf = (options: Options): Layer.Layer<Storages | Forgetting, never, Needs> =>
  layerPer([EventStorage, SnapshotStorage, AdministrationStorage, KeyVault], () => make(options))

/**
 * Storages of events and snapshots that seal personal fields, over the storages that it is provided with, and a {@link KeyVault}.
 *
 * **Details**
 *
 * Events are sealed before they reach the storage below, and opened page by page when they are read. So everything above it works
 * as without it, and everything below it has only ciphertext: databases, their backups and archives.
 *
 * **Example**
 *
 * ```ts
 * const Main = EventSourcing.layer.pipe(
 *   Layer.provideMerge(Forgetting.layer),
 *   Layer.provide(KeyVault.layerMemory),
 *   Layer.provide(PgStorage.layer)
 * )
 * ```
 */
export const layer: Layer.Layer<Storages | Forgetting, never, Needs> = layerOf({})

/** A storage that seals personal fields, with settings. See {@link layer}. */
export const layerWith = (options: Options): Layer.Layer<Storages | Forgetting, never, Needs> =>
  layerOf(options)

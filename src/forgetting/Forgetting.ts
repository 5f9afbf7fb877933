/**
 * Forgets persons inside a tenant, although events are never changed: their personal fields are stored sealed, each under a key of
 * the person, and the keys are destroyed.
 */
import { Context, Effect, Layer } from "effect"
import { layerCrypto } from "./cipher.ts"
import { cacheLimits, KeyCache, type CacheOptions } from "./keyCache.ts"
import { Keyring, type ReadForgotten } from "./keyring.ts"
import { KeyVault } from "./keyVaultContract.ts"
import { makeSealedEvents } from "./sealedEvents.ts"
import { makeSealedSnapshots } from "./sealedSnapshots.ts"
import { makeSealer } from "./sealer.ts"
import { EventStorage } from "../driver/EventStorage.ts"
import { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { layerPer } from "../internal/layerPer.ts"

export type { CacheOptions } from "./keyCache.ts"

/** Settings of {@link layerWith}. */
export interface Options {
  /** Bounds of the keys that this process keeps. */
  readonly cache?: CacheOptions | undefined
}

/** Reads the number alone, which goes together for all tenants, and the subjects only if it has changed. */
const readForgotten =
  (storage: EventStorage["Service"] & Partial<ReadsForgotten>): ReadForgotten =>
  (tenantId, after) =>
    storage.forgottenSubjects === undefined
      ? Effect.succeed({ forgotten: 0, subjects: [] })
      : Effect.flatMap(storage.forgottenSubjects({ tenantId }), (found) =>
          after === undefined || found.forgotten <= after
            ? Effect.succeed({ forgotten: found.forgotten, subjects: [] })
            : Effect.map(
                storage.forgottenSubjects?.({ tenantId, after }) ?? Effect.succeed(found),
                ({ forgotten, subjects }) => ({ forgotten, subjects: subjects.map(({ subject }) => subject) })
              )
        )

/** Until the contract of drivers has it. */
interface ReadsForgotten {
  readonly forgottenSubjects: (request: {
    readonly tenantId: TenantId
    readonly after?: number
  }) => Effect.Effect<
    { readonly forgotten: number; readonly subjects: ReadonlyArray<{ readonly subject: string }> },
    StorageUnavailable
  >
}

type Storages = EventStorage | SnapshotStorage

const make = (options: Options): Layer.Layer<Storages, never, Storages | KeyVault> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const events = yield* EventStorage
      const snapshots = yield* SnapshotStorage
      const vault = yield* KeyVault
      const sealer = yield* makeSealer
      const keyring = new Keyring(vault, new KeyCache(cacheLimits(options.cache)), readForgotten(events))
      return Context.make(EventStorage, makeSealedEvents(events, keyring, sealer)).pipe(
        Context.add(SnapshotStorage, makeSealedSnapshots(snapshots, keyring, sealer))
      )
    })
  ).pipe(Layer.provide(layerCrypto))

const layerOf = (options: Options): Layer.Layer<Storages, never, Storages | KeyVault> =>
  layerPer([EventStorage, SnapshotStorage, KeyVault], () => make(options))

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
export const layer: Layer.Layer<Storages, never, Storages | KeyVault> = layerOf({})

/** A storage that seals personal fields, with settings. See {@link layer}. */
export const layerWith = (options: Options): Layer.Layer<Storages, never, Storages | KeyVault> =>
  layerOf(options)

/** Forgetting on given storages and a given vault, with caches of its own, as in a process of its own. */
import { Context, Effect, Layer } from "effect"
import {
  type AdministrationStorage,
  EventStorage,
  Forgetting,
  KeyVault,
  type SnapshotStorage
} from "effect-eventsourcing"

export type Storages =
  | AdministrationStorage.AdministrationStorage
  | EventStorage.EventStorage
  | SnapshotStorage.SnapshotStorage

export type Vault = KeyVault.KeyVault["Service"]

export const processOn = Effect.fnUntraced(function* (storages: Context.Context<Storages>, vault: Vault) {
  const context = yield* Layer.build(
    Layer.fresh(Forgetting.layerWith({})).pipe(
      Layer.provide(Layer.succeedContext(storages)),
      Layer.provide(Layer.succeed(KeyVault.KeyVault, vault))
    )
  )
  return {
    events: Context.get(context, EventStorage.EventStorage),
    forgetting: Context.get(context, Forgetting.Forgetting)
  }
})

export type Process = Effect.Success<ReturnType<typeof processOn>>

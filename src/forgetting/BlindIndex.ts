/**
 * Finds events by personal data that they must not show: an e-mail address, a phone number. The tag of a value is a keyed hash of it,
 * so that equal values of a tenant have equal tags, and nobody without the key can tell or guess the value.
 */
import { Cache, Context, Effect, Exit, Layer } from "effect"
import * as Base64Url from "effect/encoding/Base64Url"
import { Mac } from "effect/crypto"
import { layerCrypto } from "./cipher.ts"
import { KeyVault } from "./keyVaultContract.ts"
import { readyKey } from "./sealer.ts"
import { currentTenant } from "../domain/currentTenant.ts"
import type { CurrentTenant, TenantId } from "../domain/Tenant.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { layerPer } from "../internal/layerPer.ts"

/**
 * Makes tags of personal data, under a key of the current tenant.
 *
 * **When to use**
 *
 * Where a person must be found by a value that only the person's events have, such as a customer by an e-mail address.
 *
 * **Details**
 *
 * The name separates the values of different fields. Equal texts have equal tags, so bring them into one form first: an address
 * in lower case, a number without spaces.
 *
 * **Gotchas**
 *
 * Tags stay when the person is forgotten. With the tenant's key a guessed value can still be compared with them, so use
 * `BlindIndex` only for values by which you must search.
 *
 * **Example**
 *
 * ```ts
 * const register = Effect.fnUntraced(function* (id: string, email: string) {
 *   const index = yield* BlindIndex.BlindIndex
 *   const tag = yield* index.tag("email", email.toLowerCase())
 *   const repository = yield* Repository.Repository
 *   return yield* repository.execute(Customer, id, () => [Event.make(Registered.make({ email }), { tags: [tag] })])
 * })
 *
 * const byEmail = Effect.fnUntraced(function* (email: string) {
 *   const index = yield* BlindIndex.BlindIndex
 *   const tag = yield* index.tag("email", email.toLowerCase())
 *   const store = yield* EventStore.EventStore
 *   return yield* Stream.runHead(store.readLog({ aggregates: [Customer], query: EventQuery.of(Customer, { tags: [tag] }) }))
 * })
 * ```
 */
export class BlindIndex extends Context.Service<
  BlindIndex,
  {
    /** The tag of a value: the name, a colon and 43 characters. The name has at most 200 characters. */
    readonly tag: (name: string, value: string) => Effect.Effect<string, StorageUnavailable, CurrentTenant>
  }
>()("effect-eventsourcing/BlindIndex") {}

const encoder = new TextEncoder()

const make = Effect.gen(function* () {
  const vault = yield* KeyVault
  const mac = yield* Mac.Mac
  // The key of an index stays while its tenant exists. A failure is not kept.
  const keys = yield* Cache.makeWith(
    (tenantId: TenantId) =>
      Effect.flatMap(vault.tenantKey({ tenantId, purpose: "index" }), (key) => Effect.orDie(readyKey(key))),
    { capacity: 10_000, timeToLive: (exit) => (Exit.isSuccess(exit) ? "5 minutes" : 0) }
  )
  return BlindIndex.of({
    tag: (name, value) => {
      if (name.length < 1 || name.length > 200)
        return Effect.die(new RangeError("the name of a blind index must have 1 to 200 characters"))
      return Effect.flatMap(currentTenant, (tenantId) =>
        Effect.flatMap(Cache.get(keys, tenantId), ({ nonces }) =>
          Effect.orDie(mac.sign(nonces, encoder.encode(`index 1 ${JSON.stringify([name, value])}`)))
        )
      ).pipe(Effect.map((code) => `${name}:${Base64Url.encode(code)}`))
    }
  })
})

/** Blind indexes with the keys of a {@link KeyVault}. */
export const layer: Layer.Layer<BlindIndex, never, KeyVault> = layerPer([KeyVault], () =>
  Layer.effect(BlindIndex, make).pipe(Layer.provide(layerCrypto))
)

/** A key vault that three processes share: tests of vaults in files and in databases. */
import { assert } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import type { KeyVault } from "../../src/forgetting/KeyVault.ts"
import type { TenantId } from "../../src/domain/Tenant.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"

type Vault = KeyVault["Service"]

/** The current key of a subject, with its secret as text. */
export const keyFor = (vault: Vault, tenantId: TenantId, subject: string) =>
  Effect.map(vault.currentKeys({ tenantId, subjects: [subject] }), ([key]) =>
    typeof key === "object" ? { keyId: key.keyId, secret: Redacted.value(key.secret).join() } : key
  )

/** Forgets a subject in a vault. */
export const forget = (vault: Vault, tenantId: TenantId, subject: string) => {
  const forgetting = uuidV4Unsafe()
  return Effect.andThen(
    vault.fence({ tenantId, subject, forgetting, forgottenAt: 1, actor: "dpo", reason: "asked" }),
    vault.destroy({ tenantId, forgetting })
  )
}

/** Each process sees the keys, fences and rotations of the others at once. */
export const isShared = Effect.fnUntraced(function* (vaults: readonly [Vault, Vault, Vault]) {
  const tenant = newTenant()
  const [one, two, three] = vaults
  const keys = yield* Effect.forEach(
    Array.from({ length: 30 }, (_, index) => vaults[index % 3] ?? one),
    (vault, index) => keyFor(vault, tenant, `s${Math.floor(index / 6)}`),
    { concurrency: "unbounded" }
  )
  assert.lengthOf(new Set(keys.map((found) => JSON.stringify(found))), 5)
  const first = yield* keyFor(one, tenant, "s0")
  assert(typeof first === "object")
  yield* Effect.all(
    [
      one.rotateTenant({ tenantId: tenant }),
      keyFor(two, tenant, "new"),
      three.rotateTenant({ tenantId: tenant })
    ],
    { concurrency: "unbounded" }
  )
  assert.deepStrictEqual(yield* keyFor(two, tenant, "s0"), first)
  yield* forget(three, tenant, "s0")
  for (const vault of vaults) {
    assert.strictEqual(yield* keyFor(vault, tenant, "s0"), "forgotten")
    assert.deepStrictEqual(yield* vault.keysOf({ tenantId: tenant, keyIds: [first.keyId] }), ["destroyed"])
  }
})

/** The contract of `KeyVault`, case by case. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { randomBytesUnsafe, uuidV4Unsafe } from "effect/crypto/SecureRandom"
import * as Base64Url from "effect/encoding/Base64Url"
import { type DataKey, type Fence, KeyVault } from "../forgetting/KeyVault.ts"
import { TenantId } from "../domain/Tenant.ts"

const newTenant = (): TenantId => TenantId.make(uuidV4Unsafe())

const secretOf = (key: DataKey | string | undefined): string => {
  assert(typeof key === "object", "no key")
  const secret = Redacted.value(key.secret)
  assert.lengthOf(secret, 64)
  return secret.join()
}

const idOf = (key: DataKey | string | undefined): string => {
  assert(typeof key === "object", "no key")
  return key.keyId
}

const currentKey = (tenantId: TenantId, subject: string) =>
  KeyVault.use((vault) => vault.currentKeys({ tenantId, subjects: [subject] })).pipe(
    Effect.map(([key]) => key)
  )

const keyOf = (tenantId: TenantId, keyId: string) =>
  KeyVault.use((vault) => vault.keysOf({ tenantId, keyIds: [keyId] })).pipe(Effect.map(([key]) => key))

const fenceOf = (subject: string, forgetting = uuidV4Unsafe()) => ({
  subject,
  forgetting,
  forgottenAt: 1_700_000_000_123,
  actor: "dpo@example.com",
  reason: "asked for it"
})

const fence = (tenantId: TenantId, given: ReturnType<typeof fenceOf>) =>
  KeyVault.use((vault) => vault.fence({ tenantId, ...given }))

/** Registers the cases. Each makes tenants of its own. */
export const keyVaultCases = (it: Vitest.MethodsNonLive<KeyVault>): void => {
  it.effect("makes one key for each subject, and returns the same one from then on", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault
      const tenantId = newTenant()
      const subjects = ["ada", "bob", "ada", 'Zoë 🦊 " \\ \n', "a".repeat(255)]
      const keys = yield* vault.currentKeys({ tenantId, subjects })
      assert.lengthOf(keys, subjects.length)
      assert.strictEqual(idOf(keys[0]), idOf(keys[2]))
      assert.lengthOf(new Set(keys.map(idOf)), 4)
      assert.lengthOf(new Set(keys.map(secretOf)), 4)
      for (const [index, key] of keys.entries()) {
        assert(typeof key === "object")
        assert.strictEqual(key.subject, subjects[index])
        assert.strictEqual(key.version, 1)
        assert.match(key.keyId, /^[\w-]{22}$/)
      }
      assert.deepStrictEqual(
        (yield* vault.currentKeys({ tenantId, subjects })).map(secretOf),
        keys.map(secretOf)
      )
      assert.deepStrictEqual(yield* vault.currentKeys({ tenantId, subjects: [] }), [])
    })
  )

  it.effect("makes one key only, however many ask for it at the same time", () =>
    Effect.gen(function* () {
      const tenantId = newTenant()
      const keys = yield* Effect.forEach(Array.from({ length: 20 }), () => currentKey(tenantId, "ada"), {
        concurrency: "unbounded"
      })
      assert.lengthOf(new Set(keys.map(secretOf)), 1)
      assert.lengthOf(new Set(keys.map(idOf)), 1)
    })
  )

  it.effect("finds keys by their ids, in the given order, and says which it has never had", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault
      const tenantId = newTenant()
      const [ada, bob] = yield* vault.currentKeys({ tenantId, subjects: ["ada", "bob"] })
      const unknown = "AAAAAAAAAAAAAAAAAAAAAA"
      const found = yield* vault.keysOf({ tenantId, keyIds: [idOf(bob), unknown, idOf(ada), idOf(bob)] })
      assert.strictEqual(found[1], "unknown")
      assert.deepStrictEqual([found[0], found[2], found[3]].map(secretOf), [bob, ada, bob].map(secretOf))
      assert.deepStrictEqual(yield* vault.keysOf({ tenantId, keyIds: [] }), [])
    })
  )

  it.effect("keeps tenants apart that have the same subjects", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault
      const [one, other] = [newTenant(), newTenant()]
      const mine = yield* currentKey(one, "ada")
      const theirs = yield* currentKey(other, "ada")
      assert.notStrictEqual(secretOf(mine), secretOf(theirs))
      assert.strictEqual(yield* keyOf(one, idOf(theirs)), "unknown")
      assert.strictEqual(yield* keyOf(other, idOf(mine)), "unknown")
      const forgotten = fenceOf("ada")
      yield* fence(one, forgotten)
      // The id of a forgetting of another tenant destroys nothing.
      yield* vault.destroy({ tenantId: other, forgetting: forgotten.forgetting })
      yield* vault.rotateTenant({ tenantId: one })
      yield* vault.eraseTenant({ tenantId: one })
      assert.strictEqual(secretOf(yield* currentKey(other, "ada")), secretOf(theirs))
      assert.strictEqual(secretOf(yield* keyOf(other, idOf(theirs))), secretOf(theirs))
      assert.deepStrictEqual(yield* vault.fences({ tenantId: other }), [])
      // The same id of a forgetting names another one of the other tenant.
      yield* fence(other, forgotten)
      assert.strictEqual(yield* keyOf(other, idOf(theirs)), "destroyed")
    })
  )

  it.effect(
    "has keys of the tenant for each purpose; that of snapshots ends when a subject is forgotten",
    () =>
      Effect.gen(function* () {
        const vault = yield* KeyVault
        const tenantId = newTenant()
        const snapshots = yield* vault.tenantKey({ tenantId, purpose: "snapshots" })
        const index = yield* vault.tenantKey({ tenantId, purpose: "index" })
        assert.isUndefined(snapshots.subject)
        assert.notStrictEqual(secretOf(snapshots), secretOf(index))
        // A subject of the same name has a key of its own.
        assert.notStrictEqual(idOf(yield* currentKey(tenantId, "snapshots")), snapshots.keyId)
        const forgotten = fenceOf("snapshots")
        yield* fence(tenantId, forgotten)
        yield* vault.destroy({ tenantId, forgetting: forgotten.forgetting })
        const again = yield* vault.tenantKey({ tenantId, purpose: "index" })
        assert.strictEqual(secretOf(again), secretOf(index))
        assert.strictEqual(secretOf(yield* keyOf(tenantId, index.keyId)), secretOf(index))
        assert.strictEqual(yield* keyOf(tenantId, snapshots.keyId), "destroyed")
        const next = yield* vault.tenantKey({ tenantId, purpose: "snapshots" })
        assert.notStrictEqual(secretOf(next), secretOf(snapshots))
        assert.strictEqual(next.version, 2)
        assert.strictEqual(secretOf(yield* keyOf(tenantId, next.keyId)), secretOf(next))
      })
  )

  it.effect("hands out no key of a subject from its fence on, and destroys its keys", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault
      const tenantId = newTenant()
      const ada = yield* currentKey(tenantId, "ada")
      const bob = yield* currentKey(tenantId, "bob")
      const given = fenceOf("ada")
      yield* fence(tenantId, given)
      const check = Effect.gen(function* () {
        assert.strictEqual(yield* keyOf(tenantId, idOf(ada)), "destroyed")
        assert.strictEqual(yield* currentKey(tenantId, "ada"), "forgotten")
        assert.strictEqual(secretOf(yield* currentKey(tenantId, "bob")), secretOf(bob))
      })
      yield* check
      yield* vault.destroy({ tenantId, forgetting: given.forgetting })
      yield* vault.destroy({ tenantId, forgetting: given.forgetting })
      yield* vault.destroy({ tenantId, forgetting: uuidV4Unsafe() })
      yield* check
    })
  )

  it.effect("refuses keys to a subject that was forgotten before it had one", () =>
    Effect.gen(function* () {
      const tenantId = newTenant()
      yield* fence(tenantId, fenceOf("ada"))
      assert.strictEqual(yield* currentKey(tenantId, "ada"), "forgotten")
    })
  )

  it.effect("numbers the fences of a tenant, and records each forgetting once", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault
      const tenantId = newTenant()
      const given = ["ada", "bob", "ada"].map((subject) => fenceOf(subject))
      const recorded: Array<Fence> = []
      for (const each of given) recorded.push(yield* fence(tenantId, each))
      assert.deepStrictEqual(
        recorded,
        given.map((each, index) => ({ ...each, number: index + 1, allowedAgainAt: undefined }))
      )
      const [first] = given
      assert(first !== undefined)
      const again = yield* fence(tenantId, { ...first, reason: "another one", forgottenAt: 1 })
      assert.deepStrictEqual(again, recorded[0])
      assert.deepStrictEqual(yield* vault.fences({ tenantId }), recorded)
      assert.deepStrictEqual(yield* vault.fences({ tenantId, after: 1 }), recorded.slice(1))
      assert.deepStrictEqual(yield* vault.fences({ tenantId, after: 3 }), [])
      assert.deepStrictEqual(yield* vault.fences({ tenantId: newTenant() }), [])
    })
  )

  it.effect("numbers fences without gaps, however many are recorded at the same time", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault
      const tenantId = newTenant()
      const given = Array.from({ length: 10 }, (_, index) => fenceOf(`subject ${index}`))
      yield* Effect.forEach([...given, ...given], (each) => fence(tenantId, each), {
        concurrency: "unbounded"
      })
      const fences = yield* vault.fences({ tenantId })
      assert.deepStrictEqual(
        fences.map(({ number }) => number),
        given.map((_, index) => index + 1)
      )
      assert.deepStrictEqual(
        fences.map(({ subject }) => subject).toSorted(),
        given.map(({ subject }) => subject).toSorted()
      )
    })
  )

  it.effect("gives a subject that is allowed again another key, and never the old ones", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault
      const tenantId = newTenant()
      const before = yield* currentKey(tenantId, "ada")
      const first = fenceOf("ada")
      yield* fence(tenantId, first)
      yield* vault.allow({ tenantId, subject: "ada", allowedAt: 1_700_000_000_456 })
      yield* vault.allow({ tenantId, subject: "ada", allowedAt: 1_700_000_000_999 })
      const after = yield* currentKey(tenantId, "ada")
      assert.notStrictEqual(secretOf(after), secretOf(before))
      assert(typeof after === "object")
      assert.strictEqual(after.version, 2)
      assert.strictEqual(yield* keyOf(tenantId, idOf(before)), "destroyed")
      // The first forgetting goes on only now: it destroys what the subject had then.
      yield* fence(tenantId, first)
      yield* vault.destroy({ tenantId, forgetting: first.forgetting })
      assert.strictEqual(yield* keyOf(tenantId, idOf(before)), "destroyed")
      assert.strictEqual(secretOf(yield* currentKey(tenantId, "ada")), secretOf(after))
      const [recorded] = yield* vault.fences({ tenantId })
      assert.strictEqual(recorded?.allowedAgainAt, 1_700_000_000_456)
      // Forgotten once more.
      const second = fenceOf("ada")
      yield* fence(tenantId, second)
      yield* vault.destroy({ tenantId, forgetting: second.forgetting })
      assert.strictEqual(yield* keyOf(tenantId, after.keyId), "destroyed")
      assert.strictEqual(yield* currentKey(tenantId, "ada"), "forgotten")
      assert.deepStrictEqual(
        (yield* vault.fences({ tenantId })).map(({ allowedAgainAt }) => allowedAgainAt),
        [1_700_000_000_456, undefined]
      )
    })
  )

  it.effect("never hands out a key that is made beside the fence of its subject", () =>
    Effect.gen(function* () {
      const tenants = Array.from({ length: 10 }, newTenant)
      yield* Effect.forEach(
        tenants,
        (tenantId) =>
          Effect.gen(function* () {
            const [key] = yield* Effect.all([currentKey(tenantId, "ada"), fence(tenantId, fenceOf("ada"))], {
              concurrency: "unbounded"
            })
            assert.strictEqual(yield* currentKey(tenantId, "ada"), "forgotten")
            if (key !== "forgotten") assert.strictEqual(yield* keyOf(tenantId, idOf(key)), "destroyed")
          }),
        { concurrency: "unbounded" }
      )
    })
  )

  it.effect("wraps all keys of a tenant again when its wrapping key is rotated, and changes none", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault
      const tenantId = newTenant()
      assert.strictEqual(yield* vault.rotateTenant({ tenantId }), 0)
      const subjects = Array.from({ length: 30 }, (_, index) => `subject ${index}`)
      const keys = yield* vault.currentKeys({ tenantId, subjects })
      const index = yield* vault.tenantKey({ tenantId, purpose: "index" })
      const gone = fenceOf("subject 7")
      yield* fence(tenantId, gone)
      yield* vault.destroy({ tenantId, forgetting: gone.forgetting })
      assert.strictEqual(yield* vault.rotateTenant({ tenantId }), 30)
      assert.strictEqual(yield* vault.rotateTenant({ tenantId }), 30)
      for (const [at, key] of keys.entries()) {
        const found = yield* keyOf(tenantId, idOf(key))
        if (at === 7) assert.strictEqual(found, "destroyed")
        else assert.strictEqual(secretOf(found), secretOf(key))
      }
      assert.strictEqual(secretOf(yield* keyOf(tenantId, index.keyId)), secretOf(index))
      assert.strictEqual(secretOf(yield* currentKey(tenantId, "subject 3")), secretOf(keys[3]))
    })
  )

  it.effect("gives a subject a new key for later events, and keeps the earlier ones", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault
      const tenantId = newTenant()
      yield* vault.rotateSubject({ tenantId, subject: "ada" })
      const first = yield* currentKey(tenantId, "ada")
      assert(typeof first === "object")
      assert.strictEqual(first.version, 1)
      yield* vault.rotateSubject({ tenantId, subject: "ada" })
      const second = yield* currentKey(tenantId, "ada")
      assert(typeof second === "object")
      assert.strictEqual(second.version, 2)
      assert.notStrictEqual(secretOf(second), secretOf(first))
      assert.strictEqual(secretOf(yield* keyOf(tenantId, first.keyId)), secretOf(first))
      const given = fenceOf("ada")
      yield* fence(tenantId, given)
      yield* vault.rotateSubject({ tenantId, subject: "ada" })
      yield* vault.destroy({ tenantId, forgetting: given.forgetting })
      for (const { keyId } of [first, second]) assert.strictEqual(yield* keyOf(tenantId, keyId), "destroyed")
      assert.strictEqual(yield* currentKey(tenantId, "ada"), "forgotten")
    })
  )

  it.effect("carries keys to another vault, and brings nobody back who was forgotten there", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault
      const [tenantId, other] = [newTenant(), newTenant()]
      const first = yield* currentKey(tenantId, "ada")
      yield* vault.rotateSubject({ tenantId, subject: "ada" })
      const [second, bob] = yield* vault.currentKeys({ tenantId, subjects: ["ada", "bob"] })
      const index = yield* vault.tenantKey({ tenantId, purpose: "index" })
      yield* vault.tenantKey({ tenantId, purpose: "snapshots" })
      const gone = fenceOf("cyd")
      yield* currentKey(tenantId, "cyd")
      yield* fence(tenantId, gone)
      const keys = yield* vault.exportKeys({ tenantId })
      const described = (all: typeof keys) =>
        new Set(all.map((key) => `${key.subject ?? key.purpose} ${secretOf(key)}`))
      assert.deepStrictEqual(
        described(keys),
        new Set([
          `ada ${secretOf(first)}`,
          `ada ${secretOf(second)}`,
          `bob ${secretOf(bob)}`,
          `index ${secretOf(index)}`
        ])
      )
      const again = keys.map((key) => ({ ...key, keyId: Base64Url.encode(randomBytesUnsafe(16)) }))
      yield* fence(other, fenceOf("bob"))
      for (let time = 0; time < 2; time++) {
        yield* vault.importKeys({ tenantId: other, keys: again.toReversed() })
        assert.deepStrictEqual(
          described(yield* vault.exportKeys({ tenantId: other })),
          described(keys.filter((key) => key.subject !== "bob"))
        )
      }
      assert.strictEqual(secretOf(yield* currentKey(other, "ada")), secretOf(second))
      assert.strictEqual(
        secretOf(yield* vault.tenantKey({ tenantId: other, purpose: "index" })),
        secretOf(index)
      )
      const ada = fenceOf("ada")
      yield* fence(other, ada)
      yield* vault.destroy({ tenantId: other, forgetting: ada.forgetting })
      yield* vault.allow({ tenantId: other, subject: "ada", allowedAt: 1 })
      const last = yield* currentKey(other, "ada")
      yield* vault.importKeys({ tenantId: other, keys: again })
      const ids = again.filter(({ subject }) => subject !== undefined).map(({ keyId }) => keyId)
      const answers = yield* vault.keysOf({ tenantId: other, keyIds: ids })
      assert.deepStrictEqual(
        answers,
        again.flatMap(({ subject }) =>
          subject === undefined ? [] : [subject === "ada" ? ("destroyed" as const) : ("unknown" as const)]
        )
      )
      assert.strictEqual(secretOf(yield* currentKey(other, "ada")), secretOf(last))
      assert.deepStrictEqual(described(yield* vault.exportKeys({ tenantId })), described(keys))
      // of keys that are destroyed, only the ids arrive
      const lost = Base64Url.encode(randomBytesUnsafe(16))
      for (let time = 0; time < 2; time++)
        yield* vault.importKeys({ tenantId: other, keys: [], destroyed: [lost, idOf(last)] })
      assert.strictEqual(yield* keyOf(other, lost), "destroyed")
      assert.strictEqual(secretOf(yield* keyOf(other, idOf(last))), secretOf(last))
      assert.strictEqual(yield* keyOf(tenantId, lost), "unknown")
    })
  )

  it.effect("destroys all keys of an erased tenant, and keeps its fences", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault
      const tenantId = newTenant()
      const ada = yield* currentKey(tenantId, "ada")
      const snapshots = yield* vault.tenantKey({ tenantId, purpose: "snapshots" })
      yield* fence(tenantId, fenceOf("bob"))
      yield* vault.eraseTenant({ tenantId })
      yield* vault.eraseTenant({ tenantId })
      assert.strictEqual(yield* keyOf(tenantId, idOf(ada)), "destroyed")
      assert.strictEqual(yield* keyOf(tenantId, snapshots.keyId), "destroyed")
      assert.lengthOf(yield* vault.fences({ tenantId }), 1)
    })
  )

  it.effect("allows a subject again in its own tenant only", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault
      const [own, other] = [newTenant(), newTenant()]
      for (const tenantId of [own, other]) yield* fence(tenantId, fenceOf("ada"))
      yield* vault.allow({ tenantId: own, subject: "ada", allowedAt: 5 })
      assert.strictEqual(typeof (yield* currentKey(own, "ada")), "object")
      assert.strictEqual(yield* currentKey(other, "ada"), "forgotten")
      assert.isUndefined((yield* vault.fences({ tenantId: other }))[0]?.allowedAgainAt)
    })
  )

  it.effect("keeps apart keys of two tenants that have the same ids, also when one is rotated", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault
      const [own, other] = [newTenant(), newTenant()]
      const key = yield* currentKey(own, "ada")
      assert(typeof key === "object")
      yield* vault.importKeys({ tenantId: other, keys: yield* vault.exportKeys({ tenantId: own }) })
      const carried = secretOf(yield* keyOf(other, key.keyId))
      assert.strictEqual(carried, secretOf(key))
      assert.strictEqual(yield* vault.rotateTenant({ tenantId: own }), 1)
      yield* vault.rotateTenant({ tenantId: other })
      for (const tenantId of [own, other])
        assert.strictEqual(secretOf(yield* keyOf(tenantId, key.keyId)), carried)
    })
  )

  it.effect("gives a tenant whose keys were erased new ones, and none of before", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault
      const tenantId = newTenant()
      const before = yield* currentKey(tenantId, "ada")
      assert(typeof before === "object")
      yield* vault.eraseTenant({ tenantId })
      assert.strictEqual(yield* keyOf(tenantId, before.keyId), "destroyed")
      const after = yield* currentKey(tenantId, "ada")
      assert.notStrictEqual(idOf(after), before.keyId)
      assert.notStrictEqual(secretOf(after), secretOf(before))
    })
  )

  it.effect("shows no secret where a key is printed", () =>
    Effect.gen(function* () {
      const key = yield* currentKey(newTenant(), "ada")
      assert(typeof key === "object")
      const bytes = Redacted.value(key.secret)
      for (const text of [JSON.stringify(key), JSON.stringify([key.secret])]) {
        assert.include(text, "<redacted>")
        assert.notInclude(text, bytes.subarray(0, 4).join(","))
      }
    })
  )
}

/** The file of a key vault: shared by processes, killed, damaged, lost, and opened with another key. */
import { assert, describe, it } from "@effect/vitest"
import { Config, Context, Effect, Exit, Layer, Redacted } from "effect"
import { Aead, KeyWrap, SecureRandom } from "effect/crypto"
import { KeyVault, StoreError } from "effect-eventsourcing"
import { KeyVaultSuite } from "effect-eventsourcing/testing"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { flipped } from "../../src/testing/failures.ts"
import { layerFiles, type Writes } from "../support/nodeFiles.ts"
import { forget, isShared, keyFor } from "../support/sharedVault.ts"

/** A key management service with the interface of AWS, Google Cloud or Vault, here with a real key that stays inside of it. */
const kms = Effect.gen(function* () {
  const service = yield* KeyWrap.KeyWrap
  const master = yield* service.generateKey(KeyWrap.aes256Kw)
  const calls = { wrap: 0, unwrap: 0, down: false }
  const answer = <A, E>(name: "wrap" | "unwrap", effect: Effect.Effect<A, E>) =>
    Effect.suspend((): Effect.Effect<A, E | string> => {
      calls[name]++
      return calls.down ? Effect.fail("AccessDenied: secret text of the service") : effect
    })
  const key: KeyVault.RootKey<unknown> = {
    wrap: (secret) =>
      answer(
        "wrap",
        Effect.flatMap(Aead.key(Aead.aes256Gcm, Redacted.value(secret)), (wrapped) =>
          service.wrap(master, wrapped)
        )
      ),
    unwrap: (wrapped) =>
      answer(
        "unwrap",
        Effect.map(
          Effect.flatMap(service.unwrap(master, Aead.aes256Gcm, wrapped), Aead.toBytes),
          Redacted.make<Uint8Array>
        )
      )
  }
  return { calls, key }
}).pipe(Effect.provide(Layer.provide(KeyWrap.layerWebCrypto, SecureRandom.layerWebCrypto)), Effect.orDie)

const newKey = () => Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64")
const folder = Effect.acquireRelease(
  Effect.promise(() => fs.mkdtemp(Path.join(tmpdir(), "vault-"))),
  (path) => Effect.promise(() => fs.rm(path, { recursive: true }))
)
const newPath = Effect.map(folder, (path) => Path.join(path, "keys"))

const layerOf = (path: string, key: string, createIfMissing = false, writes?: Writes) =>
  Layer.fresh(KeyVault.layerFile({ path, key: Config.succeed(Redacted.make(key)), createIfMissing })).pipe(
    Layer.provide(layerFiles(writes))
  )

/** A process with the file. */
const open = (...options: Parameters<typeof layerOf>) =>
  Effect.map(Layer.build(layerOf(...options)), (context) => Context.get(context, KeyVault.KeyVault))

KeyVaultSuite.suite({
  name: "in a file",
  layer: Layer.unwrap(Effect.map(newPath, (path) => layerOf(path, newKey(), true)))
})

KeyVaultSuite.suite({
  name: "in a file, under a key of a key management service",
  layer: Layer.unwrap(
    Effect.map(Effect.all([newPath, kms]), ([path, { key }]) =>
      KeyVault.layerFile({ path, key, createIfMissing: true }).pipe(Layer.provide(layerFiles()))
    )
  )
})

const read = (path: string) => Effect.promise(() => fs.readFile(path, "utf8"))
const write = (path: string, text: string) => Effect.promise(() => fs.writeFile(path, text))

const stateOf = (
  vault: KeyVault.KeyVault["Service"],
  tenantId: ReturnType<typeof newTenant>,
  keyId: string
) =>
  Effect.map(vault.keysOf({ tenantId, keyIds: [keyId] }), ([key]) =>
    typeof key === "object" ? "there" : key
  )

const failure = (error: unknown) => {
  assert.instanceOf(error, StoreError.StorageUnavailable)
  assert.instanceOf(error.reason, StoreError.KeyVaultFailed)
  return error.reason
}

describe("the file of a key vault", () => {
  it.effect("keeps keys and fences over restarts, without a key or secret in plain text", () =>
    Effect.gen(function* () {
      const [path, key, tenant] = [yield* newPath, newKey(), newTenant()]
      const first = yield* Effect.scoped(
        Effect.gen(function* () {
          const vault = yield* open(path, key, true)
          yield* keyFor(vault, tenant, "bob")
          yield* forget(vault, tenant, "bob")
          return yield* keyFor(vault, tenant, "ada")
        })
      )
      const vault = yield* open(path, key)
      assert.deepStrictEqual(yield* keyFor(vault, tenant, "ada"), first)
      assert.strictEqual(yield* keyFor(vault, tenant, "bob"), "forgotten")
      assert.lengthOf(yield* vault.fences({ tenantId: tenant }), 1)
      assert.strictEqual((yield* Effect.promise(() => fs.stat(path))).mode & 0o777, 0o600)
    })
  )

  it.effect("has no byte of a destroyed key, and none of a former wrapping", () =>
    Effect.gen(function* () {
      const [path, key, tenant] = [yield* newPath, newKey(), newTenant()]
      const vault = yield* open(path, key, true)
      yield* keyFor(vault, tenant, "ada")
      yield* keyFor(vault, tenant, "bob")
      const wrappedIn = (text: string) => text.match(/\t[\w-]+(?=\n)/g) ?? []
      const before = wrappedIn(yield* read(path))
      yield* forget(vault, tenant, "ada")
      yield* vault.rotateTenant({ tenantId: tenant })
      const after = yield* read(path)
      // The check of the file, and the keys of before.
      assert.lengthOf(before, 4)
      assert.deepStrictEqual(
        before.map((part) => after.includes(part)),
        [true, false, false, false]
      )
      const again = yield* open(path, key)
      assert.strictEqual(typeof (yield* keyFor(again, tenant, "bob")), "object")
    })
  )

  it.effect("is shared by processes: each sees the keys, fences and rotations of the others at once", () =>
    Effect.gen(function* () {
      const [path, key] = [yield* newPath, newKey()]
      yield* isShared(
        yield* Effect.all([open(path, key, true), open(path, key, true), open(path, key, true)])
      )
    })
  )

  it.effect("is usable after a write that was cut off at any byte, and has what was answered", () =>
    Effect.gen(function* () {
      const [path, key, tenant] = [yield* newPath, newKey(), newTenant()]
      const vault = yield* open(path, key, true)
      const ada = yield* keyFor(vault, tenant, "ada")
      const before = yield* Effect.promise(() => fs.readFile(path))
      yield* keyFor(vault, tenant, "bob")
      const after = yield* Effect.promise(() => fs.readFile(path))
      for (let length = before.length; length < after.length; length += 7) {
        const cut = `${path}-${length}`
        // The length at the beginning is overwritten behind the write.
        const bytes = Buffer.concat([before, after.subarray(before.length, length)])
        yield* Effect.promise(() => fs.writeFile(cut, bytes))
        const other = yield* open(cut, key)
        assert.deepStrictEqual(yield* keyFor(other, tenant, "ada"), ada)
        const bob = yield* keyFor(other, tenant, "bob")
        assert.strictEqual(typeof bob, "object")
        assert.deepStrictEqual(yield* keyFor(yield* open(cut, key), tenant, "bob"), bob)
      }
    })
  )

  it.effect("finishes destroying a key whose overwriting was cut off", () =>
    Effect.gen(function* () {
      const [path, key, tenant] = [yield* newPath, newKey(), newTenant()]
      const vault = yield* open(path, key, true)
      const ada = yield* keyFor(vault, tenant, "ada")
      assert(typeof ada === "object")
      const line = (yield* read(path)).split("\n").find((text) => text.includes(`"name":"ada"`)) ?? ""
      yield* forget(vault, tenant, "ada")
      const wiped = yield* read(path)
      // As if the process had ended between the entry and the overwriting.
      yield* write(
        path,
        wiped.replace(
          line.replace(/\t.*$/, (part) => `\t${"*".repeat(part.length - 1)}`),
          line
        )
      )
      assert.include(yield* read(path), line)
      const again = yield* open(path, key)
      assert.strictEqual(yield* stateOf(again, tenant, ada.keyId), "destroyed")
      assert.strictEqual(yield* read(path), wiped)
    })
  )

  it.effect("fails when the disk is full, and goes on when it has room again", () =>
    Effect.gen(function* () {
      const [path, key, tenant] = [yield* newPath, newKey(), newTenant()]
      let full = false
      const vault = yield* open(path, key, true, (_path, bytes) => (full ? bytes.subarray(0, 40) : bytes))
      yield* keyFor(vault, tenant, "ada")
      full = true
      assert.include(failure(yield* flipped(keyFor(vault, tenant, "bob"))).remedy, "room on its disk")
      full = false
      assert.strictEqual(typeof (yield* keyFor(vault, tenant, "bob")), "object")
      assert.strictEqual(typeof (yield* keyFor(yield* open(path, key), tenant, "bob")), "object")
    })
  )

  it.effect("is an error if it is lost, also while it is in use, and no other is created", () =>
    Effect.gen(function* () {
      const [path, key, tenant] = [yield* newPath, newKey(), newTenant()]
      assert.strictEqual(failure(yield* flipped(open(path, key))).code, "NotFound")
      const vault = yield* open(path, key, true)
      yield* keyFor(vault, tenant, "ada")
      yield* Effect.promise(() => fs.rename(path, `${path}.lost`))
      const lost = failure(yield* flipped(keyFor(vault, tenant, "ada")))
      assert.strictEqual(lost.code, "NotFound")
      assert.include(lost.remedy, `${path} is not there: restore it from its backup`)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(keyFor(vault, tenant, "bob"))))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(open(path, key))))
      assert.deepStrictEqual(yield* Effect.promise(() => fs.readdir(Path.dirname(path))), ["keys.lost"])
      // Another one in its place.
      yield* open(path, key, true)
      assert.strictEqual(failure(yield* flipped(keyFor(vault, tenant, "ada"))).code, "Replaced")
      yield* Effect.promise(() => fs.rename(`${path}.lost`, path))
      assert.strictEqual(typeof (yield* keyFor(vault, tenant, "ada")), "object")
    })
  )

  it.effect("is an error if it is damaged, and is left as it is", () =>
    Effect.gen(function* () {
      const [path, key, tenant] = [yield* newPath, newKey(), newTenant()]
      const vault = yield* open(path, key, true)
      const ada = yield* keyFor(vault, tenant, "ada")
      assert(typeof ada === "object")
      const text = yield* read(path)
      for (const [from, to] of [
        [`"name":"ada"`, `"name":"bob"`],
        ["DataKey", "DataKez"],
        ["WrappingKey", "WrappingKex"]
      ] as const) {
        const damaged = `${path}-${to.length}${to}`.replaceAll('"', "")
        yield* write(damaged, text.replace(from, to))
        const reason = failure(yield* flipped(open(damaged, key, true)))
        assert.include(["Damaged"], reason.code)
        assert.match(reason.remedy, /is damaged at byte \d+: restore it from its backup; nothing was changed/)
        assert.strictEqual(yield* read(damaged), text.replace(from, to))
      }
      // A missing line, in between or at the end.
      const lines = text.split("\n")
      for (const [index, line] of lines.entries()) {
        if (line === "" || line.includes(`"Vault"`) || line.includes(`"Length"`)) continue
        const missing = `${path}-missing-${index}`
        const kept = lines.filter((_, at) => at !== index).join("\n")
        yield* write(missing, kept)
        const reason = failure(yield* flipped(open(missing, key, true)))
        assert.strictEqual(reason.code, "CutOff")
        assert.include(
          reason.remedy,
          "its end is missing, so restore it from its backup; nothing was changed"
        )
        assert.strictEqual(yield* read(missing), kept)
      }
      // A wrapped key that was changed does not unwrap.
      const changed = `${path}-changed`
      const line = text.split("\n").find((part) => part.includes(`"name":"ada"`)) ?? ""
      yield* write(
        changed,
        text.replace(
          line,
          line.replace(/\t(.)/, (_, first) => `\t${first === "A" ? "B" : "A"}`)
        )
      )
      const other = yield* open(changed, key)
      assert.strictEqual(failure(yield* flipped(keyFor(other, tenant, "ada"))).code, "Unwrap")
    })
  )

  it.effect("is an error if it was cut off, also while it is in use, and is left as it is", () =>
    Effect.gen(function* () {
      const [path, key, tenant] = [yield* newPath, newKey(), newTenant()]
      const vault = yield* open(path, key, true)
      yield* keyFor(vault, tenant, "ada")
      const text = yield* read(path)
      const first = text.split("\n").find((line) => line !== "") ?? ""
      for (const length of [0, first.length, text.length - 20]) {
        yield* write(path, text.slice(0, length))
        assert.strictEqual(failure(yield* flipped(keyFor(vault, tenant, "ada"))).code, "Replaced")
        assert.strictEqual(failure(yield* flipped(keyFor(vault, tenant, "bob"))).code, "Replaced")
        assert.strictEqual(yield* read(path), text.slice(0, length))
      }
      // Nothing but the beginning of its first line: there is no vault, and none is made.
      yield* write(path, text.slice(0, 30))
      assert.strictEqual(failure(yield* flipped(open(path, key))).code, "NoVault")
      assert.strictEqual(yield* read(path), text.slice(0, 30))
    })
  )

  it.effect("does not open with another root key, or with one that is none", () =>
    Effect.gen(function* () {
      const [path, key] = [yield* newPath, newKey()]
      yield* open(path, key, true)
      const text = yield* read(path)
      const wrong = failure(yield* flipped(open(path, newKey(), true)))
      assert.strictEqual(wrong.code, "WrongRootKey")
      assert.strictEqual(yield* read(path), text)
      const none = yield* flipped(open(path, "a password", true))
      assert.include(failure(none).message, "openssl rand -base64 32")
      assert.notInclude(JSON.stringify(none), "a password")
      for (const form of [Buffer.from(key, "base64").toString("hex"), `${key}\n`]) yield* open(path, form)
    })
  )

  it.effect("asks a key management service once for the keys of a tenant, and does not show its errors", () =>
    Effect.gen(function* () {
      const [path, tenant] = [yield* newPath, newTenant()]
      const { calls, key } = yield* kms
      const options = { path, key, createIfMissing: true }
      const layer = Layer.fresh(KeyVault.layerFile(options)).pipe(Layer.provide(layerFiles()))
      const vault = Context.get(yield* Layer.build(layer), KeyVault.KeyVault)
      calls.unwrap = 0
      for (let index = 0; index < 10; index++) yield* keyFor(vault, tenant, `s${index}`)
      assert.deepStrictEqual([calls.wrap, calls.unwrap], [2, 1])
      calls.down = true
      const reason = failure(yield* flipped(keyFor(vault, newTenant(), "ada")))
      assert.isTrue(reason.retryable)
      assert.notInclude(JSON.stringify(reason), "secret text")
      assert.strictEqual(typeof (yield* keyFor(vault, tenant, "s1")), "object")
    })
  )

  it.effect("reads every key back, whatever characters its wrapped form begins with", () =>
    Effect.gen(function* () {
      const [path, key, tenant] = [yield* newPath, newKey(), newTenant()]
      const subjects = Array.from({ length: 4000 }, (_, index) => `s${index}`)
      const vault = yield* open(path, key, true)
      yield* vault.currentKeys({ tenantId: tenant, subjects })
      assert.match(yield* read(path), /\t-/)
      const found = yield* (yield* open(path, key)).currentKeys({ tenantId: tenant, subjects })
      assert.isTrue(found.every((one) => typeof one === "object" && one.version === 1))
    })
  )
})

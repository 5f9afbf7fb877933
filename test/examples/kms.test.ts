/** The root keys of examples/kms.ts, on services that fail, are slow, and rotate their key. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { FetchHttpClient, type HttpClient } from "effect/http"
import { KeyVault, StoreError, type Tenant } from "effect-eventsourcing"
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto"
import * as fs from "node:fs/promises"
import { createServer, type Server } from "node:http"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { awsKms, googleKms, vaultTransit } from "../../examples/kms.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { flipped } from "../../src/testing/failures.ts"
import { layerFiles } from "../support/nodeFiles.ts"

const secretText = "permission denied: a text with the token s.secret"

/** A service with a key that stays inside, in versions. */
const makeService = () => {
  const versions = [randomBytes(32)]
  const calls = { encrypt: 0, decrypt: 0 }
  return {
    calls,
    rotate: () => void versions.push(randomBytes(32)),
    encrypt: (plaintext: Uint8Array, aad: Uint8Array): string => {
      calls.encrypt++
      const nonce = randomBytes(12)
      const cipher = createCipheriv("aes-256-gcm", versions.at(-1) ?? nonce, nonce)
      cipher.setAAD(aad)
      const text = Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
      return `vault:v${versions.length}:${text.toString("base64")}`
    },
    decrypt: (ciphertext: string, aad: Uint8Array): Buffer => {
      calls.decrypt++
      const [, version = "", text = ""] = /^vault:v(\d+):(.*)$/.exec(ciphertext) ?? []
      const bytes = Buffer.from(text, "base64")
      const key = versions[Number(version) - 1]
      if (key === undefined) throw new Error("unknown version")
      const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, 12))
      decipher.setAAD(aad)
      decipher.setAuthTag(bytes.subarray(-16))
      return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()])
    }
  }
}

const newBytes = (): Uint8Array => randomBytes(32)

type Service = ReturnType<typeof makeService>

/** The transit engine of HashiCorp Vault, as far as it is used. */
const transit = Effect.gen(function* () {
  const service = makeService()
  const state = { answers: "well" as "well" | "unavailable" | "forbidden" | "never" }
  const server = createServer((request, response) => {
    const parts: Array<Buffer> = []
    request.on("data", (part: Buffer) => parts.push(part))
    request.on("end", () => {
      const send = (status: number, body: unknown) => {
        response.writeHead(status, { "content-type": "application/json" })
        response.end(JSON.stringify(body))
      }
      if (state.answers === "never") return
      if (state.answers !== "well" || request.headers["x-vault-token"] !== "token")
        return send(state.answers === "unavailable" ? 503 : 403, { errors: [secretText] })
      const body = JSON.parse(Buffer.concat(parts).toString()) as Record<string, string>
      const aad = Buffer.from(body["associated_data"] ?? "", "base64")
      try {
        if (request.url === "/v1/transit/encrypt/people")
          send(200, {
            data: { ciphertext: service.encrypt(Buffer.from(body["plaintext"] ?? "", "base64"), aad) }
          })
        else if (request.url === "/v1/transit/decrypt/people")
          send(200, {
            data: { plaintext: service.decrypt(body["ciphertext"] ?? "", aad).toString("base64") }
          })
        else send(404, { errors: [] })
      } catch {
        send(400, { errors: [secretText] })
      }
    })
  })
  const listening = yield* Effect.acquireRelease(
    Effect.promise(
      () => new Promise<Server>((resolve) => void server.listen(0, "127.0.0.1", () => resolve(server)))
    ),
    (one) =>
      Effect.sync(() => {
        one.closeAllConnections()
        one.close()
      })
  )
  const address = listening.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  const root = vaultTransit({
    url: `http://127.0.0.1:${port}`,
    token: Redacted.make("token"),
    key: "people",
    timeout: "200 millis"
  })
  return { root, service, state }
})

const folder = Effect.acquireRelease(
  Effect.promise(() => fs.mkdtemp(Path.join(tmpdir(), "kms-"))),
  (path) => Effect.promise(() => fs.rm(path, { recursive: true }))
)

/** A vault that keeps no unwrapped key for long, as a new process. */
const open = <E>(path: string, key: KeyVault.RootKey<E, HttpClient.HttpClient>) =>
  Effect.map(
    Layer.build(
      Layer.fresh(KeyVault.layerFile({ path, key, createIfMissing: true })).pipe(
        Layer.provide(layerFiles()),
        Layer.provide(FetchHttpClient.layer)
      )
    ),
    (context) => Context.get(context, KeyVault.KeyVault)
  )

const secretOf = (vault: KeyVault.KeyVault["Service"], tenantId: Tenant.TenantId) =>
  Effect.map(vault.currentKeys({ tenantId, subjects: ["ada"] }), ([key]) =>
    typeof key === "object" ? Redacted.value(key.secret).join() : key
  )

const failure = (error: unknown) => {
  assert.instanceOf(error, StoreError.StorageUnavailable)
  assert.instanceOf(error.reason, StoreError.KeyVaultFailed)
  assert.notInclude(JSON.stringify([error, error.message, error.stack]), secretText)
  return error
}

describe("a root key in the transit engine of HashiCorp Vault", () => {
  it.live("is asked once for each tenant, binds keys to tenants, and is rotated there", () =>
    Effect.gen(function* () {
      const path = Path.join(yield* folder, "keys")
      const { root, service } = yield* transit
      const [mine, theirs] = [newTenant(), newTenant()]
      const vault = yield* open(path, root)
      const secret = yield* secretOf(vault, mine)
      service.calls.decrypt = 0
      for (let n = 0; n < 5; n++) yield* vault.currentKeys({ tenantId: mine, subjects: [`s${n}`] })
      assert.strictEqual(service.calls.decrypt, 0)

      service.rotate()
      const next = yield* open(path, root)
      assert.strictEqual(yield* secretOf(next, mine), secret)
      yield* secretOf(next, theirs)
      assert.strictEqual(yield* next.rotateTenant({ tenantId: mine }), 6)
      assert.strictEqual(yield* secretOf(yield* open(path, root), mine), secret)

      const key = Redacted.make(newBytes())
      const provided = Effect.provide(FetchHttpClient.layer)
      const wrapped = yield* provided(root.wrap(key, { tenantId: mine }))
      assert.match(Buffer.from(wrapped).toString(), /^vault:v2:/)
      const unwrapped = yield* provided(root.unwrap(wrapped, { tenantId: mine }))
      assert.deepStrictEqual([...Redacted.value(unwrapped)], [...Redacted.value(key)])
      yield* Effect.flip(provided(root.unwrap(wrapped, { tenantId: theirs })))
    }).pipe(Effect.scoped)
  )

  it.live(
    "that fails or does not answer leaves the vault unavailable, and shows no text of the service",
    () =>
      Effect.gen(function* () {
        const path = Path.join(yield* folder, "keys")
        const { root, state } = yield* transit
        const [mine, theirs] = [newTenant(), newTenant()]
        const vault = yield* open(path, root)
        const secret = yield* secretOf(vault, mine)
        const text = yield* Effect.promise(() => fs.readFile(path, "utf8"))
        for (const answers of ["unavailable", "forbidden", "never"] as const) {
          state.answers = answers
          // A tenant whose key is not unwrapped yet, and one that has none.
          const error = failure(yield* flipped(secretOf(vault, theirs)))
          assert.isTrue(error.retryable)
          assert.include(error.message, "the key management service did not answer, or refused")
          failure(yield* flipped(open(path, root)))
          // The keys of other tenants are still there.
          assert.strictEqual(yield* secretOf(vault, mine), secret)
          assert.strictEqual(yield* Effect.promise(() => fs.readFile(path, "utf8")), text)
        }
        state.answers = "well"
        assert.notStrictEqual(yield* secretOf(vault, theirs), secret)
        assert.strictEqual(yield* secretOf(yield* open(path, root), mine), secret)
      }).pipe(Effect.scoped)
  )
})

/** The clients of cloud services, over the same service. */
const clients: Readonly<Record<string, (service: Service) => KeyVault.RootKey<unknown>>> = {
  "AWS KMS": (service) =>
    awsKms(
      {
        encrypt: async ({ EncryptionContext, Plaintext }) => ({
          CiphertextBlob: Buffer.from(
            service.encrypt(Plaintext, Buffer.from(JSON.stringify(EncryptionContext)))
          )
        }),
        decrypt: async ({ CiphertextBlob, EncryptionContext }) => ({
          Plaintext: service.decrypt(
            Buffer.from(CiphertextBlob).toString(),
            Buffer.from(JSON.stringify(EncryptionContext))
          )
        })
      },
      "alias/people"
    ),
  "Google Cloud KMS": (service) =>
    googleKms(
      {
        encrypt: async ({ additionalAuthenticatedData, plaintext }) => [
          { ciphertext: Buffer.from(service.encrypt(plaintext, additionalAuthenticatedData)) }
        ],
        decrypt: async ({ additionalAuthenticatedData, ciphertext }) => [
          {
            plaintext: service
              .decrypt(Buffer.from(ciphertext).toString(), additionalAuthenticatedData)
              .toString("base64")
          }
        ]
      },
      "projects/p/locations/l/keyRings/r/cryptoKeys/people"
    )
}

describe.each(Object.entries(clients))("a root key in %s", (_, make) => {
  it.live("wraps the keys of tenants, each for its tenant only, over rotations", () =>
    Effect.gen(function* () {
      const path = Path.join(yield* folder, "keys")
      const service = makeService()
      const root = make(service)
      const [mine, theirs] = [newTenant(), newTenant()]
      const secret = yield* secretOf(yield* open(path, root), mine)
      service.rotate()
      assert.strictEqual(yield* secretOf(yield* open(path, root), mine), secret)
      const wrapped = yield* root.wrap(Redacted.make(newBytes()), { tenantId: mine })
      yield* Effect.flip(root.unwrap(wrapped, { tenantId: theirs }))
    }).pipe(Effect.scoped)
  )
})

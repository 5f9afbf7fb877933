/** The cryptography of the platform: that of Node, Bun or Deno where it is there, else Web Crypto. */
import { Layer } from "effect"
import { Aead, Mac, SecureRandom } from "effect/crypto"

/** The functions of `node:crypto` that are used here. */
interface Native {
  readonly createCipheriv: (
    algorithm: string,
    key: Uint8Array,
    nonce: Uint8Array
  ) => {
    readonly setAAD: (data: Uint8Array) => unknown
    readonly update: (data: Uint8Array) => Uint8Array
    readonly final: () => Uint8Array
    readonly getAuthTag: () => Uint8Array
  }
  readonly createDecipheriv: (
    algorithm: string,
    key: Uint8Array,
    nonce: Uint8Array
  ) => {
    readonly setAAD: (data: Uint8Array) => unknown
    readonly setAuthTag: (tag: Uint8Array) => unknown
    readonly update: (data: Uint8Array) => Uint8Array
    readonly final: () => Uint8Array
  }
  readonly createHmac: (
    hash: string,
    key: Uint8Array
  ) => {
    readonly update: (data: Uint8Array) => { readonly digest: () => Uint8Array }
  }
}

/** Loaded without an import, so that bundles for other platforms have no trace of it. */
const native = (): Native | undefined => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- other platforms have no such function, which is checked
  const { process } = globalThis as unknown as {
    readonly process?: { readonly getBuiltinModule?: (name: string) => Native | undefined }
  }
  return process?.getBuiltinModule?.("node:crypto")
}

const tagLength = 16

const gcmOf = ({ createCipheriv, createDecipheriv }: Native): Aead.Implementation => ({
  encrypt: (key, nonce, plaintext, aad) => {
    const cipher = createCipheriv("aes-256-gcm", key, nonce)
    cipher.setAAD(aad)
    const sealed = new Uint8Array(plaintext.length + tagLength)
    sealed.set(cipher.update(plaintext))
    cipher.final()
    sealed.set(cipher.getAuthTag(), plaintext.length)
    return sealed
  },
  decrypt: (key, nonce, ciphertext, aad) => {
    const end = ciphertext.length - tagLength
    const decipher = createDecipheriv("aes-256-gcm", key, nonce)
    decipher.setAAD(aad)
    decipher.setAuthTag(ciphertext.subarray(end))
    const plaintext = decipher.update(ciphertext.subarray(0, end))
    try {
      decipher.final()
    } catch {
      return undefined
    }
    return plaintext
  }
})

const make = (found: Native | undefined): Layer.Layer<Aead.Aead | Mac.Mac> =>
  (found === undefined
    ? Layer.merge(Aead.layerWebCrypto, Mac.layerWebCrypto)
    : Layer.merge(
        Aead.layerWebCryptoWith({ implementations: { aes256Gcm: gcmOf(found) } }),
        Mac.layerWebCryptoWith({
          hmac: (hash, key, data) => found.createHmac(hash.replace("-", ""), key).update(data).digest()
        })
      )
  ).pipe(Layer.provide(SecureRandom.layerWebCrypto))

/** AES-256-GCM and HMAC. On Node they run without a promise, which takes a fifth of the time for a short text. */
export const layerCrypto: Layer.Layer<Aead.Aead | Mac.Mac> = Layer.suspend(() => make(native()))

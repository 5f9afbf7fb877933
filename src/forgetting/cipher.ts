/** The cryptography of the platform: that of Node, Bun or Deno where it is there, else Web Crypto. */
import { Layer } from "effect"
import { Aead, Mac, SecureRandom } from "effect/crypto"

/** A key outside of the memory of JavaScript. */
export interface SecretKey {
  readonly type: string
}

/** The functions of `node:crypto` that are used here. */
export interface NativeCrypto {
  readonly createSecretKey: (key: Uint8Array) => SecretKey
  readonly createCipheriv: (
    algorithm: string,
    key: Uint8Array | SecretKey,
    nonce: Uint8Array,
    options?: { readonly authTagLength: number }
  ) => {
    readonly setAAD: (data: Uint8Array) => unknown
    readonly update: (data: Uint8Array) => Uint8Array
    readonly final: () => Uint8Array
    readonly getAuthTag: () => Uint8Array
  }
  readonly createDecipheriv: (
    algorithm: string,
    key: Uint8Array | SecretKey,
    nonce: Uint8Array,
    options?: { readonly authTagLength: number }
  ) => {
    readonly setAAD: (data: Uint8Array) => unknown
    readonly setAuthTag: (tag: Uint8Array) => unknown
    readonly update: (data: Uint8Array) => Uint8Array
    readonly final: () => Uint8Array
  }
  readonly createHmac: (hash: string, key: Uint8Array | SecretKey) => NativeHmac
}

interface NativeHmac {
  readonly update: (data: Uint8Array | string) => NativeHmac
  readonly digest: () => Uint8Array
}

/** Loaded without an import, so that bundles for other platforms have no trace of it. Undefined on these. */
export const nativeCrypto: NativeCrypto | undefined = (() => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- other platforms have no such function, which is checked
  const { process } = globalThis as unknown as {
    readonly process?: { readonly getBuiltinModule?: (name: string) => NativeCrypto | undefined }
  }
  return process?.getBuiltinModule?.("node:crypto")
})()

/** Bytes of the tag of AES-GCM. */
export const tagLength = 16

const gcmOf = ({ createCipheriv, createDecipheriv }: NativeCrypto): Aead.Implementation => ({
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

const make = (found: NativeCrypto | undefined): Layer.Layer<Aead.Aead | Mac.Mac> =>
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
export const layerCrypto: Layer.Layer<Aead.Aead | Mac.Mac> = make(nativeCrypto)

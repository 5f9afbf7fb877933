/** Keys and other secrets as bytes with their nonce before them. */
import { Effect } from "effect"
import { type Aead, type CryptoError, SecureRandom } from "effect/crypto"

const encoder = new TextEncoder()

export const textBytes = (text: string): Uint8Array => encoder.encode(text)

const nonceLength = 12

/** Encrypts under a random nonce, which stands before the ciphertext. */
export const sealWith = (
  aead: Aead.Aead["Service"],
  key: Aead.Key<Aead.AesGcm>,
  plaintext: Uint8Array,
  aad: Uint8Array
): Effect.Effect<Uint8Array, CryptoError.CryptoError> =>
  Effect.suspend(() => {
    const nonce = SecureRandom.randomBytesUnsafe(nonceLength)
    return Effect.map(aead.encrypt(key, plaintext, { nonce, aad }), (ciphertext) => {
      const box = new Uint8Array(nonceLength + ciphertext.length)
      box.set(nonce)
      box.set(ciphertext, nonceLength)
      return box
    })
  })

/** Decrypts a box of {@link sealWith}. */
export const openWith = (
  aead: Aead.Aead["Service"],
  key: Aead.Key<Aead.AesGcm>,
  box: Uint8Array,
  aad: Uint8Array
): Effect.Effect<Uint8Array, CryptoError.CryptoError> =>
  aead.decrypt(key, box.subarray(nonceLength), { nonce: box.subarray(0, nonceLength), aad })

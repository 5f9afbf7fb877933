/**
 * Seals and opens personal fields with AES-256-GCM.
 *
 * The algorithm is AES-256-GCM and not XChaCha20-Poly1305, because platforms have it in native code: for a short field, Node takes
 * 5 microseconds, and the portable code of XChaCha20-Poly1305 takes 17. Its nonces of 12 bytes are enough, because each key seals
 * the fields of one person only, and because nonces are synthetic.
 *
 * A nonce is the beginning of an HMAC over the place and the text of the field, under a key of its own. So an event that is
 * appended again gets the same text, which makes a repeated append recognisable; and a nonce occurs twice only with the same text
 * at the same place, about which it then tells nothing new.
 */
import { Effect, Redacted, Result } from "effect"
import { Aead, type CryptoError, Mac } from "effect/crypto"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Hex from "effect/encoding/Hex"
import { nativeCrypto } from "./cipher.ts"
import { envelopeText, type Sealed } from "./envelope.ts"
import type { DataKey } from "./keyVaultContract.ts"
import { type NativeKey, nativeKey, nativeSealer, type SealerNow } from "./nativeSealer.ts"

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** A data key that is ready for use. */
export interface ReadyKey {
  readonly keyId: string
  readonly subject: string | undefined
  readonly encryption: Aead.Key<Aead.AesGcm>
  readonly nonces: Mac.Key
  /** Undefined on platforms without `node:crypto`. */
  readonly native: NativeKey | undefined
}

/** Makes a data key ready. */
export const readyKey = ({
  keyId,
  secret,
  subject
}: DataKey): Effect.Effect<ReadyKey, CryptoError.CryptoError> => {
  const bytes = Redacted.value(secret)
  const [forText, forNonces] = [bytes.subarray(0, 32), bytes.subarray(32)]
  return Effect.zipWith(
    Aead.key(Aead.aes256Gcm, forText),
    Mac.key(Mac.hmacSha256, forNonces),
    (encryption, nonces) => ({
      keyId,
      subject,
      encryption,
      nonces,
      native: nativeCrypto && nativeKey(nativeCrypto, forText, forNonces)
    })
  )
}

/** Seals and opens texts at places. A place is a text that says where the sealed text stands. */
export interface Sealer {
  /** The envelope of a text. */
  readonly seal: (key: ReadyKey, place: string, path: string, text: string) => Effect.Effect<string>
  /** The text of an envelope. Undefined if it is damaged, or was sealed at another place. */
  readonly open: (key: ReadyKey, place: string, envelope: Sealed) => Effect.Effect<string | undefined>
  /** A hash of a text that nobody without the key can compute: 64 hexadecimal digits. */
  readonly digest: (key: ReadyKey, text: string) => Effect.Effect<string>
  /** Fast path for pages and appends; undefined where cryptography takes a promise. */
  readonly now: SealerNow | undefined
}

/** The place of an event's field. The path is JSON text. */
export const fieldPlace = (tenantId: string, eventId: string, path: string): string =>
  `field 1 ${tenantId} ${eventId} ${path}`

const nonceLength = 12

export const makeSealer: Effect.Effect<Sealer, never, Aead.Aead | Mac.Mac> = Effect.gen(function* () {
  const aead = yield* Aead.Aead
  const mac = yield* Mac.Mac
  return {
    now: nativeCrypto && nativeSealer(nativeCrypto),
    seal: (key, place, path, text) => {
      const plaintext = encoder.encode(text)
      const aad = encoder.encode(place)
      // The place ends with 0, which no text of JSON contains.
      const message = new Uint8Array(aad.length + 1 + plaintext.length)
      message.set(aad)
      message.set(plaintext, aad.length + 1)
      return Effect.orDie(
        Effect.flatMap(mac.sign(key.nonces, message), (tag) => {
          const nonce = tag.subarray(0, nonceLength)
          return Effect.map(aead.encrypt(key.encryption, plaintext, { nonce, aad }), (ciphertext) =>
            envelopeText(key.keyId, Base64Url.encode(nonce), Base64Url.encode(ciphertext), path)
          )
        })
      )
    },
    open: (key, place, envelope) => {
      const [nonce, ciphertext] = [Base64Url.decode(envelope.nonce), Base64Url.decode(envelope.ciphertext)]
      if (Result.isFailure(nonce) || Result.isFailure(ciphertext)) return Effect.undefined
      const options = { nonce: nonce.success, aad: encoder.encode(place) }
      return Effect.match(aead.decrypt(key.encryption, ciphertext.success, options), {
        onFailure: () => undefined,
        onSuccess: (plaintext) => decoder.decode(plaintext)
      })
    },
    digest: (key, text) =>
      Effect.orDie(
        Effect.map(mac.sign(key.nonces, encoder.encode(`digest 1 ${text}`)), (tag) => Hex.encode(tag))
      )
  }
})

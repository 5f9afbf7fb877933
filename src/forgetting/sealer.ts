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
import { Effect, Redacted } from "effect"
import { Aead, type CryptoError, Mac } from "effect/crypto"
import * as Hex from "effect/encoding/Hex"
import { type Envelope, envelopeText } from "./envelope.ts"
import type { DataKey } from "./keyVaultContract.ts"

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** A data key that is ready for use. */
export interface ReadyKey {
  readonly keyId: string
  readonly subject: string | undefined
  readonly encryption: Aead.Key<Aead.AesGcm>
  readonly nonces: Mac.Key
}

/** Makes a data key ready. */
export const readyKey = ({
  keyId,
  secret,
  subject
}: DataKey): Effect.Effect<ReadyKey, CryptoError.CryptoError> => {
  const bytes = Redacted.value(secret)
  return Effect.zipWith(
    Aead.key(Aead.aes256Gcm, bytes.subarray(0, 32)),
    Mac.key(Mac.hmacSha256, bytes.subarray(32)),
    (encryption, nonces) => ({ keyId, subject, encryption, nonces })
  )
}

/** Seals and opens texts at places. A place is a text that says where the sealed text stands. */
export interface Sealer {
  /** The envelope of a text. */
  readonly seal: (
    key: ReadyKey,
    place: string,
    path: string,
    text: string
  ) => Effect.Effect<string, CryptoError.CryptoError>
  /** The text of an envelope. Fails if it was sealed at another place. */
  readonly open: (
    key: ReadyKey,
    place: string,
    envelope: Pick<Envelope, "nonce" | "ciphertext">
  ) => Effect.Effect<string, CryptoError.CryptoError>
  /** A hash of a text that nobody without the key can compute: 64 hexadecimal digits. */
  readonly digest: (key: ReadyKey, text: string) => Effect.Effect<string, CryptoError.CryptoError>
}

/** The place of an event's field. The path is JSON text. */
export const fieldPlace = (tenantId: string, eventId: string, path: string): string =>
  `field 1 ${tenantId} ${eventId} ${path}`

const nonceLength = 12

export const makeSealer: Effect.Effect<Sealer, never, Aead.Aead | Mac.Mac> = Effect.gen(function* () {
  const aead = yield* Aead.Aead
  const mac = yield* Mac.Mac
  return {
    seal: (key, place, path, text) => {
      const plaintext = encoder.encode(text)
      const aad = encoder.encode(place)
      // The place ends with 0, which no text of JSON contains.
      const message = new Uint8Array(aad.length + 1 + plaintext.length)
      message.set(aad)
      message.set(plaintext, aad.length + 1)
      return Effect.flatMap(mac.sign(key.nonces, message), (tag) => {
        const nonce = tag.subarray(0, nonceLength)
        return Effect.map(aead.encrypt(key.encryption, plaintext, { nonce, aad }), (ciphertext) =>
          envelopeText(key.keyId, nonce, ciphertext, path)
        )
      })
    },
    open: (key, place, { ciphertext, nonce }) =>
      Effect.map(
        aead.decrypt(key.encryption, ciphertext, { nonce, aad: encoder.encode(place) }),
        (plaintext) => decoder.decode(plaintext)
      ),
    digest: (key, text) =>
      Effect.map(mac.sign(key.nonces, encoder.encode(`digest 1 ${text}`)), (tag) => Hex.encode(tag))
  }
})

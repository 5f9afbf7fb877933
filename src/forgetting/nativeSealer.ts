/**
 * Fast path: seals and opens with `node:crypto`, without effects. It makes and reads the same texts as the general sealer.
 *
 * Each native object and each buffer costs more than the cipher itself, so this code makes as few as it can.
 */
import { type NativeCrypto, type SecretKey, tagLength } from "./cipher.ts"
import { envelopeText, type Sealed } from "./envelope.ts"

/** A data key outside of the memory of JavaScript. */
export interface NativeKey {
  readonly encryption: SecretKey
  readonly nonces: SecretKey
}

export const nativeKey = (
  { createSecretKey }: NativeCrypto,
  encryption: Uint8Array,
  nonces: Uint8Array
): NativeKey => ({ encryption: createSecretKey(encryption), nonces: createSecretKey(nonces) })

/** The part of a key that is used here. */
interface Key {
  readonly keyId: string
  readonly native: NativeKey | undefined
}

/** The functions of a sealer without effects. */
export interface SealerNow {
  readonly seal: (key: Key, place: string, path: string, text: string) => string
  readonly open: (key: Key, place: string, envelope: Sealed) => string | undefined
}

const algorithm = "aes-256-gcm"
const options = { authTagLength: tagLength }
const nonceLength = 12

const keyOf = ({ native }: Key): NativeKey => {
  if (native === undefined) throw new TypeError("a key was made ready without node:crypto")
  return native
}

export const nativeSealer = ({ createCipheriv, createDecipheriv, createHmac }: NativeCrypto): SealerNow => ({
  seal: (key, place, path, text) => {
    const { encryption, nonces } = keyOf(key)
    // The place ends with 0, which no text of JSON contains.
    const nonce = createHmac("sha256", nonces).update(`${place}\0${text}`).digest().subarray(0, nonceLength)
    const cipher = createCipheriv(algorithm, encryption, nonce, options)
    cipher.setAAD(Buffer.from(place))
    const ciphertext = cipher.update(Buffer.from(text))
    cipher.final()
    const sealed = Buffer.allocUnsafe(ciphertext.length + tagLength)
    sealed.set(ciphertext)
    sealed.set(cipher.getAuthTag(), ciphertext.length)
    return envelopeText(
      key.keyId,
      Buffer.from(nonce.buffer, nonce.byteOffset, nonceLength).toString("base64url"),
      sealed.toString("base64url"),
      path
    )
  },
  open: (key, place, envelope) => {
    const sealed = Buffer.from(envelope.ciphertext, "base64url")
    const end = sealed.length - tagLength
    const nonce = Buffer.from(envelope.nonce, "base64url")
    if (end < 0 || nonce.length !== nonceLength) return undefined
    const decipher = createDecipheriv(algorithm, keyOf(key).encryption, nonce, options)
    decipher.setAAD(Buffer.from(place))
    decipher.setAuthTag(sealed.subarray(end))
    const plaintext = decipher.update(sealed.subarray(0, end))
    try {
      decipher.final()
    } catch {
      return undefined
    }
    return Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.length).toString()
  }
})

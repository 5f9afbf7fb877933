import { Effect } from "effect"
import * as Hex from "effect/encoding/Hex"
import { sha256 } from "./sha256.ts"

/** Up to so many bytes a call of the Web Crypto API, which is asynchronous, takes longer than the digest. */
const smallest = 1024

/** SHA-256 of a text in UTF-8: 32 bytes. */
export const sha256Bytes = (text: string): Effect.Effect<Uint8Array> =>
  Effect.suspend(() => {
    const message = new TextEncoder().encode(text)
    return message.length <= smallest
      ? Effect.succeed(sha256(message))
      : Effect.map(
          Effect.promise(() => globalThis.crypto.subtle.digest("SHA-256", message)),
          (buffer) => new Uint8Array(buffer)
        )
  })

/** SHA-256 of a text in UTF-8, as 64 lower-case hexadecimal digits. */
export const sha256Hex = (text: string): Effect.Effect<string> => Effect.map(sha256Bytes(text), Hex.encode)

/** SHA-256 of bytes, as 64 lower-case hexadecimal digits. */
export const digestHex = (bytes: Uint8Array): Effect.Effect<string> =>
  Effect.map(
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only shared memory is refused, and nothing here uses it
    Effect.promise(() => globalThis.crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)),
    (buffer) => Hex.encode(new Uint8Array(buffer))
  )

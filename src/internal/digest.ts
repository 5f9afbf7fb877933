import { Effect } from "effect"
import * as Hex from "effect/encoding/Hex"

/** SHA-256 of a text in UTF-8: 32 bytes. */
export const sha256Bytes = (text: string): Effect.Effect<Uint8Array> =>
  Effect.map(
    Effect.promise(() => globalThis.crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))),
    (buffer) => new Uint8Array(buffer)
  )

/** SHA-256 of a text in UTF-8, as 64 lower-case hexadecimal digits. */
export const sha256Hex = (text: string): Effect.Effect<string> => Effect.map(sha256Bytes(text), Hex.encode)

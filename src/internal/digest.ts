import { Effect } from "effect"
import * as Hex from "effect/encoding/Hex"

/** SHA-256 of a text in UTF-8, as 64 lower-case hexadecimal digits. */
export const sha256Hex = (text: string): Effect.Effect<string> =>
  Effect.map(
    Effect.promise(() => globalThis.crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))),
    (buffer) => Hex.encode(new Uint8Array(buffer))
  )

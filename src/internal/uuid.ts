import { Schema, SchemaTransformation } from "effect"

/** The one form in which UUIDs are compared and stored: lower case, hyphenated, without braces. */
const canonicalForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

// What is cast past the types may be anything, and a pattern would take an array of one string for that string.
export const isCanonicalUuid = (text: unknown): boolean =>
  typeof text === "string" && canonicalForm.test(text)

export const CanonicalUuid: Schema.Codec<string> = Schema.String.check(
  Schema.makeFilter(isCanonicalUuid, {
    expected: "a UUID in its lower-case, hyphenated form",
    // Without it, arbitrary texts would be tried until one happens to be a UUID.
    arbitraryConstraint: { patterns: [{ source: canonicalForm.source, flags: "" }] }
  })
)

/** Upper-case letters are accepted and folded; any other deviation is refused. */
export const Uuid: Schema.Codec<string> = Schema.String.pipe(
  Schema.decodeTo(CanonicalUuid, SchemaTransformation.toLowerCase())
)

let lastMillis = 0
let millisText = ""
let counter = 0

/**
 * A UUID of version 7 (RFC 9562, method 1). In one process each sorts after the one before: 12 bits count within a
 * millisecond, from a random number on. The last 62 bits are those of a random UUID, for which the platform draws
 * randomness in advance: drawing it for every single one takes several times as long.
 */
export const uuidV7 = (): string => {
  const random = crypto.randomUUID()
  const now = Date.now()
  if (now > lastMillis || counter === 0xfff) {
    lastMillis = Math.max(now, lastMillis + 1)
    const text = lastMillis.toString(16).padStart(12, "0")
    millisText = `${text.slice(0, 8)}-${text.slice(8)}-7`
    // the upper half is left to count
    counter = Number.parseInt(random.slice(0, 3), 16) >>> 1
  } else {
    counter++
  }
  return `${millisText}${counter.toString(16).padStart(3, "0")}${random.slice(18)}`
}

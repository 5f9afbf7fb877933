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

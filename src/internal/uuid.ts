import { Schema, SchemaTransformation } from "effect"
import * as Hex from "effect/encoding/Hex"
import { sha1 } from "./sha1.ts"

/** The only form in which UUIDs are compared and stored: lower case, hyphenated, without braces. */
const canonicalForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

// `typeof` too, because a pattern accepts an array of one string, and a cast can bring in any value.
export const isCanonicalUuid = (text: unknown): boolean =>
  typeof text === "string" && canonicalForm.test(text)

export const CanonicalUuid: Schema.Codec<string> = Schema.String.check(
  Schema.makeFilter(isCanonicalUuid, {
    expected: "a UUID in its lower-case, hyphenated form",
    // Without it, tests would generate arbitrary texts until one happens to be a UUID.
    arbitraryConstraint: { patterns: [{ source: canonicalForm.source, flags: "" }] }
  })
)

/** Accepts upper-case letters and turns them into lower-case ones; refuses any other form. */
export const Uuid: Schema.Codec<string> = Schema.String.pipe(
  Schema.decodeTo(CanonicalUuid, SchemaTransformation.toLowerCase())
)

/** Random bytes, generated in bulk, because generating them for each id takes several times as long. */
const random = new Uint8Array(4096)
let next = random.length

const randomByte = (): number => {
  if (next === random.length) {
    crypto.getRandomValues(random)
    next = 0
  }
  return random[next++] ?? 0
}

const codesOf = (text: string): Array<number> => Array.from(text, (character) => character.charCodeAt(0))

const digits = codesOf("0123456789abcdef")

/** The digit of the lowest four bits. */
const low = (value: number): number => digits[value & 0xf] ?? 0

/** The digit of the four bits above them. */
const high = (value: number): number => low(value >>> 4)

let lastMillis = 0
let counter = 0

/** The characters of the last id. Those of its millisecond are reused. */
const id = codesOf("xxxxxxxx-xxxx-7xxx-xxxx-xxxxxxxxxxxx")

/**
 * A UUID of version 7 (RFC 9562, method 1). In one process each sorts after the one before: 12 bits count within a
 * millisecond, starting from a random number. The last 62 bits are random.
 */
export const uuidV7 = (): string => {
  const now = Date.now()
  if (now > lastMillis || counter === 0xfff) {
    lastMillis = Math.max(now, lastMillis + 1)
    const millis = codesOf(lastMillis.toString(16).padStart(12, "0"))
    for (let at = 0; at < 12; at++) id[at < 8 ? at : at + 1] = millis[at] ?? 0
    // The counter starts in the lower half, so that it can count on within the millisecond.
    counter = ((randomByte() & 0x7) << 8) | randomByte()
  } else {
    counter++
  }
  id[15] = low(counter >>> 8)
  id[16] = high(counter)
  id[17] = low(counter)
  let byte = randomByte()
  // The variant and two random bits.
  id[19] = low(0x8 | (byte >>> 6))
  id[20] = low(byte)
  byte = randomByte()
  id[21] = high(byte)
  id[22] = low(byte)
  for (let at = 24; at < 36; at += 2) {
    byte = randomByte()
    id[at] = high(byte)
    id[at + 1] = low(byte)
  }
  return String.fromCharCode(...id)
}

/** Throws on a text that is not an event id. Only a cast can bring one here. */
export const checkEventId = (ids: Readonly<Record<string, string | undefined>>): void => {
  for (const [name, given] of Object.entries(ids))
    if (given !== undefined && !isCanonicalUuid(given))
      throw new RangeError(`${name} must be a UUID in its lower-case, hyphenated form`)
}

/** The UUID of version 5 (RFC 9562) of a name in a namespace. Throws if the namespace is not a UUID or the name is malformed. */
export const uuidV5 = (namespace: string, name: string): string => {
  const space = namespace.toLowerCase()
  if (!isCanonicalUuid(space))
    throw new TypeError("the namespace must be a UUID: generate one for this purpose and keep it")
  // Halves of surrogate pairs are encoded alike, so different names would have the same id.
  if (/\p{Surrogate}/u.test(name)) throw new TypeError("the name must be well-formed text")
  const bytes = sha1(Uint8Array.from([...bytesOf(space), ...new TextEncoder().encode(name)]))
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x50
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  return hyphenated(bytes)
}

const bytesOf = (uuid: string): ReadonlyArray<number> =>
  (uuid.replaceAll("-", "").match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16))

/** The first 16 bytes as a UUID in canonical form. */
export const hyphenated = (bytes: Uint8Array): string =>
  Hex.encode(bytes.subarray(0, 16)).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")

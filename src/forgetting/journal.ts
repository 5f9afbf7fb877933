/**
 * The lines of a vault's file. Lines are only appended, and the order of the file decides which of two processes was first.
 *
 * The file also has its own length, which is overwritten after each append: so a file that was cut off at the end of a line is not
 * taken for a whole one. It may be less than the length for a moment, or after a kill.
 *
 * A line has the length and a checksum of its text before it, and a wrapped key behind it, which is overwritten when it is destroyed.
 * A write that was cut off leaves a line that is too short, and its writer had no answer: such a line is ignored. Any other damage is
 * an error.
 */
import * as Hex from "effect/encoding/Hex"
import { Option, Schema } from "effect"
import { TenantId } from "../domain/Tenant.ts"
import { sha256 } from "../internal/sha256.ts"

const ofTenant = { tenantId: TenantId }

/** An entry of the file. */
const Entry = Schema.Union([
  /** The beginning of the file. Its wrapped key tells if the root key is the right one. */
  Schema.TaggedStruct("Vault", { format: Schema.Literal(1) }),
  /** In place of a wrapped key it has the length of the file. */
  Schema.TaggedStruct("Length", {}),
  Schema.TaggedStruct("WrappingKey", {
    ...ofTenant,
    keyId: Schema.String,
    follows: Schema.NullOr(Schema.String)
  }),
  Schema.TaggedStruct("DroppedWrappingKeys", { ...ofTenant, keyIds: Schema.Array(Schema.String) }),
  Schema.TaggedStruct("DataKey", {
    ...ofTenant,
    kind: Schema.Literals(["subject", "tenant"]),
    name: Schema.String,
    keyId: Schema.String,
    follows: Schema.NullOr(Schema.String),
    wrappedBy: Schema.String
  }),
  Schema.TaggedStruct("Rewrapped", { ...ofTenant, keyId: Schema.String, wrappedBy: Schema.String }),
  Schema.TaggedStruct("Fence", {
    ...ofTenant,
    subject: Schema.String,
    forgetting: Schema.String,
    forgottenAt: Schema.Int,
    actor: Schema.String,
    reason: Schema.String
  }),
  Schema.TaggedStruct("DestroyedKeys", { ...ofTenant, keyIds: Schema.Array(Schema.String) }),
  Schema.TaggedStruct("Destroyed", { ...ofTenant, forgetting: Schema.String }),
  Schema.TaggedStruct("Allowed", { ...ofTenant, subject: Schema.String, allowedAt: Schema.Int }),
  Schema.TaggedStruct("Erased", ofTenant)
])
export type Entry = typeof Entry.Type

const decodeEntry = Schema.decodeUnknownOption(Schema.fromJsonString(Entry))

/** An entry with the wrapped key of its line, and the bytes of that key in the file. */
export interface Line {
  readonly entry: Entry
  /** Base64Url; empty for an entry without a key, and for a destroyed one. */
  readonly wrapped: string
  readonly start: number
  readonly end: number
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const newline = 0x0a
const sumLength = 16
/** Length of the text in 8 digits, a space, the checksum, a space. */
const headerLength = 8 + 1 + sumLength + 1

const sumOf = (text: string): string => Hex.encode(sha256(encoder.encode(text))).slice(0, sumLength)

/** Stands for the characters of a destroyed key. No character of Base64Url, so that no key looks like a destroyed one. */
export const wiped = "*".charCodeAt(0)

/** The bytes of an entry. They begin a line of their own, even behind a line that was cut off. */
export const lineOf = (entry: Entry, wrapped = ""): Uint8Array => {
  const text = JSON.stringify(entry)
  const rest = `${text}\t${wrapped}`
  const length = encoder.encode(rest).length.toString(16).padStart(8, "0")
  return encoder.encode(`\n${length} ${sumOf(text)} ${rest}\n`)
}

/** A length in place of a wrapped key. It begins with a character that no key has. */
export const lengthText = (bytes: number): string => `#${String(bytes).padStart(16, "0")}`

/** The length in a {@link lengthText}. */
export const lengthIn = (text: string): number => Number.parseInt(text.slice(1), 10)

/** The lines of a part of the file up to its last line feed, and the number of bytes that they take. */
export interface Parsed {
  readonly lines: ReadonlyArray<Line>
  readonly bytes: number
  /** The place of the first damaged line in the file; undefined if there is none. */
  readonly damagedAt: number | undefined
}

/** Reads lines from bytes that stand at `offset` of the file. */
export const parseLines = (bytes: Uint8Array, offset: number): Parsed => {
  const lines: Array<Line> = []
  let from = 0
  for (;;) {
    const end = bytes.indexOf(newline, from)
    if (end < 0) return { lines, bytes: from, damagedAt: undefined }
    const line = bytes.subarray(from, end)
    if (line.length > 0 && !isCutOff(line)) {
      const parsed = parse(line, offset + from)
      if (parsed === undefined) return { lines, bytes: from, damagedAt: offset + from }
      lines.push(parsed)
    }
    from = end + 1
  }
}

const lengthOf = (line: Uint8Array): number => Number.parseInt(decoder.decode(line.subarray(0, 8)), 16)

/** True for a line that is shorter than it says, because its write was cut off. */
const isCutOff = (line: Uint8Array): boolean =>
  line.length < headerLength || lengthOf(line) > line.length - headerLength

const parse = (line: Uint8Array, offset: number): Line | undefined => {
  if (lengthOf(line) !== line.length - headerLength) return undefined
  const rest = decoder.decode(line.subarray(headerLength))
  const tab = rest.lastIndexOf("\t")
  const text = rest.slice(0, tab)
  const sum = decoder.decode(line.subarray(9, 9 + sumLength))
  const entry = tab < 0 || sum !== sumOf(text) ? Option.none() : decodeEntry(text)
  if (Option.isNone(entry)) return undefined
  const wrapped = rest.slice(tab + 1)
  const end = offset + line.length
  return {
    entry: entry.value,
    wrapped: wrapped.startsWith("*") ? "" : wrapped,
    start: end - wrapped.length,
    end
  }
}

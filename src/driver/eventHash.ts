/** The hash chain of a tenant's log: each event's hash covers the event and the hash of its predecessor. */
import * as Hex from "effect/encoding/Hex"
import type { EventRow } from "./EventStorage.ts"
import { sha256 } from "../internal/sha256.ts"

const utf8 = new TextEncoder()

/** Stands in for the predecessor's hash at the first event of a chain. */
export const chainStart: string = "0".repeat(64)

/** The part of an event that its hash covers. */
export type HashedEvent = Omit<EventRow, "hash" | "traceparent">

const isAscii = /^[\0-\x7f]*$/

const byteLength = (text: string): number => (isAscii.test(text) ? text.length : utf8.encode(text).length)

/** A netstring, so that no two events have the same text; a hyphen for null. */
const field = (value: string | number | null): string => {
  if (value === null) return "-"
  const text = typeof value === "number" ? String(value) : value
  return `${byteLength(text)}:${text}`
}

/** The text of an event that is hashed, with its payload as it is stored. `eventsourcing.event_hash` in `migrations/` builds the same text. */
export const canonicalText = (tenantId: string, row: HashedEvent): string => {
  let text =
    field(tenantId) +
    field(row.position) +
    field(row.aggregateType) +
    field(row.aggregateId) +
    field(row.version) +
    field(row.eventId) +
    field(row.eventType) +
    field(row.schemaVersion) +
    field(row.occurredAt) +
    field(row.recordedAt) +
    field(row.actor) +
    field(row.correlationId) +
    field(row.causationId) +
    field(row.metadata) +
    field(row.storedPayload ?? row.payload) +
    field(row.tags.length)
  for (const tag of row.tags) text += field(tag)
  return text
}

/**
 * The hash of an event: SHA-256 of the 32 bytes of its predecessor's hash ({@link chainStart} for the first of a chain) and
 * the event's canonical text in UTF-8. Hashes are 64 lower-case hexadecimal digits.
 */
export const eventHash = (previous: string, tenantId: string, row: HashedEvent): string => {
  const event = utf8.encode(canonicalText(tenantId, row))
  const bytes = new Uint8Array(32 + event.length)
  for (let index = 0; index < 32; index++)
    bytes[index] = Number.parseInt(previous.slice(index * 2, index * 2 + 2), 16)
  bytes.set(event, 32)
  return Hex.encode(sha256(bytes))
}

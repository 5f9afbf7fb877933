/**
 * An event as a line of an archive: one JSON object, whose fields are those of `EventJson.StoredEvent`, so that other tools can read
 * it. Each event has exactly one line, so an archive of an imported log has the same bytes.
 */
import { Result, Schema, SchemaParser } from "effect"
import type { EventRow } from "../driver/EventStorage.ts"
import { describeIssue } from "./archiveFormat.ts"
import { nameProblem, textProblem } from "../internal/json.ts"

/** Times follow one another closely, and formatting one takes as long as the rest of a line. */
let lastSecond = Number.NaN
let secondText = ""

const timeText = (millis: number): string => {
  const second = Math.floor(millis / 1000)
  if (second !== lastSecond) {
    lastSecond = second
    secondText = new Date(second * 1000).toISOString().slice(0, -4)
  }
  const rest = millis - second * 1000
  return `${secondText}${rest < 10 ? "00" : rest < 100 ? "0" : ""}${rest}Z`
}

const noMetadata = "{}"
const metadataKey = ',"metadata":'
const payloadKey = ',"payload":'

/** A stored JSON text with a line break between its tokens becomes a string, because it would end the line. */
const isBroken = (text: string): boolean => text.includes("\n") || text.includes("\r")

/** The line of an event, without the line break. Fields that are null or empty are left out. */
export const encode = (row: EventRow): string => {
  let line = `{"position":${row.position},"eventId":"${row.eventId}","aggregateType":${JSON.stringify(row.aggregateType)},"aggregateId":${JSON.stringify(row.aggregateId)},"version":${row.version},"eventType":${JSON.stringify(row.eventType)},"schemaVersion":${row.schemaVersion},"occurredAt":"${timeText(row.occurredAt)}","recordedAt":"${timeText(row.recordedAt)}"`
  if (row.actor !== null) line += `,"actor":${JSON.stringify(row.actor)}`
  line += `,"correlationId":${JSON.stringify(row.correlationId)}`
  if (row.causationId !== null) line += `,"causationId":${JSON.stringify(row.causationId)}`
  if (row.traceparent !== null) line += `,"traceparent":${JSON.stringify(row.traceparent)}`
  if (row.tags.length > 0) line += `,"tags":${JSON.stringify(row.tags)}`
  if (row.hash !== null) line += `,"hash":"${row.hash}"`
  const { metadata, payload } = row
  const [metadataBroken, payloadBroken] = [isBroken(metadata), isBroken(payload)]
  if (metadataBroken) line += `,"metadataText":${JSON.stringify(metadata)}`
  if (payloadBroken) line += `,"payloadText":${JSON.stringify(payload)}`
  // The stored texts come last, as they are.
  if (metadata !== noMetadata && !metadataBroken) line += metadataKey + metadata
  if (!payloadBroken) line += payloadKey + payload
  return `${line}}`
}

const storable = Schema.makeFilter((text: string) => textProblem(text))
const Text = Schema.String.check(storable)
const Name = Schema.String.check(Schema.makeFilter((text: string) => nameProblem(text)))
const Time = Schema.String.check(
  Schema.isPattern(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
  Schema.makeFilter((text: string) => !Number.isNaN(Date.parse(text)))
)
const maxInteger = 2 ** 31 - 1
const Positive = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: maxInteger }))

/** The members of a line before the stored texts. */
const Head = Schema.Struct({
  position: Schema.Int.check(Schema.isGreaterThan(0)),
  eventId: Schema.String.check(Schema.isPattern(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)),
  aggregateType: Name,
  aggregateId: Name,
  version: Positive,
  eventType: Name,
  schemaVersion: Schema.Int.check(Schema.isBetween({ minimum: -maxInteger, maximum: maxInteger })),
  occurredAt: Time,
  recordedAt: Time,
  actor: Schema.optionalKey(Text),
  correlationId: Text,
  causationId: Schema.optionalKey(Text),
  traceparent: Schema.optionalKey(Text),
  tags: Schema.optionalKey(Schema.Array(Text)),
  hash: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/))),
  metadataText: Schema.optionalKey(Text),
  payloadText: Schema.optionalKey(Text)
})

const readHead = SchemaParser.decodeUnknownResult(Head)

const quote = 34
const backslash = 92

/** The end of the JSON object that begins at a place; -1 if it does not end. */
const objectEnd = (text: string, start: number): number => {
  let depth = 0
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === quote) {
      for (at++; at < text.length && text.charCodeAt(at) !== quote; at++)
        if (text.charCodeAt(at) === backslash) at++
    } else if (code === 123 || code === 91) depth++
    else if ((code === 125 || code === 93) && --depth === 0) return at + 1
  }
  return -1
}

const notJson = Result.fail("is not JSON")

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The places of the stored texts in a line; undefined for those that are strings or left out. */
const placesOf = (
  line: string
): { readonly metadataAt: number | undefined; readonly payloadAt: number | undefined } => {
  // These names cannot occur in the texts before them, because quotes are escaped there.
  const metadataAt = line.indexOf(metadataKey)
  const payloadAt = line.indexOf(payloadKey)
  if (metadataAt < 0 || (payloadAt >= 0 && payloadAt < metadataAt))
    return { metadataAt: undefined, payloadAt: payloadAt < 0 ? undefined : payloadAt }
  // Metadata may have a member "payload".
  const end = objectEnd(line, metadataAt + metadataKey.length)
  return { metadataAt, payloadAt: line.startsWith(payloadKey, end) ? end : undefined }
}

/** The event of a line, or the reason for which the line is not the one of an event. */
export const decode = (line: string): Result.Result<EventRow, string> => {
  const { metadataAt, payloadAt } = placesOf(line)
  const end = line.length - 1
  const read = readHead(parse(`${line.slice(0, metadataAt ?? payloadAt ?? end)}}`))
  if (Result.isFailure(read))
    return Result.fail(`is not the line of an event (${describeIssue(read.failure)})`)
  const head = read.success
  const metadata =
    metadataAt === undefined
      ? (head.metadataText ?? noMetadata)
      : line.slice(metadataAt + metadataKey.length, payloadAt ?? end)
  const payload = payloadAt === undefined ? head.payloadText : line.slice(payloadAt + payloadKey.length, end)
  if (payload === undefined) return Result.fail("has no payload")
  if (parse(payload) === undefined || (metadata !== noMetadata && parse(metadata) === undefined))
    return notJson
  const row: EventRow = {
    position: head.position,
    aggregateType: head.aggregateType,
    aggregateId: head.aggregateId,
    version: head.version,
    eventId: head.eventId,
    eventType: head.eventType,
    schemaVersion: head.schemaVersion,
    occurredAt: Date.parse(head.occurredAt),
    recordedAt: Date.parse(head.recordedAt),
    actor: head.actor ?? null,
    correlationId: head.correlationId,
    causationId: head.causationId ?? null,
    metadata,
    payload,
    tags: head.tags ?? [],
    hash: head.hash ?? null,
    traceparent: head.traceparent ?? null
  }
  return encode(row) === line ? Result.succeed(row) : Result.fail("is not written in the way of the format")
}

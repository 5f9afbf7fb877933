/**
 * An event as a line of an archive: one JSON object, whose fields are those of `EventJson.StoredEvent`, so that other tools can read
 * it. Each event has exactly one line, so an archive of an imported log has the same bytes.
 */
import { Result, Schema, SchemaParser } from "effect"
import type { EventRow } from "../driver/EventStorage.ts"
import { describeIssue } from "./archiveFormat.ts"
import { maxNameLength, nameProblem, textProblem } from "../internal/json.ts"

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

/** A character that JSON writes as it is. */
const plain = String.raw`[^"\\\x00-\x1f\ud800-\udfff]`
const isPlain = new RegExp(`^${plain}*$`)

/** A text between quotes. */
const escaped = (text: string): string => (isPlain.test(text) ? text : JSON.stringify(text).slice(1, -1))

/** The types and the times of the last event with their texts, because successive events often share them. */
const last = {
  aggregateType: "",
  /** From the end of the event's id to the beginning of the aggregate's. */
  ofAggregate: "",
  eventType: "",
  schemaVersion: 0,
  ofEvent: "",
  recordedAt: 0,
  occurredAt: 0,
  /** From the end of the version to that of the times. */
  ofTypeAndTimes: ""
}

const aggregateOf = ({ aggregateType }: EventRow): string => {
  if (last.ofAggregate === "" || aggregateType !== last.aggregateType) {
    last.ofAggregate = `","aggregateType":"${escaped(aggregateType)}","aggregateId":"`
    last.aggregateType = aggregateType
  }
  return last.ofAggregate
}

const typeAndTimesOf = ({ eventType, occurredAt, recordedAt, schemaVersion }: EventRow): string => {
  const sameType = last.ofEvent !== "" && eventType === last.eventType && schemaVersion === last.schemaVersion
  if (sameType && occurredAt === last.occurredAt && recordedAt === last.recordedAt) return last.ofTypeAndTimes
  if (!sameType) {
    last.ofEvent = `,"eventType":"${escaped(eventType)}","schemaVersion":${schemaVersion},"occurredAt":"`
    last.eventType = eventType
    last.schemaVersion = schemaVersion
  }
  last.ofTypeAndTimes = `${last.ofEvent}${timeText(occurredAt)}","recordedAt":"${timeText(recordedAt)}"`
  last.occurredAt = occurredAt
  last.recordedAt = recordedAt
  return last.ofTypeAndTimes
}

/**
 * The line of an event, without the line break. Fields that are null or empty are left out. It is made of few pieces, because a text
 * of many is slow to encode.
 */
export const encode = (row: EventRow): string => {
  let line = `{"position":${row.position},"eventId":"${row.eventId}${aggregateOf(row)}${escaped(row.aggregateId)}","version":${row.version}${typeAndTimesOf(row)}`
  if (row.actor !== null) line += `,"actor":"${escaped(row.actor)}"`
  line += `,"correlationId":"${escaped(row.correlationId)}`
  if (row.causationId !== null) line += `","causationId":"${escaped(row.causationId)}`
  if (row.traceparent !== null) line += `","traceparent":"${escaped(row.traceparent)}`
  const { metadata, payload, tags } = row
  const isUsual = metadata === noMetadata && tags.length === 0 && row.hash === null && !isBroken(payload)
  if (isUsual) return `${line}","payload":${payload}}`
  line += '"'
  if (tags.length > 0) line += `,"tags":${JSON.stringify(tags)}`
  if (row.hash !== null) line += `,"hash":"${row.hash}"`
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

const time = String.raw`"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"`

/** The usual line up to the stored texts: no text needs an escape, and no integer is large. */
const usualHead = new RegExp(
  [
    String.raw`^\{"position":([1-9]\d{0,14})`,
    String.raw`"eventId":"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"`,
    `"aggregateType":"(${plain}+)"`,
    `"aggregateId":"(${plain}+)"`,
    String.raw`"version":([1-9]\d{0,8})`,
    `"eventType":"(${plain}+)"`,
    String.raw`"schemaVersion":(0|-?[1-9]\d{0,8})`,
    `"occurredAt":${time}`,
    `"recordedAt":${time}(?:,"actor":"(${plain}*)")?`,
    `"correlationId":"(${plain}*)"(?:,"causationId":"(${plain}*)")?(?:,"traceparent":"(${plain}*)")?` +
      String.raw`(?:,"tags":(\["${plain}*"(?:,"${plain}*")*\]))?(?:,"hash":"([0-9a-f]{64})")?`
  ].join(",")
)

/** The last second whose text was read. */
let readSecond = ""
let readMillis = Number.NaN

/** The milliseconds of a time; undefined if it does not exist. */
const millisOf = (text: string): number | undefined => {
  const second = text.slice(0, 20)
  if (second !== readSecond) {
    const millis = Date.parse(`${second}000Z`)
    if (Number.isNaN(millis) || timeText(millis) !== `${second}000Z`) return undefined
    readSecond = second
    readMillis = millis
  }
  return readMillis + Number(text.slice(20, 23))
}

const noTags: ReadonlyArray<string> = Object.freeze([])

/**
 * Fast path: the event of a usual line, whose spelling the pattern fixes, so that it need not be written again to be compared.
 * Declines every other line.
 */
const decodeUsual = (line: string): EventRow | undefined => {
  const found = usualHead.exec(line)
  if (found === null || !line.endsWith("}")) return undefined
  const [
    head,
    position,
    eventId = "",
    aggregateType = "",
    aggregateId = "",
    version,
    eventType = "",
    schemaVersion,
    occurred = "",
    recorded = "",
    actor,
    correlationId = "",
    causationId,
    traceparent,
    tags,
    hash
  ] = found
  if (
    aggregateType.length > maxNameLength ||
    aggregateId.length > maxNameLength ||
    eventType.length > maxNameLength
  )
    return undefined
  const occurredAt = millisOf(occurred)
  const recordedAt = millisOf(recorded)
  if (occurredAt === undefined || recordedAt === undefined) return undefined
  let at = head.length
  let metadata = noMetadata
  if (line.startsWith(metadataKey, at)) {
    const end = objectEnd(line, at + metadataKey.length)
    if (end < 0) return undefined
    metadata = line.slice(at + metadataKey.length, end)
    if (metadata === noMetadata || parse(metadata) === undefined) return undefined
    at = end
  }
  if (!line.startsWith(payloadKey, at)) return undefined
  const payload = line.slice(at + payloadKey.length, -1)
  if (isBroken(metadata) || isBroken(payload) || parse(payload) === undefined) return undefined
  return {
    position: Number(position),
    aggregateType,
    aggregateId,
    version: Number(version),
    eventId,
    eventType,
    schemaVersion: Number(schemaVersion),
    occurredAt,
    recordedAt,
    actor: actor ?? null,
    correlationId,
    causationId: causationId ?? null,
    metadata,
    payload,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the pattern allows only texts
    tags: tags === undefined ? noTags : (JSON.parse(tags) as ReadonlyArray<string>),
    hash: hash ?? null,
    traceparent: traceparent ?? null
  }
}

/** The event of a line, or the reason for which the line is not the one of an event. */
export const decode = (line: string): Result.Result<EventRow, string> => {
  const usual = decodeUsual(line)
  return usual === undefined ? decodeAny(line) : Result.succeed(usual)
}

const decodeAny = (line: string): Result.Result<EventRow, string> => {
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
    tags: head.tags ?? noTags,
    hash: head.hash ?? null,
    traceparent: head.traceparent ?? null
  }
  return encode(row) === line ? Result.succeed(row) : Result.fail("is not written in the way of the format")
}

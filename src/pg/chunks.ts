/** Pages of events in chunks: rows with the fields of several events as columns. See `migrations/read/event_chunk.sql`. */
import type {
  Direction,
  EventContent,
  EventPlace,
  EventRow,
  LoadStreamRequest,
  Page,
  StreamPage
} from "../driver/EventStorage.ts"

type Sparse = readonly [values: ReadonlyArray<string> | null, positions: ReadonlyArray<number> | null]

/** The columns of {@link readLogSql}, {@link readStreamSql} and {@link streamLogSql}. Those of events are null if there are none. */
export type EventChunk = readonly [
  events: number,
  complete: boolean,
  positions: ReadonlyArray<number> | null,
  aggregateTypes: string | null,
  aggregateIds: string | null,
  versions: ReadonlyArray<number> | null,
  eventIds: string | null,
  eventTypes: string | null,
  schemaVersions: ReadonlyArray<number> | null,
  occurredAt: Uint8Array | null,
  recordedAt: Uint8Array | null,
  correlationIds: string | null,
  payloads: string | null,
  ...actors: Sparse,
  ...causationIds: Sparse,
  ...metadata: Sparse,
  ...tags: Sparse,
  ...hashes: Sparse,
  ...traceparents: Sparse
]

const columns =
  "events, complete, positions, aggregate_types, aggregate_ids, versions, event_ids, event_types, schema_versions, " +
  "occurred_at, recorded_at, correlation_ids, payloads, actors, actors_at, causation_ids, causation_ids_at, " +
  "metadata, metadata_at, tags, tags_at, hashes, hashes_at, traceparents, traceparents_at"

export const readLogSql: string =
  `select ${columns} from eventsourcing.read_log($1::pg_catalog.uuid, $2::bigint, $3::bigint, $4::pg_catalog.timestamptz, $5::pg_catalog.timestamptz, ` +
  "$6::pg_catalog.text[], $7::pg_catalog.text[], $8::pg_catalog.jsonb, $9::boolean, $10::integer, $11::bigint)"

/** For the administration of a tenant, in any state. */
export const readRawLogSql: string = `select ${columns} from eventsourcing.read_raw_log($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::bigint, $4::bigint, $5::integer, $6::bigint)`

/** The same without large events, in less time. */
export const streamRawLogSql: string = `select ${columns} from eventsourcing.stream_raw_log($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::bigint, $4::bigint, $5::bigint)`

/** The columns are those of an {@link EventChunk}. */
export const streamLogSql: string = `select ${columns} from eventsourcing.stream_log($1::pg_catalog.uuid, $2::bigint, $3::bigint, $4::pg_catalog.text[], $5::pg_catalog.text[])`

export const readStreamSql: string =
  `select ${columns} from eventsourcing.read_stream($1::pg_catalog.uuid, $2::pg_catalog.text, $3::pg_catalog.text, $4::integer, $5::integer, ` +
  "$6::boolean, $7::integer, $8::bigint)"

/** The columns of {@link loadStreamsSql}. Those of events are null if there are none. */
export type StreamChunk = readonly [
  request: number,
  events: number,
  complete: boolean,
  firstVersion: number | null,
  lastPosition: number | null,
  eventIds: Uint8Array | null,
  lastRecordedAt: Uint8Array | null,
  eventTypes: string | null,
  schemaVersions: ReadonlyArray<number> | null,
  payloads: string | null
]

export const loadStreamsSql: string =
  "select request, events, complete, versions[1], positions[1], raw_event_ids, recorded_at, event_types, schema_versions, payloads " +
  "from eventsourcing.load_streams($1::pg_catalog.text[], $2::pg_catalog.text[], $3::pg_catalog.text[], $4::integer[], $5::integer[], $6::integer[], $7::bigint)"

/** The separator of the texts of a column. */
const separator = "\u001f"

/** The texts of a column; undefined if one of them contains the separator. A chunk of one event has its plain text. */
const split = (column: string, events: number): ReadonlyArray<string> | undefined => {
  if (events === 1) return [column]
  const texts = column.split(separator)
  return texts.length === events ? texts : undefined
}

const uuidLength = 36
const noTags: ReadonlyArray<string> = Object.freeze([])

/** A row of a chunk, until it is handed out. */
type RowOfChunk = { -readonly [Field in keyof EventRow]: EventRow[Field] }

/** Fills in a column that contains only some events. */
const fillIn = (
  rows: ReadonlyArray<RowOfChunk>,
  [values, positions]: Sparse,
  set: (row: RowOfChunk, value: string) => void
): void => {
  if (values === null || positions === null) return
  let next = 0
  for (const row of rows) {
    if (positions[next] !== row.position) continue
    const value = values[next++]
    if (value !== undefined) set(row, value)
  }
}

/** Midnight of 2000-01-01, from which PostgreSQL counts microseconds. */
const epoch = 946_684_800_000

/** The upper half of 2^53. */
const exactHigh = 2 ** 21

/** Converts binary times to milliseconds since 1970. */
const times = ({ buffer, byteLength, byteOffset }: Uint8Array): ((index: number) => number) => {
  const view = new DataView(buffer, byteOffset, byteLength)
  return (index) => {
    const high = view.getInt32(index * 8)
    // from the year 2285 on they exceed the precision of a double
    if (high < -exactHigh || high >= exactHigh) return Number(view.getBigInt64(index * 8) / 1000n) + epoch
    const micros = high * 2 ** 32 + view.getUint32(index * 8 + 4)
    return (micros - (micros % 1000)) / 1000 + epoch
  }
}

/** The stream of the read, if the chunks do not contain it. */
type Stream = Pick<EventRow, "aggregateType" | "aggregateId">

const noTexts: ReadonlyArray<string> = []

/** The events of a chunk, ascending. Undefined if a text contains the separator of its column. */
const rowsOf = (chunk: EventChunk, stream: Stream | undefined): ReadonlyArray<EventRow> | undefined => {
  const [events, , positions, , , versions, eventIds, , schemaVersions, occurred, recorded] = chunk
  if (positions === null || versions === null || eventIds === null || schemaVersions === null) return []
  if (occurred === null || recorded === null) return []
  const texts = (column: string | null) => split(column ?? "", events)
  const aggregateTypes = stream === undefined ? texts(chunk[3]) : noTexts
  const aggregateIds = stream === undefined ? texts(chunk[4]) : noTexts
  const [eventTypes, correlationIds, payloads] = [texts(chunk[7]), texts(chunk[11]), texts(chunk[12])]
  if (aggregateTypes === undefined || aggregateIds === undefined) return undefined
  if (eventTypes === undefined || correlationIds === undefined || payloads === undefined) return undefined
  const [occurredAt, recordedAt] = [times(occurred), times(recorded)]
  const rows: Array<RowOfChunk> = []
  // The same types in succession are the same text, because comparing others and finding them in maps takes longer.
  let aggregateType = stream?.aggregateType ?? ""
  let eventType = ""
  for (let index = 0; index < events; index++) {
    const type = aggregateTypes[index]
    if (type !== undefined && type !== aggregateType) aggregateType = type
    const ofEvent = eventTypes[index]
    if (ofEvent !== undefined && ofEvent !== eventType) eventType = ofEvent
    rows.push({
      position: positions[index] ?? 0,
      aggregateType,
      aggregateId: stream?.aggregateId ?? aggregateIds[index] ?? "",
      version: versions[index] ?? 0,
      eventId: eventIds.slice(index * uuidLength, (index + 1) * uuidLength),
      eventType,
      schemaVersion: schemaVersions[index] ?? 0,
      occurredAt: occurredAt(index),
      recordedAt: recordedAt(index),
      actor: null,
      correlationId: correlationIds[index] ?? "",
      causationId: null,
      metadata: "{}",
      payload: payloads[index] ?? "",
      tags: noTags,
      hash: null,
      traceparent: null
    })
  }
  fillIn(rows, [chunk[13], chunk[14]], (row, actor) => (row.actor = actor))
  fillIn(rows, [chunk[15], chunk[16]], (row, causationId) => (row.causationId = causationId))
  fillIn(rows, [chunk[17], chunk[18]], (row, metadata) => (row.metadata = metadata))
  fillIn(rows, [chunk[19], chunk[20]], (row, tags) => {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the server writes an array of texts
    row.tags = JSON.parse(tags) as ReadonlyArray<string>
  })
  fillIn(rows, [chunk[21], chunk[22]], (row, hash) => (row.hash = hash))
  fillIn(rows, [chunk[23], chunk[24]], (row, traceparent) => (row.traceparent = traceparent))
  return rows
}

/** The first and the last position of a chunk. Undefined without events. */
export const rangeOf = ([, , positions]: EventChunk):
  | { readonly first: number; readonly last: number }
  | undefined => {
  const [first, last] = [positions?.[0], positions?.at(-1)]
  return first === undefined || last === undefined ? undefined : { first, last }
}

/** The events of a chunk of {@link streamLogSql}. Undefined if one of them is too large or a text contains the separator. */
export const streamed = (chunk: EventChunk): ReadonlyArray<EventRow> | undefined =>
  chunk[12] === null ? undefined : rowsOf(chunk, undefined)

/**
 * A page from {@link streamRawLogSql}, read up to one event more than the limit. It ends before a chunk that must be read in another
 * way; undefined if that is the first one.
 */
export const rawPage = (found: ReadonlyArray<EventChunk>, limit: number): Page<EventRow> | undefined => {
  const rows: Array<EventRow> = []
  for (const chunk of found) {
    const some = chunk[0] === 0 ? undefined : streamed(chunk)
    if (some === undefined)
      return rows.length === 0 ? undefined : { rows: rows.slice(0, limit), complete: false }
    for (const row of some) rows.push(row)
  }
  return rows.length > limit ? { rows: rows.slice(0, limit), complete: false } : { rows, complete: true }
}

/**
 * A page from a read of one event more than the limit. It ends before a chunk with a text that contains the separator; undefined if
 * that is the first chunk, whose events must then be read one by one.
 */
export const eventPage = (
  chunks: ReadonlyArray<EventChunk>,
  { direction, limit }: { readonly direction: Direction; readonly limit: number },
  stream?: Stream
): Page<EventRow> | undefined => {
  const rows: Array<EventRow> = []
  let complete = true
  for (const chunk of chunks) {
    const found = rowsOf(chunk, stream)
    if (found === undefined) {
      if (rows.length === 0) return undefined
      complete = false
      break
    }
    complete = chunk[1]
    for (const row of direction === "forwards" ? found : found.toReversed()) rows.push(row)
  }
  return rows.length > limit ? { rows: rows.slice(0, limit), complete: false } : { rows, complete }
}

const hexadecimal = Uint8Array.from("0123456789abcdef", (digit) => digit.charCodeAt(0))
const hyphen = 0x2d

/** Binary ids of events as text, without a separator: one text for all, because parts of a flat text are cheap to look up. */
const idTexts = (ids: Uint8Array): string => {
  const texts = Buffer.allocUnsafe((ids.length / 16) * uuidLength)
  let at = 0
  for (let byte = 0; byte < ids.length; byte++) {
    const place = byte & 15
    if (place === 4 || place === 6 || place === 8 || place === 10) texts[at++] = hyphen
    const value = ids[byte] ?? 0
    texts[at++] = hexadecimal[value >> 4] ?? 0
    texts[at++] = hexadecimal[value & 15] ?? 0
  }
  return texts.toString("latin1")
}

/**
 * The page of a stream from its chunks. Undefined if an event type contains the separator; then the events must be loaded one by
 * one.
 */
export const streamPage = (
  chunks: ReadonlyArray<StreamChunk>,
  { eventIds = false }: Pick<LoadStreamRequest, "eventIds">
): StreamPage | undefined => {
  const rows: Array<EventContent> = []
  let complete = true
  let firstEventId: string | undefined
  let last: EventPlace | undefined
  for (const chunk of chunks) {
    const [, events, isComplete, firstVersion, position, ids, recordedAt, types, schemaVersions, texts] =
      chunk
    complete = isComplete
    if (firstVersion === null || position === null || ids === null || recordedAt === null) break
    const eventTypes = types === null ? undefined : split(types, events)
    const payloads = texts === null ? undefined : split(texts, events)
    if (eventTypes === undefined || payloads === undefined || schemaVersions === null) return undefined
    const idsOfRows = eventIds ? idTexts(ids) : ""
    // The same types in succession are the same text, because finding others in maps takes longer.
    let eventType = ""
    for (let index = 0; index < events; index++) {
      const ofEvent = eventTypes[index]
      if (ofEvent !== undefined && ofEvent !== eventType) eventType = ofEvent
      const version = firstVersion + index
      const schemaVersion = schemaVersions[index] ?? 0
      const payload = payloads[index] ?? ""
      if (eventIds) {
        const eventId = idsOfRows.slice(index * uuidLength, (index + 1) * uuidLength)
        rows.push({ version, eventType, schemaVersion, payload, eventId })
      } else rows.push({ version, eventType, schemaVersion, payload })
    }
    firstEventId ??= idTexts(ids.subarray(0, 16))
    last = {
      version: firstVersion + events - 1,
      position,
      eventId: idTexts(ids.subarray((events - 1) * 16)),
      recordedAt: times(recordedAt)(0)
    }
  }
  return { rows, complete, firstEventId, last }
}

/** Pages of events that come in chunks, each a row with its events as columns: see `migrations/read/event_chunk.sql`. */
import type { EventContent, EventPlace, EventRow, Page, StreamPage } from "../driver/EventStorage.ts"

type Sparse = readonly [values: ReadonlyArray<string> | null, positions: ReadonlyArray<number> | null]

/** The columns of {@link readLogColumnsSql}. */
export type LogChunk = readonly [
  beyond: boolean,
  events: number,
  firstPosition: number,
  positions: ReadonlyArray<number> | null,
  aggregateTypes: ReadonlyArray<string>,
  aggregateIds: string,
  versions: ReadonlyArray<number>,
  eventIds: string,
  eventTypes: string,
  schemaVersions: ReadonlyArray<number>,
  occurredAt: Uint8Array,
  recordedAt: Uint8Array,
  correlationIds: string,
  payloads: ReadonlyArray<string | null>,
  ...actors: Sparse,
  ...causationIds: Sparse,
  ...metadata: Sparse,
  ...tags: Sparse,
  ...hashes: Sparse
]

export const readLogColumnsSql: string =
  "select beyond, events, first_position, positions, aggregate_types, aggregate_ids, versions, event_ids, event_types, " +
  "schema_versions, occurred_at, recorded_at, correlation_ids, payloads, actors, actors_at, causation_ids, " +
  "causation_ids_at, metadata, metadata_at, tags, tags_at, hashes, hashes_at " +
  "from eventsourcing.read_log_columns($1::uuid, $2::bigint, $3::bigint, $4::text[], $5::text[], $6::integer, $7::bigint)"

/** The columns of {@link loadStreamsSql}: those of events are null if there are none. */
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
  "from eventsourcing.load_streams($1::text[], $2::text[], $3::text[], $4::integer[], $5::integer[], $6::integer[], $7::bigint)"

const uuidLength = 36
const noTags: ReadonlyArray<string> = Object.freeze([])

/** A column that may have one element for all. */
const at = <A>(column: ReadonlyArray<A>): ((index: number) => A | undefined) => {
  const [only] = column
  return column.length === 1 ? () => only : (index) => column[index]
}

/** A column without its NULLs, gone through in order. */
const sparse = (
  values: ReadonlyArray<string> | null,
  positions: ReadonlyArray<number> | null
): ((position: number) => string | undefined) => {
  if (values === null || positions === null) return () => undefined
  let next = 0
  return (position) => (positions[next] === position ? values[next++] : undefined)
}

/** Midnight of 2000-01-01, from which PostgreSQL counts microseconds. */
const epoch = 946_684_800_000

/** The upper half of 2^53. */
const exactHigh = 2 ** 21

/** Times as they are sent, in milliseconds since 1970. */
const times = ({ buffer, byteLength, byteOffset }: Uint8Array): ((index: number) => number) => {
  const view = new DataView(buffer, byteOffset, byteLength)
  return (index) => {
    const high = view.getInt32(index * 8)
    // from the year 2285 on they are more than a double can tell apart
    if (high < -exactHigh || high >= exactHigh) return Number(view.getBigInt64(index * 8) / 1000n) + epoch
    const micros = high * 2 ** 32 + view.getUint32(index * 8 + 4)
    return (micros - (micros % 1000)) / 1000 + epoch
  }
}

/**
 * The events of a chunk, up to the first whose payload is too large for one. Undefined: a text contains what joins the
 * texts of its column.
 */
const logRows = (chunk: LogChunk): ReadonlyArray<EventRow> | undefined => {
  const [, events, firstPosition, positions] = chunk
  const aggregateType = at(chunk[4])
  const aggregateIds = chunk[5].split("\n")
  const versions = chunk[6]
  const eventIds = chunk[7]
  const eventTypes = chunk[8].split("\n")
  const schemaVersion = at(chunk[9])
  const occurredAt = times(chunk[10])
  const recordedAt = times(chunk[11])
  const correlationIds = chunk[12].split("\n")
  const payloads = chunk[13]
  const actor = sparse(chunk[14], chunk[15])
  const causationId = sparse(chunk[16], chunk[17])
  const metadata = sparse(chunk[18], chunk[19])
  const tags = sparse(chunk[20], chunk[21])
  const hash = sparse(chunk[22], chunk[23])
  if (aggregateIds.length !== events || eventTypes.length !== events || correlationIds.length !== events)
    return undefined
  const rows: Array<EventRow> = []
  for (let index = 0; index < events; index++) {
    const payload = payloads[index]
    if (payload === null || payload === undefined) break
    const position = positions?.[index] ?? firstPosition + index
    const tagged = tags(position)
    rows.push({
      position,
      aggregateType: aggregateType(index) ?? "",
      aggregateId: aggregateIds[index] ?? "",
      version: versions[index] ?? 0,
      eventId: eventIds.slice(index * uuidLength, (index + 1) * uuidLength),
      eventType: eventTypes[index] ?? "",
      schemaVersion: schemaVersion(index) ?? 0,
      occurredAt: occurredAt(index),
      recordedAt: recordedAt(index),
      actor: actor(position) ?? null,
      correlationId: correlationIds[index] ?? "",
      causationId: causationId(position) ?? null,
      metadata: metadata(position) ?? "{}",
      payload,
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the server makes it of an array of texts
      tags: tagged === undefined ? noTags : (JSON.parse(tagged) as ReadonlyArray<string>),
      hash: hash(position) ?? null
    })
  }
  return rows
}

/**
 * A page of a log, which was read with one event more than the limit. Undefined if it does not begin with an event that
 * chunks can carry: rows can.
 */
export const logPage = (chunks: ReadonlyArray<LogChunk>, limit: number): Page<EventRow> | undefined => {
  const rows: Array<EventRow> = []
  for (const chunk of chunks) {
    const [beyond, events] = chunk
    if (beyond) return { rows, complete: false }
    const some = logRows(chunk)
    for (const row of some ?? []) rows.push(row)
    if (some?.length === events) continue
    return rows.length === 0 ? undefined : { rows: rows.slice(0, limit), complete: false }
  }
  return rows.length > limit ? { rows: rows.slice(0, limit), complete: false } : { rows, complete: true }
}

/** What joins the texts of a column. */
const separator = "\u001f"

/** The texts of a column; undefined if one of them contains what joins them. A chunk of one event has its text as it is. */
const split = (column: string, events: number): ReadonlyArray<string> | undefined => {
  if (events === 1) return [column]
  const texts = column.split(separator)
  return texts.length === events ? texts : undefined
}

const hexadecimal = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

/** The id of an event, of the ids as they are sent. */
const eventIdAt = (ids: Uint8Array, index: number): string => {
  let id = ""
  for (let byte = 0; byte < 16; byte++) {
    if (byte === 4 || byte === 6 || byte === 8 || byte === 10) id += "-"
    id += hexadecimal[ids[index * 16 + byte] ?? 0] ?? ""
  }
  return id
}

/**
 * The page of a stream that its chunks make. Undefined if an event type contains what joins them: then the events are to be
 * loaded one by one.
 */
export const streamPage = (chunks: ReadonlyArray<StreamChunk>): StreamPage | undefined => {
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
    for (let index = 0; index < events; index++) {
      rows.push({
        version: firstVersion + index,
        eventType: eventTypes[index] ?? "",
        schemaVersion: schemaVersions[index] ?? 0,
        payload: payloads[index] ?? ""
      })
    }
    firstEventId ??= eventIdAt(ids, 0)
    last = {
      version: firstVersion + events - 1,
      position,
      eventId: eventIdAt(ids, events - 1),
      recordedAt: times(recordedAt)(0)
    }
  }
  return { rows, complete, firstEventId, last }
}

/** Pages of events that come in chunks, each a row with its events as columns: see `migrations/0014_reading.sql`. */
import type { EventContent, EventRow, Page } from "../driver/EventStorage.ts"

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

/** The columns of {@link readStreamContentsSql}. */
export type ContentsChunk = readonly [
  firstVersion: number,
  eventTypes: ReadonlyArray<string>,
  schemaVersions: ReadonlyArray<number>,
  payloads: ReadonlyArray<string | null>,
  complete: boolean
]

export const readStreamContentsSql: string =
  "select first_version, event_types, schema_versions, payloads, complete " +
  "from eventsourcing.read_stream_contents($1::uuid, $2::text, $3::text, $4::integer, $5::integer, $6::integer, $7::bigint)"

/** The columns of {@link readStreamsContentsSql}. */
export type StreamContents =
  | readonly [request: number, ...ContentsChunk]
  | readonly [
      request: number,
      firstVersion: null,
      eventTypes: null,
      schemaVersions: null,
      payloads: null,
      complete: boolean
    ]

export const readStreamsContentsSql: string =
  "select request, first_version, event_types, schema_versions, payloads, complete " +
  "from eventsourcing.read_streams_contents($1::text[], $2::text[], $3::text[], $4::integer[], $5::integer[], " +
  "$6::integer[], $7::bigint)"

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

/** What is to be folded. Undefined as for {@link logPage}. */
export const contentsPage = (chunks: ReadonlyArray<ContentsChunk>): Page<EventContent> | undefined => {
  const rows: Array<EventContent> = []
  for (const [firstVersion, eventTypes, schemaVersions, payloads] of chunks) {
    const eventType = at(eventTypes)
    const schemaVersion = at(schemaVersions)
    for (let index = 0; index < payloads.length; index++) {
      const payload = payloads[index]
      if (payload === null || payload === undefined)
        return rows.length === 0 ? undefined : { rows, complete: false }
      rows.push({
        version: firstVersion + index,
        eventType: eventType(index) ?? "",
        schemaVersion: schemaVersion(index) ?? 0,
        payload
      })
    }
  }
  return { rows, complete: chunks.at(-1)?.[4] ?? true }
}

/** What is to be folded of one of several streams. Undefined as for {@link logPage}. */
export const streamContentsPage = (row: StreamContents): Page<EventContent> | undefined => {
  const [, firstVersion, eventTypes, schemaVersions, payloads, complete] = row
  return firstVersion === null
    ? { rows: [], complete }
    : contentsPage([[firstVersion, eventTypes, schemaVersions, payloads, complete]])
}

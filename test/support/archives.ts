/** Archives that tests make, and change as an attacker would. */
import { Effect, Stream } from "effect"
import { eventHash, chainStart } from "../../src/driver/eventHash.ts"
import type { EventRow } from "../../src/driver/EventStorage.ts"
import type { TenantId } from "../../src/domain/Tenant.ts"
import { hasEnvelopes } from "../../src/forgetting/carriedSeals.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import * as format from "../../src/lifecycle/archiveFormat.ts"
import type { CompressionUnavailable } from "../../src/lifecycle/compression.ts"
import * as eventLine from "../../src/lifecycle/eventLine.ts"
import { linesOf, Sealer } from "../../src/lifecycle/segments.ts"
import { TypeCounter } from "../../src/lifecycle/verification.ts"

export type Files = ReadonlyArray<format.ArchiveFile>

const utf8 = new TextEncoder()
const text = new TextDecoder()

/** Payloads and metadata whose text another program would write otherwise. */
const oddTexts: ReadonlyArray<string> = [
  '{"_tag":"Happened"}',
  "{}",
  "{ }",
  '{\n  "pretty": true,\r\n\t"printed": [1,\n2]\n}',
  '{"n":1.0,"e":1e400,"long":0.1000000000000000055511151231257827,"big":9007199254740993,"minus":-0}',
  '{"twice":1,"twice":2}',
  '{"payload":{"payload":"}"},"metadata":{"a":"\\"}{[,\\\\"},"text":",\\"payload\\":"}',
  '{"unicode":"é 🦊 \u2028\u2029 \\u00e9 \\ud83e\\udd8a","nul":"\\u0000","key\u00a0":null}',
  '"a string"',
  "[1,[2,[3,[]]]]",
  "null",
  `{"long":"${"x🦊".repeat(10_000)}"}`
]

/** Rows of a log with odd values: 30 of three streams, with a hash chain from position 11 on. */
export const oddRows = (tenantId: TenantId, count = 30, chainedFrom = 11): ReadonlyArray<EventRow> => {
  const rows: Array<EventRow> = []
  for (let position = 1; position <= count; position++) {
    const stream = position % 3
    const row: EventRow = {
      position,
      eventId: `0190c5a0-0000-7000-8000-${String(position).padStart(12, "0")}`,
      aggregateType: stream === 0 ? "Case" : 'Typ "ä" \\',
      aggregateId: `id ${stream} 🦊`,
      version: Math.ceil(position / 3),
      eventType: position % 2 === 0 ? "Happened" : "Changed\tonce",
      schemaVersion: (position % 4) + 1,
      occurredAt: Date.parse(position % 5 === 0 ? "0001-01-01T00:00:00.001Z" : "2024-02-29T23:59:59.999Z"),
      recordedAt: Date.parse("2024-03-01T00:00:00.000Z") + position * 7,
      actor: position % 2 === 0 ? null : 'some "body"',
      correlationId: `correlation ${position}`,
      causationId: position % 3 === 0 ? null : "cause",
      metadata: (position % 2 === 0 ? "{}" : oddTexts[position % oddTexts.length]) ?? "{}",
      payload: oddTexts[position % oddTexts.length] ?? "{}",
      tags:
        position % 4 === 0
          ? Array.from({ length: 32 }, (_, tag) => `tag ${String(tag).padStart(2, "0")} "`)
          : [],
      hash: null,
      traceparent: position % 6 === 0 ? "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" : null
    }
    const objectOnly = row.metadata.startsWith("{") ? row : { ...row, metadata: "{}" }
    const previous = position === chainedFrom ? chainStart : (rows.at(-1)?.hash ?? chainStart)
    rows.push(
      position < chainedFrom ? objectOnly : { ...objectOnly, hash: eventHash(previous, tenantId, objectOnly) }
    )
  }
  return rows
}

/** The other parts of an archive, as lines. */
export type Others = Partial<
  Record<"keys" | "command-keys" | "progress" | "dead-letters" | "subjects", ReadonlyArray<string>>
>

/** The files of an archive whose segments have the given rows. */
export const archiveOf = Effect.fnUntraced(function* (
  segments: ReadonlyArray<ReadonlyArray<EventRow>>,
  {
    forgotten = 0,
    others = {},
    ...fields
  }: Partial<format.Header> & { readonly others?: Others; readonly forgotten?: number } = {}
): Effect.fn.Return<Files, CompressionUnavailable> {
  const rows = segments.flat()
  const last = rows.at(-1)
  const header: format.Header = {
    format: format.formatName,
    formatVersion: format.formatVersion,
    library: format.libraryVersion,
    archiveId: newTenant(),
    tenantId: newTenant(),
    status: "active",
    exportedAt: "2024-03-01T00:00:00.000Z",
    compression: null,
    chainedFrom: rows.find(({ hash }) => hash !== null)?.position ?? null,
    head: last === undefined ? null : { position: last.position, eventId: last.eventId, hash: last.hash },
    sealed: rows.some(({ payload }) => hasEnvelopes(payload)),
    keys: null,
    ...fields
  }
  const sealer = new Sealer(header.compression)
  const files: Array<format.ArchiveFile> = [{ name: format.headerName, bytes: json(header) }]
  const add = function* (part: format.Part, lines: ReadonlyArray<string>) {
    if (lines.length > 0) files.push(yield* sealer.seal(part, linesOf(lines, String)))
  }
  yield* add("keys", others.keys ?? [])
  for (const segment of segments) yield* add("events", segment.map(eventLine.encode))
  for (const part of ["command-keys", "progress", "dead-letters", "subjects"] as const)
    yield* add(part, others[part] ?? [])
  const types = new TypeCounter()
  for (const row of rows) types.add(row)
  const manifest: format.Manifest = {
    ...header,
    events: rows.length,
    types: types.counts,
    sealedEvents: rows.filter(({ payload }) => hasEnvelopes(payload)).length,
    forgotten,
    segments: sealer.segments
  }
  return [...files, { name: format.manifestName, bytes: json(manifest) }]
})

export const json = (value: unknown): Uint8Array => utf8.encode(`${JSON.stringify(value)}\n`)

export const textOf = ({ bytes }: format.ArchiveFile): string => text.decode(bytes)

/** The files with some of them changed. */
export const changing = (
  files: Files,
  changes: Readonly<Record<string, (file: format.ArchiveFile) => ReadonlyArray<format.ArchiveFile>>>
): Files => files.flatMap((file) => changes[file.name]?.(file) ?? [file])

/** A file with another text. */
export const withText =
  (change: (before: string) => string) =>
  (file: format.ArchiveFile): Files => [{ ...file, bytes: utf8.encode(change(textOf(file))) }]

/** A JSON file with other members. */
export const withMembers =
  (members: Readonly<Record<string, unknown>>): ((file: format.ArchiveFile) => Files) =>
  (file) => [{ ...file, bytes: json({ ...(JSON.parse(textOf(file)) as object), ...members }) }]

export const stream = (files: Files): Stream.Stream<format.ArchiveFile> => Stream.fromIterable(files)

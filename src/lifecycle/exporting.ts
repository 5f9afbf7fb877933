/** Exports a tenant: reads its log and what belongs to it, and makes the files of an archive. */
import { Clock, Effect, Option, Schema, Stream } from "effect"
import { uuidV7 } from "../internal/uuid.ts"
import {
  AdministrationStorage,
  type ProgressRow,
  type SubjectRow,
  TenantStateConflict,
  type TenantRecord
} from "../driver/AdministrationStorage.ts"
import type { EventRow } from "../driver/EventStorage.ts"
import { PersonalSubject } from "../domain/PersonalSubject.ts"
import { type StorageUnavailable, TenantRefused, UnknownTenant } from "../driver/StoreError.ts"
import type { TenantAdministration, TenantId } from "../domain/Tenant.ts"
import {
  type ArchiveRoot,
  failMissing,
  hasEnvelopes,
  makeKeyCheck,
  marker,
  newArchiveKey
} from "../forgetting/carriedSeals.ts"
import type { KeyVault } from "../forgetting/KeyVault.ts"
import { recordAdministration } from "./administer.ts"
import * as format from "./archiveFormat.ts"
import type { CompressionUnavailable } from "./compression.ts"
import * as content from "./content.ts"
import * as eventLine from "./eventLine.ts"
import { Cutter, type Lines, Sealer } from "./segments.ts"
import { TypeCounter } from "./verification.ts"
import { spannedStream } from "../telemetry/spanned.ts"
import { attribute } from "../telemetry/Telemetry.ts"

/**
 * Raised when a tenant has rows in tables that are not declared, so that an archive would silently lack them. Declare each as
 * derived, carried or kept out.
 */
export class UndeclaredTables extends Schema.TaggedError<UndeclaredTables>()("UndeclaredTables", {
  tenantId: Schema.String,
  tables: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `tenant ${this.tenantId} has rows in ${this.tables.join(", ")}, which no declaration covers: declare each table as derived, carried or kept out`
  }
}

/** Settings of an export. */
export interface ExportOptions {
  readonly tenantId: TenantId
  /** Compresses each file of the archive. `zstd` needs Node 22.15 or newer. Default: none. */
  readonly compression?: format.Compression | undefined
  /**
   * Adds the keys of sealed fields, so that the archive can be imported into another tenant, or with another vault. Default: none, so
   * that only the tenant's own vault opens them.
   */
  readonly keys?: ExportKeys | undefined
}

/**
 * The keys that an archive carries: those of the tenant's subjects and indexes. Each is wrapped by a key of the archive (AES-256-GCM,
 * bound to the archive, the tenant and the subject), which is wrapped by `root`.
 *
 * Somebody who is forgotten later can be read in this archive as long as it and its root key exist: destroy one of them then.
 */
export interface ExportKeys {
  /** The vault of the tenant. */
  readonly vault: KeyVault["Service"]
  /**
   * A key for archives, and not that of a vault: 32 bytes in Base64 or hexadecimal digits (`openssl rand -base64 32`), or the functions
   * of a key management service.
   */
  readonly root: ArchiveRoot
}

/** Errors of an export. */
export type ExportError =
  | UndeclaredTables
  | CompressionUnavailable
  | TenantStateConflict
  | TenantRefused<UnknownTenant>
  | StorageUnavailable

/** The segments of rows. */
const cut = <A, E>(
  pages: Stream.Stream<ReadonlyArray<A>, E>,
  lineOf: (row: A) => string
): Stream.Stream<Lines, E> =>
  Stream.mapAccum(
    pages,
    () => new Cutter(lineOf),
    (cutter, rows) => [cutter, [...cutter.add(rows)]],
    { onHalt: (cutter) => Option.toArray(Option.fromUndefinedOr(cutter.take())) }
  )

const json = (value: unknown): Uint8Array => new TextEncoder().encode(`${JSON.stringify(value)}\n`)

const refuse = (
  { position, state, tenantId }: Pick<TenantRecord, "position" | "state" | "tenantId">,
  problem: string
): TenantStateConflict =>
  new TenantStateConflict({ tenantId, operation: "export", status: state.status, position, problem })

/** The progress as of the end of the archive, which comes before an event that was handled, or failed, meanwhile. */
const carriedProgress = (row: ProgressRow, end: number): format.CarriedProgress => {
  const failsLater = (row.failedPosition ?? 0) > end
  return {
    projection: row.projection,
    version: row.version,
    position: Math.min(row.position, end),
    parked: row.parked && !failsLater,
    attempts: failsLater ? 0 : row.attempts,
    failedPosition: failsLater ? undefined : row.failedPosition,
    error: failsLater ? undefined : row.error
  }
}

/** Number of positions that are searched at once. */
const searched = 50_000

/** True if one of the events up to a position has sealed fields. */
const hasSealed = Effect.fnUntraced(function* ({ at, storage }: content.Side, end: number) {
  for (let from = 1; from <= end; from += searched) {
    const toPosition = Math.min(from + searched - 1, end)
    if (yield* storage.hasPayloadWith({ ...at, text: marker, fromPosition: from, toPosition })) return true
  }
  return false
})

/** A subject as of the end of the archive: a forgetting whose event comes later has begun and not ended. */
const subjectAt =
  (forgettings: ReadonlySet<string>) =>
  (row: SubjectRow): SubjectRow =>
    row.forgotten === undefined || forgettings.has(row.forgotten.forgetting)
      ? row
      : { ...row, forgotten: undefined, begun: row.begun ?? row.forgotten.forgetting }

/** The files of an archive of a tenant, as of the moment at which the stream starts. */
export const exportFiles = ({
  compression,
  keys: given,
  tenantId
}: ExportOptions): Stream.Stream<
  format.ArchiveFile,
  ExportError,
  AdministrationStorage | TenantAdministration
> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const storage = yield* AdministrationStorage
      const accessId = yield* recordAdministration(storage, "export", tenantId)
      const administered = { accessId, tenantId }
      const record = yield* storage.tenant(administered)
      if (record === undefined) return yield* new TenantRefused({ reason: new UnknownTenant({ tenantId }) })
      const { status } = record.state
      if (status !== "active" && status !== "suspended")
        return yield* refuse(record, `it is ${status}: only an active or a suspended tenant can be exported`)
      const tables = yield* storage.tables(administered)
      const undeclared = tables.filter(({ handling, hasRows }) => hasRows && handling === undefined)
      if (undeclared.length > 0)
        return yield* new UndeclaredTables({ tenantId, tables: undeclared.map(({ table }) => table) })

      const end = record.position
      const side = { storage, at: administered }
      const archive = { archiveId: uuidV7(), tenantId }
      const fences = given === undefined ? [] : yield* given.vault.fences({ tenantId })
      const carriedKeys = given === undefined ? [] : yield* given.vault.exportKeys({ tenantId })
      const archiveKey = given === undefined ? undefined : yield* newArchiveKey(archive, given.root)
      const sealer = new Sealer(compression ?? null)
      const types = new TypeCounter()
      let exported = 0
      let sealedEvents = 0
      const forgettings = new Set<string>()
      const keyCheck =
        given === undefined
          ? undefined
          : makeKeyCheck(
              given.vault,
              tenantId,
              carriedKeys.map(({ keyId }) => keyId),
              failMissing("export a tenant", tenantId)
            )

      const lineOfEvent = (row: EventRow): string => {
        exported++
        if (hasEnvelopes(row.payload)) sealedEvents++
        if (row.aggregateType === PersonalSubject.type) forgettings.add(row.eventId)
        types.add(row)
        return eventLine.encode(row)
      }
      const pages = content.events(side, end)
      const checked =
        keyCheck === undefined
          ? pages
          : Stream.tap(pages, (rows) => {
              for (const { payload } of rows) keyCheck.note(payload)
              return keyCheck.check
            })
      // The log is searched for sealed fields, which the header tells of, while its first segments are made.
      const events = yield* Stream.toQueue(cut(checked, lineOfEvent), { capacity: 1 })
      const header: format.Header = {
        format: format.formatName,
        formatVersion: format.formatVersion,
        library: format.libraryVersion,
        ...archive,
        status,
        exportedAt: new Date(yield* Clock.currentTimeMillis).toISOString(),
        compression: compression ?? null,
        chainedFrom: record.chainedFrom ?? null,
        head:
          record.lastEventId === null
            ? null
            : { position: end, eventId: record.lastEventId, hash: record.lastHash },
        sealed: yield* hasSealed(side, end),
        keys: archiveKey === undefined ? null : { wrapped: archiveKey.wrapped }
      }
      const commandKeys = Stream.map(content.commandKeys(side), (rows) =>
        rows.filter(({ position }) => position <= end)
      )
      // read once, so that the dead letters are those of the same projections
      const outside = yield* Effect.cached(
        Effect.map(content.progress(side), (rows) => rows.map((row) => carriedProgress(row, end)))
      )
      const letters = Stream.unwrap(
        Effect.map(outside, (progress) => {
          const isCarried = content.isCarried(progress)
          return Stream.map(content.deadLetters(side), (rows) =>
            rows.filter((letter) => letter.position <= end && isCarried(letter))
          )
        })
      )
      const seal = (part: format.Part, table?: string) => (lines: Lines) => sealer.seal(part, lines, table)
      const carried = Stream.fromIterable(tables.filter(({ handling }) => handling === "carried")).pipe(
        Stream.flatMap(({ table }) =>
          cut(content.tableRows(side, table), format.tableLine).pipe(Stream.mapEffect(seal("tables", table)))
        )
      )
      const keys =
        archiveKey === undefined
          ? Stream.empty
          : Stream.concat(
              Stream.succeed(fences.map(format.fenceLine)),
              Stream.fromIterable(carriedKeys).pipe(
                Stream.mapEffect(archiveKey.wrap),
                Stream.map((line) => [JSON.stringify(line)])
              )
            )
      // Read last: whoever is forgotten meanwhile is not less so in the archive.
      const subjects = Stream.suspend(() =>
        Stream.map(content.subjects(side), (rows) => rows.map(subjectAt(forgettings)))
      )
      const manifest = Effect.flatMap(storage.tenant(administered), (last) => {
        if (exported !== end)
          return Effect.fail(
            refuse(
              record,
              `its log has ${exported} events instead of ${end}: it was changed meanwhile. Export it again`
            )
          )
        const manifestContent: format.Manifest = {
          ...header,
          events: exported,
          types: types.counts,
          sealedEvents,
          forgotten: last?.forgotten ?? record.forgotten,
          segments: sealer.segments
        }
        return Effect.succeed({ name: format.manifestName, bytes: json(manifestContent) })
      })

      return Stream.succeed<format.ArchiveFile>({ name: format.headerName, bytes: json(header) }).pipe(
        Stream.concat(cut(keys, (line) => line).pipe(Stream.mapEffect(seal("keys")))),
        // The next segment is made while the digest of this one is computed.
        Stream.concat(Stream.fromQueue(events).pipe(Stream.mapEffect(seal("events")))),
        Stream.concat(
          cut(commandKeys, (row) => JSON.stringify(row)).pipe(Stream.mapEffect(seal("command-keys")))
        ),
        Stream.concat(
          cut(Stream.fromEffect(outside), format.progressLine).pipe(Stream.mapEffect(seal("progress")))
        ),
        Stream.concat(cut(letters, format.deadLetterLine).pipe(Stream.mapEffect(seal("dead-letters")))),
        Stream.concat(carried),
        Stream.concat(cut(subjects, format.subjectLine).pipe(Stream.mapEffect(seal("subjects")))),
        Stream.concat(Stream.fromEffect(manifest))
      )
    })
  ).pipe((stream) => spannedStream("export", undefined, stream, { [attribute.tenantId]: tenantId }))

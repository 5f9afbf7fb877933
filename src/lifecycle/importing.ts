/** Imports an archive: writes its verified parts, so that a killed import goes on where it stopped. */
import { Effect, Stream } from "effect"
import {
  AdministrationStorage,
  type Status,
  type SubjectRow,
  type TenantRecord,
  TenantStateConflict
} from "../driver/AdministrationStorage.ts"
import { chainStart, eventHash } from "../driver/eventHash.ts"
import type { EventRow } from "../driver/EventStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import type { TenantAdministration, TenantId } from "../domain/Tenant.ts"
import { recordAdministration } from "./administer.ts"
import type * as format from "./archiveFormat.ts"
import { InvalidArchive } from "./invalidArchive.ts"
import { type ImportKeys, makeSeals, type SealedArchive, type Seals } from "./sealedArchive.ts"
import { type Verification, type Verified, verified } from "./verification.ts"
import { annotate, spanned } from "../telemetry/spanned.ts"
import { attribute } from "../telemetry/Telemetry.ts"

/** The end of a log: its last event, with the hash of the chain if there is one. */
export interface LogEnd {
  readonly position: number
  readonly eventId: string
  readonly hash: string | null
}

/** The progress of an import. */
export interface ImportProgress {
  /** The last position that is written. */
  readonly position: number
  /** The last position of the archive. */
  readonly end: number
}

/** Settings of an import. */
export interface ImportOptions extends Verification {
  /**
   * The tenant to write. Another tenant than that of the archive gets a hash chain of its own, if the archive has one, because hashes
   * cover the tenant. Default: the tenant of the archive.
   */
  readonly into?: TenantId | undefined
  /** The tenant of the archive. An archive of another one is refused before anything is written. Default: any. */
  readonly from?: TenantId | undefined
  /**
   * The vault of the tenant to write, and the root key of the archive.
   *
   * **Details**
   *
   * - Into the tenant of the archive, sealed fields are written as they are. The vault gets the keys that the archive carries, and
   *   is asked for all others: a key that it never had is an error (`KeyMissing`). Without this option nothing is checked, and the
   *   program's vault must have the keys.
   * - Into another tenant, sealed fields are opened with the keys of the archive, and sealed anew under keys that the vault makes for
   *   this tenant. An archive with sealed fields requires the option then.
   * - Subjects that were forgotten stay forgotten: the vault gets their fences, and brings no destroyed key back. So an archive can
   *   have the vault forget somebody for good: give the option only for archives that you trust, with an `anchor` if there is one.
   */
  readonly keys?: ImportKeys | undefined
  /** Runs after each transaction. */
  readonly onProgress?: ((progress: ImportProgress) => Effect.Effect<void>) | undefined
}

/** The result of an import. */
export interface Imported {
  readonly tenantId: TenantId
  /** Number of events that this run wrote. */
  readonly written: number
  /** Number of events that an earlier run of this import had written. */
  readonly known: number
  /** The last event of the log; undefined if it is empty. */
  readonly head: LogEnd | undefined
  /**
   * The tenant of the archive and the end of its log. The record of another tenant that was imported keeps it as its `origin`: the new
   * chain is anchored to the hash in it.
   */
  readonly origin: { readonly tenantId: TenantId; readonly head: LogEnd | undefined }
}

/** Errors of an import, beside those of its input. The tenant stays `importing` after one: run the import again, or abandon it. */
export type ImportError = InvalidArchive | SealedArchive | TenantStateConflict | StorageUnavailable

/** The most events, and about the most characters of them, of one transaction. */
const batch = { events: 2000, characters: 4 << 20 } as const

/** Splits rows into batches. */
const batches = function* (rows: ReadonlyArray<EventRow>): Generator<ReadonlyArray<EventRow>> {
  let from = 0
  let characters = 0
  for (const [index, { metadata, payload }] of rows.entries()) {
    const length = metadata.length + payload.length
    if (index > from && (index - from === batch.events || characters + length > batch.characters)) {
      yield rows.slice(from, index)
      from = index
      characters = 0
    }
    characters += length
  }
  if (from < rows.length) yield rows.slice(from)
}

const slices = <A>(rows: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(rows.length / batch.events) }, (_, index) =>
    rows.slice(index * batch.events, (index + 1) * batch.events)
  )

const isOpen = (status: Status | null): status is "active" | "suspended" =>
  status === "active" || status === "suspended"

const headOf = ({ lastEventId, lastHash, position }: TenantRecord): LogEnd | undefined =>
  lastEventId === null ? undefined : { position, eventId: lastEventId, hash: lastHash }

/** The state of an import whose tenant is known. */
interface Run {
  readonly header: format.Header
  readonly tenantId: TenantId
  readonly request: { readonly accessId: string; readonly tenantId: TenantId; readonly token: string }
  /** The end of the log when the run began. */
  readonly begun: TenantRecord
  /** True if an earlier run completed the import, so that nothing is left to write. */
  readonly isComplete: boolean
  readonly seals: Seals
}

class Importer {
  readonly #storage: AdministrationStorage["Service"]
  readonly #options: ImportOptions
  #run: Run | undefined
  #written = 0
  /** The hash of the last written event. */
  #hash: string | null = null
  readonly #letters = new Array<Extract<Verified, { readonly part: "dead-letters" }>["rows"]>()
  /** The highest number of a forgotten subject. */
  #forgotten = 0
  #imported: Imported | undefined

  constructor(storage: AdministrationStorage["Service"], options: ImportOptions) {
    this.#storage = storage
    this.#options = options
  }

  get result(): Imported | undefined {
    return this.#imported
  }

  readonly accept = (verifiedPart: Verified): Effect.Effect<void, ImportError, TenantAdministration> => {
    if (verifiedPart.part === "header") return this.#begin(verifiedPart.header)
    const run = this.#run
    if (run === undefined || (run.isComplete && verifiedPart.part !== "manifest")) return Effect.void
    const { request } = run
    switch (verifiedPart.part) {
      case "keys":
        return run.seals.keys(verifiedPart.rows)
      case "events":
        return this.#events(run, verifiedPart.rows)
      case "command-keys":
        return Effect.forEach(
          slices(verifiedPart.rows),
          (keys) => this.#storage.writeCommandKeys({ ...request, keys }),
          { discard: true }
        )
      case "progress":
        return this.#storage.writeProgress({ ...request, progress: verifiedPart.rows })
      case "dead-letters":
        this.#letters.push(verifiedPart.rows)
        return Effect.void
      case "tables": {
        const { first, rows, table } = verifiedPart
        return Effect.forEach(
          slices(rows),
          (page, index) =>
            this.#storage.writeTable({ ...request, table, rows: page, replace: first && index === 0 }),
          { discard: true }
        )
      }
      case "subjects":
        return this.#subjects(run, verifiedPart.rows)
      case "manifest":
        return this.#finish(run, verifiedPart.manifest)
    }
  }

  readonly #begin = Effect.fnUntraced({ self: this }, function* (header: format.Header) {
    const { from, into } = this.#options
    if (from !== undefined && header.tenantId !== from)
      return yield* new InvalidArchive({
        file: "the archive",
        line: null,
        reason: "misplaced",
        problem: `is of tenant ${header.tenantId}, and one of tenant ${from} was expected`
      })
    const tenantId = into ?? header.tenantId
    const seals = yield* makeSeals(header, tenantId, this.#options.keys)
    const accessId = yield* recordAdministration(this.#storage, "import", tenantId)
    const request = { accessId, tenantId, token: header.archiveId }
    const begin = this.#storage.changeState({ ...request, change: "beginImport" })
    const opened = yield* Effect.map(begin, (record) => ({ record, isComplete: false })).pipe(
      // An import whose last answer was lost has been completed. Only its own token finds that out.
      Effect.catchTag("TenantStateConflict", (refused) =>
        isOpen(refused.status)
          ? Effect.map(this.#finishChange(header, request), (record) => ({ record, isComplete: true })).pipe(
              Effect.catchTag("TenantStateConflict", () => Effect.fail(refused))
            )
          : Effect.fail(refused)
      ),
      Effect.catchTag("TenantHeld", Effect.die)
    )
    const { isComplete, record } = opened
    if (!isComplete && record.position > (header.head?.position ?? 0))
      return yield* new TenantStateConflict({
        tenantId,
        operation: "import",
        status: record.state.status,
        position: record.position,
        problem: "more events were imported than the archive has: abandon the import, and begin again"
      })
    this.#hash = record.lastHash
    this.#run = { header, tenantId, request, begun: record, isComplete, seals }
  })

  #finishChange(header: format.Header, request: Run["request"]) {
    const { head, tenantId } = header
    return this.#storage
      .changeState({
        ...request,
        change: "finishImport",
        head: head?.position ?? 0,
        chainedFrom: header.chainedFrom ?? undefined,
        status: header.status,
        origin:
          tenantId === request.tenantId
            ? undefined
            : {
                tenantId,
                position: head?.position ?? 0,
                eventId: head?.eventId ?? null,
                hash: head?.hash ?? null
              }
      })
      .pipe(Effect.catchTag("TenantHeld", Effect.die))
  }

  readonly #events = Effect.fnUntraced(
    { self: this },
    function* ({ begun, header, request, seals, tenantId }: Run, rows: ReadonlyArray<EventRow>) {
      const known = rows.find(({ position }) => position === begun.position)
      if (known !== undefined && known.eventId !== begun.lastEventId)
        return yield* new InvalidArchive({
          file: "the archive",
          line: null,
          reason: "inconsistent",
          problem: `has another event at position ${begun.position} than was imported before: abandon the import, and begin again`
        })
      const first = rows[0]?.position ?? 1
      const left = begun.position < first ? rows : rows.slice(begun.position - first + 1)
      for (const part of batches(left)) {
        const sealed = yield* seals.events(part)
        const events =
          tenantId === header.tenantId ? sealed : sealed.map((row) => this.#rehashed(header, tenantId, row))
        const position = yield* this.#storage.writeEvents({ ...request, events })
        this.#written += events.length
        this.#hash = events.at(-1)?.hash ?? null
        yield* this.#options.onProgress?.({ position, end: header.head?.position ?? position }) ?? Effect.void
      }
    }
  )

  /** The event in the hash chain of another tenant. */
  #rehashed(header: format.Header, tenantId: TenantId, row: EventRow): EventRow {
    if (row.hash === null) return row
    const previous = row.position === header.chainedFrom ? chainStart : (this.#hash ?? chainStart)
    this.#hash = eventHash(previous, tenantId, row)
    return { ...row, hash: this.#hash }
  }

  readonly #subjects = Effect.fnUntraced(
    { self: this },
    function* ({ request, seals }: Run, rows: ReadonlyArray<SubjectRow>) {
      yield* seals.subjects(rows)
      for (const subjects of slices(rows)) {
        for (const { forgotten } of subjects)
          this.#forgotten = Math.max(this.#forgotten, forgotten?.number ?? 0)
        yield* this.#storage.writeSubjects({ ...request, forgotten: this.#forgotten, subjects })
      }
    }
  )

  readonly #finish = Effect.fnUntraced({ self: this }, function* (run: Run, { forgotten }: format.Manifest) {
    const { begun, header, isComplete, request, tenantId } = run
    if (!isComplete) {
      yield* this.#storage.writeDeadLetters({ ...request, letters: this.#letters.flat() })
      // the last forgetting may be of a subject that is forgotten again, and whose last one has not ended
      if (forgotten > this.#forgotten)
        yield* this.#storage.writeSubjects({ ...request, forgotten, subjects: [] })
    }
    const record = isComplete ? begun : yield* this.#finishChange(header, request)
    this.#imported = {
      tenantId,
      written: this.#written,
      known: isComplete ? (header.head?.position ?? 0) : begun.position,
      head: headOf(record),
      origin: { tenantId: header.tenantId, head: header.head ?? undefined }
    }
  })
}

/** Imports the files of an archive. */
export const importFiles = <E, R>(
  files: Stream.Stream<format.ArchiveFile, E, R>,
  options: ImportOptions = {}
): Effect.Effect<Imported, E | ImportError, R | AdministrationStorage | TenantAdministration> =>
  spanned("importTenant", undefined, (_services, span) =>
    Effect.gen(function* () {
      const importer = new Importer(yield* AdministrationStorage, options)
      yield* verified(files, options).pipe(
        // The next segment is read and verified while one is written.
        Stream.buffer({ capacity: 1 }),
        Stream.runForEach(importer.accept)
      )
      const imported =
        importer.result ?? (yield* Effect.die(new Error("a verified archive ends with a manifest")))
      annotate(span, { [attribute.tenantId]: imported.tenantId, [attribute.events]: imported.written })
      return imported
    })
  )

/** Reads the files of an archive in order, and hands each on only once it is verified. */
import { Effect, Result, Stream } from "effect"
import type { CommandKeyRow, DeadLetterRow, SubjectRow } from "../driver/AdministrationStorage.ts"
import { byCodePoints } from "../driver/codePoints.ts"
import { chainStart, eventHash } from "../driver/eventHash.ts"
import type { EventRow } from "../driver/EventStorage.ts"
import { hasEnvelopes } from "../forgetting/carriedSeals.ts"
import { digestHex } from "../internal/digest.ts"
import type { Anchor } from "../store/HashChain.ts"
import * as format from "./archiveFormat.ts"
import { decompress } from "./compression.ts"
import * as eventLine from "./eventLine.ts"
import { InvalidArchive } from "./invalidArchive.ts"

/** A verified part of an archive. */
export type Verified =
  | { readonly part: "header"; readonly header: format.Header }
  | { readonly part: "keys"; readonly rows: ReadonlyArray<format.KeyLine> }
  | { readonly part: "events"; readonly rows: ReadonlyArray<EventRow> }
  | { readonly part: "command-keys"; readonly rows: ReadonlyArray<CommandKeyRow> }
  | { readonly part: "progress"; readonly rows: ReadonlyArray<format.CarriedProgress> }
  | { readonly part: "dead-letters"; readonly rows: ReadonlyArray<DeadLetterRow> }
  | {
      readonly part: "tables"
      readonly table: string
      readonly rows: ReadonlyArray<string>
      /** True for the first rows of the table. */
      readonly first: boolean
    }
  | { readonly part: "subjects"; readonly rows: ReadonlyArray<SubjectRow> }
  | { readonly part: "manifest"; readonly manifest: format.Manifest }

/** Settings of a verification. */
export interface Verification {
  /**
   * Maximum size of a file, compressed and uncompressed, in bytes. A segment has at most 16 MiB, or one larger event. Default: 64 MiB.
   */
  readonly maxFileBytes?: number | undefined
  /** A head of the source's hash chain that was kept elsewhere. The archive must contain it. */
  readonly anchor?: Anchor | undefined
}

export const defaultMaxFileBytes: number = 64 << 20

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const decodeText = (bytes: Uint8Array): string | undefined => {
  try {
    return utf8.decode(bytes)
  } catch {
    return undefined
  }
}

/** The last line of a segment, with the bytes and the lines before it. */
interface Content {
  readonly segment: format.Segment
  readonly bytes: Uint8Array
  readonly lines: ReadonlyArray<string>
}

class Verifier {
  readonly #limit: number
  readonly #anchor: Anchor | undefined
  #header: format.Header | undefined
  #ended = false
  readonly #segments: Array<format.Segment> = []
  #position = 0
  #last: EventRow | undefined
  readonly #types = new TypeCounter()
  #sealedEvents = 0
  #lastSubject: string | undefined
  /** The numbers of forgotten subjects so far. */
  readonly #forgotten = new Set<number>()
  #lastForgotten = 0
  #lastFile = "the archive"

  constructor({ anchor, maxFileBytes = defaultMaxFileBytes }: Verification) {
    this.#anchor = anchor
    this.#limit = maxFileBytes
  }

  readonly #refuse = (
    file: string,
    reason: InvalidArchive["reason"],
    problem: string,
    line: number | null = null
  ): InvalidArchive => new InvalidArchive({ file, line, reason, problem })

  /** Verifies the next file. */
  readonly accept = (file: format.ArchiveFile): Effect.Effect<Verified, InvalidArchive> =>
    Effect.gen({ self: this }, function* () {
      const { name } = file
      const header = this.#header
      if (this.#ended)
        return yield* this.#refuse(name, "misplaced", "comes after the manifest: remove it from the archive")
      if (header === undefined) {
        if (name !== format.headerName)
          return yield* this.#refuse(
            name,
            "notAnArchive",
            `comes first, but ${format.headerName} begins an archive: give its files sorted by name`
          )
        const read = yield* Effect.fromResult(format.readHeader(name, yield* this.#text(file)))
        this.#lastFile = name
        this.#header = read
        return { part: "header", header: read }
      }
      if (name === format.manifestName) {
        const manifest = yield* Effect.fromResult(format.readManifest(name, yield* this.#text(file)))
        const contradiction = this.#contradiction(header, manifest)
        if (contradiction !== undefined)
          return yield* this.#refuse(
            name,
            "inconsistent",
            `contradicts the files before it: ${contradiction}. Fetch or export the archive again`
          )
        this.#ended = true
        return { part: "manifest", manifest }
      }
      return yield* this.#segment(header, file)
    })

  /** Fails if the archive has no manifest. */
  readonly end: Effect.Effect<void, InvalidArchive> = Effect.suspend(() =>
    this.#ended
      ? Effect.void
      : Effect.fail(
          this.#refuse(
            this.#lastFile,
            "truncated",
            `is the last file, but ${format.manifestName} ends an archive: fetch or export it again`
          )
        )
  )

  #text({ bytes, name }: format.ArchiveFile): Effect.Effect<string, InvalidArchive> {
    return Effect.suspend(() => {
      if (bytes.length > this.#limit) return Effect.fail(this.#tooLarge(name))
      const text = decodeText(bytes)
      return text === undefined
        ? Effect.fail(this.#refuse(name, "malformed", "is not text in UTF-8: fetch it again"))
        : Effect.succeed(text)
    })
  }

  #tooLarge(name: string): InvalidArchive {
    return this.#refuse(
      name,
      "tooLarge",
      `has more than ${this.#limit} bytes: if you trust the archive, raise maxFileBytes`
    )
  }

  readonly #segment = Effect.fnUntraced(
    { self: this },
    function* (header: format.Header, file: format.ArchiveFile): Effect.fn.Return<Verified, InvalidArchive> {
      const { name } = file
      const place = format.placeOf(name, header.compression)
      const before = this.#segments.at(-1)
      const isNext =
        place !== undefined &&
        (place.part === before?.part
          ? place.number === before.number + 1
          : place.number === 1 &&
            format.parts.indexOf(place.part) >
              (before === undefined ? -1 : format.parts.indexOf(before.part)))
      if (place === undefined || !isNext)
        return yield* this.#refuse(
          name,
          "misplaced",
          `cannot follow ${this.#lastFile}: give all files of the archive, and only these, sorted by name`
        )
      const { bytes, lines, segment } = yield* this.#content(header, file)
      const fail = (reason: InvalidArchive["reason"], problem: string, line: number | null = null) =>
        this.#refuse(name, reason, problem, line)
      if (segment.part !== place.part || segment.number !== place.number)
        return yield* fail(
          "misplaced",
          `is segment ${segment.number} of ${segment.part}: restore its name`,
          lines.length + 1
        )
      if (segment.lines !== lines.length || segment.bytes !== bytes.length)
        return yield* fail(
          "changed",
          `states ${segment.lines} lines and ${segment.bytes} bytes, but has ${lines.length} and ${bytes.length}: fetch it again`,
          lines.length + 1
        )
      if ((yield* digestHex(bytes)) !== segment.sha256)
        return yield* fail("changed", "does not have the stated SHA-256: fetch it again")
      if (segment.previous !== (before?.sha256 ?? null))
        return yield* fail(
          "changed",
          `does not continue ${this.#lastFile}: one of them was replaced. Fetch the archive again`
        )
      if ((segment.table !== undefined) !== (segment.part === "tables"))
        return yield* fail(
          "malformed",
          "must name a table if it has rows of one, and only then",
          lines.length + 1
        )
      const verified = yield* Effect.fromResult(this.#rows(name, header, segment, lines))
      this.#segments.push(segment)
      this.#lastFile = name
      return verified
    }
  )

  #content(header: format.Header, file: format.ArchiveFile): Effect.Effect<Content, InvalidArchive> {
    const { name } = file
    return Effect.gen({ self: this }, function* () {
      const whole = yield* decompress(header.compression, file.bytes, this.#limit).pipe(
        Effect.mapError((problem) => {
          switch (problem) {
            case "tooLarge":
              return this.#tooLarge(name)
            case "damaged":
              return this.#refuse(name, "changed", "cannot be uncompressed: fetch it again")
            case "unsupported":
              return this.#refuse(
                name,
                "unsupported",
                `is compressed with ${header.compression}, which this runtime cannot read: use Node 22.15 or newer`
              )
          }
        })
      )
      const text = yield* this.#text({ name, bytes: whole })
      const lines = text.split("\n")
      if (lines.pop() !== "")
        return yield* this.#refuse(
          name,
          "truncated",
          "does not end with a line break: fetch it again",
          lines.length + 1
        )
      const last = lines.pop() ?? ""
      const segment = yield* Effect.mapError(Effect.fromResult(format.readSegment(last)), () =>
        this.#refuse(
          name,
          "truncated",
          "does not end with a line that describes the segment: fetch it again",
          lines.length + 1
        )
      )
      // The last line is ASCII, unless it names a table.
      const lastBytes = new TextEncoder().encode(last).length + 1
      return { segment, bytes: whole.subarray(0, whole.length - lastBytes), lines }
    })
  }

  #rows(
    name: string,
    header: format.Header,
    segment: format.Segment,
    lines: ReadonlyArray<string>
  ): Result.Result<Verified, InvalidArchive> {
    const all = <A>(
      read: (line: string) => Result.Result<A, string>
    ): Result.Result<Array<A>, InvalidArchive> => {
      const rows: Array<A> = []
      for (const line of lines) {
        const row = read(line)
        if (Result.isFailure(row))
          return Result.fail(
            this.#refuse(name, "malformed", `${row.failure}: export the archive again`, rows.length + 1)
          )
        rows.push(row.success)
      }
      return Result.succeed(rows)
    }
    switch (segment.part) {
      case "keys":
        return header.keys === null
          ? Result.fail(
              this.#refuse(
                name,
                "inconsistent",
                `has keys, although ${format.headerName} says that there are none: export the archive again`
              )
            )
          : Result.map(all(format.readKey), (rows) => ({ part: "keys", rows }))
      case "subjects":
        return Result.flatMap(all(format.readSubject), (rows) =>
          Result.map(this.#checkSubjects(name, rows), () => ({ part: "subjects", rows }))
        )
      case "events":
        return Result.flatMap(all(eventLine.decode), (rows) =>
          Result.map(this.#checkEvents(name, header, rows), () => ({ part: "events", rows }))
        )
      case "command-keys":
        return Result.map(all(format.readCommandKey), (rows) => ({ part: "command-keys", rows }))
      case "progress":
        return Result.map(all(format.readProgress), (rows) => ({ part: "progress", rows }))
      case "dead-letters":
        return Result.map(all(format.readDeadLetter), (rows) => ({ part: "dead-letters", rows }))
      case "tables": {
        const table = segment.table ?? ""
        const first = !this.#segments.some((before) => before.table === table)
        return Result.map(all(format.readTableRow), (rows) => ({ part: "tables", table, rows, first }))
      }
    }
  }

  /** Checks that each subject comes once, in order, and each number of a forgetting once. */
  #checkSubjects(name: string, rows: ReadonlyArray<SubjectRow>): Result.Result<void, InvalidArchive> {
    let line = 0
    for (const { forgotten, subject } of rows) {
      line++
      const problem =
        this.#lastSubject !== undefined && byCodePoints(subject, this.#lastSubject) <= 0
          ? "does not come behind the subject before it"
          : forgotten !== undefined && this.#forgotten.has(forgotten.number)
            ? `has number ${forgotten.number} of another forgotten subject`
            : undefined
      if (problem !== undefined)
        return Result.fail(this.#refuse(name, "inconsistent", `${problem}: export the archive again`, line))
      this.#lastSubject = subject
      if (forgotten === undefined) continue
      this.#forgotten.add(forgotten.number)
      this.#lastForgotten = Math.max(this.#lastForgotten, forgotten.number)
    }
    return Result.succeed(undefined)
  }

  /** Checks that events continue those before them, and their hashes. */
  #checkEvents(
    name: string,
    header: format.Header,
    rows: ReadonlyArray<EventRow>
  ): Result.Result<void, InvalidArchive> {
    const chainedFrom = header.chainedFrom ?? Infinity
    const { tenantId } = header
    const anchor = this.#anchor
    let line = 0
    const fail = (reason: InvalidArchive["reason"], problem: string) =>
      Result.fail(this.#refuse(name, reason, problem, line))
    for (const row of rows) {
      line++
      if (row.position !== this.#position + 1)
        return fail(
          "inconsistent",
          `has position ${row.position}, but ${this.#position + 1} is next: an event is missing or doubled`
        )
      if (row.recordedAt < (this.#last?.recordedAt ?? -Infinity))
        return fail("inconsistent", "was recorded before the event in front of it")
      if ((row.hash !== null) !== row.position >= chainedFrom)
        return fail(
          "changed",
          row.hash === null
            ? "has no hash, although the hash chain has begun"
            : "has a hash before the chain begins"
        )
      if (row.hash !== null) {
        const previous = row.position === chainedFrom ? chainStart : (this.#last?.hash ?? chainStart)
        if (row.hash !== eventHash(previous, tenantId, row))
          return fail("changed", "does not have the hash of its content and its predecessor")
      }
      if (
        row.position === anchor?.position &&
        (row.hash !== anchor.hash || (anchor.eventId !== undefined && row.eventId !== anchor.eventId))
      )
        return fail("inconsistent", "is not the event of the anchor: the history was replaced")
      if (hasEnvelopes(row.payload)) {
        if (!header.sealed)
          return fail(
            "inconsistent",
            `has a sealed field, although ${format.headerName} says that there is none`
          )
        this.#sealedEvents++
      }
      this.#position = row.position
      this.#last = row
      this.#types.add(row)
    }
    return Result.succeed(undefined)
  }

  /** The first contradiction between the manifest and the files before it. */
  #contradiction(header: format.Header, manifest: format.Manifest): string | undefined {
    const { events, forgotten, sealedEvents, segments, types, ...identity } = manifest
    const last = this.#last
    const head =
      last === undefined ? null : { position: last.position, eventId: last.eventId, hash: last.hash }
    if (!isSame(identity, header)) return `it has other properties than ${format.headerName}`
    if (!isSame(header.head, head))
      return `the log should end at ${header.head?.position ?? 0}, but the archive ends at ${this.#position}`
    if (events !== this.#position) return `it counts ${events} events, but there are ${this.#position}`
    if (sealedEvents !== this.#sealedEvents || header.sealed !== this.#sealedEvents > 0)
      return `it counts ${sealedEvents} events with sealed fields, but there are ${this.#sealedEvents}`
    if (forgotten < this.#lastForgotten)
      return `it counts ${forgotten} forgotten subjects, which is less than their numbers`
    if (!isSame(types, this.#types.counts)) return "it counts other numbers of events by type"
    if (!isSame(segments, this.#segments)) return "it describes other segments"
    if (this.#anchor !== undefined && this.#anchor.position > this.#position)
      return `the log ends before the anchor at ${this.#anchor.position}`
    return undefined
  }
}

/** Compares values that were read by one schema, which orders their members. */
const isSame = (left: unknown, right: unknown): boolean => JSON.stringify(left) === JSON.stringify(right)

const byText = (left: string, right: string): number => (left < right ? -1 : left > right ? 1 : 0)

/** Counts events by type. Successive events of one type are counted together. */
export class TypeCounter {
  /** By event type, by aggregate type. */
  readonly #types = new Map<string, Map<string, number>>()
  #aggregateType = ""
  #eventType = ""
  #run = 0

  add({ aggregateType, eventType }: EventRow): void {
    if (eventType !== this.#eventType || aggregateType !== this.#aggregateType) {
      this.#endRun()
      this.#aggregateType = aggregateType
      this.#eventType = eventType
    }
    this.#run++
  }

  #endRun(): void {
    if (this.#run === 0) return
    let byType = this.#types.get(this.#aggregateType)
    if (byType === undefined) this.#types.set(this.#aggregateType, (byType = new Map<string, number>()))
    byType.set(this.#eventType, (byType.get(this.#eventType) ?? 0) + this.#run)
    this.#run = 0
  }

  /** The numbers of events by type, ordered by both names. */
  get counts(): ReadonlyArray<typeof format.TypeCount.Type> {
    this.#endRun()
    return typeCounts(this.#types)
  }
}

const typeCounts = (
  types: ReadonlyMap<string, ReadonlyMap<string, number>>
): ReadonlyArray<typeof format.TypeCount.Type> =>
  [...types]
    .toSorted(([left], [right]) => byText(left, right))
    .flatMap(([aggregateType, byType]) =>
      [...byType]
        .toSorted(([left], [right]) => byText(left, right))
        .map(([eventType, events]) => ({ aggregateType, eventType, events }))
    )

/** The verified parts of an archive. */
export const verified = <E, R>(
  files: Stream.Stream<format.ArchiveFile, E, R>,
  options: Verification
): Stream.Stream<Verified, E | InvalidArchive, R> =>
  Stream.suspend(() => {
    const verifier = new Verifier(options)
    return Stream.concat(
      Stream.mapEffect(files, verifier.accept),
      Stream.drain(Stream.fromEffect(verifier.end))
    )
  })

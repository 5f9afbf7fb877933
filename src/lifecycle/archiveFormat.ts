/** The format of archives, version 2: names, limits, and the two JSON files. `docs/life-of-a-tenant.md` describes it for other tools. */
import { Result, Schema, SchemaIssue, SchemaParser } from "effect"
import type {
  CommandKeyRow,
  DeadLetterRow,
  ProgressRow,
  SubjectRow
} from "../driver/AdministrationStorage.ts"
import { TenantId } from "../domain/Tenant.ts"
import { WrappedKeyLine } from "../forgetting/carriedSeals.ts"
import type { Fence } from "../forgetting/KeyVault.ts"
import { nameProblem, textProblem } from "../internal/json.ts"
import { InvalidArchive } from "./invalidArchive.ts"

/** A file of an archive. */
export interface ArchiveFile {
  readonly name: string
  readonly bytes: Uint8Array
}

export const formatName = "effect-eventsourcing/tenant"
export const formatVersion = 2
/** The version of this package. */
export const libraryVersion = "0.1.0"

/** A segment ends with one of these numbers of events and bytes, whichever is reached first. */
export const segmentLimits = { lines: 65_536, bytes: 16 << 20 } as const

/** The kinds of segments, in the order of an archive. */
export const parts = [
  "keys",
  "events",
  "command-keys",
  "progress",
  "dead-letters",
  "tables",
  "subjects"
] as const
export type Part = (typeof parts)[number]

export type Compression = "gzip" | "zstd"
const extensions: Readonly<Record<Compression, string>> = { gzip: ".gz", zstd: ".zst" }

// The names sort in the order in which the files are read.
export const headerName = "00-archive.json"
export const manifestName = "99-manifest.json"

const prefixes: Readonly<Record<Part, string>> = {
  keys: "05",
  events: "10",
  "command-keys": "20",
  progress: "30",
  "dead-letters": "40",
  tables: "50",
  subjects: "60"
}

export const segmentName = (part: Part, number: number, compression: Compression | null): string =>
  `${prefixes[part]}-${part}-${String(number).padStart(6, "0")}.ndjson${compression === null ? "" : extensions[compression]}`

/** A segment's name without the extension of its compression; a part and a number. */
export interface SegmentPlace {
  readonly part: Part
  readonly number: number
}

const segmentPattern = /^\d[05]-([a-z-]+)-(\d{6,9})\.ndjson(?:\.gz|\.zst)?$/

/** The place of a segment with this name; undefined for other names. */
export const placeOf = (name: string, compression: Compression | null): SegmentPlace | undefined => {
  const [, word = "", digits = ""] = segmentPattern.exec(name) ?? []
  const part = parts.find((known) => known === word)
  const number = Number(digits)
  return part !== undefined && segmentName(part, number, compression) === name ? { part, number } : undefined
}

const Sha256 = Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/))
const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const Position = Schema.Int.check(Schema.isGreaterThan(0))

/** The end of a log: its last event, with the hash of the chain if there is one. */
const LogEnd = Schema.Struct({
  position: Position,
  eventId: Schema.String,
  hash: Schema.NullOr(Sha256)
})

const identity = {
  format: Schema.Literal(formatName),
  formatVersion: Schema.Literal(formatVersion),
  /** The version of the library that wrote it. */
  library: Schema.String,
  /** A UUID of this archive. */
  archiveId: Schema.String.check(Schema.isUUID()),
  tenantId: TenantId,
  status: Schema.Literals(["active", "suspended"]),
  /** ISO 8601, in UTC. */
  exportedAt: Schema.String,
  compression: Schema.NullOr(Schema.Literals(["gzip", "zstd"])),
  /** The first position with a hash; null without a hash chain. */
  chainedFrom: Schema.NullOr(Position),
  /** The last event; null if there is none. */
  head: Schema.NullOr(LogEnd),
  /** True if an event has sealed fields. */
  sealed: Schema.Boolean,
  /**
   * The key of the archive, which wraps the keys in the part `keys`, itself wrapped by a key of the caller, in Base64Url. Null if the
   * archive carries no keys.
   */
  keys: Schema.NullOr(Schema.Struct({ wrapped: Schema.String }))
}

/** The first file of an archive. */
export const Header = Schema.Struct(identity)
export type Header = typeof Header.Type

/** The last line of a segment, which describes the lines before it. */
export const Segment = Schema.Struct({
  part: Schema.Literals(parts),
  /** 1, 2, 3 … in each part. */
  number: Position,
  /** The table of the rows, in the part `tables`. */
  table: Schema.optionalKey(Schema.String),
  /** Number of lines before this one. */
  lines: Count,
  /** Bytes of these lines, uncompressed. */
  bytes: Count,
  /** SHA-256 of these bytes. */
  sha256: Sha256,
  /** SHA-256 of the segment before it in the archive; null for the first. */
  previous: Schema.NullOr(Sha256)
})
export type Segment = typeof Segment.Type

const LastLine = Schema.Struct({ segment: Segment })

/** Number of events of a type. */
export const TypeCount = Schema.Struct({
  aggregateType: Schema.String,
  eventType: Schema.String,
  events: Position
})

/** The last file of an archive. */
export const Manifest = Schema.Struct({
  ...identity,
  /** Number of events. Their positions are 1 to this number. */
  events: Count,
  /** The numbers of events by type, ordered by both names. */
  types: Schema.Array(TypeCount),
  /** Number of events with sealed fields. */
  sealedEvents: Count,
  /** The number of times that subjects of the tenant were forgotten. */
  forgotten: Count,
  segments: Schema.Array(Segment)
})
export type Manifest = typeof Manifest.Type

/** The row of a command key, as JSON. */
const CommandKey: Schema.Codec<CommandKeyRow> = Schema.Struct({
  key: Schema.String,
  fingerprint: Schema.String,
  aggregateType: Schema.String,
  aggregateId: Schema.String,
  version: Count,
  position: Count,
  events: Count,
  recordedAt: Schema.Int,
  expiresInMillis: Position
})

const Progress = Schema.Struct({
  projection: Schema.String,
  version: Schema.Int,
  position: Count,
  parked: Schema.Boolean,
  attempts: Count,
  failedPosition: Schema.NullOr(Position),
  error: Schema.NullOr(Schema.String)
})

const DeadLetter = Schema.Struct({
  projection: Schema.String,
  version: Schema.Int,
  position: Position,
  eventId: Schema.String,
  error: Schema.String,
  attempts: Count,
  failedAt: Schema.Int,
  discarded: Schema.NullOr(Schema.Struct({ at: Schema.Int, reason: Schema.String }))
})

const Uuid = Schema.String.check(Schema.isUUID())

const FenceLine = Schema.Struct({
  fence: Schema.Struct({
    subject: Schema.String,
    forgetting: Uuid,
    forgottenAt: Schema.Int,
    actor: Schema.String,
    reason: Schema.String,
    allowedAgainAt: Schema.NullOr(Schema.Int)
  })
})

const fenceBeginning = '{"fence":'

/** The fence of a forgotten subject in the vault, as a line. */
export const fenceLine = ({
  actor,
  allowedAgainAt,
  forgetting,
  forgottenAt,
  reason,
  subject
}: Fence): string =>
  JSON.stringify({
    fence: { subject, forgetting, forgottenAt, actor, reason, allowedAgainAt: allowedAgainAt ?? null }
  })

/** A line of the part `keys`: a wrapped key, or a fence before all of them. */
export type KeyLine = WrappedKeyLine | { readonly fence: Omit<Fence, "number"> }

const Subject = Schema.Struct({
  subject: Schema.String,
  /** The last forgetting; null for a subject that was never forgotten, or whose forgetting has not ended. */
  forgotten: Schema.NullOr(
    Schema.Struct({
      number: Position,
      forgetting: Uuid,
      forgottenAt: Schema.Int,
      actor: Schema.String,
      reason: Schema.String,
      allowedAgainAt: Schema.NullOr(Schema.Int)
    })
  ),
  begun: Schema.NullOr(Uuid),
  hold: Schema.NullOr(Schema.Struct({ actor: Schema.String, reason: Schema.String, heldAt: Schema.Int }))
})

/** The progress of a projection that acts outside. */
export type CarriedProgress = Omit<ProgressRow, "tables">

export const progressLine = ({ error, failedPosition, ...row }: CarriedProgress): string =>
  JSON.stringify({
    projection: row.projection,
    version: row.version,
    position: row.position,
    parked: row.parked,
    attempts: row.attempts,
    failedPosition: failedPosition ?? null,
    error: error ?? null
  })

export const deadLetterLine = ({ discarded, ...row }: DeadLetterRow): string =>
  JSON.stringify({ ...row, discarded: discarded ?? null })

export const subjectLine = ({ begun, forgotten, hold, subject }: SubjectRow): string =>
  JSON.stringify({
    subject,
    forgotten:
      forgotten === undefined
        ? null
        : {
            number: forgotten.number,
            forgetting: forgotten.forgetting,
            forgottenAt: forgotten.forgottenAt,
            actor: forgotten.actor,
            reason: forgotten.reason,
            allowedAgainAt: forgotten.allowedAgainAt ?? null
          },
    begun: begun ?? null,
    hold: hold === undefined ? null : { actor: hold.actor, reason: hold.reason, heldAt: hold.heldAt }
  })

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

/** The first mistake in a value, with its path. */
export const describeIssue = (issue: SchemaIssue.Issue): string => {
  const [first] = formatIssue(issue).issues
  const path = (first?.path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".")
  const message = first?.message ?? "does not fit"
  return path === "" ? message : `${path}: ${message}`
}

/** Makes a function that reads JSON with a schema and returns the problem of JSON that does not fit. */
const reader = <A>(schema: Schema.Codec<A, unknown>): ((text: string) => Result.Result<A, string>) => {
  const decode = SchemaParser.decodeUnknownResult(schema)
  return (text) => Result.mapError(decode(parse(text)), describeIssue)
}

export const readSegment: (text: string) => Result.Result<Segment, string> = (
  (read) => (text: string) =>
    Result.map(read(text), ({ segment }) => segment)
)(reader(LastLine))
export const readCommandKey: (text: string) => Result.Result<CommandKeyRow, string> = reader(CommandKey)
export const readProgress: (text: string) => Result.Result<CarriedProgress, string> = (
  (read) => (text: string) =>
    Result.map(read(text), ({ error, failedPosition, ...row }) => ({
      ...row,
      failedPosition: failedPosition ?? undefined,
      error: error ?? undefined
    }))
)(reader(Progress))
export const readDeadLetter: (text: string) => Result.Result<DeadLetterRow, string> = (
  (read) => (text: string) =>
    Result.map(read(text), ({ discarded, ...row }) => ({ ...row, discarded: discarded ?? undefined }))
)(reader(DeadLetter))

/** The first of the given texts that cannot be stored, as a problem. */
const textsProblem = (texts: ReadonlyArray<string | undefined>): string | undefined => {
  for (const text of texts) {
    const problem = text === undefined ? undefined : textProblem(text)
    if (problem !== undefined) return `an actor or a reason ${problem}`
  }
  return undefined
}

const readFence = reader(FenceLine)
const readWrappedKey = reader(WrappedKeyLine)

export const readKey = (text: string): Result.Result<KeyLine, string> => {
  if (text.startsWith(fenceBeginning))
    return Result.flatMap(readFence(text), ({ fence: { allowedAgainAt, ...fence } }) => {
      const unfit = nameProblem(fence.subject)
      const problem = unfit === undefined ? textsProblem([fence.actor, fence.reason]) : `subject: ${unfit}`
      return problem === undefined
        ? Result.succeed({ fence: { ...fence, allowedAgainAt: allowedAgainAt ?? undefined } })
        : Result.fail(problem)
    })
  return Result.flatMap(readWrappedKey(text), (line) =>
    (line.subject === null) === (line.purpose === null)
      ? Result.fail("must name a subject or a purpose, and not both")
      : Result.succeed(line)
  )
}

export const readSubject: (text: string) => Result.Result<SubjectRow, string> = (
  (read) => (text: string) =>
    Result.flatMap(read(text), ({ begun, forgotten, hold, subject }) => {
      const unfit = nameProblem(subject)
      if (unfit !== undefined) return Result.fail(`subject: ${unfit}`)
      const problem = textsProblem([forgotten?.actor, forgotten?.reason, hold?.actor, hold?.reason])
      if (problem !== undefined) return Result.fail(problem)
      return Result.succeed({
        subject,
        forgotten:
          forgotten === null
            ? undefined
            : { ...forgotten, allowedAgainAt: forgotten.allowedAgainAt ?? undefined },
        begun: begun ?? undefined,
        hold: hold ?? undefined
      })
    })
)(reader(Subject))

/** The row of a table: a JSON text, or a string with that text if it has line breaks between its tokens. */
export const tableLine = (row: string): string => (/[\n\r]/.test(row) ? JSON.stringify(row) : row)
export const readTableRow = (line: string): Result.Result<string, string> => {
  const value = parse(line)
  const text = typeof value === "string" ? value : line
  const row = typeof value === "string" ? parse(value) : value
  return typeof row === "object" && row !== null && !Array.isArray(row)
    ? Result.succeed(text)
    : Result.fail("is not the JSON object of a row")
}

/** Version 1 had no sealed fields, no keys and no subjects. */
const ofVersion1 = { formatVersion, sealed: false, keys: null, sealedEvents: 0, forgotten: 0 }

/** Makes a function that reads one of the JSON files, of this version or an earlier one. */
const readJsonFile = <A>(schema: Schema.Codec<A, unknown>) => {
  const decode = SchemaParser.decodeUnknownResult(schema)
  return (text: string, version: number): Result.Result<A, string> => {
    const value = parse(text)
    const present = version === 1 && typeof value === "object" ? { ...value, ...ofVersion1 } : value
    return Result.mapError(decode(present), describeIssue)
  }
}

const readHeaderText = readJsonFile(Header)
const readManifestText = readJsonFile(Manifest)

/** The version that a JSON file states, if it is one of an archive. */
const statedVersion = (text: string): unknown => {
  const value = parse(text)
  return typeof value === "object" &&
    value !== null &&
    "format" in value &&
    value.format === formatName &&
    "formatVersion" in value
    ? value.formatVersion
    : undefined
}

const readJson =
  <A>(read: (text: string, version: number) => Result.Result<A, string>) =>
  (file: string, text: string): Result.Result<A, InvalidArchive> => {
    const fail = (reason: InvalidArchive["reason"], problem: string) =>
      Result.fail(new InvalidArchive({ file, line: null, reason, problem }))
    const version = statedVersion(text)
    if (typeof version !== "number" || !Number.isSafeInteger(version) || version < 1)
      return fail("notAnArchive", `does not state the format "${formatName}": give an archive of a tenant`)
    if (version > formatVersion)
      return fail(
        "newerVersion",
        `has the format version ${version}, and this library reads versions up to ${formatVersion}: upgrade it`
      )
    return Result.mapError(
      read(text, version),
      (problem) =>
        new InvalidArchive({ file, line: null, reason: "malformed", problem: `has a mistake: ${problem}` })
    )
  }

export const readHeader: (file: string, text: string) => Result.Result<Header, InvalidArchive> =
  readJson(readHeaderText)
export const readManifest: (file: string, text: string) => Result.Result<Manifest, InvalidArchive> =
  readJson(readManifestText)

/** Sample payloads of events: derived from schemas and stored in files. */
import { Arbitrary, Effect, Result, Schema, SchemaIssue, SchemaParser } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { EventSchema } from "../../domain/Event.ts"
import { jsonProblem } from "../../internal/json.ts"
import { storableJson } from "./storable.ts"

/** A stored payload, with the present events that it is read as, if those were recorded. */
const Sample = Schema.Struct({ stored: Schema.Json, read: Schema.optionalKey(Schema.Array(Schema.Json)) })

/** The samples of a version of an event type. */
const Samples = Schema.Struct({
  aggregate: Schema.String,
  event: Schema.String,
  version: Schema.Int,
  /** The types and versions that samples were read as when that was recorded. */
  readAs: Schema.Array(Schema.String),
  samples: Schema.NonEmptyArray(Sample)
})
export type Samples = typeof Samples.Type

const formatIssue = SchemaIssue.makeFormatterDefault()

const decodeSamples = SchemaParser.decodeUnknownResult(Samples)

/** The file of the samples of a version. */
export const fileOf = (directory: string, of: Pick<Samples, "aggregate" | "event" | "version">): string =>
  Path.join(directory, encodeURIComponent(of.aggregate), `${encodeURIComponent(of.event)}.${of.version}.json`)

/** Samples of a file, or the reason why it holds none. */
export interface SampleFile {
  readonly file: string
  readonly samples: Result.Result<Samples, string>
}

/** All files with samples in a directory and its subdirectories. */
export const readAll = (directory: string): ReadonlyArray<SampleFile> => {
  if (!Fs.existsSync(directory)) return []
  return Fs.readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".json"))
    .toSorted()
    .map((name) => {
      const file = Path.join(directory, name)
      return { file, samples: parse(Fs.readFileSync(file, "utf8")) }
    })
}

const parse = (text: string): Result.Result<Samples, string> => {
  try {
    return Result.mapError(decodeSamples(JSON.parse(text)), formatIssue)
  } catch (error) {
    return Result.fail(String(error))
  }
}

export const write = (file: string, samples: Samples): void => {
  Fs.mkdirSync(Path.dirname(file), { recursive: true })
  Fs.writeFileSync(file, `${JSON.stringify(samples, undefined, 2)}\n`)
}

/** A value as it comes back from storage. */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- JSON text gives JSON
export const throughText = (value: unknown): Schema.Json => JSON.parse(JSON.stringify(value)) as Schema.Json

const isArray = (value: Schema.Json | undefined): value is Schema.JsonArray => Array.isArray(value)

/** Numbers of values that are generated and, at most, kept. */
const candidates = 200
const kept = 20

/** Texts with at most this many different values count as an enumeration. */
const enumerated = 12

/**
 * A few samples of a schema, the same ones each time. Together they cover every member of a union, every literal, and empty,
 * absent and null values. Undefined if none can be derived.
 */
export const derive = (
  schema: EventSchema,
  seed: string
): Effect.Effect<ReadonlyArray<Schema.Json> | undefined> =>
  Effect.gen(function* () {
    const codec = Schema.toCodecJson(schema)
    const arbitrary = Arbitrary.schema(schema)
    const small = yield* Arbitrary.sampleEffect(arbitrary, { count: candidates / 10, size: 0, seed })
    const large = yield* Arbitrary.sampleEffect(arbitrary, { count: candidates, size: 6, seed })
    const encode = SchemaParser.encodeUnknownResult(codec)
    const isReadable = SchemaParser.decodeUnknownResult(codec)
    const payloads = [...small, ...large].flatMap((event) => {
      const encoded = encode(event)
      if (Result.isFailure(encoded)) return []
      // Through text, as in storage: without keys that are undefined.
      const payload = throughText(storableJson(encoded.success))
      return jsonProblem(payload, 64) === undefined && Result.isSuccess(isReadable(payload)) ? [payload] : []
    })
    const chosen = covering(payloads)
    return chosen.length === 0 ? undefined : chosen
  }).pipe(Effect.catchCause(() => Effect.undefined))

/** The first payloads that together cover all features of the payloads. */
const covering = (payloads: ReadonlyArray<Schema.Json>): ReadonlyArray<Schema.Json> => {
  const values = new Map<string, Set<string>>()
  for (const payload of payloads) {
    visit(payload, "", (path, value) => {
      if (typeof value === "string") values.set(path, (values.get(path) ?? new Set()).add(value))
    })
  }
  const seen = new Set<string>()
  return payloads
    .filter((payload) => {
      const before = seen.size
      visit(payload, "", (path, value) => {
        const isEnumerated = (values.get(path)?.size ?? 0) <= enumerated
        seen.add(`${path}: ${typeof value === "string" && isEnumerated ? value : kindOf(value)}`)
      })
      return seen.size > before
    })
    .slice(0, kept)
}

const visit = (value: Schema.Json, path: string, look: (path: string, value: Schema.Json) => void): void => {
  look(path, value)
  if (isArray(value)) for (const element of value) visit(element, `${path}[]`, look)
  else if (typeof value === "object" && value !== null)
    for (const [key, member] of Object.entries(value)) visit(member, `${path}.${key}`, look)
}

const kindOf = (value: Schema.Json): string => {
  if (typeof value === "string") return value === "" ? "empty text" : "text"
  if (typeof value === "number") return `number ${Math.sign(value)} ${Number.isInteger(value)}`
  if (typeof value === "boolean") return String(value)
  if (value === null) return "null"
  // The present keys show which are absent.
  return Array.isArray(value) ? `array ${Math.min(value.length, 2)}` : Object.keys(value).toSorted().join()
}

/** A difference from a recorded value. */
export interface Difference {
  readonly path: ReadonlyArray<string | number>
  readonly expected: Schema.Json
  /** Undefined if it is absent. */
  readonly actual: Schema.Json | undefined
}

/** Parts of a recorded value that are gone or different. Additional parts are no difference. */
export const differences = (
  expected: Schema.Json,
  actual: Schema.Json | undefined,
  path: ReadonlyArray<string | number> = []
): ReadonlyArray<Difference> => {
  if (isArray(expected) && isArray(actual) && expected.length === actual.length)
    return expected.flatMap((element, index) => differences(element, actual[index], [...path, index]))
  if (isObject(expected) && isObject(actual)) {
    return Object.entries(expected).flatMap(([key, member]) =>
      differences(member, Object.hasOwn(actual, key) ? actual[key] : undefined, [...path, key])
    )
  }
  return expected === actual ? [] : [{ path, expected, actual }]
}

const isObject = (value: Schema.Json | undefined): value is Schema.JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

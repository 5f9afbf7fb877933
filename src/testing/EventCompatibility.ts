/**
 * Checks that events stored in the past can still be read. Files beside the tests hold sample payloads of every version of
 * every event, and the tests read them with the present schemas and upcasters. A change that breaks stored events fails the
 * build.
 */
import { describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { fileURLToPath } from "node:url"
import type * as Aggregate from "../domain/Aggregate.ts"
import { codecOf } from "../domain/codec/aggregateCodec.ts"
import * as eventSamples from "./domain/eventSamples.ts"
import * as StoredEvents from "../domain/StoredEvents.ts"
import { flipped } from "./failures.ts"

/** Options of {@link check} and {@link suite}. */
export interface Options {
  /** All aggregates with samples in the directory. */
  readonly aggregates: ReadonlyArray<Aggregate.Any>
  /** The directory of the samples: used for nothing else, and under version control. */
  readonly directory: string | URL
  /**
   * Writes samples for versions without any, and records how samples of former versions are read after a newer version was
   * added. Never overwrites a stored payload. Default: true if the environment variable `UPDATE_EVENT_SAMPLES` is set and
   * not empty.
   */
  readonly update?: boolean | undefined
}

/** Raised when events of a version are read differently than recorded, or have no samples. */
export class EventsIncompatible extends Schema.TaggedError<EventsIncompatible>()("EventsIncompatible", {
  aggregateType: Schema.String,
  eventType: Schema.String,
  schemaVersion: Schema.Int,
  /** The file of its samples, which may not exist yet. */
  file: Schema.String,
  /** The problem, its place and the remedy, in several lines. */
  message: Schema.String
}) {}

const variable = "UPDATE_EVENT_SAMPLES"

/** A version of an event type with its samples. */
interface Subject {
  readonly aggregateType: string
  readonly eventType: string
  readonly schemaVersion: number
  readonly file: string
  /** Undefined if there is no file, or if it has no samples. */
  readonly samples: Result.Result<eventSamples.Samples, string> | undefined
  /** Undefined if it is not one of the aggregates. */
  readonly aggregate: Aggregate.Any | undefined
  /** Undefined if the aggregate does not know the version. */
  readonly version: StoredEvents.StoredVersion | undefined
}

/** All versions that are declared or have samples. */
const subjects = ({ aggregates, directory }: Options): ReadonlyArray<Subject> => {
  const root = typeof directory === "string" ? directory : fileURLToPath(directory)
  const files = new Map(eventSamples.readAll(root).map((found) => [found.file, found.samples]))
  const declared = aggregates.flatMap((aggregate) =>
    StoredEvents.versions(aggregate).map((version): Subject => {
      const { eventType, schemaVersion } = version
      const aggregateType = aggregate.type
      const file = eventSamples.fileOf(root, {
        aggregate: aggregateType,
        event: eventType,
        version: schemaVersion
      })
      return { aggregateType, eventType, schemaVersion, file, samples: files.get(file), aggregate, version }
    })
  )
  for (const { file } of declared) files.delete(file)
  const others = [...files].map(([file, samples]): Subject => {
    const {
      aggregate: aggregateType,
      event: eventType,
      version: schemaVersion
    } = Result.getOrElse(samples, () => ({
      aggregate: "?",
      event: file,
      version: 0
    }))
    const aggregate = aggregates.find(({ type }) => type === aggregateType)
    return { aggregateType, eventType, schemaVersion, file, samples, aggregate, version: undefined }
  })
  return [...declared, ...others]
}

/**
 * Checks all samples and returns the problems of each version, for test runners other than vitest and for scripts. See
 * {@link suite}.
 */
export const check = (options: Options): Effect.Effect<ReadonlyArray<EventsIncompatible>> =>
  Effect.gen(function* () {
    const found = yield* Effect.forEach(subjects(options), (subject) =>
      flipped(Effect.asVoid(checkOne(subject, isUpdating(options)))).pipe(Effect.option)
    )
    return found.flatMap((incompatible) => (incompatible._tag === "Some" ? [incompatible.value] : []))
  })

/**
 * Registers a vitest test for every version of every event: its samples are still read as recorded.
 *
 * **Details**
 *
 * A few samples per version are derived from its schema, so that they cover it, and written with `UPDATE_EVENT_SAMPLES=1 npx
 * vitest run`; commit the files. A version without samples fails. You can add a sample by hand, as `{ "stored": … }`: the
 * next update records the events that it is read as.
 *
 * The test compares JSON: each stored payload is read, and the resulting events are encoded as they would be stored today.
 * An additional field is compatible. A field that is gone, renamed or different is not, nor is a payload that is refused.
 *
 * **Example**
 *
 * ```ts
 * EventCompatibility.suite({ aggregates: [Order, Customer], directory: new URL("events/", import.meta.url) })
 * ```
 */
export const suite = (options: Options): void => {
  describe("stored events", () => {
    for (const subject of subjects(options)) {
      const { aggregateType, eventType, schemaVersion } = subject
      it.effect(`${aggregateType}: version ${schemaVersion} of ${eventType} is read as before`, () =>
        checkOne(subject, isUpdating(options))
      )
    }
  })
}

const isUpdating = ({ update }: Options): boolean => update ?? (process.env[variable] ?? "") !== ""

/** The events that an aggregate reads a payload as, in JSON. */
const readAsJson = (
  aggregate: Aggregate.Any,
  { eventType, schemaVersion }: Subject,
  payload: Schema.Json
): Result.Result<ReadonlyArray<Schema.Json>, StoredEvents.Unreadable> =>
  Result.map(StoredEvents.read(aggregate, { eventType, schemaVersion, payload }), (events) =>
    events.map((event): Schema.Json => {
      const encoded = codecOf(aggregate).events.get(event._tag)?.encode(event)
      return eventSamples.throughText(encoded === undefined ? null : Result.getOrThrow(encoded))
    })
  )

/** The present types that events of a version are read as, with their versions. */
const readsAs = (aggregate: Aggregate.Any, eventType: string): ReadonlyArray<string> => {
  const { events, stored } = codecOf(aggregate)
  const types = [...(stored.get(eventType)?.presentTypes ?? [])].toSorted()
  return types.map((type) => `${type} ${events.get(type)?.schemaVersion ?? 0}`)
}

const checkOne = (subject: Subject, update: boolean): Effect.Effect<void, EventsIncompatible> =>
  Effect.gen(function* () {
    const { aggregate, aggregateType, eventType, file, schemaVersion, version } = subject
    const fail = (problem: string, lines: ReadonlyArray<string>, advice: string) =>
      new EventsIncompatible({
        aggregateType,
        eventType,
        schemaVersion,
        file,
        message: [
          `${aggregateType}: version ${schemaVersion} of ${eventType}: ${problem}`,
          `  ${file}`,
          ...lines.map((line) => `  ${line}`),
          "",
          advice
        ].join("\n")
      })

    if (subject.samples === undefined) {
      if (!update) return yield* fail("it has no samples yet", [], adviceToWrite)
      const derived =
        version && (yield* eventSamples.derive(version.schema, JSON.stringify([eventType, schemaVersion])))
      const [first, ...rest] = derived ?? []
      if (first === undefined)
        return yield* fail("no samples can be derived from its schema", [], adviceByHand)
      return yield* checkSamples({
        aggregate: aggregateType,
        event: eventType,
        version: schemaVersion,
        readAs: [],
        samples: [{ stored: first }, ...rest.map((stored) => ({ stored }))]
      })
    }
    if (Result.isFailure(subject.samples))
      return yield* fail("its samples cannot be read", [subject.samples.failure], adviceByHand)
    return yield* checkSamples(subject.samples.success)

    function checkSamples(samples: eventSamples.Samples): Effect.Effect<void, EventsIncompatible> {
      if (aggregate === undefined)
        return Effect.fail(fail("its aggregate is not one of those that are checked", [], adviceOnAggregates))
      const readAs = readsAs(aggregate, eventType)
      const hasMovedOn = readAs.join() !== samples.readAs.join()
      const unreadable: Array<string> = []
      const different: Array<string> = []
      let isNew = false
      const [first, ...rest] = samples.samples.map((sample, index) => {
        const lines = [`sample ${index + 1}: ${JSON.stringify(sample.stored)}`]
        const result = readAsJson(aggregate, subject, sample.stored)
        if (Result.isFailure(result)) {
          const { path, reason, error } = result.failure
          unreadable.push(...lines, `  at ${at(path)}: ${reason} (${error})`)
          return sample
        }
        const read = result.success
        if (sample.read === undefined) isNew = true
        else {
          const found = eventSamples.differences(sample.read, read)
          if (found.length > 0) different.push(...lines, ...found.map(describeDifference))
        }
        return { ...sample, read }
      })
      if (unreadable.length > 0)
        return Effect.fail(fail("stored events can no longer be read", unreadable, adviceOn(subject)))
      if (different.length > 0 && !(update && hasMovedOn)) {
        return Effect.fail(
          hasMovedOn
            ? fail("stored events are read as something new", different, adviceToNote(samples.readAs, readAs))
            : fail("stored events are read differently than before", different, adviceOn(subject))
        )
      }
      if (isNew && !update)
        return Effect.fail(fail("a sample does not record the events that it is read as", [], adviceToWrite))
      if (update && first !== undefined && (isNew || hasMovedOn))
        eventSamples.write(file, { ...samples, readAs, samples: [first, ...rest] })
      return Effect.void
    }
  })

const at = (path: ReadonlyArray<string | number>): string => (path.length === 0 ? "its root" : path.join("."))

const describeDifference = ({
  path: [index = 0, ...path],
  expected,
  actual
}: eventSamples.Difference): string =>
  `  ${path.length === 0 ? `event ${Number(index) + 1}` : `at ${at(path)}`}: expected ${JSON.stringify(expected)}, actual ${
    actual === undefined ? "nothing" : JSON.stringify(actual)
  }`

const adviceToWrite = `Remedy: run the test with ${variable}=1, review the files that it writes, and commit them.`

const adviceByHand = `Remedy: write samples by hand, as { "aggregate", "event", "version", "readAs": [], "samples": [{ "stored": … }] }, and run the test with ${variable}=1.`

const adviceOnAggregates =
  "Remedy: give all aggregates to the suite. An aggregate cannot be renamed, because its streams keep its name."

const adviceToNote = (before: ReadonlyArray<string>, now: ReadonlyArray<string>): string =>
  `It was read as ${inWords(before)}, now as ${inWords(now)}.
Remedy: if all of this is intended, run the test with ${variable}=1, review the files that it writes, and commit them.`

const inWords = (types: ReadonlyArray<string>): string =>
  types.length === 0 ? "nothing" : types.join(" and ")

const adviceOn = ({ aggregate, eventType, schemaVersion, version }: Subject): string => {
  const steps =
    version === undefined
      ? [
          `the type and version must stay known. Either upcast it to a present event:`,
          `    upcasters: [Upcaster.from(${eventType}V${schemaVersion}).to(…, (event) => …)]`,
          `  or, if it is no longer needed, drop it:`,
          `    upcasters: [Upcaster.dropped(${JSON.stringify(eventType)})]`
        ]
      : version.present
        ? [
            `restore its schema under another name in your program, and declare a new version:`,
            `    upcasters: [Upcaster.from(${eventType}V${schemaVersion}).to(${eventType}, (event) => …)]`,
            `  then run the test with ${variable}=1, which writes samples of version ${schemaVersion + 1}.`
          ]
        : [`restore its schema and the step behind it; put the change into a step of its own.`]
  return [
    `Remedy: events of this version are stored in ${aggregate?.type ?? "the log"} and never change: ${steps[0] ?? ""}`,
    ...steps.slice(1),
    "Only if no such event was ever stored: delete the file and write samples anew."
  ].join("\n")
}

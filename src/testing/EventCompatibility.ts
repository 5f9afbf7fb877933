/**
 * Whether the events that were stored in the past can still be read: sample payloads of every version of every event are kept
 * in files beside the tests, and read with the schemas and upcasters of today. A change that breaks what is stored fails the
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

/** What is checked. */
export interface Options {
  /** All aggregates whose samples are in the directory. */
  readonly aggregates: ReadonlyArray<Aggregate.Any>
  /** Where the samples are kept: a directory of their own, under version control. */
  readonly directory: string | URL
  /**
   * Whether to write samples of versions that have none, and to note how samples of former versions are read now that there is
   * a newer one. It never writes over what an event was stored as. Default: whether the environment variable
   * `UPDATE_EVENT_SAMPLES` is set and not empty.
   */
  readonly update?: boolean | undefined
}

/** Raised when events of a version are not read as they were, or nothing is known about them. */
export class EventsIncompatible extends Schema.TaggedError<EventsIncompatible>()("EventsIncompatible", {
  aggregateType: Schema.String,
  eventType: Schema.String,
  schemaVersion: Schema.Int,
  /** Where its samples are, or belong. */
  file: Schema.String,
  /** What is wrong, where, and what to do about it: several lines. */
  message: Schema.String
}) {}

const variable = "UPDATE_EVENT_SAMPLES"

/** A version of an event type, and the samples there are. */
interface Subject {
  readonly aggregateType: string
  readonly eventType: string
  readonly schemaVersion: number
  readonly file: string
  /** Undefined: no file, or one that is none of samples. */
  readonly samples: Result.Result<eventSamples.Samples, string> | undefined
  /** Undefined: not one of the aggregates. */
  readonly aggregate: Aggregate.Any | undefined
  /** Undefined: the aggregate does not know the version. */
  readonly version: StoredEvents.StoredVersion | undefined
}

/** Every version that is declared or has samples. */
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
 * Checks all samples, and returns what is wrong with each version: for runners of tests other than vitest, and for scripts.
 * See {@link suite}.
 */
export const check = (options: Options): Effect.Effect<ReadonlyArray<EventsIncompatible>> =>
  Effect.gen(function* () {
    const found = yield* Effect.forEach(subjects(options), (subject) =>
      flipped(Effect.asVoid(checkOne(subject, isUpdating(options)))).pipe(Effect.option)
    )
    return found.flatMap((incompatible) => (incompatible._tag === "Some" ? [incompatible.value] : []))
  })

/**
 * Registers a test for every version of every event with vitest: its samples are read, and are what they were.
 *
 * **Details**
 *
 * Samples are derived from the schemas, a few that cover what the schema allows, and written with `UPDATE_EVENT_SAMPLES=1 npx
 * vitest run`; the files belong under version control. A version without samples fails. A sample may also be added by hand, as
 * `{ "stored": … }`: the next update notes what it is read as.
 *
 * What counts is the JSON that is stored, and the JSON that the events it is read as would be stored as today. A field that
 * comes in addition is compatible; one that is gone, renamed or different is not, and neither is a payload that is refused.
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
      it.effect(`${aggregateType}: version ${schemaVersion} of ${eventType} is read as it was`, () =>
        checkOne(subject, isUpdating(options))
      )
    }
  })
}

const isUpdating = ({ update }: Options): boolean => update ?? (process.env[variable] ?? "") !== ""

/** What an aggregate reads a payload as, as JSON. */
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

/** The types that events of a version are read as today, with their versions. */
const readsAs = (aggregate: Aggregate.Any, eventType: string): ReadonlyArray<string> => {
  const { events, stored } = codecOf(aggregate)
  const types = [...(stored.get(eventType)?.presentTypes ?? [])].toSorted()
  return types.map((type) => `${type} ${events.get(type)?.schemaVersion ?? 0}`)
}

const checkOne = (subject: Subject, update: boolean): Effect.Effect<void, EventsIncompatible> =>
  Effect.gen(function* () {
    const { aggregate, aggregateType, eventType, file, schemaVersion, version } = subject
    const fail = (what: string, lines: ReadonlyArray<string>, advice: string) =>
      new EventsIncompatible({
        aggregateType,
        eventType,
        schemaVersion,
        file,
        message: [
          `${aggregateType}: version ${schemaVersion} of ${eventType}: ${what}`,
          `  ${file}`,
          ...lines.map((line) => `  ${line}`),
          "",
          advice
        ].join("\n")
      })

    if (subject.samples === undefined) {
      if (!update) return yield* fail("there are no samples of it yet", [], adviceToWrite)
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
        return Effect.fail(fail("its aggregate is not among those that are checked", [], adviceOnAggregates))
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
        return Effect.fail(
          fail("events that are stored cannot be read any more", unreadable, adviceOn(subject))
        )
      if (different.length > 0 && !(update && hasMovedOn)) {
        return Effect.fail(
          hasMovedOn
            ? fail(
                "events that are stored are read as something new",
                different,
                adviceToNote(samples.readAs, readAs)
              )
            : fail("events that are stored are not read as they were", different, adviceOn(subject))
        )
      }
      if (isNew && !update)
        return Effect.fail(fail("it is not noted what a sample is read as", [], adviceToWrite))
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

const adviceToWrite = `What to do: run the test with ${variable}=1, look at what it writes, and commit it.`

const adviceByHand = `What to do: write samples by hand, as { "aggregate", "event", "version", "readAs": [], "samples": [{ "stored": … }] }, and run the test with ${variable}=1.`

const adviceOnAggregates =
  "What to do: give all aggregates to the suite. Streams keep the name of their aggregate: it cannot be renamed."

const adviceToNote = (before: ReadonlyArray<string>, now: ReadonlyArray<string>): string =>
  `It was read as ${inWords(before)}, now as ${inWords(now)}.
What to do: if all of this is meant, run the test with ${variable}=1, look at what it writes, and commit it.`

const inWords = (types: ReadonlyArray<string>): string =>
  types.length === 0 ? "nothing" : types.join(" and ")

const adviceOn = ({ aggregate, eventType, schemaVersion, version }: Subject): string => {
  const steps =
    version === undefined
      ? [
          `the type and version must stay known. Either lead it to an event of today:`,
          `    upcasters: [Upcaster.from(${eventType}V${schemaVersion}).to(…, (event) => …)]`,
          `  or, if it means nothing any more, drop it:`,
          `    upcasters: [Upcaster.dropped(${JSON.stringify(eventType)})]`
        ]
      : version.present
        ? [
            `leave its schema as it was, under another name in your program, and declare a new version:`,
            `    upcasters: [Upcaster.from(${eventType}V${schemaVersion}).to(${eventType}, (event) => …)]`,
            `  then run the test with ${variable}=1, which writes samples of version ${schemaVersion + 1}.`
          ]
        : [
            `leave its schema and the step behind it as they were; what is to change goes into a step of its own.`
          ]
  return [
    `What to do: events of this version are stored in ${aggregate?.type ?? "the log"}, and stay as they are: ${steps[0] ?? ""}`,
    ...steps.slice(1),
    "Only if no such event was ever stored: delete the file, and write samples anew."
  ].join("\n")
}

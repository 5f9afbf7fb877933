import { Cause, Result, Schema, SchemaIssue, SchemaParser } from "effect"
import type * as Aggregate from "../Aggregate.ts"
import type { Tagged } from "../Event.ts"

/** A path into a value, and what is wrong there. Never the value itself. */
export interface Mismatch {
  readonly path: ReadonlyArray<string | number>
  readonly reason: string
  readonly limit: "depth" | undefined
}

/** Between an event and its JSON value. */
export interface EventCodec<Event> {
  readonly encode: (event: Event) => Result.Result<unknown, Mismatch>
  readonly decode: (json: unknown) => Result.Result<Event, Mismatch>
}

/** Between an aggregate's ids and events and what is stored. */
export interface AggregateCodec<Event, Id> {
  readonly encodeId: (id: Id) => Result.Result<string, Mismatch>
  readonly events: ReadonlyMap<string, EventCodec<Event>>
}

const firstMismatch = SchemaIssue.makeFormatterStandardSchemaV1()

const mismatch = (issue: SchemaIssue.Issue): Mismatch => {
  const first = firstMismatch(issue).issues[0]
  return {
    path: (first?.path ?? []).map((segment) => {
      const key = typeof segment === "object" ? segment.key : segment
      return typeof key === "number" ? key : String(key)
    }),
    reason: first?.message ?? "does not fit the schema",
    limit: undefined
  }
}

/** Whether the stack was too small for the depth of a value. The parser wraps what is thrown inside of it. */
const isOverflow = (defect: unknown): boolean =>
  defect instanceof RangeError
    ? /call stack/.test(defect.message)
    : defect instanceof Error &&
      Cause.isCause(defect.cause) &&
      defect.cause.reasons.some((reason) => Cause.isDieReason(reason) && isOverflow(reason.defect))

/** A schema may throw: deep recursion overflows the stack, and user code runs inside. */
const guarded =
  <A, B>(run: (input: A) => Result.Result<B, SchemaIssue.Issue>) =>
  (input: A): Result.Result<B, Mismatch> => {
    try {
      return Result.mapError(run(input), mismatch)
    } catch (defect) {
      return Result.fail(
        isOverflow(defect)
          ? { path: [], reason: "is nested too deeply", limit: "depth" }
          : { path: [], reason: "its schema threw an error", limit: undefined }
      )
    }
  }

const eventCodec = <Event extends Tagged>(
  schema: Schema.ConstraintCodec<Event, unknown>
): EventCodec<Event> => {
  const json = Schema.toCodecJson(schema)
  return {
    encode: guarded(SchemaParser.encodeUnknownResult(json)),
    decode: guarded(SchemaParser.decodeUnknownResult(json))
  }
}

const make = <State, Event extends Tagged, Id>(
  aggregate: Aggregate.Aggregate<string, State, Event, Id>
): AggregateCodec<Event, Id> => {
  const byTag = Schema.toTaggedUnion("_tag")(Schema.Union(aggregate.events)).cases
  const events = new Map<string, EventCodec<Event>>()
  for (const [tag, schema] of Object.entries<Schema.ConstraintCodec<Event, unknown>>(byTag)) {
    events.set(tag, eventCodec(schema))
  }
  return { encodeId: guarded(SchemaParser.encodeUnknownResult(aggregate.id)), events }
}

/** Codecs are compiled once per aggregate. The key is the aggregate alone: nothing in here depends on a tenant. */
const compiled = new WeakMap<object, unknown>()

export const codecOf = <State, Event extends Tagged, Id>(
  aggregate: Aggregate.Aggregate<string, State, Event, Id>
): AggregateCodec<Event, Id> => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Entries are written below only, each by the aggregate that is its key.
  const known = compiled.get(aggregate) as AggregateCodec<Event, Id> | undefined
  if (known !== undefined) return known
  const codec = make(aggregate)
  compiled.set(aggregate, codec)
  return codec
}

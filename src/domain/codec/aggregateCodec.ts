import { Cause, Result, Schema, type SchemaAST, SchemaGetter, SchemaIssue, SchemaParser } from "effect"
import type * as Aggregate from "../Aggregate.ts"
import type { Tagged } from "../Event.ts"
import type { Step } from "../Upcaster.ts"
import { history, type Node, presentTypes } from "../eventHistory.ts"
import { jsonReader } from "./plainReader.ts"
import { jsonWriter } from "./plainWriter.ts"

/** A path into a value, and the problem there. Never the value itself. */
export interface Mismatch {
  readonly path: ReadonlyArray<string | number>
  readonly reason: string
  readonly limit: "depth" | undefined
}

/** Converts between an event and its JSON value. */
export interface EventCodec<Event> {
  /** The schema version under which it is written. */
  readonly schemaVersion: number
  readonly encode: (event: Event) => Result.Result<unknown, Mismatch>
  /** Fast path: the JSON text of a simple event of at most so many levels. Undefined otherwise: `encode` then writes or fails. */
  readonly write: (event: Event, maxDepth: number) => string | undefined
  readonly decode: (json: unknown) => Result.Result<Event, Mismatch>
  /** Like `decode`, for a value from `JSON.parse` that nothing else holds: the value itself may become the event. */
  readonly decodeParsed: (json: unknown) => Result.Result<Event, Mismatch>
}

/** The readers of one stored event type. */
export interface StoredType<Event> {
  /** The present version; undefined for a type that is no longer written. */
  readonly present: EventCodec<Event> | undefined
  /** The former versions. */
  readonly former: ReadonlyMap<number, FormerVersion<Event>>
  readonly oldest: number
  readonly newest: number
  /** The present types that its events may be read as. */
  readonly presentTypes: ReadonlySet<string>
}

/** Reads an event of a former version as any number of present events. */
export type FormerVersion<Event> = (json: unknown) => Result.Result<ReadonlyArray<Event>, Mismatch>

/** Converts between an aggregate's ids and events and their stored form. */
export interface AggregateCodec<Event, Id> {
  readonly encodeId: (id: Id) => Result.Result<string, Mismatch>
  /** The present types. */
  readonly events: ReadonlyMap<string, EventCodec<Event>>
  /** All types that may be stored, except the dropped ones. */
  readonly stored: ReadonlyMap<string, StoredType<Event>>
  /** Types whose events are passed over. */
  readonly dropped: ReadonlySet<string>
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

/** An error that was thrown inside the parser, which wraps it. */
const unwrapped = (defect: unknown): unknown => {
  const inner =
    defect instanceof Error && Cause.isCause(defect.cause)
      ? defect.cause.reasons.find(Cause.isDieReason)
      : undefined
  return inner === undefined ? defect : unwrapped(inner.defect)
}

/** True if the stack was too small for the depth of a value. */
const isOverflow = (defect: unknown): boolean =>
  defect instanceof RangeError && /call stack/.test(defect.message)

/** The text of a schema's own error may quote the value that it checks. */
const schemaThrew = (): string => "its schema threw an error"

/** Schemas may throw: deep recursion overflows the stack, and user code runs inside them. */
const guarded =
  <A, B>(
    run: (input: A) => Result.Result<B, SchemaIssue.Issue>,
    describe: (thrown: unknown) => string = schemaThrew
  ) =>
  (input: A): Result.Result<B, Mismatch> => {
    try {
      const result = run(input)
      // not mapError, which allocates another result for a success
      return Result.isFailure(result) ? Result.fail(mismatch(result.failure)) : Result.succeed(result.success)
    } catch (defect) {
      const thrown = unwrapped(defect)
      return Result.fail(
        isOverflow(thrown)
          ? { path: [], reason: "is nested too deeply", limit: "depth" }
          : { path: [], reason: describe(thrown), limit: undefined }
      )
    }
  }

const guardedWriter = (ast: SchemaAST.AST): EventCodec<unknown>["write"] => {
  const writer = jsonWriter(ast)
  if (writer === undefined) return () => undefined
  const { depth, write } = writer
  return (event, maxDepth) => {
    try {
      return depth > maxDepth ? undefined : write(event)
    } catch {
      return undefined
    }
  }
}

/** Decodes simple values by inspection, without a copy. */
const guardedReader = <Event>(
  ast: SchemaAST.AST,
  decode: EventCodec<Event>["decode"]
): EventCodec<Event>["decode"] => {
  const fits = jsonReader(ast)
  if (fits === undefined) return decode
  return (json) => {
    try {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is what decoding it would give
      if (fits(json)) return Result.succeed(json as Event)
    } catch {
      // decoding reports the problem
    }
    return decode(json)
  }
}

const eventCodec = <Event extends Tagged>(
  schema: Schema.ConstraintCodec<Event, unknown>,
  schemaVersion: number
): EventCodec<Event> => {
  const json = Schema.toCodecJson(schema)
  const decode = guarded(SchemaParser.decodeUnknownResult(json))
  return {
    schemaVersion,
    encode: guarded(SchemaParser.encodeUnknownResult(json)),
    write: guardedWriter(json.ast),
    decode,
    decodeParsed: guardedReader(json.ast, decode)
  }
}

/** The longest text of an upcaster's own error that is given on, in characters. */
const maxThrownLength = 500

const stepThrew = (thrown: unknown): string =>
  `the upcaster's step threw ${String(thrown).slice(0, maxThrownLength)}`

/** A step, and a check that its result is what it leads to. */
const stepping = (
  step: Step<never, unknown>,
  to: Schema.ConstraintDecoder<unknown>,
  where: string
): ((event: Tagged) => Result.Result<unknown, Mismatch>) => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- A step gets events of the schema before it only; Upcaster.from and `to` see to that.
  const given = step as Step<unknown, unknown>
  const decode = typeof given === "function" ? SchemaGetter.transform<unknown, unknown>(given) : given.decode
  const schema = Schema.Unknown.pipe(
    Schema.decodeTo(Schema.Unknown, { decode, encode: SchemaGetter.forbiddenEncoding })
  )
  const run = guarded(SchemaParser.decodeUnknownResult(schema), stepThrew)
  const check = guarded(SchemaParser.decodeUnknownResult(to))
  return (event) =>
    Result.mapError(Result.flatMap(run(event), check), (unfit) => ({
      ...unfit,
      reason: `upcast to ${where}: ${unfit.reason}`
    }))
}

const nameOf = ({ eventType, schemaVersion }: Node): string => `version ${schemaVersion} of ${eventType}`

type Upcast = (event: Tagged) => Result.Result<ReadonlyArray<Tagged>, Mismatch>

/** Upcasts an event of a version to present events, step by step. */
const upcast = ({ next }: Node): Upcast => {
  switch (next._tag) {
    case "Present":
      return (event) => Result.succeed([event])
    case "To": {
      const step = stepping(next.step, Schema.toType(next.node.schema), nameOf(next.node))
      const onward = upcast(next.node)
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked by the schema that the step leads to
      return (event) => Result.flatMap(step(event), (result) => onward(result as Tagged))
    }
    case "Into": {
      const targets = [...next.targets.values()]
      const schema = Schema.Array(Schema.Union(targets.map((target) => Schema.toType(target.schema))))
      const step = stepping(next.step, schema, targets.map(nameOf).join(" and "))
      const onward = new Map([...next.targets].map(([tag, target]) => [tag, upcast(target)]))
      return (event) =>
        Result.gen(function* () {
          const events: Array<Tagged> = []
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked by the schemas that the step leads to
          for (const part of (yield* step(event)) as ReadonlyArray<Tagged>) {
            const go = onward.get(part._tag)
            if (go !== undefined) events.push(...(yield* go(part)))
          }
          return events
        })
    }
  }
}

/** Compiled when the first such event is read, because most programs never meet their oldest events. */
const formerVersion = (node: Node): FormerVersion<Tagged> => {
  let compiled: FormerVersion<Tagged> | undefined
  const compile = (): FormerVersion<Tagged> => {
    const { decode } = eventCodec(node.schema, node.schemaVersion)
    const onward = upcast(node)
    return (json) => Result.flatMap(decode(json), onward)
  }
  return (json) => (compiled ??= compile())(json)
}

const make = (aggregate: Aggregate.Any): AggregateCodec<Tagged, unknown> => {
  const { types, dropped } = history(aggregate.type, aggregate.events, aggregate.upcasters)
  const events = new Map<string, EventCodec<Tagged>>()
  const stored = new Map<string, StoredType<Tagged>>()
  for (const [eventType, versions] of types) {
    const former = new Map<number, FormerVersion<Tagged>>()
    for (const node of versions.values()) {
      if (node.next._tag !== "Present") former.set(node.schemaVersion, formerVersion(node))
      else events.set(eventType, eventCodec(node.schema, node.schemaVersion))
    }
    stored.set(eventType, {
      present: events.get(eventType),
      former,
      oldest: Math.min(...versions.keys()),
      newest: Math.max(...versions.keys()),
      presentTypes: new Set([...versions.values()].flatMap(presentTypes))
    })
  }
  return {
    encodeId: guarded(SchemaParser.encodeUnknownResult(aggregate.id)),
    events,
    stored,
    dropped
  }
}

/** Codecs, compiled once per aggregate. The aggregate alone is the key, because no codec depends on a tenant. */
const compiled = new WeakMap<object, unknown>()

export const codecOf = <State, Event extends Tagged, Id>(
  aggregate: Aggregate.Aggregate<string, State, Event, Id>
): AggregateCodec<Event, Id> => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Entries are written below only, each by the aggregate that is its key.
  const known = compiled.get(aggregate) as AggregateCodec<Event, Id> | undefined
  if (known !== undefined) return known
  const codec: unknown = make(aggregate)
  compiled.set(aggregate, codec)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Made from the schemas of the aggregate's ids and events.
  return codec as AggregateCodec<Event, Id>
}

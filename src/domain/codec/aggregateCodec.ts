import {
  Cause,
  Result,
  Schema,
  type SchemaAST,
  SchemaGetter,
  SchemaIssue,
  SchemaParser,
  Predicate
} from "effect"
import type * as Aggregate from "../Aggregate.ts"
import type { Tagged } from "../Event.ts"
import type { Step } from "../Upcaster.ts"
import { isCanonicalUuid, Uuid } from "../../internal/uuid.ts"
import { history, type Node, presentTypes } from "../eventHistory.ts"
import { checkMarks } from "./marks.ts"
import { type FindPersonal, personalFinder } from "./personalFields.ts"
import { jsonReader } from "./plainReader.ts"
import { jsonWriter } from "./plainWriter.ts"

export { samePath, sealedMember } from "./personalFields.ts"
export type { FindPersonal, NoSubject, Path, PersonalField } from "./personalFields.ts"

/** The path to a problem in a value, and a description that never contains the value. */
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
  /** Fast path: the JSON text of a simple event of at most `maxDepth` levels; undefined if it declines, so that `encode` goes on. */
  readonly write: (event: Event, maxDepth: number) => string | undefined
  readonly decode: (json: unknown) => Result.Result<Event, Mismatch>
  /** Fast path: true for a value from `JSON.parse` that decodes to an equal value. False if it declines, so that `decode` goes on. */
  readonly isDecoded: (json: unknown) => json is Event
  /** Finds its personal fields; undefined if it has none. */
  readonly personal: FindPersonal | undefined
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
  /** Finds the personal fields of a version; undefined if it has none. */
  readonly personal: (schemaVersion: number) => FindPersonal | undefined
}

/** Reads an event of a former version as any number of present events. */
export type FormerVersion<Event> = (json: unknown) => Result.Result<ReadonlyArray<Event>, Mismatch>

/** Converts between an aggregate's ids and events and their stored form. */
export interface AggregateCodec<Event, Id> {
  readonly encodeId: (id: Id) => Result.Result<string, Mismatch>
  readonly decodeId: (text: string) => Result.Result<Id, Mismatch>
  /** The present types. */
  readonly events: ReadonlyMap<string, EventCodec<Event>>
  /** All types that may be stored, except the dropped ones. */
  readonly stored: ReadonlyMap<string, StoredType<Event>>
  /** Types whose events are skipped. */
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

/** The error that was thrown inside the parser, which wraps it. */
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

/** Without the thrown text, which may quote the value that the schema checks. */
const schemaThrew = (): string => "its schema threw an error"

/** Schemas may throw: deep recursion overflows the stack, and user code runs inside them. */
export const guarded =
  <A, B>(
    run: (input: A) => Result.Result<B, SchemaIssue.Issue>,
    describe: (thrown: unknown) => string = schemaThrew
  ) =>
  (input: A): Result.Result<B, Mismatch> => {
    try {
      const result = run(input)
      // Not `mapError`, which allocates another result for a success.
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

const guardedReader = <Event>(ast: SchemaAST.AST): EventCodec<Event>["isDecoded"] => {
  const fits = jsonReader(ast)
  if (fits === undefined) return Predicate.isNever
  return (json): json is Event => {
    try {
      return fits(json)
    } catch {
      // The decoder reports the problem.
      return false
    }
  }
}

/** The finder of the personal fields of a version; undefined if it has none. */
const finderOf = ({ eventType, schema }: Node): FindPersonal | undefined => {
  const { ast } = Schema.toCodecJson(schema)
  checkMarks(eventType, ast)
  return personalFinder(ast)
}

const eventCodec = (
  { schema, schemaVersion }: Node,
  personal: FindPersonal | undefined
): EventCodec<Tagged> => {
  const json = Schema.toCodecJson(schema)
  return {
    schemaVersion,
    encode: guarded(SchemaParser.encodeUnknownResult(json)),
    write: guardedWriter(json.ast),
    decode: guarded(SchemaParser.decodeUnknownResult(json)),
    isDecoded: guardedReader(json.ast),
    personal
  }
}

/** Longest text of an error of an upcaster in a reason, in characters. */
const maxThrownLength = 500

const stepThrew = (thrown: unknown): string =>
  `the upcaster's step threw ${String(thrown).slice(0, maxThrownLength)}`

/** Runs a step and checks its result against the next schema. */
const stepping = (
  step: Step<never, unknown>,
  to: Schema.ConstraintDecoder<unknown>,
  where: string
): ((event: Tagged) => Result.Result<unknown, Mismatch>) => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `Upcaster.from` and `to` ensure that a step gets only events of the schema before it.
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

/** Compiles the version when its first event is read, because most programs never meet their oldest events. */
const formerVersion = (node: Node): FormerVersion<Tagged> => {
  let compiled: FormerVersion<Tagged> | undefined
  const compile = (): FormerVersion<Tagged> => {
    const { decode } = eventCodec(node, undefined)
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
      else events.set(eventType, eventCodec(node, finderOf(node)))
    }
    const formerFinders = new Map<number, FindPersonal | undefined>()
    const personal = (schemaVersion: number): FindPersonal | undefined => {
      const present = events.get(eventType)
      if (present?.schemaVersion === schemaVersion) return present.personal
      const node = versions.get(schemaVersion)
      if (node !== undefined && !formerFinders.has(schemaVersion))
        formerFinders.set(schemaVersion, finderOf(node))
      return formerFinders.get(schemaVersion)
    }
    stored.set(eventType, {
      present: events.get(eventType),
      former,
      oldest: Math.min(...versions.keys()),
      newest: Math.max(...versions.keys()),
      presentTypes: new Set([...versions.values()].flatMap(presentTypes)),
      personal
    })
  }
  return {
    encodeId: idEncoder(aggregate.id),
    decodeId: guarded(SchemaParser.decodeUnknownResult(aggregate.id)),
    events,
    stored,
    dropped
  }
}

/** Encodes ids. Most of them are stored as they are, and the general encoder takes as long as the rest of a small append. */
const idEncoder = (schema: Schema.Codec<unknown, string>): AggregateCodec<Tagged, unknown>["encodeId"] => {
  const encode = guarded(SchemaParser.encodeUnknownResult(schema))
  // `Uuid` turns other forms into the canonical one, which it leaves as it is.
  const isEncoded = schema === Uuid ? isCanonicalUuid : jsonReader(schema.ast)
  if (isEncoded === undefined) return encode
  return (id) => {
    try {
      if (typeof id === "string" && isEncoded(id)) return Result.succeed(id)
    } catch {
      // The encoder reports the problem.
    }
    return encode(id)
  }
}

/** Codecs, compiled once per aggregate. The key contains no tenant, because no codec depends on one. */
const compiled = new WeakMap<object, unknown>()

export const codecOf = <State, Event extends Tagged, Id>(
  aggregate: Aggregate.Aggregate<string, State, Event, Id>
): AggregateCodec<Event, Id> => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- The only entries are those written below, each under its own aggregate.
  const known = compiled.get(aggregate) as AggregateCodec<Event, Id> | undefined
  if (known !== undefined) return known
  const codec: unknown = make(aggregate)
  compiled.set(aggregate, codec)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- It was made from the schemas of this aggregate's ids and events.
  return codec as AggregateCodec<Event, Id>
}

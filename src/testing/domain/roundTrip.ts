/** What becomes of events and states when they are stored and read back. */
import { Arbitrary, Filter, Result, Schema } from "effect"
import type * as Aggregate from "../../domain/Aggregate.ts"
import type * as Event from "../../domain/Event.ts"
import * as StoredEvents from "../../domain/StoredEvents.ts"
import { codecOf } from "../../domain/codec/aggregateCodec.ts"
import { jsonProblem } from "../../internal/json.ts"
import { unequal, type Violation } from "./law.ts"
import { show } from "./show.ts"
import { storableJson } from "./storable.ts"

/** Levels of nesting that can be stored. */
const depth = 64

/** A value as JSON text and back, or why not. */
export const throughText = <A>(codec: Schema.Codec<A, unknown>, value: A): Result.Result<A, string> => {
  const encoded = Schema.encodeUnknownResult(codec)(value)
  if (Result.isFailure(encoded)) return Result.fail(`it cannot be encoded: ${encoded.failure.message}`)
  const text = JSON.stringify(encoded.success)
  const json: unknown = text === undefined ? undefined : JSON.parse(text)
  const problem = jsonProblem(json, depth)
  if (problem !== undefined) {
    return Result.fail(`it cannot be stored: ${[...problem.path, problem.reason].join(" ")}`)
  }
  const decoded = Schema.decodeUnknownResult(codec)(json)
  return Result.mapError(decoded, ({ message }) => `what it was encoded to cannot be decoded: ${message}`)
}

/** What is wrong with an event that is stored and read back, if anything is. */
export const eventProblem = <State, Payload extends Event.Tagged>(
  of: Aggregate.Aggregate<string, State, Payload, unknown>,
  event: Payload
): Violation | undefined => {
  const schema = Schema.Union(of.events)
  const codec = codecOf(of).events.get(event._tag)
  if (codec === undefined) return { problem: `${show(event)} is not an event of ${of.type}` }
  const encoded = codec.encode(event)
  if (Result.isFailure(encoded)) {
    const { path, reason } = encoded.failure
    return { problem: `${show(event)} cannot be encoded`, details: [...path, reason].join(" ") }
  }
  const unstorable = jsonProblem(encoded.success, depth)
  if (unstorable !== undefined) {
    return {
      problem: `${show(event)} cannot be stored`,
      details: [...unstorable.path, unstorable.reason].join(" ")
    }
  }
  const text = JSON.stringify(encoded.success)
  const decoded = codec.decode(JSON.parse(text))
  if (Result.isFailure(decoded)) {
    const { path, reason } = decoded.failure
    return {
      problem: `what is stored for ${show(event)} cannot be decoded: ${text}`,
      details: [...path, reason].join(" ")
    }
  }
  return Schema.toEquivalence(schema)(event, decoded.success)
    ? undefined
    : unequal("an event is another one after it was stored", ["before", event], ["after", decoded.success])
}

/** An event, and how it is stored. */
export interface Stored {
  readonly event: Event.Tagged
  readonly stored: StoredEvents.StoredPayload
}

/** Arbitrary events of the former versions, as they are stored; undefined if there are no former versions. */
export const formerEvents = (of: Aggregate.Any): Arbitrary.Arbitrary<Stored> | undefined => {
  const former = StoredEvents.versions(of)
    .filter(({ present }) => !present)
    .map(formerEvent)
  if (former.length === 0) return undefined
  return Arbitrary.flatMap(Arbitrary.schema(Schema.Literals([...former.keys()])), (index) => {
    const found = former[index]
    if (found === undefined) throw new RangeError(`there is no version ${index}`)
    return found
  })
}

const formerEvent = ({
  eventType,
  schema,
  schemaVersion
}: StoredEvents.StoredVersion): Arbitrary.Arbitrary<Stored> => {
  const codec = Schema.toCodecJson(schema)
  const encode = Schema.encodeUnknownResult(codec)
  const decode = Schema.decodeUnknownResult(codec)
  return Arbitrary.filterMap(
    Arbitrary.schema(schema),
    Filter.make((event: Event.Tagged): Result.Result<Stored, unknown> =>
      Result.gen(function* () {
        const json = yield* encode(event)
        const payload = jsonProblem(json, depth) === undefined ? json : storableJson(json)
        return { event: yield* decode(payload), stored: { eventType, schemaVersion, payload } }
      })
    )
  )
}

/** Why a stored payload cannot be read, if it cannot. */
export const upcastProblem = (
  of: Aggregate.Any,
  stored: StoredEvents.StoredPayload
): Violation | undefined => {
  const read = StoredEvents.read(of, stored)
  if (Result.isSuccess(read)) return undefined
  const { error, path, reason } = read.failure
  return {
    problem: `version ${stored.schemaVersion} of ${stored.eventType} cannot be read: ${error}`,
    details: [...path, reason].join(" ")
  }
}

/** Stores events and states as JSON and reads them back. */
import { Arbitrary, Filter, Result, Schema } from "effect"
import type * as Aggregate from "../../domain/Aggregate.ts"
import type * as Event from "../../domain/Event.ts"
import * as StoredEvents from "../../domain/StoredEvents.ts"
import { codecOf } from "../../domain/codec/aggregateCodec.ts"
import { jsonProblem } from "../../internal/json.ts"
import { unequal, type Violation } from "./law.ts"
import { show } from "./show.ts"
import { storableJson } from "./storable.ts"

/** Maximum depth that can be stored. */
const depth = 64

/** A value after a round trip through JSON text, or the reason why it has none. */
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
  return Result.mapError(decoded, ({ message }) => `its encoded form cannot be decoded: ${message}`)
}

/** The problem of an event that is stored and read back; undefined if there is none. */
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
      problem: `the stored form of ${show(event)} cannot be decoded: ${text}`,
      details: [...path, reason].join(" ")
    }
  }
  return Schema.toEquivalence(schema)(event, decoded.success)
    ? undefined
    : unequal("an event has changed after storage", ["before", event], ["after", decoded.success])
}

/** An event with its stored form. */
export interface Stored {
  readonly event: Event.Tagged
  readonly stored: StoredEvents.StoredPayload
}

/** Arbitrary events of former versions, in their stored form; undefined if there are no former versions. */
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

/** The reason why a stored payload cannot be read; undefined if it can. */
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

/**
 * Arbitrary events, envelopes and histories of an aggregate, for property tests with Effect's own engine. They are derived
 * from its schemas and its decisions.
 *
 * **Example**
 *
 * ```ts
 * import { it } from "@effect/vitest"
 * import { Arbitraries } from "effect-eventsourcing/testing"
 *
 * const decisions = {
 *   open: Arbitraries.decision(Schema.NonEmptyString, open),
 *   deposit: Arbitraries.decision(Amount, deposit),
 *   close
 * }
 *
 * it.prop("nobody owes us money", [Arbitraries.history(Account, decisions)], ([{ state }]) => state.balance >= 0)
 * ```
 */
import { Arbitrary, DateTime, Filter, Result, Schema } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import * as Event from "../domain/Event.ts"
import { codecOf } from "../domain/codec/aggregateCodec.ts"
import { jsonProblem, maxNameLength, nameProblem } from "../internal/json.ts"
import {
  commandsOf,
  type Decisions,
  DecisionWithInput,
  type History,
  play,
  type Step
} from "./domain/history.ts"
import { storableJson, storableText, storableValue } from "./domain/storable.ts"
import { CanonicalUuid } from "../internal/uuid.ts"
import type { Decision } from "../store/Repository.ts"
import * as Tenant from "../domain/Tenant.ts"

export type { Decisions, DecisionWithInput, History, Step }

/** Maximum depth of a payload. */
const depth = 64

/**
 * Arbitrary events of all types of an aggregate: values that its schemas allow and a store accepts.
 *
 * **Details**
 *
 * `Schema.String` allows texts that no store accepts (U+0000, halves of surrogate pairs), and JSON has no -0. Such an event
 * is replaced by the nearest one that can be stored.
 *
 * **Gotchas**
 *
 * Throws if Effect cannot derive arbitrary values from one of the schemas, for example from an opaque declaration without
 * the annotation `toCodecArbitrary`.
 */
export const event = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>
): Arbitrary.Arbitrary<Payload> => {
  const { events } = codecOf(aggregate)
  return Arbitrary.filterMap(
    Arbitrary.schema(Schema.Union(aggregate.events)),
    Filter.make((payload: Payload) => {
      const codec = events.get(payload._tag)
      const json = codec?.encode(payload)
      // Values that cannot be encoded stay, because the laws exist to find them.
      if (codec === undefined || json === undefined || Result.isFailure(json)) return Result.succeed(payload)
      if (jsonProblem(json.success, depth) === undefined) return Result.succeed(payload)
      return codec.decode(storableJson(json.success))
    })
  )
}

/** Arbitrary ids of an aggregate that a store accepts. */
export const id = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>
): Arbitrary.Arbitrary<Id> => {
  const decode = Schema.decodeResult(aggregate.id)
  const encode = Schema.encodeResult(aggregate.id)
  return Arbitrary.filterMap(
    Arbitrary.schema(aggregate.id),
    Filter.make((value: Id): Result.Result<Id, unknown> => {
      const text = encode(value)
      if (Result.isFailure(text)) return Result.fail(value)
      if (nameProblem(text.success) === undefined) return Result.succeed(value)
      const storable = storableText(text.success).slice(0, maxNameLength)
      return nameProblem(storable) === undefined ? decode(storable) : Result.fail(value)
    })
  )
}

const name = Schema.String.check(Schema.isPattern(/^[\p{L}\p{N} ._:@/-]+$/u), Schema.isMaxLength(40))
const time = Schema.Int.check(
  Schema.isBetween({ minimum: -62_135_596_800_000, maximum: 253_402_300_799_999 })
)
/** The example of W3C Trace Context. */
const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

const place = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2_147_483_647 }))
const metadata = Schema.Record(name, Schema.Union([name, Schema.Int, Schema.Boolean, Schema.Null]))

/**
 * Arbitrary envelopes of an aggregate's events, as a store could return them: with the payload's event type and the tags
 * that the aggregate derives, and no version higher than the position.
 */
export const envelope = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>
): Arbitrary.Arbitrary<Event.Envelope<Payload, Type>> => {
  const encodeId = Schema.encodeSync(aggregate.id)
  const { events } = codecOf(aggregate)
  return Arbitrary.map(
    Arbitrary.all({
      payload: event(aggregate),
      id: id(aggregate),
      eventId: Arbitrary.schema(Event.EventId),
      tenantId: Arbitrary.schema(Tenant.TenantId),
      places: Arbitrary.schema(Schema.Tuple([place, place])),
      times: Arbitrary.schema(Schema.Tuple([time, time])),
      actor: Arbitrary.schema(Schema.NullOr(name)),
      correlationId: Arbitrary.schema(CanonicalUuid),
      causationId: Arbitrary.schema(Schema.NullOr(CanonicalUuid)),
      traceparent: Arbitrary.schema(Schema.NullOr(Schema.Literals([trace]))),
      metadata: Arbitrary.schema(metadata)
    }),
    ({ id: aggregateId, payload, places, times, ...given }) => ({
      ...given,
      position: Math.max(...places),
      version: Math.min(...places),
      aggregateType: aggregate.type,
      aggregateId: encodeId(aggregateId),
      eventType: payload._tag,
      schemaVersion: events.get(payload._tag)?.schemaVersion ?? 1,
      occurredAt: DateTime.makeUnsafe(times[0]),
      recordedAt: DateTime.makeUnsafe(times[1]),
      metadata: { ...given.metadata },
      tags: [...new Set(aggregate.tagsOf?.(payload, aggregateId))].toSorted(),
      payload
    })
  )
}

/**
 * A decision with arbitrary inputs, derived from their schema (limited to texts that can be stored) or given as an
 * arbitrary.
 *
 * **Example**
 *
 * ```ts
 * const decisions = { deposit: Arbitraries.decision(Amount, (amount) => deposit(amount)) }
 * ```
 */
export const decision = <Input, State, D extends Decision<Event.Tagged, unknown>>(
  inputs: Schema.Schema<Input> | Arbitrary.Arbitrary<Input>,
  decide: (input: Input) => (state: State) => D
): DecisionWithInput<State, D> => {
  const arbitrary = Arbitrary.isArbitrary(inputs)
    ? inputs
    : Arbitrary.filterMap(Arbitrary.schema(inputs), Filter.make(storableInput(inputs)))
  return new DecisionWithInput(Arbitrary.map(arbitrary, (input) => ({ input, decide: decide(input) })))
}

const storableInput = <Input>(schema: Schema.Schema<Input>) => {
  const isInput = Schema.is(schema)
  return (input: Input): Result.Result<Input, unknown> => {
    const storable = storableValue(input)
    return isInput(storable) ? Result.succeed(storable) : Result.fail(input)
  }
}

/**
 * Arbitrary valid histories of an aggregate. Random commands go through its own decisions one after another: the events
 * that they yield form the history; refused commands add none. A history shrinks by dropping commands and by shrinking
 * their inputs.
 *
 * **Details**
 *
 * At the default size of a property check (10), a history has at most 30 commands.
 *
 * **Gotchas**
 *
 * Decisions run while values are generated: as plain values, `Result`s, or synchronous effects without requirements. For
 * them the clock stands still, and random values follow from the place in the history. An error thrown by a decision or
 * fold ends the property check; the laws (`Laws.aggregate`) find the history that leads to it.
 */
export const history = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  decisions: Decisions<State, NoInfer<Payload>>
): Arbitrary.Arbitrary<History<State, Payload>> =>
  Arbitrary.map(commandsOf<State, Payload>(decisions), (commands) => {
    const { events, states, steps, thrown } = play(aggregate, commands)
    if (thrown !== undefined)
      throw new Error(`${thrown.doing} ${thrown.subject} threw an error`, { cause: thrown.error })
    return { steps, events, state: states.at(-1) ?? states[0] }
  })

/** Laws of personal data. */
import { Arbitrary, Effect, Option, Result, Schema, Stream } from "effect"
import type * as Aggregate from "../../domain/Aggregate.ts"
import * as Event from "../../domain/Event.ts"
import * as StoredEvents from "../../domain/StoredEvents.ts"
import type { CurrentTenant } from "../../domain/Tenant.ts"
import type { ReadError } from "../../driver/StoreError.ts"
import * as PersonalData from "../../forgetting/PersonalData.ts"
import type { EventStore } from "../../store/EventStore.ts"
import * as Arbitraries from "../Arbitraries.ts"
import { anyCommands, check, LawBroken, type Options } from "./check.ts"
import { forgetStored, personalFieldsOf, readJson, storedOf, subjectsOf, valueAt } from "./forgetting.ts"
import { decideNow, play, showCommand } from "./history.ts"
import { type CheckOptions, showPlayed, threw, unequal, type Violation } from "./law.ts"
import { deepFreeze } from "./purity.ts"
import { formerEvents, throughText } from "./roundTrip.ts"
import { show } from "./show.ts"

/** At most this many subjects of a history are forgotten one by one. */
const maxSubjects = 3

/**
 * Forgetting is total: when any subject of a history, or all of them, are forgotten, its events can be read, folding them never
 * throws, the states survive storage, and decisions on them do not throw.
 */
export const forgettingIsTotal = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: Options<State, NoInfer<Payload>> = {}
): Effect.Effect<void, LawBroken> => {
  const codec = Schema.toCodecJson(aggregate.state)
  return check(
    "forgettingIsTotal",
    aggregate,
    options,
    () =>
      Arbitrary.map(anyCommands(aggregate, options.decisions), (commands) => ({
        ...play(aggregate, commands),
        commands
      })),
    showPlayed,
    ({ commands, events }) => {
      const stored = events.flatMap((event) => storedOf(aggregate, event) ?? [])
      const subjects = subjectsOf(aggregate, stored)
      const each = [...subjects].slice(0, maxSubjects).map((subject) => new Set([subject]))
      for (const forgotten of subjects.size === 0 ? [] : [subjects, ...each]) {
        let state = deepFreeze(aggregate.initial)
        for (const event of stored) {
          const read = StoredEvents.read(aggregate, forgetStored(aggregate, event, forgotten))
          if (Result.isFailure(read)) return unreadable(event, read.failure)
          for (const payload of read.success) {
            try {
              state = deepFreeze(aggregate.apply(state, payload))
            } catch (error) {
              return threw(`folding ${show(payload)}`, error)
            }
          }
        }
        const restored = throughText(codec, state)
        if (Result.isFailure(restored))
          return { problem: `the state ${show(state)} does not survive storage`, details: restored.failure }
        for (const [index, command] of commands.entries()) {
          try {
            decideNow(command.decide(state), index)
          } catch (error) {
            return threw(`deciding ${showCommand(command)} with the state ${show(state)}`, error)
          }
        }
      }
      return undefined
    }
  )
}

const unreadable = (
  { eventType, schemaVersion }: StoredEvents.StoredPayload,
  { path, reason }: StoredEvents.Unreadable
): Violation => ({
  problem: `version ${schemaVersion} of ${eventType} cannot be read when its personal data is forgotten`,
  details: [...path, reason].join(" ")
})

/**
 * Forgetting commutes with upcasting: an event of a former version whose subject is forgotten is read as the present events without
 * the data of that subject. A step that puts personal data into a field without a mark, or drops a mark, breaks it.
 */
export const forgettingCommutesWithUpcasting = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: CheckOptions = {}
): Effect.Effect<void, LawBroken> =>
  Effect.suspend(() => {
    const former = formerEvents(aggregate)
    return former === undefined
      ? Effect.void
      : check(
          "forgettingCommutesWithUpcasting",
          aggregate,
          options,
          () => former,
          ({ event, stored }) => `with ${show(event)}, stored in version ${stored.schemaVersion}`,
          ({ stored }) => orderMatters(aggregate, stored)
        )
  })

const orderMatters = (of: Aggregate.Any, stored: StoredEvents.StoredPayload): Violation | undefined => {
  // Unreadable events are found by another law.
  const before = readJson(of, stored)
  if (Result.isFailure(before)) return undefined
  for (const subject of subjectsOf(of, [stored])) {
    const forgotten = new Set([subject])
    const after = readJson(of, forgetStored(of, stored, forgotten))
    if (Result.isFailure(after)) return unreadable(stored, after.failure)
    const expected = before.success.map((event) => forgetStored(of, event, forgotten).payload)
    const found = after.success.map(({ payload }) => payload)
    if (JSON.stringify(expected) !== JSON.stringify(found))
      return unequal(
        `forgetting the subject ${show(subject)} and then upcasting gives other events than upcasting and then forgetting it`,
        ["upcast, then forgotten", expected],
        ["forgotten, then upcast", found]
      )
  }
  return undefined
}

/** Shorter texts turn up in others by chance. */
const minLength = 8

/**
 * Personal data stays in payloads, which can be sealed: the tags that an aggregate derives do not depend on it, and decisions put none
 * into tags, actor and metadata of their events.
 */
export const personalDataStaysInPayloads = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: Options<State, NoInfer<Payload>> = {}
): Effect.Effect<void, LawBroken> =>
  check(
    "personalDataStaysInPayloads",
    aggregate,
    options,
    () =>
      Arbitrary.all({ commands: anyCommands(aggregate, options.decisions), id: Arbitraries.id(aggregate) }),
    ({ commands, id }) => `${showPlayed(play(aggregate, commands))}\nwith the id ${show(id)}`,
    ({ commands, id }) => {
      let state = aggregate.initial
      for (const [index, command] of commands.entries()) {
        const decided = decideNow<Payload>(command.decide(state), index)
        if (Result.isFailure(decided)) continue
        for (const event of decided.success) {
          const payload = event instanceof Event.NewEvent ? event.payload : event
          const violation = leak(aggregate, id, payload, event instanceof Event.NewEvent ? event.options : {})
          if (violation !== undefined) return violation
          state = aggregate.apply(state, payload)
        }
      }
      return undefined
    }
  )

const leak = <State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<string, State, Payload, Id>,
  id: Id,
  payload: Payload,
  { actor, metadata, tags }: Event.EventOptions
): Violation | undefined => {
  const stored = storedOf(aggregate, payload)
  const fields = stored === undefined ? [] : personalFieldsOf(aggregate, stored)
  if (stored === undefined || fields.length === 0) return undefined
  const read = StoredEvents.read(aggregate, forgetStored(aggregate, stored, subjectsOf(aggregate, [stored])))
  if (Result.isFailure(read)) return unreadable(stored, read.failure)
  const [forgotten] = read.success
  const derived = aggregate.tagsOf?.(payload, id)
  if (forgotten !== undefined && derived !== undefined) {
    const without = aggregate.tagsOf?.(forgotten, id)
    if (JSON.stringify(derived) !== JSON.stringify(without))
      return unequal(
        `the tags of ${show(payload)} depend on its personal data, but tags cannot be forgotten: use Forgetting.blindIndex`,
        ["tags", derived],
        ["when the personal data is forgotten", without]
      )
  }
  for (const [part, value] of Object.entries({ actor, metadata, tags })) {
    const text = JSON.stringify(value ?? null)
    for (const { path } of fields) {
      const data = valueAt(stored.payload, path)
      if (
        typeof data === "string" &&
        data.length >= minLength &&
        text.includes(JSON.stringify(data).slice(1, -1))
      )
        return {
          problem: `the personal field ${path.join(".")} of ${show(payload)} is also in its ${part}, which cannot be forgotten`,
          details: text
        }
    }
  }
  return undefined
}

/**
 * The log of the current tenant keeps personal data in payloads, which can be sealed: none of it is in ids of aggregates, actors, tags,
 * metadata, and ids of correlation and causation. For the end of a test of a program, whose event contexts and ids no other law sees.
 *
 * **Example**
 *
 * ```ts
 * it.effect("registers customers", () =>
 *   registerEverybody.pipe(
 *     Effect.andThen(Laws.logKeepsPersonalData({ aggregates: [Customer] })),
 *     Tenant.provide(tenantId),
 *     Effect.provide(App)
 *   )
 * )
 * ```
 */
export const logKeepsPersonalData = (
  request: PersonalData.OutsideRequest
): Effect.Effect<void, LawBroken | ReadError, EventStore | CurrentTenant> =>
  Effect.flatMap(Stream.runHead(PersonalData.outsideOfPayloads(request)), (found) => {
    if (Option.isNone(found)) return Effect.void
    const { aggregateType, eventType, path, place, position } = found.value
    return Effect.fail(
      new LawBroken({
        law: "logKeepsPersonalData",
        aggregateType,
        message: `the personal field ${path.join(".")} of ${eventType} at position ${position} is also in its ${place}, which cannot be forgotten`,
        replay: undefined
      })
    )
  })

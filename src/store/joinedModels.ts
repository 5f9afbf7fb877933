/** Decisions on equal queries, decided together and appended under one condition. */
import { DateTime, Effect, Exit, Result, Stream } from "effect"
import { tenantOf } from "../domain/currentTenant.ts"
import type * as DecisionModel from "../domain/DecisionModel.ts"
import { hasId, type Ids } from "../domain/derivedIds.ts"
import type * as Event from "../domain/Event.ts"
import { CurrentEventContext } from "../domain/EventContext.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type { EventQuery } from "../driver/EventStorage.ts"
import { matches } from "../driver/queryMatch.ts"
import { answer } from "./commandLine.ts"
import type { Decision } from "./decide.ts"
import { byStream, type Executed, isOutdated, listOf, LogReplaced, type Outcome } from "./decideOnModel.ts"
import {
  beside,
  type Member,
  plainly,
  type Step,
  type Subject,
  trying,
  withTenant
} from "./decideTogether.ts"
import { EncodedEvent } from "./encode.ts"
import { isStillAt, numbered } from "./forgottenNumber.ts"
import { mayBePersonal } from "./snapshotCodec.ts"
import type { Appended, EventStore, StreamEventsOf } from "./EventStore.ts"
import type * as Aggregate from "../domain/Aggregate.ts"
import * as eventQuery from "./queryTerms.ts"

/** A decision on a model. */
export interface ModelCommand {
  readonly model: DecisionModel.Any
  readonly decide: (state: unknown) => Decision<Outcome, unknown, unknown>
  /** The ids for its events, if a seed is set to derive them from. */
  readonly ids: Ids | undefined
}

/** The states of models up to a position of the log. Their queries are equal. */
interface Known {
  readonly position: number
  /** The same position with the id of its event; 0 if the log was empty. */
  readonly after: number | Event.Position
  readonly states: ReadonlyMap<DecisionModel.Any, unknown>
  /** The number of forgotten subjects on which they rely. */
  readonly forgotten?: number | undefined
}

/** An event that is not stored yet. */
type Pending = Event.Envelope<Event.Tagged>

/** The events of the decisions so far that match the query. */
interface Reached {
  readonly known: Known
  readonly pending: ReadonlyArray<Pending>
  /** The states of models after some of these events. They are the same wherever they are computed. */
  readonly folded: Map<DecisionModel.Any, { readonly state: unknown; readonly events: number }>
}

type Streams = StreamEventsOf<Aggregate.Any>

/** The types of a line of decisions. */
export interface ModelTypes {
  readonly command: ModelCommand
  readonly answer: Executed<unknown>
  readonly known: Known
  readonly reached: Reached
  readonly event: Streams
  readonly sent: ReadonlyArray<Appended<Event.Tagged>>
}

const unknown: Known = { position: 0, after: 0, states: new Map() }

/** Number of attempts to read the place of an event that has none yet. Models may catch the error. */
let refusedReads = 0
const unplaced = new Error("the event has no place in the log yet")
const refuseRead = (): never => {
  refusedReads++
  throw unplaced
}

/** The envelope of an event before it is stored. Its places cannot be read, nor can it be copied. */
const pendingOf = (
  tenantId: TenantId,
  { aggregate, aggregateId, encoded, payload }: EncodedEvent<Event.Tagged>
): Pending => {
  const { row, metadata } = encoded
  // Accessors of the literal: adding them to an object takes as long as the rest of a decision.
  return {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the encoder checked or generated it
    eventId: row.eventId as Event.EventId,
    tenantId,
    get position() {
      return refuseRead()
    },
    aggregateType: aggregate.type,
    aggregateId,
    get version() {
      return refuseRead()
    },
    eventType: payload._tag,
    schemaVersion: row.schemaVersion,
    occurredAt: DateTime.makeUnsafe(row.occurredAt),
    get recordedAt() {
      return refuseRead()
    },
    actor: row.actor,
    correlationId: row.correlationId,
    causationId: row.causationId,
    traceparent: row.traceparent ?? null,
    metadata,
    tags: row.tags,
    payload
  }
}

/** The envelopes of a step's events, in the order of the log. */
const eventsOf = (sent: ReadonlyArray<Appended<Event.Tagged>>): Array<Event.Envelope<Event.Tagged>> =>
  sent.flatMap(({ events }) => events).toSorted((left, right) => left.position - right.position)

export const makeJoinedModels = (store: EventStore["Service"]): Subject<ModelTypes> => {
  /** The state of a model behind the pending events; undefined if it must know their places, or cannot be computed. */
  const stateAt = (
    { folded, known, pending }: Reached,
    model: DecisionModel.Any
  ): { readonly state: unknown } | undefined => {
    if (!known.states.has(model)) return undefined
    let { events, state } = folded.get(model) ?? { state: known.states.get(model), events: 0 }
    const before = refusedReads
    try {
      for (; events < pending.length; events++) {
        const envelope = pending[events]
        if (envelope !== undefined) state = model.apply(state, envelope)
      }
    } catch {
      return undefined
    }
    if (refusedReads > before) return undefined
    folded.set(model, { state, events })
    return { state }
  }

  /** Encodes the events for streams as one append would: the first event's correlation is that of all. */
  const encode = Effect.fnUntraced(function* (streams: ReadonlyArray<Streams>) {
    const encoded: Array<Streams> = []
    let correlationId: string | undefined
    for (const stream of streams) {
      const events = yield* Effect.updateService(store.encode(stream), CurrentEventContext, (context) =>
        correlationId === undefined ? context : { ...context, correlationId }
      )
      const [first] = events
      if (first !== undefined && isEncoded(first)) correlationId ??= first.encoded.row.correlationId
      encoded.push({ ...stream, events })
    }
    return encoded
  })

  const decide = (
    member: Member<ModelTypes>,
    before: Reached
  ): Effect.Effect<Step<ModelTypes> | undefined> => {
    const { command, services } = member
    const { ids, model } = command
    const unchanged = {
      member,
      events: [],
      after: before,
      refusal: undefined,
      isAppended: false,
      isAlone: false
    }
    // The refusal of a decision that may have been carried out before is not the last word.
    const refused = (refusal: Exit.Exit<never, unknown>) =>
      ids === undefined ? { ...unchanged, refusal } : undefined
    const at = stateAt(before, model)
    if (at === undefined) return Effect.undefined
    const decided = plainly(() => command.decide(at.state))
    if (decided === undefined) return Effect.undefined
    if (Exit.isFailure(decided)) return Effect.succeed(refused(Exit.failCause(decided.cause)))
    const outcome = decided.value
    // Without a derived id the store cannot tell whether it has been carried out before.
    if (ids !== undefined && listOf(outcome).every(({ events }) => events.every(hasId)))
      return Effect.undefined
    const streams = byStream(outcome, ids)
    if (Result.isFailure(streams)) return Effect.succeed(refused(Exit.fail(streams.failure)))
    if (streams.success.length === 0) return Effect.succeed(unchanged)
    return Effect.map(Effect.exit(withTenant(services, encode(streams.success))), (encoded) => {
      if (Exit.isFailure(encoded)) return refused(Exit.failCause(encoded.cause))
      const query = eventQuery.toStorage(model.query)
      const tenantId = tenantOf(services)
      const pending = [...before.pending]
      for (const { events } of encoded.value)
        for (const event of events)
          if (isEncoded(event) && isMatched(query, event)) pending.push(pendingOf(tenantId, event))
      return {
        member,
        events: encoded.value,
        after: { ...before, pending },
        refusal: undefined,
        isAppended: true,
        isAlone: false
      }
    })
  }

  /** Reads the events of the query behind the known position, and all of them for models without a state. */
  const readOn = Effect.fnUntraced(function* (models: ReadonlySet<DecisionModel.Any>, known: Known) {
    const [first] = models
    if (first === undefined) return known
    const head = yield* store.head
    const position = head?.position ?? 0
    const states = new Map<DecisionModel.Any, unknown>()
    for (const model of models)
      states.set(model, known.states.has(model) ? known.states.get(model) : model.initial)
    const isNew = [...models].some((model) => !known.states.has(model))
    const fromPosition = isNew ? 1 : known.position + 1
    if (position >= fromPosition)
      yield* store
        .readLog({
          aggregates: eventQuery.aggregatesOf(first.query),
          query: first.query,
          fromPosition,
          toPosition: position
        })
        .pipe(
          Stream.runForEachArray((page) =>
            Effect.sync(() => {
              for (const envelope of page)
                for (const [model, state] of states)
                  if (envelope.position > known.position || !known.states.has(model))
                    apply(states, model, state, envelope)
            })
          )
        )
    return { position, after: head ?? 0, states }
  })

  /** True if the log still has the event of a known position, which has confirmed all before it. */
  const isKept = ({ after }: Known) =>
    typeof after === "number"
      ? Effect.succeed(true)
      : Effect.map(store.eventPosition(after.eventId), (position) => position === after.position)

  const read = Effect.fnUntraced(function* (models: ReadonlySet<DecisionModel.Any>, known: Known) {
    if (known.position > 0) {
      const next = yield* readOn(models, known)
      // Asked last: then all that was read belongs to the history of the known states.
      const isSame = next.position >= known.position && (yield* isKept(known))
      if (isSame && (yield* isStillAt(store, known.forgotten))) return { ...next, forgotten: known.forgotten }
    }
    return yield* numbered(
      store,
      () => [...models].some(({ query }) => eventQuery.aggregatesOf(query).some((one) => mayBePersonal(one))),
      readOn(models, unknown),
      (next, number) => ({ ...next, forgotten: number })
    )
  })

  const settle = (
    known: Known,
    steps: ReadonlyArray<Step<ModelTypes>>,
    sent: ReadonlyArray<Appended<Event.Tagged>> | undefined
  ): Effect.Effect<Known> =>
    Effect.sync(() => {
      const states = new Map(known.states)
      let { after, position } = known
      let first = 0
      const outcomes: Array<() => void> = []
      for (const { events: streams, member, refusal } of steps) {
        if (refusal !== undefined) {
          outcomes.push(() => answer(member, refusal))
          continue
        }
        const events = eventsOf(sent?.slice(first, (first += streams.length)) ?? [])
        for (const envelope of events) {
          position = Math.max(position, envelope.position)
          if (position === envelope.position) after = { position, eventId: envelope.eventId }
          for (const [model, state] of states) apply(states, model, state, envelope)
        }
        const { model } = member.command
        const outcome = states.has(model)
          ? Exit.succeed({ state: states.get(model), position, after, events, replayed: false })
          : Exit.die(new Error("the decision model threw an error for an event that was appended"))
        outcomes.push(() => answer(member, outcome))
      }
      for (const give of outcomes) give()
      return { position, after, states, forgotten: known.forgotten } satisfies Known
    })

  const modelsOf = (members: ReadonlyArray<Member<ModelTypes>>): ReadonlySet<DecisionModel.Any> =>
    new Set(members.map(({ command }) => command.model))

  return {
    nameOf: () => "decision model",
    recall: (members, { known }) => {
      const [first] = members
      if (known === undefined || first === undefined) return undefined
      const now = store.knownForgotten?.(tenantOf(first.services))
      if (now !== undefined && now !== known.forgotten) return undefined
      const states = new Map<DecisionModel.Any, unknown>()
      for (const model of modelsOf(members))
        if (known.states.has(model)) states.set(model, known.states.get(model))
      return { ...known, states }
    },
    isComplete: ({ states }, members) => members.every(({ command }) => states.has(command.model)),
    read: (members, known = unknown) => withTenant(members[0].services, read(modelsOf(members), known)),
    reachedOf: (known) => ({ known, pending: [], folded: new Map() }),
    decide,
    send: ({ appended, before }) => {
      const [first] = appended
      if (first === undefined) return Effect.die(new Error("an append without decisions"))
      const { model } = first.member.command
      const condition = { query: model.query, after: before.known.after }
      return withTenant(
        first.member.services,
        store.appendAll(
          appended.flatMap(({ events }) => events),
          { condition, forgotten: before.known.forgotten }
        )
      ).pipe(Effect.catchTag("PositionDiverged", (error) => Effect.fail(new LogReplaced(error))))
    },
    isUsual: (_part, sent) => sent.every(({ replayed }) => !replayed),
    settle,
    knownBefore: (known) => known,
    isOutdated,
    // It searches for the events of the earlier run.
    replayed: () => Effect.succeed(beside),
    eventIdsOf: ({ events }) =>
      events.flatMap((stream) =>
        stream.events.flatMap((event) => (isEncoded(event) ? event.encoded.row.eventId : []))
      )
  }
}

/** Applies an event to the state of a model. One that throws has no state, and its decisions go beside. */
const apply = (
  states: Map<DecisionModel.Any, unknown>,
  model: DecisionModel.Any,
  state: unknown,
  envelope: Event.Envelope<Event.Tagged>
): void => {
  const applied = trying(() => model.apply(state, envelope))
  if (Exit.isSuccess(applied)) states.set(model, applied.value)
  else states.delete(model)
}

const isEncoded = (event: Event.Appendable<Event.Tagged>): event is EncodedEvent<Event.Tagged> =>
  event instanceof EncodedEvent

const isMatched = (
  query: EventQuery,
  { aggregate, aggregateId, encoded }: EncodedEvent<Event.Tagged>
): boolean =>
  matches(query, {
    aggregateId,
    aggregateType: aggregate.type,
    correlationId: encoded.row.correlationId,
    eventType: encoded.row.eventType,
    tags: encoded.row.tags
  })

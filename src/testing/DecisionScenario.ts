/**
 * Tests of decisions across streams, without a store: given a tenant's log, when a decision is made on a decision model, then
 * these events or this error follow. For the decisions of one aggregate use `Scenario`.
 *
 * **Example**
 *
 * ```ts
 * import { it } from "@effect/vitest"
 * import { Decisions } from "effect-eventsourcing"
 * import { DecisionScenario } from "effect-eventsourcing/testing"
 *
 * it("enrols a student while there are seats", () =>
 *   DecisionScenario.given(Course, "maths", CourseOffered.make({ seats: 1 }))
 *     .when(enrolment("maths", "ada"), enrol("maths", "ada"))
 *     .thenEvents(Decisions.to(Course, "maths", StudentEnrolled.make({ studentId: "ada" }))))
 * ```
 */
import { DateTime, Effect, Effectable, Equal, Result, Schema } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import * as DecisionModel from "../domain/DecisionModel.ts"
import type { AnyDecided, Decision, Outcome } from "../store/Decisions.ts"
import * as Event from "../domain/Event.ts"
import { codecOf } from "../domain/codec/aggregateCodec.ts"
import { andThen, decided, now, payloadOf, type Soon, toEffect } from "./domain/decision.ts"
import { plain, plainLike, sameEvent, unmet } from "./domain/expectation.ts"
import { show } from "./domain/show.ts"
import type { ErrorOf, RequirementsOf } from "../store/Repository.ts"
import * as Tenant from "../domain/Tenant.ts"

/** Adds events of one stream to the log. */
export interface Add {
  <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: NoInfer<Id>,
    ...events: ReadonlyArray<Event.Appendable<NoInfer<Payload>>>
  ): Given
}

/** Decides on the state of a decision model, with a function as for `Decisions.execute`. */
export type When<R> = <State, const D extends Decision<unknown, unknown>>(
  model: DecisionModel.DecisionModel<State>,
  decide: (state: State) => D
) => Then<State, ErrorOf<D>, R | RequirementsOf<D>>

/** A tenant's log. */
export interface Given {
  /** Adds events after the earlier ones. */
  readonly and: Add
  readonly when: When<never>
}

/**
 * The outcome of a decision and expectations of it: an effect that fails the test if an expectation is not met. If the
 * decision is a plain value or a `Result`, expectations are checked at once, without running the effect.
 */
export interface Then<State, E, R> extends Effect.Effect<void, never, R> {
  /** Expects exactly these events, for these streams, in this order. */
  readonly thenEvents: (...decided: ReadonlyArray<AnyDecided>) => Then<State, E, R>
  /** Expects no events. */
  readonly thenNothing: () => Then<State, E, R>
  /** Expects this error. */
  readonly thenError: (error: E) => Then<State, E, R>
  /** Expects an error with this tag. */
  readonly thenErrorTag: (tag: Extract<E, Event.Tagged>["_tag"]) => Then<State, E, R>
  /** Expects success, and this state of the model afterwards. */
  readonly thenState: (state: State) => Then<State, E, R>
  /**
   * Decides once more, on the log after this decision. This decision must have succeeded, unless its error was expected.
   */
  readonly when: When<R>
}

type Envelope = Event.Envelope<Event.Tagged>

/** The state of a scenario: the log, and the outcome of the last decision. */
interface Standing<State> {
  readonly log: ReadonlyArray<Envelope>
  readonly model: DecisionModel.DecisionModel<State>
  readonly decided: Result.Result<ReadonlyArray<AnyDecided>, unknown>
  /** True if the last decision was expected to fail. */
  readonly failureExpected: boolean
}

const tenantId = Tenant.TenantId.make("018f0000-0000-7000-8000-00000000000a")
const time = DateTime.makeUnsafe(0)

/** The log with more events at its end. */
const append = (
  log: ReadonlyArray<Envelope>,
  { aggregate, events, id }: AnyDecided
): ReadonlyArray<Envelope> => {
  const aggregateId = Schema.encodeUnknownSync(aggregate.id)(id)
  const before = log.filter(
    (event) => event.aggregateType === aggregate.type && event.aggregateId === aggregateId
  )
  const added = events.map((event, index): Envelope => {
    const payload = payloadOf(event)
    const options = event instanceof Event.NewEvent ? event.options : {}
    const eventId = options.eventId ?? Event.generateId()
    const occurredAt = options.occurredAt ?? time
    return {
      eventId,
      tenantId,
      position: log.length + index + 1,
      aggregateType: aggregate.type,
      aggregateId,
      version: before.length + index + 1,
      eventType: payload._tag,
      schemaVersion: codecOf(aggregate).events.get(payload._tag)?.schemaVersion ?? 1,
      occurredAt,
      recordedAt: occurredAt,
      actor: options.actor ?? null,
      correlationId: eventId,
      causationId: null,
      traceparent: null,
      metadata: options.metadata ?? {},
      tags: [...new Set([...(aggregate.tagsOf?.(payload, id) ?? []), ...(options.tags ?? [])])].toSorted(),
      payload
    }
  })
  return [...log, ...added]
}

class DecisionScenario<State, E, R> extends Effectable.Class<void, never, R> implements Then<State, E, R> {
  readonly #standing: Soon<Standing<State>, R>

  constructor(standing: Soon<Standing<State>, R>) {
    super()
    this.#standing = standing
  }

  override asEffect(): Effect.Effect<void, never, R> {
    return Effect.asVoid(toEffect(this.#standing))
  }

  thenEvents(...expected: ReadonlyArray<AnyDecided>): Then<State, E, R> {
    return this.#check((standing) => {
      const wanted = expected.flatMap(placed)
      const kind = wanted.length === 0 ? "no events" : "events"
      if (Result.isFailure(standing.decided)) return refuse(standing, kind, wanted.map(showPlaced))
      const found = standing.decided.success.flatMap(placed)
      const same =
        found.length === wanted.length &&
        wanted.every(({ event, stream }, index) => {
          const other = found[index]
          return other !== undefined && other.stream === stream && sameEvent(event, other.event)
        })
      if (same) return
      const shown = found.map(({ event, stream }, index) => ({
        stream,
        event: plainLike(event, wanted[index]?.event)
      }))
      refuse(standing, kind, wanted.map(showPlaced), shown)
    })
  }

  thenNothing(): Then<State, E, R> {
    return this.thenEvents()
  }

  thenError(error: E): Then<State, E, R> {
    return this.#check((standing) => {
      if (Result.isSuccess(standing.decided) || !Equal.equals(standing.decided.failure, error)) {
        refuse(standing, "an error", error)
      }
    }, true)
  }

  thenErrorTag(tag: Extract<E, Event.Tagged>["_tag"]): Then<State, E, R> {
    return this.#check((standing) => {
      const failure = Result.isFailure(standing.decided) ? standing.decided.failure : undefined
      const found =
        typeof failure === "object" && failure !== null && "_tag" in failure ? failure._tag : undefined
      if (found !== tag) refuse(standing, "an error", { _tag: tag })
    }, true)
  }

  thenState(state: State): Then<State, E, R> {
    return this.#check((standing) => {
      if (Result.isFailure(standing.decided)) return refuse(standing, "a state", state)
      const found = DecisionModel.fold(standing.model, standing.decided.success.reduce(append, standing.log))
      if (!Equal.equals(found, state)) refuse(standing, "a state", state, found)
    })
  }

  when<Next, const D extends Decision<unknown, unknown>>(
    model: DecisionModel.DecisionModel<Next>,
    decide: (state: Next) => D
  ): Then<Next, ErrorOf<D>, R | RequirementsOf<D>> {
    const next = andThen(this.#standing, (standing) => {
      const { decided: outcome, failureExpected, log } = standing
      if (Result.isFailure(outcome) && !failureExpected) {
        refuse(standing, "a success, as another decision follows", [])
      }
      return look(Result.isSuccess(outcome) ? outcome.success.reduce(append, log) : log, model, decide)
    })
    return new DecisionScenario<Next, ErrorOf<D>, R | RequirementsOf<D>>(next)
  }

  #check(expectation: (standing: Standing<State>) => void, failureExpected = false): Then<State, E, R> {
    return new DecisionScenario<State, E, R>(
      andThen(this.#standing, (standing) => {
        expectation(standing)
        return now({ ...standing, failureExpected })
      })
    )
  }
}

const look = <State, D extends Decision<unknown, unknown>>(
  log: ReadonlyArray<Envelope>,
  model: DecisionModel.DecisionModel<State>,
  decide: (state: State) => D
): Soon<Standing<State>, RequirementsOf<D>> => {
  const yielded: Decision<unknown, unknown> = decide(DecisionModel.fold(model, log))
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a decision requires what its type says
  return andThen(decided<Outcome>(yielded), (outcome) =>
    now({ log, model, decided: Result.map(outcome, listOf), failureExpected: false })
  ) as Soon<Standing<State>, RequirementsOf<D>>
}

const listOf = (outcome: Outcome): ReadonlyArray<AnyDecided> => ("events" in outcome ? [outcome] : outcome)

/** Events with their streams, as text. */
const placed = ({ aggregate, events, id }: AnyDecided) =>
  events.map((event) => ({ stream: `${aggregate.type} ${show(id)}`, event }))

const showPlaced = ({ event, stream }: ReturnType<typeof placed>[number]) => ({ stream, event: plain(event) })

/** Fails the test with the given events, the expectation and the outcome. */
const refuse = <State>(standing: Standing<State>, kind: string, expected: unknown, found?: unknown): never =>
  unmet({
    given: {
      title: "a log",
      events: standing.log.map(({ aggregateId, aggregateType, payload }) => ({
        stream: `${aggregateType} ${show(aggregateId)}`,
        event: payload
      }))
    },
    decided: Result.map(standing.decided, (events) => events.flatMap(placed).map(showPlaced)),
    kind,
    expected,
    found
  })

const make = (log: ReadonlyArray<Envelope>): Given => ({
  and: (aggregate, id, ...events) => make(append(log, { aggregate, id, events })),
  when: <State, const D extends Decision<unknown, unknown>>(
    model: DecisionModel.DecisionModel<State>,
    decide: (state: State) => D
  ) => new DecisionScenario<State, ErrorOf<D>, RequirementsOf<D>>(look(log, model, decide))
})

/** Starts a scenario with events in the log. */
export const given: Add = (aggregate, id, ...events) => make([]).and(aggregate, id, ...events)

/** Starts a scenario with an empty log. */
export const empty: Given = make([])

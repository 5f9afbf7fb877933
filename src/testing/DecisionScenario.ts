/**
 * Given what is in a tenant's log, when somebody decides on a decision model, then this happens: decisions across streams,
 * tested without a store. For the decisions of one aggregate there is `Scenario`.
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

/** Adds events of one stream to what is in the log. */
export interface Add {
  <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: NoInfer<Id>,
    ...events: ReadonlyArray<Event.Appendable<NoInfer<Payload>>>
  ): Given
}

/** A decision looks at the state of a decision model: a function as `Decisions.execute` takes it. */
export type When<R> = <State, const D extends Decision<unknown, unknown>>(
  model: DecisionModel.DecisionModel<State>,
  decide: (state: State) => D
) => Then<State, ErrorOf<D>, R | RequirementsOf<D>>

/** What is in a tenant's log. */
export interface Given {
  /** And this, after it. */
  readonly and: Add
  readonly when: When<never>
}

/**
 * What a decision led to, and what is expected of it: an effect that fails the test if an expectation is not met. Where the
 * decision is a plain value or a `Result`, it is checked at once, and nothing has to be run.
 */
export interface Then<State, E, R> extends Effect.Effect<void, never, R> {
  /** Exactly these events were decided, for these streams, in this order. */
  readonly thenEvents: (...decided: ReadonlyArray<AnyDecided>) => Then<State, E, R>
  /** It was decided that nothing happens. */
  readonly thenNothing: () => Then<State, E, R>
  /** The decision failed with this error. */
  readonly thenError: (error: E) => Then<State, E, R>
  /** The decision failed with an error of this tag. */
  readonly thenErrorTag: (tag: Extract<E, Event.Tagged>["_tag"]) => Then<State, E, R>
  /** The decision succeeded, and this is the state of its model then. */
  readonly thenState: (state: State) => Then<State, E, R>
  /**
   * The next decision looks at the log that this one led to. It must have succeeded, unless its error was expected.
   */
  readonly when: When<R>
}

type Envelope = Event.Envelope<Event.Tagged>

/** Where a scenario stands: the log, and what the last decision led to. */
interface Standing<State> {
  readonly log: ReadonlyArray<Envelope>
  readonly model: DecisionModel.DecisionModel<State>
  readonly decided: Result.Result<ReadonlyArray<AnyDecided>, unknown>
  /** Whether somebody said that the last decision fails. */
  readonly failureExpected: boolean
}

const tenantId = Tenant.TenantId.make("018f0000-0000-7000-8000-00000000000a")
const time = DateTime.makeUnsafe(0)

/** A log with more events at its end. */
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

/** Events, each with its stream. */
const placed = ({ aggregate, events, id }: AnyDecided) =>
  events.map((event) => ({ stream: `${aggregate.type} ${show(id)}`, event }))

const showPlaced = ({ event, stream }: ReturnType<typeof placed>[number]) => ({ stream, event: plain(event) })

/** Fails the test, and says what was given, expected and found. */
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

/** What is in the log, to begin with. */
export const given: Add = (aggregate, id, ...events) => make([]).and(aggregate, id, ...events)

/** A log without events. */
export const empty: Given = make([])

/**
 * Decision models, for decisions that depend on more than one aggregate. A query selects events of the tenant's log, and a pure
 * fold turns them into a state. The decision is appended on the condition that no further event matches the query.
 */
import type * as Aggregate from "./Aggregate.ts"
import type * as Event from "./Event.ts"
import * as EventQuery from "./EventQuery.ts"
import { deepFreeze } from "../internal/freeze.ts"
import { checkHandlers, eventTags } from "./handlers.ts"

/**
 * A decision model: a query for the relevant events, and a fold that turns them into a state. A plain value that needs no
 * runtime. Programs make one for each decision, from the ids that it is about, such as those of a course and of a student.
 */
export interface DecisionModel<State> {
  /** The query for the relevant events. */
  readonly query: EventQuery.Any
  /** The state before the first relevant event. */
  readonly initial: State
  /** The state after one more event; unchanged if the event is not relevant. */
  // Method syntax, so that every decision model is assignable to `Any`.
  apply(state: State, envelope: Event.Envelope<Event.Tagged>): State
}

/** Any decision model. */
export type Any = DecisionModel<unknown>

/** The state of a decision model. */
export type StateOf<Model> = Model extends DecisionModel<infer State> ? State : never

/** One handler per event type that the query matches. A missing one does not compile. */
export type Handlers<State, Payload extends Event.Tagged> = {
  readonly [Tag in Payload["_tag"]]: (
    state: State,
    event: Extract<Payload, { readonly _tag: Tag }>,
    envelope: Event.Envelope<Extract<Payload, { readonly _tag: Tag }>>
  ) => State
}

/** A fold as one function over all events. */
export type Apply<State, Payload> = (state: State, event: Payload, envelope: Event.Envelope<Payload>) => State

/** Refuses handlers for tags that no event of the query has. */
export type NoOthers<Fold, Tag extends string> = Aggregate.NoOthers<Fold, Tag>

/** The parts of a decision model besides its fold. */
export interface Options<State, Payload extends Event.Tagged> {
  /** The query for the events that are relevant for the decision. */
  readonly query: EventQuery.EventQuery<Payload>
  /** The state before the first relevant event. */
  readonly initial: State
}

/**
 * Makes a decision model from a query, an initial state, and either one handler per event type or one function over all
 * events. Handlers are pure; they also get the envelope, for the id of the aggregate or the time. Throws if a handler is for
 * an event that the query does not match, or if a matching event has no handler.
 *
 * **Example**
 *
 * ```ts
 * const seats = (courseId: string) =>
 *   DecisionModel.make(
 *     { query: EventQuery.of(Course, { tags: [`course:${courseId}`] }), initial: { seats: 0, taken: 0 } },
 *     {
 *       CourseOffered: (state, event) => ({ ...state, seats: event.seats }),
 *       StudentEnrolled: (state) => ({ ...state, taken: state.taken + 1 })
 *     }
 *   )
 * ```
 */
export const make = <
  State,
  Payload extends Event.Tagged,
  Fold extends Handlers<State, Payload> | Apply<State, Payload>
>(
  { query, initial }: Options<State, Payload>,
  fold: Fold & NoOthers<Fold, Payload["_tag"]>
): DecisionModel<State> => {
  const either: Handlers<State, Payload> | Apply<State, Payload> = fold
  if (typeof either === "object") {
    const tags = query.items.flatMap(({ aggregate, types }) => types ?? eventTags([aggregate]))
    checkHandlers("the decision model", either, tags, "every event")
  }
  const apply = typeof either === "function" ? either : byTag(either)
  return {
    query,
    initial: deepFreeze(initial),
    apply: (state, envelope) => (query.matches(envelope) ? apply(state, envelope.payload, envelope) : state)
  }
}

const byTag = <State, Payload extends Event.Tagged>(
  handlers: Handlers<State, Payload>
): Apply<State, Payload> => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Each handler takes one type of event and is looked up by the tag of that type.
  const byType = new Map(Object.entries(handlers) as Array<[string, Apply<State, Payload>]>)
  return (state, event, envelope) => {
    const handler = byType.get(event._tag)
    if (handler === undefined) throw new TypeError(`the decision model has no handler for ${event._tag}`)
    return handler(state, event, envelope)
  }
}

/**
 * Combines decision models into one. Its state holds the state of each under its name. Its query matches an event if the query
 * of any model does, and each model sees only the events that match its own query.
 *
 * **Example**
 *
 * ```ts
 * const enrolment = (courseId: string, studentId: string) =>
 *   DecisionModel.combine({ course: seats(courseId), student: timetable(studentId) })
 * ```
 */
export const combine = <const Models extends Readonly<Record<string, Any>>>(
  models: Models
): DecisionModel<{ readonly [Name in keyof Models]: StateOf<Models[Name]> }> => {
  type State = { readonly [Name in keyof Models]: StateOf<Models[Name]> }
  const entries: ReadonlyArray<readonly [string, Any]> = Object.entries(models)
  const states = (stateOf: (name: string, model: Any) => unknown): State =>
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each name has the state of the model with that name
    Object.fromEntries(entries.map(([name, model]) => [name, stateOf(name, model)])) as State
  return {
    query: EventQuery.or(...entries.map(([, model]) => model.query)),
    initial: states((_name, { initial }) => initial),
    apply: (state, envelope) => {
      const before = new Map<string, unknown>(Object.entries(state))
      return states((name, model) => model.apply(before.get(name), envelope))
    }
  }
}

/** The state after events, from the initial state or a given one. Events that do not match the query are ignored. */
export const fold = <State>(
  model: DecisionModel<State>,
  events: Iterable<Event.Envelope<Event.Tagged>>,
  from: NoInfer<State> = model.initial
): State => {
  let state = from
  for (const envelope of events) state = model.apply(state, envelope)
  return state
}

/**
 * Aggregates: a type name, an id schema, a state with its initial value, the event schemas, and a pure fold.
 */
import { Schema } from "effect"
import type { EventSchema, Tagged } from "./Event.ts"
import { nameProblem } from "./internal/json.ts"
import { Uuid } from "./internal/uuid.ts"

/**
 * An aggregate: how a stream of events becomes a state. A plain value that needs no runtime.
 *
 * **Details**
 *
 * `apply` and `fold` are pure and total over the events given to `make`.
 */
export interface Aggregate<Type extends string, State, Event extends Tagged, Id> {
  /** Its name in storage, 1 to 255 characters. */
  readonly type: Type
  readonly id: Schema.Codec<Id, string>
  readonly state: Schema.Codec<State, unknown>
  readonly initial: State
  readonly events: ReadonlyArray<Schema.ConstraintCodec<Event, unknown>>
  /** The state after one more event. */
  // Method syntax, here and below: an aggregate of one type of event is then an `Aggregate.Any`.
  apply(state: State, event: Event): State
  /** The state after events, from the initial state or a given one. */
  fold(events: Iterable<Event>, from?: State): State
}

/** Any aggregate. */
export type Any = Aggregate<string, unknown, Tagged, unknown>

/** The state of an aggregate. */
export type StateOf<A> = A extends Aggregate<string, infer State, infer _Event, infer _Id> ? State : never

/** The events of an aggregate, as a union. */
export type EventOf<A> = A extends Aggregate<string, infer _State, infer Event, infer _Id> ? Event : never

/** The id type of an aggregate. */
export type IdOf<A> = A extends Aggregate<string, infer _State, infer _Event, infer Id> ? Id : never

/** One handler per event type; all of them, or it does not compile. */
export type Handlers<State, Event extends Tagged> = {
  readonly [Tag in Event["_tag"]]: (state: State, event: Extract<Event, { readonly _tag: Tag }>) => State
}

/** A fold as one function over all events. */
export type Apply<State, Event> = (state: State, event: Event) => State

/** Refuses handlers of tags that no event has. */
export type NoOthers<Fold, Tag extends string> = { readonly [Other in Exclude<keyof Fold, Tag>]: never }

/** What an aggregate consists of, besides its name and fold. */
export interface Options<State, Events extends ReadonlyArray<EventSchema>, Id> {
  /** Default: a UUID. It must encode to a string of 1 to 255 characters. */
  readonly id?: Schema.Codec<Id, string> | undefined
  readonly state: Schema.Codec<State, unknown>
  /** The state before the first event. */
  readonly initial: NoInfer<State>
  readonly events: Events
}

/**
 * Makes an aggregate from its name, its parts, and either one handler per event tag or one function over all events.
 *
 * **Gotchas**
 *
 * Throws on a name that is empty, longer than 255 characters or not well formed, for the aggregate and for its events,
 * and on two event schemas with the same tag.
 *
 * **Example**
 *
 * ```ts
 * const Counter = Aggregate.make("Counter", {
 *   state: Schema.Struct({ count: Schema.Int }),
 *   initial: { count: 0 },
 *   events: [Incremented]
 * }, {
 *   Incremented: (state, event) => ({ count: state.count + event.by })
 * })
 * ```
 */
export const make = <
  const Type extends string,
  State,
  const Events extends ReadonlyArray<EventSchema>,
  // A parameter of its own, and a second argument: so the literals in the returned states are inferred as such.
  Fold extends Handlers<State, Events[number]["Type"]> | Apply<State, Events[number]["Type"]>,
  Id = string
>(
  type: Type,
  options: Options<State, Events, Id>,
  fold: Fold & NoOthers<Fold, Events[number]["Type"]["_tag"]>
): Aggregate<Type, State, Events[number]["Type"], Id> => {
  checkName("the name of an aggregate", type)
  const tags = Schema.toTaggedUnion("_tag")(Schema.Union(options.events)).cases
  for (const tag of Object.keys(tags)) checkName(`the tag of an event of ${type}`, tag)
  const either: Handlers<State, Events[number]["Type"]> | Apply<State, Events[number]["Type"]> = fold
  const apply = typeof either === "function" ? either : applyByTag(type, either)
  return {
    type,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `Id` is `string` exactly when no id schema is given.
    id: options.id ?? (Uuid as Schema.Codec<unknown, string> as Schema.Codec<Id, string>),
    state: options.state,
    initial: options.initial,
    events: options.events,
    apply,
    fold(events, from) {
      let state = from === undefined ? options.initial : from
      for (const event of events) state = apply(state, event)
      return state
    }
  }
}

const checkName = (what: string, name: string): void => {
  const problem = nameProblem(name)
  if (problem !== undefined) throw new TypeError(`${what} ${problem}`)
}

const applyByTag = <State, Event extends Tagged>(
  type: string,
  handlers: Handlers<State, Event>
): Apply<State, Event> => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Each handler takes its own event only, and is looked up by that event's tag.
  const byTag = new Map(Object.entries(handlers) as Array<[string, Apply<State, Event>]>)
  return (state, event) => {
    const handler = byTag.get(event._tag)
    if (handler === undefined) throw new TypeError(`${type} has no handler for ${event._tag}`)
    return handler(state, event)
  }
}

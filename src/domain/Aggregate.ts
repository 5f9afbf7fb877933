/**
 * Aggregates: each has a type name, an id schema, a state with its initial value, event schemas, and a pure fold.
 */
import { Schema } from "effect"
import type { EventSchema, Tagged } from "./Event.ts"
import { checkHandlers } from "./handlers.ts"
import { checkMarks, hasMarks } from "./codec/marks.ts"
import { history } from "./eventHistory.ts"
import { deepFreeze } from "../internal/freeze.ts"
import { nameProblem } from "../internal/json.ts"
import { Uuid } from "../internal/uuid.ts"
import type * as Upcaster from "./Upcaster.ts"

/**
 * An aggregate: the rules that turn a stream of events into a state. A plain value that needs no runtime.
 *
 * **Details**
 *
 * `apply` and `fold` are pure, and defined for all events given to `make`.
 */
export interface Aggregate<Type extends string, State, Event extends Tagged, Id> {
  /** The name under which its streams are stored, 1 to 255 characters. */
  readonly type: Type
  readonly id: Schema.Codec<Id, string>
  readonly state: Schema.Codec<State, unknown>
  readonly initial: State
  /** The version of the state, the fold and the upcaster steps. Snapshots of other versions are not used. */
  readonly stateVersion: number
  readonly events: ReadonlyArray<Schema.ConstraintCodec<Event, unknown>>
  /** Former versions of its events, and the present events that they are read as. */
  readonly upcasters: ReadonlyArray<Upcaster.Any>
  /** Kinds of unreadable events that are skipped instead of failing. See {@link tolerant}. */
  readonly skips: ReadonlySet<Unreadable>
  /** The tags of an event, by which queries find it; absent if no event of the aggregate is tagged. */
  tagsOf?(event: Event, id: Id): ReadonlyArray<string>
  /** The state after one more event. */
  // Method syntax, here and below, so that an aggregate of any events is assignable to `Aggregate.Any`.
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

/** One handler per event type. A missing one does not compile. */
export type Handlers<State, Event extends Tagged> = {
  readonly [Tag in Event["_tag"]]: (state: State, event: Extract<Event, { readonly _tag: Tag }>) => State
}

/** A fold as one function over all events. */
export type Apply<State, Event> = (state: State, event: Event) => State

/**
 * The tags of events, by which queries find them: one function over all events, or one per event tag (types without a
 * function have no tags). Pure functions of an event and the id of its aggregate. An event has at most 32 tags of 1 to 255
 * characters.
 */
export type Tags<Event extends Tagged, Id> =
  | ((event: Event, id: Id) => ReadonlyArray<string>)
  | {
      readonly [Tag in Event["_tag"]]?: (
        event: Extract<Event, { readonly _tag: Tag }>,
        id: Id
      ) => ReadonlyArray<string>
    }

/** The type of a handler that would never run. The compiler shows its message where the handler is written. */
export interface NoSuchEvent<Message extends string> {
  readonly noSuchEvent: Message
}

/** Refuses handlers for tags that no event has. */
export type NoOthers<Fold, Tag extends string> = {
  readonly [Other in Exclude<keyof Fold, Tag>]: NoSuchEvent<`no event has the tag "${Other & string}"`>
}

/** The parts of an aggregate besides its name and fold. */
export interface Options<State, Events extends ReadonlyArray<EventSchema>, Id> {
  /** Schema of the ids, which must encode to strings of 1 to 255 characters. Default: UUIDs. */
  readonly id?: Schema.Codec<Id, string> | undefined
  readonly state: Schema.Codec<State, unknown>
  /** The state before the first event. Plain objects and arrays in it are frozen, because all streams share it. */
  readonly initial: NoInfer<State>
  /**
   * The version of the fold. Raise it whenever the same events lead to another state, so that older snapshots are not used.
   * Also raise it when a step of an upcaster or the schema of an event changes: the library notices a new version or target
   * in a history, but cannot compare functions. An integer, 0 or more. Default: 1.
   */
  readonly stateVersion?: number | undefined
  readonly events: Events
  /** Former versions of events, and the present events that they are read as. Default: none. */
  readonly upcasters?: ReadonlyArray<Upcaster.Upcaster<NoInfer<Events[number]["Type"]>>> | undefined
  /** The tags of an event, such as `["course:" + event.courseId]`, by which queries find it. Default: no tags. */
  readonly tags?: Tags<Events[number]["Type"], NoInfer<Id>> | undefined
}

/**
 * Makes an aggregate from its name, its parts, and either one handler per event tag or one function over all events.
 *
 * **Gotchas**
 *
 * Throws if the name of the aggregate or of an event is empty, longer than 255 characters or not well formed; if two event
 * schemas have the same tag; if a handler has no event, or an event no handler; and if upcasters contradict each other or do
 * not lead to an event. It also throws if a mark of a personal field (`Personal.make`) would be lost in the stored form, or has no
 * field for its subject.
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
  // A type parameter and an argument of its own, so that literals in the returned states are inferred as literals.
  Fold extends Handlers<State, Events[number]["Type"]> | Apply<State, Events[number]["Type"]>,
  Id = string
>(
  type: Type,
  options: Options<State, Events, Id>,
  fold: Fold & NoOthers<Fold, Events[number]["Type"]["_tag"]>
): Aggregate<Type, State, Events[number]["Type"], Id> => {
  checkName("the name of an aggregate", type)
  checkStateVersion(type, options.stateVersion)
  const tags = Schema.toTaggedUnion("_tag")(Schema.Union(options.events)).cases
  for (const tag of Object.keys(tags)) checkName(`the tag of an event of ${type}`, tag)
  const upcasters = options.upcasters ?? []
  for (const [former, versions] of history(type, options.events, upcasters).types) {
    checkName(`the tag of an event of ${type}`, former)
    for (const { schema, schemaVersion } of versions.values())
      checkPersonal(`version ${schemaVersion} of ${former} of ${type}`, schema)
  }
  const either: Handlers<State, Events[number]["Type"]> | Apply<State, Events[number]["Type"]> = fold
  if (typeof either === "object") checkHandlers(`aggregate ${type}`, either, Object.keys(tags), "every event")
  const handlerOf = typeof either === "function" ? () => either : handlersByTag(type, either)
  const apply: Apply<State, Events[number]["Type"]> =
    typeof either === "function" ? either : (state, event) => handlerOf(event._tag)(state, event)
  return {
    type,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `Id` is `string` exactly when no id schema is given.
    id: options.id ?? (Uuid as Schema.Codec<unknown, string> as Schema.Codec<Id, string>),
    state: options.state,
    // All streams of all tenants share it: a change in place would leak into the others.
    initial: deepFreeze(options.initial),
    stateVersion: options.stateVersion ?? 1,
    events: options.events,
    upcasters,
    skips: strict,
    ...(options.tags === undefined ? {} : { tagsOf: tagging<Events[number]["Type"], Id>(options.tags) }),
    apply,
    fold(events, from) {
      let state = from === undefined ? options.initial : from
      // Events of one type often follow one another, and looking a handler up takes longer than most of them.
      let tag: string | undefined
      let handler = apply
      for (const event of events) {
        if (event._tag !== tag) {
          tag = event._tag
          handler = handlerOf(tag)
        }
        state = handler(state, event)
      }
      return state
    }
  }
}

/** Schemas without marks need no codec yet. */
const checkPersonal = (event: string, schema: EventSchema): void => {
  if (hasMarks(schema.ast)) checkMarks(event, Schema.toCodecJson(schema).ast)
}

/** The largest `integer` of PostgreSQL. */
const maxStateVersion = 2_147_483_647

const checkStateVersion = (type: string, version: number | undefined): void => {
  if (version === undefined) return
  if (!Number.isInteger(version) || version < 0 || version > maxStateVersion)
    throw new RangeError(`stateVersion of ${type} must be an integer from 0 to ${maxStateVersion}`)
}

/** The reason why a stored event cannot be read: the tag of the error that it raises. */
export type Unreadable = "EventDecodeError" | "UnknownEventType" | "UnknownSchemaVersion"

const strict: ReadonlySet<Unreadable> = new Set()

/**
 * Returns the aggregate with tolerant reading: stored events of unknown types are skipped instead of failing with
 * `UnknownEventType`.
 *
 * **When to use**
 *
 * Use it where an incomplete result is good enough: for a report, a search index, or an older program that keeps running
 * while a newer one is rolled out. For decisions it is dangerous: a state without an event may allow something that the event
 * forbids.
 *
 * **Details**
 *
 * Stores, repositories, projections and subscriptions all skip the same events. The metric `Telemetry.skippedEvents` counts them,
 * and the current span notes them. Versions and positions count them as well. `skip` lists the tags of the errors that are not
 * raised.
 *
 * **Example**
 *
 * ```ts
 * store.readStream({ aggregate: Aggregate.tolerant(Order), id })
 * store.readLog({ aggregates: [Aggregate.tolerant(Order, { skip: ["UnknownEventType", "UnknownSchemaVersion"] })] })
 * ```
 */
export const tolerant = <Type extends string, State, Event extends Tagged, Id>(
  aggregate: Aggregate<Type, State, Event, Id>,
  options: {
    /** Tags of the errors whose events are skipped. Default: `["UnknownEventType"]`. */
    readonly skip?: ReadonlyArray<Unreadable> | undefined
  } = {}
): Aggregate<Type, State, Event, Id> => {
  const skips = new Set<Unreadable>(options.skip ?? ["UnknownEventType"])
  const key = [...skips].toSorted().join()
  // Created once, because codecs are compiled per aggregate.
  const variants = tolerants.get(aggregate) ?? new Map<string, unknown>()
  tolerants.set(aggregate, variants)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- The only entries are those written below, each under its own aggregate.
  const known = variants.get(key) as Aggregate<Type, State, Event, Id> | undefined
  if (known !== undefined) return known
  const variant = { ...aggregate, skips }
  variants.set(key, variant)
  return variant
}

const tolerants = new WeakMap<object, Map<string, unknown>>()

const checkName = (subject: string, name: string): void => {
  const problem = nameProblem(name)
  if (problem !== undefined) throw new TypeError(`${subject} ${problem}`)
}

const noTags: ReadonlyArray<string> = Object.freeze([])

type TagsOf<Event, Id> = (event: Event, id: Id) => ReadonlyArray<string>

const tagging = <Event extends Tagged, Id>(tags: Tags<Event, Id>): TagsOf<Event, Id> => {
  if (typeof tags === "function") return tags
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Each function takes one type of event and is looked up by the tag of that type.
  const byTag = new Map(Object.entries(tags) as Array<[string, TagsOf<Event, Id>]>)
  return (event, id) => byTag.get(event._tag)?.(event, id) ?? noTags
}

const handlersByTag = <State, Event extends Tagged>(
  type: string,
  handlers: Handlers<State, Event>
): ((tag: string) => Apply<State, Event>) => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Each handler takes one type of event and is looked up by the tag of that type.
  const byTag = new Map(Object.entries(handlers) as Array<[string, Apply<State, Event>]>)
  return (tag) => {
    const handler = byTag.get(tag)
    if (handler === undefined) throw new TypeError(`${type} has no handler for ${tag}`)
    return handler
  }
}

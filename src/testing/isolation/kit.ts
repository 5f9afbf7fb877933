/**
 * Helpers of the isolation cases: a small aggregate, shorthands for appending and reading, and everything that a tenant can
 * observe as one comparable value.
 */
import { assert } from "@effect/vitest"
import { Cause, Effect, Exit, Predicate, Schema, Stream, type Types } from "effect"
import { inspect } from "node:util"
import * as Aggregate from "../../domain/Aggregate.ts"
import * as Event from "../../domain/Event.ts"
import type { EventStorage } from "../../driver/EventStorage.ts"
import * as EventStore from "../../store/EventStore.ts"
import type { Repository } from "../../store/Repository.ts"
import type { ExpectedVersion } from "../../driver/StoreError.ts"
import * as Tenant from "../../domain/Tenant.ts"
import { TenantRegistry } from "../../store/TenantRegistry.ts"

/** The services that a case needs. */
export type Services = EventStorage | EventStore.EventStore | Repository | TenantRegistry

/** A guarantee. It holds if `run` succeeds. */
export interface Case<R = Services> {
  /** Begins with the number of the case, for example `20: …`. */
  readonly name: string
  readonly run: Effect.Effect<unknown, unknown, R>
}

/** A case from a generator. */
export const test = <A, E, R>(name: string, run: () => Effect.Effect<A, E, R>): Case<R> => ({
  name,
  run: Effect.suspend(run)
})

const Noted = Schema.TaggedStruct("Noted", { text: Schema.String })
// @effect-diagnostics-next-line schemaNumber:off -- one case is about values that JSON cannot carry
const Measured = Schema.TaggedStruct("Measured", { value: Schema.Number })
const Counted = Schema.TaggedStruct("Counted", { value: Schema.BigInt })
const Attached = Schema.TaggedStruct("Attached", { json: Schema.Json })

const parts = {
  id: Schema.String,
  state: Schema.Struct({ texts: Schema.Array(Schema.String) }),
  initial: { texts: [] },
  events: [Noted, Measured, Counted, Attached]
} as const

const fold = (state: typeof parts.state.Type, event: (typeof parts.events)[number]["Type"]) =>
  event._tag === "Noted" ? { texts: [...state.texts, event.text] } : state

/** An aggregate with any text as its id, so that the store must find invalid ids. */
export const Note = Aggregate.make("Note", parts, fold)

/** The same aggregate with another state version. */
export const NoteV2 = Aggregate.make("Note", { ...parts, stateVersion: 2 }, fold)

/** Any event of {@link Note}. */
export type NoteEvent = Aggregate.EventOf<typeof Note>

/** An event with a text. */
export const noted = (text: string): NoteEvent => ({ _tag: "Noted", text })

/** The ids that all tenants share. */
export const ids: ReadonlyArray<string> = ["shared-1", "shared-2"]
/** The first of the shared ids. */
export const id = "shared-1"

/** Appends one event, by default to the stream that all tenants have. */
export const append = (
  event: NoteEvent,
  {
    stream = id,
    expected = "any",
    ...options
  }: Event.EventOptions & { readonly stream?: string; readonly expected?: ExpectedVersion } = {}
): Effect.Effect<
  EventStore.AppendedOf<typeof Note>,
  Effect.Error<ReturnType<EventStore.EventStore["Service"]["append"]>>,
  EventStore.EventStore | Tenant.CurrentTenant
> =>
  EventStore.EventStore.use((store) =>
    store.append({
      aggregate: Note,
      id: stream,
      expectedVersion: expected,
      events: [Event.make(event, options)]
    })
  )

/** Appends a text, by default to the stream that all tenants have. */
export const write = (text: string, options?: Parameters<typeof append>[1]): ReturnType<typeof append> =>
  append(noted(text), options)

/** The events of a stream, by default of the one that all tenants have. */
export const read = (
  stream: string = id
): Effect.Effect<
  Array<EventStore.EnvelopeOf<typeof Note>>,
  Stream.Error<ReturnType<EventStore.EventStore["Service"]["readStream"]>>,
  EventStore.EventStore | Tenant.CurrentTenant
> =>
  EventStore.EventStore.use((store) => Stream.runCollect(store.readStream({ aggregate: Note, id: stream })))

/** The tenant's log. */
export const log = (
  range: EventStore.LogRange & EventStore.ReadOptions = {}
): Effect.Effect<
  Array<Event.Envelope<Schema.Json>>,
  Stream.Error<ReturnType<EventStore.EventStore["Service"]["readLogJson"]>>,
  EventStore.EventStore | Tenant.CurrentTenant
> => EventStore.EventStore.use((store) => Stream.runCollect(store.readLogJson(range)))

/** The texts of a stream or log, in order. */
export const texts = (events: ReadonlyArray<{ readonly payload: unknown }>): ReadonlyArray<unknown> =>
  events.map(({ payload }) =>
    typeof payload === "object" && payload !== null && "text" in payload ? payload.text : payload
  )

interface Plain extends Omit<Event.Envelope<unknown>, "occurredAt" | "recordedAt"> {
  readonly occurredAt: number
  readonly recordedAt: number
}

const plain = (event: Event.Envelope<unknown>): Plain => ({
  ...event,
  occurredAt: event.occurredAt.epochMilliseconds,
  recordedAt: event.recordedAt.epochMilliseconds
})

/** Everything that the tenant can observe: its log, the shared streams, and reads in its name. */
export const observe = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  const registry = yield* TenantRegistry
  const streams: Array<{
    readonly version: number
    readonly exists: boolean
    readonly forwards: ReadonlyArray<Plain>
    readonly backwards: ReadonlyArray<Plain>
    readonly newest: ReadonlyArray<Plain>
  }> = []
  for (const stream of ids) {
    const key = { aggregate: Note, id: stream }
    streams.push({
      version: yield* store.version(key),
      exists: yield* store.exists(key),
      forwards: (yield* read(stream)).map(plain),
      backwards: (yield* Stream.runCollect(store.readStream({ ...key, direction: "backwards" }))).map(plain),
      newest: (yield* Stream.runCollect(store.readStream({ ...key, direction: "backwards", limit: 1 }))).map(
        plain
      )
    })
  }
  return {
    position: yield* store.position,
    head: (yield* store.head) ?? null,
    all: yield* Stream.runCollect(store.streams()),
    status: yield* registry.status,
    streams,
    log: (yield* log()).map(plain),
    backwards: (yield* log({ direction: "backwards" })).map(plain),
    typed: (yield* Stream.runCollect(store.readLog({ aggregates: [Note] }))).map(plain)
  }
})

/** Runs an effect in the name of a tenant. */
export const as = Tenant.provide

/** Reads across tenants in the name of the suite. */
export const acrossTenants = Tenant.provideAll({ actor: "tenant isolation suite", reason: "test" })

/** Two tenants with the same streams and logs of different lengths, whose texts begin with the tenant's id. */
export const withNeighbour = <A, E, R>(
  run: (mine: Tenant.TenantId, theirs: Tenant.TenantId) => Effect.Effect<A, E, R>
): Effect.Effect<void, unknown, R | EventStore.EventStore> =>
  // in both directions, because the order of ids and of registration must not matter
  Effect.forEach(
    [false, true],
    Effect.fnUntraced(function* (reversed) {
      const first = yield* Tenant.generate
      const second = yield* Tenant.generate
      for (const [tenant, count] of [
        [first, 5],
        [second, 2]
      ] as const) {
        for (let n = 1; n <= count; n++) {
          yield* write(`${tenant} ${n}`, { stream: ids[n % 2] ?? id }).pipe(as(tenant))
        }
      }
      yield* reversed ? run(second, first) : run(first, second)
    }),
    { discard: true }
  )

/** The value or error of an effect as text, with ids, times and tenants replaced for comparison. */
export const answer = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  replace: Readonly<Record<string, string>> = {}
): Effect.Effect<string, never, R> =>
  Effect.map(Effect.exit(effect), (exit) => {
    const value: unknown = Exit.isSuccess(exit) ? { success: exit.value } : { failure: failureOf(exit.cause) }
    let text = JSON.stringify(value, (_key, member: unknown) =>
      typeof member === "bigint" ? `${member}n` : member instanceof Error ? errorOf(member) : member
    )
    for (const [from, to] of Object.entries(replace)) text = text.replaceAll(from, to)
    return text
      .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "<uuid>")
      .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, "<time>")
  })

const failureOf = (cause: Cause.Cause<unknown>): unknown =>
  cause.reasons.map((reason) =>
    Cause.isFailReason(reason)
      ? { fail: reason.error }
      : Cause.isDieReason(reason)
        ? { die: reason.defect }
        : "interrupt"
  )

const errorOf = (error: Error): unknown => ({ ...error, name: error.name, message: error.message })

/** Everything visible in a value, as text. */
export const everythingIn = (value: unknown): string =>
  inspect(value, {
    depth: Infinity,
    maxArrayLength: Infinity,
    maxStringLength: Infinity,
    showHidden: true,
    getters: true
  })

/** An error with a tag, or the tagged reason of an error. */
type WithTag<E, Tag extends string> = Extract<E | Types.ReasonOf<E>, { readonly _tag: Tag }>

/** Returns the error of an effect, or its reason, with the given tag. Fails if the effect does not fail so. */
export const failsWith =
  <Tag extends string>(tag: Tag) =>
  <A, E extends { readonly _tag: string }, R>(
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<WithTag<E, Tag>, never, R> =>
    Effect.map(Effect.exit(effect), (exit) => {
      const found = Exit.isFailure(exit) ? Cause.findErrorOption(exit.cause) : undefined
      const error: unknown = found?._tag === "Some" ? found.value : undefined
      const reason = Predicate.hasProperty(error, "reason") ? error.reason : undefined
      for (const candidate of [error, reason]) {
        if (Predicate.isTagged(candidate, tag)) {
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the tag was just compared
          return candidate as WithTag<E, Tag>
        }
      }
      return assert.fail(`expected a failure ${tag}, got ${everythingIn(exit)}`)
    })

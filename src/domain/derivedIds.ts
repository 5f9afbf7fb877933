/** Event ids derived from a seed, so that a repeated run gives its events the same ids. */
import { Context, Effect } from "effect"
import * as Event from "./Event.ts"
import { sha256Bytes } from "../internal/digest.ts"
import { sha256 } from "../internal/sha256.ts"
import { hyphenated } from "../internal/uuid.ts"

/** The stream of an append. */
interface Stream {
  readonly tenantId: string
  readonly aggregateType: string
  readonly aggregateId: string
}

/** The derived ids of one append to one stream. */
export interface Ids {
  /** The id of the n-th event (0, 1, 2 …) without an id of its own. */
  readonly at: (n: number) => Event.EventId
  /** The `n` of an id; undefined for an id that was not derived here. */
  readonly indexOf: (id: string) => number | undefined
  /** Returns the ids when nothing was appended: the next append to this stream gets the same ones. */
  readonly release: () => void
}

/**
 * The appends of one run of an effect, numbered per stream. Streams do not depend on each other, so commands to several
 * streams may run in any order and at the same time.
 */
export class DerivedIds {
  readonly seed: ReadonlyArray<string>
  readonly #taken = new Map<string, Set<number>>()

  constructor(seed: ReadonlyArray<string>) {
    this.seed = seed
  }

  /** The ids of the next append to a stream. */
  next(stream: Stream): Effect.Effect<Ids> {
    return Effect.suspend(() => {
      const key = JSON.stringify([stream.tenantId, stream.aggregateType, stream.aggregateId])
      let taken = this.#taken.get(key)
      if (taken === undefined) this.#taken.set(key, (taken = new Set<number>()))
      let ordinal = 0
      while (taken.has(ordinal)) ordinal++
      taken.add(ordinal)
      const release = () => void taken.delete(ordinal)
      return Effect.map(sha256Bytes(JSON.stringify([this.seed, key, ordinal])), (base) => ({
        at: (n) => eventId(base, n),
        indexOf: (id) => indexOf(id, eventId(base, 0)),
        release
      }))
    })
  }
}

/** The derived ids of the running effect; undefined where ids are random. */
export const CurrentDerivedIds: Context.Reference<DerivedIds | undefined> = Context.Reference<
  DerivedIds | undefined
>("effect-eventsourcing/CurrentDerivedIds", { defaultValue: () => undefined })

/** The id of one part of an event that an upcaster splits. */
export const partId = (eventId_: Event.EventId, part: number): Event.EventId =>
  eventId(sha256(new TextEncoder().encode(JSON.stringify([eventId_, part]))), 0)

/** A UUID of version 8 (RFC 9562: the application's own): 16 bytes of the digest, the last four plus `n`. */
const eventId = (base: Uint8Array, n: number): Event.EventId => {
  const bytes = base.slice(0, 16)
  const view = new DataView(bytes.buffer)
  view.setUint32(12, view.getUint32(12) + n)
  view.setUint8(6, (view.getUint8(6) & 0x0f) | 0x80)
  view.setUint8(8, (view.getUint8(8) & 0x3f) | 0x80)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- this is the canonical form
  return hyphenated(bytes) as Event.EventId
}

/** Length of the text of all bytes but the last four, with its hyphens. */
const stem = 28

const indexOf = (id: string, first: string): number | undefined =>
  id.slice(0, stem) === first.slice(0, stem)
    ? (Number.parseInt(id.slice(stem), 16) - Number.parseInt(first.slice(stem), 16)) >>> 0
    : undefined

/** Assigns derived ids to the events without an id of their own. */
export const assignIds = <Payload extends Event.Tagged>(
  events: ReadonlyArray<Event.Appendable<Payload>>,
  ids: Pick<Ids, "at">
): ReadonlyArray<Event.Appendable<Payload>> => {
  let n = 0
  return events.map((event) => {
    if (!(event instanceof Event.NewEvent)) return Event.make(event, { eventId: ids.at(n++) })
    return event.options.eventId === undefined
      ? event.withOptions({ ...event.options, eventId: ids.at(n++) })
      : event
  })
}

/** True if an event has an id of its own. */
export const hasId = (event: Event.Appendable<Event.Tagged>): boolean =>
  event instanceof Event.NewEvent && event.options.eventId !== undefined

/**
 * Appends with ids derived from the seed of the running effect, if it has one. Events of a stream for which `streamOf` returns
 * undefined keep their ids.
 */
export const deriveIds = <
  S extends { readonly events: ReadonlyArray<Event.Appendable<Event.Tagged>> },
  A,
  E,
  R
>(
  derivedIds: DerivedIds | undefined,
  streams: ReadonlyArray<S>,
  streamOf: (stream: S) => Stream | undefined,
  append: (withIds: ReadonlyArray<S>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  if (derivedIds === undefined) return append(streams)
  const given: Array<Ids> = []
  const withIds = (stream: S): Effect.Effect<S> => {
    const key = stream.events.every(hasId) ? undefined : streamOf(stream)
    if (key === undefined) return Effect.succeed(stream)
    return Effect.map(derivedIds.next(key), (ids) => {
      given.push(ids)
      return { ...stream, events: assignIds(stream.events, ids) }
    })
  }
  return Effect.forEach(streams, withIds).pipe(
    Effect.flatMap(append),
    Effect.onError(() => Effect.sync(() => given.forEach(({ release }) => release())))
  )
}

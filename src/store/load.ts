/** Loads aggregates for a repository: a usable snapshot first, then the events after it. */
import { Effect, Result } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import type { EventStore, Folded } from "./EventStore.ts"
import { type InvalidId, PositionDiverged, type ReadError, type Undecodable } from "../driver/StoreError.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import { currentTenant } from "../domain/currentTenant.ts"
import { aggregateId as encodeId } from "./encode.ts"
import { isStillAt, numbered } from "./forgottenNumber.ts"
import type { Slot } from "./rememberedStates.ts"
import { mayBePersonal } from "./snapshotCodec.ts"
import {
  eventIdOf,
  initially,
  isOffered,
  type LoadedState,
  type Offered,
  type Snapshots
} from "./snapshots.ts"
import type { StoredStream } from "./read.ts"

/** The range of a load, and a function that sees its events. */
export interface LoadRange<Payload, Type extends string> {
  /** The last version to load. Default: the end of the stream. It must be at least `inspectFrom` - 1. */
  readonly toVersion?: number | undefined
  /** The lowest version to inspect; a snapshot that contains it is not used. Default: none. */
  readonly inspectFrom?: number | undefined
  /** Receives each event that is read. */
  readonly inspect?: ((envelope: Event.Envelope<Payload, Type>) => void) | undefined
}

type LoadError = ReadError | Undecodable | InvalidId

const storedStream = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  id: Id
): Effect.Effect<StoredStream, InvalidId, CurrentTenant> =>
  Effect.flatMap(currentTenant, (tenantId) => {
    const encoded = encodeId(aggregate, id)
    return Result.isFailure(encoded)
      ? Effect.fail(encoded.failure)
      : Effect.succeed({ tenantId, aggregateType: aggregate.type, aggregateId: encoded.success })
  })

const loaded = <State>(
  known: LoadedState<State>,
  { characters, last, state, version }: Folded<State>
): LoadedState<State> => ({
  ...known,
  state,
  version,
  place: last ?? known.place,
  weight: known.weight + characters
})

export const makeLoader = (store: EventStore["Service"], snapshots: Snapshots) => {
  /** Reads from the first event on. */
  const readAll = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    initial: LoadedState<State>,
    { inspect, toVersion }: LoadRange<Payload, Type>
  ): Effect.Effect<LoadedState<State>, LoadError, CurrentTenant> =>
    Effect.map(store.fold({ aggregate, id, toVersion, inspect }), (folded) => loaded(initial, folded))

  /** Reads on from a known state. Fails if the stream does not contain its last event any more. */
  const readOn = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    known: LoadedState<State>,
    { inspect, toVersion }: LoadRange<Payload, Type> = {}
  ): Effect.Effect<LoadedState<State>, LoadError | PositionDiverged, CurrentTenant> =>
    Effect.map(
      store.fold({ aggregate, id, from: known, confirm: known.place, toVersion, inspect }),
      (folded) => loaded(known, folded)
    )

  /** Loads an aggregate at the number of forgotten subjects that stands when it is called. */
  const loadNow = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    range: LoadRange<Payload, Type> = {}
  ): Effect.Effect<LoadedState<State>, LoadError, CurrentTenant> => {
    const initial = initially(aggregate.initial)
    if (!snapshots.areUsed(aggregate.type)) return readAll(aggregate, id, initial, range)
    return Effect.gen(function* () {
      const found: Offered<State> | LoadedState<State>["unusable"] = yield* snapshots.offer(
        aggregate,
        yield* storedStream(aggregate, id)
      )
      if (!isOffered(found)) return yield* readAll(aggregate, id, { ...initial, unusable: found }, range)
      const { known, row } = found
      // It may be usable for another load.
      if (row.version >= (range.inspectFrom ?? Infinity)) return yield* readAll(aggregate, id, initial, range)
      return yield* readOn(aggregate, id, known, range).pipe(
        Effect.tap(() => snapshots.hit(aggregate.type, row.version)),
        Effect.catchIf(isDiverged, ({ actual }) =>
          Effect.andThen(
            snapshots.miss(aggregate.type, actual === null ? "ahead" : "otherHistory"),
            readAll(
              aggregate,
              id,
              { ...initial, unusable: { version: row.version, checksum: row.checksum } },
              range
            )
          )
        )
      )
    })
  }

  /** Loads an aggregate in its present state or at a version. */
  const load = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    range?: LoadRange<Payload, Type>
  ): Effect.Effect<LoadedState<State>, LoadError, CurrentTenant> =>
    numbered(
      store,
      () => mayBePersonal(aggregate),
      loadNow(aggregate, id, range),
      (known, forgotten) => ({ ...known, forgotten })
    )

  /**
   * Reads on from a state, or loads the aggregate if its stream has another history by now, or if a subject was forgotten since the
   * state was read.
   */
  const readOnOrLoad = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    known: LoadedState<State>,
    slot: Slot<State>,
    range?: LoadRange<Payload, Type>,
    restart?: () => void
  ): Effect.Effect<LoadedState<State>, LoadError, CurrentTenant> => {
    const anew = (reason?: "forgotten") => {
      slot.drop(known, reason)
      restart?.()
      return load(aggregate, id, range)
    }
    const further = readOn(aggregate, id, known, range)
    const read =
      store.knownForgotten === undefined
        ? further
        : Effect.flatMap(further, (next) =>
            Effect.flatMap(isStillAt(store, known.forgotten), (isStill) =>
              isStill ? Effect.succeed(next) : anew("forgotten")
            )
          )
    return Effect.catchIf(read, isDiverged, () => anew())
  }

  /** True if a state is the present one: the stream ends with its last event. */
  const isPresent = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    known: LoadedState<State>
  ): Effect.Effect<boolean, ReadError | InvalidId, CurrentTenant> => {
    const eventId = eventIdOf(known)
    return eventId === undefined
      ? Effect.succeed(false)
      : store.endsWith({ aggregate, id, version: known.version, eventId, forgotten: known.forgotten })
  }

  /** True if the stream still has the last event of a state. */
  const isKept = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    known: LoadedState<State>
  ): Effect.Effect<boolean, LoadError, CurrentTenant> =>
    known.place === undefined
      ? Effect.succeed(true)
      : readOn(aggregate, id, known, { toVersion: known.version }).pipe(
          Effect.as(true),
          Effect.catchIf(isDiverged, () => Effect.succeed(false))
        )

  /** The present state, confirmed by the store: read on from the remembered one, or loaded, and remembered. */
  const present = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    slot: Slot<State>
  ): Effect.Effect<LoadedState<State>, LoadError, CurrentTenant> =>
    Effect.suspend(() => {
      const remembered = slot.recall()
      return Effect.map(
        remembered === undefined
          ? load(aggregate, id)
          : Effect.flatMap(isPresent(aggregate, id, remembered), (present_) =>
              present_ ? Effect.succeed(remembered) : readOnOrLoad(aggregate, id, remembered, slot)
            ),
        (known) => {
          slot.keep(known)
          return known
        }
      )
    })

  /** Takes a snapshot of a loaded state, or of the state after a command, if it is due. */
  const consider = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    known: LoadedState<State>,
    appended: number,
    slot: Pick<Slot<State>, "snapshot">
  ): Effect.Effect<void, InvalidId, CurrentTenant> =>
    snapshots.areUsed(aggregate.type)
      ? Effect.flatMap(storedStream(aggregate, id), (key) =>
          snapshots.consider(aggregate, key, known, appended, (version, stored) =>
            slot.snapshot(version, stored)
          )
        )
      : Effect.void

  return { load, present, readOnOrLoad, isPresent, isKept, consider, areSnapshotsUsed: snapshots.areUsed }
}

const isDiverged = (error: unknown): error is PositionDiverged => error instanceof PositionDiverged

/** The load functions of a repository. */
export type Loader = ReturnType<typeof makeLoader>

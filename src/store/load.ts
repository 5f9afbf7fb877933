/** Loads aggregates for a repository: a usable snapshot first, then the events after it. */
import { Effect, Result } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import type { EventStore, Folded } from "./EventStore.ts"
import { type InvalidId, PositionDiverged, type ReadError, type Undecodable } from "../driver/StoreError.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import { currentTenant } from "../domain/currentTenant.ts"
import { aggregateId as encodeId } from "./encode.ts"
import { initially, isOffered, type LoadedState, type Offered, type Snapshots } from "./snapshots.ts"
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
  { last, state, version }: Folded<State>
): LoadedState<State> => ({
  ...known,
  state,
  version,
  place: last ?? known.place,
  read: known.read + version - known.version
})

export const makeLoader = (store: EventStore["Service"], snapshots: Snapshots) => {
  /** Applies the events after a known state. */
  const readOn = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    known: LoadedState<State>,
    { inspect, toVersion }: LoadRange<Payload, Type>
  ): Effect.Effect<LoadedState<State>, LoadError, CurrentTenant> =>
    Effect.map(store.fold({ aggregate, id, from: known, toVersion, inspect }), (folded) =>
      loaded(known, folded)
    )

  /** Applies the events after a snapshot. Fails if the stream has another event at the snapshot's version. */
  const readOnFrom = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    { known, row }: Offered<State>,
    { inspect, toVersion }: LoadRange<Payload, Type>
  ): Effect.Effect<LoadedState<State>, LoadError | PositionDiverged, CurrentTenant> =>
    Effect.map(store.fold({ aggregate, id, from: known, confirm: row, toVersion, inspect }), (folded) =>
      loaded(known, folded)
    )

  /** Loads an aggregate in its present state or at a version. */
  const load = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    range: LoadRange<Payload, Type> = {}
  ): Effect.Effect<LoadedState<State>, LoadError, CurrentTenant> => {
    const initial = initially(aggregate.initial)
    if (!snapshots.areUsed(aggregate.type)) return readOn(aggregate, id, initial, range)
    return Effect.gen(function* () {
      const found = yield* snapshots.offer(aggregate, yield* storedStream(aggregate, id))
      if (!isOffered(found)) return yield* readOn(aggregate, id, { ...initial, unusable: found }, range)
      const { row } = found
      // The snapshot is not marked as unusable, because other loads can use it.
      if (row.version >= (range.inspectFrom ?? Infinity)) return yield* readOn(aggregate, id, initial, range)
      return yield* readOnFrom(aggregate, id, found, range).pipe(
        Effect.tap(() => snapshots.hit(aggregate.type, row.version)),
        Effect.catchIf(
          (error): error is PositionDiverged => error instanceof PositionDiverged,
          ({ actual }) =>
            Effect.andThen(
              snapshots.miss(aggregate.type, actual === null ? "ahead" : "otherHistory"),
              readOn(
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

  /** Takes a snapshot of a state, which was loaded or results from a command, if one is due. */
  const consider = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    known: LoadedState<State>,
    appended: number
  ): Effect.Effect<void, InvalidId, CurrentTenant> =>
    snapshots.areUsed(aggregate.type)
      ? Effect.flatMap(storedStream(aggregate, id), (key) =>
          snapshots.consider(aggregate, key, known, appended)
        )
      : Effect.void

  return { load, readOn, consider }
}

/** The load functions of a repository. */
export type Loader = ReturnType<typeof makeLoader>

/** Snapshots behind a repository: which ones are used, and when and how new ones are taken. */
import {
  Cause,
  Clock,
  Context,
  type Duration,
  Effect,
  Fiber,
  Metric,
  Queue,
  References,
  Result,
  type Scope,
  Tracer
} from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type { Tagged } from "../domain/Event.ts"
import { never, type Situation, type SnapshotPolicy } from "../domain/SnapshotPolicy.ts"
import type { SaveSnapshot, SnapshotKey, SnapshotRow, SnapshotStorage } from "../driver/SnapshotStorage.ts"
import { TenantMismatch } from "../driver/StoreError.ts"
import * as snapshotCodec from "./snapshotCodec.ts"

/** Settings of a repository about snapshots. */
export interface SnapshotOptions {
  /** When a snapshot is taken. */
  readonly policy: SnapshotPolicy
  /** Policies of single aggregates. */
  readonly aggregates?: ReadonlyArray<readonly [Aggregate.Any, SnapshotPolicy]> | undefined
  /**
   * Whether snapshots are taken by the layer, in the background, or by the command or load that they are due after,
   * which then takes longer. Neither fails with them. Default: in the background.
   */
  readonly taken?: "inBackground" | "atOnce" | undefined
  /** UTF-8 bytes of a state as JSON: of a larger one, none is taken. Default: 1 MiB. At most 12 MiB. */
  readonly maxStateBytes?: number | undefined
  /** How many snapshots may wait to be taken in the background; one more is not taken. Default: 1,000. */
  readonly capacity?: number | undefined
  /** How many are taken at the same time in the background. Default: 2. */
  readonly concurrency?: number | undefined
  /** How long the end of the layer waits for those that are to be taken. Default: 10 seconds. */
  readonly drainFor?: Duration.Input | undefined
}

/** Loads that went on from a snapshot, by `aggregate`. */
export const hits: Metric.Counter<number> = Metric.counter("eventsourcing.snapshot.hits", {
  description: "Loads that went on from a snapshot",
  incremental: true
})

/** Loads that found no snapshot of use, by `aggregate` and `reason`. */
export const misses: Metric.Counter<number> = Metric.counter("eventsourcing.snapshot.misses", {
  description: "Loads that found no snapshot of use and folded all events",
  incremental: true
})

/** Snapshots that were kept, by `aggregate`. */
export const taken: Metric.Counter<number> = Metric.counter("eventsourcing.snapshot.taken", {
  description: "Snapshots that were taken",
  incremental: true
})

/** Snapshots that were due and not kept, by `aggregate` and `reason`. */
export const notTaken: Metric.Counter<number> = Metric.counter("eventsourcing.snapshot.not_taken", {
  description: "Snapshots that were due and not taken",
  incremental: true
})

/**
 * Why a snapshot is of no use: there is none; it is of another state version, or of another state schema, initial value or
 * set of events; it was changed or does not decode; its stream does not reach that far; its stream has another event
 * there; it could not be read.
 */
export type Miss = "absent" | snapshotCodec.Useless | "ahead" | "otherHistory" | "unavailable"

/**
 * Why a snapshot that was due was not kept: the state is no JSON that can be stored, or too much of it; too many were
 * waiting; there is a newer one; the storage failed; the policy threw.
 */
export type NotTaken = snapshotCodec.Unfit | "overflow" | "outdated" | "unavailable" | "policy"

/** A state and what it was loaded from. */
export interface LoadedState<State> {
  readonly state: State
  /** The version of the stream up to which its events are in the state. */
  readonly version: number
  /** The event with that version; undefined at version 0, and where no snapshots are used. */
  readonly place: snapshotCodec.Place | undefined
  /** The version of the snapshot that it was begun with; 0 if there was none. */
  readonly snapshotVersion: number
  /** How many events were read. */
  readonly read: number
  /** A snapshot that turned out to be of no use. */
  readonly useless: SaveSnapshot["replaces"]
}

/** The state before the first event. */
export const initially = <State>(initial: State, useless?: SaveSnapshot["replaces"]): LoadedState<State> => ({
  state: initial,
  version: 0,
  place: undefined,
  snapshotVersion: 0,
  read: 0,
  useless
})

/** A snapshot that is as it was taken; whether its stream is so is seen when the stream is read on. */
export interface Offered<State> {
  readonly row: SnapshotRow
  readonly known: LoadedState<State>
}

/** What a repository does about snapshots. */
export interface Snapshots {
  /** Whether there are snapshots of an aggregate. */
  readonly areUsed: (aggregateType: string) => boolean
  /** The snapshot of a stream, or what is to be said about the one there is. */
  readonly offer: <State, Event extends Tagged, Id>(
    aggregate: Aggregate.Aggregate<string, State, Event, Id>,
    key: SnapshotKey
  ) => Effect.Effect<Offered<State> | SaveSnapshot["replaces"]>
  /** A load went on from a snapshot. */
  readonly hit: (aggregateType: string, version: number) => Effect.Effect<void>
  /** A load could not use a snapshot. */
  readonly miss: (aggregateType: string, reason: Miss) => Effect.Effect<void>
  /** Takes a snapshot of a state if it is due. */
  readonly consider: <State, Event extends Tagged, Id>(
    aggregate: Aggregate.Aggregate<string, State, Event, Id>,
    key: SnapshotKey,
    known: LoadedState<State>,
    appended: number
  ) => Effect.Effect<void>
}

/** Nothing is taken, nothing is used. */
export const none: Snapshots = {
  areUsed: () => false,
  offer: () => Effect.undefined,
  hit: () => Effect.void,
  miss: () => Effect.void,
  consider: () => Effect.void
}

const largestState = 12 << 20

const isUnfit = (error: unknown): error is snapshotCodec.Unfit =>
  error === "notStorable" || error === "tooLarge"

const checked = (name: string, value: number, largest: number): number => {
  if (!Number.isSafeInteger(value) || value < 1 || value > largest)
    throw new RangeError(`snapshots.${name} must be an integer from 1 to ${largest}`)
  return value
}

/** Snapshots in a storage. */
export const make = (
  options: SnapshotOptions,
  storage: SnapshotStorage["Service"]
): Effect.Effect<Snapshots, never, Scope.Scope> =>
  Effect.gen(function* () {
    const maxStateBytes = checked("maxStateBytes", options.maxStateBytes ?? 1 << 20, largestState)
    const capacity = checked("capacity", options.capacity ?? 1000, 1_000_000)
    const concurrency = checked("concurrency", options.concurrency ?? 2, 1000)
    const policies = new Map((options.aggregates ?? []).map(([{ type }, policy]) => [type, policy]))
    const policyOf = (aggregateType: string): SnapshotPolicy => policies.get(aggregateType) ?? options.policy

    const count = (metric: Metric.Counter<number>, aggregate: string, reason?: Miss | NotTaken) =>
      Metric.update(
        Metric.withAttributes(metric, reason === undefined ? { aggregate } : { aggregate, reason }),
        1
      )

    const miss: Snapshots["miss"] = (aggregateType, reason) =>
      Effect.andThen(
        count(misses, aggregateType, reason),
        Effect.annotateCurrentSpan({ "snapshot.miss": reason })
      )

    const offer: Snapshots["offer"] = Effect.fnUntraced(function* (aggregate, key) {
      const loaded = yield* Effect.exit(storage.load(key))
      if (loaded._tag === "Failure") {
        // A mistake of the program, which the snapshot has nothing to do with.
        const defect = loaded.cause.reasons.find(Cause.isDieReason)?.defect
        if (defect instanceof TenantMismatch) return yield* Effect.die(defect)
        yield* Effect.annotateLogs(Effect.logWarning("A snapshot could not be read", loaded.cause), {
          ...key
        })
        yield* miss(key.aggregateType, "unavailable")
        return undefined
      }
      const row = loaded.value
      if (row === undefined) {
        yield* miss(key.aggregateType, "absent")
        return undefined
      }
      const decoded = yield* Effect.result(snapshotCodec.decode(aggregate, key, row))
      if (Result.isFailure(decoded)) {
        yield* miss(key.aggregateType, decoded.failure)
        return { version: row.version, checksum: row.checksum }
      }
      const { eventId, position, recordedAt, version } = row
      return {
        row,
        known: {
          state: decoded.success,
          version,
          place: { version, position, eventId, recordedAt },
          snapshotVersion: version,
          read: 0,
          useless: undefined
        }
      }
    })

    const isDue = (situation: Situation): Effect.Effect<boolean> =>
      Effect.suspend(() => Effect.succeed(policyOf(situation.aggregateType)(situation))).pipe(
        Effect.catchCause((cause) =>
          Effect.as(
            Effect.andThen(
              Effect.logWarning("A policy for snapshots threw an error", cause),
              count(notTaken, situation.aggregateType, "policy")
            ),
            false
          )
        )
      )

    const take = <State, Event extends Tagged, Id>(
      aggregate: Aggregate.Aggregate<string, State, Event, Id>,
      key: SnapshotKey,
      { state, useless }: LoadedState<State>,
      place: snapshotCodec.Place
    ): Effect.Effect<void> =>
      snapshotCodec.encode(aggregate, key, place, state, maxStateBytes).pipe(
        Effect.flatMap((snapshot) => storage.save({ ...key, ...snapshot, replaces: useless })),
        Effect.flatMap((kept) =>
          kept ? count(taken, key.aggregateType) : count(notTaken, key.aggregateType, "outdated")
        ),
        Effect.catchIf(isUnfit, (reason) =>
          Effect.andThen(
            Effect.logWarning(
              reason === "tooLarge"
                ? "A snapshot was not taken: the state is larger than maxStateBytes"
                : "A snapshot was not taken: the state cannot be stored as JSON"
            ),
            count(notTaken, key.aggregateType, reason)
          )
        ),
        // Whatever it is: when this fiber is interrupted, nothing is caught.
        Effect.catchCause((cause) =>
          Effect.andThen(
            Effect.logWarning("A snapshot could not be taken", cause),
            count(notTaken, key.aggregateType, "unavailable")
          )
        ),
        Effect.annotateLogs({ ...key })
      )

    /** The streams of which a snapshot is waiting or being taken: another one of them would not be worth much. */
    const pending = new Set<string>()
    const queue = yield* Queue.dropping<
      { readonly stream: string; readonly run: Effect.Effect<void> },
      Cause.Done
    >(capacity)
    if (options.taken !== "atOnce") {
      const work = Queue.take(queue).pipe(
        Effect.flatMap(({ run, stream }) =>
          Effect.ensuring(
            run,
            Effect.sync(() => pending.delete(stream))
          )
        ),
        Effect.forever,
        Effect.ignoreCause
      )
      // The layer may be built in a transaction, which is not that of the snapshots.
      const context = Context.pick(
        Clock.Clock,
        Tracer.Tracer,
        Metric.MetricRegistry,
        References.CurrentLoggers,
        References.MinimumLogLevel
      )(yield* Effect.context())
      const ofLayer: (context: Context.Context<never>) => Context.Context<never> = () => context
      const workers = yield* Effect.forEach(Array.from({ length: concurrency }), () =>
        Effect.forkScoped(Effect.updateContext(work, ofLayer))
      )
      // Runs before the workers are interrupted.
      yield* Effect.addFinalizer(() =>
        Queue.end(queue).pipe(
          Effect.andThen(Effect.interruptible(Fiber.awaitAll(workers))),
          Effect.timeoutOption(options.drainFor ?? "10 seconds")
        )
      )
    }

    const inBackground = (aggregateType: string, stream: string, run: Effect.Effect<void>) =>
      Effect.suspend(() => {
        if (pending.has(stream)) return Effect.void
        pending.add(stream)
        if (Queue.offerUnsafe(queue, { stream, run })) return Effect.void
        pending.delete(stream)
        return count(notTaken, aggregateType, "overflow")
      })

    return {
      areUsed: (aggregateType) => policyOf(aggregateType) !== never,
      offer,
      miss,
      hit: (aggregateType, version) =>
        Effect.andThen(
          count(hits, aggregateType),
          Effect.annotateCurrentSpan({ "snapshot.version": version })
        ),
      consider: Effect.fnUntraced(function* (aggregate, key, known, appended) {
        const { place, read, snapshotVersion, version } = known
        const { aggregateType } = key
        // A snapshot of that version is there.
        if (place === undefined || version === snapshotVersion) return
        if (!(yield* isDue({ aggregateType, version, snapshotVersion, read, appended }))) return
        const run = take(aggregate, key, known, place)
        yield* options.taken === "atOnce"
          ? run
          : inBackground(aggregateType, JSON.stringify([key.tenantId, aggregateType, key.aggregateId]), run)
      })
    } satisfies Snapshots
  })

/** What was read instead of a snapshot that fits. */
export const isOffered = <State>(found: Offered<State> | SaveSnapshot["replaces"]): found is Offered<State> =>
  found !== undefined && "row" in found

/** Snapshots of a repository: checks existing ones and takes new ones. */
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
  /** The policy that decides when a snapshot is taken. */
  readonly policy: SnapshotPolicy
  /** Policies for single aggregates. */
  readonly aggregates?: ReadonlyArray<readonly [Aggregate.Any, SnapshotPolicy]> | undefined
  /**
   * Takes snapshots in the background, by the layer, or in the foreground, by the command or load after which they are due,
   * which then takes longer. A failed snapshot fails neither. Default: in the background.
   */
  readonly taken?: "inBackground" | "atOnce" | undefined
  /** Maximum size of a state as JSON, in UTF-8 bytes; larger states get no snapshot. Default: 1 MiB. At most 12 MiB. */
  readonly maxStateBytes?: number | undefined
  /** Maximum number of snapshots that wait in the background; further ones are not taken. Default: 1,000. */
  readonly capacity?: number | undefined
  /** Number of snapshots taken at the same time in the background. Default: 2. */
  readonly concurrency?: number | undefined
  /** Time for which the end of the layer waits for pending snapshots. Default: 10 seconds. */
  readonly drainFor?: Duration.Input | undefined
}

/** Loads that started from a snapshot, by `aggregate`. */
export const hits: Metric.Counter<number> = Metric.counter("eventsourcing.snapshot.hits", {
  description: "Loads that started from a snapshot",
  incremental: true
})

/** Loads that found no usable snapshot, by `aggregate` and `reason`. */
export const misses: Metric.Counter<number> = Metric.counter("eventsourcing.snapshot.misses", {
  description: "Loads that found no usable snapshot and folded all events",
  incremental: true
})

/** Snapshots taken, by `aggregate`. */
export const taken: Metric.Counter<number> = Metric.counter("eventsourcing.snapshot.taken", {
  description: "Snapshots that were taken",
  incremental: true
})

/** Snapshots that were due but not taken, by `aggregate` and `reason`. */
export const notTaken: Metric.Counter<number> = Metric.counter("eventsourcing.snapshot.not_taken", {
  description: "Snapshots that were due but not taken",
  incremental: true
})

/**
 * The reason why a snapshot is not usable: there is none; it is of another state version, or of another state schema, initial value
 * or set of events; it was changed or does not decode; it is beyond the end of its stream; its stream has another event there;
 * it could not be read.
 */
export type Miss = "absent" | snapshotCodec.Useless | "ahead" | "otherHistory" | "unavailable"

/**
 * The reason why a due snapshot was not taken: the state cannot be stored as JSON, or is too large; too many were waiting; there is
 * a newer one; the storage failed; the policy threw.
 */
export type NotTaken = snapshotCodec.Unfit | "overflow" | "outdated" | "unavailable" | "policy"

/** A state with its origin. */
export interface LoadedState<State> {
  readonly state: State
  /** The version of the stream up to which the state contains its events. */
  readonly version: number
  /** The event with that version; undefined at version 0, and without snapshots. */
  readonly place: snapshotCodec.Place | undefined
  /** The version of the snapshot that the load started from; 0 if there was none. */
  readonly snapshotVersion: number
  /** Number of events that were read. */
  readonly read: number
  /** A snapshot that proved unusable. */
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

/** An unchanged snapshot. Its stream is checked when it is read on. */
export interface Offered<State> {
  readonly row: SnapshotRow
  readonly known: LoadedState<State>
}

/** The snapshot functions of a repository. */
export interface Snapshots {
  /** True if an aggregate has snapshots. */
  readonly areUsed: (aggregateType: string) => boolean
  /** The snapshot of a stream, or the reason why it has no usable one. */
  readonly offer: <State, Event extends Tagged, Id>(
    aggregate: Aggregate.Aggregate<string, State, Event, Id>,
    key: SnapshotKey
  ) => Effect.Effect<Offered<State> | SaveSnapshot["replaces"]>
  /** Reports a load that started from a snapshot. */
  readonly hit: (aggregateType: string, version: number) => Effect.Effect<void>
  /** Reports a load that could not use a snapshot. */
  readonly miss: (aggregateType: string, reason: Miss) => Effect.Effect<void>
  /** Takes a snapshot of a state if it is due. */
  readonly consider: <State, Event extends Tagged, Id>(
    aggregate: Aggregate.Aggregate<string, State, Event, Id>,
    key: SnapshotKey,
    known: LoadedState<State>,
    appended: number
  ) => Effect.Effect<void>
}

/** Takes no snapshots and uses none. */
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
        // A mistake of the program that is unrelated to the snapshot.
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
        // Catches every failure, but not the interruption of this fiber.
        Effect.catchCause((cause) =>
          Effect.andThen(
            Effect.logWarning("A snapshot could not be taken", cause),
            count(notTaken, key.aggregateType, "unavailable")
          )
        ),
        Effect.annotateLogs({ ...key })
      )

    /** Streams with a pending snapshot, for which another one would be of little use. */
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
      // The layer may be built in a transaction, which must not be used for the snapshots.
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
        // A snapshot of that version exists.
        if (place === undefined || version === snapshotVersion) return
        if (!(yield* isDue({ aggregateType, version, snapshotVersion, read, appended }))) return
        const run = take(aggregate, key, known, place)
        yield* options.taken === "atOnce"
          ? run
          : inBackground(aggregateType, JSON.stringify([key.tenantId, aggregateType, key.aggregateId]), run)
      })
    } satisfies Snapshots
  })

/** Reports the reason why a load used no snapshot. */
export const isOffered = <State>(found: Offered<State> | SaveSnapshot["replaces"]): found is Offered<State> =>
  found !== undefined && "row" in found

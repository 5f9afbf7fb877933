/** Checks the snapshots of a repository and takes new ones. */
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
import type { EventId, Tagged } from "../domain/Event.ts"
import { never, type Situation, type SnapshotPolicy } from "../domain/SnapshotPolicy.ts"
import type { SaveSnapshot, SnapshotKey, SnapshotRow, SnapshotStorage } from "../driver/SnapshotStorage.ts"
import { TenantMismatch } from "../driver/StoreError.ts"
import { annotateSpan } from "../telemetry/spanned.ts"
import {
  attribute,
  snapshotHits,
  snapshotMisses,
  snapshotsNotTaken,
  snapshotsTaken
} from "../telemetry/Telemetry.ts"
import * as snapshotCodec from "./snapshotCodec.ts"

/** Settings for the snapshots of a repository. */
export interface SnapshotOptions {
  /** The policy that decides when a snapshot is taken. */
  readonly policy: SnapshotPolicy
  /** Policies of single aggregates, which take precedence. */
  readonly aggregates?: ReadonlyArray<readonly [Aggregate.Any, SnapshotPolicy]> | undefined
  /**
   * `"inBackground"` takes snapshots in fibers of the layer. `"atOnce"` takes a snapshot at the end of the command or load
   * after which it is due, which then takes longer. A snapshot that cannot be taken fails neither. Default: in the background.
   */
  readonly taken?: "inBackground" | "atOnce" | undefined
  /** Maximum size of a state as JSON, in UTF-8 bytes; larger states get no snapshot. Default: 1 MiB. At most 12 MiB. */
  readonly maxStateBytes?: number | undefined
  /** Maximum number of snapshots that wait in the background; further ones are not taken. Default: 1,000. */
  readonly capacity?: number | undefined
  /** Number of snapshots taken at the same time in the background. Default: 2. */
  readonly concurrency?: number | undefined
  /** Longest wait for pending snapshots when the layer closes. Default: 10 seconds. */
  readonly drainFor?: Duration.Input | undefined
}

const annotationsOf = ({ aggregateId, aggregateType, tenantId }: SnapshotKey) => ({
  [attribute.tenantId]: tenantId,
  aggregateType,
  aggregateId
})

/** The reason why a load used no snapshot. `Telemetry.snapshotMisses` explains each. */
export type Miss = "absent" | snapshotCodec.Unusable | "ahead" | "otherHistory" | "unavailable"

/** The reason why a due snapshot was not taken. `Repository.snapshotsNotTaken` explains each. */
export type NotTaken = snapshotCodec.NotStorable | "overflow" | "outdated" | "unavailable" | "policy"

/** A loaded state and its origin. */
export interface LoadedState<State> {
  readonly state: State
  /** The version of the last event that the state contains. */
  readonly version: number
  /** The event with that version; undefined at version 0. */
  readonly place: snapshotCodec.Place | undefined
  /** The version of the snapshot that a load starts from; 0 if there is none. */
  readonly snapshotVersion: number
  /** The payloads that were folded into the state, or the snapshot with it, in characters of JSON. */
  readonly weight: number
  /** A snapshot that proved unusable, and may be replaced. */
  readonly unusable: SaveSnapshot["replaces"]
  /** The tenant's number of forgotten subjects when the state was begun to be read; undefined if no sealed data was seen. */
  readonly forgotten: number | undefined
}

/** A state whose snapshot of a version was stored. */
export const withSnapshot = <State>(known: LoadedState<State>, version: number): LoadedState<State> => ({
  ...known,
  snapshotVersion: version,
  unusable: undefined
})

/** The id of the last event of a state; undefined at version 0. */
export const eventIdOf = ({ place }: LoadedState<unknown>): EventId | undefined =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is stored as the id of an event is one
  place?.eventId as EventId | undefined

/** The state before the first event. */
export const initially = <State>(
  initial: State,
  unusable?: SaveSnapshot["replaces"]
): LoadedState<State> => ({
  state: initial,
  version: 0,
  place: undefined,
  snapshotVersion: 0,
  weight: 0,
  unusable,
  forgotten: undefined
})

/** A snapshot with a correct checksum. Its event is compared with the stream when the later events are read. */
export interface Offered<State> {
  readonly row: SnapshotRow
  readonly known: LoadedState<State>
}

/** The snapshot functions of a repository. */
export interface Snapshots {
  /** True if snapshots are used for an aggregate. */
  readonly areUsed: (aggregateType: string) => boolean
  /** The snapshot of a stream; without a usable one, the snapshot to replace, if there is one. */
  readonly offer: <State, Event extends Tagged, Id>(
    aggregate: Aggregate.Aggregate<string, State, Event, Id>,
    key: SnapshotKey
  ) => Effect.Effect<Offered<State> | SaveSnapshot["replaces"]>
  /** Reports a load that started from a snapshot. */
  readonly hit: (aggregateType: string, version: number) => Effect.Effect<void>
  /** Reports a load that could not use a snapshot. */
  readonly miss: (aggregateType: string, reason: Miss) => Effect.Effect<void>
  /** Takes a snapshot of a state if it is due. Reports whether it was stored, or a newer one exists. */
  readonly consider: <State, Event extends Tagged, Id>(
    aggregate: Aggregate.Aggregate<string, State, Event, Id>,
    key: SnapshotKey,
    known: LoadedState<State>,
    appended: number,
    report: (version: number, stored: boolean) => void
  ) => Effect.Effect<void>
}

/** For a repository without snapshots. */
export const none: Snapshots = {
  areUsed: () => false,
  offer: () => Effect.undefined,
  hit: () => Effect.void,
  miss: () => Effect.void,
  consider: () => Effect.void
}

const largestState = 12 << 20

const isNotStorable = (error: unknown): error is snapshotCodec.NotStorable =>
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
        count(snapshotMisses, aggregateType, reason),
        annotateSpan({ [attribute.snapshotMiss]: reason })
      )

    const offer: Snapshots["offer"] = Effect.fnUntraced(function* (aggregate, key) {
      const loaded = yield* Effect.exit(storage.load(key))
      if (loaded._tag === "Failure") {
        // The program uses the wrong tenant. This mistake must not pass as a missing snapshot.
        const defect = loaded.cause.reasons.find(Cause.isDieReason)?.defect
        if (defect instanceof TenantMismatch) return yield* Effect.die(defect)
        yield* Effect.annotateLogs(
          Effect.logWarning("A snapshot could not be read", loaded.cause),
          annotationsOf(key)
        )
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
          weight: row.state.length,
          unusable: undefined,
          forgotten: undefined
        }
      }
    })

    const isDue = (situation: Situation): Effect.Effect<boolean> =>
      Effect.suspend(() => Effect.succeed(policyOf(situation.aggregateType)(situation))).pipe(
        Effect.catchCause((cause) =>
          Effect.as(
            Effect.andThen(
              Effect.logWarning("A snapshot policy threw an error; no snapshot was taken", cause),
              count(snapshotsNotTaken, situation.aggregateType, "policy")
            ),
            false
          )
        )
      )

    const take = <State, Event extends Tagged, Id>(
      aggregate: Aggregate.Aggregate<string, State, Event, Id>,
      key: SnapshotKey,
      { forgotten, state, unusable }: LoadedState<State>,
      place: snapshotCodec.Place,
      report: (version: number, stored: boolean) => void
    ): Effect.Effect<void> =>
      snapshotCodec.encode(aggregate, key, place, state, maxStateBytes).pipe(
        Effect.flatMap((snapshot) =>
          storage.save({
            ...key,
            ...snapshot,
            replaces: unusable,
            ...(snapshotCodec.mayBePersonal(aggregate) ? { personal: true, forgotten } : undefined)
          })
        ),
        Effect.flatMap((kept) => {
          report(place.version, kept)
          return kept
            ? count(snapshotsTaken, key.aggregateType)
            : count(snapshotsNotTaken, key.aggregateType, "outdated")
        }),
        Effect.catchIf(isNotStorable, (reason) =>
          Effect.andThen(
            Effect.logWarning(
              reason === "tooLarge"
                ? "A snapshot was not taken: the state is larger than maxStateBytes"
                : "A snapshot was not taken: the state cannot be stored as JSON"
            ),
            count(snapshotsNotTaken, key.aggregateType, reason)
          )
        ),
        // Catches every failure, but not the interruption of this fiber.
        Effect.catchCause((cause) =>
          Effect.andThen(
            Effect.logWarning("A snapshot could not be taken", cause),
            count(snapshotsNotTaken, key.aggregateType, "unavailable")
          )
        ),
        Effect.annotateLogs(annotationsOf(key))
      )

    /** Streams with a pending snapshot, which need no second one yet. */
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
      // The layer may be built inside a transaction, and the workers must not use that transaction.
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
        return count(snapshotsNotTaken, aggregateType, "overflow")
      })

    return {
      areUsed: (aggregateType) => policyOf(aggregateType) !== never,
      offer,
      miss,
      hit: (aggregateType, version) =>
        Effect.andThen(
          count(snapshotHits, aggregateType),
          annotateSpan({ [attribute.snapshotVersion]: version })
        ),
      consider: Effect.fnUntraced(function* (aggregate, key, known, appended, report) {
        const { place, snapshotVersion, version } = known
        const { aggregateType } = key
        // The snapshot of that version exists already.
        if (place === undefined || version === snapshotVersion) return
        // A remembered state counts as read from there, so that snapshots fall due as they do without it.
        const read = version - appended - snapshotVersion
        if (!(yield* isDue({ aggregateType, version, snapshotVersion, read, appended }))) return
        const run = take(aggregate, key, known, place, report)
        yield* options.taken === "atOnce"
          ? run
          : inBackground(aggregateType, JSON.stringify([key.tenantId, aggregateType, key.aggregateId]), run)
      })
    } satisfies Snapshots
  })

/** Tells a usable snapshot from one to replace. */
export const isOffered = <State>(found: Offered<State> | SaveSnapshot["replaces"]): found is Offered<State> =>
  found !== undefined && "row" in found

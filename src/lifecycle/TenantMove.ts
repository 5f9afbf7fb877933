/**
 * Moves of tenants between databases, while they are in use.
 *
 * **Details**
 *
 * A tenant is a log with positions of its own, so its copy is the same log. The copy is made while appends go on. Then the source
 * is fenced for a moment, the rest is copied and compared, and one transaction at the source decides: **the row of the tenant at
 * the source is the only point of decision**. Before it, every failure leads back to the source; after it, everything leads to the
 * target. The state of a move follows from the two rows of the tenant, so any process can carry on with a move that another one has
 * left.
 *
 * `docs/life-of-a-tenant.md` has a runbook.
 */
import { Cause, Context, Duration, Effect, Exit, Layer } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import { checkedTenant } from "../domain/currentTenant.ts"
import {
  type CrossTenantAccess,
  provideAdministration,
  TenantAdministration,
  type TenantId
} from "../domain/Tenant.ts"
import type { TenantRecord } from "../driver/AdministrationStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { layerPer } from "../internal/layerPer.ts"
import { Placements } from "../routed/Placements.ts"
import { TenantDirectory } from "../routed/TenantDirectory.ts"
import { MoveRefused } from "./moveErrors.ts"
import { checked } from "./moveChecks.ts"
import { carryOut, type Outcome, type RunError } from "./moveRun.ts"
import { type Found, type Move, movesOf, type MoveStep } from "./moveState.ts"
import { type MoveProgress, type Parts, removeCopy, type Settings, sideOf } from "./moveSteps.ts"
import { ofTenant } from "../telemetry/spanned.ts"
import { attribute } from "../telemetry/Telemetry.ts"

export { MoveCalledOff, MoveRefused } from "./moveErrors.ts"
export type { MoveStep } from "./moveState.ts"
export type { MoveProgress } from "./moveSteps.ts"

/** A finished move. */
export interface Moved {
  readonly tenantId: TenantId
  readonly from: string
  readonly to: string
  /** Number of events in the log. */
  readonly events: number
  /** The time for which appends had to wait; undefined if another run had set the fence. */
  readonly pause: Duration.Duration | undefined
  /** True if no rows remain at the source. Otherwise the grace time is not over, and the runner removes them. */
  readonly removed: boolean
}

/** An unfinished move. */
export interface MoveStatus {
  /** A UUID. */
  readonly id: string
  readonly tenantId: TenantId
  readonly from: string
  readonly to: string
  readonly step: MoveStep
  /** The last position of the log at the source; undefined if the source cannot be reached. */
  readonly end: number | undefined
  /** The last position that the target has; undefined if the target cannot be reached, or has nothing. */
  readonly copied: number | undefined
  /** Time for which the process that carries it out keeps the lease. Zero if any process may carry it on. */
  readonly lease: Duration.Duration
}

/** Errors of a move. After a `StorageUnavailable` it is carried on by the runner, or with `resume`. */
export type MoveError = RunError

/** Settings of {@link layerWith}. */
export interface Options {
  /**
   * Maximum time for which appends have to wait. A move that cannot decide within it copies on and tries again, twice. It must be
   * shorter than `moveWait` of the stores, after which a waiting append is refused. Default: 8 seconds.
   */
  readonly fence?: Duration.Input | undefined
  /** Maximum wait for handlers of projections that are under way. Appends go on meanwhile. Default: 5 seconds. */
  readonly handlerWait?: Duration.Input | undefined
  /** Time after which another process takes over from one that is silent. Default: 15 seconds. */
  readonly lease?: Duration.Input | undefined
  /** Time after the decision for which the rows at the source stay. Default: 10 minutes. */
  readonly grace?: Duration.Input | undefined
  /** Approximate number of rows that are removed per transaction. Default: 1,000. */
  readonly rowsPerStep?: number | undefined
  /** The pause between these transactions, which leaves room for the work of other tenants. Default: 10 milliseconds. */
  readonly pause?: Duration.Input | undefined
}

/** Settings of one run of a move. */
export interface RunOptions {
  /** Runs after each page, and at each step. */
  readonly onProgress?: ((progress: MoveProgress) => Effect.Effect<void>) | undefined
}

/**
 * Moves tenants between databases.
 *
 * **Details**
 *
 * - The log, unexpired command keys, dead letters, the progress of what acts outside (reactions, outboxes, subscriptions by name),
 *   carried tables, the hash chain, a legal hold and the subjects that were forgotten or held move, and are compared before the
 *   decision. Read models and snapshots are not copied: the runners of the target fill them from the log, after the move.
 * - Appends that meet the fence wait and go on at the target. One in a transaction of the program is refused at once
 *   (`TenantMoving`), because a transaction cannot follow. Reads go on.
 * - While the source cannot be reached, nothing is decided.
 */
export class TenantMove extends Context.Service<
  TenantMove,
  {
    /** Moves a tenant to another placement. Returns when it is in use there. */
    readonly start: (
      tenantId: TenantId,
      options: RunOptions & { readonly to: string }
    ) => Effect.Effect<Moved, MoveError, TenantAdministration>
    /**
     * Checks that a tenant can move to a placement, as `start` does, and changes nothing. Returns its placement and the number of events
     * in its log.
     */
    readonly check: (
      tenantId: TenantId,
      options: { readonly to: string }
    ) => Effect.Effect<
      { readonly from: string; readonly events: number },
      MoveRefused | StorageUnavailable,
      TenantAdministration
    >
    /** Carries on with a move that was interrupted, and removes rows whose grace time is over. */
    readonly resume: (
      tenantId: TenantId,
      options?: RunOptions
    ) => Effect.Effect<Moved, MoveError, TenantAdministration>
    /** The unfinished move of a tenant; undefined if there is none. */
    readonly status: (
      tenantId: TenantId
    ) => Effect.Effect<MoveStatus | undefined, StorageUnavailable, TenantAdministration>
    /** Calls off a move that is not decided, and removes the copy. The tenant stays in use at the source. */
    readonly abort: (
      tenantId: TenantId
    ) => Effect.Effect<void, MoveRefused | StorageUnavailable, TenantAdministration>
    /**
     * Carries on with all moves that no process has in its lease, one after another. Returns the tenants of those that are finished.
     * Failures are logged, and do not stop the others.
     */
    readonly resumeAll: Effect.Effect<ReadonlyArray<TenantId>, StorageUnavailable, TenantAdministration>
  }
>()("effect-eventsourcing/TenantMove") {}

const settingsOf = (options: Options): Settings => {
  const { rowsPerStep = 1000 } = options
  if (!(rowsPerStep >= 1)) throw new RangeError("rowsPerStep must be 1 or more")
  const millis = (input: Duration.Input): number => Math.ceil(Duration.toMillis(input))
  return {
    lease: millis(options.lease ?? "15 seconds"),
    fence: millis(options.fence ?? "8 seconds"),
    handlerWait: millis(options.handlerWait ?? "5 seconds"),
    grace: millis(options.grace ?? "10 minutes"),
    pause: millis(options.pause ?? "10 millis"),
    rowsPerStep
  }
}

/** The rows of a tenant in all placements that can be reached. */
interface Rows {
  readonly records: ReadonlyMap<string, TenantRecord>
  readonly failures: ReadonlyMap<string, Cause.Cause<StorageUnavailable>>
}

/** Number of placements that are asked at the same time. */
const concurrency = 4

const statusOf = ({ move, source, step, target }: Found): MoveStatus => {
  const state = target?.state
  const lease = state?.status === "importing" ? (state.move?.leaseMillis ?? 0) : 0
  return {
    ...move,
    step,
    end: source?.position,
    copied: target?.position,
    lease: Duration.millis(Math.max(lease, 0))
  }
}

const make = (options: Options) =>
  Effect.gen(function* () {
    const placements = yield* Placements
    const directory = yield* TenantDirectory
    const settings = settingsOf(options)

    const partsOf = (access: CrossTenantAccess, { onProgress = () => Effect.void }: RunOptions): Parts => ({
      placements,
      directory,
      settings,
      access,
      onProgress
    })

    /** The rows of a tenant. Each look is recorded where it is made. */
    const look = Effect.fnUntraced(function* (parts: Parts, tenantId: TenantId) {
      yield* checkedTenant(tenantId)
      const records = new Map<string, TenantRecord>()
      const failures = new Map<string, Cause.Cause<StorageUnavailable>>()
      yield* Effect.forEach(
        yield* placements.all,
        (placement) =>
          Effect.scoped(
            Effect.flatMap(sideOf(parts, { id: "of", tenantId }, placement), ({ at, storage }) =>
              storage.tenant(at)
            )
          ).pipe(
            Effect.exit,
            Effect.flatMap((exit) =>
              Effect.sync(() => {
                if (Exit.isFailure(exit)) failures.set(placement, exit.cause)
                else if (exit.value !== undefined) records.set(placement, exit.value)
              })
            )
          ),
        { concurrency, discard: true }
      )
      return { records, failures } satisfies Rows
    })

    /** The unfinished move of a tenant. One whose rows are only left to remove comes last. */
    const find = Effect.fnUntraced(function* (tenantId: TenantId, { failures, records }: Rows) {
      const found = movesOf(tenantId, records, new Set(failures.keys()))
      const first = found.find(({ step }) => step !== "removing") ?? found[0]
      if (first !== undefined) return first
      // it may be where nobody can look
      for (const cause of failures.values()) return yield* Effect.failCause(cause)
      return undefined
    })

    const movedOf = ({ from, tenantId, to }: Move, { events, pauseMillis, removed }: Outcome): Moved => ({
      tenantId,
      from,
      to,
      events,
      pause: pauseMillis === undefined ? undefined : Duration.millis(pauseMillis),
      removed
    })

    const noMove = (tenantId: TenantId) =>
      new MoveRefused({ tenantId, reason: "noMove", problem: "no move of it is under way" })

    const resume = Effect.fnUntraced(function* (parts: Parts, tenantId: TenantId) {
      const found = yield* find(tenantId, yield* look(parts, tenantId))
      if (found === undefined) return yield* noMove(tenantId)
      return movedOf(found.move, yield* carryOut(parts, found.move))
    })

    const start = Effect.fnUntraced(function* (parts: Parts, tenantId: TenantId, to: string) {
      const rows = yield* look(parts, tenantId)
      const from = yield* checked(parts, tenantId, to, rows.records, rows.failures)
      const move = { id: uuidV7Unsafe(), tenantId, from, to }
      return movedOf(move, yield* carryOut(parts, move))
    })

    /** True if a process keeps its lease, so that the move is in good hands. */
    const isKept = ({ step, target }: Found): boolean => {
      const state = target?.state
      return (
        (step === "copying" || step === "fenced") &&
        state?.status === "importing" &&
        (state.move?.leaseMillis ?? 0) > 0
      )
    }

    const unfinished = Effect.fnUntraced(function* (parts: Parts) {
      const tenants = new Set<TenantId>()
      for (const placement of yield* placements.all)
        yield* Effect.gen(function* () {
          const storage = yield* placements.administration(placement)
          const accessId = yield* storage.recordAccess({ ...parts.access, operation: "TenantMove.resumeAll" })
          for (const tenantId of yield* storage.movingTenants({ accessId })) tenants.add(tenantId)
        }).pipe(
          Effect.scoped,
          Effect.ignore({ log: "Warn", message: `Moves of tenants of ${placement} could not be looked up` })
        )
      return tenants
    })

    const movesIn = Effect.fnUntraced(function* (parts: Parts, tenantId: TenantId) {
      const { failures, records } = yield* look(parts, tenantId)
      return movesOf(tenantId, records, new Set(failures.keys()))
    })

    /** Removes the rest of a move that was called off. Its copy may have been begun between two reads of one look, so it looks again. */
    const clear = Effect.fnUntraced(function* (parts: Parts, { move }: Found) {
      const found = (yield* movesIn(parts, move.tenantId)).find((other) => other.move.id === move.id)
      if (found?.step === "calledOff") yield* abandon(parts, found)
    })

    const resumeAll = Effect.fnUntraced(function* (parts: Parts) {
      const finished: Array<TenantId> = []
      for (const tenantId of yield* unfinished(parts)) {
        const exit = yield* Effect.gen(function* () {
          for (const found of yield* movesIn(parts, tenantId)) {
            if (isKept(found)) continue
            if (found.step === "calledOff") yield* clear(parts, found)
            else if ((yield* carryOut(parts, found.move).pipe(ofTenant("move", tenantId))).removed)
              finished.push(tenantId)
          }
        }).pipe(Effect.exit)
        if (Exit.isFailure(exit) && !Cause.hasInterrupts(exit.cause))
          yield* Effect.logWarning("A move of a tenant could not be carried on").pipe(
            Effect.annotateLogs({ [attribute.tenantId]: tenantId, problem: String(Cause.squash(exit.cause)) })
          )
      }
      return finished
    })

    /** Calls a move off, and removes the copy. */
    const abandon = Effect.fnUntraced(function* (parts: Parts, { move, step }: Found) {
      yield* Effect.scoped(
        Effect.gen(function* () {
          const source = yield* sideOf(parts, move, move.from)
          yield* source.storage
            .changeState({ ...source.at, change: "callOff", move: move.id, token: undefined })
            .pipe(
              Effect.catchTag("TenantHeld", Effect.die),
              // no longer registered at the source, so it cannot be decided there
              Effect.catchTag("TenantStateConflict", (error) =>
                error.status === null
                  ? Effect.void
                  : Effect.fail(
                      new MoveRefused({ tenantId: move.tenantId, reason: "decided", problem: error.problem })
                    )
              )
            )
          const target = yield* sideOf(parts, move, move.to)
          yield* removeCopy(target, move, settings)
        })
      )
      if (step === "calledOff") yield* Effect.logDebug("The rest of a move that was called off is removed")
    })

    return TenantMove.of({
      start: (tenantId, given) =>
        ofTenant(
          "move",
          tenantId
        )(
          Effect.flatMap(TenantAdministration, (access) => start(partsOf(access, given), tenantId, given.to))
        ),
      resume: (tenantId, given = {}) =>
        ofTenant(
          "move",
          tenantId
        )(Effect.flatMap(TenantAdministration, (access) => resume(partsOf(access, given), tenantId))),
      check: Effect.fnUntraced(function* (tenantId, { to }) {
        const parts = partsOf(yield* TenantAdministration, {})
        const { failures, records } = yield* look(parts, tenantId)
        const from = yield* checked(parts, tenantId, to, records, failures, { removesRest: false })
        return { from, events: records.get(from)?.position ?? 0 }
      }),
      status: Effect.fnUntraced(function* (tenantId) {
        const parts = partsOf(yield* TenantAdministration, {})
        const found = yield* find(tenantId, yield* look(parts, tenantId))
        return found === undefined ? undefined : statusOf(found)
      }),
      abort: Effect.fnUntraced(function* (tenantId) {
        const parts = partsOf(yield* TenantAdministration, {})
        const found = yield* find(tenantId, yield* look(parts, tenantId))
        if (found === undefined) return yield* noMove(tenantId)
        if (found.step === "decided" || found.step === "removing")
          return yield* new MoveRefused({
            tenantId,
            reason: "decided",
            problem: `the move to ${found.move.to} is decided: to go back, move it again`
          })
        yield* abandon(parts, found)
      }),
      resumeAll: Effect.flatMap(TenantAdministration, (access) => resumeAll(partsOf(access, {})))
    })
  })

/** Moves between the placements of a directory, with settings. */
export const layerWith = (options: Options): Layer.Layer<TenantMove, never, Placements | TenantDirectory> =>
  layerPer([Placements, TenantDirectory], () => Layer.effect(TenantMove, make(options)))

/** Moves between the placements of a directory. See {@link layerWith}. */
export const layer: Layer.Layer<TenantMove, never, Placements | TenantDirectory> = layerWith({})

/** Settings of {@link runner}. */
export interface RunnerOptions extends CrossTenantAccess {
  /** Interval at which moves are looked for that no process carries out. Default: 10 seconds. */
  readonly interval?: Duration.Input | undefined
}

/**
 * Carries on with the moves that killed processes have left, and removes rows whose grace time is over, while the layer's scope is
 * open. Any number of processes may have a runner.
 */
export const runner = ({
  actor,
  interval = "10 seconds",
  reason
}: RunnerOptions): Layer.Layer<never, never, TenantMove> =>
  Layer.effectDiscard(
    Effect.flatMap(TenantMove, (moves) =>
      moves.resumeAll.pipe(
        provideAdministration({ actor, reason }),
        Effect.ignore({ log: "Warn", message: "Moves of tenants could not be carried on" }),
        Effect.delay(interval),
        Effect.forever,
        Effect.forkScoped
      )
    )
  )

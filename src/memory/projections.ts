/**
 * The progress of projections in memory: for tests, examples and as the oracle of the other drivers.
 */
import { Clock, Context, Effect, Exit } from "effect"
import type * as EventStorage from "../driver/EventStorage.ts"
import type { Heads } from "./events.ts"
import { FailureCauses } from "./failureCauses.ts"
import {
  letterKey,
  newRow,
  noFailure,
  resumed,
  type Row,
  rowKey,
  type Store,
  versionKey,
  Work
} from "./progressTable.ts"
import { refusal, refuseRebuild, type Registration, retiredVersion, unknownVersion } from "./registrations.ts"
import { FairShare } from "../driver/fairShare.ts"
import { describeFailure } from "../driver/storageFailure.ts"
import * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import { SharedRebuilds } from "./sharedRebuilds.ts"
import type { Transactions } from "./transactions.ts"
import { StorageUnavailable, TenantMismatch, OtherFailure } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** The next row to work on. */
interface Next {
  readonly row: Row
  readonly head: number
  readonly acrossTenants: boolean
}

let stores = 0

/** A new, empty storage for the projections of a store. */
export const make = (
  events: EventStorage.EventStorage["Service"],
  heads: Heads,
  transactions: Transactions,
  store: Store,
  registrations: Map<string, Registration>
): ProjectionStorage.ProjectionStorage["Service"] => {
  const causes = new FailureCauses()
  const sharedRebuilds = new SharedRebuilds(store, heads)
  const isRetired = (key: ProjectionStorage.ProjectionKey) =>
    registrations.get(versionKey(key))?.retired === true
  const CurrentWork = Context.Reference<Work | undefined>(
    `effect-eventsourcing/memory/projections/${++stores}`,
    { defaultValue: () => undefined }
  )

  /** Dies because of another tenant. The work is then undone, even if the defect is caught. */
  const refuse = (work: Work, tenantId: TenantId): Effect.Effect<never> =>
    Effect.suspend(() => {
      work.mismatch ??= new TenantMismatch({ tenantId })
      return Effect.die(work.mismatch)
    })

  /** Runs an effect atomically, in the surrounding work or in one of its own. */
  const atomically = <A, E, R>(
    tenantId: TenantId,
    run: (work: Work) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> =>
    Effect.flatMap(CurrentWork, (current): Effect.Effect<A, E, R> => {
      if (current === undefined || current.ended) return inWork(new Work(tenantId), run)
      return current.tenantId === tenantId ? run(current) : refuse(current, tenantId)
    })

  const inWork = <A, E, R>(work: Work, run: (work: Work) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.onExit(
      Effect.provideService(
        Effect.suspend(() => run(work)),
        CurrentWork,
        work
      ).pipe(Effect.tap(() => (work.mismatch === undefined ? Effect.void : Effect.die(work.mismatch)))),
      (exit) => Effect.sync(() => store.end(work, Exit.isSuccess(exit)))
    )

  /** Changes the row of a projection and tenant, after waiting for other work on it. */
  const change = (
    key: ProjectionStorage.TenantProjection,
    rebuild: boolean,
    changed: (row: Row | undefined) => Row | undefined
  ) =>
    atomically(key.tenantId, (work) => {
      const at = rowKey(key, rebuild)
      return Effect.map(store.lock(at, work), () => {
        const row = store.row(at, work)
        const next = changed(row)
        work.rows.set(at, next)
        return { row, next }
      })
    })

  /** Removes the dead letters of a rebuild. */
  const removeLetters = (key: ProjectionStorage.TenantProjection) =>
    atomically(key.tenantId, (work) =>
      Effect.sync(() => {
        for (const { position } of store.lettersOf(key, true, work))
          work.letters.set(letterKey(key, true, position), undefined)
      })
    )

  /** The claims in progress. */
  const shares = new FairShare()

  /** The least recently served row of the first projection with work, of tenants within their shares if there is any. */
  const nextRow = (request: ProjectionStorage.WorkRequest, now: number): Next | undefined =>
    nextRowOf(request, now, (tenantId) => !shares.isExceeded(tenantId)) ??
    (shares.areCounted ? nextRowOf(request, now, () => true) : undefined)

  const nextRowOf = (
    { projections }: ProjectionStorage.WorkRequest,
    now: number,
    isOf: (tenantId: TenantId) => boolean
  ): Next | undefined => {
    for (const { projection, version, acrossTenants } of projections) {
      const registration = registrations.get(versionKey({ projection, version }))
      if (registration === undefined || registration.retired || registration.inline) continue
      const held = sharedRebuilds.isHeld(registration, now)
      let first: Next | undefined
      for (const [tenantId, head] of heads()) {
        if (!isOf(tenantId)) continue
        const key = { tenantId, projection, version }
        for (const rebuild of held ? [true] : [false, true]) {
          const at = rowKey(key, rebuild)
          const row = store.row(at, undefined) ?? (rebuild ? undefined : newRow(key, false))
          if (row === undefined || row.retryAt === Infinity) continue
          if (now < row.retryAt && now >= row.failedAt) continue
          // A rebuild has work until it replaces the live read model.
          if (row.position >= head && (!rebuild || row.shared)) continue
          if (store.isLocked(at) || (first !== undefined && first.row.servedAt <= row.servedAt)) continue
          first = { row, head, acrossTenants }
        }
      }
      if (first !== undefined) return first
    }
    return undefined
  }

  /** Fails without a recorded access. */
  const requireAccess = (accessId: string | undefined) =>
    events.listAccesses({ accessId: accessId ?? "", before: undefined, limit: 1 })

  /** The recorded time of the event after a position. */
  const recordedAfter = (tenantId: TenantId, position: number) =>
    Effect.map(
      events.readLog({
        tenantId,
        fromPosition: position + 1,
        toPosition: position + 1,
        recordedFrom: undefined,
        recordedBefore: undefined,
        aggregateTypes: undefined,
        eventTypes: undefined,
        direction: "forwards",
        limit: 1
      }),
      ({ rows }) => rows[0]?.recordedAt
    )

  return ProjectionStorage.ProjectionStorage.of({
    register: (projections) =>
      Effect.forEach(
        projections,
        ({ projection, version, tables, startAt, inline = false }) =>
          Effect.suspend(() => {
            const at = versionKey({ projection, version })
            const refused = refusal({ projection, version, tables, inline }, registrations)
            if (refused !== undefined) return Effect.fail(refused)
            if (!registrations.has(at) && !inline) {
              for (const [tenantId, head] of startAt === "now" ? heads() : [])
                store.put({ ...newRow({ tenantId, projection, version }, false), position: head })
            }
            store.retry({ projection, version })
            registrations.set(at, { projection, version, tables, inline, retired: false })
            return Effect.void
          }),
        { discard: true }
      ),
    retire: ({ accessId, ...key }) =>
      Effect.andThen(
        requireAccess(accessId),
        Effect.sync(() => {
          const found = registrations.get(versionKey(key))
          if (found === undefined || found.retired) return false
          registrations.set(versionKey(key), { ...found, retired: true })
          store.forget(key)
          sharedRebuilds.forget(key)
          const tenants = Array.from(heads(), ([tenantId]) => tenantId)
          causes.forget(key, tenants)
          return true
        })
      ),
    // Work is found in the logs themselves, so there is nothing to sweep.
    sweep: Effect.void,
    backlog: (projections) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Effect.forEach(
          projections,
          Effect.fnUntraced(function* (key) {
            let [pending, oldestAge, parked] = [0, 0, 0]
            for (const [tenantId, head] of heads()) {
              const at = { ...key, tenantId }
              const live = store.row(rowKey(at, false), undefined)
              const position = live?.position ?? 0
              if (live?.parked === true || store.row(rowKey(at, true), undefined)?.parked === true) parked++
              if (position >= head) continue
              pending += head - position
              const recordedAt = yield* recordedAfter(tenantId, position)
              oldestAge = Math.max(oldestAge, now - (recordedAt ?? now))
            }
            const letters = store.liveLetters(key)
            return {
              projection: key.projection,
              version: key.version,
              pending,
              oldestAge,
              parked,
              deadLetters: letters.length,
              oldestDeadLetter: letters.reduce((age, { failedAt }) => Math.max(age, now - failedAt), 0)
            }
          })
        )
      ),
    work: (request, body) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const next = nextRow(request, now)
          if (next === undefined) return Effect.succeedNone
          const {
            shared: _shared,
            servedAt: _servedAt,
            parked: _parked,
            retryAt: _retryAt,
            failedAt: _failedAt,
            rebuilt: _rebuilt,
            ...claim
          } = next.row
          const work = new Work(claim.tenantId)
          store.lockUnsafe(rowKey(claim, claim.rebuild), work)
          shares.enter(claim.tenantId)
          work.rows.set(rowKey(claim, claim.rebuild), next.row)
          // A small backlog needs only one page. The claimed row is locked now.
          const alone = next.head - claim.position > 100 && nextRow(request, now) === undefined
          const claimed = next.acrossTenants ? requireAccess(request.accessId) : Effect.void
          return inWork(work, () =>
            restore(Effect.andThen(claimed, body({ ...claim, head: next.head, alone })))
          ).pipe(
            Effect.onExit(() => Effect.sync(() => shares.leave(claim.tenantId))),
            Effect.asSome
          )
        })
      ),
    attempt: (effect) =>
      Effect.flatMap(CurrentWork, (work) => {
        if (work === undefined) return effect
        const { rows, letters } = work
        work.rows = new Map(rows)
        work.letters = new Map(letters)
        return Effect.onExit(effect, (exit) =>
          Effect.sync(() => {
            if (Exit.isSuccess(exit)) return
            work.rows = rows
            work.letters = letters
          })
        )
      }),
    advance: (claim, position) =>
      Effect.andThen(
        change(claim, claim.rebuild, (row) => {
          if (row === undefined) return undefined
          const { failedPosition = 0 } = row
          return {
            ...row,
            parked: false,
            ...(failedPosition > position ? undefined : noFailure),
            ...store.served(),
            position
          }
        }),
        Effect.map(events.head({ tenantId: claim.tenantId }), (head) => head.position)
      ),
    describeFailure: (error) => Effect.succeed(describeFailure(error)),
    fail: ({ claim, position, attempts, cause, error, kind, parked, retryIn, waited }) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if (cause !== undefined) causes.keep(claim, { ...cause, rebuild: claim.rebuild, position, kind }, now)
        return change(claim, claim.rebuild, (found) => {
          // A claim that failed as a whole has left no row if it was the first.
          const row = found ?? (claim.rebuild ? undefined : newRow(claim, false))
          return row === undefined || row.position >= position
            ? found
            : {
                ...row,
                ...store.served(),
                attempts,
                failedPosition: position,
                error,
                failureKind: kind,
                waited,
                parked,
                retryAt: now + (retryIn ?? Infinity),
                failedAt: now
              }
        })
      }).pipe(Effect.asVoid),
    addDeadLetter: ({ tenantId, projection, version, rebuild }, letter) =>
      Effect.flatMap(Clock.currentTimeMillis, (failedAt) =>
        atomically(tenantId, (work) =>
          Effect.sync(() => {
            const at = letterKey({ tenantId, projection, version }, rebuild, letter.position)
            if (store.letters(work).has(at)) return
            work.letters.set(at, { ...letter, tenantId, projection, version, rebuild, failedAt })
          })
        )
      ),
    deadLetters: ({ after, limit, ...key }) =>
      atomically(key.tenantId, (work) =>
        Effect.sync(() =>
          store
            .lettersOf(key, false, work)
            .filter((letter) => letter.position > after)
            .slice(0, limit)
            .map(({ position, eventId, error, attempts, failedAt }) => ({
              position,
              eventId,
              error,
              attempts,
              failedAt
            }))
        )
      ),
    removeDeadLetter: (key) =>
      atomically(key.tenantId, (work) =>
        Effect.suspend(() => {
          if (key.reason === "") {
            const operation = "remove a dead letter"
            return Effect.fail(
              new StorageUnavailable({
                reason: new OtherFailure({
                  operation,
                  retryable: false,
                  code: null,
                  remedy: "state a reason"
                })
              })
            )
          }
          const at = letterKey(key, false, key.position)
          const found = store.letters(work).has(at)
          work.letters.set(at, undefined)
          return Effect.succeed(found)
        })
      ),
    progress: (key) =>
      atomically(key.tenantId, (work) =>
        Effect.forEach(
          [false, true].flatMap((rebuild) => store.row(rowKey(key, rebuild), work) ?? []),
          Effect.fnUntraced(function* ({
            rebuild,
            shared,
            position,
            parked,
            attempts,
            failedPosition,
            error,
            failureKind,
            rebuilt
          }) {
            return {
              rebuild,
              shared,
              position,
              head: (yield* events.head({ tenantId: key.tenantId })).position,
              parked,
              attempts,
              failedPosition,
              error,
              failureKind,
              oldestUnprocessed: yield* recordedAfter(key.tenantId, position),
              rebuilt
            }
          })
        )
      ),
    pause: (key) =>
      Effect.flatMap(events.tenantStatus(key.tenantId), (status) =>
        status === undefined || isRetired(key)
          ? Effect.succeed(false)
          : Effect.map(
              change(key, false, (found) => {
                const row = found ?? newRow(key, false)
                return row.parked && row.retryAt === Infinity
                  ? row
                  : {
                      ...row,
                      parked: true,
                      retryAt: Infinity,
                      error: ProjectionStorage.pausedError,
                      failureKind: undefined
                    }
              }),
              ({ row }) => row?.parked !== true || row.retryAt !== Infinity
            )
      ),
    resume: (key) =>
      Effect.map(
        Effect.forEach([false, true], (rebuild) =>
          change(key, rebuild, (row) => (row?.parked === true ? { ...row, ...resumed } : row))
        ),
        (changes) => changes.some(({ row }) => row?.parked === true)
      ),
    resumeAll: ({ accessId, projection }) =>
      Effect.andThen(
        requireAccess(accessId),
        Effect.map(
          Effect.forEach(store.parked(projection), (key) =>
            change(key, key.rebuild, (row) => (row?.parked === true ? { ...row, ...resumed } : row))
          ),
          (changes) => changes.filter(({ row }) => row?.parked === true).length
        )
      ),
    failures: ({ accessId, ...key }) => Effect.map(requireAccess(accessId), () => causes.of(key)),
    startRebuild: (key) =>
      Effect.andThen(
        isRetired(key) ? Effect.fail(refuseRebuild(key, retiredVersion)) : Effect.void,
        Effect.andThen(
          change(key, true, (row) => ({ ...newRow(key, true), servedAt: row?.servedAt ?? 0 })),
          removeLetters(key)
        )
      ),
    cancelRebuild: (key) =>
      Effect.flatMap(
        change(key, true, (row) => (row?.shared === true ? row : undefined)),
        ({ row }) =>
          row === undefined || row.shared ? Effect.succeed(false) : Effect.as(removeLetters(key), true)
      ),
    // There are no tables that a handler could confuse.
    checkRebuild: () => Effect.void,
    rebuildProblem: (claim) => Effect.succeed(isRetired(claim) ? retiredVersion : undefined),
    startSharedRebuild: ({ accessId, restart, ...key }) =>
      Effect.andThen(
        requireAccess(accessId),
        Effect.suspend(() => {
          const found = registrations.get(versionKey(key))
          return found === undefined || found.retired || found.inline
            ? Effect.fail(refuseRebuild(key, found?.retired === true ? retiredVersion : unknownVersion))
            : sharedRebuilds.start({ ...key, restart })
        })
      ),
    cancelSharedRebuild: ({ accessId, ...key }) =>
      Effect.andThen(requireAccess(accessId), sharedRebuilds.cancel(key)),
    switchSharedRebuild: ({ accessId, ...key }) =>
      Effect.andThen(requireAccess(accessId), sharedRebuilds.switch(key)),
    lockLive: (claim) =>
      Effect.map(
        change(claim, false, (row) => row ?? newRow(claim, false)),
        ({ next }) => next?.position ?? 0
      ),
    switchRebuild: (claim, { position }) =>
      atomically(claim.tenantId, (work) =>
        Effect.gen(function* () {
          yield* change(claim, true, () => undefined)
          yield* change(claim, false, (row = newRow(claim, false)) => ({
            ...row,
            ...noFailure,
            ...store.served(),
            position,
            rebuilt: row.rebuilt + 1
          }))
          for (const letter of store.lettersOf(claim, false, work))
            work.letters.set(letterKey(claim, false, letter.position), undefined)
          for (const letter of store.lettersOf(claim, true, work)) {
            work.letters.set(letterKey(claim, true, letter.position), undefined)
            work.letters.set(letterKey(claim, false, letter.position), { ...letter, rebuild: false })
          }
        })
      ),
    transaction: <A, E, R>(tenantId: TenantId, effect: Effect.Effect<A, E, R>, accessId?: string) =>
      Effect.flatMap(CurrentWork, (work): Effect.Effect<A, E | StorageUnavailable, R> =>
        work !== undefined && !work.ended && (work.tenantId !== tenantId || accessId !== undefined)
          ? refuse(work, tenantId)
          : Effect.andThen(
              accessId === undefined ? Effect.void : requireAccess(accessId),
              transactions.run(tenantId, effect)
            )
      ),
    inTransaction: Effect.flatMap(CurrentWork, (work) =>
      work === undefined || work.ended ? transactions.inTransaction : Effect.succeed(true)
    ),
    // There are no tables, but the log must not change until the transaction ends.
    clearReadModel: ({ tenantId }) => transactions.hold(tenantId)
  })
}

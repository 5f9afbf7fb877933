/**
 * Progress of projections in memory, beside events in memory: for tests, examples and as the oracle of other drivers.
 */
import { Clock, Context, Effect, Exit } from "effect"
import type * as EventStorage from "../driver/EventStorage.ts"
import type { Heads } from "./events.ts"
import { letterKey, newRow, noFailure, type Row, rowKey, Store, Work } from "./progressTable.ts"
import * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import { StorageUnavailable, TenantMismatch, OtherFailure } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** The next row to work on. */
interface Next {
  readonly row: Row
  readonly head: number
  readonly acrossTenants: boolean
}

let stores = 0

/** A storage without progress, for the events of a store. */
export const make = (
  events: EventStorage.EventStorage["Service"],
  heads: Heads
): ProjectionStorage.ProjectionStorage["Service"] => {
  const store = new Store()
  const registered = new Set<string>()
  const CurrentWork = Context.Reference<Work | undefined>(
    `effect-eventsourcing/memory/projections/${++stores}`,
    { defaultValue: () => undefined }
  )

  /** A defect, after which the work is undone even if the defect is caught. */
  const refuse = (work: Work, tenantId: TenantId): Effect.Effect<never> =>
    Effect.suspend(() => {
      work.mismatch ??= new TenantMismatch({ tenantId })
      return Effect.die(work.mismatch)
    })

  /** Runs an effect atomically: in the work that surrounds it, otherwise in a work of its own. */
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

  /** Of the first projection with work: the row that was served least recently. */
  const nextRow = ({ projections }: ProjectionStorage.WorkRequest, now: number): Next | undefined => {
    for (const { projection, version, acrossTenants } of projections) {
      if (!registered.has(JSON.stringify([projection, version]))) continue
      let first: Next | undefined
      for (const [tenantId, head] of heads()) {
        const key = { tenantId, projection, version }
        for (const rebuild of [false, true]) {
          const at = rowKey(key, rebuild)
          const row = store.row(at, undefined) ?? (rebuild ? undefined : newRow(key, false))
          if (row === undefined || row.parked) continue
          if (now < row.retryAt && now >= row.failedAt) continue
          // A rebuild has work until it replaces the live read model.
          if (row.position >= head && !rebuild) continue
          if (store.isLocked(at) || (first !== undefined && first.row.servedAt <= row.servedAt)) continue
          first = { row, head, acrossTenants }
        }
      }
      if (first !== undefined) return first
    }
    return undefined
  }

  /** Refuses a projection across tenants without a recorded access. */
  const requireAccess = (accessId: string | undefined) =>
    events.listAccesses({ accessId: accessId ?? "", before: undefined, limit: 1 })

  return ProjectionStorage.ProjectionStorage.of({
    register: (projections) =>
      Effect.sync(() => {
        for (const { projection, version, startAt } of projections) {
          if (registered.has(JSON.stringify([projection, version]))) continue
          registered.add(JSON.stringify([projection, version]))
          for (const [tenantId, head] of startAt === "now" ? heads() : [])
            store.put({ ...newRow({ tenantId, projection, version }, false), position: head })
        }
      }),
    // Work is found in the logs themselves, so there is nothing to sweep.
    sweep: Effect.void,
    work: (request, body) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const next = nextRow(request, now)
          if (next === undefined) return Effect.succeedNone
          const {
            servedAt: _servedAt,
            parked: _parked,
            retryAt: _retryAt,
            failedAt: _failedAt,
            ...claim
          } = next.row
          const work = new Work(claim.tenantId)
          store.lockUnsafe(rowKey(claim, claim.rebuild), work)
          work.rows.set(rowKey(claim, claim.rebuild), next.row)
          const claimed = next.acrossTenants ? requireAccess(request.accessId) : Effect.void
          return inWork(work, () =>
            restore(Effect.andThen(claimed, body({ ...claim, head: next.head })))
          ).pipe(Effect.asSome)
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
            ...(failedPosition > position ? undefined : noFailure),
            ...store.served(),
            position
          }
        }),
        Effect.map(events.head({ tenantId: claim.tenantId }), (head) => head.position)
      ),
    fail: ({ claim, position, attempts, error, retryIn }) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        change(claim, claim.rebuild, (row) =>
          row === undefined || row.position >= position
            ? row
            : {
                ...row,
                ...store.served(),
                attempts,
                failedPosition: position,
                error,
                parked: retryIn === undefined,
                retryAt: now + (retryIn ?? 0),
                failedAt: now
              }
        )
      ).pipe(Effect.asVoid),
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
                reason: new OtherFailure({ operation, retryable: false, code: "23514" })
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
          Effect.fnUntraced(function* ({ rebuild, position, parked, attempts, failedPosition, error }) {
            const { rows } = yield* events.readLog({
              tenantId: key.tenantId,
              fromPosition: position + 1,
              toPosition: position + 1,
              recordedFrom: undefined,
              recordedBefore: undefined,
              aggregateTypes: undefined,
              eventTypes: undefined,
              direction: "forwards",
              limit: 1
            })
            return {
              rebuild,
              position,
              head: (yield* events.head({ tenantId: key.tenantId })).position,
              parked,
              attempts,
              failedPosition,
              error,
              oldestUnprocessed: rows[0]?.recordedAt
            }
          })
        )
      ),
    resume: (key) =>
      Effect.map(
        Effect.forEach([false, true], (rebuild) =>
          change(key, rebuild, (row) =>
            row?.parked === true ? { ...row, parked: false, attempts: 0, retryAt: 0 } : row
          )
        ),
        (changes) => changes.some(({ row }) => row?.parked === true)
      ),
    startRebuild: (key) =>
      Effect.andThen(
        change(key, true, (row) => ({ ...newRow(key, true), servedAt: row?.servedAt ?? 0 })),
        atomically(key.tenantId, (work) =>
          Effect.sync(() => {
            for (const { position } of store.lettersOf(key, true, work))
              work.letters.set(letterKey(key, true, position), undefined)
          })
        )
      ),
    lockLive: (claim) =>
      Effect.map(
        change(claim, false, (row) => row ?? newRow(claim, false)),
        ({ next }) => next?.position ?? 0
      ),
    switchRebuild: (claim, { position }) =>
      atomically(claim.tenantId, (work) =>
        Effect.gen(function* () {
          yield* change(claim, true, () => undefined)
          yield* change(claim, false, (row) => ({
            ...(row ?? newRow(claim, false)),
            ...noFailure,
            ...store.served(),
            position
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
          : Effect.andThen(accessId === undefined ? Effect.void : requireAccess(accessId), effect)
      )
  })
}

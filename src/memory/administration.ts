/** The administration of tenants in memory: for tests, examples and as the oracle of the other drivers. */
import { Clock, Effect } from "effect"
import * as Storage from "../driver/AdministrationStorage.ts"
import type { CrossTenantAccessRow, EventRow, EventStorage } from "../driver/EventStorage.ts"
import { OtherFailure, StorageUnavailable, TimedOut } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { byCodePoints } from "../driver/codePoints.ts"
import type { Plans } from "./quota.ts"
import * as overviews from "./overviews.ts"
import { newRow, rowKey, type Store, versionKey, Work } from "./progressTable.ts"
import type { Registration } from "./registrations.ts"
import { another, changed, type Changed } from "./stateChanges.ts"
import { TenantLog } from "./tenantLog.ts"
import type { Transactions } from "./transactions.ts"

/** The parts of a store in memory. */
export interface Parts {
  readonly events: EventStorage["Service"]
  readonly transactions: Transactions
  readonly accesses: ReadonlyArray<CrossTenantAccessRow>
  readonly logs: Map<TenantId, TenantLog>
  readonly plans: Plans
  readonly progress: Store
  readonly registrations: ReadonlyMap<string, Registration>
  readonly forgetSnapshots: (tenantId: TenantId) => number
}

/** The reason why an event does not continue a log; undefined if it does. */
const discontinuity = (log: TenantLog, event: EventRow): string | undefined => {
  const last = log.events.at(-1)?.recordedAt
  if (event.version !== log.version(event.aggregateType, event.aggregateId) + 1)
    return `the version of the event at position ${event.position} does not continue its stream`
  if (last !== undefined && event.recordedAt < last)
    return `the recorded time of the event at position ${event.position} is before that of its predecessor`
  return log.byEventId(event.eventId) === undefined
    ? undefined
    : `the id of the event at position ${event.position} occurs twice`
}

/** The state of a tenant with durations in place of the moments that are kept. */
const stateOf = ({ purged, state }: TenantLog["administered"], at: number): Storage.TenantState => {
  switch (state.status) {
    case "importing":
      return state.move === undefined
        ? state
        : { ...state, move: { ...state.move, leaseMillis: state.move.leaseMillis - at } }
    case "moving":
      return { ...state, expiresInMillis: state.expiresInMillis - at }
    case "moved":
      return { ...state, sinceMillis: at - state.sinceMillis, purged }
    case "erased":
      return { ...state, purgeInMillis: state.purgeInMillis - at }
    default:
      return state
  }
}

export const make = ({
  accesses,
  events,
  forgetSnapshots,
  logs,
  plans,
  progress,
  registrations,
  transactions
}: Parts): Storage.AdministrationStorage["Service"] => {
  const discarded = new Map<TenantId, ReadonlyArray<Storage.DeadLetterRow>>()

  const now = Effect.map(Clock.currentTimeMillis, Math.floor)

  const accessOf = (
    operation: string,
    accessId: string
  ): Effect.Effect<CrossTenantAccessRow, StorageUnavailable> =>
    Effect.suspend(() => {
      const found = accesses.find((access) => access.accessId === accessId)
      return found === undefined
        ? Effect.fail(
            new StorageUnavailable({
              reason: new OtherFailure({
                operation,
                retryable: false,
                code: "ES004",
                remedy: "the access is not recorded: provide it with Tenant.provideAdministration"
              })
            })
          )
        : Effect.succeed(found)
    })

  const recordOf = (log: TenantLog, at: number): Storage.TenantRecord => {
    const last = log.events.at(-1)
    const { calledOff, hold, origin, quota, run, state, subjects } = log.administered
    return {
      tenantId: log.tenantId,
      state: stateOf(log.administered, at),
      createdAt: log.createdAt,
      position: log.events.length,
      lastEventId: last?.eventId ?? null,
      lastHash: last?.hash ?? null,
      chainedFrom: log.chainedFrom,
      origin,
      hold,
      quota,
      calledOff,
      run: state.status === "erased" ? undefined : run,
      forgotten: subjects.forgotten
    }
  }

  const conflict = (operation: string, tenantId: TenantId, log: TenantLog | undefined, problem: string) =>
    new Storage.TenantStateConflict({
      tenantId,
      operation,
      status: log?.status ?? null,
      position: log?.events.length ?? 0,
      problem
    })

  /** Runs an operation under a recorded access, on the tenant's log, which nobody changes meanwhile. */
  const administered = <A, E>(
    operation: string,
    { accessId, tenantId }: Storage.Administered,
    run: (log: TenantLog | undefined, at: number, access: CrossTenantAccessRow) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | StorageUnavailable> =>
    Effect.flatMap(accessOf(operation, accessId), (access) =>
      Effect.flatMap(now, (at) =>
        transactions.change(
          tenantId,
          () => logs.get(tenantId),
          (log) => run(log, at, access)
        )
      )
    )

  /** A write of an import. */
  const importing = <A, E>(
    operation: string,
    request: Storage.Imported,
    run: (log: TenantLog, at: number) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | Storage.ImportError> =>
    administered(operation, request, (log, at): Effect.Effect<A, E | Storage.ImportError> => {
      const refuse = (problem: string) => Effect.fail(conflict(operation, request.tenantId, log, problem))
      if (log === undefined) return refuse("the tenant is not registered: begin the import")
      const { state } = log.administered
      if (state.status !== "importing")
        return refuse(`the tenant is ${state.status}: only an import writes its content`)
      if (state.token !== request.token)
        return refuse("another import writes the tenant: end or purge that one first")
      return run(log, at)
    })

  /** Runs a change while no handler of the tenant's projections is under way, and none begins. */
  const withoutHandlers = <A, E>(
    tenantId: TenantId,
    waitMillis: number,
    change: Effect.Effect<A, E>
  ): Effect.Effect<A, E | StorageUnavailable> =>
    Effect.suspend(() => {
      const work = new Work(tenantId)
      // the first claim of a projection has no row yet
      const keys = new Set([
        ...progress.rowsOfTenant(tenantId).map((row) => rowKey(row, row.rebuild)),
        ...[...registrations.values()].map((known) => rowKey({ ...known, tenantId }, false))
      ])
      return Effect.forEach(keys, (key) => progress.lock(key, work), { discard: true }).pipe(
        Effect.timeoutOrElse({
          duration: waitMillis,
          orElse: () =>
            Effect.fail(
              new StorageUnavailable({ reason: new TimedOut({ operation: "fence a tenant", code: null }) })
            )
        }),
        Effect.andThen(change),
        Effect.ensuring(Effect.sync(() => progress.end(work, false)))
      )
    })

  return Storage.AdministrationStorage.of({
    recordAccess: events.recordAccess,
    tenant: ({ accessId, tenantId }) =>
      Effect.andThen(
        accessOf("read a tenant for its administration", accessId),
        Effect.map(now, (at) => {
          const log = logs.get(tenantId)
          return log === undefined ? undefined : recordOf(log, at)
        })
      ),
    changeState: (request) => {
      const { tenantId } = request
      const change = administered(
        request.change,
        request,
        (
          found,
          at,
          access
        ): Effect.Effect<Storage.TenantRecord, Storage.TenantStateConflict | Storage.TenantHeld> => {
          let log = found
          if (log === undefined && request.change === "beginImport") {
            log = new TenantLog(tenantId, at)
            log.administered.state = { status: "importing", token: request.token, move: undefined }
            logs.set(tenantId, log)
          }
          if (log === undefined)
            return Effect.fail(conflict(request.change, tenantId, log, "the tenant is not registered here"))
          const outcome: Changed = changed(log, request, access, at)
          if (outcome === "held" && log.administered.hold !== undefined) {
            const { actor, reason } = log.administered.hold
            return Effect.fail(new Storage.TenantHeld({ tenantId, actor, reason }))
          }
          const [held, ...others] = outcome === "heldSubjects" ? log.administered.subjects.held() : []
          if (held !== undefined) {
            const { actor, reason } = held
            const subjects = [held, ...others].slice(0, Storage.maxNamedHolds)
            return Effect.fail(new Storage.TenantHeld({ tenantId, actor, reason, subjects }))
          }
          return outcome === undefined
            ? Effect.succeed(recordOf(log, at))
            : Effect.fail(conflict(request.change, tenantId, log, outcome))
        }
      )
      return request.change === "fence" ? withoutHandlers(tenantId, request.waitMillis, change) : change
    },
    movingTenants: ({ accessId }) =>
      Effect.map(accessOf("list the tenants on the move", accessId), () =>
        [...logs.values()]
          .filter(({ administered: { purged, state } }) =>
            state.status === "importing"
              ? state.move !== undefined
              : state.status === "moving" || (state.status === "moved" && !purged)
          )
          .map(({ tenantId }) => tenantId)
          .toSorted(byCodePoints)
      ),
    overviews: (request) =>
      Effect.andThen(
        accessOf("list tenants for their administration", request.accessId),
        Effect.map(now, (at) => overviews.page(logs.values(), progress, request, at))
      ),
    work: ({ accessId, tenantId }) =>
      Effect.andThen(
        accessOf("read the work of projections", accessId),
        Effect.map(now, (at) => overviews.work(progress.rowsOfTenant(tenantId), registrations, at))
      ),
    setHold: (request) =>
      administered("set the legal hold", request, (log, heldAt, { actor }) => {
        const state = log?.administered.state
        if (
          log === undefined ||
          state === undefined ||
          state.status === "moved" ||
          (state.status === "erased" && state.purging)
        )
          return Effect.fail(
            conflict(
              "set the legal hold",
              request.tenantId,
              log,
              "the tenant is not registered here, or some of its rows are erased"
            )
          )
        log.administered.hold =
          request.reason === undefined ? undefined : { actor, reason: request.reason, heldAt }
        return Effect.void
      }),
    setQuota: (request) =>
      administered("set the quota", request, (log) => {
        const { quota, tenantId } = request
        const refuse = (problem: string) => Effect.fail(conflict("set the quota", tenantId, log, problem))
        if (log === undefined) return refuse("the tenant is not registered here: provision it first")
        const { status } = log
        if (status !== "active" && status !== "suspended" && status !== "importing")
          return refuse(
            `the tenant is ${status}: the quota of an active, suspended or importing tenant can be set`
          )
        if (quota !== undefined && "plan" in quota && !plans.has(quota.plan))
          return refuse(`the plan "${quota.plan}" is not defined here: define it first`)
        log.administered.quota = quota
        return Effect.void
      }),
    changeSubject: (request) =>
      administered(
        `change a subject (${request.change})`,
        request,
        (
          log,
          at,
          { actor }
        ): Effect.Effect<Storage.SubjectRow, Storage.TenantStateConflict | Storage.SubjectHeld> => {
          const { accessId: _, subject, tenantId, ...change } = request
          const refuse = (problem: string) =>
            Effect.fail(conflict(`${change.change} a subject`, tenantId, log, problem))
          if (log === undefined) return refuse("the tenant is not registered here: provision it first")
          if (log.status !== "active" && log.status !== "suspended")
            return refuse(
              `the tenant is ${log.status}: subjects of an active or suspended tenant can be changed`
            )
          const outcome = log.administered.subjects.change(subject, change, actor, at)
          if ("problem" in outcome) return refuse(outcome.problem)
          if (!("held" in outcome)) return Effect.succeed(outcome)
          const { held } = outcome
          return Effect.fail(
            new Storage.SubjectHeld({ tenantId, subject, actor: held.actor, reason: held.reason })
          )
        }
      ),
    subjects: ({ accessId, after, limit, tenantId }) =>
      Effect.map(accessOf("read subjects", accessId), () => {
        const rows = (logs.get(tenantId)?.administered.subjects.all() ?? []).filter(
          ({ subject }) => after === undefined || byCodePoints(subject, after) > 0
        )
        return { rows: rows.slice(0, limit), complete: rows.length <= limit }
      }),
    writeSubjects: (request) =>
      importing("write subjects", request, (log) =>
        Effect.sync(() => log.administered.subjects.restore(request.forgotten, request.subjects))
      ),
    definePlan: ({ accessId, limits, name }) =>
      Effect.map(accessOf("define a plan", accessId), () => void plans.set(name, limits)),
    plans: ({ accessId }) =>
      Effect.map(accessOf("list the plans", accessId), () =>
        Array.from(plans, ([name, limits]) => ({ name, limits })).toSorted((one, other) =>
          byCodePoints(one.name, other.name)
        )
      ),
    readEvents: ({ accessId, fromPosition, limit, tenantId, toPosition }) =>
      Effect.map(accessOf("read a log for its administration", accessId), () => {
        const rows = logs.get(tenantId)?.events ?? []
        const first = Math.max(fromPosition, 1) - 1
        const end = Math.min(toPosition, rows.length)
        const page = rows.slice(first, Math.max(Math.min(first + limit, end), first))
        return { rows: page, complete: first + page.length >= end }
      }),
    hasPayloadWith: ({ accessId, fromPosition, tenantId, text, toPosition }) =>
      Effect.map(accessOf("search a log for its administration", accessId), () =>
        (logs.get(tenantId)?.events ?? []).some(
          ({ payload, position }) =>
            position >= fromPosition && position <= toPosition && payload.includes(text)
        )
      ),
    writeEvents: (request) =>
      importing("write events", request, (log) => {
        const refuse = (problem: string) =>
          Effect.fail(conflict("write events", request.tenantId, log, problem))
        // checked on a copy, so that all are written or none
        const copy = log.fork()
        for (const event of request.events) {
          if (event.position !== copy.events.length + 1)
            return refuse(
              `its log ends at ${log.events.length}, so that the next event has position ${copy.events.length + 1}, not ${event.position}`
            )
          const problem = discontinuity(copy, event)
          if (problem !== undefined) return refuse(problem)
          copy.restore(event)
        }
        for (const event of request.events) log.restore(event)
        return Effect.succeed(log.events.length)
      }),
    readCommandKeys: ({ accessId, after, fromPosition = 0, limit, tenantId }) =>
      Effect.andThen(
        accessOf("read command keys", accessId),
        Effect.map(now, (at) => {
          const rows = (logs.get(tenantId)?.commandKeys(at) ?? [])
            .filter(
              ({ key, position }) =>
                position >= fromPosition && (after === undefined || byCodePoints(key, after) > 0)
            )
            .toSorted((one, other) => byCodePoints(one.key, other.key))
          return { rows: rows.slice(0, limit), complete: rows.length <= limit }
        })
      ),
    writeCommandKeys: (request) =>
      importing("write command keys", request, (log, at) =>
        Effect.sync(() => {
          for (const key of request.keys) log.restoreCommand(key, at)
        })
      ),
    readDeadLetters: ({ accessId, after, limit, tenantId }) =>
      Effect.map(accessOf("read dead letters", accessId), () => {
        const rows = [
          ...progress
            .lettersOfTenant(tenantId)
            .filter(({ rebuild }) => !rebuild)
            .map((letter) => ({
              projection: letter.projection,
              version: letter.version,
              position: letter.position,
              eventId: letter.eventId,
              error: letter.error,
              attempts: letter.attempts,
              failedAt: letter.failedAt,
              discarded: undefined
            })),
          ...(discarded.get(tenantId) ?? [])
        ].toSorted(
          (one, other) =>
            byCodePoints(one.projection, other.projection) ||
            one.version - other.version ||
            one.position - other.position ||
            (one.discarded?.at ?? 0) - (other.discarded?.at ?? 0)
        )
        return { rows: rows.slice(after, after + limit), complete: rows.length <= after + limit }
      }),
    writeDeadLetters: (request) =>
      importing("write dead letters", request, () =>
        Effect.sync(() => {
          const { letters, tenantId } = request
          progress.replaceLetters(
            tenantId,
            letters
              .filter((letter) => letter.discarded === undefined)
              .map((letter) => ({
                tenantId,
                projection: letter.projection,
                version: letter.version,
                rebuild: false,
                position: letter.position,
                eventId: letter.eventId,
                error: letter.error,
                attempts: letter.attempts,
                failedAt: letter.failedAt
              }))
          )
          discarded.set(
            tenantId,
            letters.filter((letter) => letter.discarded !== undefined)
          )
        })
      ),
    readProgress: ({ accessId, tenantId }) =>
      Effect.map(accessOf("read progress", accessId), () =>
        progress
          .rowsOfTenant(tenantId)
          .filter(({ rebuild }) => !rebuild)
          .map((row) => ({
            projection: row.projection,
            version: row.version,
            position: row.position,
            parked: row.parked,
            attempts: row.attempts,
            failedPosition: row.failedPosition,
            error: row.error,
            tables: registrations.get(versionKey(row))?.tables ?? []
          }))
          .toSorted(
            (one, other) => byCodePoints(one.projection, other.projection) || one.version - other.version
          )
      ),
    writeProgress: (request) =>
      importing("write progress", request, () =>
        Effect.sync(() => {
          const { tenantId } = request
          for (const row of request.progress)
            progress.put({
              ...newRow({ tenantId, projection: row.projection, version: row.version }, false),
              ...row,
              retryAt: row.parked ? Infinity : 0
            })
        })
      ),
    openTransactions: ({ accessId }) => Effect.as(accessOf("list open transactions", accessId), []),
    tables: ({ accessId }) => Effect.as(accessOf("list the tables of tenants", accessId), []),
    readTable: (request) =>
      administered("read a table", request, (log) =>
        Effect.fail(conflict("read a table", request.tenantId, log, "this storage has no tables"))
      ),
    writeTable: (request) =>
      importing("write a table", request, (log) =>
        Effect.fail(conflict("write a table", request.tenantId, log, "this storage has no tables"))
      ),
    residues: [],
    purge: (request) =>
      administered(
        "purge",
        request,
        (log, at): Effect.Effect<Storage.Purged, Storage.TenantStateConflict | Storage.TenantHeld> => {
          const { tenantId } = request
          const refuse = (problem: string) => Effect.fail(conflict("purge", tenantId, log, problem))
          if (log === undefined) return refuse("the tenant is not registered here")
          const { hold, state } = log.administered
          if (state.status !== "erased" && state.status !== "moved" && state.status !== "importing")
            return refuse(
              `the tenant is ${state.status}: only the rows of an erased, moved or importing tenant are purged`
            )
          if (state.token !== request.token) return refuse(another)
          if (state.status === "erased" && hold !== undefined)
            return Effect.fail(new Storage.TenantHeld({ tenantId, actor: hold.actor, reason: hold.reason }))
          if (state.status === "erased" && state.purgeInMillis > at)
            return refuse("the delay of the erasure is not over")
          const rows = progress.rowsOfTenant(tenantId)
          for (const row of rows) progress.remove(row)
          const removed =
            log.events.length +
            log.commands +
            rows.length +
            progress.lettersOfTenant(tenantId).length +
            log.administered.subjects.size +
            forgetSnapshots(tenantId)
          progress.replaceLetters(tenantId, [])
          discarded.delete(tenantId)
          log.administered.subjects.clear()
          if (state.status === "importing") {
            logs.delete(tenantId)
          } else {
            log.administered.purged = true
            log.administered.quota = undefined
            if (state.status === "erased") log.administered.state = { ...state, purging: true, purged: true }
            logs.set(tenantId, new TenantLog(tenantId, log.createdAt, log.administered))
          }
          return Effect.succeed({ removed, complete: true })
        }
      )
  })
}

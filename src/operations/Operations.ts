/**
 * Looking after tenants: one contract for everything that an operator sees of a store. A command line, an HTTP API and a page are
 * clients of it.
 */
import { Context, Effect, Layer, Option, Schedule, Stream } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import type * as Aggregate from "../domain/Aggregate.ts"
import { currentTenant } from "../domain/currentTenant.ts"
import {
  AllTenants,
  type CurrentTenant,
  TenantAdministration,
  type TenantId,
  untenanted
} from "../domain/Tenant.ts"
import { type Administered, AdministrationStorage } from "../driver/AdministrationStorage.ts"
import { EventStorage } from "../driver/EventStorage.ts"
import { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import type { ReadError, StorageUnavailable } from "../driver/StoreError.ts"
import * as Hints from "../projection/hints.ts"
import type * as Projection from "../projection/Projection.ts"
import { TenantMove } from "../lifecycle/TenantMove.ts"
import { eventView, timeOf, timeOrNull } from "./eventView.ts"
import { makeAccessViews } from "./accessViews.ts"
import type * as Looks from "./Looks.ts"
import { type Grant, PayloadGrant } from "./PayloadGrant.ts"
import { makeProjectionViews } from "./projectionViews.ts"
import type {
  TenantsRequest,
  Bounds,
  LogRequest,
  TailRequest,
  StreamRequest,
  TraceRequest,
  DecisionRequest,
  AccessesRequest
} from "./requests.ts"
import { makeSearch, queryOf } from "./search.ts"
import { makeStates, type StateRequest } from "./states.ts"
import { moveOf, tenantSummary } from "./tenantViews.ts"

export type {
  TenantsRequest,
  Bounds,
  LogRequest,
  TailRequest,
  StreamRequest,
  TraceRequest,
  DecisionRequest,
  AccessesRequest
} from "./requests.ts"
export type { Filter } from "./search.ts"
export type { StateRequest } from "./states.ts"

/** The parts of the program that an operator may look into. */
export interface Options {
  /** Aggregates whose events are read and whose states are folded. Others are shown as stored. Default: none. */
  readonly aggregates?: ReadonlyArray<Aggregate.Any> | undefined
  /** Projections whose remaining work is counted. Others are shown with their distance to the head. Default: none. */
  readonly projections?: ReadonlyArray<Projection.Any> | undefined
}

/** The requirements of a look at one tenant: the tenant, and the operator with the reason. */
export type Operator = CurrentTenant | TenantAdministration

/**
 * The looks of an operator.
 *
 * **Details**
 *
 * Looks at one tenant require `CurrentTenant` and `TenantAdministration`, looks at all of them `AllTenants`. Each is recorded before
 * it reads: operation, tenant, grant, actor and reason. A look changes nothing else: it registers no tenant, and moves no
 * projection. Payloads, metadata and states are shown as the {@link PayloadGrant} of the caller allows.
 *
 * Pages of a log are bounded in events and in positions searched. A page without events may have a `next`.
 *
 * A tenant that is being imported, has moved or is erased is in the list of tenants and has its chain, subjects and dead letters; looks
 * at its events fail with `StorageUnavailable`. A limit outside of its range is a defect.
 */
export class Operations extends Context.Service<
  Operations,
  {
    /** The tenants with the ends of their logs and their work, in all states. */
    readonly tenants: (
      request?: TenantsRequest
    ) => Effect.Effect<Looks.TenantPage, StorageUnavailable, AllTenants>
    /** A page of the tenant's log. */
    readonly log: (request?: LogRequest) => Effect.Effect<Looks.LogPage, ReadError, Operator>
    /**
     * The tenant's log from a position on, and then each event as it is appended. Recorded once. It never ends by itself: after a
     * failure that may pass it tries again, at most five seconds apart, and goes on from its place.
     */
    readonly tail: (request?: TailRequest) => Stream.Stream<Looks.EventView, ReadError, Operator>
    /** A page of one stream, in the order of versions. */
    readonly stream: (request: StreamRequest) => Effect.Effect<Looks.StreamPage, ReadError, Operator>
    /**
     * The state of an aggregate at a version, the difference to the one before it, and its snapshot. Folds all events up to the version.
     * Without the grant for personal data it is folded with these as forgotten.
     */
    readonly state: (request: StateRequest) => Effect.Effect<Looks.StateView, ReadError, Operator>
    /** The events of a correlation id with their causes. Searches forwards; `next` goes on. */
    readonly trace: (request: TraceRequest) => Effect.Effect<Looks.TraceGraph, ReadError, Operator>
    /** The events that a query matches, in the order of the log. Without items, none. */
    readonly decision: (request: DecisionRequest) => Effect.Effect<Looks.LogPage, ReadError, Operator>
    /** The work of all projections with the tenant: those that have ever worked for it, and those of the program. */
    readonly projections: Effect.Effect<ReadonlyArray<Looks.ProjectionView>, ReadError, Operator>
    /** The work of the program's projections with all tenants, as of the last sweep of the runners. */
    readonly projectionsOfAll: Effect.Effect<
      ReadonlyArray<Looks.ProjectionTotal>,
      StorageUnavailable,
      AllTenants
    >
    /** The tenant's dead letters by their common cause, the largest group first. Reads at most 10,000. */
    readonly deadLetters: Effect.Effect<Looks.DeadLetterGroups, ReadError, Operator>
    /** The people of the tenant who were forgotten or are held. */
    readonly subjects: (request?: {
      /** The `next` of the page before. */
      readonly after?: string | undefined
      /** An integer from 1 to 1,000. Default: 100. */
      readonly limit?: number | undefined
    }) => Effect.Effect<Looks.SubjectPage, StorageUnavailable, Operator>
    /** The hash chain of the tenant, and the verifications on record; undefined for an unknown tenant. It verifies nothing. */
    readonly chain: Effect.Effect<Looks.ChainView | undefined, StorageUnavailable, Operator>
    /**
     * The unfinished move of the tenant; undefined if there is none. With `TenantMove` provided to the layer it sees both ends, and
     * otherwise what the tenant's own row tells: a move that is not fenced yet is seen at its target alone then.
     */
    readonly move: Effect.Effect<Looks.MoveView | undefined, StorageUnavailable, Operator>
    /** The record of looks and actions, the newest first, beginning with this one. A page searches at most 5,000 records. */
    readonly accesses: (
      request?: AccessesRequest
    ) => Effect.Effect<Looks.AccessPage, StorageUnavailable, AllTenants>
  }
>()("effect-eventsourcing/Operations") {}

const maxLimit = 1000
const maxScan = 1_000_000
const maxDeadLetters = 10_000
const tailPage = 500

/** Polls of a live log without a hint, in milliseconds. */
const pollMillis = 1000

/** Pauses of a live log while the storage is unavailable. */
const tailRetry = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")])

/** A limit of a request. Another number is a defect: it is a mistake in the program. */
const bounded = (name: string, value: number, most: number): number => {
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new RangeError(`${name} must be an integer from 1 to ${most}`)
  return value
}

const whole = (name: string, value: number | undefined): number | undefined => {
  if (value !== undefined && !Number.isSafeInteger(value)) throw new RangeError(`${name} must be an integer`)
  return value
}

const shownAs = ({ payloads, personal }: Grant): string =>
  `payloads ${payloads}${personal ? " with personal data" : ""}`

const make = ({ aggregates: given = [], projections: known = [] }: Options) =>
  Effect.gen(function* () {
    const events = yield* EventStorage
    const projections = yield* ProjectionStorage
    const administration = yield* AdministrationStorage
    const snapshots = yield* SnapshotStorage
    const aggregates = new Map(given.map((aggregate) => [aggregate.type, aggregate]))
    const search = makeSearch(events)
    const stateOf = makeStates(events, snapshots, aggregates)
    const views = makeProjectionViews({ events, projections, administration }, known)
    const record = makeAccessViews(events)
    const moves = Option.getOrUndefined(yield* Effect.serviceOption(TenantMove))

    /** Records a look at all tenants. */
    const acrossTenants = (look: string): Effect.Effect<string, StorageUnavailable, AllTenants> =>
      Effect.flatMap(AllTenants, (access) =>
        administration.recordAccess({ ...access, operation: `Operations.${look}` })
      )

    /** Records a look at one tenant, and runs it. */
    const look = <A, E>(
      name: string,
      run: (at: Administered, grant: Grant) => Effect.Effect<A, E>
    ): Effect.Effect<A, E | StorageUnavailable, Operator> =>
      Effect.gen(function* () {
        const tenantId = yield* currentTenant
        const access = yield* TenantAdministration
        const grant = yield* PayloadGrant
        const operation = `Operations.${name} ${tenantId} ${shownAs(grant)}`
        const accessId = yield* administration.recordAccess({ ...access, operation })
        return yield* run({ accessId, tenantId }, grant)
      })

    const times = ({ recordedBefore, recordedFrom }: LogRequest) => ({
      from: recordedFrom?.epochMilliseconds,
      before: recordedBefore?.epochMilliseconds
    })

    const noTimes = { from: undefined, before: undefined }

    const boundsOf = ({ limit = 50, scan = 10_000 }: Bounds) => ({
      limit: bounded("limit", limit, maxLimit),
      scan: bounded("scan", scan, maxScan)
    })

    /** The position at which the search for a correlation id begins: by default it is the id of the first event. */
    const traceStart = (tenantId: TenantId, { correlationId, from }: TraceRequest) =>
      from !== undefined || !isEventId(correlationId)
        ? Effect.succeed(whole("from", from))
        : events.eventPosition({ tenantId, eventId: correlationId })

    return Operations.of({
      tenants: ({ after, limit = 100, order = "id", prefix, statuses } = {}) =>
        Effect.gen(function* () {
          const most = bounded("limit", limit, maxLimit)
          const accessId = yield* acrossTenants("tenants")
          const page = yield* administration.overviews({
            accessId,
            order,
            statuses,
            prefix,
            after,
            limit: most
          })
          const last = page.rows.at(-1)
          return {
            // Only its own effects see the untenanted one.
            tenants: page.rows.filter(({ tenantId }) => tenantId !== untenanted).map(tenantSummary),
            next: page.complete || last === undefined ? null : { value: last.value, tenantId: last.tenantId }
          }
        }),
      log: (request = {}) =>
        look("log", ({ tenantId }, grant) =>
          Effect.gen(function* () {
            const { direction = "backwards", from } = request
            const { rows, ...place } = yield* search({
              ...boundsOf(request),
              tenantId,
              query: queryOf(request),
              actor: request.actor,
              times: times(request),
              direction,
              start: whole("from", from)
            })
            return { ...place, events: rows.map(eventView(aggregates, grant)) }
          })
        ),
      tail: (request = {}) =>
        Stream.unwrap(
          look("tail", ({ tenantId }, grant) =>
            Effect.gen(function* () {
              const after = whole("after", request.after)
              const view = eventView(aggregates, grant)
              const begin = after ?? (yield* events.head({ tenantId })).position
              return Stream.unwrap(
                Effect.map(Hints.listen(events.changes), (wait) =>
                  Stream.paginate(begin + 1, (start) =>
                    Effect.gen(function* () {
                      const { next, rows, head } = yield* Effect.retry(
                        search({
                          tenantId,
                          query: queryOf(request),
                          actor: request.actor,
                          times: noTimes,
                          direction: "forwards",
                          start,
                          limit: tailPage,
                          scan: maxScan
                        }),
                        { schedule: tailRetry, while: ({ retryable }) => retryable }
                      )
                      if (next === null && rows.length === 0) yield* wait({ atLeast: 0, atMost: pollMillis })
                      return [rows.map(view), Option.some(next ?? Math.max(start, head + 1))] as const
                    })
                  )
                )
              )
            })
          )
        ),
      stream: ({ aggregateId, aggregateType, fromVersion = 1, limit = 50 }) =>
        look("stream", ({ tenantId }, grant) =>
          Effect.gen(function* () {
            const key = { tenantId, aggregateType, aggregateId }
            const page = yield* events.readStream({
              ...key,
              fromVersion: bounded("fromVersion", fromVersion, maxVersion),
              toVersion: maxVersion,
              direction: "forwards",
              limit: bounded("limit", limit, maxLimit)
            })
            const version = yield* events.streamVersion(key)
            const last = page.rows.at(-1)
            return {
              events: page.rows.map(eventView(aggregates, grant)),
              version,
              next: page.complete || last === undefined ? null : last.version + 1
            }
          })
        ),
      state: (request) =>
        look("state", ({ tenantId }, grant) =>
          Effect.suspend(() => {
            const { version } = request
            if (version !== undefined && version !== 0) bounded("version", version, maxVersion)
            return stateOf(tenantId, request, grant)
          })
        ),
      trace: (request) =>
        look("trace", ({ tenantId }, grant) =>
          Effect.gen(function* () {
            const { correlationId } = request
            const { next, rows } = yield* search({
              ...boundsOf(request),
              tenantId,
              query: queryOf({ correlationId }),
              actor: undefined,
              times: noTimes,
              direction: "forwards",
              start: yield* traceStart(tenantId, request)
            })
            const ids = new Set(rows.map(({ eventId }) => eventId))
            return {
              correlationId,
              nodes: rows.map(eventView(aggregates, grant)),
              edges: rows.flatMap(({ causationId, eventId }) =>
                causationId === null
                  ? []
                  : [{ cause: causationId, effect: eventId, known: ids.has(causationId) }]
              ),
              next
            }
          })
        ),
      decision: (request) =>
        look("decision", ({ tenantId }, grant) =>
          Effect.gen(function* () {
            const { rows, ...place } = yield* search({
              ...boundsOf(request),
              tenantId,
              query: request.items.map(({ aggregateType, eventTypes, tags = [] }) => ({
                aggregateType,
                eventTypes,
                tags
              })),
              actor: undefined,
              times: noTimes,
              direction: "forwards",
              start: whole("from", request.from)
            })
            return { ...place, events: rows.map(eventView(aggregates, grant)) }
          })
        ),
      projections: look("projections", views.list),
      projectionsOfAll: Effect.andThen(acrossTenants("projectionsOfAll"), views.totals),
      deadLetters: look("deadLetters", (at) => views.deadLetters(at, maxDeadLetters)),
      subjects: ({ after, limit = 100 } = {}) =>
        look("subjects", (at) =>
          Effect.gen(function* () {
            const page = yield* administration.subjects({
              ...at,
              after,
              limit: bounded("limit", limit, maxLimit)
            })
            const last = page.rows.at(-1)
            return {
              subjects: page.rows.map(({ begun, forgotten, hold, subject }) => ({
                subject,
                forgotten:
                  forgotten === undefined
                    ? null
                    : {
                        forgetting: forgotten.forgetting,
                        forgottenAt: timeOf(forgotten.forgottenAt),
                        allowedAgainAt: timeOrNull(forgotten.allowedAgainAt),
                        actor: forgotten.actor,
                        reason: forgotten.reason
                      },
                underWay: begun !== undefined,
                hold: hold === undefined ? null : { ...hold, heldAt: timeOf(hold.heldAt) }
              })),
              next: page.complete || last === undefined ? null : last.subject
            }
          })
        ),
      chain: look("chain", (at) =>
        Effect.gen(function* () {
          const tenant = yield* administration.tenant(at)
          if (tenant === undefined) return undefined
          return {
            started: tenant.chainedFrom !== undefined,
            from: tenant.chainedFrom ?? null,
            head: tenant.position,
            eventId: tenant.lastEventId,
            hash: tenant.lastHash,
            verifications: yield* record.verifications(at)
          }
        })
      ),
      move: Effect.flatMap(TenantAdministration, (access) =>
        look("move", (at) => moveOf(at, access, moves, administration.tenant(at)))
      ),
      accesses: (request = {}) =>
        Effect.gen(function* () {
          const most = bounded("limit", request.limit ?? 100, maxLimit)
          const accessId = yield* acrossTenants("accesses")
          return yield* record.page(accessId, request, most)
        })
    })
  })

const maxVersion = 2_147_483_647

const isEventId = (text: string): boolean =>
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(text)

/** The storages that the looks read. */
export type Storages = AdministrationStorage | EventStorage | ProjectionStorage | SnapshotStorage

/** The looks of an operator on a driver. Keep the layer in a constant. */
export const layer = (options: Options = {}): Layer.Layer<Operations, never, Storages> =>
  layerPer([EventStorage, ProjectionStorage, AdministrationStorage, SnapshotStorage], () =>
    Layer.effect(Operations, make(options))
  )

/** Actions on projections: resume, rebuild, cancel and retire. */
import { Effect, Stream } from "effect"
import { AllTenants, CurrentTenant, type TenantId } from "../domain/Tenant.ts"
import type { Administered, AdministrationStorage, WorkRow } from "../driver/AdministrationStorage.ts"
import type { EventStorage } from "../driver/EventStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import type * as Projection from "../projection/Projection.ts"
import type { ProjectionManager, RebuildProgress } from "../projection/ProjectionManager.ts"
import { CannotRebuild } from "../projection/ProjectionError.ts"
import { keyOf } from "./letters.ts"
import { listTenants } from "../store/crossTenant.ts"
import type { ActionUnavailable, ProjectionFilter, ProjectionVersion, Rebuild } from "./Acts.ts"
import {
  type Recorder,
  reporting,
  required,
  type Running,
  type RunningAt,
  single,
  type Step,
  type Summary
} from "./recorded.ts"

/** Number of tenants that are read at the same time. */
const concurrency = 8

const matches =
  ({ projection, version }: Pick<ProjectionFilter, "projection" | "version">) =>
  (row: Pick<WorkRow, "projection" | "version">): boolean =>
    (projection === undefined || row.projection === projection) &&
    (version === undefined || row.version === version)

/** The names and versions in rows, each once. */
const keysOf = (
  rows: ReadonlyArray<Pick<WorkRow, "projection" | "version">>
): ReadonlyArray<{ readonly name: string; readonly version: number }> => [
  ...new Map(
    rows.map(({ projection, version }) => [
      JSON.stringify([projection, version]),
      { name: projection, version }
    ])
  ).values()
]

const rebuilt = ({ done, tenants, total }: RebuildProgress): Step => ({
  step: tenants === 0 ? "rebuilt" : "rebuilding",
  unit: "events",
  done,
  total
})

export const make = (
  events: EventStorage["Service"],
  administration: AdministrationStorage["Service"],
  manager: ProjectionManager["Service"],
  known: ReadonlyArray<Projection.Any>,
  recorder: Recorder
) => {
  /** The work with a tenant, of projections that match. */
  const work = (at: Administered, filter: Pick<ProjectionFilter, "projection" | "version">) =>
    Effect.map(administration.work(at), (rows) => rows.filter(matches(filter)))

  /** The rows that are selected, of all tenants with events. */
  const workOfAll = (
    { accessId }: Running,
    filter: Pick<ProjectionFilter, "projection" | "version">,
    select: (row: WorkRow) => boolean
  ): Effect.Effect<
    ReadonlyArray<{ readonly tenantId: TenantId; readonly rows: ReadonlyArray<WorkRow> }>,
    StorageUnavailable
  > =>
    Effect.flatMap(listTenants(events, accessId), (tenants) =>
      Effect.map(
        Effect.forEach(
          tenants,
          ({ tenantId }) =>
            Effect.map(work({ accessId, tenantId }, filter), (rows) => ({
              tenantId,
              rows: rows.filter(select)
            })),
          { concurrency }
        ),
        (found) => found.filter(({ rows }) => rows.length > 0)
      )
    )

  const selected = (
    found: ReadonlyArray<{ readonly rows: ReadonlyArray<WorkRow> }>
  ): NonNullable<Summary["counts"]> => ({
    tenants: found.length,
    projections: found.reduce((sum, { rows }) => sum + rows.length, 0)
  })

  const isParked = (row: WorkRow): boolean => row.parked

  const isRebuild = (row: WorkRow): boolean => row.rebuild

  /** The projection of the program that is to be rebuilt. */
  const rebuildable = (
    running: Running,
    { projection, version }: Rebuild
  ): Effect.Effect<Projection.Any, ActionUnavailable> => {
    const [found] = known
      .filter((one) => one.name === projection && (version === undefined || one.version === version))
      .toSorted((one, other) => other.version - one.version)
    return required(running, `projection ${projection}, in the option projections`, found)
  }

  const checkRebuild = (running: Running, one: Projection.Any): Effect.Effect<void, CannotRebuild> => {
    const refuse = (reason: string) =>
      Effect.fail(new CannotRebuild({ projection: one.name, version: one.version, reason }))
    if (one.kind === "reaction") return refuse("a reaction has no read model")
    if (one.tables.length === 0) return refuse("it names no tables")
    return one.kind === "acrossTenants" &&
      (running.action === "rebuild" || running.action === "cancelRebuild")
      ? refuse(`all tenants share its read model: use ${running.action}All`)
      : Effect.void
  }

  /** The progress of a rebuild, and its summary behind. */
  const withSummary = <E, R>(
    progress: Stream.Stream<RebuildProgress, E, R>,
    counts: NonNullable<Summary["counts"]>
  ): Stream.Stream<Step, E, R> =>
    Stream.suspend(() => {
      let last: RebuildProgress = { done: 0, total: 0, tenants: 0 }
      return progress.pipe(
        Stream.map((step) => {
          last = step
          return rebuilt(step)
        }),
        Stream.concat(
          Stream.suspend(() =>
            Stream.succeed<Step>({
              ...rebuilt(last),
              summary: { changed: true, counts: { ...counts, events: last.total } }
            })
          )
        )
      )
    })

  /** The versions that match: with a name, those that the rows have. */
  const refsOf = (
    { projection }: ProjectionFilter,
    rows: ReadonlyArray<WorkRow>
  ): ReadonlyArray<ReturnType<typeof keysOf>[number] | undefined> =>
    projection === undefined ? [undefined] : keysOf(rows)

  const resumeAll = Effect.fnUntraced(function* (running: Running, request: ProjectionFilter) {
    const found = yield* workOfAll(running, request, isParked)
    if (running.dryRun) return { changed: found.length > 0, counts: selected(found) }
    let resumed = 0
    for (const key of refsOf(
      request,
      found.flatMap(({ rows }) => rows)
    ))
      resumed += yield* Effect.provideService(manager.resumeAll(key), AllTenants, running.access)
    return { changed: resumed > 0, counts: { ...selected(found), projections: resumed } }
  })

  /** Starts a rebuild, or counts its events. */
  const rebuilding = <E, R>(
    running: Running,
    request: Rebuild,
    measure: Effect.Effect<NonNullable<Summary["counts"]>, StorageUnavailable>,
    run: (one: Projection.Any) => Stream.Stream<RebuildProgress, E, R>
  ): Stream.Stream<Step, E | ActionUnavailable | CannotRebuild | StorageUnavailable, R> =>
    Stream.unwrap(
      Effect.gen(function* () {
        const one = yield* rebuildable(running, request)
        yield* checkRebuild(running, one)
        const counts = yield* measure
        return running.dryRun
          ? single("events", "counting", Effect.succeed({ changed: true, counts }))
          : withSummary(run(one), counts)
      })
    )

  const eventsOf = ({ tenantId }: RunningAt) =>
    Effect.map(events.head({ tenantId }), ({ position }) => ({
      tenants: position > 0 ? 1 : 0,
      projections: 1,
      events: position
    }))

  const eventsOfAll = ({ accessId }: Running) =>
    Effect.map(listTenants(events, accessId), (tenants) => {
      const filled = tenants.filter(({ position }) => position > 0)
      return {
        tenants: filled.length,
        projections: filled.length,
        events: filled.reduce((sum, { position }) => sum + position, 0)
      }
    })

  /** The versions that match and are not stopped until they are resumed. */
  const pausable = Effect.fnUntraced(function* (at: Administered, request: ProjectionFilter) {
    const rows = (yield* work(at, request)).filter((row) => !row.rebuild)
    const stopped = new Set(
      rows.flatMap((row) => (row.parked && row.retryInMillis === undefined ? [keyOf(row)] : []))
    )
    const mine = known
      .filter(({ kind }) => kind !== "acrossTenants")
      .map(({ name, version }) => ({ projection: name, version }))
    return keysOf([...rows, ...mine.filter(matches(request))]).filter(
      ({ name, version }) => !stopped.has(keyOf({ projection: name, version }))
    )
  })

  const pause = Effect.fnUntraced(function* (
    running: Running,
    tenantId: TenantId,
    request: ProjectionFilter
  ) {
    const keys = yield* pausable({ accessId: running.accessId, tenantId }, request)
    if (running.dryRun) return keys.length
    const paused = yield* Effect.filter(keys, (key) =>
      Effect.provideService(manager.pause(key), CurrentTenant, tenantId)
    )
    return paused.length
  })

  return {
    pauseProjections: (request: ProjectionFilter = {}) =>
      recorder.at({ action: "pauseProjections", request }, (running) =>
        Effect.map(pause(running, running.tenantId, request), (projections) => ({
          changed: projections > 0,
          counts: { tenants: projections > 0 ? 1 : 0, projections }
        }))
      ),
    pauseProjectionsOfAll: (request: ProjectionFilter = {}) =>
      recorder.stepsOfAll({ action: "pauseProjectionsOfAll", request }, (running) =>
        reporting((report) =>
          Effect.gen(function* () {
            const tenants = yield* listTenants(events, running.accessId)
            let done = 0
            const counts = yield* Effect.forEach(
              tenants,
              ({ tenantId }) =>
                Effect.tap(pause(running, tenantId, request), () => {
                  done++
                  return report({ step: "pausing", unit: "tenants", done, total: tenants.length })
                }),
              { concurrency }
            )
            const projections = counts.reduce((sum, one) => sum + one, 0)
            return {
              step: "paused",
              unit: "tenants",
              done,
              total: tenants.length,
              summary: {
                changed: projections > 0,
                counts: { tenants: counts.filter((one) => one > 0).length, projections }
              }
            } satisfies Step
          })
        )
      ),
    resumeProjections: (request: ProjectionFilter = {}) =>
      recorder.at({ action: "resumeProjections", request }, (running) =>
        Effect.gen(function* () {
          const rows = (yield* work(running, request)).filter(isParked)
          if (!running.dryRun)
            for (const key of keysOf(rows))
              yield* Effect.provideService(manager.resume(key), CurrentTenant, running.tenantId)
          return { changed: rows.length > 0, counts: selected(rows.length === 0 ? [] : [{ rows }]) }
        })
      ),
    resumeProjectionsOfAll: (request: ProjectionFilter = {}) =>
      recorder.all({ action: "resumeProjectionsOfAll", request }, (running) => resumeAll(running, request)),
    rebuild: (request: Rebuild) =>
      recorder.stepsAt({ action: "rebuild", request }, (running) =>
        rebuilding(running, request, eventsOf(running), (one) =>
          Stream.provideService(
            manager.rebuild(one, { restart: request.restart }),
            CurrentTenant,
            running.tenantId
          )
        )
      ),
    rebuildAll: (request: Rebuild) =>
      recorder.stepsOfAll({ action: "rebuildAll", request }, (running) =>
        rebuilding(running, request, eventsOfAll(running), (one) =>
          Stream.provideService(
            manager.rebuildAll(one, { restart: request.restart }),
            AllTenants,
            running.access
          )
        )
      ),
    cancelRebuild: (request: Rebuild) =>
      recorder.at({ action: "cancelRebuild", request }, (running) =>
        Effect.gen(function* () {
          const one = yield* rebuildable(running, request)
          yield* checkRebuild(running, one)
          const found = (yield* work(running, { projection: one.name, version: one.version })).some(isRebuild)
          const changed = running.dryRun
            ? found
            : yield* Effect.provideService(manager.cancelRebuild(one), CurrentTenant, running.tenantId)
          return { changed, counts: { tenants: changed ? 1 : 0, projections: changed ? 1 : 0 } }
        })
      ),
    cancelRebuildAll: (request: Rebuild) =>
      recorder.all({ action: "cancelRebuildAll", request }, (running) =>
        Effect.gen(function* () {
          const one = yield* rebuildable(running, request)
          yield* checkRebuild(running, one)
          const found = yield* workOfAll(running, { projection: one.name, version: one.version }, isRebuild)
          if (running.dryRun) return { changed: found.length > 0, counts: selected(found) }
          const cancelled = yield* Effect.provideService(
            manager.cancelRebuildAll(one),
            AllTenants,
            running.access
          )
          return { changed: cancelled > 0, counts: selected(found) }
        })
      ),
    retire: (request: ProjectionVersion) =>
      recorder.all({ action: "retire", request }, (running) =>
        Effect.gen(function* () {
          const found = yield* workOfAll(running, request, () => true)
          const changed = running.dryRun
            ? found.length > 0
            : yield* Effect.provideService(
                manager.retire({ name: request.projection, version: request.version }),
                AllTenants,
                running.access
              )
          return { changed, counts: selected(found) }
        })
      )
  }
}

/** Export and import of a tenant as an archive. */
import { Effect, Stream } from "effect"
import { AdministrationStorage, TenantStateConflict } from "../driver/AdministrationStorage.ts"
import { TenantRefused, UnknownTenant } from "../driver/StoreError.ts"
import * as TenantArchive from "../lifecycle/TenantArchive.ts"
import type { Export, Import, Plain } from "./Acts.ts"
import { type Recorder, reporting, single, type RunningAt, type Step } from "./recorded.ts"
import { administering } from "./tenantActions.ts"

/** Settings of an export. */
export interface ExportOptions {
  /** Runs after each part of the archive, with the number of its bytes so far. */
  readonly onProgress?: ((progress: { readonly bytes: number }) => Effect.Effect<void>) | undefined
}

export const make = (administration: AdministrationStorage["Service"], recorder: Recorder) => {
  const onStorage = Effect.provideService(AdministrationStorage, administration)

  /** The tenant that is to be exported, and may be. */
  const exportable = Effect.fnUntraced(function* (running: RunningAt) {
    const { action, tenantId } = running
    const record = yield* administration.tenant(running)
    if (record === undefined) return yield* new TenantRefused({ reason: new UnknownTenant({ tenantId }) })
    const { position, state } = record
    if (state.status !== "active" && state.status !== "suspended")
      return yield* new TenantStateConflict({
        tenantId,
        operation: action,
        status: state.status,
        position,
        problem: `it is ${state.status}: only an active or a suspended tenant can be exported`
      })
    const undeclared = (yield* administration.tables(running)).filter(
      ({ handling, hasRows }) => hasRows && handling === undefined
    )
    if (undeclared.length > 0)
      return yield* new TenantArchive.UndeclaredTables({
        tenantId,
        tables: undeclared.map(({ table }) => table)
      })
    return record
  })

  const importing = <E extends { readonly _tag: string; readonly message: string }, R>(
    running: RunningAt,
    bytes: Stream.Stream<Uint8Array, E, R>,
    { fromOther = false }: Import
  ) => {
    const { tenantId } = running
    const from = fromOther ? undefined : tenantId
    if (running.dryRun)
      return single(
        "events",
        "verifying",
        Effect.gen(function* () {
          const manifest = yield* TenantArchive.verifyTar(bytes)
          if (from !== undefined && manifest.tenantId !== from)
            return yield* new TenantArchive.InvalidArchive({
              file: "the archive",
              line: null,
              reason: "misplaced",
              problem: `is of tenant ${manifest.tenantId}, and one of tenant ${from} was expected`
            })
          const record = yield* administration.tenant(running)
          const status = record?.state.status
          if (record !== undefined && status !== "importing" && status !== "moved")
            return yield* new TenantStateConflict({
              tenantId,
              operation: "import",
              status: record.state.status,
              position: record.position,
              problem: `the tenant is ${record.state.status}: an import needs an id that is not registered`
            })
          const known = status === "importing" ? (record?.position ?? 0) : 0
          return { changed: true, counts: { tenants: 1, events: manifest.events - known } }
        })
      )
    return reporting<E | TenantArchive.ImportError, R>((report) =>
      TenantArchive.importTar(bytes, {
        into: tenantId,
        from,
        onProgress: ({ end, position }) =>
          report({ step: "importing", unit: "events", done: position, total: end })
      }).pipe(
        Effect.map(({ head, known, origin, written }): Step => {
          const end = head?.position ?? 0
          return {
            step: "imported",
            unit: "events",
            done: end,
            total: end,
            summary: {
              changed: written > 0 || known === 0,
              counts: { tenants: 1, events: written },
              details: { known, archiveOf: origin.tenantId }
            }
          }
        }),
        onStorage,
        administering(running)
      )
    )
  }

  return {
    measureExport: (request: Export = {}) =>
      recorder.at({ action: "export", request: { ...request, dryRun: true } }, (running) =>
        Effect.map(exportable(running), ({ position }) => ({
          changed: false,
          counts: { tenants: 1, events: position }
        }))
      ),
    export: (request: Export = {}, { onProgress }: ExportOptions = {}) =>
      Stream.suspend(() => {
        let bytes = 0
        let events = 0
        return recorder.bytesAt(
          { action: "export", request },
          (running) =>
            Stream.unwrap(
              Effect.map(exportable(running), ({ position }) => {
                events = position
                return TenantArchive.exportTar({
                  tenantId: running.tenantId,
                  compression: request.compression
                }).pipe(
                  Stream.tap((part) => {
                    bytes += part.length
                    return onProgress?.({ bytes }) ?? Effect.void
                  }),
                  Stream.provideService(AdministrationStorage, administration)
                )
              })
            ),
          () => ({ changed: false, counts: { tenants: 1, events, bytes } })
        )
      }),
    import: <E extends { readonly _tag: string; readonly message: string }, R>(
      bytes: Stream.Stream<Uint8Array, E, R>,
      request: Import = {}
    ) => recorder.stepsAt({ action: "import", request }, (running) => importing(running, bytes, request)),
    abandonImport: (request: Plain = {}) =>
      recorder.at({ action: "abandonImport", request }, (running) =>
        Effect.gen(function* () {
          const record = yield* administration.tenant(running)
          if (record !== undefined && record.state.status !== "importing")
            return yield* new TenantStateConflict({
              tenantId: running.tenantId,
              operation: "abandonImport",
              status: record.state.status,
              position: record.position,
              problem: `it is ${record.state.status}: only an unfinished import can be abandoned`
            })
          if (!running.dryRun)
            yield* TenantArchive.abandonImport(running.tenantId).pipe(onStorage, administering(running))
          return {
            changed: record !== undefined,
            counts: { tenants: record === undefined ? 0 : 1, events: record?.position ?? 0 }
          }
        })
      )
  }
}

/**
 * The registry of tenants: provisioning, suspension, usage, and the audit trail of accesses across tenants.
 */
import { Context, DateTime, Effect, Layer, Stream } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import * as EventStorage from "../driver/EventStorage.ts"
import { checkedTenant, currentTenant } from "../domain/currentTenant.ts"
import { accesses, usage } from "./decode.ts"
import { paged } from "./pages.ts"
import { recordAccess } from "./crossTenant.ts"
import type { ReadError, StorageUnavailable, TenantRefused } from "../driver/StoreError.ts"
import type { AllTenants, CrossTenantAccess, CurrentTenant, TenantId } from "../domain/Tenant.ts"

/** A recorded access across tenants. */
export interface RecordedAccess extends CrossTenantAccess {
  readonly accessId: string
  readonly accessedAt: DateTime.Utc
  /** The operation, for example `EventStore.tenants`. */
  readonly operation: string
}

/** Usage of a tenant on one day: numbers of events, bytes and streams. */
export interface Usage extends Omit<EventStorage.UsageRow, "day"> {
  /** The start of the day in UTC. */
  readonly day: DateTime.Utc
}

/** A range of recorded times. */
export interface UsageRange {
  /** Recorded at this time or later. */
  readonly recordedFrom: DateTime.Utc
  /** Recorded before this time. */
  readonly recordedBefore: DateTime.Utc
}

/**
 * The registry of tenants. `EventStore.tenants` lists them.
 */
export class TenantRegistry extends Context.Service<
  TenantRegistry,
  {
    /** Registers a tenant, unless it is registered already. Returns its status. */
    readonly provision: (tenantId: TenantId) => Effect.Effect<EventStorage.TenantStatus, ReadError>
    /** The status of the current tenant; undefined if it is not registered. */
    readonly status: Effect.Effect<EventStorage.TenantStatus | undefined, ReadError, CurrentTenant>
    /**
     * Suspends a tenant: its data can be read but not written. Appends that were acknowledged before remain, and none is
     * acknowledged afterwards. Returns the former status. Refuses a tenant that is neither active nor suspended.
     */
    readonly suspend: (
      tenantId: TenantId
    ) => Effect.Effect<EventStorage.TenantStatus, TenantRefused | StorageUnavailable, AllTenants>
    /** Resumes a suspended tenant. Returns the former status. */
    readonly resume: (
      tenantId: TenantId
    ) => Effect.Effect<EventStorage.TenantStatus, TenantRefused | StorageUnavailable, AllTenants>
    /**
     * Usage in a range of time, for billing: one row per tenant and day (UTC) with events, ordered by both. Every run is
     * written to the audit trail.
     *
     * **Details**
     *
     * If the range begins or ends within a day, only the part of that day in the range is counted. Bytes are the UTF-8 lengths
     * of payloads and metadata, not the space that they take in the database. The sum of a tenant's `newStreams` over all days
     * is the number of its streams.
     *
     * **Gotchas**
     *
     * There are no counters: the database reads all events of the range, page by page, and counts them. A tenant without events
     * in the range costs an index look-up. Past days do not change, so ask for each day once and store the answer.
     */
    readonly usage: (range: UsageRange) => Stream.Stream<Usage, StorageUnavailable, AllTenants>
    /** All recorded accesses across tenants, newest first, beginning with this one. */
    readonly accesses: Stream.Stream<RecordedAccess, StorageUnavailable, AllTenants>
  }
>()("effect-eventsourcing/TenantRegistry") {}

const pageSize = 500
const usagePageSize = 200

const make: Effect.Effect<TenantRegistry["Service"], never, EventStorage.EventStorage> = Effect.map(
  EventStorage.EventStorage,
  (storage) => {
    const setStatus = (operation: string, status: "active" | "suspended") => (tenantId: TenantId) =>
      checkedTenant(tenantId).pipe(
        Effect.andThen(recordAccess(storage, `${operation} ${tenantId}`)),
        Effect.flatMap((accessId) => storage.setTenantStatus({ accessId, tenantId, status }))
      )
    return TenantRegistry.of({
      provision: (tenantId) => Effect.flatMap(checkedTenant(tenantId), storage.provisionTenant),
      status: Effect.map(Effect.flatMap(currentTenant, storage.tenantStatus), (status) =>
        status === "elsewhere" ? undefined : status
      ),
      suspend: setStatus("TenantRegistry.suspend", "suspended"),
      resume: setStatus("TenantRegistry.resume", "active"),
      usage: ({ recordedBefore, recordedFrom }) =>
        Stream.unwrap(
          Effect.map(
            recordAccess(
              storage,
              `TenantRegistry.usage ${DateTime.formatIso(recordedFrom)} ${DateTime.formatIso(recordedBefore)}`
            ),
            (accessId) =>
              paged({
                start: undefined as EventStorage.UsageRow | undefined,
                pageSize: usagePageSize,
                read: (after, limit) =>
                  storage.usage({
                    accessId,
                    recordedFrom: recordedFrom.epochMilliseconds,
                    recordedBefore: recordedBefore.epochMilliseconds,
                    after,
                    limit
                  }),
                next: (last) => last,
                decode: usage
              })
          )
        ),
      accesses: Stream.unwrap(
        Effect.map(recordAccess(storage, "TenantRegistry.accesses"), (accessId) =>
          paged({
            start: undefined as string | undefined,
            pageSize,
            read: (before, limit) => storage.listAccesses({ accessId, before, limit }),
            next: (last) => last.accessId,
            decode: accesses
          })
        )
      )
    })
  }
)

/** The registry on a driver. */
export const layer: Layer.Layer<TenantRegistry, never, EventStorage.EventStorage> = layerPer(
  [EventStorage.EventStorage],
  () => Layer.effect(TenantRegistry, make)
)

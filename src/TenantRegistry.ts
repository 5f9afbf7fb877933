/**
 * The registry of tenants: who has a log, and who may write to it.
 */
import { Context, type DateTime, Effect, Layer, Stream } from "effect"
import * as EventStorage from "./EventStorage.ts"
import { checkedTenant, currentTenant } from "./internal/currentTenant.ts"
import { accesses } from "./internal/decode.ts"
import { paged } from "./internal/paged.ts"
import { recordAccess } from "./internal/tenants.ts"
import type { ReadError, StorageUnavailable, UnknownTenant } from "./StoreError.ts"
import type { AllTenants, CrossTenantAccess, CurrentTenant, TenantId } from "./Tenant.ts"

/** A use of `AllTenants`, as recorded. */
export interface RecordedAccess extends CrossTenantAccess {
  readonly accessId: string
  readonly accessedAt: DateTime.Utc
  /** What was done, for example `EventStore.tenants`. */
  readonly operation: string
}

/**
 * The registry of tenants. Listing them is `EventStore.tenants`.
 */
export class TenantRegistry extends Context.Service<
  TenantRegistry,
  {
    /** Registers a tenant; does nothing if it is registered. Returns its status. */
    readonly provision: (tenantId: TenantId) => Effect.Effect<EventStorage.TenantStatus, ReadError>
    /** The status of the current tenant; undefined if it is not registered. */
    readonly status: Effect.Effect<EventStorage.TenantStatus | undefined, ReadError, CurrentTenant>
    /**
     * Lets no more appends of a tenant through; it can still be read. Appends that were acknowledged stay; none is
     * acknowledged afterwards. Returns the former status.
     */
    readonly suspend: (
      tenantId: TenantId
    ) => Effect.Effect<EventStorage.TenantStatus, UnknownTenant | StorageUnavailable, AllTenants>
    /** Lets appends of a suspended tenant through again. Returns the former status. */
    readonly resume: (
      tenantId: TenantId
    ) => Effect.Effect<EventStorage.TenantStatus, UnknownTenant | StorageUnavailable, AllTenants>
    /** Every use of `AllTenants`, newest first; this one is the first. */
    readonly accesses: Stream.Stream<RecordedAccess, StorageUnavailable, AllTenants>
  }
>()("effect-eventsourcing/TenantRegistry") {}

const pageSize = 500

/** The registry on a driver. */
export const layer: Layer.Layer<TenantRegistry, never, EventStorage.EventStorage> = Layer.effect(
  TenantRegistry,
  Effect.map(EventStorage.EventStorage, (storage) => {
    const setStatus = (operation: string, status: EventStorage.TenantStatus) => (tenantId: TenantId) =>
      checkedTenant(tenantId).pipe(
        Effect.andThen(recordAccess(storage, `${operation} ${tenantId}`)),
        Effect.flatMap((accessId) => storage.setTenantStatus({ accessId, tenantId, status }))
      )
    return TenantRegistry.of({
      provision: (tenantId) => Effect.flatMap(checkedTenant(tenantId), storage.provisionTenant),
      status: Effect.flatMap(currentTenant, storage.tenantStatus),
      suspend: setStatus("TenantRegistry.suspend", "suspended"),
      resume: setStatus("TenantRegistry.resume", "active"),
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
  })
)

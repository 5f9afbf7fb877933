/** The refusals of tenants by their status, and of events that are not sealed. */
import type { TenantId } from "../domain/Tenant.ts"
import type { AppendRequest, TenantStatus } from "./EventStorage.ts"
import {
  OtherFailure,
  StorageUnavailable,
  TenantErased,
  TenantImporting,
  TenantMoved,
  TenantMoving,
  TenantRefused,
  TenantSuspended
} from "./StoreError.ts"

/** The refusal of a write of a tenant that is not active. */
export const refusalOf = (tenantId: TenantId, status: Exclude<TenantStatus, "active">): TenantRefused => {
  switch (status) {
    case "suspended":
      return new TenantRefused({ reason: new TenantSuspended({ tenantId }) })
    case "importing":
      return new TenantRefused({ reason: new TenantImporting({ tenantId }) })
    case "moving":
      return new TenantRefused({ reason: new TenantMoving({ tenantId }) })
    case "moved":
      return new TenantRefused({ reason: new TenantMoved({ tenantId }) })
    case "erased":
      return new TenantRefused({ reason: new TenantErased({ tenantId }) })
  }
}

/** The refusal of a write of a tenant with a status; undefined if it is active. */
export const writeRefusal = (tenantId: TenantId, status: TenantStatus): TenantRefused | undefined =>
  status === "active" ? undefined : refusalOf(tenantId, status)

/** The codes of the failures of reads, and the remedies. */
const unseen = {
  importing: ["TenantImporting", "the tenant is being imported: try again when the import has ended"],
  moved: [
    "TenantMoved",
    "the tenant has moved to another database: correct the directory, or invalidate its cached placement"
  ],
  erased: ["TenantErased", "the tenant was erased: use another id"]
} as const

/** The reason why a tenant that no work sees cannot be read. */
export const unseenReason = (operation: string, status: keyof typeof unseen): OtherFailure => {
  const [code, remedy] = unseen[status]
  return new OtherFailure({ operation, retryable: false, code, remedy })
}

/** The failure of a read of a tenant with a status; undefined if it can be read. */
export const readRefusal = (operation: string, status: TenantStatus): StorageUnavailable | undefined =>
  status === "active" || status === "suspended" || status === "moving"
    ? undefined
    : new StorageUnavailable({ reason: unseenReason(operation, status) })

/** Throws at an event with personal fields that nothing has sealed. A driver must not store it. */
export const refuseUnsealed = ({ streams }: AppendRequest): void => {
  for (const { aggregateType, events } of streams)
    for (const { eventType, personal } of events)
      if (personal !== undefined && personal.length > 0)
        throw new TypeError(
          `${aggregateType} event ${eventType} has personal fields that are not sealed: provide Forgetting.layer over the storage`
        )
}

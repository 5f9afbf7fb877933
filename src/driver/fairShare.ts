/** The shares of tenants in what is in progress. */
import type { TenantId } from "../domain/Tenant.ts"

/** A tenant with fewer items in progress never has more than its share. */
const least = 30

/** The part of all items in progress that is the share of a tenant. */
const share = 0.1

/**
 * Counts items in progress by tenant.
 *
 * **Details**
 *
 * A tenant with more than its share comes after the others. Its items end in the meantime, so that it soon has no more than its
 * share and takes its turn again: it never starves.
 */
export class FairShare {
  readonly #inProgress = new Map<TenantId, number>()
  #all = 0

  enter(tenantId: TenantId): void {
    this.#all++
    this.#inProgress.set(tenantId, (this.#inProgress.get(tenantId) ?? 0) + 1)
  }

  leave(tenantId: TenantId): void {
    const count = this.#inProgress.get(tenantId)
    if (count === undefined) return
    this.#all--
    if (count > 1) this.#inProgress.set(tenantId, count - 1)
    else this.#inProgress.delete(tenantId)
  }

  /** True if a tenant has more than its share. */
  readonly isExceeded = (tenantId: TenantId): boolean => {
    const count = this.#inProgress.get(tenantId) ?? 0
    return count >= least && count > this.#all * share
  }
}

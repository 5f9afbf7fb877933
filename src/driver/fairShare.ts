/** The shares of tenants in what is in progress. */
import type { TenantId } from "../domain/Tenant.ts"
import type { FairQueue } from "../internal/fairQueue.ts"

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

  /** False if there is so little in progress that nobody has more than a share of it. */
  get areCounted(): boolean {
    return this.#all >= least
  }

  /** True if a tenant has more than its share. */
  readonly isExceeded = (tenantId: TenantId): boolean => {
    const own = this.#inProgress.get(tenantId) ?? 0
    return own >= least && own > this.#all * share
  }

  /** Takes waiting items in the turns of their tenants; those with more than their share come last. */
  take<Item>(queue: FairQueue<TenantId, Item>, atMost: number): Array<Item> {
    if (!this.areCounted) return queue.take({ atMost })
    const [within, beyond]: [Array<TenantId>, Array<TenantId>] = [[], []]
    for (const tenantId of queue.keys()) {
      // each of them gives at least one item
      if (within.length >= atMost) break
      const list = this.isExceeded(tenantId) ? beyond : within
      list.push(tenantId)
    }
    const taken = queue.take({ atMost, keys: within })
    for (const item of queue.take({ atMost: atMost - taken.length, keys: beyond })) taken.push(item)
    return taken
  }
}

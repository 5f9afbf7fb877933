/** The aggregates that several processes want: those where others were lately faster. */
import type { TenantId } from "../domain/Tenant.ts"
import { TripleMap } from "../driver/tripleMap.ts"
import type { LineKey } from "./commandLine.ts"

/** Time for which an aggregate counts as wanted by others after another process was faster, in milliseconds. */
const wantedFor = 1000

/** Maximum number of aggregates of which this is known. */
const maxWanted = 1000

/** So many refusals in that time show that others append all the time, if each was of a state that was not read just before. */
const refusalsOfRemembered = 3

interface Wanted {
  until: number
  refusals: number
}

/** The aggregates that other processes want too. */
export class Contention {
  readonly #wanted = new TripleMap<TenantId, object, string, Wanted>()

  /** Notes that another process was faster: since the state was read, or at some time since it is remembered. */
  lost({ id, subject, tenantId }: LineKey, wasRead: boolean): void {
    const now = performance.now()
    const refusals = wasRead ? refusalsOfRemembered : 1
    const found = this.#wanted.get(tenantId, subject, id)
    if (found === undefined) {
      if (this.#wanted.size >= maxWanted) this.#wanted.clear()
      this.#wanted.set(tenantId, subject, id, { until: now + wantedFor, refusals })
    } else {
      found.refusals = now < found.until ? found.refusals + refusals : refusals
      found.until = now + wantedFor
    }
  }

  /** True if other processes were faster lately. */
  isWanted({ id, subject, tenantId }: LineKey): boolean {
    const found = this.#wanted.size === 0 ? undefined : this.#wanted.get(tenantId, subject, id)
    return found !== undefined && found.refusals >= refusalsOfRemembered && performance.now() < found.until
  }
}

/** The causes of failures of projections, for operators. They are kept although the failed work is undone. */
import type * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { rowKey, versionKey } from "./progressTable.ts"

/** Number of positions whose causes are kept, per projection and tenant. */
const maxPositions = 100

type Cause = Omit<ProjectionStorage.FailureRecord, "times" | "firstAt" | "lastAt">

export class FailureCauses {
  readonly #records = new Map<string, Map<number, ProjectionStorage.FailureRecord>>()
  readonly #forgotten = new Set<string>()

  /** Removes the causes of a version, and keeps no more of it. */
  forget(version: ProjectionStorage.ProjectionKey, tenants: Iterable<TenantId>): void {
    this.#forgotten.add(versionKey(version))
    for (const tenantId of tenants)
      for (const rebuild of [false, true]) this.#records.delete(rowKey({ ...version, tenantId }, rebuild))
  }

  keep(key: ProjectionStorage.TenantProjection, cause: Cause, now: number): void {
    if (this.#forgotten.has(versionKey(key))) return
    const at = rowKey(key, cause.rebuild)
    let records = this.#records.get(at)
    if (records === undefined)
      this.#records.set(at, (records = new Map<number, ProjectionStorage.FailureRecord>()))
    const before = records.get(cause.position)
    // a map keeps the order of insertion: the oldest failure comes first
    records.delete(cause.position)
    records.set(cause.position, {
      ...cause,
      times: (before?.times ?? 0) + 1,
      firstAt: before?.firstAt ?? now,
      lastAt: now
    })
    const [oldest] = records.keys()
    if (records.size > maxPositions && oldest !== undefined) records.delete(oldest)
  }

  /** The failures of a projection, the latest first. */
  of(key: ProjectionStorage.TenantProjection): ReadonlyArray<ProjectionStorage.FailureRecord> {
    return [false, true]
      .flatMap((rebuild) => [...(this.#records.get(rowKey(key, rebuild))?.values() ?? [])].toReversed())
      .toSorted((one, other) => other.lastAt - one.lastAt)
  }
}

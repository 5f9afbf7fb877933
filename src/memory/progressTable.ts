/** The tables of `MemoryStorage`: rows that can be locked, and changes that can be undone. */
import type { TenantMismatch } from "../driver/StoreError.ts"
import { Effect, Latch } from "effect"
import type * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** The progress of a projection for one tenant. */
export interface Row extends ProjectionStorage.TenantProjection {
  readonly rebuild: boolean
  /** True for a rebuild of a read model that all tenants share: at the head of the log it waits for the other tenants. */
  readonly shared: boolean
  readonly position: number
  readonly parked: boolean
  readonly attempts: number
  readonly failedPosition: number | undefined
  readonly error: string | undefined
  readonly failureKind: ProjectionStorage.FailureKind | undefined
  readonly waited: number
  /**
   * The earliest time of the next attempt, in milliseconds since 1970, unless the clock went back behind `failedAt`. Infinity
   * means that it must be resumed.
   */
  readonly retryAt: number
  /** The time of the last failure, in milliseconds since 1970. */
  readonly failedAt: number
  /** Grows each time the row is served; 0 if it never was. */
  readonly servedAt: number
  /** Number of rebuilds that have replaced the live read model. */
  readonly rebuilt: number
}

/** The failure fields of a row without a failure. */
export const noFailure = {
  parked: false,
  attempts: 0,
  failedPosition: undefined,
  error: undefined,
  failureKind: undefined,
  waited: 0,
  retryAt: 0,
  failedAt: 0
}

/** The fields that change when a parked row is resumed. */
export const resumed = { parked: false, attempts: 0, waited: 0, retryAt: 0 }

/** Identifies a version of a projection. */
export const versionKey = ({ projection, version }: ProjectionStorage.ProjectionKey): string =>
  JSON.stringify([projection, version])

/** Identifies a row. */
export const rowKey = (key: ProjectionStorage.TenantProjection, rebuild: boolean): string =>
  JSON.stringify([key.tenantId, key.projection, key.version, rebuild])

/** The row of a projection that has not handled an event of the tenant yet. */
export const newRow = (
  { tenantId, projection, version }: ProjectionStorage.TenantProjection,
  rebuild: boolean
): Row => ({
  ...noFailure,
  tenantId,
  projection,
  version,
  rebuild,
  shared: false,
  position: 0,
  servedAt: 0,
  rebuilt: 0
})

/** A dead letter with its projection and tenant. */
export interface Letter extends ProjectionStorage.TenantProjection, ProjectionStorage.DeadLetter {
  readonly rebuild: boolean
}

/** Identifies a dead letter. */
export const letterKey = (
  key: ProjectionStorage.TenantProjection,
  rebuild: boolean,
  position: number
): string => JSON.stringify([key.tenantId, key.projection, key.version, rebuild, position])

/** Uncommitted changes; undefined stands for a removed row. */
type Staged<Value> = Map<string, Value | undefined>

/** A claim in progress. Only the claim itself sees its changes, and no other can change the rows that it locks. */
export class Work {
  rows: Staged<Row> = new Map()
  letters: Staged<Letter> = new Map()
  readonly held = new Set<string>()
  /** Fibers may outlive the work in which they were started. */
  ended = false
  /** Set by an attempt to work for another tenant: this work must not be committed any more. */
  mismatch: TenantMismatch | undefined
  readonly tenantId: TenantId

  constructor(tenantId: TenantId) {
    this.tenantId = tenantId
  }
}

/** The stored rows and their locks. */
export class Store {
  readonly #rows = new Map<string, Row>()
  readonly #letters = new Map<string, Letter>()
  readonly #locks = new Map<string, Latch.Latch>()
  readonly #forgotten = new Set<string>()
  #services = 0

  isLocked(key: string): boolean {
    return this.#locks.has(key)
  }

  /** Locks a row, after waiting for the work that holds it. */
  lock(key: string, work: Work): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (work.held.has(key)) return Effect.void
      const other = this.#locks.get(key)
      if (other !== undefined) return Effect.andThen(other.await, this.lock(key, work))
      this.lockUnsafe(key, work)
      return Effect.void
    })
  }

  lockUnsafe(key: string, work: Work): void {
    this.#locks.set(key, Latch.makeUnsafe(false))
    work.held.add(key)
  }

  /** Ends a claim: commits all of its changes or none. */
  end(work: Work, commit: boolean): void {
    work.ended = true
    if (commit) {
      apply(this.#rows, work.rows, this.#forgotten)
      apply(this.#letters, work.letters)
    }
    for (const key of work.held) {
      this.#locks.get(key)?.openUnsafe()
      this.#locks.delete(key)
    }
  }

  row(key: string, work: Work | undefined): Row | undefined {
    return work?.rows.has(key) === true ? work.rows.get(key) : this.#rows.get(key)
  }

  put(row: Row): void {
    this.#rows.set(rowKey(row, row.rebuild), row)
  }

  /** Removes the rows of a version for all tenants, and those that claims in progress will commit. */
  forget(version: ProjectionStorage.ProjectionKey): void {
    this.#forgotten.add(versionKey(version))
    for (const [key, row] of this.#rows) if (versionKey(row) === versionKey(version)) this.#rows.delete(key)
  }

  /** Lets parked rows that are retried at intervals try again now, except those that are locked by an attempt. */
  retry(version: ProjectionStorage.ProjectionKey): void {
    for (const [key, row] of this.#rows) {
      if (versionKey(row) !== versionKey(version) || !row.parked || row.retryAt === Infinity) continue
      if (!this.isLocked(key)) this.#rows.set(key, { ...row, retryAt: 0 })
    }
  }

  /** The rows of a version for all tenants. */
  rowsOf(version: ProjectionStorage.ProjectionKey): ReadonlyArray<Row> {
    return [...this.#rows.values()].filter((row) => versionKey(row) === versionKey(version))
  }

  /** The rows of a tenant. */
  rowsOfTenant(tenantId: TenantId): ReadonlyArray<Row> {
    return [...this.#rows.values()].filter((row) => row.tenantId === tenantId)
  }

  /** The dead letters of a tenant. */
  lettersOfTenant(tenantId: TenantId): ReadonlyArray<Letter> {
    return [...this.#letters.values()].filter((letter) => letter.tenantId === tenantId)
  }

  /** The dead letters of live read models, of all tenants. */
  liveLetters({ projection, version }: ProjectionStorage.ProjectionKey): ReadonlyArray<Letter> {
    return [...this.#letters.values()].filter(
      (letter) => letter.projection === projection && letter.version === version && !letter.rebuild
    )
  }

  /** Replaces the dead letters of a tenant. */
  replaceLetters(tenantId: TenantId, letters: ReadonlyArray<Letter>): void {
    for (const [key, letter] of this.#letters) if (letter.tenantId === tenantId) this.#letters.delete(key)
    for (const letter of letters)
      this.#letters.set(letterKey(letter, letter.rebuild, letter.position), letter)
  }

  /** Removes a row. */
  remove(row: Row): void {
    this.#rows.delete(rowKey(row, row.rebuild))
  }

  /** Removes the dead letters of a version for all tenants: those of rebuilds, or the live ones. */
  removeLetters(version: ProjectionStorage.ProjectionKey, rebuild: boolean): void {
    for (const [key, letter] of this.#letters)
      if (versionKey(letter) === versionKey(version) && letter.rebuild === rebuild) this.#letters.delete(key)
  }

  /** Replaces the live dead letters of all tenants by those of the rebuild. */
  promoteLetters(version: ProjectionStorage.ProjectionKey): void {
    this.removeLetters(version, false)
    for (const [key, letter] of this.#letters) {
      if (versionKey(letter) !== versionKey(version) || !letter.rebuild) continue
      this.#letters.delete(key)
      this.#letters.set(letterKey(letter, false, letter.position), { ...letter, rebuild: false })
    }
  }

  /** The parked rows of one projection, or of all. */
  parked(of: ProjectionStorage.ProjectionKey | undefined): ReadonlyArray<Row> {
    return [...this.#rows.values()].filter(
      (row) => row.parked && (of === undefined || versionKey(of) === versionKey(row))
    )
  }

  letters(work: Work): ReadonlyMap<string, Letter> {
    const merged = new Map(this.#letters)
    apply(merged, work.letters)
    return merged
  }

  /** The dead letters of a projection and tenant, by position. */
  lettersOf(
    { tenantId, projection, version }: ProjectionStorage.TenantProjection,
    rebuild: boolean,
    work: Work
  ): ReadonlyArray<Letter> {
    return [...this.letters(work).values()]
      .filter(
        (letter) =>
          letter.tenantId === tenantId &&
          letter.projection === projection &&
          letter.version === version &&
          letter.rebuild === rebuild
      )
      .toSorted((one, other) => one.position - other.position)
  }

  /** The field that marks a row as the most recently served. */
  served(): Pick<Row, "servedAt"> {
    return { servedAt: ++this.#services }
  }
}

const apply = <Value extends ProjectionStorage.ProjectionKey>(
  to: Map<string, Value>,
  changes: ReadonlyMap<string, Value | undefined>,
  forgotten?: ReadonlySet<string>
): void => {
  for (const [key, value] of changes) {
    if (value === undefined || forgotten?.has(versionKey(value)) === true) to.delete(key)
    else to.set(key, value)
  }
}

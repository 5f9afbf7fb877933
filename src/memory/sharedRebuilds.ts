/** Rebuilds of read models that all tenants share, in memory. */
import { Clock, Effect } from "effect"
import type * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import { newRow, noFailure, type Row, rowKey, type Store, versionKey, Work } from "./progressTable.ts"
import type { Heads } from "./events.ts"
import { untenanted } from "../domain/Tenant.ts"

/** Number of events by which a rebuild may be behind the live read model when that is held. */
const near = 1000

/** Maximum time for which the live read model is held, and minimum time between two holds, in milliseconds. */
const hold = { longest: 10_000, apart: 20_000 }

/** Rebuilds across tenants. */
export class SharedRebuilds {
  /** The time until which workers get no work on the live read model, in milliseconds since 1970. */
  readonly #held = new Map<string, number>()
  readonly #underWay = new Set<string>()
  readonly #store: Store
  readonly #heads: Heads

  constructor(store: Store, heads: Heads) {
    this.#store = store
    this.#heads = heads
  }

  isHeld(key: ProjectionStorage.ProjectionKey, now: number): boolean {
    const until = this.#held.get(versionKey(key)) ?? 0
    return until > now && until <= now + hold.longest
  }

  #rebuilds(key: ProjectionStorage.ProjectionKey): ReadonlyArray<Row> {
    return this.#store.rowsOf(key).filter((row) => row.shared)
  }

  /** Starts a rebuild, or joins one in progress. Waits for workers on it. */
  start(key: ProjectionStorage.ProjectionKey & { readonly restart: boolean }): Effect.Effect<void> {
    return Effect.suspend(() => {
      const rows = this.#rebuilds(key)
      if (this.#underWay.has(versionKey(key)) && !key.restart && !rows.some(({ parked }) => parked))
        return Effect.void
      return this.#alone(rows, () => {
        this.#clear(key, rows)
        for (const [tenantId, head] of this.#heads())
          if (head > 0) this.#store.put({ ...newRow({ ...key, tenantId }, true), shared: true })
        this.#underWay.add(versionKey(key))
        this.#held.delete(versionKey(key))
      })
    })
  }

  /** Cancels a rebuild. Waits for workers on it. Returns false if there is none. */
  cancel(key: ProjectionStorage.ProjectionKey): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      if (!this.#underWay.has(versionKey(key))) return Effect.succeed(false)
      const rows = this.#rebuilds(key)
      return this.#alone(rows, () => {
        this.#clear(key, rows)
        this.forget(key)
        return true
      })
    })
  }

  #clear(key: ProjectionStorage.ProjectionKey, rows: ReadonlyArray<Row>): void {
    for (const row of rows) this.#store.remove(row)
    this.#store.removeLetters(key, true)
  }

  /** Replaces the live read model, if the rebuild contains as much for every tenant. */
  switch(key: ProjectionStorage.ProjectionKey): Effect.Effect<ProjectionStorage.SwitchOutcome> {
    const at = versionKey(key)
    return Effect.flatMap(Clock.currentTimeMillis, (now): Effect.Effect<ProjectionStorage.SwitchOutcome> => {
      if (!this.#underWay.has(at)) return Effect.succeed("none")
      for (const [tenantId, head] of this.#heads()) {
        const tenant = { ...key, tenantId }
        if (head > 0 && this.#store.row(rowKey(tenant, true), undefined) === undefined)
          this.#store.put({ ...newRow(tenant, true), shared: true })
      }
      const lag = this.#lag(key)
      const until = this.#held.get(at)
      if (lag === undefined) this.#held.delete(at)
      else if (
        lag > 0 &&
        lag <= near &&
        (until === undefined || now < until - hold.longest || now > until + hold.apart)
      )
        this.#held.set(at, now + hold.longest)
      if (lag !== 0) return Effect.succeed("waiting")
      return this.#alone(this.#store.rowsOf(key), () => {
        if (this.#lag(key) !== 0) return "waiting"
        for (const row of this.#rebuilds(key)) {
          const live = this.#store.row(rowKey(row, false), undefined) ?? newRow(row, false)
          const replaced = { position: row.position, rebuilt: live.rebuilt + 1 }
          this.#store.put({ ...live, ...noFailure, ...this.#store.served(), ...replaced })
          this.#store.remove(row)
        }
        this.#store.promoteLetters(key)
        this.#underWay.delete(at)
        this.#held.delete(at)
        return "switched"
      })
    })
  }

  forget(key: ProjectionStorage.ProjectionKey): void {
    this.#underWay.delete(versionKey(key))
    this.#held.delete(versionKey(key))
  }

  /** Number of events that only the live read model contains; undefined if the rebuild is parked for a tenant. */
  #lag(key: ProjectionStorage.ProjectionKey): number | undefined {
    let lag = 0
    for (const row of this.#store.rowsOf(key)) {
      if (row.rebuild) {
        if (row.parked) return undefined
        continue
      }
      const { position = 0 } = this.#store.row(rowKey(row, true), undefined) ?? {}
      lag += Math.max(0, row.position - position)
    }
    return lag
  }

  /** Changes rows as soon as no worker has locked them. */
  #alone<A>(rows: ReadonlyArray<Row>, change: () => A): Effect.Effect<A> {
    return Effect.acquireUseRelease(
      Effect.sync(() => new Work(untenanted)),
      (work) =>
        Effect.forEach(rows, (row) => this.#store.lock(rowKey(row, row.rebuild), work), {
          discard: true
        }).pipe(Effect.map(change)),
      (work) => Effect.sync(() => this.#store.end(work, false))
    )
  }
}

/**
 * A test suite for drivers: two tenants that use the same ids must not notice each other, whatever they try.
 *
 * **Details**
 *
 * The title of a test begins with the number of its case:
 *
 * - 1 the same ids in two tenants, 2 no tenant, 3 a tenant named in data, 4 invalid tenant ids, 5 a tenant inside another
 *   one, 6 interruption, 7 state left on connections, 8 services used under one tenant and then another
 * - 9 snapshots, 10 a handler's tenant, 12 events that cannot be handled, 13 noisy neighbours, 14 errors, logs and spans,
 *   15 dead letters, 16 another tenant's ids as causes, 17 ids used again, 18 another tenant's positions, 19 hints
 * - 20 existence, 21 counters, 22 injection, 23-26 values that cannot be stored, 27 races, 28 clocks, 29 lost answers,
 *   34 suspension, 37 values that are changed in place, 42 imports, moves, erasures and forgotten subjects
 *
 * Cases that need more than a driver, such as crashes and operators, are tested in this library's repository:
 * `docs/isolation.md`.
 */
import { layer as describeWith } from "@effect/vitest"
import { Layer } from "effect"
import type { SqlClient } from "effect/sql"
import type { AdministrationStorage } from "../driver/AdministrationStorage.ts"
import type { EventStorage } from "../driver/EventStorage.ts"
import * as EventStore from "../store/EventStore.ts"
import type { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import * as Repository from "../store/Repository.ts"
import type { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import * as TenantRegistry from "../store/TenantRegistry.ts"
import { concurrency } from "./isolation/concurrency.ts"
import { database } from "./isolation/database.ts"
import { following } from "./isolation/following.ts"
import { forgetting } from "./isolation/forgetting.ts"
import { input } from "./isolation/input.ts"
import type { Case, Services } from "./isolation/kit.ts"
import { projections } from "./isolation/projections.ts"
import { queries } from "./isolation/queries.ts"
import { separation } from "./isolation/separation.ts"
import { sharedValues } from "./isolation/sharedValues.ts"
import { lifecycle } from "./isolation/lifecycle.ts"
import { snapshots } from "./isolation/snapshots.ts"

export type { Case, Services }

/** Options of {@link suite}. */
export interface Options<E, E2 = never, E3 = never, E4 = never, E5 = never> {
  /** The name of the suite, for example that of the driver. */
  readonly name: string
  /**
   * The driver, on a store that only the suite uses and that registers tenants with their first append. The suite suspends
   * tenants of the store for short times.
   */
  readonly storage: Layer.Layer<EventStorage, E>
  /**
   * The application's client of the PostgreSQL database behind the driver, to test row-level security with raw SQL as well.
   * Usually the same layer as `storage`.
   */
  readonly database?: Layer.Layer<SqlClient.SqlClient, E2> | undefined
  /**
   * The driver of projections over the same events, to test the projections of two tenants as well. Usually the same layer
   * as `storage`.
   */
  readonly projections?: Layer.Layer<ProjectionStorage, E3> | undefined
  /**
   * The driver of snapshots, to test the snapshots of two tenants as well. Usually the same layer as `storage`.
   */
  readonly snapshots?: Layer.Layer<SnapshotStorage, E4> | undefined
  /**
   * The drivers of the administration of tenants and of snapshots, to test the life of a tenant beside others as well. Usually the
   * same layer as `storage`.
   */
  readonly administration?: Layer.Layer<AdministrationStorage | SnapshotStorage, E5> | undefined
  /** Timeout of one test in milliseconds. Default: 20,000. */
  readonly timeout?: number | undefined
}

/** The services that the cases need, on a driver. */
export const layer = <A, E, R>(
  storage: Layer.Layer<EventStorage | A, E, R>
): Layer.Layer<Services | A, E, R> =>
  Layer.mergeAll(Repository.layer, TenantRegistry.layer).pipe(
    Layer.provideMerge(EventStore.layer),
    Layer.provideMerge(storage)
  )

/**
 * Quick cases that together fail if a driver lacks a single predicate on the tenant, for mutation tests and for checks
 * outside of a test runner. Run them on {@link layer}, in order, on a store that nothing else uses.
 */
export const coreCases: ReadonlyArray<Case> = [...separation, ...queries]

/** All cases that need no database. */
export const cases: ReadonlyArray<Case> = [
  ...coreCases,
  ...input,
  ...concurrency,
  ...following,
  ...sharedValues
]

/** The cases about projections, with their storage. */
export const projectionCases: ReadonlyArray<Case<Services | ProjectionStorage>> = projections

/** The cases about snapshots, with their storage. */
export const snapshotCases: ReadonlyArray<Case<Services | SnapshotStorage>> = snapshots

/** The cases about the life of a tenant, with its administration. */
export const lifecycleCases: ReadonlyArray<Case<Services | AdministrationStorage | SnapshotStorage>> = [
  ...lifecycle,
  ...forgetting
]

/** The cases about the database behind a driver on PostgreSQL, with its client. */
export const databaseCases: ReadonlyArray<Case<Services | SqlClient.SqlClient>> = database

/**
 * Registers the tests of the suite.
 *
 * **Example**
 *
 * ```ts
 * import { MemoryStorage } from "effect-eventsourcing"
 * import { TenantIsolationSuite } from "effect-eventsourcing/testing"
 *
 * TenantIsolationSuite.suite({ name: "memory", storage: MemoryStorage.layer })
 * ```
 */
export const suite = <E, E2 = never, E3 = never, E4 = never, E5 = never>(
  options: Options<E, E2, E3, E4, E5>
): void => {
  const { name, storage, timeout = 20_000 } = options
  const context = { excludeTestServices: true, timeout: 60_000 }
  describeWith(layer(storage), context)(`tenant isolation: ${name}`, (it) => {
    // First: a projection handles the events of all tenants, and the other cases append thousands.
    if (options.projections !== undefined) {
      it.layer(options.projections)("projections", (nested) => {
        for (const test of projectionCases) nested.effect(test.name, () => test.run, timeout)
      })
    }
    for (const test of cases) it.effect(test.name, () => test.run, timeout)
    if (options.snapshots !== undefined) {
      it.layer(options.snapshots)("snapshots", (nested) => {
        for (const test of snapshotCases) nested.effect(test.name, () => test.run, timeout)
      })
    }
    if (options.administration !== undefined) {
      it.layer(options.administration)("the life of a tenant", (nested) => {
        for (const test of lifecycleCases) nested.effect(test.name, () => test.run, timeout)
      })
    }
    if (options.database !== undefined) {
      it.layer(options.database)("the database", (nested) => {
        for (const test of databaseCases) nested.effect(test.name, () => test.run, timeout)
      })
    }
  })
}

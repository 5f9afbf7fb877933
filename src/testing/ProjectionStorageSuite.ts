/**
 * The contract of the driver `ProjectionStorage` as tests: a driver that passes them can stand under the runner.
 */
import { describe, layer } from "@effect/vitest"
import type { Layer } from "effect"
import type { EventStorage } from "../driver/EventStorage.ts"
import * as testingClaims from "./driver/claims.ts"
import * as testingFailures from "./driver/failures.ts"
import * as testingRebuild from "./driver/rebuilds.ts"
import type { ProjectionStorage } from "../driver/ProjectionStorage.ts"

/** What {@link suite} tests. */
export interface Options<E = never> {
  /** Stands over the tests. */
  readonly name: string
  /** The driver, and the one of the events whose projections it keeps. */
  readonly layer: Layer.Layer<ProjectionStorage | EventStorage, E>
  /** Whether two transactions can be open at once; PGlite, for one, has a single connection. Default: true. */
  readonly concurrent?: boolean | undefined
  /**
   * Whether whoever has waited longest comes first among all tenants. In several databases, each of which is served in its
   * turn, that holds for the tenants of each. Default: true.
   */
  readonly ordered?: boolean | undefined
}

/**
 * Registers the tests of the contract with vitest.
 *
 * **When to use**
 *
 * In a test file of the driver, at the top level or within a `describe`.
 *
 * **Details**
 *
 * The layer is built once. The tests make tenants and projections of their own, so the store need not be empty, and
 * leave them there. They use the real clock.
 *
 * **Example** (Testing a driver)
 *
 * ```ts
 * import { ProjectionStorageSuite } from "effect-eventsourcing/testing"
 *
 * ProjectionStorageSuite.suite({ name: "my driver", layer: MyProjectionStorage.layer })
 * ```
 */
export const suite = <E = never>(options: Options<E>): void => {
  describe(options.name, () => {
    layer(options.layer, { excludeTestServices: true })("a driver", (it) => {
      describe("claims", () => {
        testingClaims.claims(it)
        if (options.ordered !== false) testingClaims.orderedClaims(it)
        if (options.concurrent !== false) testingClaims.concurrentClaims(it)
      })
      describe("work that fails", () => testingClaims.undoing(it))
      describe("across tenants", () => testingClaims.acrossTenants(it))
      describe("failures", () => testingFailures.failures(it))
      describe("dead letters", () => testingFailures.deadLetters(it))
      describe("progress", () => testingFailures.progress(it))
      describe("rebuilds", () => testingRebuild.rebuilds(it))
      describe("tenants", () => testingRebuild.isolation(it))
    })
  })
}

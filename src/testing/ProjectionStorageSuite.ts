/**
 * The contract of `ProjectionStorage` as tests: a driver that passes them works under the runner.
 */
import { describe, layer } from "@effect/vitest"
import type { Layer } from "effect"
import type { EventStorage } from "../driver/EventStorage.ts"
import * as testingClaims from "./driver/claims.ts"
import * as testingFailures from "./driver/failures.ts"
import * as testingRebuild from "./driver/rebuilds.ts"
import * as testingVersions from "./driver/versions.ts"
import type { ProjectionStorage } from "../driver/ProjectionStorage.ts"

/** Options of {@link suite}. */
export interface Options<E = never> {
  /** The title of the tests. */
  readonly name: string
  /** The driver, with the driver of the events that it projects. */
  readonly layer: Layer.Layer<ProjectionStorage | EventStorage, E>
  /** False if only one transaction can be open at a time, as with PGlite's single connection. Default: true. */
  readonly concurrent?: boolean | undefined
  /**
   * True if the longest-waiting tenant is served first among all tenants. With several databases, which are served in turn,
   * it holds within each database only. Default: true.
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
 * The layer is built once. The tests create tenants and projections of their own and leave them there, so the store need
 * not be empty. They use the real clock.
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
      describe("versions", () => testingVersions.versions(it))
      describe("across tenants", () => testingClaims.acrossTenants(it))
      describe("failures", () => testingFailures.failures(it))
      describe("waiting", () => testingFailures.waiting(it))
      describe("dead letters", () => testingFailures.deadLetters(it))
      describe("progress", () => testingFailures.progress(it))
      describe("rebuilds", () => testingRebuild.rebuilds(it))
      describe("tenants", () => testingRebuild.isolation(it))
    })
  })
}

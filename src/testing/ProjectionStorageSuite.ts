/**
 * The contract of `ProjectionStorage` as tests: a driver that passes them works under the runner.
 */
import { describe, layer } from "@effect/vitest"
import type { Layer } from "effect"
import type { EventStorage } from "../driver/EventStorage.ts"
import * as claims from "./driver/claims.ts"
import * as failures from "./driver/failures.ts"
import * as rebuilds from "./driver/rebuilds.ts"
import * as shared from "./driver/sharedRebuilds.ts"
import * as versions from "./driver/versions.ts"
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
   * it holds within each database only, and so does the switch of a rebuild across tenants. Default: true.
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
      // first, because such a rebuild works on the tenants of all tests before it
      describe("rebuilds across tenants", () => {
        shared.sharedRebuilds(it)
        if (options.ordered !== false) shared.switchedAtOnce(it)
      })
      describe("claims", () => {
        claims.claims(it)
        if (options.ordered !== false) claims.orderedClaims(it)
        if (options.concurrent !== false) claims.concurrentClaims(it)
      })
      describe("work that fails", () => claims.undoing(it))
      describe("versions", () => versions.versions(it))
      describe("across tenants", () => claims.acrossTenants(it))
      describe("failures", () => failures.failures(it))
      describe("waiting", () => failures.waiting(it))
      describe("dead letters", () => failures.deadLetters(it))
      describe("progress", () => failures.progress(it))
      describe("rebuilds", () => rebuilds.rebuilds(it))
      describe("tenants", () => rebuilds.isolation(it))
    })
  })
}

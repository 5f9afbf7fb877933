/**
 * The contract of `AdministrationStorage` as tests, beside that of `EventStorage` on the same store.
 */
import { describe, layer } from "@effect/vitest"
import type { Layer } from "effect"
import type { AdministrationStorage } from "../driver/AdministrationStorage.ts"
import type { EventStorage } from "../driver/EventStorage.ts"
import type { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import { content } from "./administration/content.ts"
import { erasure } from "./administration/erasure.ts"
import { quotas } from "./administration/quotas.ts"
import { states } from "./administration/states.ts"
import { subjects } from "./administration/subjects.ts"

/** Options of {@link suite}. */
export interface Options<E = never> {
  /** The title of the tests. */
  readonly name: string
  /** The driver. */
  readonly layer: Layer.Layer<AdministrationStorage | EventStorage | SnapshotStorage, E>
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
 * The layer is built once. The tests create tenants of their own and leave their data there. They use the real clock.
 */
export const suite = <E = never>(options: Options<E>): void => {
  describe(options.name, () => {
    layer(options.layer, { excludeTestServices: true })(
      "a driver for the administration of tenants",
      (it) => {
        describe("content", () => content(it))
        describe("states", () => states(it))
        describe("erasure", () => erasure(it))
        describe("quotas", () => quotas(it))
        describe("subjects", () => subjects(it))
      }
    )
  })
}

/**
 * The contract of `EventStorage` as tests: a driver that passes them works under the event store.
 */
import { describe, layer } from "@effect/vitest"
import type { Layer } from "effect"
import type { EventStorage } from "../driver/EventStorage.ts"
import { identities } from "./driver/identities.ts"
import * as testingAppend from "./driver/appends.ts"
import * as testingCommands from "./driver/commands.ts"
import * as testingQueries from "./driver/queries.ts"
import * as testingRead from "./driver/reads.ts"
import * as testingReplay from "./driver/repeatedAppends.ts"
import * as testingTenants from "./driver/tenants.ts"

/** Options of {@link suite}. */
export interface Options<E = never, E2 = never> {
  /** The title of the tests. */
  readonly name: string
  /** The driver, which registers tenants with their first append. */
  readonly layer: Layer.Layer<EventStorage, E>
  /** The driver without such registration, if it has that option. */
  readonly layerWithoutProvisioning?: Layer.Layer<EventStorage, E2> | undefined
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
 * The layer is built once. The tests create tenants of their own and leave them there, so the store need not be empty.
 * They use the real clock.
 *
 * **Example** (Testing a driver)
 *
 * ```ts
 * import { EventStorageSuite } from "effect-eventsourcing/testing"
 *
 * EventStorageSuite.suite({ name: "my driver", layer: MyEventStorage.layer })
 * ```
 */
export const suite = <E = never, E2 = never>(options: Options<E, E2>): void => {
  describe(options.name, () => {
    layer(options.layer, { excludeTestServices: true })("a driver", (it) => {
      describe("expected versions", () => testingAppend.expectations(it))
      describe("an append", () => testingAppend.atomicity(it))
      describe("a batch", () => testingAppend.batches(it))
      describe("appending again", () => testingReplay.replays(it))
      describe("tags", () => testingQueries.tags(it))
      describe("a condition", () => testingQueries.conditions(it))
      describe("ids of events", () => identities(it))
      describe("a command key", () => testingCommands.commands(it))
      describe("a hash chain", () => testingCommands.hashChains(it))
      describe("what is read", () => testingRead.fidelity(it))
      describe("which part is read", () => testingRead.ranges(it))
      describe("tenants", () => testingTenants.registry(it))
      describe("across tenants", () => testingTenants.acrossTenants(it))
    })
    if (options.layerWithoutProvisioning !== undefined) {
      layer(options.layerWithoutProvisioning, { excludeTestServices: true })(
        "a driver that does not register tenants",
        (it) => testingTenants.withoutProvisioning(it)
      )
    }
  })
}

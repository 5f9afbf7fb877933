/**
 * The contract of `EventStorage` as tests: a driver that passes them works under the event store.
 */
import { describe, layer } from "@effect/vitest"
import type { Layer } from "effect"
import type { EventStorage } from "../driver/EventStorage.ts"
import { fidelity } from "./driver/fidelity.ts"
import { identities } from "./driver/identities.ts"
import { forgotten } from "./driver/forgotten.ts"
import { loads } from "./driver/loads.ts"
import { reservations } from "./driver/reservations.ts"
import { openLog } from "./driver/openLog.ts"
import * as appends from "./driver/appends.ts"
import * as commands from "./driver/commands.ts"
import * as queries from "./driver/queries.ts"
import * as reads from "./driver/reads.ts"
import * as repeatedAppends from "./driver/repeatedAppends.ts"
import * as tenants from "./driver/tenants.ts"

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
      describe("expected versions", () => appends.expectations(it))
      describe("an append", () => appends.atomicity(it))
      describe("a batch", () => appends.batches(it))
      describe("appending again", () => repeatedAppends.replays(it))
      describe("tags", () => queries.tags(it))
      describe("a condition", () => queries.conditions(it))
      describe("ids of events", () => identities(it))
      describe("a command key", () => commands.commands(it))
      describe("a hash chain", () => commands.hashChains(it))
      describe("the content of events", () => fidelity(it))
      describe("reading", () => reads.ranges(it))
      describe("loading", () => loads(it))
      describe("a reservation", () => reservations(it))
      describe("an opened log", () => openLog(it))
      describe("a number of forgotten subjects", () => forgotten(it))
      describe("tenants", () => tenants.registry(it))
      describe("across tenants", () => tenants.acrossTenants(it))
    })
    if (options.layerWithoutProvisioning !== undefined) {
      layer(options.layerWithoutProvisioning, { excludeTestServices: true })(
        "a driver that does not register tenants",
        (it) => tenants.withoutProvisioning(it)
      )
    }
  })
}

/**
 * The contract of `Operations` and `Actions` as tests: the looks and the actions of an operator on a driver.
 */
import { describe, layer } from "@effect/vitest"
import type { Layer } from "effect"
import type { Storages } from "../operations/Operations.ts"
import { actions } from "./operations/actions.ts"
import { actionsOnProjections } from "./operations/actionsOnProjections.ts"
import { logs } from "./operations/logs.ts"
import { work } from "./operations/work.ts"

/** Options of {@link suite}. */
export interface Options<E = never> {
  /** The title of the tests. */
  readonly name: string
  /** The driver. */
  readonly layer: Layer.Layer<Storages, E>
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
    layer(options.layer, { excludeTestServices: true })("operations", (it) => {
      describe("logs", () => logs(it))
      describe("work", () => work(it))
      describe("actions", () => actions(it))
      describe("actions on projections", () => actionsOnProjections(it))
    })
  })
}

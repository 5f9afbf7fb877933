/**
 * The contract of `KeyVault` as tests: a vault that passes them can keep the keys of personal fields.
 */
import { describe, layer } from "@effect/vitest"
import type { Layer } from "effect"
import { keyVaultCases } from "./keyVaultCases.ts"
import type { KeyVault } from "../forgetting/KeyVault.ts"

/** Options of {@link suite}. */
export interface Options<E = never> {
  /** The title of the tests. */
  readonly name: string
  /** The vault. */
  readonly layer: Layer.Layer<KeyVault, E>
}

/**
 * Registers the tests of the contract with vitest.
 *
 * **When to use**
 *
 * In a test file of the vault, at the top level or within a `describe`.
 *
 * **Details**
 *
 * The layer is built once. The tests create tenants of their own and leave their keys there, so the vault need not be empty.
 *
 * **Example** (Testing a vault)
 *
 * ```ts
 * import { KeyVaultSuite } from "effect-eventsourcing/testing"
 *
 * KeyVaultSuite.suite({ name: "my vault", layer: MyKeyVault.layer })
 * ```
 */
export const suite = <E = never>(options: Options<E>): void => {
  describe(options.name, () => {
    layer(options.layer, { excludeTestServices: true })("a key vault", keyVaultCases)
  })
}

/**
 * Operations: one contract for everything that an operator sees of a store, and does to it.
 */
export * as Actions from "./Actions.ts"
export * as Acts from "./Acts.ts"
export * as Looks from "./Looks.ts"
export * as Operations from "./Operations.ts"
export * as PayloadGrant from "./PayloadGrant.ts"

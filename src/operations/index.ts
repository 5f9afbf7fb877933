/**
 * Operations: one contract for everything that an operator sees of a store.
 */
export * as Looks from "./Looks.ts"
export * as Operations from "./Operations.ts"
export * as PayloadGrant from "./PayloadGrant.ts"

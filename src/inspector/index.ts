/**
 * The inspector: a page in the browser for those who look after a store.
 */
export * as Inspector from "./Inspector.ts"

/**
 * Operations: one contract for everything that an operator sees of a store and does to it, in the process and over HTTP.
 */
export * as Actions from "./Actions.ts"
export * as Acts from "./Acts.ts"
export * as Looks from "./Looks.ts"
export * as Operations from "./Operations.ts"
export * as OperationsApi from "./OperationsApi.ts"
export * as OperationsClient from "./OperationsClient.ts"
export * as OperationsServer from "./OperationsServer.ts"
export * as OperatorAccess from "./OperatorAccess.ts"
export * as PayloadGrant from "./PayloadGrant.ts"

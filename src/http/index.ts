/**
 * For `effect/http-api`: verified tenants of requests, and problem details for the errors of this library.
 */
export * as CorrelationId from "./CorrelationId.ts"
export * as JwtResolver from "./JwtResolver.ts"
export * as Precondition from "./Precondition.ts"
export * as Problem from "./Problem.ts"
export * as ProxyHeaderResolver from "./ProxyHeaderResolver.ts"
export * as SubdomainResolver from "./SubdomainResolver.ts"
export * as TenantAccessError from "./TenantAccessError.ts"
export * as TenantMiddleware from "./TenantMiddleware.ts"
export * as TenantResolver from "./TenantResolver.ts"
export * as TrustedProxy from "./TrustedProxy.ts"

/**
 * What users test with: suites for drivers, and more to come.
 */
export * as Canary from "./Canary.ts"
export * as EventStorageSuite from "./EventStorageSuite.ts"
export * as TenantIsolationSuite from "./TenantIsolationSuite.ts"
export * as ProjectionKit from "./ProjectionKit.ts"
export * as ProjectionStorageSuite from "./ProjectionStorageSuite.ts"

/**
 * Tools for tests: of domains, projections and tenants, and suites for drivers.
 */
export * as AdministrationStorageSuite from "./AdministrationStorageSuite.ts"
export * as Canary from "./Canary.ts"
export * as EventStorageSuite from "./EventStorageSuite.ts"
export * as OperationsSuite from "./OperationsSuite.ts"
export * as TenantIsolationSuite from "./TenantIsolationSuite.ts"
export * as ProjectionKit from "./ProjectionKit.ts"
export * as ProjectionStorageSuite from "./ProjectionStorageSuite.ts"
export * as SnapshotStorageSuite from "./SnapshotStorageSuite.ts"
export * as Scenario from "./Scenario.ts"
export * as Arbitraries from "./Arbitraries.ts"
export * as TenantScenario from "./TenantScenario.ts"
export * as KeyVaultSuite from "./KeyVaultSuite.ts"
export * as Laws from "./Laws.ts"
export * as EventCompatibility from "./EventCompatibility.ts"
export * as DecisionScenario from "./DecisionScenario.ts"

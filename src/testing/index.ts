/**
 * What users test with: suites for drivers, and more to come.
 */
export * as ProjectionKit from "./ProjectionKit.ts"
export * as ProjectionStorageSuite from "./ProjectionStorageSuite.ts"

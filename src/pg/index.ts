/**
 * Event sourcing on PostgreSQL, and on the embedded PGlite.
 */
export * as PgCheck from "./PgCheck.ts"
export * as PgEmbedded from "./PgEmbedded.ts"
export * as PgEventStorage from "./PgEventStorage.ts"
export * as PgInlineProjections from "./PgInlineProjections.ts"
export * as PgMigrator from "./PgMigrator.ts"
export * as PgProjectionStorage from "./PgProjectionStorage.ts"
export * as PgSilo from "./PgSilo.ts"
export * as PgSnapshotStorage from "./PgSnapshotStorage.ts"
export * as PgTenant from "./PgTenant.ts"
export * as PgTenantDirectory from "./PgTenantDirectory.ts"

/**
 * Event sourcing on PostgreSQL, and on the embedded PGlite.
 */
export * as PgCheck from "./PgCheck.ts"
export * as PgDoctor from "./PgDoctor.ts"
export * as PgEmbedded from "./PgEmbedded.ts"
export * as PgKeyVault from "./PgKeyVault.ts"
export * as PgMigrator from "./PgMigrator.ts"
export * as PgServer from "./PgServer.ts"
export * as PgSilo from "./PgSilo.ts"
export * as PgStorage from "./PgStorage.ts"
export * as PgTenant from "./PgTenant.ts"
export * as PgTenantDirectory from "./PgTenantDirectory.ts"

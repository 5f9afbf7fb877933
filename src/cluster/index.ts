/** Tenants in a cluster of processes, on `effect/cluster`. */
export * as TenantEntity from "./TenantEntity.ts"

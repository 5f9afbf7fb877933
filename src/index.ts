/**
 * Multi-tenant event sourcing for Effect.
 */
export * as Aggregate from "./Aggregate.ts"
export * as Event from "./Event.ts"
export * as EventContext from "./EventContext.ts"
export * as EventStorage from "./EventStorage.ts"
export * as EventStore from "./EventStore.ts"
export * as MemoryEventStorage from "./MemoryEventStorage.ts"
export * as Projection from "./Projection.ts"
export * as ProjectionRunner from "./ProjectionRunner.ts"
export * as ProjectionStorage from "./ProjectionStorage.ts"
export * as Repository from "./Repository.ts"
export * as StoreError from "./StoreError.ts"
export * as Tenant from "./Tenant.ts"
export * as TenantRegistry from "./TenantRegistry.ts"

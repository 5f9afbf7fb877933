/**
 * Multi-tenant event sourcing for Effect.
 */

// To declare a domain: values, which need no store.
export * as Aggregate from "./domain/Aggregate.ts"
export * as DecisionModel from "./domain/DecisionModel.ts"
export * as Event from "./domain/Event.ts"
export * as EventContext from "./domain/EventContext.ts"
export * as EventQuery from "./domain/EventQuery.ts"
export * as Projection from "./projection/Projection.ts"
export * as Reaction from "./projection/Reaction.ts"
export * as SnapshotPolicy from "./domain/SnapshotPolicy.ts"
export * as Tenant from "./domain/Tenant.ts"
export * as Upcaster from "./domain/Upcaster.ts"

// To run a program: services, and the errors they fail with.
export * as Decisions from "./store/Decisions.ts"
export * as EventJson from "./store/EventJson.ts"
export * as EventSourcing from "./EventSourcing.ts"
export * as EventStore from "./store/EventStore.ts"
export * as Health from "./store/Health.ts"
export * as HashChain from "./store/HashChain.ts"
export * as InlineProjections from "./projection/InlineProjections.ts"
export * as InMemoryProjection from "./projection/InMemoryProjection.ts"
export * as KeyVault from "./forgetting/KeyVault.ts"
export * as OutboxRelay from "./projection/OutboxRelay.ts"
export * as ProjectionError from "./projection/ProjectionError.ts"
export * as ProjectionRunner from "./projection/ProjectionRunner.ts"
export * as ProjectionManager from "./projection/ProjectionManager.ts"
export * as Repository from "./store/Repository.ts"
export * as StoredEvents from "./domain/StoredEvents.ts"
export * as StoreError from "./driver/StoreError.ts"
export * as Subscription from "./projection/Subscription.ts"
export * as TenantArchive from "./lifecycle/TenantArchive.ts"
export * as TenantErasure from "./lifecycle/TenantErasure.ts"
export * as TenantQuota from "./lifecycle/TenantQuota.ts"
export * as TenantMove from "./lifecycle/TenantMove.ts"
export * as TenantRegistry from "./store/TenantRegistry.ts"

// To drive a store: storages, the contracts they fulfil, and the directory of tenants. Those on PostgreSQL are in `/pg`.
export * as AdministrationStorage from "./driver/AdministrationStorage.ts"
export * as EventStorage from "./driver/EventStorage.ts"
export * as MemoryStorage from "./memory/MemoryStorage.ts"
export * as Placements from "./routed/Placements.ts"
export * as ProjectionStorage from "./driver/ProjectionStorage.ts"
export * as RoutedStorage from "./routed/RoutedStorage.ts"
export * as SnapshotStorage from "./driver/SnapshotStorage.ts"
export * as TenantDirectory from "./routed/TenantDirectory.ts"

import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import {
  Decisions,
  EventSourcing,
  EventStore,
  MemoryStorage,
  ProjectionManager,
  Repository,
  Tenant,
  TenantRegistry
} from "effect-eventsourcing"
import { PgEmbedded, PgStorage } from "effect-eventsourcing/pg"
import * as Bank from "./support/bank.ts"

const storages = [
  ["memory", MemoryStorage.layerWith({})],
  ["an embedded PostgreSQL", PgStorage.layer.pipe(Layer.provide(PgEmbedded.layer))]
] as const

describe("EventSourcing.layer", () => {
  it.live.each(storages)("is the only layer that a program needs besides a storage: %s", ([, storage]) =>
    Effect.gen(function* () {
      const repository = yield* Repository.Repository
      const store = yield* EventStore.EventStore
      const registry = yield* TenantRegistry.TenantRegistry
      const { status } = yield* ProjectionManager.ProjectionManager
      yield* Decisions.Decisions
      const tenantId = yield* Tenant.generate
      yield* registry.provision(tenantId)
      yield* Effect.gen(function* () {
        yield* repository.execute(Bank.Account, "1", () => [Bank.opened()])
        assert.lengthOf(yield* Stream.runCollect(store.readLog({ aggregates: [Bank.Account] })), 1)
        assert.strictEqual((yield* status({ name: "balances", version: 1 })).lagEvents, 1)
      }).pipe(Tenant.provide(tenantId))
    }).pipe(Effect.provide(EventSourcing.layer.pipe(Layer.provide(storage))))
  )
})

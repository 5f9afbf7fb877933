/** Tenants are as isolated on a storage that seals, while everything is sealed. Over databases: in the long run. */
import { Layer } from "effect"
import { MemoryStorage } from "effect-eventsourcing"
import { TenantIsolationSuite } from "effect-eventsourcing/testing"
import { sealedLayer } from "../support/sealed.ts"

const sealed = sealedLayer.pipe(Layer.provideMerge(MemoryStorage.layer))

TenantIsolationSuite.suite({
  name: "sealed memory",
  storage: sealed,
  projections: sealed,
  snapshots: sealed,
  administration: sealed
})

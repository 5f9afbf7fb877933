import { assert, describe, it } from "@effect/vitest"
import { type Context, Effect, Exit, Layer, References } from "effect"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import { SnapshotStorage } from "../../src/driver/SnapshotStorage.ts"
import type { TenantId } from "../../src/domain/Tenant.ts"
import * as TenantIsolationSuite from "../../src/testing/TenantIsolationSuite.ts"
import { everySqlBackend } from "../support/backends.ts"

TenantIsolationSuite.suite({
  name: "memory",
  storage: MemoryStorage.layer,
  projections: MemoryStorage.layer,
  snapshots: MemoryStorage.layer,
  administration: MemoryStorage.layer
})

for (const { layer, name } of everySqlBackend) {
  TenantIsolationSuite.suite({
    name,
    storage: layer,
    projections: layer,
    snapshots: layer,
    administration: layer,
    database: layer
  })
}

type Driver = EventStorage["Service"]

/** Answers for the tenant of the previous call, like a driver that keeps the tenant in a variable. */
const late = <Request, A>(
  method: (request: Request) => A,
  withTenant: (request: Request, tenantId: TenantId) => Request,
  tenantOf: (request: Request) => TenantId | undefined
): ((request: Request) => A) => {
  let last: TenantId | undefined
  return (request) => {
    const served = last ?? tenantOf(request)
    last = tenantOf(request)
    return method(served === undefined ? request : withTenant(request, served))
  }
}

const inRequest = <Request extends { readonly tenantId: TenantId }, A>(method: (request: Request) => A) =>
  late(
    method,
    (request, tenantId) => ({ ...request, tenantId }),
    ({ tenantId }) => tenantId
  )

const asRequest = <A>(method: (request: TenantId) => A) =>
  late(
    method,
    (_, tenantId) => tenantId,
    (tenantId) => tenantId
  )

const leaks: Readonly<Record<string, (driver: Driver) => Partial<Driver>>> = {
  append: ({ append }) => ({ append: inRequest(append) }),
  readStream: ({ readStream }) => ({ readStream: inRequest(readStream) }),
  readLog: ({ readLog }) => ({ readLog: inRequest(readLog) }),
  streamVersion: ({ streamVersion }) => ({ streamVersion: inRequest(streamVersion) }),
  setTenantStatus: ({ setTenantStatus }) => ({ setTenantStatus: inRequest(setTenantStatus) }),
  commandOutcome: ({ commandOutcome }) => ({ commandOutcome: inRequest(commandOutcome) }),
  startHashChain: ({ startHashChain }) => ({ startHashChain: asRequest(startHashChain) }),
  hashChainStart: ({ hashChainStart }) => ({ hashChainStart: asRequest(hashChainStart) }),
  head: ({ head }) => ({ head: inRequest(head) }),
  tenantStatus: ({ tenantStatus }) => ({ tenantStatus: asRequest(tenantStatus) }),
  provisionTenant: ({ provisionTenant }) => ({ provisionTenant: asRequest(provisionTenant) }),
  "usage, which counts the events of all": ({ usage }) => ({
    usage: (request) =>
      Effect.map(usage(request), (page) => ({
        ...page,
        rows: page.rows.map((row) => ({ ...row, events: row.events + 1 }))
      }))
  }),
  "listTenants, which counts the events of all": ({ listTenants }) => ({
    listTenants: (request) =>
      Effect.map(listTenants(request), (page) => ({
        ...page,
        rows: page.rows.map((row) => ({ ...row, position: row.position + 1 }))
      }))
  })
}

type Snapshots = SnapshotStorage["Service"]

const snapshotLeaks: Readonly<Record<string, (driver: Snapshots) => Partial<Snapshots>>> = {
  load: ({ load }) => ({ load: inRequest(load) }),
  save: ({ save }) => ({ save: inRequest(save) }),
  remove: ({ remove }) => ({ remove: inRequest(remove) })
}

/** The cases that fail. */
const red = <R>(cases: ReadonlyArray<TenantIsolationSuite.Case<R>>, services: Context.Context<R>) =>
  Effect.filter(cases, ({ run }) =>
    Effect.map(Effect.exit(run.pipe(Effect.provideContext(services))), Exit.isFailure)
  ).pipe(Effect.provideService(References.CurrentLoggers, new Set()))

describe("the suite, on a driver in memory", () => {
  for (const [name, leak] of Object.entries(leaks)) {
    // on the real clock, like the suite, because a repository with wrong answers waits before it retries
    it.live(`32: fails for a driver with a leak in ${name}`, () =>
      Effect.gen(function* () {
        const leaky = Layer.effect(
          EventStorage,
          Effect.map(EventStorage, (driver) => EventStorage.of({ ...driver, ...leak(driver) }))
        ).pipe(Layer.provide(MemoryStorage.layer))
        const services = yield* Layer.build(TenantIsolationSuite.layer(leaky))
        assert.isNotEmpty(yield* red(TenantIsolationSuite.coreCases, services))
      })
    )
  }

  for (const [name, leak] of Object.entries(snapshotLeaks)) {
    it.live(`32: fails for a driver of snapshots with a leak in ${name}`, () =>
      Effect.gen(function* () {
        const leaky = Layer.effect(
          SnapshotStorage,
          Effect.map(SnapshotStorage, (driver) => SnapshotStorage.of({ ...driver, ...leak(driver) }))
        ).pipe(Layer.provide(MemoryStorage.layer))
        const services = yield* Layer.build(
          Layer.merge(TenantIsolationSuite.layer(MemoryStorage.layer), leaky)
        )
        assert.isNotEmpty(yield* red(TenantIsolationSuite.snapshotCases, services))
      })
    )
  }
})

import { Effect, type Stream } from "effect"
import {
  type AdministrationStorage,
  EventContext,
  EventStore,
  Repository,
  Tenant,
  type TenantErasure,
  TenantRegistry
} from "effect-eventsourcing"
import { describe, expectTypeOf, test } from "vitest"
import { Account, deposited } from "../support/bank.ts"

type StreamServices<S> = S extends Stream.Stream<infer _A, infer _E, infer R> ? R : never

declare const store: EventStore.EventStore["Service"]
declare const repository: Repository.Repository["Service"]
declare const registry: TenantRegistry.TenantRegistry["Service"]
declare const tenantId: Tenant.TenantId
const stream = { aggregate: Account, id: "1" } as const

describe("a program that forgets the tenant", () => {
  const program = Effect.gen(function* () {
    const { execute } = yield* Repository.Repository
    return yield* execute(Account, "1", () => [deposited(1)])
  })

  test("2: requires CurrentTenant by name", () => {
    expectTypeOf<Effect.Services<typeof program>>().toEqualTypeOf<
      Repository.Repository | Tenant.CurrentTenant
    >()
    const tenanted = program.pipe(Tenant.provide(tenantId))
    expectTypeOf<Effect.Services<typeof tenanted>>().toEqualTypeOf<Repository.Repository>()
  })

  test("2: does not compile", () => {
    const withStore = Effect.provideService(program, Repository.Repository, repository)
    expectTypeOf<Effect.Services<typeof withStore>>().toEqualTypeOf<Tenant.CurrentTenant>()
    // @ts-expect-error Type 'CurrentTenant' is not assignable to type 'never'.
    void (() => Effect.runPromise(withStore))
    void (() => Effect.runPromise(withStore.pipe(Tenant.provide(tenantId))))
  })
})

describe("a stream of a tenant's events", () => {
  test("is provided with the tenant like an effect, and keeps its type", () => {
    const read = store.readStream(stream)
    const provided = read.pipe(Tenant.provide(tenantId))
    expectTypeOf<StreamServices<typeof provided>>().toEqualTypeOf<never>()
    expectTypeOf<typeof provided>().toExtend<Stream.Stream<unknown, unknown>>()
    const either = {} as Effect.Effect<1, "a", Tenant.CurrentTenant> | Effect.Effect<2, "b">
    expectTypeOf(Tenant.provide(tenantId)(either)).toEqualTypeOf<Effect.Effect<1 | 2, "a" | "b">>()
    // @ts-expect-error A number is neither an effect nor a stream.
    Tenant.provide(tenantId)(1)
  })
})

describe("everything on a tenant's data requires the tenant, and nothing else", () => {
  test("2: in the store", () => {
    const append = store.append({ ...stream, expectedVersion: 0, events: [] })
    const appendAll = store.appendAll([{ ...stream, expectedVersion: 0, events: [] }])
    expectTypeOf<Effect.Services<typeof append>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<Effect.Services<typeof appendAll>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<Effect.Services<ReturnType<typeof store.version>>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<Effect.Services<ReturnType<typeof store.exists>>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<Effect.Services<typeof store.position>>().toEqualTypeOf<Tenant.CurrentTenant>()
    const [read, log, json] = [
      store.readStream(stream),
      store.readLog({ aggregates: [Account] }),
      store.readLogJson({})
    ]
    expectTypeOf<StreamServices<typeof read>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<StreamServices<typeof log>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<StreamServices<typeof json>>().toEqualTypeOf<Tenant.CurrentTenant>()
  })

  test("2: in the repository and the registry", () => {
    const load = repository.load(Account, "1")
    const loadOrInitial = repository.loadOrInitial(Account, "1")
    const exists = repository.exists(Account, "1")
    const execute = repository.execute(Account, "1", () => [])
    const save = repository.save(Account, "1", { events: [], expectedVersion: 0 })
    expectTypeOf<Effect.Services<typeof load>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<Effect.Services<typeof loadOrInitial>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<Effect.Services<typeof exists>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<Effect.Services<typeof execute>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<Effect.Services<typeof save>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<Effect.Services<typeof registry.status>>().toEqualTypeOf<Tenant.CurrentTenant>()
  })

  test("and handling an event provides its tenant", () => {
    const handle = EventContext.whileHandling({} as Parameters<typeof EventContext.whileHandling>[0])(
      repository.load(Account, "1")
    )
    expectTypeOf<Effect.Services<typeof handle>>().toEqualTypeOf<never>()
  })
})

describe("looking across tenants", () => {
  test("requires AllTenants, and no tenant", () => {
    const logs = store.readAllLogsJson()
    expectTypeOf<StreamServices<typeof store.tenants>>().toEqualTypeOf<Tenant.AllTenants>()
    expectTypeOf<StreamServices<typeof logs>>().toEqualTypeOf<Tenant.AllTenants>()
    expectTypeOf<StreamServices<typeof registry.accesses>>().toEqualTypeOf<Tenant.AllTenants>()
    expectTypeOf<Effect.Services<ReturnType<typeof registry.suspend>>>().toEqualTypeOf<Tenant.AllTenants>()
    expectTypeOf<Effect.Services<ReturnType<typeof registry.resume>>>().toEqualTypeOf<Tenant.AllTenants>()
  })

  test("18: does not compile without it, nor with a tenant in its place", () => {
    // @ts-expect-error Type 'AllTenants' is not assignable to type 'never'.
    void (() => Effect.runPromise(registry.suspend(tenantId)))
    // @ts-expect-error Type 'AllTenants' is not assignable to type 'never'.
    void (() => Effect.runPromise(registry.suspend(tenantId).pipe(Tenant.provide(tenantId))))
    const access = { actor: "ada", reason: "audit" }
    void (() => Effect.runPromise(registry.suspend(tenantId).pipe(Tenant.provideAll(access))))
    // @ts-expect-error AllTenants is not a tenant either.
    void (() => Effect.runPromise(store.position.pipe(Tenant.provideAll(access))))
    // @ts-expect-error The reason is missing.
    Tenant.provideAll({ actor: "ada" })
  })
})

describe("a tenant id", () => {
  test("4: is assignable to a string, but a string is no tenant id", () => {
    // @ts-expect-error Decode it with Tenant.TenantId.
    Tenant.provide("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
    // @ts-expect-error Decode it with Tenant.TenantId.
    void registry.provision(String(tenantId))
    expectTypeOf(Tenant.provide(Tenant.TenantId.make(""))(Effect.void)).toEqualTypeOf<Effect.Effect<void>>()
    expectTypeOf<Tenant.TenantId>().toExtend<string>()
    expectTypeOf(Tenant.untenanted).toEqualTypeOf<Tenant.TenantId>()
    expectTypeOf<Effect.Success<typeof Tenant.generate>>().toEqualTypeOf<Tenant.TenantId>()
  })
})

declare const administration: AdministrationStorage.AdministrationStorage["Service"]

describe("administering tenants", () => {
  const access = { actor: "ada", reason: "contract ended" }
  // as the services of the lifecycle do
  const erase = Effect.flatMap(Tenant.TenantAdministration, (given) =>
    administration.recordAccess({ ...given, operation: "erase" })
  )

  test("does not compile without the permission, nor with a tenant or all tenants in its place", () => {
    expectTypeOf<Effect.Services<typeof erase>>().toEqualTypeOf<Tenant.TenantAdministration>()
    void (() => Effect.runPromise(erase.pipe(Tenant.provideAdministration(access))))
    // @ts-expect-error Type 'TenantAdministration' is not assignable to type 'never'.
    void (() => Effect.runPromise(erase))
    // @ts-expect-error A tenant is not the permission.
    void (() => Effect.runPromise(erase.pipe(Tenant.provide(tenantId))))
    // @ts-expect-error Neither is the permission to look across tenants.
    void (() => Effect.runPromise(erase.pipe(Tenant.provideAll(access))))
    // @ts-expect-error Nor does the permission allow to look across tenants.
    void (() => Effect.runPromise(registry.suspend(tenantId).pipe(Tenant.provideAdministration(access))))
    // @ts-expect-error The reason is missing.
    void erase.pipe(Tenant.provideAdministration({ actor: "ada" }))
  })

  test("is required by erasure, by nothing else", () => {
    type Erasure = TenantErasure.TenantErasure["Service"]
    for (const method of ["erase", "undo", "finish", "status", "release"] as const)
      expectTypeOf<
        Effect.Services<ReturnType<Erasure[typeof method]>>
      >().toEqualTypeOf<Tenant.TenantAdministration>()
    expectTypeOf<
      Effect.Services<ReturnType<Erasure["schedule"]>>
    >().toEqualTypeOf<Tenant.TenantAdministration>()
    expectTypeOf<Effect.Services<ReturnType<Erasure["hold"]>>>().toEqualTypeOf<Tenant.TenantAdministration>()
  })
})

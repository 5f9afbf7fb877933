/** Actions that need more than a driver: a runner, a key vault, several databases; and the types of actions. */
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Effect, Layer, Schema, Stream } from "effect"
import {
  Aggregate,
  EventSourcing,
  EventStore,
  Forgetting,
  KeyVault,
  MemoryStorage,
  Personal,
  Projection,
  ProjectionRunner,
  Tenant
} from "effect-eventsourcing"
import { Actions, Acts, Operations } from "effect-eventsourcing/operations"
import { Canary } from "effect-eventsourcing/testing"
import type { EventStorage } from "../../src/driver/EventStorage.ts"
import { append, events, newTenant, stream } from "../../src/testing/driver/eventKit.ts"
import { homes, makeWorld, program, recordsOf, Stop } from "../support/moving.ts"
import { last, recordedOf } from "../../src/testing/operations/actingKit.ts"
import { at, atAll } from "../../src/testing/operations/kit.ts"

const Registered = Schema.TaggedStruct("Registered", {
  email: Personal.make(Schema.String, Personal.aggregateId)
})

const Customer = Aggregate.make(
  "Customer",
  {
    id: Schema.String,
    state: Schema.Struct({ email: Personal.orForgotten(Schema.String) }),
    initial: { email: "" },
    events: [Registered]
  },
  { Registered: (_, { email }) => ({ email }) }
)

const handled = new Map<string, number>()

const Customers = Projection.make(
  "customers",
  { aggregates: [Customer], tables: ["customers"], forgotten: "keepsNone" },
  {
    Registered: (_, { tenantId }) =>
      Effect.sync(() => void handled.set(tenantId, (handled.get(tenantId) ?? 0) + 1))
  }
)

const storage = Forgetting.layer.pipe(
  Layer.provide(KeyVault.layerMemory),
  Layer.provideMerge(MemoryStorage.layer)
)

const App = Layer.mergeAll(
  Actions.layer({ projections: [Customers] }),
  Operations.layer({ aggregates: [Customer], projections: [Customers] }),
  ProjectionRunner.layer({ projections: [Customers] })
).pipe(Layer.provideMerge(EventSourcing.layer), Layer.provideMerge(storage))

const register = (tenantId: Tenant.TenantId, id: string) =>
  EventStore.EventStore.use((store) =>
    store.append({
      aggregate: Customer,
      id,
      events: [Registered.make({ email: `${id}@example.com` })],
      expectedVersion: "noStream"
    })
  ).pipe(Tenant.provide(tenantId))

describe("actions of a program", () => {
  it.live("rebuild a projection of one tenant and of all, with progress, and count before", () =>
    Effect.gen(function* () {
      const act = yield* Actions.Actions
      const runner = yield* ProjectionRunner.ProjectionRunner
      const [tenant, other] = [yield* Tenant.generate, yield* Tenant.generate]
      for (const id of ["ada", "bob", "eve"]) yield* register(tenant, id)
      yield* register(other, "ada")
      yield* runner.drain
      const projection = "customers"
      const dry = yield* last(act.rebuild({ projection, dryRun: true })).pipe(at(tenant))
      assert.deepInclude(dry.counts, { tenants: 1, projections: 1, events: 3 })
      assert.deepInclude((yield* last(act.rebuildAll({ projection, dryRun: true })).pipe(atAll)).counts, {
        tenants: 2,
        events: 4
      })
      yield* runner.drain
      assert.deepStrictEqual([handled.get(tenant), handled.get(other)], [3, 1])
      const rebuilt = yield* last(act.rebuild({ projection })).pipe(at(tenant))
      assert.deepInclude(rebuilt.counts, { tenants: 1, events: 3 })
      assert.deepStrictEqual([handled.get(tenant), handled.get(other)], [6, 1])
      const all = yield* Stream.runCollect(act.rebuildAll({ projection })).pipe(atAll)
      assert.deepInclude(all.at(-1)?.result?.counts, { tenants: 2, events: 4 })
      assert.deepStrictEqual([handled.get(tenant), handled.get(other)], [9, 2])
      assert.isFalse((yield* act.cancelRebuild({ projection }).pipe(at(tenant))).changed)
      assert.isFalse((yield* act.cancelRebuildAll({ projection }).pipe(atAll)).changed)
      const error = yield* Effect.flip(last(act.rebuild({ projection, version: 7 })).pipe(at(tenant)))
      assert.strictEqual(error._tag, "ActionUnavailable")
    }).pipe(Effect.provide(App))
  )

  it.live("forget, hold and allow a person again, whom the record does not name", () =>
    Effect.gen(function* () {
      const act = yield* Actions.Actions
      const subject = Canary.make().secret
      const [tenant, other] = [yield* Tenant.generate, yield* Tenant.generate]
      for (const one of [tenant, other]) yield* register(one, subject)
      const look = (one: Tenant.TenantId) =>
        Operations.Operations.use((operations) => operations.subjects()).pipe(
          at(one),
          Effect.map(({ subjects }) => subjects.find((found) => found.subject === subject))
        )
      assert.deepInclude((yield* act.forget({ subject, dryRun: true }).pipe(at(tenant))).counts, {
        subjects: 1
      })
      assert.isUndefined(yield* look(tenant))
      yield* act.holdSubject({ subject }).pipe(at(tenant))
      for (const dryRun of [true, false]) {
        const error = yield* Effect.flip(act.forget({ subject, dryRun })).pipe(at(tenant))
        assert.deepInclude({ ...error }, { _tag: "ActionRefused", error: "SubjectHeld" })
      }
      assert.isTrue((yield* act.releaseSubject({ subject }).pipe(at(tenant))).changed)
      const forgotten = yield* act.forget({ subject }).pipe(at(tenant))
      assert.isTrue(forgotten.changed)
      const found = yield* look(tenant)
      assert.strictEqual(found?.forgotten?.forgetting, forgotten.details["forgetting"])
      assert.deepInclude(found?.forgotten, { actor: "operator", reason: "contract" })
      assert.isUndefined(yield* look(other))
      assert.isFalse((yield* act.forget({ subject, dryRun: true }).pipe(at(tenant))).changed)
      assert.isTrue((yield* act.allowAgain({ subject }).pipe(at(tenant))).changed)
      assert.isNotNull((yield* look(tenant))?.forgotten?.allowedAgainAt)
      const records = yield* recordedOf(tenant)
      assert.lengthOf(records, 8)
      Canary.assertAbsent([Canary.of(subject)], records)
    }).pipe(Effect.provide(App))
  )

  it("need the tenant and the operator, or all tenants, and their layer needs no tenant", () => {
    type Service = Actions.Actions["Service"]
    expectTypeOf<Effect.Services<ReturnType<Service["setQuota"]>>>().toEqualTypeOf<
      Tenant.CurrentTenant | Tenant.TenantAdministration
    >()
    expectTypeOf<Stream.Services<ReturnType<Service["erase"]>>>().toEqualTypeOf<
      Tenant.CurrentTenant | Tenant.TenantAdministration
    >()
    expectTypeOf<Effect.Services<ReturnType<Service["retire"]>>>().toEqualTypeOf<Tenant.AllTenants>()
    Tenant.withoutTenant(Actions.layer())
  })

  it("have requests and answers that are JSON", () => {
    const progress: Acts.Progress = {
      accessId: "1",
      step: "erased",
      unit: "rows",
      done: 3,
      total: null,
      result: null
    }
    assert.deepStrictEqual(Schema.encodeSync(Acts.Progress)(progress), progress)
    const decode = Schema.decodeUnknownSync(Acts.SetQuota)
    assert.deepStrictEqual(decode({ quota: { events: 5 } }), { quota: { events: 5 } })
    assert.throws(() => decode({ quota: { events: 0 } }))
    assert.throws(() => Schema.decodeUnknownSync(Acts.Erase)({ delayMillis: -1 }))
  })
})

describe("moves of an operator", () => {
  it.live("go to another database with progress, are seen on the way, and are called off", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld({ one: MemoryStorage.layer, two: MemoryStorage.layer })
      const tenant = newTenant()
      world.entries.set(tenant, "one")
      /** A program in a process of its own; one that is stopped dies after it has begun the copy. */
      const running = <A, E>(
        run: Effect.Effect<A, E, Actions.Actions | Operations.Operations | EventStorage>,
        stop?: Stop
      ) =>
        Effect.provide(
          run,
          Layer.mergeAll(Actions.layer(), Operations.layer()).pipe(
            Layer.provideMerge(program(world, { stop }))
          ),
          { local: true }
        )
      const move = (dryRun: boolean) =>
        Actions.Actions.use((act) => last(act.move({ to: "two", dryRun }))).pipe(at(tenant))
      const seen = Operations.Operations.use((operations) => operations.move).pipe(at(tenant))
      yield* running(append(tenant, stream("1", events(30))))
      assert.deepInclude((yield* running(move(true))).counts, { tenants: 1, events: 30 })
      assert.deepStrictEqual(yield* homes(world, tenant), ["one"])
      assert.strictEqual((yield* recordsOf(world, tenant)).size, 1)

      yield* Effect.exit(running(move(false), new Stop("killAfter", "beginImport")))
      assert.deepInclude(yield* running(seen), {
        from: "one",
        to: "two",
        step: "copying",
        end: 30,
        copied: 0
      })
      const abort = Actions.Actions.use((act) => act.abortMove()).pipe(at(tenant))
      assert.deepInclude((yield* running(abort)).details, { from: "one", to: "two", step: "copying" })
      assert.isUndefined(yield* running(seen))
      const refused = yield* Effect.flip(running(abort))
      assert.deepInclude({ ...refused }, { _tag: "ActionRefused", error: "MoveRefused" })

      yield* Effect.exit(running(move(false), new Stop("killAfter", "beginImport")))
      const resume = (dryRun: boolean) =>
        Actions.Actions.use((act) => last(act.resumeMove({ dryRun }))).pipe(at(tenant))
      assert.deepInclude((yield* running(resume(true))).counts, { events: 30 })
      const resumed = yield* running(resume(false))
      assert.deepInclude(resumed.details, { from: "one", to: "two", removed: true })
      assert.deepInclude(resumed.counts, { tenants: 1, events: 30 })
      assert.deepStrictEqual(yield* homes(world, tenant), ["two"])
      const records = yield* running(recordedOf(tenant))
      assert.deepStrictEqual(
        records.map(({ operation, outcome }) => [operation.split(" ")[0], outcome?.status]).slice(0, 2),
        [
          ["Actions.resumeMove", "succeeded"],
          ["Actions.resumeMove", "succeeded"]
        ]
      )
    })
  )
})

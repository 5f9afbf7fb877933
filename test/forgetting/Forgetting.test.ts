/** A person that was forgotten stays so: in every process, after a kill at any step, and after a restore. */
import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Exit, Layer } from "effect"
import { AdministrationStorage, EventStorage, KeyVault, StoreError, Tenant } from "effect-eventsourcing"
import { begun, change, rawEvents } from "../../src/testing/driver/administrationKit.ts"
import { event, newTenant } from "../../src/testing/driver/eventKit.ts"
import { flipped } from "../../src/testing/failures.ts"
import { backends } from "../support/backends.ts"
import { type Process, processOn, type Storages } from "../support/forgettingOn.ts"

const officer = { actor: "officer", reason: "test" }

/** Runs a method of forgetting for a tenant. */
const by =
  (tenantId: Tenant.TenantId) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(Tenant.provideAdministration(officer), Tenant.provide(tenantId))

const newVault = Effect.map(Layer.build(Layer.fresh(KeyVault.layerMemory)), (context) =>
  Context.get(context, KeyVault.KeyVault)
)

const subject = "ada"
const plain = '{"name":"Ada Lovelace"}'
const gone = '{"name":{"$forgotten":true}}'

const write = ({ events }: Process, tenantId: Tenant.TenantId) =>
  events.append({
    tenantId,
    streams: [
      {
        aggregateType: "Customer",
        aggregateId: "1",
        expectedVersion: "any",
        events: [event({ payload: plain, personal: [{ path: ["name"], subject }] })]
      }
    ]
  })

/** The payloads of the customer, as a process reads them. */
const read = ({ events }: Process, tenantId: Tenant.TenantId) =>
  Effect.map(
    events.loadStream({
      tenantId,
      aggregateType: "Customer",
      aggregateId: "1",
      fromVersion: 1,
      toVersion: 100,
      limit: 100
    }),
    ({ rows }) => rows.map(({ payload }) => payload)
  )

/** The types of the events in the log below. */
const logOf = (tenantId: Tenant.TenantId) =>
  Effect.map(rawEvents(tenantId), (rows) => rows.map(({ eventType }) => eventType))

const killed = new StoreError.StorageUnavailable({
  reason: new StoreError.OtherFailure({ operation: "test", retryable: false, code: "killed" })
})

/** Counts calls, and kills the one with a number: before it has done anything, or right behind. */
class Faults {
  calls = 0
  killAt = Infinity
  behind = false

  wrap<S extends object>(service: S): S {
    return new Proxy(service, {
      get: (target, name, receiver) => {
        const member: unknown = Reflect.get(target, name, receiver)
        if (typeof member !== "function") return member
        return (...given: ReadonlyArray<unknown>) => {
          const effect: unknown = Reflect.apply(member, target, given)
          if (!Effect.isEffect(effect)) return effect
          return Effect.suspend(() => {
            this.calls++
            if (this.calls < this.killAt) return effect
            return this.behind && this.calls === this.killAt
              ? Effect.andThen(effect, Effect.fail(killed))
              : Effect.fail(killed)
          })
        }
      }
    })
  }
}

for (const backend of backends) {
  layer(backend.layer, { excludeTestServices: true })(`forgetting on ${backend.name}`, (it) => {
    const storages = Effect.context<Storages>()

    it.effect("another process neither shows nor appends data of a person from then on", () =>
      Effect.gen(function* () {
        const vault = yield* newVault
        const here = yield* processOn(yield* storages, vault)
        const there = yield* processOn(yield* storages, vault)
        const [tenant, other] = [newTenant(), newTenant()]
        for (const tenantId of [tenant, other]) {
          yield* write(here, tenantId)
          yield* write(there, tenantId)
          assert.deepStrictEqual(yield* read(there, tenantId), [plain, plain])
        }
        const row = yield* by(tenant)(here.forgetting.forget(subject, { reason: "request" }))
        assert.containSubset(row, { subject, forgotten: { number: 1, actor: "officer", reason: "request" } })
        for (const process of [here, there]) {
          assert.deepStrictEqual(yield* read(process, tenant), [gone, gone])
          const refused = yield* flipped(write(process, tenant))
          assert.containSubset(refused, { _tag: "InvalidEvent", path: ["payload", "name"] })
        }
        // the same id in another tenant is another person
        assert.deepStrictEqual(yield* read(there, other), [plain, plain])
        yield* write(there, other)
        assert.deepStrictEqual(yield* logOf(tenant), ["Happened", "Happened", "SubjectForgotten"])
        // asked again, nothing changes
        yield* by(tenant)(there.forgetting.forget(subject, { reason: "again" }))
        assert.lengthOf(yield* logOf(tenant), 3)
        assert.lengthOf(yield* vault.fences({ tenantId: tenant }), 1)
        assert.lengthOf(yield* vault.fences({ tenantId: other }), 0)
      }).pipe(Effect.scoped)
    )

    it.effect("an append that was sealed with a cached key is refused, though it comes without a read", () =>
      Effect.gen(function* () {
        const vault = yield* newVault
        const here = yield* processOn(yield* storages, vault)
        const there = yield* processOn(yield* storages, vault)
        const tenant = newTenant()
        yield* write(there, tenant)
        yield* write(there, tenant)
        yield* by(tenant)(here.forgetting.forget(subject, { reason: "request" }))
        assert.strictEqual((yield* flipped(write(there, tenant)))._tag, "InvalidEvent")
        assert.deepStrictEqual(yield* logOf(tenant), ["Happened", "Happened", "SubjectForgotten"])
      }).pipe(Effect.scoped)
    )

    it.effect("a run that was killed at any call is carried on by the next one, or ended by catchUp", () =>
      Effect.gen(function* () {
        const below = yield* storages
        for (const [behind, carriedOnBy] of [
          [false, "forget"],
          [true, "forget"],
          [false, "catchUp"],
          [true, "catchUp"]
        ] as const) {
          let ended = false
          for (let killAt = 1; !ended; killAt++) {
            assert.isBelow(killAt, 30)
            const vault = yield* newVault
            const tenant = newTenant()
            const there = yield* processOn(below, vault)
            yield* write(there, tenant)
            const faults = new Faults()
            const broken = yield* processOn(
              below.pipe(
                Context.add(
                  EventStorage.EventStorage,
                  faults.wrap(Context.get(below, EventStorage.EventStorage))
                ),
                Context.add(
                  AdministrationStorage.AdministrationStorage,
                  faults.wrap(Context.get(below, AdministrationStorage.AdministrationStorage))
                )
              ),
              faults.wrap(vault)
            )
            faults.killAt = killAt
            faults.behind = behind
            const exit = yield* Effect.exit(
              by(tenant)(broken.forgetting.forget(subject, { reason: "request" }))
            )
            ended = Exit.isSuccess(exit)
            const next = yield* processOn(below, vault)
            const label = `${killAt} ${behind ? "behind" : "before"}`
            if (carriedOnBy === "forget")
              yield* by(tenant)(next.forgetting.forget(subject, { reason: "request" }))
            else {
              yield* by(tenant)(next.forgetting.catchUp)
              // Nobody is forgotten before the fence.
              if ((yield* vault.fences({ tenantId: tenant })).length === 0) {
                assert.deepStrictEqual(yield* read(there, tenant), [plain], label)
                continue
              }
              assert.strictEqual(yield* by(tenant)(next.forgetting.catchUp), 0, label)
            }
            assert.deepStrictEqual(yield* read(there, tenant), [gone], label)
            assert.deepStrictEqual(yield* logOf(tenant), ["Happened", "SubjectForgotten"], label)
            const fences = yield* vault.fences({ tenantId: tenant })
            assert.lengthOf(fences, 1, label)
            const storage = Context.get(below, EventStorage.EventStorage)
            const known = yield* storage.forgottenSubjects({ tenantId: tenant, after: 0 })
            assert.deepStrictEqual(
              [known.forgotten, known.subjects.map(({ forgetting }) => forgetting)],
              [1, fences.map(({ forgetting }) => forgetting)],
              label
            )
          }
        }
      }).pipe(Effect.scoped)
    )

    it.effect("forgets nobody while the vault does not answer", () =>
      Effect.gen(function* () {
        const vault = yield* newVault
        const faults = new Faults()
        const process = yield* processOn(yield* storages, faults.wrap(vault))
        const tenant = newTenant()
        yield* write(process, tenant)
        faults.killAt = 0
        const failed = yield* flipped(by(tenant)(process.forgetting.forget(subject, { reason: "request" })))
        assert.strictEqual(failed._tag, "StorageUnavailable")
        faults.killAt = Infinity
        assert.deepStrictEqual(yield* read(process, tenant), [plain])
        assert.deepStrictEqual(yield* logOf(tenant), ["Happened"])
      }).pipe(Effect.scoped)
    )

    it.effect("does not forget a person under a legal hold until it is released", () =>
      Effect.gen(function* () {
        const vault = yield* newVault
        const process = yield* processOn(yield* storages, vault)
        const tenant = newTenant()
        yield* write(process, tenant)
        yield* by(tenant)(process.forgetting.hold(subject, "lawsuit"))
        const held = yield* flipped(by(tenant)(process.forgetting.forget(subject, { reason: "request" })))
        assert.containSubset(held, { _tag: "SubjectHeld", reason: "lawsuit" })
        assert.deepStrictEqual(yield* read(process, tenant), [plain])
        assert.lengthOf(yield* vault.fences({ tenantId: tenant }), 0)
        yield* by(tenant)(process.forgetting.release(subject))
        yield* by(tenant)(process.forgetting.forget(subject, { reason: "request" }))
        assert.deepStrictEqual(yield* read(process, tenant), [gone])
      }).pipe(Effect.scoped)
    )

    it.effect("records each use with the actor and the reason of the caller", () =>
      Effect.gen(function* () {
        const vault = yield* newVault
        const below = yield* storages
        const operations: Array<string> = []
        const administration = Context.get(below, AdministrationStorage.AdministrationStorage)
        const noted: typeof administration = {
          ...administration,
          recordAccess: (access) => {
            if (access.actor === "officer") operations.push(`${access.reason}: ${access.operation}`)
            return administration.recordAccess(access)
          }
        }
        const { forgetting } = yield* processOn(
          Context.add(below, AdministrationStorage.AdministrationStorage, noted),
          vault
        )
        const tenant = newTenant()
        yield* write(yield* processOn(below, vault), tenant)
        assert.strictEqual(yield* by(tenant)(forgetting.catchUp), 0)
        yield* by(tenant)(forgetting.hold("bob", "lawsuit"))
        yield* by(tenant)(forgetting.release("bob"))
        yield* by(tenant)(forgetting.forget(subject, { reason: "request" }))
        yield* by(tenant)(forgetting.allowAgain(subject))
        assert.deepStrictEqual(
          operations,
          ["catchUp", "hold", "release", "forget", "allowAgain"].map(
            (name) => `test: Forgetting.${name} ${tenant}`
          )
        )
      }).pipe(Effect.scoped)
    )

    it.effect("a person that is allowed again gets a new key, and earlier data stay forgotten", () =>
      Effect.gen(function* () {
        const vault = yield* newVault
        const here = yield* processOn(yield* storages, vault)
        const there = yield* processOn(yield* storages, vault)
        const tenant = newTenant()
        yield* write(here, tenant)
        yield* by(tenant)(here.forgetting.forget(subject, { reason: "request" }))
        yield* by(tenant)(here.forgetting.allowAgain(subject))
        yield* write(there, tenant)
        for (const process of [here, there])
          assert.deepStrictEqual(yield* read(process, tenant), [gone, plain])
        yield* by(tenant)(there.forgetting.forget(subject, { reason: "again" }))
        for (const process of [here, there])
          assert.deepStrictEqual(yield* read(process, tenant), [gone, gone])
        const after = yield* processOn(yield* storages, vault)
        assert.strictEqual(yield* by(tenant)(after.forgetting.catchUp), 0)
      }).pipe(Effect.scoped)
    )
  })

  describe(`a restored storage on ${backend.name}`, () => {
    layer(Layer.merge(backend.layer, Layer.empty), { excludeTestServices: true })("from a backup", (it) => {
      it.effect("forgets again before the first read what the vault has as forgotten", () =>
        Effect.gen(function* () {
          const below = yield* Effect.context<Storages>()
          const vault = yield* newVault
          const process = yield* processOn(below, vault)
          const tenant = newTenant()
          yield* write(process, tenant)
          const backup = yield* rawEvents(tenant)
          for (const one of [subject, "bob"])
            yield* by(tenant)(process.forgetting.forget(one, { reason: "request" }))
          yield* by(tenant)(process.forgetting.allowAgain("bob"))
          const restored = yield* Layer.build(Layer.fresh(backend.layer))
          yield* Effect.gen(function* () {
            const token = yield* begun(tenant, backup)
            yield* change(tenant, {
              change: "finishImport",
              token,
              head: 1,
              chainedFrom: undefined,
              status: "active"
            })
            const first = yield* processOn(restored, vault)
            assert.deepStrictEqual(yield* read(first, tenant), [gone])
            assert.deepStrictEqual(yield* logOf(tenant), ["Happened", "SubjectForgotten", "SubjectForgotten"])
            const { forgotten, subjects } = yield* first.events.forgottenSubjects({
              tenantId: tenant,
              after: 0
            })
            assert.strictEqual(forgotten, 2)
            assert.deepStrictEqual(
              subjects.map((known) => [known.subject, known.allowedAgainAt !== undefined]),
              [
                [subject, false],
                ["bob", true]
              ]
            )
            assert.strictEqual(yield* by(tenant)(first.forgetting.catchUp), 0)
          }).pipe(Effect.provideContext(restored))
        }).pipe(Effect.scoped)
      )
    })
  })
}

/** The fingerprint of a command tells nothing of its content, if it may be personal, and still tells one command from another. */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import {
  Aggregate,
  EventSourcing,
  EventStorage,
  Forgetting,
  KeyVault,
  MemoryStorage,
  Personal,
  Repository,
  Tenant
} from "effect-eventsourcing"
import { createHash } from "node:crypto"
import { canonicalJson } from "../../src/internal/canonicalJson.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { flipped } from "../../src/testing/failures.ts"

const Registered = Schema.TaggedStruct("Registered", {
  name: Personal.make(Schema.String, Personal.aggregateId)
})
const Opened = Schema.TaggedStruct("Opened", { name: Schema.String })

const Customer = Aggregate.make(
  "Customer",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Registered] },
  { Registered: (count) => count + 1 }
)
const Account = Aggregate.make(
  "Account",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Opened] },
  { Opened: (count) => count + 1 }
)

type Storages = Layer.Success<typeof MemoryStorage.layer>

const processOn = (storages: Context.Context<Storages>, vault: Context.Context<KeyVault.KeyVault>) =>
  Layer.build(
    Layer.fresh(EventSourcing.layer).pipe(
      Layer.provide(Layer.fresh(Forgetting.layer)),
      Layer.provide(Layer.merge(Layer.succeedContext(storages), Layer.succeedContext(vault)))
    )
  )

const register = (name: string, key = "1") =>
  Repository.Repository.use((repository) =>
    repository.execute(Customer, "ada", () => [Registered.make({ name })], {
      command: { key, content: { name } }
    })
  )

/** The stored fingerprint of a command. */
const stored = (tenantId: Tenant.TenantId, key = "1") =>
  Effect.map(
    EventStorage.EventStorage.use((storage) => storage.commandOutcome({ tenantId, key })),
    (row) => row?.fingerprint
  )

const plainOf = (aggregate: string, id: string, name: string) =>
  createHash("sha256")
    .update(canonicalJson([aggregate, id, { name }]))
    .digest("hex")

layer(MemoryStorage.layer)("the fingerprint of a command", (it) => {
  it.effect("of personal content is no hash that can be computed without a key of the tenant", () =>
    Effect.gen(function* () {
      const storages = yield* Effect.context<Storages>()
      const vault = yield* Layer.build(Layer.fresh(KeyVault.layerMemory))
      const [one, other] = [yield* processOn(storages, vault), yield* processOn(storages, vault)]
      const [mine, theirs] = [newTenant(), newTenant()]
      for (const tenantId of [mine, theirs]) {
        const first = yield* register("Ada Lovelace").pipe(
          Tenant.provide(tenantId),
          Effect.provideContext(one)
        )
        assert.isFalse(first.replayed)
        // Another process has the same key.
        const again = yield* register("Ada Lovelace").pipe(
          Tenant.provide(tenantId),
          Effect.provideContext(other)
        )
        assert.isTrue(again.replayed)
        for (const process of [one, other]) {
          const conflict = yield* flipped(
            register("Grace Hopper").pipe(Tenant.provide(tenantId), Effect.provideContext(process))
          )
          assert.containSubset(conflict, { _tag: "CommandKeyConflict", key: "1" })
        }
      }
      const prints = [yield* stored(mine), yield* stored(theirs)]
      for (const print of prints) {
        assert.match(print ?? "", /^[0-9a-f]{64}$/)
        assert.notStrictEqual(print, plainOf("Customer", "ada", "Ada Lovelace"))
      }
      assert.notStrictEqual(prints[0], prints[1])

      // It stays when a person is forgotten, so that a repeated command is still told from another one.
      yield* Forgetting.Forgetting.use((forgetting) => forgetting.forget("bob", { reason: "asked" })).pipe(
        Tenant.provideAdministration({ actor: "dpo", reason: "test" }),
        Tenant.provide(mine),
        Effect.provide(Layer.fresh(Forgetting.layer)),
        Effect.provideContext(Context.merge(storages, vault))
      )
      const later = yield* register("Ada Lovelace").pipe(Tenant.provide(mine), Effect.provideContext(one))
      assert.isTrue(later.replayed)
    }).pipe(Effect.scoped)
  )

  it.effect("of an aggregate without personal fields needs no key of the vault", () =>
    Effect.gen(function* () {
      const storages = yield* Effect.context<Storages>()
      const calls: Array<string> = []
      const silent = new Proxy({} as KeyVault.KeyVault["Service"], {
        get: (_, name) => () => {
          calls.push(String(name))
          return Effect.die(new Error("not needed"))
        }
      })
      const process = yield* processOn(storages, Context.make(KeyVault.KeyVault, silent))
      const tenantId = newTenant()
      yield* Repository.Repository.use((repository) =>
        repository.execute(Account, "1", () => [Opened.make({ name: "Ada" })], {
          command: { key: "1", content: { name: "Ada" } }
        })
      ).pipe(Tenant.provide(tenantId), Effect.provideContext(process))
      assert.strictEqual(yield* stored(tenantId), plainOf("Account", "1", "Ada"))
      assert.deepStrictEqual(calls, [])
    }).pipe(Effect.scoped)
  )
})

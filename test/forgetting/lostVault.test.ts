/** A key vault that is lost, silent, cut off or restored from a backup, seen from the events. */
import { assert, describe, it } from "@effect/vitest"
import { Config, Context, Effect, Layer, Redacted } from "effect"
import { KeyVault, MemoryStorage, StoreError, Tenant } from "effect-eventsourcing"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { event, newTenant } from "../../src/testing/driver/eventKit.ts"
import { flipped } from "../../src/testing/failures.ts"
import { type Process, processOn, type Storages, type Vault } from "../support/forgettingOn.ts"
import { layerFiles } from "../support/nodeFiles.ts"
import { newRootKey } from "../support/vaultDatabases.ts"

const newPath = Effect.map(
  Effect.acquireRelease(
    Effect.promise(() => fs.mkdtemp(Path.join(tmpdir(), "vault-"))),
    (path) => Effect.promise(() => fs.rm(path, { recursive: true }))
  ),
  (folder) => Path.join(folder, "keys")
)

const by =
  (tenantId: Tenant.TenantId) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(Tenant.provideAdministration({ actor: "officer", reason: "test" }), Tenant.provide(tenantId))

const openVault = (path: string, key: string) =>
  Effect.map(
    Layer.build(
      Layer.fresh(
        KeyVault.layerFile({ path, key: Config.succeed(Redacted.make(key)), createIfMissing: true })
      ).pipe(Layer.provide(layerFiles()))
    ),
    (context) => Context.get(context, KeyVault.KeyVault)
  )

/** A process of its own on the storages of the test. */
const start = Effect.fnUntraced(function* (vault: Vault) {
  return yield* processOn(yield* Effect.context<Storages>(), vault)
})

const write = ({ events }: Process, tenantId: Tenant.TenantId, subject = "ada") =>
  events.append({
    tenantId,
    streams: [
      {
        aggregateType: "Customer",
        aggregateId: "1",
        expectedVersion: "any",
        events: [event({ payload: '{"name":"Ada"}', personal: [{ path: ["name"], subject }] })]
      }
    ]
  })

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

const plain = '{"name":"Ada"}'
const gone = '{"name":{"$forgotten":true}}'

describe("a key vault that", () => {
  it.effect("does not answer leaves reads and appends unavailable, and nobody forgotten", () =>
    Effect.gen(function* () {
      const vault = Context.get(yield* Layer.build(Layer.fresh(KeyVault.layerMemory)), KeyVault.KeyVault)
      const tenantId = newTenant()
      yield* write(yield* start(vault), tenantId)
      const silent = new StoreError.StorageUnavailable({
        reason: new StoreError.KeyVaultFailed({
          operation: "test",
          code: "Silent",
          retryable: true,
          remedy: "wait"
        })
      })
      const failing = new Proxy(vault, { get: () => () => Effect.fail(silent) })
      const process = yield* start(failing)
      for (const attempt of [
        read(process, tenantId),
        write(process, tenantId),
        by(tenantId)(process.forgetting.forget("ada", { reason: "asked" })),
        by(tenantId)(process.forgetting.catchUp)
      ]) {
        const error: unknown = yield* flipped(attempt as Effect.Effect<unknown, unknown>)
        assert.instanceOf(error, StoreError.StorageUnavailable)
        assert.instanceOf(error.reason, StoreError.KeyVaultFailed)
        assert.isTrue(error.retryable)
      }
      // A process that knows the tenant's fences, and asks for keys only.
      for (const silenced of ["keysOf", "currentKeys"] as const) {
        const partly = yield* start({ ...vault, [silenced]: () => Effect.fail(silent) })
        const attempt = silenced === "keysOf" ? read(partly, tenantId) : write(partly, tenantId)
        const error: unknown = yield* flipped(attempt as Effect.Effect<unknown, unknown>)
        assert.instanceOf(error, StoreError.StorageUnavailable)
        assert.instanceOf(error.reason, StoreError.KeyVaultFailed)
      }
      assert.deepStrictEqual(yield* read(yield* start(vault), tenantId), [plain])
    }).pipe(Effect.scoped, Effect.provide(Layer.fresh(MemoryStorage.layer)))
  )

  it.effect("lacks the keys of stored events is an error that names the key, and is not written to", () =>
    Effect.gen(function* () {
      const [path, key, tenantId] = [yield* newPath, newRootKey(), newTenant()]
      yield* write(yield* start(yield* openVault(path, key)), tenantId)
      const text = yield* Effect.promise(() => fs.readFile(path, "utf8"))
      const lines = text.split("\n")
      // Cut off behind its first line, as by an old backup.
      const cut = lines.slice(0, lines.findIndex((line) => line !== "") + 1).join("\n") + "\n"
      yield* Effect.promise(() => fs.writeFile(path, cut))
      const process = yield* start(yield* openVault(path, key))
      for (let attempt = 0; attempt < 2; attempt++) {
        const error = yield* flipped(read(process, tenantId))
        assert.instanceOf(error, StoreError.StorageUnavailable)
        assert.instanceOf(error.reason, StoreError.KeyMissing)
        assert.include(error.message, "restore its newest backup; nothing was overwritten")
      }
      assert.strictEqual(yield* Effect.promise(() => fs.readFile(path, "utf8")), cut)
      yield* Effect.promise(() => fs.writeFile(path, text))
      assert.deepStrictEqual(yield* read(yield* start(yield* openVault(path, key)), tenantId), [plain])
    }).pipe(Effect.scoped, Effect.provide(Layer.fresh(MemoryStorage.layer)))
  )

  it.effect(
    "was restored from a backup forgets again before the first read what the storage has as forgotten",
    () =>
      Effect.gen(function* () {
        const [path, key, tenantId] = [yield* newPath, newRootKey(), newTenant()]
        const first = yield* start(yield* openVault(path, key))
        yield* write(first, tenantId)
        yield* write(first, tenantId, "bob")
        const backup = yield* Effect.promise(() => fs.readFile(path))
        for (const subject of ["ada", "bob"])
          yield* by(tenantId)(first.forgetting.forget(subject, { reason: "asked" }))
        yield* by(tenantId)(first.forgetting.allowAgain("bob"))
        yield* Effect.promise(() => fs.writeFile(path, backup))

        const vault = yield* openVault(path, key)
        const next = yield* start(vault)
        assert.deepStrictEqual(yield* read(next, tenantId), [gone, gone])
        const fences = yield* vault.fences({ tenantId })
        assert.deepStrictEqual(
          fences.map(({ allowedAgainAt, subject }) => [subject, allowedAgainAt !== undefined]),
          [
            ["ada", false],
            ["bob", true]
          ]
        )
        assert.strictEqual(yield* by(tenantId)(next.forgetting.catchUp), 0)
        yield* write(next, tenantId, "bob")
        assert.deepStrictEqual(yield* read(next, tenantId), [gone, gone, plain])
        assert.instanceOf(yield* flipped(write(next, tenantId, "ada")), StoreError.InvalidEvent)
      }).pipe(Effect.scoped, Effect.provide(Layer.fresh(MemoryStorage.layer)))
  )
})

/** Personal fields are stored as ciphertext that opens only at its place, with the keys of its person. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Result } from "effect"
import { TestClock } from "effect/testing"
import {
  AdministrationStorage,
  EventStorage,
  Forgetting,
  KeyVault,
  MemoryStorage,
  SnapshotStorage,
  StoreError,
  Tenant
} from "effect-eventsourcing"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import {
  append,
  event,
  loadStream,
  newTenant,
  readLog,
  readStream,
  stream
} from "../../src/testing/driver/eventKit.ts"
import { newKey, snapshot } from "../../src/testing/driver/snapshotKit.ts"

const { KeyMissing, KeyVaultFailed, SealBroken, StorageUnavailable } = StoreError
type Storage = EventStorage.EventStorage["Service"]

/** A storage and a vault. Each process has its own layer over them. */
const parts = Layer.build(Layer.merge(MemoryStorage.layer, KeyVault.layerMemory))

/** The administration of each storage, which forgets again what only the vault has as forgotten. */
const administrations = new WeakMap<Storage, Layer.Layer<AdministrationStorage.AdministrationStorage>>()

const processOn = (storage: Storage, vault: KeyVault.KeyVault["Service"], options: Forgetting.Options = {}) =>
  Effect.map(
    Layer.build(
      Layer.fresh(Forgetting.layerWith(options)).pipe(
        Layer.provide(Layer.succeed(EventStorage.EventStorage, storage)),
        Layer.provide(administrations.get(storage) ?? Layer.fresh(MemoryStorage.layer)),
        Layer.provide(Layer.fresh(MemoryStorage.layer)),
        Layer.provide(Layer.succeed(KeyVault.KeyVault, vault))
      )
    ),
    (context) => Context.get(context, EventStorage.EventStorage)
  )

const setUp = Effect.gen(function* () {
  const context = yield* parts
  const raw = Context.get(context, EventStorage.EventStorage)
  const vault = Context.get(context, KeyVault.KeyVault)
  const administration = Context.get(context, AdministrationStorage.AdministrationStorage)
  administrations.set(raw, Layer.succeed(AdministrationStorage.AdministrationStorage, administration))
  return { raw, vault, sealed: yield* processOn(raw, vault), tenant: newTenant() }
})

const on =
  (storage: Storage) =>
  <A, E, R>(effect: Effect.Effect<A, E, R | EventStorage.EventStorage>) =>
    Effect.provideService(effect, EventStorage.EventStorage, storage)

const ada = 'Ada "Countess" Lovelace \\ 🦊 {"$sealed":1}'
const payload = JSON.stringify({
  id: "c1",
  name: ada,
  guests: [{ guestId: "g1", name: "Bob" }, { guestId: "g2" }, { guestId: "ada", born: { year: 1815 } }],
  paid: "1.50"
}).replace('"1.50"', "1.50")
const personal: ReadonlyArray<EventStorage.PersonalField> = [
  { path: ["name"], subject: "ada" },
  { path: ["guests", 0, "name"], subject: "g1" },
  { path: ["guests", 2, "born"], subject: "ada" }
]
const personalEvent = (fields: Partial<EventStorage.NewEventRow> = {}) =>
  event({ payload, personal, ...fields })

const fails = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.result(effect), (result) =>
    Result.isFailure(result) ? result.failure : assert.fail("has not failed")
  )

const reasonOf = (error: unknown): unknown => {
  assert.instanceOf(error, StorageUnavailable)
  return error.reason
}

describe("a sealed event", () => {
  it.effect("has no plaintext in the storage, and is read exactly as it was written", () =>
    Effect.gen(function* () {
      const { raw, sealed, tenant } = yield* setUp
      yield* on(sealed)(append(tenant, stream("one", [event(), personalEvent()])))
      const stored = yield* on(raw)(readStream(tenant, "one"))
      const text = stored.rows[1]?.payload ?? ""
      for (const part of ["Ada", "Bob", "1815", "Countess"]) assert.notInclude(text, part)
      for (const part of ['"guestId":"g1"', '"paid":1.50']) assert.include(text, part)
      assert.lengthOf(text.split('{"$sealed":1,"alg":"A256GCM","key":"'), 4)
      const { rows } = yield* on(sealed)(readStream(tenant, "one"))
      assert.strictEqual(rows[1]?.payload, payload)
      assert.strictEqual(rows[1]?.storedPayload, text)
      // The same object, because nothing was opened.
      assert.isFalse("storedPayload" in (rows[0] ?? {}))
      const page = yield* on(sealed)(loadStream(tenant, "one"))
      assert.deepStrictEqual(
        page.rows.map((row) => row.payload),
        [event().payload, payload]
      )
      const log = yield* on(sealed)(readLog(tenant, { fromPosition: 2 }))
      assert.strictEqual(log.rows[0]?.payload, payload)
    })
  )

  it.effect("gets the same text when it is appended again, and other text under another id", () =>
    Effect.gen(function* () {
      const { raw, sealed, tenant } = yield* setUp
      const one = personalEvent()
      yield* on(sealed)(append(tenant, stream("one", [one])))
      assert.isTrue((yield* on(sealed)(append(tenant, stream("one", [one])))).replayed)
      yield* on(sealed)(append(tenant, stream("one", [personalEvent()])))
      const { rows } = yield* on(raw)(readStream(tenant, "one"))
      const ciphertexts = rows.flatMap((row) => row.payload.match(/"text":"[^"]*"/g) ?? [])
      assert.lengthOf(ciphertexts, 6)
      assert.lengthOf(new Set(ciphertexts), 6)
    })
  )

  it.effect("is recognised when it is appended again under a later key, and another one is not", () =>
    Effect.gen(function* () {
      const { raw, sealed, tenant, vault } = yield* setUp
      const one = personalEvent()
      yield* on(sealed)(append(tenant, stream("one", [one])))
      yield* vault.rotateSubject({ tenantId: tenant, subject: "ada" })
      const other = yield* processOn(raw, vault)
      assert.isTrue((yield* on(other)(append(tenant, stream("one", [one])))).replayed)
      for (const changed of [
        payload.replace("Bob", "Rob"),
        payload.replace("1.50", "1.51"),
        payload.replace("Countess", "Duchess")
      ]) {
        const error = yield* fails(on(other)(append(tenant, stream("one", [{ ...one, payload: changed }]))))
        assert.strictEqual(error._tag === "Conflict" && error.reason._tag, "EventIdConflict")
      }
      // New events use the new key, and both are read.
      yield* on(other)(append(tenant, stream("one", [personalEvent()])))
      const { rows } = yield* on(sealed)(readStream(tenant, "one"))
      assert.deepStrictEqual(
        rows.map((row) => row.payload),
        [payload, payload]
      )
      const keys = new Set(
        (yield* on(raw)(readLog(tenant))).rows.flatMap((row) => row.payload.match(/"key":"[^"]*"/g))
      )
      assert.lengthOf(keys, 3)
    })
  )

  it.effect(
    "stays as it is when the key of the tenant is rotated, and a process without caches reads it",
    () =>
      Effect.gen(function* () {
        const { raw, sealed, tenant, vault } = yield* setUp
        yield* on(sealed)(append(tenant, stream("one", [personalEvent()])))
        const before = (yield* on(raw)(readStream(tenant, "one"))).rows
        assert.strictEqual(yield* vault.rotateTenant({ tenantId: tenant }), 2)
        assert.deepStrictEqual((yield* on(raw)(readStream(tenant, "one"))).rows, before)
        const { rows } = yield* on(yield* processOn(raw, vault))(readStream(tenant, "one"))
        assert.strictEqual(rows[0]?.payload, payload)
      })
  )

  it.effect("opens only in its event, in its field and in its tenant, and unchanged", () =>
    Effect.gen(function* () {
      const { raw, sealed, tenant, vault } = yield* setUp
      yield* on(sealed)(append(tenant, stream("one", [personalEvent()])))
      const [row] = (yield* on(raw)(readStream(tenant, "one"))).rows
      assert(row !== undefined)
      const [first = "", second = ""] = row.payload.match(/\{"\$sealed":[^}]*\}/g) ?? []
      const withPayload = (text: string): EventStorage.EventRow => ({ ...row, payload: text })
      const cases: Record<string, EventStorage.EventRow> = {
        "another event": { ...row, eventId: uuidV4Unsafe() },
        "another field": withPayload(
          row.payload.replace(first, "<1>").replace(second, first).replace("<1>", second)
        ),
        "another field, with its path": withPayload(
          row.payload.replace(first, first.replace('["name"]', '["nick"]')).replace('"name"', '"nick"')
        ),
        "another ciphertext": withPayload(
          row.payload.replace(/"text":"(.)/, (_, letter) => `"text":"${letter === "A" ? "B" : "A"}`)
        ),
        "another nonce": withPayload(
          row.payload.replace(/"nonce":"(.)/, (_, letter) => `"nonce":"${letter === "A" ? "B" : "A"}`)
        ),
        "another version": withPayload(row.payload.replace('"$sealed":1', '"$sealed":2')),
        "another algorithm": withPayload(row.payload.replace("A256GCM", "A128GCM")),
        "a part of it": withPayload(row.payload.replace(/"text":"[^"]{4}/, '"text":"'))
      }
      for (const [name, changed] of Object.entries(cases)) {
        assert.notDeepEqual(changed, row, name)
        const reader = yield* processOn(
          { ...raw, readStream: () => Effect.succeed({ rows: [changed], complete: true }) },
          vault
        )
        const error = yield* fails(on(reader)(readStream(tenant, "one")))
        assert.instanceOf(reasonOf(error), SealBroken, name)
        for (const text of [JSON.stringify(error), error.message, String(error.stack)])
          assert.notInclude(text, "Ada")
      }
      // The vault does not give the key to another tenant.
      const other = newTenant()
      yield* on(raw)(append(other, stream("one", [event({ eventId: row.eventId, payload: row.payload })])))
      const error = yield* fails(on(sealed)(readStream(other, "one")))
      assert.instanceOf(reasonOf(error), KeyMissing)
    })
  )

  it.effect("is refused if a personal field is not in it, or if it imitates a sealed one", () =>
    Effect.gen(function* () {
      const { sealed, tenant } = yield* setUp
      for (const given of [
        personalEvent({ personal: [{ path: ["guests", 7, "name"], subject: "ada" }] }),
        event({ payload: '{"name":{"$sealed":1}}' })
      ])
        assert.isTrue(Exit.hasDies(yield* Effect.exit(on(sealed)(append(tenant, stream("one", [given]))))))
      assert.deepStrictEqual((yield* on(sealed)(readStream(tenant, "one"))).rows, [])
    })
  )

  it.effect("is refused if it would be larger than a storage can read", () =>
    Effect.gen(function* () {
      const { sealed, tenant } = yield* setUp
      const large = JSON.stringify({ name: "a".repeat(10 << 20) })
      const error = yield* fails(
        on(sealed)(
          append(
            tenant,
            stream("one", [event({ payload: large, personal: [{ path: ["name"], subject: "ada" }] })])
          )
        )
      )
      assert.strictEqual(error._tag === "InvalidInput" && error.reason._tag, "LimitExceeded")
      assert.isBelow(JSON.stringify(error).length, 1000)
    })
  )
})

describe("a forgotten person", () => {
  const forget = (vault: KeyVault.KeyVault["Service"], tenantId: Tenant.TenantId, subject: string) => {
    const forgetting = uuidV4Unsafe()
    return Effect.andThen(
      vault.fence({ tenantId, subject, forgetting, forgottenAt: 1, actor: "dpo", reason: "asked" }),
      vault.destroy({ tenantId, forgetting })
    )
  }

  it.effect("is Forgotten in every event, and the others in it stay", () =>
    Effect.gen(function* () {
      const { raw, sealed, tenant, vault } = yield* setUp
      yield* on(sealed)(append(tenant, stream("one", [personalEvent()])))
      yield* forget(vault, tenant, "ada")
      const other = yield* processOn(raw, vault)
      const expected = payload
        .replace(JSON.stringify(ada), '{"$forgotten":true}')
        .replace('{"year":1815}', '{"$forgotten":true}')
      const { rows } = yield* on(other)(readStream(tenant, "one"))
      assert.strictEqual(rows[0]?.payload, expected)
      assert.include(rows[0]?.payload, "Bob")
    })
  )

  it.effect("cannot be written about, and a repeated append is still recognised", () =>
    Effect.gen(function* () {
      const { raw, sealed, tenant, vault } = yield* setUp
      const one = personalEvent()
      yield* on(sealed)(append(tenant, stream("one", [one])))
      yield* forget(vault, tenant, "ada")
      const other = yield* processOn(raw, vault)
      const error = yield* fails(on(other)(append(tenant, stream("one", [personalEvent()]))))
      assert(error._tag === "InvalidInput" && error.reason._tag === "InvalidEvent")
      assert.deepStrictEqual(error.reason.path, ["payload", "name"])
      assert.include(error.message, "ada, who was forgotten")
      assert.notInclude(error.message, "Countess")
      assert.isTrue((yield* on(other)(append(tenant, stream("one", [one])))).replayed)
      const types = (yield* on(raw)(readLog(tenant))).rows.map(({ eventType }) => eventType)
      assert.deepStrictEqual(types, [one.eventType, "SubjectForgotten"])
      // Another person of the same tenant, and the same id in another tenant.
      const bob = [{ path: ["name"], subject: "bob" }]
      yield* on(other)(append(tenant, stream("one", [personalEvent({ personal: bob })])))
      yield* on(other)(append(newTenant(), stream("one", [personalEvent()])))
      yield* vault.allow({ tenantId: tenant, subject: "ada", allowedAt: 2 })
      yield* on(other)(append(tenant, stream("one", [personalEvent()])))
      const { rows } = yield* on(other)(readStream(tenant, "one"))
      assert.strictEqual(rows[2]?.payload, payload)
      assert.include(rows[0]?.payload, "$forgotten")
    })
  )
})

describe("a vault", () => {
  it.effect("that does not answer makes storage unavailable, and nobody Forgotten", () =>
    Effect.gen(function* () {
      const { raw, sealed, tenant, vault } = yield* setUp
      yield* on(sealed)(append(tenant, stream("one", [personalEvent()])))
      const down = Effect.fail(
        new StorageUnavailable({
          reason: new KeyVaultFailed({ operation: "read", code: null, retryable: true, remedy: "wait" })
        })
      )
      const other = yield* processOn(raw, { ...vault, keysOf: () => down, currentKeys: () => down })
      const calls: ReadonlyArray<Effect.Effect<unknown, unknown, EventStorage.EventStorage>> = [
        readStream(tenant, "one"),
        loadStream(tenant, "one"),
        readLog(tenant),
        append(tenant, stream("one", [personalEvent()]))
      ]
      for (const failing of calls)
        assert.instanceOf(reasonOf(yield* fails(on(other)(failing))), KeyVaultFailed)
      // Events without personal fields need no vault.
      yield* on(other)(append(tenant, stream("two", [event()])))
      assert.lengthOf((yield* on(other)(readStream(tenant, "two"))).rows, 1)
    })
  )

  it.effect("that is another one has no keys: an error names the key, and nothing is Forgotten", () =>
    Effect.gen(function* () {
      const { raw, sealed, tenant } = yield* setUp
      const { vault } = yield* setUp
      yield* on(sealed)(append(tenant, stream("one", [personalEvent()])))
      const other = yield* processOn(raw, vault)
      const error = yield* fails(on(other)(readStream(tenant, "one")))
      const reason = reasonOf(error)
      assert.instanceOf(reason, KeyMissing)
      assert.include((yield* on(raw)(readLog(tenant))).rows[0]?.payload, `"key":"${reason.keyId}"`)
      assert.isFalse(error._tag === "StorageUnavailable" && error.retryable)
    })
  )

  it.effect(
    "is asked once for the keys of a page, and again after their age, their uses or too many keys",
    () =>
      Effect.gen(function* () {
        const { raw, sealed, tenant, vault } = yield* setUp
        const people = Array.from({ length: 8 }, (_, index) =>
          event({ payload: '{"name":"Bob"}', personal: [{ path: ["name"], subject: `s${index}` }] })
        )
        yield* on(sealed)(append(tenant, stream("one", people)))
        const asked: Array<number> = []
        const counting: KeyVault.KeyVault["Service"] = {
          ...vault,
          keysOf: (given) =>
            Effect.andThen(
              Effect.sync(() => asked.push(given.keyIds.length)),
              vault.keysOf(given)
            )
        }
        const read = (storage: Storage) => on(storage)(readStream(tenant, "one"))
        const normal = yield* processOn(raw, counting, { cache: { age: "1 minute" } })
        yield* read(normal)
        yield* read(normal)
        assert.deepStrictEqual(asked.splice(0), [8])
        yield* TestClock.adjust("61 seconds")
        yield* read(normal)
        assert.deepStrictEqual(asked.splice(0), [8])
        const few = yield* processOn(raw, counting, { cache: { keys: 5 } })
        yield* read(few)
        yield* read(few)
        assert.strictEqual(asked[0], 8)
        assert.isAtLeast(asked[1] ?? 0, 3)
        asked.length = 0
        const used = yield* processOn(raw, counting, { cache: { uses: 2 } })
        for (let round = 0; round < 4; round++) yield* read(used)
        assert.deepStrictEqual(asked.splice(0), [8, 8])
      })
  )
})

describe("a snapshot of a state with personal data", () => {
  const setUpSnapshots = Effect.gen(function* () {
    const context = yield* parts
    const raw = Context.get(context, SnapshotStorage.SnapshotStorage)
    const vault = Context.get(context, KeyVault.KeyVault)
    const sealed = Context.get(
      yield* Layer.build(Layer.fresh(Forgetting.layer).pipe(Layer.provide(Layer.succeedContext(context)))),
      SnapshotStorage.SnapshotStorage
    )
    const key = newKey()
    const given = snapshot(3, { state: JSON.stringify({ name: ada }) })
    return { raw, vault, sealed, key, given: { ...key, ...given, personal: true, forgotten: 0 } }
  })

  it.effect("is sealed with its checksum, and loaded as it was saved", () =>
    Effect.gen(function* () {
      const { given, key, raw, sealed } = yield* setUpSnapshots
      assert.isTrue(yield* sealed.save(given))
      const stored = yield* raw.load(key)
      assert(stored !== undefined)
      assert.notInclude(JSON.stringify(stored), "Ada")
      assert.notInclude(JSON.stringify(stored), given.checksum)
      const loaded = yield* sealed.load(key)
      assert.strictEqual(loaded?.state, given.state)
      assert.strictEqual(loaded?.checksum, given.checksum)
      // Others are stored as they are.
      const plain = { ...newKey(), ...snapshot(1) }
      yield* sealed.save(plain)
      assert.strictEqual((yield* raw.load(plain))?.state, plain.state)
    })
  )

  it.effect("is not stored without the number of forgotten subjects, or with another one", () =>
    Effect.gen(function* () {
      const { given, key, raw, sealed } = yield* setUpSnapshots
      assert.isFalse(yield* sealed.save({ ...given, forgotten: undefined }))
      assert.isFalse(yield* sealed.save({ ...given, forgotten: 1 }))
      assert.isUndefined(yield* raw.load(key))
    })
  )

  it.effect("is dropped if it was changed, moved, or taken before a person was forgotten", () =>
    Effect.gen(function* () {
      const { given, key, raw, sealed, vault } = yield* setUpSnapshots
      const stored = Effect.andThen(sealed.save(given), raw.load(key))
      const tampered = [
        { version: 4 },
        { eventId: uuidV4Unsafe() },
        (row: SnapshotStorage.SnapshotRow) => ({ state: row.state.replace('"snapshot",0', '"snapshot",1') }),
        (row: SnapshotStorage.SnapshotRow) => ({ state: row.state.slice(0, -2) })
      ]
      for (const change of tampered) {
        yield* raw.remove(key)
        const row = yield* stored
        assert(row !== undefined)
        yield* raw.save({ ...key, ...row, ...(typeof change === "function" ? change(row) : change) })
        assert.isUndefined(yield* sealed.load(key))
        assert.isUndefined(yield* raw.load(key))
      }
      const row = yield* stored
      assert(row !== undefined)
      yield* raw.save({ ...key, aggregateId: "another", ...row })
      assert.isUndefined(yield* sealed.load({ ...key, aggregateId: "another" }))
      yield* vault.fence({
        tenantId: key.tenantId,
        subject: "anybody",
        forgetting: uuidV4Unsafe(),
        forgottenAt: 1,
        actor: "dpo",
        reason: "asked"
      })
      const other = yield* Layer.build(
        Layer.fresh(Forgetting.layer).pipe(
          Layer.provide(Layer.succeed(SnapshotStorage.SnapshotStorage, raw)),
          Layer.provide(Layer.succeed(KeyVault.KeyVault, vault)),
          Layer.provide(Layer.fresh(MemoryStorage.layer))
        )
      )
      assert.isUndefined(yield* Context.get(other, SnapshotStorage.SnapshotStorage).load(key))
      assert.isUndefined(yield* raw.load(key))
    })
  )
})

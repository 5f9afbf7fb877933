import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Result, Schema, Stream } from "effect"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import { append, inMemory, opened } from "../support/bank.ts"

const canonical = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
const decode = Schema.decodeUnknownResult(Tenant.TenantId)
const accepted = (text: string) => Result.getOrUndefined(decode(text))

describe("a tenant id", () => {
  it("4: is a UUID in canonical form; upper-case letters become lower-case ones", () => {
    for (const text of [canonical, canonical.toUpperCase(), "0190A1b2-c3D4-7e5f-8a9B-0c1d2E3f4a5b"]) {
      assert.strictEqual(accepted(text), canonical)
    }
  })

  it.each([
    ["null", null],
    ["undefined", undefined],
    ["a number", 5],
    ["an object that turns into one", { toString: (): string => canonical }],
    ["an array of one", [canonical]],
    ["an empty text", ""],
    ["a blank text", " "],
    ["*", "*"],
    ["%", "%"],
    ["_", "_"],
    ["wildcards in the form of a UUID", "________-____-____-____-____________"],
    ["a quote", "'"],
    ["a quoted UUID", `'${canonical}'`],
    ["SQL behind it", `${canonical}' or '1'='1`],
    ["braces", `{${canonical}}`],
    ["a URN", `urn:uuid:${canonical}`],
    ["no hyphens", canonical.replaceAll("-", "")],
    ["hyphens elsewhere", "0190a1b2c3d4-7e5f-8a9b-0c1d-2e3f4a5b"],
    ["a blank before it", ` ${canonical}`],
    ["a line break behind it", `${canonical}\n`],
    ["a zero-width space in it", `${canonical.slice(0, 8)}\u200b${canonical.slice(8)}`],
    ["a byte order mark before it", `\ufeff${canonical}`],
    ["U+0000 behind it", `${canonical}\0`],
    ["half of a surrogate pair behind it", `${canonical}\ud800`],
    ["full-width digits", canonical.replace("0", "\uff10")],
    ["a Cyrillic letter that looks like one of it", canonical.replace("a", "\u0430")],
    ["a hyphen that is not U+002D", canonical.replaceAll("-", "\u2010")],
    ["a letter beyond f", canonical.replace("f", "g")],
    ["one digit less", canonical.slice(1)],
    ["one digit more", `${canonical}0`],
    ["two of them", `${canonical},${canonical}`],
    ["the nil UUID, which is reserved", Tenant.untenanted]
  ])("is not %s", (_name, input) => {
    assert.isTrue(Result.isFailure(decode(input)))
  })

  it("contains no characters that become digits only in lower case", () => {
    for (let code = 0x80; code <= 0xffff; code++) {
      const character = String.fromCharCode(code)
      if (/[0-9a-f-]/.test(character.toLowerCase())) {
        assert.isTrue(Result.isFailure(decode(canonical.replace("a", character))), `U+${code.toString(16)}`)
      }
    }
  })

  it("can be made only from the canonical form", () => {
    assert.strictEqual(Tenant.TenantId.make(canonical), canonical)
    for (const text of [canonical.toUpperCase(), "", "acme", Tenant.untenanted]) {
      assert.throws(() => Tenant.TenantId.make(text))
    }
  })

  it.effect("is a new UUID of version 7 each time it is generated", () =>
    Effect.gen(function* () {
      const ids = yield* Effect.replicateEffect(Tenant.generate, 1000)
      assert.strictEqual(new Set(ids).size, 1000)
      for (const id of ids) {
        assert.strictEqual(accepted(id), id)
        assert.strictEqual(id[14], "7")
      }
    })
  )
})

describe("the tenant of an effect", () => {
  it.effect("is the innermost one provided, also in fibers and after an inner one ends", () =>
    Effect.gen(function* () {
      const [outer, inner] = [yield* Tenant.generate, yield* Tenant.generate]
      const seen = yield* Effect.gen(function* () {
        const before = yield* Tenant.CurrentTenant
        const within = yield* Tenant.CurrentTenant.pipe(Tenant.provide(inner))
        const failed = yield* Effect.exit(Effect.fail("no").pipe(Tenant.provide(inner)))
        assert.isTrue(Exit.isFailure(failed))
        const [forked, other] = yield* Effect.all(
          [Tenant.CurrentTenant, Effect.andThen(Effect.yieldNow, Tenant.CurrentTenant)],
          { concurrency: 2 }
        )
        return [before, within, forked, other, yield* Tenant.CurrentTenant]
      }).pipe(Tenant.provide(outer))
      assert.deepStrictEqual(seen, [outer, inner, outer, outer, outer])
    })
  )

  it.effect("can be provided to a stream for as long as it runs", () =>
    Effect.gen(function* () {
      const [outer, inner] = [yield* Tenant.generate, yield* Tenant.generate]
      const seen = yield* Stream.range(1, 2).pipe(
        Stream.mapEffect(() => Tenant.CurrentTenant),
        Tenant.provide(inner),
        Stream.concat(Stream.fromEffect(Tenant.CurrentTenant)),
        Stream.runCollect,
        Tenant.provide(outer)
      )
      assert.deepStrictEqual(seen, [inner, inner, outer])
    })
  )

  it.effect("4: that is invalid reaches no driver even after a cast", () =>
    Effect.gen(function* () {
      const forged = "*" as Tenant.TenantId
      const store = yield* EventStore.EventStore
      const registry = yield* TenantRegistry.TenantRegistry
      const refused = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.map(Effect.exit(effect), (exit) => assert.isTrue(Exit.hasDies(exit)))
      yield* refused(append("1", [opened()]).pipe(Tenant.provide(forged)))
      yield* refused(store.position.pipe(Tenant.provide(forged)))
      yield* refused(Stream.runCollect(store.readLogJson({})).pipe(Tenant.provide(forged)))
      yield* refused(registry.status.pipe(Tenant.provide(forged)))
      yield* refused(registry.provision(forged))
      yield* refused(registry.suspend(forged).pipe(Tenant.provideAll({ actor: "a", reason: "r" })))
    }).pipe(Effect.provide(inMemory()))
  )
})

describe("the untenanted tenant", () => {
  it.effect("has a log that no other tenant sees", () =>
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      const tenant = yield* Tenant.generate
      yield* append("1", [opened("nobody")]).pipe(Tenant.provide(Tenant.untenanted))
      yield* append("1", [opened("somebody"), opened()]).pipe(Tenant.provide(tenant))
      const log = store.readLogJson({}).pipe(Stream.runCollect)
      const untenanted = yield* log.pipe(Tenant.provide(Tenant.untenanted))
      assert.deepStrictEqual(
        untenanted.map(({ position, tenantId, payload }) => ({ position, tenantId, payload })),
        [{ position: 1, tenantId: Tenant.untenanted, payload: { _tag: "Opened", owner: "nobody" } }]
      )
      assert.lengthOf(yield* log.pipe(Tenant.provide(tenant)), 2)
      assert.lengthOf(yield* log.pipe(Tenant.provide(yield* Tenant.generate)), 0)
    }).pipe(Effect.provide(inMemory()))
  )
})

describe("a layer without a tenant", () => {
  it("is returned unchanged", () => {
    const layer = inMemory()
    assert.strictEqual(Tenant.withoutTenant(layer), layer)
  })
})

describe("looking across tenants", () => {
  const access = { actor: "ada@example.com", reason: "audit 2026" }

  it.effect("has the provided actor and reason", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Tenant.AllTenants.pipe(Tenant.provideAll(access)), access)
      const longest = { actor: "a".repeat(255), reason: "r".repeat(1000) }
      assert.deepStrictEqual(yield* Tenant.AllTenants.pipe(Tenant.provideAll(longest)), longest)
    })
  )

  it.effect.each([
    { actor: "" },
    { reason: "" },
    { actor: " " },
    { reason: "\t\n" },
    { actor: " ada" },
    { actor: "a".repeat(256) },
    { reason: "r".repeat(1001) },
    { actor: "a\0" },
    { reason: "half of a pair: \ud83d" },
    { actor: undefined },
    { reason: null }
  ])("is a defect with %j, and nothing is run", (wrong) =>
    Effect.gen(function* () {
      let ran = false
      const exit = yield* Effect.sync(() => (ran = true)).pipe(
        Tenant.provideAll({ ...access, ...wrong } as Tenant.CrossTenantAccess),
        Effect.exit
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.isFalse(ran)
    })
  )
})

/** Handling events, and handlers that fail: in memory. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import * as EventStorage from "../../src/driver/EventStorage.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { append, drain, drained, key, live, memory, Seen, Sum, tenants, watching } from "../support/sums.ts"

describe("a runner", () => {
  it.effect("handles each tenant's events once, in order, in batches of any size", () =>
    Effect.gen(function* () {
      const sizes = [1, 2, 7, 100].map((batchSize) => ({
        batchSize,
        name: `by ${batchSize}`,
        seen: new Seen()
      }))
      yield* Effect.gen(function* () {
        const [one = Tenant.untenanted, two = Tenant.untenanted] = yield* tenants(2)
        for (let n = 0; n < 30; n += 3) {
          yield* append(one, n, n + 1, n + 2)
          yield* append(two, 100 + n)
          if (n % 4 === 0) yield* drain
        }
        yield* drain
        for (const { name, seen } of sizes) {
          assert.deepStrictEqual(
            seen.of(one),
            Array.from({ length: 30 }, (_, n) => n)
          )
          assert.deepStrictEqual(
            seen.of(two),
            Array.from({ length: 10 }, (_, n) => 100 + 3 * n)
          )
          assert.deepInclude(yield* live(one, name), { position: 30, head: 30, oldestUnprocessed: undefined })
        }
      }).pipe(drained(...sizes.map(({ seen, ...options }) => watching(seen, undefined, options))))
    })
  )

  it.effect("moves the checkpoint past events without a handler", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, null, null, null)
        yield* drain
        assert.deepInclude(yield* live(tenant), { position: 3, oldestUnprocessed: undefined })
        yield* append(tenant, 1, null, 2, null)
        yield* drain
        assert.deepInclude(yield* live(tenant), { position: 7 })
        assert.deepStrictEqual(seen.of(tenant), [1, 2])
      }).pipe(drained(watching(seen)))
    })
  )

  it.effect("starts another version at the beginning, beside the old one", () =>
    Effect.gen(function* () {
      const [old, current] = [new Seen(), new Seen()]
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, 1, 2)
        yield* drain.pipe(
          Effect.provide(ProjectionRunner.layer({ projections: [watching(old)], concurrency: 0 }))
        )
        assert.deepStrictEqual(old.of(tenant), [1, 2])
        const both = [watching(old), watching(current, undefined, { version: 2 })]
        yield* append(tenant, 3)
        yield* drain.pipe(Effect.provide(ProjectionRunner.layer({ projections: both, concurrency: 0 })))
        assert.deepStrictEqual(old.of(tenant), [1, 2, 3])
        assert.deepStrictEqual(current.of(tenant), [1, 2, 3])
      }).pipe(Effect.provide(memory))
    })
  )

  it.effect("handles all tenants' events, in each tenant's order, under a recorded access", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      let total = 0
      const Total = Projection.makeAcrossTenants(
        "total",
        { aggregates: [Sum] },
        {
          Added: ({ n }, { tenantId }) =>
            Effect.map(Tenant.CurrentTenant, (current) => {
              assert.strictEqual(current, tenantId)
              total += n
              seen.add(tenantId, n)
            })
        }
      )
      yield* Effect.gen(function* () {
        const [one = Tenant.untenanted, two = Tenant.untenanted] = yield* tenants(2)
        yield* append(one, 1, 2)
        yield* append(two, 10, 20)
        yield* append(one, 3)
        const access = { actor: "test", reason: "totals" }
        yield* drain.pipe(
          Effect.provide(ProjectionRunner.layer({ projections: [Total], concurrency: 0 })),
          Tenant.provideAll(access)
        )
        assert.strictEqual(total, 36)
        assert.deepStrictEqual(
          [seen.of(one), seen.of(two)],
          [
            [1, 2, 3],
            [10, 20]
          ]
        )
        const storage = yield* EventStorage.EventStorage
        const accessId = yield* storage.recordAccess({ ...access, operation: "look" })
        const accesses = yield* storage.listAccesses({ accessId, before: undefined, limit: 10 })
        assert.deepInclude(accesses.rows[1], { ...access, operation: "ProjectionRunner: total" })
      }).pipe(Effect.provide(memory))
    })
  )
})

/** All ways in which a handler can fail. */
class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {
  override get message(): string {
    return "it is broken"
  }
}
const failures: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>, string]> = [
  ["a typed error", Effect.fail(new Broken()), "Broken: it is broken"],
  ["an error that is none", Effect.fail({ secret: "canary" }), "a failure of type object"],
  ["a defect", Effect.die(new RangeError("out of range")), "RangeError: out of range"],
  [
    "an exception",
    Effect.sync(() => {
      throw new Error("thrown\0")
    }),
    "Error: thrown"
  ],
  ["an interruption of its own", Effect.interrupt, ""],
  [
    "a fiber that was interrupted",
    Effect.flatMap(Effect.forkChild(Effect.never), (fiber) =>
      Effect.andThen(Fiber.interrupt(fiber), Fiber.join(fiber))
    ),
    ""
  ],
  ["an endless text", Effect.die(new Error("x".repeat(5000))), `Error: ${"x".repeat(993)}`]
]

describe("a handler that fails", () => {
  it.effect.each(failures)(
    "with %s parks its tenant there, and records the reason",
    ([_name, failure, error]) =>
      Effect.gen(function* () {
        const seen = new Seen()
        yield* Effect.gen(function* () {
          const [poisoned = Tenant.untenanted, sound = Tenant.untenanted] = yield* tenants(2)
          yield* append(poisoned, 1, 2, 666, 4)
          yield* append(sound, 1, 2, 3)
          yield* drain
          const progress = yield* live(poisoned)
          assert.deepInclude(progress, { position: 2, head: 4, parked: true, attempts: 1, failedPosition: 3 })
          if (error !== "") assert.strictEqual(progress?.error, error)
          assert.deepInclude(yield* live(sound), { position: 3, parked: false })
          yield* append(poisoned, 5)
          yield* append(sound, 4)
          yield* drain
          assert.deepInclude(yield* live(poisoned), { position: 2, parked: true })
          assert.deepInclude(yield* live(sound), { position: 4, parked: false })
        }).pipe(drained(watching(seen, (n) => (n === 666 ? failure : Effect.void))))
      })
  )

  it.effect("of one tenant among a hundred does not affect the others", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      const all = yield* tenants(100)
      const [poisoned = Tenant.untenanted, ...sound] = all
      yield* Effect.gen(function* () {
        for (const tenant of all) yield* append(tenant, 1, 2, 3)
        yield* drain
        for (const tenant of sound) {
          assert.deepStrictEqual(seen.of(tenant), [1, 2, 3])
          assert.deepInclude(yield* live(tenant), { position: 3, parked: false })
        }
        assert.deepInclude(yield* live(poisoned), { position: 1, parked: true })
      }).pipe(
        drained(
          watching(seen, (n, tenant) =>
            tenant === poisoned && n === 2 ? Effect.fail(new Broken()) : Effect.void
          )
        )
      )
    })
  )

  it.effect("in one projection does not affect another projection of the tenant", () =>
    Effect.gen(function* () {
      const [broken, sound] = [new Seen(), new Seen()]
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, 1, 2, 3)
        yield* drain
        assert.deepInclude(yield* live(tenant), { position: 0, parked: true })
        assert.deepStrictEqual(sound.of(tenant), [1, 2, 3])
      }).pipe(
        drained(
          watching(broken, () => Effect.fail("no")),
          watching(sound, undefined, { name: "sound" })
        )
      )
    })
  )

  it.effect("continues with the failed event after it is resumed", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      let broken = true
      yield* Effect.gen(function* () {
        const storage = yield* ProjectionStorage
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, 1, 2, 3)
        yield* drain
        assert.isTrue(yield* storage.resume(key(tenant)))
        yield* drain
        assert.deepInclude(yield* live(tenant), { position: 1, parked: true, attempts: 1 })
        broken = false
        assert.isTrue(yield* storage.resume(key(tenant)))
        yield* drain
        assert.deepInclude(yield* live(tenant), { position: 3, parked: false, error: undefined })
        // In memory, the effects of a batch are not undone when a later event of it fails.
        assert.deepStrictEqual(seen.of(tenant), [1, 1, 2, 3])
      }).pipe(drained(watching(seen, (n) => (broken && n === 2 ? Effect.fail("no") : Effect.void))))
    })
  )

  it.effect("an event that cannot be decoded parks its tenant too, without its content", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      yield* Effect.gen(function* () {
        const storage = yield* EventStorage.EventStorage
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, 1)
        const row = {
          eventId: "00000000-0000-4000-8000-000000000001",
          eventType: "Added",
          schemaVersion: 1,
          occurredAt: 0,
          actor: null,
          correlationId: "x",
          causationId: null,
          metadata: "{}",
          payload: JSON.stringify({ _tag: "Added", n: "canary" }),
          tags: []
        }
        yield* storage.append({
          tenantId: tenant,
          streams: [{ aggregateType: "Sum", aggregateId: "one", expectedVersion: "any", events: [row] }]
        })
        yield* append(tenant, 3)
        yield* drain
        const progress = yield* live(tenant)
        assert.deepInclude(progress, { position: 1, parked: true, failedPosition: 2 })
        assert.match(progress?.error ?? "", /^EventDecodeError: Sum one version 2 \(position 2\): Added /)
        assert.notInclude(JSON.stringify(progress), "canary")
        assert.notInclude(seen.of(tenant), 3)
      }).pipe(drained(watching(seen)))
    })
  )
})

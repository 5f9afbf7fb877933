/** Waiting for an unavailable storage or for its schema, and the messages meanwhile: in memory, with a test clock. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Effect, Logger, References, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as ProjectionManager from "../../src/projection/ProjectionManager.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import { quotaExceeded } from "../../src/driver/quotas.ts"
import { ReadOnly, SchemaMismatch, StorageFull, StorageUnavailable } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import {
  append,
  deadLetters,
  drain,
  drained,
  key,
  live,
  memory,
  Seen,
  tenants,
  watching
} from "../support/sums.ts"

const coded = { operation: "test", code: "XYZ" }
const full = new StorageUnavailable({ reason: new StorageFull(coded) })
const readOnly = new StorageUnavailable({ reason: new ReadOnly(coded) })
const mismatch = new StorageUnavailable({ reason: new SchemaMismatch(coded) })

const minutes = (count: number): number => count * 60_000

/** Works for a time, in steps. Returns the times at which the handler was called. */
const during = Effect.fnUntraced(function* (millis: number, step: number) {
  for (let passed = 0; passed < millis; passed += step) {
    yield* drain
    yield* TestClock.adjust(step)
  }
  yield* drain
})

/** A handler that fails at an event on request, and records the times of its calls. */
class Trouble {
  failure: unknown = undefined
  readonly tries: Array<number> = []
  readonly attempt = (n: number): Effect.Effect<void, unknown> =>
    Effect.gen({ self: this }, function* () {
      if (n !== 2) return
      this.tries.push(yield* Clock.currentTimeMillis)
      if (this.failure !== undefined) return yield* Effect.fail(this.failure)
    })
}

/** Logged warnings and errors. */
const logged = () => {
  const lines: Array<{
    level: string
    message: string
    cause: string
    annotations: Record<string, unknown>
  }> = []
  const logger = Logger.make(({ cause, fiber, logLevel, message }) => {
    lines.push({
      level: logLevel,
      message: String(message),
      cause: Cause.pretty(cause),
      annotations: { ...fiber.getRef(References.CurrentLogAnnotations) }
    })
  })
  return { lines, layer: Logger.layer([logger]) }
}

describe("an event whose handler meets a failing storage", () => {
  it.effect("waits without limit, at growing intervals up to a minute, and counts no attempt", () =>
    Effect.gen(function* () {
      const trouble = new Trouble()
      trouble.failure = full
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted, other = Tenant.untenanted] = yield* tenants(2)
        yield* append(tenant, 1, 2, 3)
        yield* append(other, 1, 1)
        yield* during(minutes(120), 6000)
        const gaps = trouble.tries.map((time, index) => time - (trouble.tries[index - 1] ?? 0)).slice(2)
        assert.isAtMost(Math.max(...gaps), minutes(1) + 6000)
        assert.isAtLeast(trouble.tries.length, 100)
        assert.isAtMost(trouble.tries.length, 135)
        assert.deepInclude(yield* live(tenant), {
          position: 1,
          parked: false,
          attempts: 0,
          failedPosition: 2,
          failureKind: "storage"
        })
        assert.deepInclude(yield* live(other), { position: 2 })
        // It also waits for another failure of the storage, and for the quota that its appends exceed.
        for (const failure of [readOnly, quotaExceeded(tenant, "rate", 1, 60_000, 30_000)]) {
          trouble.failure = failure
          yield* during(minutes(60), minutes(1))
          assert.deepInclude(yield* live(tenant), { parked: false, attempts: 0, failureKind: "storage" })
        }
        trouble.failure = undefined
        yield* during(minutes(2), minutes(1))
        assert.deepInclude(yield* live(tenant), { position: 3, failureKind: undefined })
        assert.isEmpty(yield* deadLetters(tenant))
      }).pipe(
        drained(
          watching(new Seen(), trouble.attempt, { retry: Schedule.recurs(1), onFailure: "deadLetter" })
        ),
        Effect.provideService(References.MinimumLogLevel, "None")
      )
    })
  )

  it.effect("keeps its number of attempts once the storage is available again", () =>
    Effect.gen(function* () {
      const trouble = new Trouble()
      trouble.failure = "its own"
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, 1, 2, 3)
        yield* drain
        assert.deepInclude(yield* live(tenant), { attempts: 1, failureKind: "handler", parked: false })
        trouble.failure = full
        yield* during(minutes(30), minutes(1))
        assert.deepInclude(yield* live(tenant), { attempts: 1, failureKind: "storage", parked: false })
        trouble.failure = "its own"
        yield* during(minutes(2), minutes(1))
        assert.deepInclude(yield* live(tenant), { attempts: 2, failureKind: "handler", parked: true })
      }).pipe(
        drained(
          watching(new Seen(), trouble.attempt, {
            retry: Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 1 }))
          })
        ),
        Effect.provideService(References.MinimumLogLevel, "None")
      )
    })
  )
})

describe("an event whose handler meets a schema that does not fit", () => {
  const beside = (trouble: Trouble) =>
    drained(watching(new Seen(), trouble.attempt, { onFailure: "deadLetter" }))

  it.effect("waits for ten minutes, is parked, and is retried every hour until it is handled", () =>
    Effect.gen(function* () {
      const trouble = new Trouble()
      trouble.failure = mismatch
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted, other = Tenant.untenanted] = yield* tenants(2)
        yield* append(tenant, 1, 2, 3)
        yield* append(other, 1, 1)
        yield* during(minutes(10) - 2000, 1000)
        assert.deepInclude(yield* live(tenant), { position: 1, parked: false, failureKind: "schema" })
        yield* during(minutes(1), 1000)
        const parked = {
          position: 1,
          parked: true,
          failureKind: "schema" as const,
          failedPosition: 2,
          attempts: 0
        }
        assert.deepInclude(yield* live(tenant), parked)
        const before = trouble.tries.length
        yield* during(minutes(58), minutes(1))
        assert.strictEqual(trouble.tries.length, before)
        yield* during(minutes(2), minutes(1))
        assert.strictEqual(trouble.tries.length, before + 1)
        assert.deepInclude(yield* live(tenant), parked)
        yield* during(minutes(183), minutes(1))
        assert.strictEqual(trouble.tries.length, before + 4)
        trouble.failure = undefined
        yield* during(minutes(60), minutes(1))
        assert.deepInclude(yield* live(tenant), { position: 3, parked: false, failureKind: undefined })
        assert.deepInclude(yield* live(other), { position: 2 })
        assert.isEmpty(yield* deadLetters(tenant))
      }).pipe(beside(trouble), Effect.provideService(References.MinimumLogLevel, "None"))
    })
  )

  it.effect(
    "is also retried when a process starts the projection, or when it is resumed, and then waits again",
    () =>
      Effect.gen(function* () {
        const trouble = new Trouble()
        trouble.failure = mismatch
        const projection = watching(new Seen(), trouble.attempt)
        const process = <A, E, R>(effect: Effect.Effect<A, E, R | ProjectionRunner.ProjectionRunner>) =>
          Effect.provide(
            effect,
            ProjectionRunner.layer({
              projections: [projection],
              concurrency: 0,
              sweepInterval: "1000 days",
              schemaWait: "2 seconds"
            }),
            { local: true }
          )
        yield* Effect.gen(function* () {
          const storage = yield* ProjectionStorage
          const [tenant = Tenant.untenanted] = yield* tenants(1)
          yield* append(tenant, 1, 2, 3)
          yield* process(during(5000, 100))
          assert.deepInclude(yield* live(tenant), { parked: true, failureKind: "schema" })
          const before = trouble.tries.length
          yield* process(drain)
          assert.strictEqual(trouble.tries.length, before + 1)
          assert.deepInclude(yield* live(tenant), { parked: true })
          assert.isTrue(yield* storage.resume(key(tenant)))
          yield* process(during(1000, 100))
          assert.deepInclude(yield* live(tenant), { parked: false, failureKind: "schema" })
          yield* process(during(5000, 100))
          assert.deepInclude(yield* live(tenant), { parked: true })
          trouble.failure = undefined
          yield* process(drain)
          assert.deepInclude(yield* live(tenant), { position: 3, parked: false })
        }).pipe(Effect.provide(memory), Effect.provideService(References.MinimumLogLevel, "None"))
      })
  )
})

describe("an operator", () => {
  const broken = (n: number) =>
    n === 20_007
      ? Effect.die(new Error(`cannot book ${n} twice`, { cause: new Error(`${n} was first`) }))
      : Effect.void

  it.effect(
    "finds the cause at once, in the log and in the list of failures, with the event's values masked",
    () => {
      const { layer, lines } = logged()
      return Effect.gen(function* () {
        const [tenant = Tenant.untenanted, other = Tenant.untenanted] = yield* tenants(2)
        yield* append(tenant, 20_007)
        yield* append(other, 1)
        yield* drain
        const [line] = lines
        assert.deepInclude(line, {
          level: "Error",
          message: "A projection is parked until it is resumed: it failed to handle an event"
        })
        assert.deepInclude(line?.annotations, {
          projection: "watching",
          "tenant.id": tenant,
          position: 1,
          kind: "handler"
        })
        const manager = yield* ProjectionManager.ProjectionManager
        const reports = yield* Stream.runCollect(manager.failures({ name: "watching", version: 1 }))
        const [report] = reports
        assert.lengthOf(reports, 1)
        assert.deepInclude(report, {
          tenantId: tenant,
          position: 1,
          kind: "handler",
          code: null,
          times: 1,
          message: "cannot book … twice"
        })
        for (const text of [line?.cause ?? "", report?.stack ?? ""]) {
          assert.match(text, /^Error: cannot book … twice\n\s+at .*ProjectionRunner\.waiting\.test/)
          assert.include(text, "[cause]: Error: … was first")
          assert.notInclude(text, "20007")
        }
        const status = yield* Tenant.provide(tenant)(manager.status({ name: "watching", version: 1 }))
        assert.strictEqual(status.failure?.error, "Error: cannot book 20007 twice")
        assert.strictEqual(status.failure?.kind, "handler")
      }).pipe(
        Effect.provide(ProjectionManager.layer),
        drained(watching(new Seen(), broken)),
        Tenant.provideAll({ actor: "test", reason: "look" }),
        Effect.provide(layer)
      )
    }
  )

  it.effect("reads in the log what a projection waits for, and that it is retried", () => {
    const { layer, lines } = logged()
    const trouble = new Trouble()
    return Effect.gen(function* () {
      const [tenant = Tenant.untenanted] = yield* tenants(1)
      yield* append(tenant, 1, 2)
      trouble.failure = full
      yield* drain
      trouble.failure = mismatch
      yield* TestClock.adjust("1 second")
      yield* drain
      yield* during(minutes(11), 1000)
      assert.deepInclude(lines[0], { level: "Warn", message: "A projection waits for the storage" })
      assert.deepInclude(lines[0]?.annotations, { kind: "storage", code: "XYZ", attempts: 0 })
      assert.match(lines[0]?.cause ?? "", /no room left/)
      assert.deepInclude(lines[1], {
        level: "Warn",
        message: "A projection waits for the schema or the rights of the storage"
      })
      assert.include(lines[1]?.cause ?? "", "run PgMigrator.layer")
      assert.strictEqual(lines.at(-1)?.level, "Error")
      assert.match(lines.at(-1)?.message ?? "", /^A projection is parked because the schema .* every hour/)
    }).pipe(drained(watching(new Seen(), trouble.attempt)), Effect.provide(layer))
  })
})

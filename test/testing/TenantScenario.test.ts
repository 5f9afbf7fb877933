import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Context, Effect, Exit, Layer } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantScenario from "../../src/testing/TenantScenario.ts"
import { backends } from "../support/backends.ts"
import { Account, changedDriver, deposited, opened } from "../support/bank.ts"

const open = Repository.Repository.use((repository) =>
  repository.execute(Account, "1", ({ status }) =>
    status === "none" ? [opened()] : Effect.fail("open already")
  )
)
const deposit = (amount: number) =>
  Repository.Repository.use((repository) => repository.execute(Account, "1", () => [deposited(amount)]))
const balance = Repository.Repository.use((repository) =>
  Effect.map(repository.load(Account, "1"), ({ state }) => state.balance)
)

const commands = { open, "open again": open, deposit: deposit(5) }

/** A read model that knows nothing of tenants. */
class Total extends Context.Service<Total, { sum: number }>()("test/Total") {
  static readonly layer = Layer.sync(Total, () => ({ sum: 0 }))
}

const count = (amount: number) => Total.useSync((total) => (total.sum += amount))

/** The message that a test fails with. */
const failure = <E, R>(effect: Effect.Effect<void, E, R>): Effect.Effect<string, never, R> =>
  Effect.map(Effect.exit(effect), (exit) => {
    const defect = Exit.isFailure(exit) ? Cause.squash(exit.cause) : "it did not fail"
    assert.instanceOf(defect, Error)
    return defect.message
  })

describe("two tenants that do not notice each other", () => {
  it.effect("pass in memory, with different failures, ids and times", () =>
    TenantScenario.isolated({
      commands: {
        ...commands,
        ids: Effect.all([Effect.sync(Event.generateId), Tenant.CurrentTenant, Clock.currentTimeMillis]),
        dates: Effect.sync(() => new Date())
      },
      observe: { balance, "a defect": Effect.die("always") }
    })
  )

  it.effect("pass without a store", () =>
    TenantScenario.isolated({ commands: { pure: Effect.succeed(1) }, layer: Layer.empty })
  )

  describe.each(backends)("on $name", (backend) => {
    it.live("pass", () =>
      TenantScenario.isolated({ commands, observe: { balance }, layer: TenantScenario.layer(backend.layer) })
    )
  })
})

describe("two tenants that notice each other", () => {
  it.effect("fail if one sees a change by the other", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* failure(
          TenantScenario.isolated({
            commands: { nothing: Effect.void, count: count(5) },
            observe: { total: Total.useSync(({ sum }) => ({ sum, currency: "EUR" })) },
            layer: Total.layer
          })
        ),
        `another tenant notices "count": total

- before
+ after

  {
-   sum: 0
+   sum: 5
    currency: "EUR"
  }`
      )
    })
  )

  it.effect("fail if the second gets a different answer than the first", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* failure(TenantScenario.isolated({ commands: { count: count(5) }, layer: Total.layer })),
        `"count" has another outcome for a second tenant: outcome

- the first tenant
+ the second

- 5
+ 10`
      )
    })
  )

  it.effect("fail if the second sees other data after the same commands", () =>
    Effect.gen(function* () {
      const tenants: Array<Tenant.TenantId> = []
      const arrive = Effect.map(Tenant.CurrentTenant, (tenant) => void tenants.push(tenant))
      const place = Effect.map(Tenant.CurrentTenant, (tenant) => tenants.indexOf(tenant))
      assert.strictEqual(
        yield* failure(
          TenantScenario.isolated({ commands: { arrive }, observe: { place }, layer: Layer.empty })
        ),
        `after "arrive" a second tenant sees other data: place

- the first tenant
+ the second

- 0
+ 1`
      )
    })
  )

  it.effect("fail if a log shows another tenant's events", () =>
    Effect.gen(function* () {
      let shown: Tenant.TenantId | undefined
      const storage = changedDriver((driver) => ({
        append: (request) => {
          shown ??= request.tenantId
          return driver.append(request)
        },
        readLog: (request) => driver.readLog({ ...request, tenantId: shown ?? request.tenantId })
      }))
      const message = yield* failure(
        TenantScenario.isolated({ commands: { open }, layer: TenantScenario.layer(storage) })
      )
      assert.include(message, `another tenant notices "open": its log\n`)
      assert.include(message, `\n+     payload: Opened { owner: "Ada" }\n`)
    })
  )
})

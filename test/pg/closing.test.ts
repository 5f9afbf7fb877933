/** A store closes in a bounded time, whatever fibers of the program are still at. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as deadlines from "../../src/pg/deadlines.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import { as, failsWith, log, texts, write } from "../../src/testing/isolation/kit.ts"
import * as TenantIsolationSuite from "../../src/testing/TenantIsolationSuite.ts"
import { servers } from "../support/Databases.ts"

interface Database {
  readonly name: string
  readonly client: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, unknown>
}

const onServers: ReadonlyArray<Database> = servers.map(({ freshDatabase, name }) => ({
  name,
  client: Layer.unwrap(Effect.map(freshDatabase, ({ app }) => PgClient.layer(app)))
}))

const databases: ReadonlyArray<Database> = [{ name: "PGlite", client: PgEmbedded.layer }, ...onServers]

const store = TenantIsolationSuite.layer(PgStorage.layer)

/** A transaction that has appended, and then does nothing until `leave`. */
const idle = (inside: Deferred.Deferred<void>, leave: Effect.Effect<void>) =>
  write("open").pipe(
    Effect.andThen(Deferred.succeed(inside, undefined)),
    Effect.andThen(leave),
    Effect.andThen(log()),
    PgTenant.transaction
  )

describe.each(databases)("a store on $name", ({ client }) => {
  it.live("closes in time while a transaction is open and appends of its tenant wait for it", () =>
    Effect.gen(function* () {
      const tenant = yield* Tenant.generate
      const [inside, leave] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const running = yield* Effect.gen(function* () {
        const open = yield* Effect.forkChild(
          idle(inside, Deferred.await(leave)).pipe(as(tenant), failsWith("StorageUnavailable"))
        )
        yield* Deferred.await(inside)
        const waits = yield* Effect.forkChild(Effect.exit(write("waits").pipe(as(tenant))))
        return { open, waits, began: Date.now() }
        // the layers close before the children of this fiber are interrupted
      }).pipe(
        Effect.provide(Layer.provideMerge(store, client)),
        Effect.provideService(deadlines.Grace, Duration.millis(200))
      )
      assert.isBelow(Date.now() - running.began, 10_000)
      assert.isTrue(Exit.isFailure(yield* Fiber.join(running.waits)))
      yield* Deferred.succeed(leave, undefined)
      yield* Fiber.join(running.open)
    }).pipe(Effect.timeout("30 seconds"))
  )
})

describe.each(onServers)("a store on $name", ({ client }) => {
  it.live("leaves alone the transaction that it was built in, and other stores of its client", () =>
    Effect.gen(function* () {
      const tenant = yield* Tenant.generate
      const began = Date.now()
      const inStore = Effect.provide(write("inside"), store, { local: true })
      yield* inStore.pipe(PgTenant.transaction, as(tenant))
      const other = TenantIsolationSuite.layer(PgStorage.layerWith({ groupCommit: false }))
      const [inside, leave] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const open = yield* idle(inside, Deferred.await(leave)).pipe(
        as(tenant),
        Effect.provide(other, { local: true }),
        Effect.forkChild
      )
      yield* Deferred.await(inside)
      yield* Scope.close(
        yield* Effect.tap(Scope.make(), (scope) => Layer.buildWithScope(store, scope)),
        Exit.void
      )
      yield* Deferred.succeed(leave, undefined)
      assert.deepStrictEqual(texts(yield* Fiber.join(open)), ["inside", "open"])
      assert.isBelow(Date.now() - began, 10_000)
      // and the connections are as they were
      yield* SqlClient.SqlClient.use((sql) => sql`select 1`)
    }).pipe(Effect.provide(client), Effect.timeout("30 seconds"))
  )
})

/** Appends to a tenant whose move has fenced it. */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import type { TenantId } from "../../src/domain/Tenant.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import { change, newToken, record } from "../../src/testing/driver/administrationKit.ts"
import { append, events, newTenant, refused, stream } from "../../src/testing/driver/eventKit.ts"
import { servers } from "../support/Databases.ts"
import type { Storages } from "../support/moving.ts"

/** Drivers whose appends wait for so long. */
const drivers = (
  moveWait: "300 millis" | "1 hour"
): ReadonlyArray<readonly [string, Layer.Layer<Storages>]> => [
  ["memory", MemoryStorage.layerWith({ moveWait })],
  ["PGlite", PgStorage.layerWith({ moveWait }).pipe(Layer.provide(PgEmbedded.layer), Layer.orDie)],
  ...servers.map(
    ({ freshDatabase, name }) =>
      [
        name,
        PgStorage.layerWith({ moveWait }).pipe(
          Layer.provide(Layer.unwrap(Effect.map(freshDatabase, ({ app }) => PgClient.layer(app)))),
          Layer.orDie
        )
      ] as const
  )
]

/** A tenant with two events that a move has fenced. */
const fenced = Effect.fnUntraced(function* (expiresInMillis: number) {
  const [tenantId, token] = [newTenant(), newToken()]
  yield* append(tenantId, stream("one", events(2)))
  yield* change(tenantId, { change: "fence", token, expiresInMillis, waitMillis: 1000 })
  return { tenantId, token }
})

const status = (tenantId: TenantId) => Effect.map(record(tenantId), (found) => found?.state.status)

for (const [name, storages] of drivers("1 hour"))
  layer(storages, { excludeTestServices: true })(`an append to a tenant on the move on ${name}`, (it) => {
    it.effect("waits in no place of group commit, so that the appends of others go on", () =>
      Effect.gen(function* () {
        const { tenantId, token } = yield* fenced(60_000)
        const waiting = yield* Effect.forkChild(
          Effect.forEach(
            Array.from({ length: 200 }, (_, n) => n),
            (n) => append(tenantId, stream(`waiting ${n}`, events(1))),
            { concurrency: "unbounded" }
          )
        )
        yield* Effect.sleep("100 millis")
        const other = newTenant()
        for (const n of [0, 1, 2])
          assert.deepStrictEqual((yield* append(other, stream("one", events(1)))).positions, [n + 1])
        assert.isUndefined(waiting.pollUnsafe())
        yield* change(tenantId, { change: "reopen", token })
        const positions = (yield* Fiber.join(waiting)).flatMap((receipt) => receipt.positions)
        assert.deepStrictEqual(
          positions.toSorted((one, two) => one - two),
          Array.from({ length: 200 }, (_, n) => n + 3)
        )
      })
    )

    it.effect("goes on once the fence has expired, without help", () =>
      Effect.gen(function* () {
        const { tenantId } = yield* fenced(300)
        assert.deepStrictEqual((yield* append(tenantId, stream("one", events(1)))).positions, [3])
        assert.strictEqual(yield* status(tenantId), "active")
      })
    )

    it.effect("is refused at once in a transaction of the program, which cannot follow", () =>
      Effect.gen(function* () {
        const { tenantId } = yield* fenced(60_000)
        const projections = yield* ProjectionStorage
        const refusal = yield* projections.transaction(tenantId, refused(tenantId, stream("two", events(1))))
        assert.deepStrictEqual(refusal, { _tag: "TenantMoving", tenantId })
      })
    )
  })

for (const [name, storages] of drivers("300 millis").filter(([driver]) => driver !== "PGlite"))
  layer(storages, { excludeTestServices: true })(`an append to a tenant on the move on ${name}`, (it) => {
    it.effect("is refused when the setting moveWait is over, and reads go on", () =>
      Effect.gen(function* () {
        const { tenantId, token } = yield* fenced(60_000)
        assert.deepStrictEqual(yield* refused(tenantId, stream("two", events(1))), {
          _tag: "TenantMoving",
          tenantId
        })
        assert.strictEqual(yield* status(tenantId), "moving")
        yield* change(tenantId, { change: "reopen", token })
        assert.deepStrictEqual((yield* append(tenantId, stream("two", events(1)))).positions, [3])
      })
    )
  })

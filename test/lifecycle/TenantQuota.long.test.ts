import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantQuota from "../../src/lifecycle/TenantQuota.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import { newTenant, position } from "../../src/testing/driver/eventKit.ts"
import { servers } from "../support/Databases.ts"
import { bundled } from "../support/programs.ts"
import type { Settings } from "../support/quotaWriter.ts"

const run = promisify(execFile)

describe.each(servers)("8 processes on $name", ({ freshDatabase }) => {
  it.live("append exactly as many events together as the quota allows", () =>
    Effect.gen(function* () {
      const { app } = yield* freshDatabase
      const storage = yield* Layer.build(
        Layer.merge(TenantQuota.layer, TenantRegistry.layer).pipe(
          Layer.provideMerge(PgStorage.layer),
          Layer.provide(PgClient.layer(app))
        )
      )
      const program = yield* Effect.promise(() => bundled("test/support/quotaWriter.ts"))
      for (const quota of [{ events: 100 }, { rate: { events: 100, window: "1 hour" } }] as const) {
        const tenantId = newTenant()
        yield* Effect.gen(function* () {
          yield* (yield* TenantRegistry.TenantRegistry).provision(tenantId)
          yield* (yield* TenantQuota.TenantQuota).set(tenantId, quota)
        }).pipe(
          Tenant.provideAdministration({ actor: "ada", reason: "test" }),
          Effect.provideContext(storage)
        )
        const { database, host, password, port, username } = app
        const settings: Settings = {
          database,
          host,
          port,
          username,
          password: Redacted.isRedacted(password) ? Redacted.value(password) : "",
          tenantId,
          appends: 25
        }
        const ended = yield* Effect.forEach(
          Array.from({ length: 8 }),
          () => Effect.promise(() => run(process.execPath, [program, JSON.stringify(settings)])),
          { concurrency: 8 }
        )
        const counts = ended.map(
          ({ stdout }) => JSON.parse(stdout) as { readonly written: number; readonly refused: number }
        )
        assert.strictEqual(
          counts.reduce((sum, { written }) => sum + written, 0),
          100
        )
        assert.strictEqual(
          counts.reduce((sum, { refused }) => sum + refused, 0),
          100
        )
        assert.strictEqual(yield* Effect.provideContext(position(tenantId), storage), 100)
      }
    })
  )
})

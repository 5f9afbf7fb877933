/** A person that is forgotten in one process is gone for another one, which has warm caches and goes on with its work. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { EventStorage, Forgetting, Tenant } from "effect-eventsourcing"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { servers } from "../support/Databases.ts"
import { services, settingsOf, startProcess, subject, ways } from "../support/forgettingProcess.ts"

const folder = Effect.acquireRelease(
  Effect.promise(() => fs.mkdtemp(Path.join(tmpdir(), "vault-"))),
  (path) => Effect.promise(() => fs.rm(path, { recursive: true }))
)

/** The log of a tenant, without the layer that opens personal data. */
const readLog = (tenantId: Tenant.TenantId) =>
  EventStorage.EventStorage.use((storage) =>
    storage.readLog({
      tenantId,
      fromPosition: 1,
      toPosition: 1_000_000,
      recordedFrom: undefined,
      recordedBefore: undefined,
      aggregateTypes: undefined,
      eventTypes: undefined,
      direction: "forwards",
      limit: 100_000
    })
  )

describe.each(servers)("two processes on $name", ({ freshDatabase }) => {
  it.live(
    "from the moment of a forgetting the other one neither shows, nor decides on, nor appends data",
    () =>
      Effect.gen(function* () {
        const { app } = yield* freshDatabase
        const tenantIds = [...ways, "all"].map(() => newTenant())
        const settings = settingsOf(app, tenantIds, Path.join(yield* folder, "keys"))
        yield* Effect.gen(function* () {
          const other = yield* startProcess(settings)
          yield* other.warm
          const { forget } = yield* Forgetting.Forgetting
          yield* Effect.forEach(
            tenantIds,
            (tenantId) => forget(subject, { reason: "request" }).pipe(Tenant.provide(tenantId)),
            { concurrency: "unbounded", discard: true }
          ).pipe(Tenant.provideAdministration({ actor: "officer", reason: "test" }))
          const { failures, first, leaked } = yield* other.tell
          assert.deepStrictEqual(failures, [])
          assert.deepStrictEqual(leaked, [])
          for (const [way, answer] of Object.entries(first)) {
            assert.notMatch(answer, /Ada|known/, way)
            if (way !== "personal data") assert.match(answer, /forgotten/i, way)
          }
          for (const tenantId of tenantIds) {
            const { rows } = yield* readLog(tenantId)
            const at = rows.findIndex(({ eventType }) => eventType === "SubjectForgotten")
            assert.isAbove(at, 0)
            const behind = rows.slice(at + 1).map(({ payload }) => payload)
            assert.deepStrictEqual(
              behind.filter((payload) => !payload.includes('"as":"forgotten"')),
              []
            )
          }
        }).pipe(Effect.provide(services(settings)))
      }).pipe(Effect.scoped)
  )
})

/** The contract of drivers: reading a log as a whole. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect } from "effect"
import type { EventStorage, EventRow, OpenLogRequest } from "../../driver/EventStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import { append, event, events, newTenant, readLog, readOpened, stream } from "./eventKit.ts"

/** Various events in several chunks, some with texts and sizes that no chunk can contain. */
const written = Array.from({ length: 700 }, (_, n) =>
  event({
    eventType: n % 3 === 0 ? "Third" : "Happened",
    occurredAt: 1_600_000_000_000 + n,
    actor: n % 5 === 0 ? null : "somebody",
    causationId: n % 7 === 0 ? null : `cause ${n}`,
    tags: n % 11 === 0 ? ["a", `n:${n}`] : [],
    metadata: n % 13 === 0 ? "{}" : `{"n":${n}}`,
    correlationId: n === 300 ? "with \u001f in it" : "correlation",
    payload: JSON.stringify({ _tag: "Happened", text: "x".repeat(n === 450 || n > 650 ? 20_000 : n % 300) })
  })
)

/** The same rows, page by page. */
const paged = Effect.fnUntraced(function* (tenantId: TenantId, options: Partial<OpenLogRequest>) {
  const rows: Array<EventRow> = []
  for (let { fromPosition = 1 } = options; ;) {
    const page = yield* readLog(tenantId, { ...options, fromPosition })
    rows.push(...page.rows)
    if (page.complete) return rows
    fromPosition = (rows.at(-1)?.position ?? fromPosition) + 1
  }
})

export const openLog = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("has the rows of its pages, in any portions, each once", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", written.slice(0, 350)))
      yield* append(tenant, stream("two", written.slice(350), "any", "Other"))
      const selections: ReadonlyArray<Partial<OpenLogRequest>> = [
        {},
        { fromPosition: 0, toPosition: 128 },
        { fromPosition: 129, toPosition: 129 },
        { fromPosition: 200, toPosition: 640 },
        { aggregateTypes: ["Other"] },
        { eventTypes: ["Third"], aggregateTypes: ["Case"] },
        { eventTypes: [] },
        { fromPosition: 701 },
        { fromPosition: 500, toPosition: 400 },
        { query: [{ eventTypes: ["Third"], tags: ["a"] }] },
        { recordedFrom: 0 }
      ]
      for (const selection of selections) {
        const rows = yield* paged(tenant, selection)
        for (const limit of [1000, 100, 7])
          assert.deepStrictEqual((yield* readOpened(tenant, selection, limit)) ?? rows, rows)
      }
    })
  )

  it.effect("has only the events of its tenant, also while others with the same streams are read", () =>
    Effect.gen(function* () {
      const tenants = Array.from({ length: 4 }, newTenant)
      for (const tenant of tenants) yield* append(tenant, stream("same", events(300, { actor: tenant })))
      const logs = yield* Effect.forEach(
        [...tenants, ...tenants],
        (tenant) =>
          Effect.map(readOpened(tenant, {}, 50), (rows) => ({
            tenant,
            rows
          })),
        { concurrency: "unbounded" }
      )
      for (const { rows, tenant } of logs)
        assert.deepStrictEqual(rows ?? (yield* readLog(tenant)).rows, (yield* readLog(tenant)).rows)
      for (const { rows, tenant } of logs)
        assert.isTrue(rows === undefined || rows.every(({ actor }) => actor === tenant))
      assert.deepStrictEqual((yield* readOpened(newTenant())) ?? [], [])
    })
  )
}

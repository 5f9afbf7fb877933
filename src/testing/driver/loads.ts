/** The contract of drivers: loading the events of a stream to fold them. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect } from "effect"
import type { EventStorage } from "../../driver/EventStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import {
  append,
  contentsOf,
  endsWith,
  event,
  events,
  loadPages,
  newTenant,
  readStream,
  stream
} from "./eventKit.ts"
import { texts } from "./fidelity.ts"

export const loads = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("a load returns the same events as a read, of this tenant and stream only", () =>
    Effect.gen(function* () {
      const [tenant, other] = [newTenant(), newTenant()]
      const variety = [
        ...events(3),
        event({ eventType: "Other", schemaVersion: 2 }),
        event({ payload: texts["the order of keys"], eventType: "Separated\u001fand\nbroken" }),
        event({ payload: texts["a long string"] }),
        event({ payload: texts["a long string"] }),
        ...events(140, { eventType: "Other", payload: texts["all of Unicode"] })
      ]
      yield* append(other, stream("one", events(7, { eventType: "Theirs" })))
      yield* append(tenant, stream("two", events(3)), stream("one", variety), stream("three", events(3)))
      const { rows } = yield* readStream(tenant, "one")
      for (const [fromVersion, toVersion, limit] of [
        [1, 2_147_483_647, 1],
        [1, 2_147_483_647, 100],
        [0, 2_147_483_647, 10_000],
        [2, 145, 40],
        [147, 2_147_483_647, 10],
        [148, 2_147_483_647, 10],
        [5, 4, 10]
      ] as const) {
        const loaded = yield* loadPages(tenant, "one", { fromVersion, toVersion, limit })
        const expected = rows.filter((row) => row.version >= fromVersion && row.version <= toVersion)
        const withIds = yield* loadPages(tenant, "one", { fromVersion, toVersion, limit, eventIds: true })
        assert.deepStrictEqual(
          withIds.flatMap((page) => page.rows.map(({ eventId, version }) => [version, eventId])),
          expected.map(({ eventId, version }) => [version, eventId])
        )
        assert.deepStrictEqual(
          loaded.flatMap((page) => contentsOf(page.rows)),
          contentsOf(expected)
        )
        for (const page of loaded) {
          const [first, last] = [page.rows[0], page.rows.at(-1)].map((content) =>
            rows.find((row) => row.version === content?.version)
          )
          assert.strictEqual(page.firstEventId, first?.eventId)
          assert.deepStrictEqual(
            page.last,
            last && {
              version: last.version,
              position: last.position,
              eventId: last.eventId,
              recordedAt: last.recordedAt
            }
          )
        }
      }
    })
  )

  it.effect("a stream ends with its last event, and with no other one", () =>
    Effect.gen(function* () {
      const [tenant, other] = [newTenant(), newTenant()]
      const [one, two] = events(2)
      if (one === undefined || two === undefined) return assert.fail()
      yield* append(tenant, stream("one", [one]))
      assert.isTrue(yield* endsWith(tenant, "one", 1, one.eventId))
      yield* append(tenant, stream("one", [two]), stream("two", events(3)))
      yield* append(other, stream("one", events(1)))
      assert.isTrue(yield* endsWith(tenant, "one", 2, two.eventId))
      for (const [tenantId, id, version, eventId] of [
        // there is a later one
        [tenant, "one", 1, one.eventId],
        [tenant, "one", 2, one.eventId],
        [tenant, "one", 1, two.eventId],
        [tenant, "one", 3, two.eventId],
        [tenant, "one", 2, event().eventId],
        [tenant, "two", 2, two.eventId],
        [tenant, "none", 2, two.eventId],
        [other, "one", 2, two.eventId],
        [other, "one", 1, one.eventId],
        [newTenant(), "one", 2, two.eventId]
      ] as const)
        assert.isFalse(yield* endsWith(tenantId, id, version, eventId))
    })
  )

  it.effect("concurrent questions for the ends of streams are answered for their own tenant and stream", () =>
    Effect.gen(function* () {
      const tenants = [newTenant(), newTenant(), newTenant()]
      const ends: Array<readonly [TenantId, string, number, string]> = []
      for (const [index, tenant] of tenants.entries())
        for (const id of ["one", "two", "three", "four"]) {
          const written = events(index + 1)
          yield* append(tenant, stream(id, written))
          ends.push([tenant, id, index + 1, written.at(-1)?.eventId ?? ""])
        }
      const asked = ends.flatMap(([tenant, id, version, eventId]) =>
        tenants.map((one) => [one, id, version, eventId, one === tenant] as const)
      )
      const found = yield* Effect.forEach(
        asked,
        ([tenant, id, version, eventId]) => endsWith(tenant, id, version, eventId),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        found,
        asked.map(([, , , , expected]) => expected)
      )
    })
  )

  it.effect("concurrent loads return the events of their own tenant and stream only", () =>
    Effect.gen(function* () {
      const tenants = [newTenant(), newTenant(), newTenant()]
      for (const [index, tenant] of tenants.entries()) {
        const eventType = `Of${index}`
        yield* append(
          tenant,
          stream("short", events(index + 1, { eventType })),
          stream("long", events(200 + index, { eventType })),
          stream("large", events(3, { eventType, payload: `"${index}${"x".repeat(60_000)}"` }))
        )
      }
      const streams = [...tenants, newTenant()].flatMap((tenant) =>
        ["short", "long", "large", "none"].map((id) => ({ tenant, id }))
      )
      const expected = yield* Effect.forEach(streams, ({ id, tenant }) =>
        Effect.map(readStream(tenant, id), ({ rows }) => [contentsOf(rows), rows.at(-1)?.eventId])
      )
      for (const limit of [1, 100, 10_000]) {
        const found = yield* Effect.forEach(
          streams,
          ({ id, tenant }) =>
            Effect.map(loadPages(tenant, id, { limit: id === "short" ? limit : 10_000 }), (loaded) => [
              loaded.flatMap(({ rows }) => contentsOf(rows)),
              loaded.findLast(({ last }) => last !== undefined)?.last?.eventId
            ]),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(found, expected)
      }
    })
  )
}

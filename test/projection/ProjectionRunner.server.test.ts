/** Runners of several processes on one server: shared work and announcements. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, layer } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import {
  append,
  beside,
  changed,
  Database,
  drain,
  equalsFold,
  eventually,
  isLive,
  journal,
  newProcess,
  noted,
  orders,
  placed,
  progressOf,
  serverDatabases,
  tenants
} from "../support/projected.ts"

/** The given number of events of a log. */
const many = (count: number) => Array.from({ length: count }, () => noted)

/** The handled events, in order. */
const journalOf = (all: ReadonlyArray<Tenant.TenantId>) =>
  Effect.flatMap(
    Database,
    ({ owner }) => owner<{ tenant: Tenant.TenantId; position: number; worker: string }>`
      select tenant_id::text as tenant, position::int as position, worker from journal
      where tenant_id = any (${all}::uuid[]) order by n`
  )

/** Only hints wake these workers. */
const byHint = { concurrency: 2, pollInterval: "1 hour", sweepInterval: "1 hour" } as const

describe.each(serverDatabases)("on $name", (database) => {
  layer(newProcess.pipe(Layer.provideMerge(database.layer)), { excludeTestServices: true })((it) => {
    it.effect("two processes share the work, and every event is handled once, in its tenant's order", () =>
      Effect.gen(function* () {
        const all = yield* tenants(30)
        const count = 20
        const first = beside([journal("first", { batchSize: 3 })], {
          concurrency: 4,
          pollInterval: "50 millis"
        })
        const second = beside([journal("second", { batchSize: 3 })], {
          concurrency: 4,
          pollInterval: "50 millis"
        })
        const done = eventually(
          Effect.flatMap(journalOf(all), (rows) =>
            Effect.sync(() => assert.lengthOf(rows, all.length * count))
          )
        )
        const other = yield* Effect.forkChild(
          Effect.provide(second(Effect.never), newProcess, { local: true })
        )
        yield* first(
          Effect.gen(function* () {
            for (let n = 0; n < count; n += 5) {
              yield* Effect.forEach(all, (tenant) => append(tenant, "one", ...many(5)), { concurrency: 4 })
            }
            yield* done
          })
        )
        yield* Fiber.interrupt(other)
        const rows = yield* journalOf(all)
        for (const tenant of all) {
          assert.deepStrictEqual(
            rows.flatMap((row) => (row.tenant === tenant ? [row.position] : [])),
            Array.from({ length: count }, (_, n) => n + 1)
          )
        }
        assert.sameMembers([...new Set(rows.map(({ worker }) => worker))], ["first", "second"])
        // A stopped runner leaves no claims.
        yield* append(all[0] ?? Tenant.untenanted, "one", noted)
        yield* beside([journal("third")])(
          eventually(Effect.andThen(drain, isLive(all[0] ?? Tenant.untenanted, count + 1, "journal")))
        )
      })
    )

    it.effect("12: a poison event of one tenant among a hundred stops only that tenant", () =>
      Effect.gen(function* () {
        const all = yield* tenants(100)
        const [poisoned = Tenant.untenanted, ...sound] = all
        yield* Effect.forEach(
          all,
          (tenant) => append(tenant, "a", placed(1), changed(tenant === poisoned ? 666 : 2), changed(3)),
          { concurrency: 8 }
        )
        const projection = orders({
          before: (n) => (n === 666 ? Effect.die(new Error("poison")) : Effect.void)
        })
        yield* Effect.gen(function* () {
          for (const tenant of sound) yield* eventually(isLive(tenant, 3))
          yield* eventually(
            Effect.map(progressOf(poisoned), ({ live }) =>
              assert.deepInclude(live, {
                position: 1,
                parked: true,
                failedPosition: 2,
                error: "Error: poison"
              })
            )
          )
        }).pipe(beside([projection], { concurrency: 4, pollInterval: "50 millis" }))
        for (const tenant of sound.slice(0, 10)) yield* equalsFold(tenant)
        yield* equalsFold(poisoned, 1)
      })
    )

    it.effect(
      "13: 99 tenants with one event each are served before a tenth of another tenant's backlog",
      () =>
        Effect.gen(function* () {
          const backlog = Number(process.env["BACKLOG"] ?? 10_000)
          const [big = Tenant.untenanted, ...small] = yield* tenants(100)
          for (let n = 0; n < backlog; n += 1000) yield* append(big, "one", ...many(1000))
          yield* Effect.forEach(small, (tenant) => append(tenant, "one", noted), { concurrency: 8 })
          const storage = yield* ProjectionStorage
          yield* Effect.gen(function* () {
            // The workers start after all appends.
            yield* storage.sweep
            yield* eventually(Effect.map(journalOf(small), (rows) => assert.lengthOf(rows, small.length)))
          }).pipe(beside([journal("fair")], { concurrency: 2, pollInterval: "50 millis" }))
          const rows = yield* journalOf([big, ...small])
          const last = rows.findLastIndex(({ tenant }) => tenant !== big)
          const before = rows.slice(0, last).filter(({ tenant }) => tenant === big)
          assert.isAtMost(before.length, backlog / 10)
        })
    )

    it.effect("an append wakes the workers of its own and of another process", () =>
      Effect.gen(function* () {
        const [tenant = Tenant.untenanted, other = Tenant.untenanted] = yield* tenants(2)
        const handled = (tenantId: Tenant.TenantId, position: number) =>
          Effect.gen(function* () {
            const before = yield* Clock.currentTimeMillis
            yield* append(tenantId, "one", noted)
            yield* eventually(isLive(tenantId, position, "journal"))
            assert.isBelow((yield* Clock.currentTimeMillis) - before, 2000)
          })
        const elsewhere = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
          Effect.provide(effect, newProcess, { local: true })
        yield* Effect.gen(function* () {
          for (const position of [1, 2, 3]) yield* handled(tenant, position)
          yield* elsewhere(Effect.forEach([4, 5], (position) => handled(tenant, position)))
        }).pipe(beside([journal("near")], byHint))
        const worker = yield* Effect.forkChild(elsewhere(Effect.never.pipe(beside([journal("far")], byHint))))
        yield* eventually(isListening)
        for (const position of [1, 2, 3]) yield* handled(other, position)
        yield* Fiber.interrupt(worker)
      })
    )

    it.effect("listening is resumed after the connection was lost", () =>
      Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        const { owner } = yield* Database
        const worker = yield* Effect.forkChild(
          Effect.provide(Effect.never.pipe(beside([journal("listener")], byHint)), newProcess, {
            local: true
          })
        )
        for (const position of [1, 2]) {
          const [listener] = yield* eventually(isListening)
          yield* owner`select pg_terminate_backend(${listener?.pid ?? 0})`
          yield* eventually(
            Effect.map(isListening, (again) => assert.isTrue(again.every(({ pid }) => pid !== listener?.pid)))
          )
          yield* append(tenant, "one", noted)
          yield* eventually(isLive(tenant, position, "journal"))
        }
        yield* Fiber.interrupt(worker)
      })
    )

    it.effect("19: announcements reveal nothing to listeners, and forged ones change nothing", () =>
      Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        const client = yield* PgClient.PgClient
        const sql = yield* SqlClient.SqlClient
        const heard: Array<unknown> = []
        const listening = yield* Effect.forkChild(
          Stream.unwrap(Effect.map(client.listen("eventsourcing"), Stream.fromQueue)).pipe(
            Stream.runForEach(({ channel, payload }) => Effect.sync(() => heard.push({ channel, payload })))
          )
        )
        yield* Effect.gen(function* () {
          yield* append(tenant, "secret-order", noted)
          yield* eventually(isLive(tenant, 1, "journal"))
          const before = yield* progressOf(tenant, "journal")
          yield* eventually(Effect.sync(() => assert.isNotEmpty(heard)))
          for (const notice of heard)
            assert.deepStrictEqual(notice, { channel: "eventsourcing", payload: "" })
          for (const payload of [
            "",
            tenant,
            `{"tenant_id":"${tenant}","head":99}`,
            "'; drop table journal"
          ]) {
            yield* sql`select pg_notify('eventsourcing', ${payload})`
          }
          yield* sql`select eventsourcing.announce(${[tenant, Tenant.untenanted]}::uuid[])`
          yield* append(tenant, "secret-order", noted)
          yield* eventually(isLive(tenant, 2, "journal"))
          const { live } = yield* progressOf(tenant, "journal")
          assert.deepStrictEqual(live, { ...before.live, position: 2, head: 2 })
          assert.lengthOf(yield* journalOf([tenant]), 2)
        }).pipe(beside([journal("deaf")], { concurrency: 2, pollInterval: "50 millis" }))
        yield* Fiber.interrupt(listening)
      })
    )
  })
})

/** The connections that listen for announcements. Fails if there is none. */
const isListening = Effect.flatMap(
  Database,
  ({ owner }) => owner<{ pid: number }>`
    select pid from pg_stat_activity where datname = current_database() and query ilike 'listen%'`
).pipe(Effect.tap((rows) => Effect.sync(() => assert.isNotEmpty(rows))))

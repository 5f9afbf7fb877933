/** Many concurrent writers, readers and processes, and interruption at any point, on real servers. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Random, Schedule, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import type { EventStorage, NewEventRow } from "../../src/driver/EventStorage.ts"
import {
  aggregateType,
  append,
  appended,
  batch,
  event,
  events,
  newTenant,
  position,
  readLog,
  readStream,
  request,
  stream
} from "../../src/testing/driver/eventKit.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { type Config, type Database, servers } from "../support/Databases.ts"
import { reasonOf } from "../../src/testing/failures.ts"

type Store = EventStorage | SqlClient.SqlClient

const unbounded = { concurrency: "unbounded" } as const
const numbers = (count: number): ReadonlyArray<number> =>
  Array.from({ length: count }, (_, index) => index + 1)

/** A store with a pool of its own, like that of another process. */
const storeOn = (
  database: Database,
  maxConnections: number
): Effect.Effect<Context.Context<Store>, never, Scope.Scope> =>
  Layer.build(
    Layer.fresh(
      PgStorage.layer.pipe(
        Layer.provideMerge(PgClient.layer({ ...database.app, maxConnections })),
        Layer.orDie
      )
    )
  )

const query = <A extends object>(config: Config, statement: string) =>
  PgClient.PgClient.use((sql) => sql.unsafe<A>(statement)).pipe(
    Effect.provide(PgClient.layer({ ...config, maxConnections: 1 }), { local: true }),
    Effect.orDie
  )

/** Repeats a check until it succeeds, for at most five seconds. */
const eventually = <A, E>(ask: Effect.Effect<A, E>, isSo: (answer: A) => boolean) =>
  ask.pipe(
    Effect.repeat({
      until: isSo,
      schedule: Schedule.spaced("20 millis").pipe(Schedule.upTo({ duration: "5 seconds" }))
    }),
    Effect.andThen(ask)
  )

/** Follows a log from its beginning, page by page, up to a number of events. Every position must be the next one. */
const follow = Effect.fnUntraced(function* (tenant: Tenant.TenantId, total: number) {
  const seen: Array<string> = []
  while (seen.length < total) {
    const { rows } = yield* readLog(tenant, { fromPosition: seen.length + 1, limit: 40 })
    for (const row of rows) {
      assert.strictEqual(row.position, seen.length + 1)
      seen.push(row.eventId)
    }
    if (rows.length === 0) yield* Effect.sleep("1 millis")
  }
  return seen
})

describe.each(servers)("on $name", ({ freshDatabase }) => {
  const withStore = <A, E>(body: Effect.Effect<A, E, Store | Scope.Scope>, maxConnections = 32) =>
    Effect.gen(function* () {
      const store = yield* storeOn(yield* freshDatabase, maxConnections)
      return yield* Effect.provideContext(body, store)
    })

  it.live("exactly one of 32 writers wins each version, and the others get the actual version", () =>
    withStore(
      Effect.gen(function* () {
        const tenant = newTenant()
        for (const version of numbers(10)) {
          const attempts = numbers(32).map(() =>
            batch(request(tenant, stream("hot", events(1), version - 1)))
          )
          const outcomes = (yield* Effect.all(attempts, unbounded)).flat()
          const stale = { aggregateType, aggregateId: "hot", expected: version - 1, actual: version }
          const lost = { _tag: "VersionConflict", tenantId: tenant, ...stale }
          assert.sameDeepMembers(outcomes, [
            appended([version], [version]),
            ...Array.from({ length: 31 }, () => lost)
          ])
        }
      })
    )
  )

  it.live("32 writers that load again after a conflict all succeed", () =>
    withStore(
      Effect.gen(function* () {
        const tenant = newTenant()
        const won: Array<number> = []
        const writer = Effect.gen(function* () {
          let known = 0
          for (let wins = 0; wins < 4;) {
            const outcome = yield* Effect.result(append(tenant, stream("hot", events(1), known)))
            if (outcome._tag === "Success") {
              known = outcome.success.versions[0] ?? 0
              won.push(known)
              wins++
            } else {
              const reason = reasonOf(outcome.failure)
              if (reason._tag !== "VersionConflict") return yield* outcome.failure
              assert.strictEqual(reason.expected, known)
              assert.isAbove(reason.actual, known)
              known = reason.actual
            }
          }
        })
        yield* Effect.all(
          Array.from({ length: 32 }, () => writer),
          unbounded
        )
        assert.deepStrictEqual(
          won.toSorted((left, right) => left - right),
          numbers(32 * 4)
        )
      })
    )
  )

  it.live("a reader that follows a log sees every position once and in order, during concurrent writes", () =>
    withStore(
      Effect.gen(function* () {
        const [hot, ...others] = Array.from({ length: 4 }, newTenant) as [Tenant.TenantId, Tenant.TenantId]
        const rounds = 25
        // The hot tenant has 32 writers, with one to three events in one or two streams; every other tenant has 8.
        const write = (tenant: Tenant.TenantId, writer: number) =>
          Effect.forEach(
            numbers(rounds),
            (round) =>
              round % 3 === 0
                ? append(tenant, stream(`own ${writer}`, events(1)), stream("shared", events(2)))
                : append(tenant, stream(`own ${writer}`, events(1))),
            { discard: true }
          )
        const eventsOfWriter = rounds + 2 * Math.floor(rounds / 3)
        const traffic = [
          ...numbers(32).map((writer) => write(hot, writer)),
          ...others.flatMap((tenant) => numbers(8).map((writer) => write(tenant, writer)))
        ]
        const readers = yield* Effect.forkChild(
          Effect.all(
            [follow(hot, 32 * eventsOfWriter), ...others.map((tenant) => follow(tenant, 8 * eventsOfWriter))],
            unbounded
          )
        )
        yield* Effect.all(traffic, unbounded)
        const seen = yield* Fiber.join(readers)
        for (const [index, tenant] of [hot, ...others].entries()) {
          assert.strictEqual(yield* position(tenant), seen[index]?.length)
          assert.lengthOf(new Set(seen[index]), seen[index]?.length ?? 0)
        }
        const shared = yield* readStream(hot, "shared")
        assert.deepStrictEqual(
          shared.rows.map((row) => row.version),
          numbers(32 * 2 * Math.floor(rounds / 3))
        )
      })
    )
  )

  it.live("two processes with batches over the same tenants in opposite order do not deadlock", () =>
    Effect.gen(function* () {
      const database = yield* freshDatabase
      const tenants = Array.from({ length: 6 }, newTenant)
      const rounds = 60
      const write = (order: ReadonlyArray<Tenant.TenantId>) =>
        Effect.gen(function* () {
          const store = yield* storeOn(database, 8)
          const outcomes = yield* Effect.forEach(
            numbers(rounds),
            () => batch(...order.map((tenant) => request(tenant, stream("one", events(1))))),
            { concurrency: 8 }
          ).pipe(Effect.provideContext(store))
          return outcomes.flat()
        }).pipe(Effect.scoped)
      const outcomes = yield* Effect.all([write(tenants), write(tenants.toReversed())], { concurrency: 2 })
      assert.isTrue(outcomes.flat().every(({ _tag }) => _tag === "Appended"))
      // The driver would hide a deadlock by trying again, but the server counts deadlocks, at the latest when a session ends.
      yield* eventually(
        query<{ count: number }>(
          database.owner,
          "select count(*)::integer as count from pg_stat_activity where datname = current_database() and usename <> current_user"
        ),
        ([row]) => row?.count === 0
      )
      assert.deepStrictEqual(
        yield* query(
          database.owner,
          "select deadlocks::integer as deadlocks from pg_stat_database where datname = current_database()"
        ),
        [{ deadlocks: 0 }]
      )
      const store = yield* storeOn(database, 1)
      for (const tenant of tenants) {
        assert.strictEqual(yield* Effect.provideContext(position(tenant), store), 2 * rounds)
      }
    })
  )

  it.live("an interrupted append is stored whole or not at all, and leaves a clean connection", () =>
    Effect.gen(function* () {
      const database = yield* freshDatabase
      const connections = 4
      const store = yield* storeOn(database, connections)
      const tenants = Array.from({ length: 3 }, newTenant) as [Tenant.TenantId]
      const work = numbers(300).map((number) => {
        const tenant = tenants[number % tenants.length] ?? tenants[0]
        const own = (): ReadonlyArray<NewEventRow> => [
          event({ correlationId: String(number) }),
          event({ correlationId: String(number) })
        ]
        return { number, tenant, streams: [stream("shared", own()), stream(`own ${number}`, own(), 0)] }
      })
      const attempt = ({
        number,
        streams,
        tenant
      }: (typeof work)[number]): Effect.Effect<void, unknown, Store> => {
        const write = Effect.asVoid(append(tenant, ...streams))
        if (number % 3 !== 0) return write
        // The same in a transaction of the application, which is also interrupted between its statements.
        const sleep = SqlClient.SqlClient.use((sql) => sql`select pg_sleep(0.001)`)
        return Effect.asVoid(
          PgTenant.transaction(Effect.andThen(Effect.andThen(sleep, write), sleep)).pipe(
            Tenant.provide(tenant)
          )
        )
      }
      const acknowledged = yield* Effect.forEach(
        work,
        (one) =>
          Effect.flatMap(Random.nextIntBetween(0, 12), (millis) =>
            Effect.timeoutOption(attempt(one), one.number % 10 === 0 ? "1 minute" : millis)
          ),
        { concurrency: 12 }
      ).pipe(
        Effect.map((outcomes) => outcomes.map(({ _tag }) => _tag === "Some")),
        Effect.provideContext(store)
      )
      assert.include(acknowledged, true)
      assert.include(acknowledged, false)

      const sessions = query<{ state: string }>(
        database.owner,
        "select state from pg_stat_activity where datname = current_database() and usename <> current_user"
      )
      const states = yield* eventually(sessions, (rows) => rows.every(({ state }) => state === "idle"))
      assert.isAtMost(states.length, connections)
      assert.isTrue(
        states.every(({ state }) => state === "idle"),
        JSON.stringify(states)
      )
      const settings = yield* Effect.scoped(
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const reserved = yield* Effect.all(Array.from({ length: connections }, () => sql.reserve))
          return yield* Effect.forEach(reserved, (connection) =>
            connection.executeValues(
              "select coalesce(current_setting('eventsourcing.tenant_id', true), ''), current_user = session_user",
              []
            )
          )
        })
      ).pipe(Effect.provideContext(store))
      assert.deepStrictEqual(
        settings,
        Array.from({ length: connections }, () => [["", true]])
      )

      const written = new Map<string, number>()
      for (const tenant of tenants) {
        const { rows } = yield* Effect.provideContext(readLog(tenant), store)
        assert.deepStrictEqual(
          rows.map((row) => row.position),
          numbers(rows.length)
        )
        for (const { correlationId } of rows) {
          written.set(correlationId, (written.get(correlationId) ?? 0) + 1)
        }
      }
      for (const [index, { number }] of work.entries()) {
        const count = written.get(String(number)) ?? 0
        assert.isTrue(
          acknowledged[index] === true ? count === 4 : count === 0 || count === 4,
          `${number}: ${count}`
        )
      }
      // A writer that does not know the outcome repeats its append, and each event is stored once.
      for (const { number, streams, tenant } of work) {
        const receipt = yield* Effect.provideContext(append(tenant, ...streams), store)
        assert.strictEqual(receipt.replayed, written.has(String(number)))
      }
    })
  )
})

/**
 * Acknowledged appends survive: the server, one of its processes, or a writer is killed under load, again and again.
 * `EVENTSOURCING_CRASH_ROUNDS` sets the number of crashes (default: 2).
 */
import { PgClient } from "@effect/sql-pg"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Fiber, Redacted, Schedule, Stream } from "effect"
import { spawn } from "node:child_process"
import { readFile } from "node:fs/promises"
import * as Path from "node:path"
import * as EventStore from "../../src/store/EventStore.ts"
import type { StorageUnavailable } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { append, deposited } from "../support/bank.ts"
import { type Acknowledged, type Settings, settingsName, storeOn, write } from "../support/crashWriter.ts"
import { type Database, configOf, freshDatabase } from "../support/Databases.ts"
import { type PgServer, start } from "../support/PgServer.ts"
import { bundled } from "../support/programs.ts"

const rounds = Number(process.env["EVENTSOURCING_CRASH_ROUNDS"] ?? 2)
const writers = 16

const pause = (millis: number) => Effect.sleep(millis)
const until = (condition: () => boolean) =>
  Effect.gen(function* () {
    while (!condition()) yield* pause(5)
  })

/** Checks that a log is complete: no gap, no event twice, no half batch, and every acknowledged event in its place. */
const checkLog = Effect.fnUntraced(function* (acknowledged: ReadonlyArray<Acknowledged>) {
  const store = yield* EventStore.EventStore
  const tenantId = yield* Tenant.CurrentTenant
  const log = yield* Stream.runCollect(store.readLogJson({}))
  const versions = new Map<string, number>()
  const batches = new Map<string, { size: number; found: number }>()
  const byId = new Map<string, (typeof log)[number]>()
  for (const [index, event] of log.entries()) {
    assert.strictEqual(event.position, index + 1)
    const version = (versions.get(event.aggregateId) ?? 0) + 1
    assert.strictEqual(event.version, version)
    versions.set(event.aggregateId, version)
    assert.isFalse(byId.has(event.eventId))
    byId.set(event.eventId, event)
    const { batch, size } = event.metadata
    if (typeof batch !== "string" || typeof size !== "number") continue
    batches.set(batch, { size, found: (batches.get(batch)?.found ?? 0) + 1 })
  }
  for (const [batch, { found, size }] of batches) assert.strictEqual(found, size, batch)
  for (const event of acknowledged.filter((one) => one.tenantId === tenantId)) {
    const { aggregateId, position, version } = byId.get(event.eventId) ?? {}
    assert.deepStrictEqual(
      { aggregateId, position, version },
      { aggregateId: event.aggregateId, position: event.position, version: event.version }
    )
  }
  return log.length
})

/** Kills the server: all of its processes, only the first, or one that serves a client. */
const kill = (server: PgServer, database: Database, target: "everything" | "the postmaster" | "a backend") =>
  Effect.gen(function* () {
    const file = yield* Effect.promise(() =>
      readFile(Path.join(server.dataDirectory, "postmaster.pid"), "utf8")
    )
    const postmaster = Number(file.split("\n")[0])
    if (target === "a backend") {
      // The others end with it, and the server recovers by itself.
      const [backend] = yield* PgClient.PgClient.use(
        (sql) => sql<{ pid: number }>`
          select pid from pg_stat_activity
          where datname = ${database.name} and pid <> pg_backend_pid() order by state = 'active' desc limit 1`
      ).pipe(Effect.provide(PgClient.layer(database.owner)), Effect.orDie)
      if (backend !== undefined) process.kill(backend.pid, "SIGKILL")
      return
    }
    if (target === "everything") process.kill(-postmaster, "SIGKILL")
    yield* Effect.promise(server.kill9)
  })

/** Waits until only the owner is connected. */
const allGone = (database: Database) =>
  PgClient.PgClient.use((sql) =>
    sql`select from pg_stat_activity where datname = ${database.name} and pid <> pg_backend_pid()`.pipe(
      Effect.repeat({ until: (rows) => rows.length === 0, schedule: Schedule.spaced("20 millis") })
    )
  ).pipe(Effect.provide(PgClient.layer(database.owner)), Effect.orDie)

/** A process that writes until it is killed. */
const startWriter = (database: Database, server: PgServer, name: string, tenants: Settings["tenants"]) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const program = await bundled("test/support/crashWriter.ts")
      const { app } = database
      const settings: Settings = {
        host: server.host,
        port: server.port,
        username: app.username ?? "",
        password: Redacted.isRedacted(app.password) ? Redacted.value(app.password) : "",
        database: database.name,
        name,
        tenants
      }
      const child = spawn(process.execPath, [program], {
        env: { ...process.env, [settingsName]: JSON.stringify(settings) },
        stdio: ["ignore", "pipe", "inherit"]
      })
      let said = ""
      child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text))
      const ended = new Promise<NodeJS.Signals | null>((resolve) => {
        child.once("close", (_code, signal) => resolve(signal))
      })
      return {
        /** Its complete lines of output so far. */
        acknowledged: () =>
          said
            .split("\n")
            .slice(0, -1)
            .flatMap((line) => JSON.parse(line) as ReadonlyArray<Acknowledged>),
        hasSaid: (length: number) => said.length >= length,
        kill: Effect.promise(() => {
          child.kill("SIGKILL")
          return ended
        })
      }
    }),
    (writer) => writer.kill
  )

describe("acknowledged appends on PostgreSQL", () => {
  let server: PgServer

  beforeAll(async () => {
    // Settings that the shared server of the tests does without.
    server = await start({ settings: { fsync: "on" } })
  })
  afterAll(() => server.stop())

  it.live(
    `30: are stored, once and completely, after ${rounds} crashes of the server under ${writers} writers and an outage`,
    () =>
      Effect.gen(function* () {
        const database = yield* freshDatabase(configOf(server))
        const tenants = [yield* Tenant.generate, yield* Tenant.generate]
        const acknowledged: Array<Acknowledged> = []
        const failures: Array<StorageUnavailable> = []
        let done = false
        yield* Effect.gen(function* () {
          const load = yield* Effect.forkChild(
            write({
              name: "writer",
              writers,
              tenants,
              onAcknowledged: (events) => acknowledged.push(...events),
              onUnavailable: (error) => failures.push(error),
              isDone: () => done
            })
          )
          const more = (events: number) => {
            const target = acknowledged.length + events
            return until(() => acknowledged.length >= target || load.pollUnsafe() !== undefined)
          }
          for (let round = 0; round < rounds; round++) {
            yield* more(200)
            yield* pause(Math.random() * 200)
            const target = (["everything", "a backend", "the postmaster"] as const)[round % 3] ?? "everything"
            yield* kill(server, database, target)
            if (target !== "a backend") yield* Effect.promise(server.restart)
          }
          // A long outage is reported as transient, after a bounded time.
          yield* more(200)
          const before = failures.length
          yield* Effect.promise(server.kill9)
          yield* until(() => failures.length >= before + writers || load.pollUnsafe() !== undefined)
          for (const { operation, retryable } of failures) {
            assert.deepStrictEqual({ operation, retryable }, { operation: "append", retryable: true })
          }
          yield* Effect.promise(server.restart)
          yield* more(200)
          done = true
          yield* Fiber.join(load)
          let events = 0
          for (const tenantId of tenants)
            events += yield* checkLog(acknowledged).pipe(Tenant.provide(tenantId))
          // Every batch was repeated until it was acknowledged, so there are no other events.
          assert.strictEqual(events, acknowledged.length)
        }).pipe(Effect.provide(storeOn(database.app, writers)))
      }).pipe(Effect.scoped),
    60_000 + rounds * 10_000
  )

  it.live(
    "30: are stored, once and completely, after a writer was killed",
    () =>
      Effect.gen(function* () {
        const database = yield* freshDatabase(configOf(server))
        const tenantId = yield* Tenant.generate
        const children = yield* Effect.forEach(["one", "two"], (name) =>
          startWriter(database, server, name, [tenantId])
        )
        for (const [index, child] of children.entries()) {
          yield* until(() => child.hasSaid(20_000 * (index + 1)))
          yield* pause(Math.random() * 50)
          assert.strictEqual(yield* child.kill, "SIGKILL")
        }
        const acknowledged = children.flatMap((child) => child.acknowledged())
        assert.isAbove(acknowledged.length, 100)
        // Statements that they had sent still run.
        yield* allGone(database)
        yield* Effect.gen(function* () {
          const events = yield* checkLog(acknowledged)
          assert.isAtLeast(events, acknowledged.length)
          assert.deepInclude(yield* append("after", [deposited(1)]), { version: 1, position: events + 1 })
        }).pipe(Tenant.provide(tenantId), Effect.provide(storeOn(database.app, 2)))
      }).pipe(Effect.scoped),
    60_000
  )
})

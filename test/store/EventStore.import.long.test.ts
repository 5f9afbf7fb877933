/** Imports on servers whose process is killed repeatedly. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Stream } from "effect"
import { spawn } from "node:child_process"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Account } from "../support/bank.ts"
import { storeOn } from "../support/crashWriter.ts"
import { type Database, servers } from "../support/Databases.ts"
import { eventIdOf, type Settings, settingsName, streamOf } from "../support/importer.ts"
import { bundled } from "../support/programs.ts"

const events = 13_410
const streams = 1000
const kills = 8

/** The connection settings of the server, also of one that is given by a URL. */
const addressOf = ({ app }: Database) => {
  const url = app.url === undefined ? undefined : new URL(Redacted.value(app.url))
  const { password } = app
  return {
    host: app.host ?? url?.hostname ?? "localhost",
    port: app.port ?? Number(url?.port || 5432),
    username: app.username ?? "",
    password: Redacted.isRedacted(password) ? Redacted.value(password) : ""
  }
}

/** Runs the import until it has reported so many items, and kills it a moment later; without a number, runs it to its end. */
const run = (program: string, settings: Settings, until?: number): Promise<NodeJS.Signals | number | null> =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, [program], {
      env: { ...process.env, [settingsName]: JSON.stringify(settings) },
      stdio: ["ignore", "pipe", "inherit"]
    })
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const said = Number(text.trim().split("\n").at(-1))
      if (until !== undefined && said >= until) setTimeout(() => child.kill("SIGKILL"), Math.random() * 20)
    })
    child.once("close", (code, signal) => resolve(signal ?? code))
  })

describe.each(servers)("an import on $name", ({ freshDatabase }) => {
  it.live(
    `gives item k position k, although its process is killed ${kills} times, and again when it is repeated`,
    () =>
      Effect.gen(function* () {
        const database = yield* freshDatabase
        const tenantId = yield* Tenant.generate
        const settings = { ...addressOf(database), database: database.name, tenantId, events, streams }
        const program = yield* Effect.promise(() => bundled("test/support/importer.ts"))
        const log = EventStore.EventStore.use((store) =>
          store.readLog({ aggregates: [Account] }).pipe(
            Stream.map(({ aggregateId, eventId, position }) => ({
              aggregateId,
              eventId: String(eventId),
              position
            })),
            Stream.runCollect
          )
        ).pipe(Tenant.provide(tenantId), Effect.provide(storeOn(database.app, 2), { local: true }))
        const expected = Array.from({ length: events }, (_, item) => ({
          aggregateId: streamOf(item, streams),
          eventId: eventIdOf(item),
          position: item + 1
        }))
        for (let kill = 1; kill <= kills; kill++) {
          const ended = yield* Effect.promise(() =>
            run(program, settings, Math.floor((events * kill) / (kills + 1)))
          )
          assert.strictEqual(ended, "SIGKILL")
          const stored = yield* log
          assert.isBelow(stored.length, events)
          assert.deepStrictEqual(stored, expected.slice(0, stored.length))
        }
        for (const _ of ["to its end", "again"]) {
          assert.strictEqual(yield* Effect.promise(() => run(program, settings)), 0)
          assert.deepStrictEqual(yield* log, expected)
        }
      }).pipe(Effect.scoped)
  )
})

/** The command line as a process: Ctrl-C leaves things resumable. */
import { assert, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { urlOf } from "../support/commandLine.ts"
import { servers } from "../support/Databases.ts"
import { root } from "../support/snippets.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

const Opened = Schema.TaggedStruct("Opened", { note: Schema.String })
const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state: Schema.Struct({}), initial: {}, events: [Opened] },
  { Opened: (state) => state }
)

const tenant = (nth: number): Tenant.TenantId =>
  Schema.decodeSync(Tenant.TenantId)(`00000000-0000-4000-8000-${String(nth).padStart(12, "0")}`)

/** Without a process of tsx between, which would answer the signal itself. */
const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href

interface Ended {
  readonly code: number | null
  readonly stderr: string
}

/** Runs the binary; `until` is asked again and again, and once it is true the process gets a Ctrl-C. */
const run = (url: string, args: ReadonlyArray<string>, until: () => boolean = () => false) =>
  Effect.callback<Ended>((resume) => {
    const child = spawn(process.execPath, ["--import", tsx, Path.join(root, "src/cli/main.ts"), ...args], {
      env: { ...process.env, DATABASE_URL: url },
      stdio: ["ignore", "ignore", "pipe"]
    })
    let stderr = ""
    child.stderr.on("data", (part: Buffer) => (stderr += part.toString()))
    const timer = setInterval(() => {
      if (until()) {
        clearInterval(timer)
        child.kill("SIGINT")
      }
    }, 2)
    child.on("close", (code) => {
      clearInterval(timer)
      resume(Effect.succeed({ code, stderr }))
    })
  })

const size = 60_000

for (const server of servers)
  it.layer(layerOn(server), { excludeTestServices: true })(`the process on ${server.name}`, (it) => {
    it.effect("an interrupted export leaves no file, and an interrupted import goes on", () =>
      Effect.gen(function* () {
        const { outside, owner, store } = yield* TenantDatabase
        const services = yield* store()
        const [id, other] = [tenant(1), tenant(2)]
        yield* Effect.forEach(
          Array.from({ length: size / 1000 }, (_, nth) => nth),
          (nth) =>
            EventStore.use((events) =>
              events.append({
                aggregate: Order,
                id: String(nth),
                events: Array.from({ length: 1000 }, () => Opened.make({ note: "x".repeat(100) })),
                expectedVersion: "any"
              })
            ),
          { discard: true }
        ).pipe(Tenant.provide(id), Effect.provideContext(services))
        const folder = mkdtempSync(Path.join(tmpdir(), "eventsourcing-cli-"))
        yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true })))
        const file = Path.join(folder, "acme.tar")
        const url = urlOf(owner)
        const reason = ["--reason", "ticket 17"]
        const exporting = ["export", file, "--tenant", id, ...reason]
        const stopped = yield* run(url, exporting, () => existsSync(`${file}.part`))
        assert.strictEqual(stopped.code, 130, stopped.stderr)
        assert.include(stopped.stderr, "→ go on: eventsourcing export")
        assert.deepStrictEqual(readdirSync(folder), [])
        assert.strictEqual((yield* run(url, exporting)).code, 0)

        let isWritten = false
        yield* outside<{ written: boolean }>(
          "select exists (select from eventsourcing.events where tenant_id = $1) as written",
          [other]
        ).pipe(Effect.repeat({ until: ([row]) => (isWritten = row?.written === true) }), Effect.forkScoped)
        const importing = ["import", file, "--tenant", other, "--from-other", ...reason]
        const cut = yield* run(url, importing, () => isWritten)
        assert.strictEqual(cut.code, 130, cut.stderr)
        assert.include(cut.stderr, "→ go on: eventsourcing import")
        const state = yield* outside<{ status: string; events: number }>(
          "select status, (select count(*)::int from eventsourcing.events e where e.tenant_id = t.tenant_id) as events from eventsourcing.tenants t where tenant_id = $1",
          [other]
        )
        assert.strictEqual(state[0]?.status, "importing")
        assert.isBelow(state[0]?.events ?? size, size)
        const ended = yield* run(url, importing)
        assert.strictEqual(ended.code, 0, ended.stderr)
        const after = yield* outside<{ status: string; events: number }>(
          "select status, (select count(*)::int from eventsourcing.events e where e.tenant_id = t.tenant_id) as events from eventsourcing.tenants t where tenant_id = $1",
          [other]
        )
        assert.deepStrictEqual(after, [{ status: "active", events: size }])
      }).pipe(Effect.scoped)
    )
  })

/** Two processes on one key vault, killed at random moments: nothing that was acknowledged is lost, and destroyed keys stay so. */
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Effect, Layer } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { createInterface } from "node:readline"
import * as KeyVault from "../../src/forgetting/KeyVault.ts"
import type { TenantId } from "../../src/domain/Tenant.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { servers } from "../support/Databases.ts"
import { urlOf } from "../support/databaseUrl.ts"
import { bundled } from "../support/programs.ts"
import { newRootKey, vaultDatabase } from "../support/vaultDatabases.ts"
import {
  rootKeyName,
  secretOf,
  type Settings,
  settingsName,
  type Step,
  vaultOf
} from "../support/vaultWriter.ts"

const rounds = 15

type Key = Extract<Step, { readonly step: "key" }>

/** A process, and its acknowledged steps in their order. */
interface Writer {
  readonly steps: ReadonlyArray<Step>
  readonly child: ChildProcess
  readonly ended: Promise<{ readonly code: number | null; readonly errors: string }>
}

const start = async (settings: Settings, key: string): Promise<Writer> => {
  const file = await bundled("test/support/vaultWriter.ts", { packages: "external" })
  const child = spawn(process.execPath, [file], {
    env: { ...process.env, [settingsName]: JSON.stringify(settings), [rootKeyName]: key },
    stdio: ["ignore", "pipe", "pipe"]
  })
  const steps: Array<Step> = []
  let errors = ""
  child.stderr?.on("data", (data: Buffer) => (errors += data.toString()))
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  lines.on("line", (line) => steps.push(JSON.parse(line) as Step))
  const read = new Promise<void>((resolve) => lines.once("close", () => resolve()))
  const ended = new Promise<{ code: number | null; errors: string }>((resolve) =>
    child.once("close", (code) => void read.then(() => resolve({ code, errors })))
  )
  return { child, steps, ended }
}

/** Until a process has acknowledged this number of steps more, or has ended. */
const more = (writer: Writer, count: number): Promise<void> => {
  const wanted = writer.steps.length + count
  return new Promise((resolve) => {
    const look = () =>
      writer.steps.length >= wanted || writer.child.exitCode !== null ? resolve() : setTimeout(look, 2)
    look()
  })
}

/** Opens the vault anew, and compares it with all that was acknowledged to any process. */
const verify = (settings: Settings, key: string, writers: ReadonlyArray<Writer>) =>
  Effect.gen(function* () {
    const vault = Context.get(yield* Layer.build(Layer.fresh(vaultOf(settings))), KeyVault.KeyVault)
    // Writers go on meanwhile.
    const all = writers.map((writer) => [...writer.steps])
    const steps = all.flat()
    assert.deepStrictEqual(
      steps.filter(({ step }) => step === "violation"),
      []
    )
    const counts = { keys: 0, destroyed: 0, fences: 0 }
    for (const each of settings.tenants) {
      const tenantId = each as TenantId
      const keyIds = [
        ...new Set(
          steps.flatMap((step) => (step.step === "key" && step.tenantId === each ? [step.keyId] : []))
        )
      ]
      const found = yield* vault.keysOf({ tenantId, keyIds })
      const states = new Map(keyIds.map((keyId, index) => [keyId, found[index]]))
      const fences = yield* vault.fences({ tenantId })
      assert.deepStrictEqual(
        fences.map(({ number }) => number),
        fences.map((_, index) => index + 1)
      )
      const numbers = new Map(fences.map(({ forgetting, number }) => [forgetting, number]))
      const fenced = new Set(fences.map(({ subject }) => subject))
      const keys = new Map<string, Key>()
      const versions = new Map<string, string>()
      for (const step of steps) {
        if (!("tenantId" in step) || step.tenantId !== each) continue
        if (step.step === "fenced") {
          assert.strictEqual(numbers.get(step.forgetting), step.number, "a fence was lost")
          counts.fences++
        }
        if (step.step !== "key") continue
        const known = keys.get(step.keyId)
        if (known !== undefined) assert.deepStrictEqual(known, step)
        keys.set(step.keyId, step)
        // One of two processes that made a key at the same time has won.
        const version = JSON.stringify([step.subject, step.version])
        assert.strictEqual(versions.get(version) ?? step.keyId, step.keyId, version)
        versions.set(version, step.keyId)
      }
      for (const [keyId, acknowledged] of keys) {
        const state = states.get(keyId)
        assert.notStrictEqual(state, "unknown", `key ${keyId} of ${acknowledged.subject} was lost`)
        counts.keys++
        if (typeof state === "object") assert.strictEqual(secretOf(state), acknowledged.secret)
        else {
          counts.destroyed++
          const isExpected = acknowledged.subject.startsWith("purpose ")
            ? acknowledged.subject === "purpose snapshots" && fences.length > 0
            : fenced.has(acknowledged.subject)
          assert.isTrue(isExpected, `key ${keyId} of ${acknowledged.subject} was destroyed without a fence`)
        }
      }
      // Keys of before an acknowledged fence, as one process has seen it.
      for (const ofWriter of all) {
        const subjectOf = new Map<string, string>()
        const seen: Array<Key> = []
        for (const step of ofWriter) {
          if (!("tenantId" in step) || step.tenantId !== each) continue
          if (step.step === "key") seen.push(step)
          if (step.step === "fencing") subjectOf.set(step.forgetting, step.subject)
          if (step.step !== "fenced") continue
          for (const { keyId, subject } of seen)
            if (subject === subjectOf.get(step.forgetting) || subject === "purpose snapshots")
              assert.strictEqual(states.get(keyId), "destroyed", `key ${keyId} of ${subject} came back`)
        }
      }
    }
    return counts
  }).pipe(
    Effect.scoped,
    Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ [rootKeyName]: key })))
  )

const killed = (settings: Settings) =>
  Effect.gen(function* () {
    const key = newRootKey()
    const writers: Array<Writer> = []
    let counts = { keys: 0, destroyed: 0, fences: 0 }
    const begin = Effect.promise(async () => {
      const writer = await start(settings, key)
      writers.push(writer)
      return writer
    })
    const end = (writer: Writer) =>
      Effect.promise(async () => {
        writer.child.kill("SIGKILL")
        const { code, errors } = await writer.ended
        assert.strictEqual(code, null, errors)
      })
    let survivor = yield* begin
    yield* Effect.promise(() => more(survivor, 5))
    for (let round = 0; round < rounds; round++) {
      const next = yield* begin
      yield* Effect.promise(() => more(next, 1 + Math.floor(Math.random() * 40)))
      yield* end(survivor)
      survivor = next
      counts = yield* verify(settings, key, writers)
    }
    yield* end(survivor)
    counts = yield* verify(settings, key, writers)
    assert.isAbove(counts.keys, 50)
    assert.isAbove(counts.destroyed, 10)
    assert.isAbove(counts.fences, 10)
  }).pipe(Effect.scoped)

const tenants = () => Array.from({ length: 3 }, newTenant)

describe("a key vault whose processes are killed", () => {
  it.live("keeps all that was acknowledged, and nothing that was destroyed, in a file", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => fs.mkdtemp(Path.join(tmpdir(), "vault-"))),
        (path) => Effect.promise(() => fs.rm(path, { recursive: true }))
      )
      yield* killed({ path: Path.join(folder, "keys"), tenants: tenants() })
    })
  )

  for (const server of servers)
    it.live(`keeps all that was acknowledged, and nothing that was destroyed, on ${server.name}`, () =>
      Effect.gen(function* () {
        const { app } = yield* vaultDatabase(server)
        const url = new URL(urlOf(app))
        yield* killed({
          tenants: tenants(),
          database: {
            host: url.hostname,
            port: Number(url.port),
            username: url.username,
            password: decodeURIComponent(url.password),
            database: url.pathname.slice(1)
          }
        })
      })
    )
})

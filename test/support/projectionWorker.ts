/**
 * A process that runs a projection until it is killed: `test/pg/projectionCrash.long.test.ts` and
 * `bench/projections.ts` start several of them on one database. It ends with the process that started it.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted, References, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import { spawn } from "node:child_process"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Account } from "./bank.ts"
import type { Database } from "./Databases.ts"
import type { PgServer } from "./PgServer.ts"
import { bundled } from "./programs.ts"

/**
 * Statements of the database's owner: the read models. In the journal, `n` is the order in which events were handled.
 * Its key is not unique on purpose: otherwise handling an event twice would fail, be retried, and stay unnoticed.
 */
export const tables: ReadonlyArray<string> = [
  `create table journal (
    n bigint generated always as identity, tenant_id uuid not null, position bigint not null, worker text not null)`,
  "create index on journal (tenant_id, position)",
  "select eventsourcing.register_read_model('journal')",
  "create table sums (tenant_id uuid primary key, events integer not null, total bigint not null)",
  "select eventsourcing.register_read_model('sums')",
  "create table grand (id integer primary key, events integer not null, total bigint not null)",
  "select eventsourcing.register_shared_read_model('grand')"
]

/** Settings of a worker. */
export interface Options {
  /** Its name in the journal. */
  readonly name: string
  /** Default: 2. */
  readonly concurrency?: number
  /** Default: that of projections. */
  readonly batchSize?: number
  /** In milliseconds. Default: that of the runner. */
  readonly pollInterval?: number
  /** Milliseconds that it spends on each event with its transaction open. Default: 0. */
  readonly pause?: number
  /** True to stop during its first event and hold its claim. Default: false. */
  readonly stuck?: boolean
  /** True to add up the events of all tenants as well. Default: false. */
  readonly across?: boolean
}

/** A worker's process. */
export interface Worker {
  readonly name: string
  readonly pid: number
  /** Completes after it has looked for work once. */
  readonly isReady: () => boolean
  /** True after it has begun to handle an event. */
  readonly isWorking: () => boolean
  /** True while the process runs. */
  readonly isAlive: () => boolean
  /** Kills it with SIGKILL. Returns the signal that ended it. */
  readonly kill: Effect.Effect<NodeJS.Signals | null>
}

interface Settings extends Options {
  readonly host: string
  readonly port: number
  readonly username: string
  readonly password: string
  readonly database: string
}

/** The environment variable with the settings. */
const settingsName = "EVENTSOURCING_PROJECTION_WORKER"

/** Starts a worker, which is killed with the scope. */
export const startWorker = (
  server: PgServer,
  { app, name: database }: Database,
  options: Options
): Effect.Effect<Worker, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const file = await bundled("test/support/projectionWorker.ts")
      const settings: Settings = {
        ...options,
        host: server.host,
        port: server.port,
        username: app.username ?? "",
        password: Redacted.isRedacted(app.password) ? Redacted.value(app.password) : "",
        database
      }
      const child = spawn(process.execPath, [file], {
        env: { ...process.env, [settingsName]: JSON.stringify(settings) },
        stdio: ["pipe", "pipe", "inherit"]
      })
      let said = ""
      child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text))
      const ended = new Promise<NodeJS.Signals | null>((resolve) => {
        child.once("close", (_code, signal) => resolve(signal))
      })
      return {
        name: options.name,
        pid: child.pid ?? 0,
        isReady: () => said.includes("ready\n"),
        isWorking: () => said.includes("working\n"),
        isAlive: () => child.exitCode === null && child.signalCode === null,
        kill: Effect.promise(() => {
          child.kill("SIGKILL")
          return ended
        })
      }
    }),
    (worker) => worker.kill
  )

/** Records every event in the journal and adds it up; repeated or missing events show in both. */
const ledger = ({ name, batchSize, pause = 0, stuck = false }: Options) => {
  let working = false
  return Projection.make(
    "ledger",
    { aggregates: [Account], tables: ["journal", "sums"], batchSize },
    {
      Deposited: ({ amount }, { tenantId, position }) =>
        SqlClient.SqlClient.use((sql) =>
          Effect.gen(function* () {
            yield* sql`insert into journal (tenant_id, position, worker)
              values (${tenantId}::uuid, ${position}, ${name})`
            if (!working) process.stdout.write("working\n")
            working = true
            if (stuck) return yield* Effect.never
            if (pause > 0) yield* Effect.sleep(pause)
            yield* sql`insert into sums (tenant_id, events, total) values (${tenantId}::uuid, 1, ${amount})
              on conflict (tenant_id) do update
              set events = sums.events + 1, total = sums.total + excluded.total`
          })
        )
    }
  )
}

/** Adds up the events of all tenants. */
const grand = ({ batchSize, pause = 0 }: Options) =>
  Projection.makeAcrossTenants(
    "grand",
    { aggregates: [Account], tables: ["grand"], batchSize },
    {
      Deposited: ({ amount }) =>
        SqlClient.SqlClient.use((sql) =>
          Effect.andThen(
            Effect.sleep(pause),
            sql`insert into grand values (1, 1, ${amount}) on conflict (id) do update
              set events = grand.events + 1, total = grand.total + excluded.total`
          )
        )
    }
  )

const program = (settings: Settings) => {
  const { concurrency = 2, pollInterval, across = false } = settings
  const storages = PgStorage.layer.pipe(
    Layer.provideMerge(
      PgClient.layer({
        host: settings.host,
        port: settings.port,
        username: settings.username,
        password: Redacted.make(settings.password),
        database: settings.database,
        maxConnections: concurrency + 2
      })
    )
  )
  const runner = ProjectionRunner.layer({ projections: [ledger(settings)], concurrency, pollInterval })
  const both = ProjectionRunner.layer({
    projections: [ledger(settings), grand(settings)],
    concurrency,
    pollInterval
  })
  return Effect.gen(function* () {
    yield* across
      ? Layer.build(Layer.provide(both, storages)).pipe(
          Tenant.provideAll({ actor: "worker", reason: "sums of all tenants" })
        )
      : Layer.build(Layer.provide(runner, storages))
    process.stdout.write("ready\n")
    return yield* Effect.never
  }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))
}

const settings = process.env[settingsName]
// Only in processes that are started for this program.
if (settings !== undefined) {
  // The process that started it has ended.
  process.stdin.on("end", () => process.exit()).resume()
  await Effect.runPromise(program(JSON.parse(settings) as Settings))
}

/**
 * Worlds on a PostgreSQL server: two repositories with pools of their own in this process, or in two processes that can be killed.
 * Their connections go through proxies, on which answers are lost.
 */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Fiber, Layer, Redacted, Schedule, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import type { CurrentTenant, TenantId } from "../../../src/domain/Tenant.ts"
import type { SnapshotStorage } from "../../../src/driver/SnapshotStorage.ts"
import * as PgStorage from "../../../src/pg/PgStorage.ts"
import * as PgTenant from "../../../src/pg/PgTenant.ts"
import * as EventStore from "../../../src/store/EventStore.ts"
import type { Database } from "../Databases.ts"
import { bundled } from "../programs.ts"
import { make as makeProxy, type TcpProxy } from "../TcpProxy.ts"
import type { World } from "./history.ts"
import { type LoggedMark, lossOf } from "./losses.ts"
import { type Record, run, Surroundings } from "./perform.ts"
import { objects, type Plan, type PlannedStep, randomOf, type RepositorySettings } from "./plan.ts"
import { repository } from "./repositories.ts"

/** The connection of a process to its database. */
export interface Connection {
  readonly port: number
  readonly username: string
  readonly password: string
  readonly database: string
}

/** A part of a history: the steps of one process. */
export interface Task {
  readonly fibers: ReadonlyArray<ReadonlyArray<PlannedStep>>
  readonly tenantIds: ReadonlyArray<TenantId>
  readonly settings: RepositorySettings
}

/** The environment variable with the connection of a separate process. */
export const connectionName = "EVENTSOURCING_HISTORY_PROCESS"

/** Milliseconds of a clock that all processes of a machine share. */
const now = (): number => Number(process.hrtime.bigint()) / 1e6

const pause = (turns: number): Effect.Effect<void> => (turns <= 0 ? Effect.void : Effect.sleep(turns / 2))

type Services = EventStore.EventStore | SnapshotStorage | Surroundings

/** The store of a process. */
export const servicesOn = (
  connection: Connection
): Effect.Effect<Context.Context<Services>, never, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) =>
    Layer.buildWithMemoMap(
      Layer.mergeAll(
        EventStore.layer,
        Layer.effect(
          Surroundings,
          Effect.map(Effect.context<SqlClient.SqlClient>(), (context) =>
            Surroundings.of({
              transaction: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
                Effect.contextWith((own: Context.Context<R | CurrentTenant>) =>
                  PgTenant.transaction(Effect.provideContext(effect, own)).pipe(
                    Effect.provideContext(Context.merge(context, own))
                  )
                ),
              pause,
              now
            })
          )
        )
      ).pipe(
        // Announcements would continue after a history.
        Layer.provideMerge(PgStorage.layerWith({ announce: false })),
        Layer.provideMerge(
          PgClient.layer({
            ...connection,
            host: "127.0.0.1",
            password: Redacted.make(connection.password),
            maxConnections: 8,
            // The proxy looks for the texts of statements.
            prepare: false
          })
        ),
        Layer.orDie
      ),
      // With a memo map of its own; otherwise the layers of another process would be reused.
      Layer.makeMemoMapUnsafe(),
      scope
    )
  )

/** Carries out a task with a repository of its own. */
export const carryOut = (
  context: Context.Context<Services>,
  { fibers, settings, tenantIds }: Task,
  record: (record: Record) => void
): Effect.Effect<void> =>
  run(fibers, tenantIds, record).pipe(
    Effect.provide(repository(settings, Schedule.recurs(200)), { local: true }),
    Effect.provideContext(context)
  )

/** A task in progress. */
interface Work {
  /** Ends with the task, or when it is killed. */
  readonly done: Effect.Effect<void>
  readonly kill: Effect.Effect<void>
}

/** A process, which does tasks. */
interface Worker {
  readonly begin: (task: Task, record: (record: Record) => void) => Effect.Effect<Work>
}

type StartWorker = (connection: Connection) => Effect.Effect<Worker, never, Scope.Scope>

/** In this process: it is killed by interruption. */
export const inThisProcess: StartWorker = Effect.fnUntraced(function* (connection) {
  const context = yield* servicesOn(connection)
  return {
    begin: (task, record) =>
      Effect.map(Effect.forkDetach(carryOut(context, task, record)), (fiber) => ({
        done: Effect.asVoid(Fiber.await(fiber)),
        kill: Fiber.interrupt(fiber)
      }))
  }
})

/** In a process of its own, which is killed by a signal; the next task has another one. */
export const inChildren: StartWorker = Effect.fnUntraced(function* (connection) {
  const program = yield* Effect.promise(() => bundled("test/support/linearizability/historyProcess.ts"))
  const startChild = () => {
    const child = spawn(process.execPath, [program], {
      env: { ...process.env, [connectionName]: JSON.stringify(connection) },
      stdio: ["pipe", "pipe", "inherit"]
    })
    let take: (line: Record | "done") => void = () => {}
    createInterface({ input: child.stdout }).on("line", (line) => take(JSON.parse(line) as Record | "done"))
    let isKilled = false
    // A crash is not a kill: it must fail the test.
    const closed = new Promise<void>((resolve, reject) =>
      child.once("close", (code, signal) => {
        if (isKilled) resolve()
        else reject(new Error(`the process of a history ended by itself: ${signal ?? code}`))
      })
    )
    // Between two tasks nobody waits for it; the next one would.
    closed.catch(() => {})
    // It may be killed before it reads.
    child.stdin.on("error", () => {})
    return {
      kill: () => {
        isKilled = true
        child.kill("SIGKILL")
        return closed
      },
      begin: (task: Task, record: (record: Record) => void) => {
        const done = new Promise<void>((resolve) => {
          take = (line) => (line === "done" ? resolve() : record(line))
        })
        child.stdin.write(`${JSON.stringify(task)}\n`)
        return Promise.race([done, closed])
      }
    }
  }
  let child: ReturnType<typeof startChild> | undefined
  yield* Effect.addFinalizer(() => Effect.promise(async () => child?.kill()))
  return {
    begin: (task, record) =>
      Effect.sync(() => {
        const own = (child ??= startChild())
        const done = own.begin(task, record)
        return {
          done: Effect.promise(() => done),
          kill: Effect.promise(() => {
            if (child === own) child = undefined
            return own.kill()
          })
        }
      })
  }
})

/** Statements whose answers are lost. */
const cuts = ["eventsourcing.append", "eventsourcing.append", "eventsourcing.load", "COMMIT"] as const

/** Cuts some connections, as long as the scope is open. */
const disturb = (proxies: ReadonlyArray<TcpProxy>, { faults, seed }: Plan) => {
  const random = randomOf(`${seed} on a server`)
  const below = (limit: number): number => Math.floor(random.nextDoubleUnsafe() * limit)
  const once = Effect.gen(function* () {
    const proxy = proxies[below(proxies.length)]
    if (proxy === undefined) return
    yield* pause(below(20))
    const { done } = proxy.cut(cuts[below(cuts.length)] ?? "COMMIT", below(3) === 0 ? "before" : "after")
    yield* Effect.timeoutOption(done, "20 millis")
    yield* proxy.disarm
  })
  return faults.silence === 0
    ? Effect.void
    : Effect.addFinalizer(() => Effect.forEach(proxies, ({ disarm }) => disarm, { discard: true })).pipe(
        Effect.andThen(Effect.forkScoped(Effect.forever(once)))
      )
}

/** Worlds on a database, each with its own workers, for one history after another. */
export const make = Effect.fnUntraced(function* (
  { app, owner }: Database,
  startWorker: StartWorker
): Effect.fn.Return<(plan: Plan) => Effect.Effect<World, never, Scope.Scope>, never, Scope.Scope> {
  const proxies = [yield* makeProxy(app), yield* makeProxy(app)]
  const workers = yield* Effect.forEach(proxies, ({ port }) =>
    startWorker({
      port,
      username: app.username ?? "",
      password: Redacted.isRedacted(app.password) ? Redacted.value(app.password) : "",
      database: app.database ?? ""
    })
  )
  const context = yield* Effect.orDie(
    Layer.build(Layer.fresh(PgClient.layer({ ...owner, maxConnections: 4 })))
  )
  const sql = Context.get(context, PgClient.PgClient)
  const logOf = (tenantId: TenantId) => sql<LoggedMark>`
    select position::integer, aggregate_type as "aggregateType", aggregate_id as "aggregateId", payload ->> 'mark' as mark
    from eventsourcing.events where tenant_id = ${tenantId} order by position`

  const lose: World["lose"] = (tenantId, loss) =>
    sql
      .withTransaction(
        Effect.gen(function* () {
          // A row that is not there yet could not be locked, and an append would commit between the statements.
          yield* sql`insert into eventsourcing.tenants (tenant_id) values (${tenantId}) on conflict do nothing`
          yield* sql`select from eventsourcing.tenants where tenant_id = ${tenantId} for no key update`
          const rows = yield* logOf(tenantId)
          const commands = yield* sql<LoggedMark & { readonly key: string }>`
            select key, aggregate_type as "aggregateType", aggregate_id as "aggregateId", position::integer
            from eventsourcing.command_keys where tenant_id = ${tenantId}`
          const { added, cut, lost } = lossOf(rows, commands, loss)
          yield* sql`delete from eventsourcing.command_keys where tenant_id = ${tenantId} and position > ${cut}`
          yield* sql`delete from eventsourcing.events where tenant_id = ${tenantId} and position > ${cut}`
          for (const [index, { mark, object }] of added.entries()) {
            const { id, type } = objects[object] ?? objects[0]
            yield* sql`
              insert into eventsourcing.events (tenant_id, position, aggregate_type, aggregate_id, version, event_id,
                event_type, schema_version, occurred_at, recorded_at, correlation_id, metadata, payload, bytes)
              select ${tenantId}::uuid, ${cut + 1 + index}::bigint, ${type}, ${id}, coalesce(max(version), 0) + 1,
                gen_random_uuid(), 'Marked', 1, now(), now(), 'lost', '{}',
                json_build_object('_tag', 'Marked', 'mark', ${mark}::text), 0
              from eventsourcing.events
              where tenant_id = ${tenantId} and aggregate_type = ${type} and aggregate_id = ${id}`
          }
          return lost
        })
      )
      .pipe(Effect.orDie)

  return (plan) =>
    Effect.as(disturb(proxies, plan), {
      start: (process) =>
        Effect.sync(() => {
          let work: Work | undefined
          return {
            run: (fibers, tenantIds, record) =>
              Effect.gen(function* () {
                const worker = workers[process]
                if (worker === undefined) return
                work = yield* worker.begin({ fibers, tenantIds, settings: plan.settings }, record)
                yield* work.done
              }),
            kill: Effect.suspend(() => work?.kill ?? Effect.void)
          }
        }),
      lose,
      read: (tenantId, object) =>
        Effect.map(logOf(tenantId), (rows) =>
          rows
            .filter(
              (row) => row.aggregateType === objects[object]?.type && row.aggregateId === objects[object].id
            )
            .map(({ mark }) => mark)
        ).pipe(Effect.orDie),
      pause,
      now
    })
})

/**
 * Processes of a program over two servers: one that moves tenants, one whose runner carries on with moves that were left, and one
 * that appends. Long tests of `test/lifecycle` kill and pause them. They end with the process that started them.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Latch, Layer, Redacted, References, Schedule, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import * as Event from "../../src/domain/Event.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import type { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import * as TenantMove from "../../src/lifecycle/TenantMove.ts"
import * as PgSilo from "../../src/pg/PgSilo.ts"
import * as PgTenantDirectory from "../../src/pg/PgTenantDirectory.ts"
import { Placements } from "../../src/routed/Placements.ts"
import { TenantDirectory } from "../../src/routed/TenantDirectory.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { Account, deposited } from "./bank.ts"
import type { Config } from "./Databases.ts"
import { bundled } from "./programs.ts"

/** Milliseconds. */
export const lease = 1500
export const fence = 3000

/** On a machine under load no move is called off, because calls and handlers have long enough. */
const settings = { lease, fence, handlerWait: "30 seconds", grace: 0, pause: 0 } as const

/** A move from the pool to the silo that waits at one of its calls until it is released. */
export interface GatedMove {
  readonly tenantId: Tenant.TenantId
  /** The number of the call, from 1, or its name; 0 for none. */
  readonly at: number | string
  /** True to wait while the call is under way, false to wait before it. */
  readonly during: boolean
}

interface Login {
  readonly host: string
  readonly port: number
  readonly username: string
  readonly password: string
  readonly database: string
}

/** The databases of the program. */
interface Logins {
  readonly pool: Login
  readonly silo: Login
  readonly directory: Login
}

/** The settings of a connection that are sent to another process. */
export const loginOf = ({ database, host, password, port, username }: Config): Login => ({
  host: host ?? "",
  port: port ?? 0,
  username: username ?? "",
  password: Redacted.isRedacted(password) ? Redacted.value(password) : "",
  database: database ?? ""
})

type Role =
  /** Begins moves, or has runners that carry on with them. */
  | { readonly role: "mover" | "gated runner"; readonly moves: ReadonlyArray<GatedMove> }
  | { readonly role: "runner" | "writer" }

/** The environment variable with the settings. */
const settingsName = "EVENTSOURCING_MOVE_PROCESS"

/** A process. */
export interface MoveProcess {
  /** The lines that it wrote about a tenant, as words: the tenant is the second one. */
  readonly said: (tenantId: Tenant.TenantId) => ReadonlyArray<ReadonlyArray<string>>
  readonly tell: (line: string) => void
  readonly signal: (signal: NodeJS.Signals) => void
  readonly isAlive: () => boolean
}

/** Starts a process, which is killed with the scope. */
export const startProcess = (logins: Logins, role: Role): Effect.Effect<MoveProcess, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async (): Promise<ChildProcess> => {
        const file = await bundled("test/support/moveProcesses.ts")
        return spawn(process.execPath, [file], {
          env: { ...process.env, [settingsName]: JSON.stringify({ logins, ...role }) },
          stdio: ["pipe", "pipe", "inherit"]
        })
      }),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (child) => {
      const said = new Map<string, Array<ReadonlyArray<string>>>()
      const of = (tenantId: string) => {
        const lines = said.get(tenantId) ?? []
        said.set(tenantId, lines)
        return lines
      }
      if (child.stdout !== null)
        createInterface(child.stdout).on("line", (line) => {
          const words = line.split(" ")
          of(words[1] ?? "").push(words)
        })
      // it may be killed while it is told something
      child.stdin?.on("error", () => undefined)
      return {
        said: of,
        tell: (line) => child.stdin?.write(`${line}\n`),
        signal: (signal) => child.kill(signal),
        isAlive: () => child.exitCode === null && child.signalCode === null
      }
    }
  )

/** To a pipe, on this thread, so that written lines survive the process. */
const say = (...words: ReadonlyArray<string>) => process.stdout.write(`${words.join(" ")}\n`)

const opened = Latch.makeUnsafe(false)

/** The calls of a move. */
class Gate {
  readonly #move: GatedMove
  #calls = 0
  #waited = false

  constructor(move: GatedMove) {
    this.#move = move
  }

  get calls(): number {
    return this.#calls
  }

  readonly call = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const { at, during, tenantId } = this.#move
      this.#calls++
      if (this.#waited || (at !== this.#calls && at !== name)) return effect
      this.#waited = true
      if (!during)
        return Effect.sync(() => say("waits", tenantId, name)).pipe(
          Effect.andThen(opened.await),
          Effect.andThen(effect)
        )
      return Effect.all(
        [
          effect,
          Effect.andThen(
            Effect.sync(() => say("waits", tenantId, name)),
            opened.await
          )
        ],
        { concurrency: 2 }
      ).pipe(Effect.map(([value]) => value))
    })

  /** The administration of a placement, whose calls are counted, except for those at intervals. */
  readonly storage = (
    placement: string,
    storage: AdministrationStorage["Service"]
  ): AdministrationStorage["Service"] => {
    const wrapped: Record<string, unknown> = {}
    for (const [name, member] of Object.entries(storage))
      wrapped[name] =
        typeof member === "function"
          ? (request: { readonly change?: string }) => {
              const run = (member as (request: object) => Effect.Effect<unknown>)(request)
              return request.change === "renewLease"
                ? run
                : this.call(`${placement}.${request.change ?? name}`, run)
            }
          : member
    return wrapped as AdministrationStorage["Service"]
  }
}

/** The moves of a process in which the calls for one tenant are counted. */
const gatedMoves = (gate: Gate, only?: Tenant.TenantId) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const [placements, directory] = [yield* Placements, yield* TenantDirectory]
      const { replace } = directory
      const others = (storage: AdministrationStorage["Service"]): AdministrationStorage["Service"] =>
        only === undefined
          ? storage
          : {
              ...storage,
              movingTenants: (request) =>
                Effect.map(storage.movingTenants(request), (tenants) => tenants.filter((id) => id === only))
            }
      return TenantMove.layerWith(settings).pipe(
        Layer.provide(
          Layer.succeed(Placements, {
            ...placements,
            administration: (placement) =>
              Effect.map(placements.administration(placement), (storage) =>
                gate.storage(placement, others(storage))
              )
          })
        ),
        Layer.provide(
          Layer.succeed(TenantDirectory, {
            ...directory,
            replace: replace && ((change) => gate.call("replace", replace(change)))
          })
        )
      )
    })
  )

const move = Effect.fnUntraced(function* (gated: GatedMove) {
  const { tenantId } = gated
  const gate = new Gate(gated)
  const exit = yield* TenantMove.TenantMove.use((moves) =>
    moves.start(tenantId, {
      to: "silo",
      onProgress: ({ step }) => gate.call(`step.${step}`, Effect.void)
    })
  ).pipe(
    Tenant.provideAdministration({ actor: "mover", reason: "own server" }),
    Effect.provide(gatedMoves(gate)),
    Effect.exit
  )
  say("ended", tenantId, String(gate.calls), exit._tag === "Success" ? "moved" : String(exit.cause))
})

/** A runner that carries on with the move of one tenant. */
const runnerOf = Effect.fnUntraced(function* (gated: GatedMove) {
  const { tenantId } = gated
  const gate = new Gate(gated)
  const moves = Layer.effect(
    TenantMove.TenantMove,
    Effect.map(TenantMove.TenantMove, (all) => ({
      ...all,
      resumeAll: Effect.tap(all.resumeAll, (finished) =>
        Effect.sync(() => {
          if (finished.includes(tenantId)) say("ended", tenantId, String(gate.calls), "moved")
        })
      )
    }))
  ).pipe(Layer.provide(gatedMoves(gate, tenantId)))
  const runner = TenantMove.runner({ actor: "runner", reason: "own server", interval: "100 millis" })
  return yield* Effect.andThen(Layer.build(Layer.provide(runner, moves)), Effect.never)
}, Effect.scoped)

/** The lines of the process that started this one. */
const orders = () => createInterface(process.stdin)

const each = <R>(moves: ReadonlyArray<GatedMove>, run: (move: GatedMove) => Effect.Effect<void, never, R>) =>
  Effect.suspend(() => {
    orders().on("line", () => opened.openUnsafe())
    return Effect.forEach(moves, run, { concurrency: "unbounded", discard: true })
  })

/** Appends that the store may be asked to repeat. */
const isTemporary = (error: { readonly _tag: string }): boolean => {
  const { _tag, reason, retryable } = error as {
    readonly _tag: string
    readonly retryable?: boolean
    readonly reason?: { readonly _tag: string }
  }
  return (
    _tag === "OutcomeUnknown" ||
    (_tag === "StorageUnavailable" && retryable === true) ||
    (_tag === "TenantRefused" &&
      ["TenantMoving", "TenantMoved", "TenantImporting"].includes(reason?._tag ?? ""))
  )
}

/** Appends to tenants, one event after another, each until it is acknowledged. The version is known, so that none can be lost. */
const writer = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  const running = new Set<string>()
  const write = Effect.fnUntraced(function* (tenantId: Tenant.TenantId) {
    for (let version = 0; running.has(tenantId); version++) {
      const eventId = Event.generateId()
      const { position } = yield* store
        .append({
          aggregate: Account,
          id: "one",
          expectedVersion: version === 0 ? "noStream" : version,
          events: [Event.make(deposited(version), { eventId })],
          command:
            version % 2 === 0
              ? { key: eventId, fingerprint: "f".repeat(64), expiresInMillis: 3_600_000 }
              : undefined
        })
        .pipe(
          Effect.retry({ while: isTemporary, schedule: Schedule.spaced("20 millis") }),
          Tenant.provide(tenantId)
        )
      say("stored", tenantId, eventId, String(position))
      yield* Effect.sleep("30 millis")
    }
    say("stopped", tenantId)
  })
  const run = Effect.runForkWith(yield* Effect.context<EventStore.EventStore>())
  orders().on("line", (line) => {
    const [order, tenantId = ""] = line.split(" ")
    if (order === "stop") return void running.delete(tenantId)
    running.add(tenantId)
    run(
      Effect.tapCause(write(tenantId as Tenant.TenantId), (cause) =>
        Effect.sync(() => say("failed", tenantId, String(cause)))
      )
    )
  })
  return yield* Effect.never
})

const clientOf = ({ password, ...login }: Login) =>
  PgClient.layer({ ...login, password: Redacted.make(password), maxConnections: 10 })

const program = ({ logins, ...given }: Role & { readonly logins: Logins }) => {
  const storages = PgSilo.layer({
    database: (placement) =>
      placement === "pool"
        ? { client: clientOf(logins.pool) }
        : placement === "silo"
          ? { client: clientOf(logins.silo), dedicated: true }
          : undefined
  }).pipe(
    Layer.provideMerge(
      PgTenantDirectory.layerWith({ timeToLive: "1 second" }).pipe(Layer.provide(clientOf(logins.directory)))
    )
  )
  const running = Effect.suspend(() => {
    switch (given.role) {
      case "mover":
        return Effect.provide(each(given.moves, move), storages)
      case "gated runner":
        return Effect.provide(each(given.moves, runnerOf), storages)
      case "writer":
        return Effect.provide(writer, Layer.provideMerge(EventStore.layer, storages))
      case "runner": {
        orders().resume()
        const runner = TenantMove.runner({ actor: "runner", reason: "own server", interval: "100 millis" })
        const moves = TenantMove.layerWith(settings)
        return Effect.andThen(
          Layer.build(runner.pipe(Layer.provide(moves), Layer.provide(storages))),
          Effect.never
        )
      }
    }
  })
  return running.pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))
}

const role = process.env[settingsName]
// Only in processes that are started for this program.
if (role !== undefined) {
  // The process that started it has ended.
  process.stdin.on("end", () => process.exit())
  await Effect.runPromise(program(JSON.parse(role) as Role & { readonly logins: Logins }))
  process.exit()
}

/** Moves between two servers that are stopped at any call by a fault: of their process, or of a server. */
import { assert } from "@effect/vitest"
import { Console, Effect, type Scope } from "effect"
import * as Tenant from "../../src/domain/Tenant.ts"
import { fence, type GatedMove, lease, type MoveProcess, startProcess } from "./moveProcesses.ts"
import {
  checkTenant,
  furnish,
  isSettled,
  makeWorld,
  processesOf,
  type Servers,
  signalAll,
  until,
  type World
} from "./movingServers.ts"
import { start } from "./PgServer.ts"

/** The distance between the calls that are tried. */
const stride = Number(process.env["MOVE_CRASH_STRIDE"] ?? 1)
/** Moves of a process that are stopped at the same time, each at another call. */
const perProcess = 15

/** A fault while moves wait at their calls. It releases them, or ends their process. */
export type Fault = (
  world: World,
  mover: MoveProcess,
  tenants: ReadonlyArray<Tenant.TenantId>,
  round: number
) => Effect.Effect<void>

/** A call of a move. */
export interface Call extends Omit<GatedMove, "tenantId"> {
  /** The call at which the process that began the move was killed; undefined for a call of that process itself. */
  readonly left?: string | undefined
}

const said = (process: MoveProcess, tenantId: Tenant.TenantId, word: string) =>
  process.said(tenantId).find(([first]) => first === word)

/** Starts moves in a process of their own. Returns when each waits at its call, or has ended. */
const started = Effect.fnUntraced(function* (
  world: World,
  role: "mover" | "gated runner",
  moves: ReadonlyArray<GatedMove>
) {
  const mover = yield* startProcess(world.logins, { role, moves })
  const isStopped = ({ tenantId }: GatedMove) =>
    said(mover, tenantId, "waits") !== undefined || said(mover, tenantId, "ended") !== undefined
  yield* until(
    "each move waits at its call, or has ended",
    () => moves.every(isStopped),
    () => {
      const { pool, silo } = world.seen()
      const left = moves.filter((move) => !isStopped(move))
      return JSON.stringify(
        left.map(({ at, tenantId }) => [role, at, pool.get(tenantId), silo.get(tenantId)])
      )
    }
  )
  return mover
})

/** Runners that carry on with moves that a killed process has left, and another one that carries on if these stop. */
const carryingOn = Effect.fnUntraced(function* (
  world: World,
  moves: ReadonlyArray<GatedMove>,
  left: ReadonlyArray<string>
) {
  const begun = yield* started(
    world,
    "mover",
    moves.map(({ tenantId }, index) => ({ tenantId, at: left[index] ?? 0, during: false }))
  )
  begun.signal("SIGKILL")
  yield* Effect.sleep(lease)
  const runners = yield* started(world, "gated runner", moves)
  yield* startProcess(world.logins, { role: "runner" })
  return runners
})

/** Moves tenants, each up to another call, with a fault there. Returns the homes of those that were stopped. */
const withFault = Effect.fnUntraced(function* (
  world: World,
  given: ReadonlyArray<Call>,
  fault: Fault,
  round: number
) {
  const moves: Array<GatedMove> = []
  for (const { at, during } of given) moves.push({ at, during, tenantId: yield* Tenant.generate })
  const tenants = moves.map(({ tenantId }) => tenantId)
  yield* furnish(world, tenants)
  const left = given.flatMap((call) => call.left ?? [])
  const mover = yield* left.length > 0 ? carryingOn(world, moves, left) : started(world, "mover", moves)
  const waiting = (tenantId: Tenant.TenantId) => said(mover, tenantId, "waits")
  const ending = (tenantId: Tenant.TenantId) => said(mover, tenantId, "ended")
  yield* fault(world, mover, tenants, round)
  yield* until(
    "the moves end",
    // another runner may have ended them
    () => left.length > 0 || !mover.isAlive() || tenants.every((tenantId) => ending(tenantId)),
    () => JSON.stringify(tenants.map((tenantId) => mover.said(tenantId)))
  )
  yield* world.settles(tenants)
  const written = new Map(tenants.map((tenantId) => [tenantId, world.writer.said(tenantId).length]))
  const { said: wrote, tell } = world.writer
  yield* until(
    "the tenants are in use",
    () =>
      tenants.every(
        (tenantId) =>
          wrote(tenantId).length > (written.get(tenantId) ?? 0) + 1 ||
          wrote(tenantId).at(-1)?.[0] === "failed"
      ),
    () => JSON.stringify(tenants.map((tenantId) => wrote(tenantId).at(-1)))
  )
  for (const tenantId of tenants) tell(`stop ${tenantId}`)
  yield* until("the writers stop", () =>
    tenants.every((tenantId) => ["stopped", "failed"].includes(wrote(tenantId).at(-1)?.[0] ?? ""))
  )
  const homes: Array<string> = []
  for (const { at, during, tenantId } of moves) {
    const name = waiting(tenantId)?.[2]
    const label = `${during ? "during" : "before"} call ${at} (${name ?? "none"})`
    assert.strictEqual(
      wrote(tenantId).at(-1)?.[0],
      "stopped",
      `${label}: ${wrote(tenantId).at(-1)?.join(" ")}`
    )
    const home = yield* checkTenant(world, tenantId, label)
    if (name !== undefined) homes.push(home)
  }
  return { homes, calls: Math.max(...tenants.map((tenantId) => Number(ending(tenantId)?.[2] ?? 0))) }
}, Effect.scoped)

/** Kills the process that moves. */
export const kill: Fault = (_world, mover) =>
  Effect.andThen(
    Effect.sync(() => mover.signal("SIGKILL")),
    until("it is dead", () => !mover.isAlive())
  )

/** Pauses the process that moves until others have carried on, or have just begun. */
export const pause: Fault = (world, mover, tenants, round) =>
  Effect.gen(function* () {
    mover.signal("SIGSTOP")
    const before = world.seen()
    const isTakenOver = () =>
      tenants.some((tenantId) => {
        const row = world.seen().silo.get(tenantId)
        return row !== undefined && row.token !== before.silo.get(tenantId)?.token
      }) || tenants.every((tenantId) => isSettled(world.seen(), tenantId))
    if (round % 2 === 0) yield* world.settles(tenants)
    else yield* until("another process takes over", isTakenOver)
    mover.tell("go")
    mover.signal("SIGCONT")
  })

/** Kills a server while the moves go on, and starts it again. */
export const killServer =
  (name: "pool" | "silo"): Fault =>
  ({ servers }, mover) =>
    Effect.gen(function* () {
      yield* Effect.promise(servers[name].kill9)
      mover.tell("go")
      yield* Effect.sleep("300 millis")
      yield* Effect.promise(servers[name].restart)
    })

/** Pauses a server, for longer than leases and fences last, while the moves go on. */
export const pauseServer =
  (name: "pool" | "silo"): Fault =>
  ({ servers }, mover) =>
    Effect.acquireUseRelease(
      Effect.sync(() => processesOf(servers[name])),
      (pids) =>
        Effect.andThen(
          Effect.sync(() => {
            signalAll(pids, "SIGSTOP")
            mover.tell("go")
          }),
          Effect.sleep(fence * 1.25)
        ),
      (pids) => Effect.sync(() => signalAll(pids, "SIGCONT"))
    )

/** Tries a fault at every call, in a few rounds. Returns the number of moves that were stopped. */
export const atCalls = (
  servers: Servers,
  fault: Fault,
  calls: ReadonlyArray<Call>,
  { concurrency, hasRunner = true }: { readonly concurrency: number; readonly hasRunner?: boolean }
) =>
  Effect.gen(function* () {
    const world = yield* makeWorld(servers, { hasRunner })
    const rounds = Array.from({ length: Math.ceil(calls.length / perProcess) }, (_, round) =>
      calls.slice(round * perProcess, (round + 1) * perProcess)
    )
    const run = Effect.forEach(rounds, (moves, round) => withFault(world, moves, fault, round), {
      concurrency
    })
    const homes = (yield* Effect.raceFirst(run, world.watch)).flatMap((result) => result.homes)
    // under load a page may be copied more or less than in the first run
    assert.isAbove(homes.length, calls.length * 0.7)
    assert.include(homes, "silo")
    yield* Console.log(`${homes.length} moves were stopped, each at another call`)
  }).pipe(Effect.scoped)

/** The numbers of the calls that are tried, of so many. */
export const numbers = (calls: number, offset: number): ReadonlyArray<number> =>
  Array.from({ length: calls }, (_, index) => index + 1).filter((at) => (at + offset) % stride === 0)

/** The number of calls of a move without a fault. */
export const callsOfMove = (servers: Servers) =>
  Effect.gen(function* () {
    const world = yield* makeWorld(servers)
    const { calls } = yield* Effect.raceFirst(
      withFault(world, [{ at: 0, during: false }], () => Effect.void, 0),
      world.watch
    )
    assert.isAbove(calls, 30)
    return calls
  }).pipe(Effect.scoped)

/** Two servers, which are stopped when the scope ends. Processes are killed, not the machine, so no write is lost. */
export const startServers: Effect.Effect<Servers, never, Scope.Scope> = Effect.gen(function* () {
  const server = Effect.acquireRelease(
    Effect.promise(() => start({ settings: { fsync: "off" } })),
    ({ stop }) => Effect.promise(stop)
  )
  const [pool, silo] = yield* Effect.all([server, server], { concurrency: 2 })
  return { pool, silo }
})

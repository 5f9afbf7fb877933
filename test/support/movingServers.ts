/** Two servers with a program whose tenants move from one to the other, and a watcher that sees each change of their rows. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import * as Path from "node:path"
import type * as Tenant from "../../src/domain/Tenant.ts"
import { configOf, freshDatabase } from "./Databases.ts"
import { loginOf, startProcess } from "./moveProcesses.ts"
import { notes } from "./movingSilos.ts"
import type { PgServer } from "./PgServer.ts"
import { type Place, places } from "./silo.ts"

/** Every change of a status, which the database itself records, so that none escapes. */
const journal = [
  "create table changes (n bigint generated always as identity, tenant uuid, status text, at timestamptz)",
  `create function note_change() returns trigger language plpgsql security definer as $$
    begin
      insert into public.changes (tenant, status, at) values (new.tenant_id, new.status, clock_timestamp());
      return null;
    end $$`,
  "revoke execute on function note_change() from public",
  `create trigger note_change after insert or update on eventsourcing.tenants
    for each row execute function note_change()`
]

/** The row of a tenant in a database. */
interface Row {
  readonly tenant: string
  readonly status: string
  readonly purged: boolean
  readonly token: string | null
}

type Rows = ReadonlyMap<string, Row>

/** The rows of all tenants at both places. */
interface Seen {
  readonly pool: Rows
  readonly silo: Rows
}

const rowsAt = ({ outside }: Place) =>
  Effect.map(
    outside<Row>(
      `select tenant_id::text as tenant, status, undertaking ->> 'token' as token,
        coalesce(undertaking -> 'purged' = 'true', false) as purged from eventsourcing.tenants`
    ),
    (rows): Rows => new Map(rows.map((row) => [row.tenant, row]))
  )

export const isSettled = ({ pool, silo }: Seen, tenantId: string): boolean => {
  const [source, target] = [pool.get(tenantId), silo.get(tenantId)]
  return source?.status === "active"
    ? target === undefined
    : source?.status === "moved" && source.purged && target?.status === "active"
}

/** Waits until a condition holds, for a bounded time. */
export const until = (
  goal: string,
  condition: () => boolean,
  problem: () => string = () => "",
  millis = 120_000
) =>
  Effect.gen(function* () {
    for (const deadline = Date.now() + millis; !condition(); yield* Effect.sleep(5))
      if (Date.now() > deadline) assert.fail(`not within ${millis} ms: ${goal} ${problem()}`)
  })

export interface Servers {
  readonly pool: PgServer
  readonly silo: PgServer
}

/** Two servers, a program on them whose tenants move, and a watcher. */
export const makeWorld = Effect.fnUntraced(function* (servers: Servers, { hasRunner = true } = {}) {
  const place = (name: "pool" | "silo") =>
    Effect.map(
      places({ name, freshDatabase: freshDatabase(configOf(servers[name])) }, [name], [...notes, ...journal]),
      (found) => found.get(name) ?? assert.fail(name)
    )
  const [pool, silo] = [yield* place("pool"), yield* place("silo")]
  yield* pool.outside("select eventsourcing.add_placement('silo')")
  const logins = { pool: loginOf(pool.app), silo: loginOf(silo.app), directory: loginOf(pool.app) }
  if (hasRunner) yield* startProcess(logins, { role: "runner" })
  const writer = yield* startProcess(logins, { role: "writer" })
  let seen: Seen = { pool: new Map(), silo: new Map() }
  let looks = 0
  const watch = Effect.gen(function* () {
    // the target first: when a tenant is in use there, it has left the source for good
    const there = yield* rowsAt(silo)
    const here = yield* rowsAt(pool)
    for (const { status, tenant } of there.values())
      if (status !== "importing")
        assert.deepStrictEqual([status, here.get(tenant)?.status], ["active", "moved"], "one home")
    seen = { pool: here, silo: there }
    looks++
    yield* Effect.sleep(10)
  }).pipe(
    Effect.forever,
    // a server is down
    Effect.retry({ while: (error) => error._tag === "SqlError" })
  )
  /** Waits for a state that two looks at different times have seen. */
  const settles = (tenants: ReadonlyArray<Tenant.TenantId>) =>
    Effect.gen(function* () {
      const unsettled = () => tenants.filter((tenantId) => !isSettled(seen, tenantId))
      for (;;) {
        yield* until(
          "exactly one home",
          () => unsettled().length === 0,
          () => JSON.stringify(unsettled().map((id) => [seen.pool.get(id), seen.silo.get(id)]))
        )
        yield* Effect.sleep(200)
        const before = looks
        yield* until("another look", () => looks > before + 1)
        if (unsettled().length === 0) return
      }
    })
  return { pool, silo, logins, servers, writer, watch, settles, seen: () => seen }
})
export type World = Effect.Success<ReturnType<typeof makeWorld>>

const noted = [1, 2, 3]

/** Tenants in use at the pool. */
export const furnish = Effect.fnUntraced(function* (
  { pool, writer }: World,
  tenants: ReadonlyArray<Tenant.TenantId>
) {
  for (const tenantId of tenants) {
    yield* pool.outside("insert into eventsourcing.tenant_directory values ($1, 'pool')", [tenantId])
    writer.tell(`write ${tenantId}`)
  }
  yield* until("its first events", () => {
    assert.isTrue(writer.isAlive(), "the writer has ended")
    return tenants.every((tenantId) => writer.said(tenantId).length > 3)
  })
  for (const tenantId of tenants)
    yield* pool.outside("insert into notes select $1, unnest($2::int[])", [tenantId, noted])
})

/** Fails unless a tenant has everything that was acknowledged, once, at one place. Returns that place. */
export const checkTenant = Effect.fnUntraced(function* (
  world: World,
  tenantId: Tenant.TenantId,
  label: string
) {
  const moved = world.seen().silo.get(tenantId)?.status === "active"
  const [home, other] = moved ? [world.silo, world.pool] : [world.pool, world.silo]
  const said = world.writer.said(tenantId)
  const acknowledged = said.flatMap((words) => (words[0] === "stored" ? [words[2]] : []))
  const log = yield* home.outside<{ id: string; position: number }>(
    "select event_id::text as id, position::int as position from eventsourcing.events where tenant_id = $1 order by position",
    [tenantId]
  )
  assert.deepStrictEqual(
    log.map(({ position }) => position),
    log.map((_, index) => index + 1),
    label
  )
  assert.deepStrictEqual(
    log.map(({ id }) => id),
    acknowledged,
    label
  )
  const rows = Effect.fnUntraced(function* ({ outside }: Place) {
    const [found] = yield* outside<{ events: number; keys: number; notes: ReadonlyArray<number> }>(
      `select (select count(*)::int from eventsourcing.events where tenant_id = $1) as events,
        (select count(*)::int from eventsourcing.command_keys where tenant_id = $1) as keys,
        coalesce((select array_agg(n order by n) from notes where tenant_id = $1), '{}') as notes`,
      [tenantId]
    )
    return found
  })
  const keys = Math.ceil(log.length / 2)
  assert.deepStrictEqual(yield* rows(home), { events: log.length, keys, notes: noted }, label)
  assert.deepStrictEqual(yield* rows(other), { events: 0, keys: 0, notes: [] }, label)
  assert.deepStrictEqual(
    yield* world.pool.outside("select placement from eventsourcing.tenant_directory where tenant_id = $1", [
      tenantId
    ]),
    [{ placement: moved ? "silo" : "pool" }],
    label
  )
  const changes = ({ outside }: Place) =>
    outside<{ status: string; at: number }>(
      "select status, extract(epoch from at)::float8 as at from changes where tenant = $1 order by n",
      [tenantId]
    )
  const here = yield* changes(world.pool)
  const there = yield* changes(world.silo)
  const left = here.findIndex(({ status }) => status === "moved")
  const arrived = there.findIndex(({ status }) => status !== "importing")
  assert.strictEqual(left >= 0, moved, label)
  assert.strictEqual(arrived >= 0, moved, label)
  if (moved) {
    assert.isTrue(
      here.slice(left).every(({ status }) => status === "moved"),
      `${label}: back at the source`
    )
    assert.isTrue(
      there.slice(arrived).every(({ status }) => status === "active"),
      label
    )
    assert.isAbove(
      there[arrived]?.at ?? 0,
      here[left]?.at ?? Infinity,
      `${label}: in use before the decision`
    )
  }
  return moved ? "silo" : "pool"
})

/** The processes of a server. */
export const processesOf = ({ dataDirectory }: PgServer): ReadonlyArray<number> => {
  const main = Number(readFileSync(Path.join(dataDirectory, "postmaster.pid"), "utf8").split("\n")[0])
  // no others are made from now on
  process.kill(main, "SIGSTOP")
  const children = readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false
    try {
      const state = readFileSync(`/proc/${pid}/stat`, "utf8")
      return Number(state.slice(state.lastIndexOf(")") + 2).split(" ")[1]) === main
    } catch {
      return false
    }
  })
  return [main, ...children.map(Number)]
}

export const signalAll = (pids: ReadonlyArray<number>, signal: NodeJS.Signals) => {
  for (const pid of pids)
    try {
      process.kill(pid, signal)
    } catch {
      // it has ended
    }
}

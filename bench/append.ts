/**
 * How fast appends are, as a share of a raw function that checks the version and inserts, without tenants, row-level
 * security and an order: `npx tsx bench/append.ts`. Rounds of both are interleaved, on one server with fsync on.
 *
 * Flags: --seconds 1 --rounds 3 --cases alone,hot32,hot256,many32,many256,ten32 --root .. (a tree with the code to measure)
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import { randomUUID } from "node:crypto"
import { readFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { type Connection, start } from "../test/support/PgServer.ts"

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "1" },
    rounds: { type: "string", default: "3" },
    cases: { type: "string", default: "alone,hot32,hot256,many32,many256,ten32" },
    root: { type: "string", default: new URL("..", import.meta.url).pathname },
    label: { type: "string", default: "ours" },
    connections: { type: "string", default: "32" },
    /** A file with the connection of a running server. */
    server: { type: "string" },
    /** Leaves the raw function out. */
    only: { type: "boolean", default: false }
  }
})

const { layerWith } = (await import(
  `${values.root}/src/pg/PgEventStorage.ts`
)) as typeof import("../src/pg/PgEventStorage.ts")
const { EventStorage } = (await import(
  `${values.root}/src/EventStorage.ts`
)) as typeof import("../src/EventStorage.ts")
const PgMigrator = (await import(
  `${values.root}/src/pg/PgMigrator.ts`
)) as typeof import("../src/pg/PgMigrator.ts")
const { TenantId } = (await import(`${values.root}/src/Tenant.ts`)) as typeof import("../src/Tenant.ts")

const rawSchema = `
create schema raw;
create sequence raw.positions cache 32;
create table raw.events (like eventsourcing.events including all);
create function raw.append(
  p_tenant uuid, p_type text, p_id text, p_expected integer, p_event_id uuid, p_event_type text, p_schema_version integer,
  p_occurred_at timestamptz, p_actor text, p_correlation text, p_causation text, p_metadata text, p_payload text
) returns integer language plpgsql as $$
declare v integer;
begin
  select e.version into v from raw.events e
  where e.tenant_id = p_tenant and e.aggregate_type = p_type and e.aggregate_id = p_id order by e.version desc limit 1;
  if coalesce(v, 0) <> p_expected then raise exception 'version'; end if;
  insert into raw.events (tenant_id, position, aggregate_type, aggregate_id, version, event_id, event_type, schema_version,
    occurred_at, recorded_at, actor, correlation_id, causation_id, metadata, payload, bytes)
  values (p_tenant, nextval('raw.positions'), p_type, p_id, p_expected + 1, p_event_id, p_event_type, p_schema_version,
    p_occurred_at, clock_timestamp(), p_actor, p_correlation, p_causation, p_metadata::json, p_payload::json,
    octet_length(p_metadata) + octet_length(p_payload));
  return p_expected + 1;
end $$;
create function raw.append_many(
  p_tenant uuid, p_type text, p_id text, p_expected integer, p_event_id uuid[], p_event_type text[], p_schema_version integer[],
  p_occurred_at timestamptz[], p_actor text[], p_correlation text[], p_causation text[], p_metadata text[], p_payload text[]
) returns integer language plpgsql as $$
declare v integer;
begin
  select e.version into v from raw.events e
  where e.tenant_id = p_tenant and e.aggregate_type = p_type and e.aggregate_id = p_id order by e.version desc limit 1;
  if coalesce(v, 0) <> p_expected then raise exception 'version'; end if;
  insert into raw.events (tenant_id, position, aggregate_type, aggregate_id, version, event_id, event_type, schema_version,
    occurred_at, recorded_at, actor, correlation_id, causation_id, metadata, payload, bytes)
  select p_tenant, nextval('raw.positions'), p_type, p_id, p_expected + u.n, u.i, u.t, u.s, u.o, clock_timestamp(), u.a,
    u.c, u.k, u.m::json, u.p::json, octet_length(u.m) + octet_length(u.p)
  from unnest(p_event_id, p_event_type, p_schema_version, p_occurred_at, p_actor, p_correlation, p_causation,
    p_metadata, p_payload) with ordinality u (i, t, s, o, a, c, k, m, p, n);
  return p_expected + cardinality(p_event_id);
end $$;`

const payload = JSON.stringify({ _tag: "Deposited", amount: 12, note: "x".repeat(160) })
const newEvent = () => ({
  eventId: randomUUID(),
  eventType: "Deposited",
  schemaVersion: 1,
  occurredAt: Date.now(),
  actor: "somebody",
  correlationId: "3e6ff2b2-7b7a-4bb2-8d5a-0d5a3ad2c7f1",
  causationId: null,
  metadata: "{}",
  payload,
  tags: []
})

const newTenant = () => TenantId.make(randomUUID())

interface Case {
  readonly concurrency: number
  readonly tenants: number
  readonly events: number
}
const cases: Record<string, Case> = {
  alone: { concurrency: 1, tenants: 1, events: 1 },
  hot8: { concurrency: 8, tenants: 1, events: 1 },
  hot32: { concurrency: 32, tenants: 1, events: 1 },
  hot256: { concurrency: 256, tenants: 1, events: 1 },
  many32: { concurrency: 32, tenants: 100, events: 1 },
  many256: { concurrency: 256, tenants: 100, events: 1 },
  ten32: { concurrency: 32, tenants: 1, events: 10 },
  many10k32: { concurrency: 32, tenants: 10_000, events: 1 }
}

type Append = (tenant: string, id: string, version: number, events: number) => Effect.Effect<void>

/** Appends a second. Each appender has streams of its own; its tenant changes from append to append. */
const measure = (
  append: Append,
  { concurrency, events, tenants }: Case,
  ids: ReadonlyArray<string>,
  seconds: number
) =>
  Effect.gen(function* () {
    let done = 0
    const run = randomUUID()
    const began = performance.now()
    const cpu = process.cpuUsage()
    const end = began + seconds * 1000
    yield* Effect.forEach(
      Array.from({ length: concurrency }, (_, n) => n),
      (n) =>
        Effect.gen(function* () {
          const versions = new Map<number, number>()
          for (let step = 0; performance.now() < end; step++) {
            const tenant = (n * 7919 + step * 31) % tenants
            const version = versions.get(tenant) ?? 0
            yield* append(ids[tenant] ?? "", `${run}-${n}`, version, events)
            versions.set(tenant, version + events)
            done++
          }
        }),
      { concurrency: "unbounded", discard: true }
    )
    const { system, user } = process.cpuUsage(cpu)
    return { rate: done / ((performance.now() - began) / 1000), cpu: (system + user) / done }
  })

const median = (numbers: ReadonlyArray<number>) =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0

const server =
  values.server === undefined
    ? await start({ settings: { max_connections: "100" } })
    : { ...(JSON.parse(readFileSync(values.server, "utf8")) as Connection), stop: () => Promise.resolve() }
const name = `bench_${process.pid}`
try {
  const config = {
    host: server.host,
    port: server.port,
    username: server.user,
    password: Redacted.make(server.password)
  }
  const admin = PgClient.layer({ ...config, database: "postgres", maxConnections: 1 })
  const administer = (statement: string) =>
    PgClient.PgClient.use((sql) => sql.unsafe(statement).unprepared).pipe(Effect.provide(admin))
  await Effect.runPromise(administer(`create database ${name}`))
  const program = Effect.gen(function* () {
    yield* PgMigrator.run
    const sql = yield* PgClient.PgClient
    yield* sql.unsafe(`do $do$ begin execute $exec$${rawSchema}$exec$; end $do$`).unprepared
    const context = yield* Layer.build(layerWith({}))
    const storage = yield* Effect.provide(EventStorage, context)
    const scalar = `select raw.append(${["uuid", "text", "text", "integer", "uuid", "text", "integer", "timestamptz", "text", "text", "text", "text", "text"].map((t, i) => `$${i + 1}::${t}`).join()})`
    const many = `select raw.append_many(${["uuid", "text", "text", "integer", "uuid[]", "text[]", "integer[]", "timestamptz[]", "text[]", "text[]", "text[]", "text[]", "text[]"].map((t, i) => `$${i + 1}::${t}`).join()})`
    const raw: Append = (tenant, id, version, count) => {
      if (count === 1) {
        const e = newEvent()
        return Effect.asVoid(
          Effect.orDie(
            sql.unsafe(scalar, [
              tenant,
              "Account",
              id,
              version,
              e.eventId,
              e.eventType,
              e.schemaVersion,
              new Date(e.occurredAt),
              e.actor,
              e.correlationId,
              e.causationId,
              e.metadata,
              e.payload
            ]).values
          )
        )
      }
      const es = Array.from({ length: count }, newEvent)
      return Effect.asVoid(
        Effect.orDie(
          sql.unsafe(many, [
            tenant,
            "Account",
            id,
            version,
            es.map((e) => e.eventId),
            es.map((e) => e.eventType),
            es.map((e) => e.schemaVersion),
            es.map((e) => new Date(e.occurredAt)),
            es.map((e) => e.actor),
            es.map((e) => e.correlationId),
            es.map(() => ""),
            es.map((e) => e.metadata),
            es.map((e) => e.payload)
          ]).values
        )
      )
    }
    const ours: Append = (tenant, id, version, count) =>
      Effect.flatMap(
        Effect.orDie(
          storage.append([
            {
              tenantId: tenant as typeof TenantId.Type,
              streams: [
                {
                  aggregateType: "Account",
                  aggregateId: id,
                  expectedVersion: version,
                  events: Array.from({ length: count }, newEvent)
                }
              ]
            }
          ])
        ),
        ([outcome]) => (outcome?._tag === "Success" ? Effect.void : Effect.die(outcome))
      )
    const rows: Array<Record<string, string>> = []
    for (const name of values.cases.split(",")) {
      const one = cases[name]
      if (one === undefined) continue
      const ids = Array.from({ length: one.tenants }, newTenant)
      yield* measure(raw, one, ids, 0.4)
      yield* measure(ours, one, ids, 0.4)
      const figures: Array<readonly [number, number]> = []
      let [rawCpu, oursCpu] = [0, 0]
      for (let round = 0; round < Number(values.rounds); round++) {
        const a = values.only ? { rate: 1, cpu: 0 } : yield* measure(raw, one, ids, Number(values.seconds))
        const b = yield* measure(ours, one, ids, Number(values.seconds))
        figures.push([a.rate, b.rate])
        rawCpu = a.cpu
        oursCpu = b.cpu
      }
      const ratios = figures.map(([a, b]) => b / a)
      rows.push({
        case: name,
        "raw/s": median(figures.map(([a]) => a)).toFixed(0),
        [`${values.label}/s`]: median(figures.map(([, b]) => b)).toFixed(0),
        ratio: median(ratios).toFixed(2),
        "client µs": `${rawCpu.toFixed(0)} ${oursCpu.toFixed(0)}`,
        range: `${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)}`
      })
    }
    console.table(rows)
  })
  await Effect.runPromise(
    program.pipe(
      Effect.scoped,
      Effect.provide(
        PgClient.layer({ ...config, database: name, maxConnections: Number(values.connections) })
      )
    )
  )
  await Effect.runPromise(administer(`drop database ${name} with (force)`))
} finally {
  await server.stop()
}

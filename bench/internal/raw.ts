/**
 * R, the floor: one call of a SQL function per append, which checks the version and inserts. The same columns and
 * indexes as the store's, and nothing else. No row-level security, no tenant order, no idempotence.
 */
import { PgClient } from "@effect/sql-pg"
import { ManagedRuntime } from "effect"
import { randomUUID } from "node:crypto"
import { loadPeer } from "../peers/load.ts"
import { itemAdded } from "./domain.ts"
import type { Contender } from "./measure.ts"
import { loops } from "./measure.ts"
import { client, type Database, execute, query } from "./server.ts"

const schema = [
  `create table raw_events (
    tenant_id uuid not null, position bigserial not null, aggregate_type text collate "C" not null,
    aggregate_id text collate "C" not null, version integer not null, event_id uuid not null,
    event_type text collate "C" not null, schema_version integer not null, occurred_at timestamptz not null,
    recorded_at timestamptz not null default now(), actor text, correlation_id text not null, causation_id text,
    metadata json not null, payload json not null, bytes integer not null,
    primary key (tenant_id, position), unique (tenant_id, aggregate_type, aggregate_id, version),
    unique (tenant_id, event_id))`,
  `create function raw_append(p_tenant uuid, p_type text, p_id text, p_expected integer, p_event_ids uuid[],
      p_event_types text[], p_occurred_at timestamptz, p_correlation text, p_payloads text[])
    returns integer language plpgsql set plan_cache_mode = force_generic_plan as $$
    declare
      actual integer;
    begin
      select coalesce((select e.version from raw_events e where e.tenant_id = p_tenant and e.aggregate_type = p_type
        and e.aggregate_id = p_id order by e.version desc limit 1), 0) into actual;
      if actual <> p_expected then raise exception 'conflict'; end if;
      insert into raw_events (tenant_id, aggregate_type, aggregate_id, version, event_id, event_type, schema_version,
        occurred_at, correlation_id, metadata, payload, bytes)
      select p_tenant, p_type, p_id, actual + n.place, n.event_id, n.event_type, 1, p_occurred_at, p_correlation, '{}',
        n.payload::json, octet_length(n.payload)
      from unnest(p_event_ids, p_event_types, p_payloads) with ordinality as n (event_id, event_type, payload, place);
      return actual + cardinality(p_event_ids);
    end $$`,
  `create function raw_append_one(p_tenant uuid, p_type text, p_id text, p_expected integer, p_event_id uuid,
      p_event_type text, p_occurred_at timestamptz, p_correlation text, p_payload text)
    returns integer language plpgsql set plan_cache_mode = force_generic_plan as $$
    declare
      actual integer;
    begin
      select coalesce((select e.version from raw_events e where e.tenant_id = p_tenant and e.aggregate_type = p_type
        and e.aggregate_id = p_id order by e.version desc limit 1), 0) into actual;
      if actual <> p_expected then raise exception 'conflict'; end if;
      insert into raw_events (tenant_id, aggregate_type, aggregate_id, version, event_id, event_type, schema_version,
        occurred_at, correlation_id, metadata, payload, bytes)
      values (p_tenant, p_type, p_id, actual + 1, p_event_id, p_event_type, 1, p_occurred_at, p_correlation, '{}',
        p_payload::json, octet_length(p_payload));
      return actual + 1;
    end $$`
]

export const prepareRaw = (database: Database): Promise<void> => execute(database.owner, ...schema)

const oneSql =
  "select raw_append_one($1::uuid, $2::text, $3::text, $4::integer, $5::uuid, $6::text, $7::timestamptz, $8::text, $9::text)"
const manySql =
  "select raw_append($1::uuid, $2::text, $3::text, $4::integer, $5::uuid[], $6::text[], $7::timestamptz, $8::text, $9::text[])"

/** Calls a statement with parameters. */
type Call = (text: string, parameters: ReadonlyArray<unknown>) => Promise<unknown>

interface Driver {
  readonly name: string
  readonly call: Call
  readonly end: () => Promise<void>
}

const effectDriver = (database: Database): Driver => {
  const runtime = ManagedRuntime.make(client(database.owner, 32))
  return {
    name: "@effect/sql-pg",
    call: (text, parameters) =>
      runtime.runPromise(PgClient.PgClient.use((sql) => sql.unsafe(text, [...parameters]).values)),
    end: () => runtime.dispose()
  }
}

interface PostgresJs {
  (
    url: string,
    options: object
  ): {
    unsafe(text: string, parameters: ReadonlyArray<unknown>, options: object): Promise<unknown>
    end(): Promise<void>
  }
}

const postgresJs = async (database: Database): Promise<Driver> => {
  const { default: postgres } = await loadPeer<{ default: PostgresJs }>("postgres")
  const sql = postgres(database.url, { max: 32 })
  return {
    name: "postgres.js",
    call: (text, parameters) => sql.unsafe(text, parameters, { prepare: true }),
    end: () => sql.end()
  }
}

interface Pg {
  readonly Pool: new (options: object) => {
    query(query: object): Promise<unknown>
    end(): Promise<void>
  }
}

const nodePostgres = async (database: Database): Promise<Driver> => {
  const { default: pg } = await loadPeer<{ default: Pg }>("pg")
  const pool = new pg.Pool({ connectionString: database.url, max: 32 })
  return {
    name: "pg",
    call: (text, parameters) => pool.query({ name: text.slice(7, 23), text, values: parameters }),
    end: () => pool.end()
  }
}

/** The available drivers: those of `bench/package.json` only if they are installed. */
const drivers = async (database: Database): Promise<ReadonlyArray<Driver>> => {
  const optional = await Promise.allSettled([postgresJs(database), nodePostgres(database)])
  return [
    effectDriver(database),
    ...optional.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []))
  ]
}

const tenantId = randomUUID()

/** R, once per driver. Every loop appends to its own stream, with its version. */
export const rawAppend = async (
  database: Database,
  concurrency: number,
  events: number,
  bytes: number
): Promise<ReadonlyArray<Contender>> => {
  const all = await drivers(database)
  return all.map(({ name, call, end }) => {
    const streams = Array.from({ length: concurrency }, () => ({ id: randomUUID(), version: 0 }))
    let acknowledged = 0
    const append = async (loop: number): Promise<void> => {
      const stream = streams[loop]
      if (stream === undefined) return
      const payloads = Array.from({ length: events }, (_, n) =>
        JSON.stringify(itemAdded(stream.version + n, bytes))
      )
      const ids = payloads.map(() => randomUUID())
      const rest = [new Date(), stream.id]
      await (events === 1
        ? call(oneSql, [
            tenantId,
            "Cart",
            stream.id,
            stream.version,
            ids[0],
            "ItemAdded",
            ...rest,
            payloads[0]
          ])
        : call(manySql, [
            tenantId,
            "Cart",
            stream.id,
            stream.version,
            ids,
            payloads.map(() => "ItemAdded"),
            ...rest,
            payloads
          ]))
      stream.version += events
      acknowledged += events
    }
    return {
      name: `raw ${name}`,
      run: (seconds) => loops(concurrency, seconds, append),
      close: async () => {
        await end()
        const ids = streams.map(({ id }) => `'${id}'`).join()
        const [stored] = await query<{ n: number }>(
          database.owner,
          `select count(*)::integer as n from raw_events where aggregate_id in (${ids})`
        )
        if (stored?.n !== acknowledged)
          throw new Error(`raw ${name}: ${stored?.n} events are stored, ${acknowledged} were acknowledged`)
      }
    }
  })
}

import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { servers } from "../support/Databases.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

/** A rule of the schema: a query that returns one row per violation, and statements that violate it. */
interface Rule {
  readonly violations: string
  readonly planted: ReadonlyArray<string>
  /** Allowed exceptions, with their reasons. */
  readonly exceptions?: Readonly<Record<string, string>>
}

const ours = "'eventsourcing'::regnamespace"

/** Tables with rows of tenants. */
const tenantTables = `(
  select c.* from pg_class c where c.relnamespace = ${ours} and c.relkind in ('r', 'p')
    and c.relname not in ('schema_files', 'cross_tenant_accesses', 'projection_versions', 'read_models', 'declared_tables', 'plans', 'placements'))`

const groupRoles = [
  "eventsourcing_tenant",
  "eventsourcing_runner",
  "eventsourcing_all_tenants",
  "eventsourcing_administrator",
  "eventsourcing_runner_owner",
  "eventsourcing_all_tenants_owner",
  "eventsourcing_administrator_owner"
]
  .map((role) => `'${role}'::regrole`)
  .join()

const bare =
  "(tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)".replaceAll(
    "'",
    "''"
  )

const rules: Readonly<Record<string, Rule>> = {
  "every table has tenant_id uuid not null, or is about no tenant": {
    violations: `select c.relname as what from pg_class c where c.relnamespace = ${ours} and c.relkind in ('r', 'p', 'f', 'm')
      and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id'
        and a.atttypid = 'uuid'::regtype and a.attnotnull and not a.attisdropped)`,
    planted: ["create table eventsourcing.planted (tenant_id text not null)"],
    exceptions: {
      schema_files: "changes to the database, not to a tenant",
      cross_tenant_accesses: "accesses across tenants, which belong to none of them",
      placements: "names of databases, which are the application's",
      projection_versions: "names of projections, which are the application's",
      declared_tables: "names of tables, which are the application's",
      plans: "limits with names, which are the application's",
      read_models: "names of tables, which are the application's"
    }
  },
  "tenant_id is the first column of every index and key": {
    violations: `select i.indexrelid::regclass::text as what from pg_index i join ${tenantTables} c on c.oid = i.indrelid
      where (select attname from pg_attribute where attrelid = i.indrelid and attnum = i.indkey[0]) is distinct from 'tenant_id'`,
    planted: ["create unique index planted on eventsourcing.events (event_id, tenant_id)"],
    exceptions: {
      "eventsourcing.projections_due":
        "no key and not for tenants: the runner finds work of all tenants with it",
      "eventsourcing.projections_parked": "the same: the runner counts parked projections with it",
      "eventsourcing.dead_letters_age": "the same: the runner finds the oldest dead letter with it"
    }
  },
  "every table of tenants has a primary key": {
    violations: `select c.relname as what from ${tenantTables} c
      where not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)`,
    planted: ["create table eventsourcing.planted (tenant_id uuid not null)"]
  },
  "a foreign key pairs tenant_id with tenant_id first": {
    violations: `select k.conname as what from pg_constraint k where k.connamespace = ${ours} and k.contype = 'f' and (
      (select attname from pg_attribute where attrelid = k.conrelid and attnum = k.conkey[1]) <> 'tenant_id'
      or (select attname from pg_attribute where attrelid = k.confrelid and attnum = k.confkey[1]) <> 'tenant_id')`,
    planted: [
      "create table eventsourcing.planted (other uuid references eventsourcing.tenants, tenant_id uuid not null)"
    ]
  },
  "no sequence and no identity or serial column": {
    violations: `select relname as what from pg_class where relnamespace = ${ours} and relkind = 'S'
      union all select attrelid::regclass || '.' || attname from pg_attribute join pg_class c on c.oid = attrelid
        where c.relnamespace = ${ours} and attidentity <> ''
      union all select adrelid::regclass::text from pg_attrdef join pg_class c on c.oid = adrelid
        where c.relnamespace = ${ours} and pg_get_expr(adbin, adrelid) ~ 'nextval'`,
    planted: ["alter table eventsourcing.events add column planted bigint generated always as identity"]
  },
  "no trigger, no rule and no domain": {
    violations: `select tgname as what from pg_trigger join pg_class c on c.oid = tgrelid
        where c.relnamespace = ${ours} and not tgisinternal
      union all select r.rulename from pg_rewrite r join pg_class c on c.oid = r.ev_class
        where c.relnamespace = ${ours} and r.rulename <> '_RETURN'
      union all select typname from pg_type where typnamespace = ${ours} and typtype = 'd'`,
    planted: [
      "create rule planted as on delete to eventsourcing.events do instead nothing",
      "create domain eventsourcing.planted as text",
      `create trigger planted before update on eventsourcing.events for each row execute function suppress_redundant_updates_trigger()`
    ]
  },
  "no deferrable and no exclusion constraint": {
    violations: `select conname as what from pg_constraint where connamespace = ${ours} and (condeferrable or contype = 'x')`,
    planted: [
      "alter table eventsourcing.tenants add constraint planted unique (tenant_id, status) deferrable",
      "alter table eventsourcing.tenants add constraint planted2 exclude (tenant_id with =)"
    ]
  },
  "no function orders by transaction ids, uses advisory locks, or notifies": {
    violations: `select proname || ': ' || m[1] as what from pg_proc,
        regexp_matches(prosrc, '(txid_\\w*|pg_current_xact\\w*|pg_\\w*snapshot\\w*|pg_xact_\\w*|\\mxmin\\M|\\mxmax\\M|\\w*advisory\\w*|pg_notify|nextval)', 'gi') m
      where pronamespace = ${ours}`,
    planted: [
      "create function eventsourcing.planted() returns void language sql as 'select pg_advisory_xact_lock(1)'",
      "create function eventsourcing.planted2() returns xid8 language sql as 'select pg_snapshot_xmin(pg_current_snapshot())'"
    ],
    exceptions: {
      "begin_tenant: pg_current_xact_id_if_assigned":
        "checks if somebody left a transaction open on the connection; orders nothing",
      "begin_projection: pg_current_xact_id_if_assigned": "the same check",
      "begin_across_tenants: pg_current_xact_id_if_assigned": "the same check",
      "clean_session: pg_advisory_unlock_all":
        "releases what the application's SQL left on a session; takes none",
      "begin_projection: pg_try_advisory_xact_lock_shared":
        "only counted, for the order of work: it is shared, and taken without waiting, so that nothing waits for it",
      "tenants_beyond_share: advisory": "counts those locks; nothing is correct because of them",
      "announce: pg_notify":
        "a hint, outside of appends, that carries nothing: losing it costs time, and who overhears it learns of nobody"
    }
  },
  "policies of tenants are one comparison, those across tenants allow everything": {
    violations: `select c.relname || '.' || p.polname as what from pg_policy p join pg_class c on c.oid = p.polrelid
      where c.relnamespace = ${ours} and not (
        p.polroles = array['eventsourcing_tenant'::regrole::oid] and p.polcmd = '*'
          and pg_get_expr(p.polqual, p.polrelid) = '${bare}' and pg_get_expr(p.polwithcheck, p.polrelid) = '${bare}'
        or p.polroles = array['eventsourcing_all_tenants_owner'::regrole::oid] and p.polpermissive
          and pg_get_expr(p.polqual, p.polrelid) = 'true'
        or p.polroles = array['eventsourcing_runner_owner'::regrole::oid] and p.polpermissive
          and pg_get_expr(p.polqual, p.polrelid) = 'true'
          and (c.relname in ('tenants', 'events') and p.polcmd = 'r'
            or c.relname in ('projections', 'projection_versions', 'command_keys', 'projection_failures',
              'dead_letters')))`,
    planted: [
      "create policy planted on eventsourcing.events using (tenant_id in (select tenant_id from eventsourcing.tenants))",
      "create policy planted on eventsourcing.events for insert to eventsourcing_runner with check (true)",
      "create policy planted on eventsourcing.dead_letters for select to eventsourcing_runner using (true)"
    ],
    exceptions: {
      "declared_tables.anyone_reads": "names of tables, which are the application's",
      "declared_tables.owner_registers": "names of tables, written by their owner",
      "placements.anyone_reads": "names of databases, which are the application's",
      "plans.administrator_defines": "limits with names, which are the application's",
      "plans.anyone_reads": "limits with names, which are the application's",
      "projection_versions.administrator_reads": "names of projections, which are the application's",
      "placements.owner_registers": "names of databases, written by their owner",
      "read_models.anyone_reads": "names of tables, which are the application's",
      "read_models.owner_registers": "names of tables, written by their owner"
    }
  },
  "every table is protected, also from its owner": {
    violations: `select c.relname as what from pg_class c where c.relnamespace = ${ours} and c.relkind in ('r', 'p')
      and not (c.relrowsecurity and c.relforcerowsecurity)
      union all select c.relname || ': ' || n from ${tenantTables} c, unnest(array['tenant_access', 'tenant_isolation']) n
        where not exists (select from pg_policy where polrelid = c.oid and polname = n)`,
    planted: ["alter table eventsourcing.events no force row level security"],
    exceptions: { schema_files: "changes to the database, not to a tenant" }
  },
  "at most one level of partitioning": {
    violations: `select i.inhrelid::regclass::text as what from pg_inherits i join pg_inherits above on above.inhrelid = i.inhparent
      join pg_class c on c.oid = i.inhrelid where c.relnamespace = ${ours}`,
    planted: [
      "create table eventsourcing.planted (tenant_id uuid not null) partition by hash (tenant_id)",
      "create table eventsourcing.planted_1 partition of eventsourcing.planted for values with (modulus 1, remainder 0) partition by hash (tenant_id)",
      "create table eventsourcing.planted_1_1 partition of eventsourcing.planted_1 for values with (modulus 1, remainder 0)"
    ]
  },
  "every table survives a crash": {
    violations: `select relname as what from pg_class where relnamespace = ${ours} and relkind in ('r', 'p') and relpersistence <> 'p'`,
    planted: ["alter table eventsourcing.cross_tenant_accesses set unlogged"]
  },
  "every schema, table, type and function has a comment": {
    violations: `select relname as what from pg_class where relnamespace = ${ours} and relkind in ('r', 'p', 'v', 'm', 'c')
        and obj_description(oid, 'pg_class') is null
        and not (relkind = 'c' and exists (select from pg_type t where t.typrelid = pg_class.oid and obj_description(t.oid, 'pg_type') is not null))
      union all select oid::regprocedure::text from pg_proc where pronamespace = ${ours} and obj_description(oid, 'pg_proc') is null
      union all select typname from pg_type where typnamespace = ${ours} and typtype in ('e', 'd', 'r') and obj_description(oid, 'pg_type') is null
      union all select nspname from pg_namespace where nspname ~ '^eventsourcing' and obj_description(oid, 'pg_namespace') is null`,
    planted: [
      "create function eventsourcing.planted() returns integer language sql as 'select 1'",
      "create type eventsourcing.planted as (a integer)",
      "create type eventsourcing.planted2 as enum ('a')",
      "comment on table eventsourcing.events is null",
      "comment on schema eventsourcing is null"
    ]
  },
  "every function runs as a group role, with a fixed search path": {
    violations: `select proname as what from pg_proc where pronamespace = ${ours} and not coalesce(
      prosecdef and proconfig @> array['search_path=pg_catalog, pg_temp']
        and proowner in (${groupRoles}), false)`,
    planted: [
      "alter function eventsourcing.log_head(uuid, bigint) reset search_path",
      "alter function eventsourcing.stream_version(uuid, text, text) security invoker"
    ],
    exceptions: {
      announce_committing:
        "ends a transaction, which neither security definer nor a set clause allows; calls announce",
      add_placement: "of the owner of the database; has a fixed search path",
      admit_tenant: "grants and revokes, as the owner of the database; has a fixed search path",
      append_committing:
        "ends a transaction, which neither security definer nor a set clause allows; calls append",
      append_one_committing:
        "ends a transaction, which neither security definer nor a set clause allows; calls append_one",
      begin_across_tenants: "changes the role of the transaction, which security definer does not allow",
      begin_projection:
        "changes the role of the transaction and its search path; names everything with its schema",
      begin_reading: "calls begin_tenant; names everything with its schema",
      begin_tenant: "changes the role of the transaction, which security definer does not allow",
      bind_tenant: "sets the tenant for its caller; names everything with its schema",
      cancel_shared_rebuild: "changes the role of the transaction; names everything with its schema",
      carried_key: "reads the catalogue, as its caller; has a fixed search path",
      clean_session:
        "resets the settings of the session, which a set clause would restore; names everything with its schema",
      clear_rebuild:
        "works on the application's tables, whose triggers may need the search path; names everything with its schema",
      create_committing: "makes procedures, as the owner of the database; has a fixed search path",
      declare_table: "changes tables, as their owner; has a fixed search path",
      exclude_tenant: "changes its role, as the owner of the database; has a fixed search path",
      hold_twins: "locks tables of the application, as whoever fills them; names everything with its schema",
      keys_without_tenant: "reads the catalogue, as whoever asks; has a fixed search path",
      isolation_problems: "reads the catalogue, as whoever asks; has a fixed search path",
      name_database: "grants and revokes, as the owner of the database; has a fixed search path",
      protect_tenant_table: "changes tables, as their owner; has a fixed search path",
      purge_tenant:
        "runs as the owner of the database, because no group role may remove events; has a fixed search path",
      require_visible: "reads the row of the bound tenant, as its caller; names everything with its schema",
      tables_of_tenants: "reads the catalogue, as its caller; has a fixed search path",
      register_read_model: "makes and changes tables, as their owner; has a fixed search path",
      read_model_name: "only for the owner, by register_read_model; has a fixed search path",
      register_shared_read_model: "makes and changes tables, as their owner; has a fixed search path",
      renew_twins: "makes tables, as their owner; has a fixed search path",
      start_shared_rebuild: "changes the role of the transaction; names everything with its schema",
      switch_shared_rebuild: "changes the role of the transaction; names everything with its schema",
      lowest_program: "a constant; has a fixed search path",
      unregister_read_model: "drops a table, as its owner; has a fixed search path",
      open_table: "changes tables, as their owner; has a fixed search path",
      schema_version: "a constant; has a fixed search path",
      stream_log:
        "its query is put in the place of the call, which neither security definer nor a set clause allows; names everything with its schema",
      switch_rebuild:
        "works on the application's tables, whose triggers may need the search path; names everything with its schema"
    }
  },
  "no function uses just-in-time compilation": {
    violations: `select proname as what from pg_proc
      where pronamespace = ${ours} and prosecdef and not coalesce(proconfig @> array['jit=off'], false)`,
    planted: ["alter function eventsourcing.log_head(uuid, bigint) reset jit"]
  },
  "a function without a fixed search path names every function and table with its schema": {
    violations: `select proname || ': ' || coalesce(m[1], m[2]) as what from pg_proc, regexp_matches(
        regexp_replace(prosrc, '--[^\\n]*', '', 'g'),
        '(?:^|[^.\\w])((?!nullif|coalesce|operator\\(pg_catalog)\\w+\\()|\\m(?:from|join|update)\\s+((?!eventsourcing\\.|pg_catalog\\.|eventsourcing_rebuild\\.)\\w+)', 'g') m
      where pronamespace = ${ours} and not coalesce(proconfig @> array['search_path=pg_catalog, pg_temp'], false)`,
    planted: [
      "create function eventsourcing.planted() returns integer language sql as 'select length(''x'')'",
      "create function eventsourcing.planted() returns bigint language sql as 'select 1::bigint from pg_class'"
    ]
  },
  "nobody but the group roles may call a function": {
    violations: `select proname as what from pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) g
      where pronamespace = ${ours} and g.grantee <> proowner and g.grantee not in (${groupRoles})`,
    planted: ["grant execute on function eventsourcing.log_head(uuid, bigint) to public"],
    exceptions: {
      lowest_program: "a constant, asked for when the store starts",
      schema_version: "a constant, asked for when the store starts"
    }
  },
  "the runner may call nothing that shows events": {
    violations: `select proname as what from pg_proc
      where pronamespace = ${ours} and has_function_privilege('eventsourcing_runner', oid, 'execute')`,
    planted: [
      "grant execute on function eventsourcing.log_head(uuid, bigint) to eventsourcing_runner",
      "grant execute on function eventsourcing.log_head(uuid, bigint) to public"
    ],
    exceptions: {
      begin_projection: "binds the tenant of what it claims and gives up the rights of the runner",
      bind_tenant: "shows nothing; the runner is under no policy that asks who is bound",
      clean_session: "answers nothing, and changes the caller's own session alone",
      claim_projection: "answers progress: positions, and what failed without any payload",
      lowest_program: "a constant",
      other_work_waits: "answers if there is work",
      projection_backlog: "answers sums over all tenants",
      projection_dead_letters: "answers sums over all tenants",
      register_projection: "answers nothing",
      remove_expired_keys: "answers how many were removed",
      schema_version: "a constant"
    }
  },
  "roles that are granted to programs read nothing across tenants but through functions": {
    violations: `select r.rolname || ' ' || c.relname || '.' || a.attname as what
      from pg_class c join pg_attribute a on a.attrelid = c.oid, pg_roles r
      where c.relnamespace in (${ours}, 'eventsourcing_rebuild'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm')
        and a.attnum > 0 and c.relname not in ('placements', 'read_models', 'declared_tables')
        and r.rolname in ('eventsourcing_runner', 'eventsourcing_all_tenants', 'eventsourcing_administrator')
        and has_column_privilege(r.oid, c.oid, a.attnum, 'select, insert, update, references')`,
    planted: [
      "grant select (payload) on eventsourcing.events to eventsourcing_runner",
      "grant update (position) on eventsourcing.projections to eventsourcing_runner",
      "grant insert on eventsourcing.cross_tenant_accesses to eventsourcing_all_tenants",
      "grant select on eventsourcing.dead_letters to public"
    ]
  },
  "the owner of the runner's functions reads only the heads of logs, and progress": {
    violations: `select c.relname || '.' || a.attname as what from pg_class c join pg_attribute a on a.attrelid = c.oid
      where c.relnamespace in (${ours}, 'eventsourcing_rebuild'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm')
        and a.attnum > 0 and c.relname not in ('projections', 'projection_versions')
        and has_column_privilege('eventsourcing_runner_owner', c.oid, a.attnum, 'select')`,
    planted: ["grant select (payload) on eventsourcing.events to eventsourcing_runner_owner"],
    exceptions: {
      "tenants.tenant_id": "the tenants",
      "events.tenant_id": "the tenants of logs",
      "events.position": "the heads of logs",
      "events.recorded_at": "the age of the oldest pending event",
      "command_keys.tenant_id": "the tenants of keys",
      "command_keys.key": "the key to remove",
      "command_keys.expires_at": "its expiry",
      "projection_failures.projection": "the failures of a retired version",
      "projection_failures.version": "the same",
      "dead_letters.projection": "the dead letters of a rebuild across tenants",
      "dead_letters.version": "the same",
      "dead_letters.rebuild": "the same",
      "dead_letters.failed_at": "the age of the oldest dead letter"
    }
  },
  "nobody but the group roles has rights on tables, and events can only be added": {
    violations: `select distinct c.relname || ': ' || g.grantee::regrole || ' ' || g.privilege_type as what
      from pg_class c cross join lateral (
        select * from aclexplode(c.relacl)
        union all select x.* from pg_attribute a, aclexplode(a.attacl) x where a.attrelid = c.oid) g
      where c.relnamespace = ${ours} and c.relkind in ('r', 'p') and g.grantee <> c.relowner and (
        g.grantee not in (${groupRoles})
        or g.privilege_type not in ('SELECT', 'INSERT', 'UPDATE') or g.is_grantable
        or c.relname in ('events', 'event_tags', 'event_blocks') and g.privilege_type = 'UPDATE')`,
    planted: [
      "grant update (tag) on eventsourcing.event_tags to eventsourcing_tenant",
      "grant update (event_types) on eventsourcing.event_blocks to eventsourcing_tenant",
      "grant update (payload) on eventsourcing.events to eventsourcing_tenant",
      "grant delete on eventsourcing.tenants to eventsourcing_all_tenants",
      "grant select on eventsourcing.events to pg_monitor"
    ],
    exceptions: {
      "command_keys: eventsourcing_tenant DELETE": "keys that have expired",
      "command_keys: eventsourcing_runner_owner DELETE": "keys that have expired, of idle tenants",
      "cross_tenant_accesses: eventsourcing_all_tenants_owner DELETE": "records that are too old, on record",
      "discarded_dead_letters: eventsourcing_administrator_owner DELETE":
        "those of an import that begins again",
      "projections: eventsourcing_runner_owner DELETE": "the progress of a version that is retired",
      "projections: eventsourcing_tenant DELETE": "the progress of a rebuild that has taken its place",
      "dead_letters: eventsourcing_runner_owner DELETE":
        "those that a rebuild across tenants has replaced, or that begins again",
      "dead_letters: eventsourcing_tenant DELETE": "one that was handled again, or discarded with a reason",
      "projection_failures: eventsourcing_tenant DELETE": "causes before the last hundred",
      "projection_failures: eventsourcing_runner_owner DELETE": "the causes of a version that is retired",
      "snapshots: eventsourcing_tenant DELETE": "one that is to be forgotten: the events are still there"
    }
  },
  "all objects for tenants are in one schema": {
    violations: `select c.oid::regclass::text as what from pg_class c
        where c.oid >= 16384 and c.relnamespace <> ${ours} and c.relkind in ('r', 'p', 'v', 'm', 'S')
          and c.relnamespace not in (select oid from pg_namespace where nspname ~ '^pg_(toast|temp)')
          and c.oid::regclass::text not in ('read_model', 'scratch', 'eventsourcing_rebuild.read_model')
      union all select oid::regprocedure::text from pg_proc where oid >= 16384 and pronamespace <> ${ours}`,
    planted: ["create function public.planted() returns integer language sql as 'select 1'"]
  }
}

const undone = "undone"

for (const server of servers) {
  layer(layerOn(server), { excludeTestServices: true })(`the schema on ${server.name}`, (it) => {
    const asOwner = <A, E>(body: (sql: SqlClient.SqlClient) => Effect.Effect<A, E>) =>
      TenantDatabase.use(({ owner }) =>
        SqlClient.SqlClient.use((sql) =>
          sql.withTransaction(Effect.andThen(body(sql), Effect.fail(undone))).pipe(
            Effect.catchIf(
              (error) => error === undone,
              () => Effect.void
            )
          )
        ).pipe(Effect.provide(Layer.orDie(PgClient.layer({ ...owner, maxConnections: 1 })), { local: true }))
      )

    for (const [rule, { exceptions = {}, planted, violations }] of Object.entries(rules)) {
      const found = (sql: SqlClient.SqlClient) =>
        Effect.map(
          sql.unsafe<{ what: string }>(`select distinct what from (${violations}) v order by what`),
          (rows) => rows.map(({ what }) => what)
        )

      it.effect(rule, () =>
        // exactly: an exception that is no longer needed must be removed
        asOwner((sql) =>
          Effect.map(found(sql), (what) => assert.sameMembers([...what], Object.keys(exceptions)))
        )
      )

      it.effect(`a violation is reported: ${rule}`, () =>
        asOwner((sql) =>
          Effect.forEach(
            // a partition and its table are both reported; everything else alone
            rule.includes("partitioning") ? [planted] : planted.map((statement) => [statement]),
            (statements) =>
              sql
                .withTransaction(
                  Effect.gen(function* () {
                    for (const statement of statements) yield* sql.unsafe(statement)
                    assert.isAbove(
                      (yield* found(sql)).length,
                      Object.keys(exceptions).length,
                      statements.join()
                    )
                    return yield* Effect.fail(undone)
                  })
                )
                .pipe(
                  Effect.catchIf(
                    (error) => error === undone,
                    () => Effect.void
                  )
                ),
            { discard: true }
          )
        )
      )
    }
  })
}

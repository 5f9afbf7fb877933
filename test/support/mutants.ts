/**
 * Mutants of the SQL functions: each lacks one predicate on the tenant. Row-level security must make up for it, and
 * without row-level security some isolation case must fail.
 */
import { Effect } from "effect"
import { SqlClient, type SqlError } from "effect/sql"

/** A function with a predicate replaced by `true`. */
export interface Mutant {
  /** The function, and the number of the removed predicate. */
  readonly name: string
  readonly line: string
  /** The statement that replaces the function by the mutant. */
  readonly sql: string
  /** The statement that restores the function. */
  readonly original: string
  /**
   * True if row-level security covers it. Functions across tenants run as a role that may see all of them, so
   * for those the predicate is the only layer.
   */
  readonly underRls: boolean
  /** True if the answers are the same without the predicate. */
  readonly onlySlower: boolean
}

/** `e.tenant_id = v_tenant` and the like, not the policies' `tenant_id = nullif(…)`. */
const predicate =
  /\b(?:\w+\.)?tenant_id (?:=|operator\(pg_catalog\.=\)) (?:any \(\w+\)|\$\d|(?:\w+\.)?\w+(?![\w.(]| \())/g

/** Accesses of a function to rows of tenants, also in tables whose names it puts into a statement. */
const access =
  /\b(?:from|join|update)\s+(?:eventsourcing\.(?!cross_tenant_accesses|schema_files|placements|plans|projection_versions|read_models)\w+\s+\w|%s\s|eventsourcing_rebuild\.)/g

/** The functions across tenants, with the accesses that have no predicate on purpose. */
const acrossTenants: ReadonlyMap<string, number> = new Map([
  // the tenants themselves; the head of each tenant's log has one
  ["list_tenants", 1],
  // every event, with the row comparison of the cursor
  ["read_all_logs", 1],
  // the hidden tenants themselves
  ["unseen_tenants", 1],
  // tables of the application, whose names are put into statements at numbered places
  ["purge_tenant", -1],
  ["read_tenant_table", -1],
  ["write_tenant_table", -1],
  // names of tables
  ["tables_of_tenants", 1],
  // the tenants themselves
  ["moving_tenants", 1],
  // the tenants themselves; every access to their rows has one
  ["tenant_overviews", 1],
  // the tenants themselves; every access to their events has one
  ["usage", 1],
  // the row that has waited longest of all tenants, and the one served before the clock went back
  ["claim_projection", 2],
  // a row of any tenant that a worker could claim
  ["other_work_waits", 1],
  // the tenants themselves, the head of each tenant's log has one; the parked rows of all tenants, and their update
  ["register_projection", 3],
  // the parked projections of all tenants
  ["resume_projections", 1],
  // the rows and failures of a version for all tenants
  ["clear_retired_projections", 4],
  // the rows of a version for all tenants; the head of each log, and the join of a tenant's two rows, have one
  ["begin_shared_rebuild", 5],
  ["end_shared_rebuild", 3],
  ["prepare_shared_switch", 4],
  ["shared_rebuild_lag", 1],
  ["park_shared_rebuild", 1],
  ["finish_shared_rebuild", 4],
  // tables that all tenants share, and their twins
  ["start_shared_rebuild", 1],
  ["cancel_shared_rebuild", 1],
  ["switch_shared_rebuild", 3],
  // parked rows and others; the access to their events has one
  ["projection_backlog", 2],
  // the dead letters of all tenants
  ["projection_dead_letters", 1],
  // the tenants themselves; every access to their keys has one
  ["remove_expired_keys", 1]
])

/**
 * Predicates without which an answer takes longer and is the same: a wrong match only makes the driver read again.
 * Each is the beginning of a line.
 */
const onlySlower: ReadonlyMap<string, string> = new Map([
  [
    "'delete from %1$s t using json_populate_recordset",
    "the key, which is compared as well, has the tenant in it: others are not protected"
  ],
  [
    "v_status := case when exists (select from eventsourcing.tenants t",
    "append then waits for a lock that nobody has"
  ],
  ["where e.tenant_id = v_tenant and e.event_id", "append then checks one thing after the other"],
  ["where e.tenant_id = p_tenant and e.event_id", "append_one then leaves it to append"],
  [
    "where k.tenant_id = v_tenant and k.expires_at <= moment",
    "then expired keys of others are looked for among the tenant's own, which has none of them"
  ],
  [
    "where c.tenant_id = v_tenant and c.expires_at = found_row",
    "a key of another tenant that expired at the same time is removed as well, and nobody finds it before either"
  ],
  ["where x.tenant_id = t.tenant_id and x.expires_at", "finds the same keys once per tenant"],
  ["perform from eventsourcing.projections p", "a fence then waits for the handlers of all tenants"],
  [
    "cross join (select coalesce(max(e.position), 0)",
    "a hint that there is work: a worker then looks for it in vain"
  ],
  ["where e.tenant_id = p_tenant and e.position between b.block", "then a block is not noted, and is read"],
  ["where t.tenant_id = p_tenant and t.tag = other", "only chooses which index entries are gone through"]
])

/** Functions that run with the rights of their caller, within a transaction of a tenant. */
const withinTransactions: ReadonlySet<string> = new Set(["clear_rebuild", "stream_log", "switch_rebuild"])

const isUnderRls = ({ name, owner }: { readonly name: string; readonly owner: string }): boolean =>
  // the owner of the functions for administration is a member of eventsourcing_tenant
  owner === "eventsourcing_tenant" ||
  owner === "eventsourcing_administrator_owner" ||
  withinTransactions.has(name)

/** The present functions of a migrated database. */
const functions: Effect.Effect<
  ReadonlyArray<{ readonly name: string; readonly owner: string; readonly definition: string }>,
  SqlError.SqlError,
  SqlClient.SqlClient
> = SqlClient.SqlClient.use(
  (sql) => sql<{ name: string; owner: string; definition: string }>`
    select proname::text as name, proowner::regrole::text as owner, pg_get_functiondef(oid) as definition
    from pg_proc where pronamespace = 'eventsourcing'::regnamespace order by proname`
)

/** Accesses in a function without a predicate on the tenant, beyond the listed ones. */
export const unprotected: Effect.Effect<
  ReadonlyArray<string>,
  SqlError.SqlError,
  SqlClient.SqlClient
> = Effect.map(functions, (all) =>
  all.flatMap(({ definition, name }) => {
    const accesses = definition.match(access)?.length ?? 0
    const predicates = definition.match(predicate)?.length ?? 0
    const expected = accesses - (acrossTenants.get(name) ?? 0)
    return predicates === expected ? [] : [`${name}: ${accesses} accesses, ${predicates} predicates`]
  })
)

/** All mutants of the functions of a migrated database. */
export const mutants: Effect.Effect<
  ReadonlyArray<Mutant>,
  SqlError.SqlError,
  SqlClient.SqlClient
> = Effect.map(functions, (all) =>
  all.flatMap(({ definition, name, owner }) =>
    [...definition.matchAll(predicate)].map((match, index): Mutant => {
      const end = match.index + match[0].length
      const from = definition.lastIndexOf("\n", match.index) + 1
      const line = definition.slice(from, definition.indexOf("\n", end)).trim()
      return {
        name: `${name} ${index + 1}`,
        line,
        sql: `${definition.slice(0, match.index)}true${definition.slice(end)}`,
        original: definition,
        underRls: isUnderRls({ name, owner }),
        onlySlower: [...onlySlower.keys()].some((beginning) => line.startsWith(beginning))
      }
    })
  )
)

/** Functions without any predicate that row-level security covers. */
export const withoutPredicates: Effect.Effect<
  ReadonlyArray<string>,
  SqlError.SqlError,
  SqlClient.SqlClient
> = Effect.map(functions, (all) =>
  all
    .filter((found) => isUnderRls(found) && found.definition.match(predicate) !== null)
    .map(({ definition }) => definition.replaceAll(predicate, "true"))
)

/** Switches the row-level security of all tables of the store, and of read models and their twins, off or on again. */
export const setRls = (enabled: boolean): Effect.Effect<void, SqlError.SqlError, SqlClient.SqlClient> =>
  SqlClient.SqlClient.use((sql) =>
    sql.unsafe(`
      do $$
      declare
        t regclass;
      begin
        for t in select oid from pg_class where relkind in ('r', 'p') and (
          relnamespace = 'eventsourcing'::regnamespace and relname <> 'schema_files'
          or oid in (select polrelid from pg_policy where polname = 'tenant_isolation'))
        loop
          execute format('alter table %s ${enabled ? "enable" : "disable"} row level security', t);
        end loop;
      end
      $$`)
  )

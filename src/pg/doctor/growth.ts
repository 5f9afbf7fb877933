/** Finds tables that grow without end, and rows that nothing removes. */
import { DateTime, Effect } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { type Finding, finder } from "./finding.ts"

const grows = finder("growth", "the table grows without end")

/** Expired command keys are removed every hour by each program with a store. */
const expiredFor = "2 days"
/** Records of accesses are kept for ever unless the store has `retention.accesses`. */
const keptFor = 400

const notSeen = (table: string): Finding =>
  grows(
    "notice",
    `the age of rows in ${table} was not examined: this login does not see them`,
    "run eventsourcing doctor as a superuser"
  )

/** True if policies hide rows of a table from this login. */
const isHidden = (sql: SqlClient.SqlClient, table: string): Effect.Effect<boolean, SqlError.SqlError> =>
  Effect.map(
    sql<{ hidden: boolean }>`select pg_catalog.row_security_active(${table}) as hidden`.withoutTransform,
    ([row]) => row?.hidden !== false
  )

export const growth = (sql: SqlClient.SqlClient): Effect.Effect<ReadonlyArray<Finding>, SqlError.SqlError> =>
  Effect.gen(function* () {
    const findings: Array<Finding> = []
    if (yield* isHidden(sql, "eventsourcing.command_keys")) findings.push(notSeen("command_keys"))
    else {
      const [keys] = yield* sql<{ rows: number; oldest: number | null }>`
        select pg_catalog.count(*)::pg_catalog.int4 as rows,
          pg_catalog.date_part('epoch', pg_catalog.min(k.expires_at)) * 1000 as oldest
        from eventsourcing.command_keys k
        where k.expires_at < pg_catalog.now() - ${expiredFor}::pg_catalog.interval`.withoutTransform
      if (keys !== undefined && keys.oldest !== null)
        findings.push(
          grows(
            "warning",
            `command_keys has ${keys.rows} keys that expired more than ${expiredFor} ago`,
            "run a program with PgStorage whose login is a member of eventsourcing_runner, or: select eventsourcing.remove_expired_keys(10000), until it returns 0",
            { since: DateTime.makeUnsafe(keys.oldest) }
          )
        )
    }
    if (yield* isHidden(sql, "eventsourcing.cross_tenant_accesses"))
      findings.push(notSeen("cross_tenant_accesses"))
    else {
      const [accesses] = yield* sql<{ oldest: number | null }>`
        select pg_catalog.date_part('epoch', pg_catalog.min(a.accessed_at)) * 1000 as oldest
        from eventsourcing.cross_tenant_accesses a
        where a.accessed_at < pg_catalog.now() - ${`${keptFor} days`}::pg_catalog.interval`.withoutTransform
      if (accesses !== undefined && accesses.oldest !== null)
        findings.push(
          grows(
            "warning",
            `cross_tenant_accesses has records that are older than ${keptFor} days`,
            `set retention.accesses of PgStorage, or: select eventsourcing.remove_old_accesses(${keptFor * 86_400})`,
            { since: DateTime.makeUnsafe(accesses.oldest) }
          )
        )
    }
    return findings
  })

const bloated = finder(
  "bloat",
  "dead rows make every look-up slower, and the files of the table never shrink"
)

/** Dead rows below this number do no harm. */
const manyRows = 10_000

export const bloat = (sql: SqlClient.SqlClient): Effect.Effect<ReadonlyArray<Finding>, SqlError.SqlError> =>
  Effect.gen(function* () {
    const tables = yield* sql<{ name: string; dead: number; live: number; vacuums: boolean }>`
      select c.oid::pg_catalog.regclass::pg_catalog.text as name, s.n_dead_tup::pg_catalog.float8 as dead, s.n_live_tup::pg_catalog.float8 as live,
        coalesce((select x.option_value::boolean from pg_catalog.pg_options_to_table(c.reloptions) x
          where x.option_name = 'autovacuum_enabled'), true) as vacuums
      from pg_catalog.pg_stat_user_tables s join pg_catalog.pg_class c on c.oid = s.relid
      where s.schemaname in ('eventsourcing', 'eventsourcing_rebuild')
        or exists (select from pg_catalog.pg_policy p where p.polrelid = c.oid and p.polname in ('tenant_access', 'tenant_isolation'))
      order by 1`.withoutTransform
    const [server] = yield* sql<{ vacuums: boolean }>`
      select pg_catalog.current_setting('autovacuum')::boolean as vacuums`.withoutTransform
    return [
      ...(server?.vacuums === false
        ? [
            bloated(
              "critical",
              "autovacuum is off in the whole server",
              "alter system set autovacuum = on; select pg_reload_conf()",
              { meaning: "tables bloat, and the server refuses all writes once transaction ids run out" }
            )
          ]
        : []),
      ...tables
        .filter(({ vacuums }) => !vacuums)
        .map(({ name }) =>
          bloated(
            "warning",
            `autovacuum is off for ${name}`,
            `alter table ${name} reset (autovacuum_enabled)`
          )
        ),
      ...tables
        .filter(({ dead, live }) => dead > manyRows && dead > live)
        .map(({ dead, live, name }) =>
          bloated(
            "warning",
            `${name} has ${dead} dead rows and ${live} others`,
            `vacuum (analyze) ${name}; if they stay, end old transactions (pg_stat_activity, order by xact_start)`
          )
        )
    ]
  })

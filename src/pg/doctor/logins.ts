/** Finds logins that row-level security does not bind. */
import { Effect } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { type Finding, finder } from "./finding.ts"

const find = finder("logins", "work under this login may see and change the rows of every tenant")

interface Login {
  readonly name: string
  readonly quoted: string
  readonly superuser: boolean
  readonly exempt: boolean
  /** Group roles of the store that it is a member of, directly or through others. */
  readonly member: ReadonlyArray<string>
  /** True if it owns the schema: the migrations need the roles that own its functions. */
  readonly owner: boolean
}

const owners = new Set([
  "eventsourcing_runner_owner",
  "eventsourcing_all_tenants_owner",
  "eventsourcing_administrator_owner"
])

const ofLogin = ({ exempt, member, name, owner, quoted, superuser }: Login): ReadonlyArray<Finding> => {
  if (superuser)
    return member.length === 0
      ? []
      : [
          find(
            "critical",
            `login ${name} is a superuser and a member of ${member.join(", ")}: row-level security does not apply to it`,
            `alter role ${quoted} nosuperuser`
          )
        ]
  const owning = member.filter((role) => owners.has(role))
  return [
    ...(exempt
      ? [
          find(
            "critical",
            `login ${name} is exempt from row-level security`,
            `alter role ${quoted} nobypassrls`
          )
        ]
      : []),
    ...(owning.length > 0 && !owner
      ? [
          find(
            "critical",
            `login ${name} is a member of ${owning.join(", ")}, which see the rows of all tenants`,
            `revoke ${owning.join(", ")} from ${quoted}`
          )
        ]
      : [])
  ]
}

const ofSettings = ({
  database,
  name,
  setting
}: {
  readonly database: string | null
  readonly name: string | null
  readonly setting: string
}): Finding => {
  const [key = ""] = setting.split("=")
  const target =
    name === null
      ? `alter database ${database ?? ""}`
      : `alter role ${name}${database === null ? "" : ` in database ${database}`}`
  return find(
    "critical",
    `${name === null ? `database ${database}` : `login ${name}`} presets ${setting}`,
    `${target} reset ${key}`,
    { meaning: "its sessions begin with a tenant, another role, or without policies and triggers" }
  )
}

export const logins = (sql: SqlClient.SqlClient): Effect.Effect<ReadonlyArray<Finding>, SqlError.SqlError> =>
  Effect.gen(function* () {
    const found = yield* sql<Login>`
      with recursive memberships (login, role) as (
        select m.member, m.roleid from pg_catalog.pg_auth_members m
        join pg_catalog.pg_roles r on r.oid = m.member where r.rolcanlogin
          -- since PostgreSQL 16 a creator of a role is a member that may neither use nor set it
          and coalesce((pg_catalog.to_jsonb(m) ->> 'inherit_option')::boolean, true)
        union
        select s.login, m.roleid from memberships s join pg_catalog.pg_auth_members m on m.member = s.role
      )
      select r.rolname::pg_catalog.text as name, pg_catalog.quote_ident(r.rolname) as quoted, r.rolsuper as superuser,
        r.rolbypassrls as exempt,
        coalesce((select pg_catalog.array_agg(g.rolname::pg_catalog.text order by g.rolname) from memberships s
          join pg_catalog.pg_roles g on g.oid = s.role
          where s.login = r.oid and pg_catalog.starts_with(g.rolname::pg_catalog.text, 'eventsourcing_') and not g.rolcanlogin), '{}') as member,
        exists (select from pg_catalog.pg_namespace n where n.nspname = 'eventsourcing' and n.nspowner = r.oid) as owner
      from pg_catalog.pg_roles r where r.rolcanlogin order by r.rolname`.withoutTransform
    const settings = yield* sql<{ database: string | null; name: string | null; setting: string }>`
      select pg_catalog.quote_ident(d.datname) as database, pg_catalog.quote_ident(r.rolname) as name, c.setting
      from pg_catalog.pg_db_role_setting s
      left join pg_catalog.pg_database d on d.oid = s.setdatabase
      left join pg_catalog.pg_roles r on r.oid = s.setrole
      cross join lateral pg_catalog.unnest(s.setconfig) c (setting)
      where (s.setdatabase = 0 or d.datname = pg_catalog.current_database())
        and c.setting ~ '^(eventsourcing[.]|role=|row_security=|session_replication_role=)'
      order by 2, 1, 3`.withoutTransform
    return [...found.flatMap(ofLogin), ...settings.map(ofSettings)]
  })

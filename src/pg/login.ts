/** Finds a login of the program that no policy and no grant restricts. */
import { Config, Effect, Option, Schema } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { sessionOf } from "./pglite/start.ts"
import { listed, Problems } from "./problems.ts"

/**
 * Raised when the login of a program holds every right of the database or of the store: the isolation of tenants would then rest
 * on the program alone. Lists each problem with its remedy. Nothing was read or written.
 */
export class PrivilegedLogin extends Schema.TaggedError<PrivilegedLogin>()("PrivilegedLogin", {
  /** The login. */
  login: Schema.String,
  problems: Problems
}) {
  override get message(): string {
    return `the login ${this.login} holds every right: ${listed(this.problems)}`
  }
}

/** The action at start-up if the login of the program holds every right. */
export type OnPrivilegedLogin = "refuse" | "warn" | "accept"

/** In production a store refuses such a login. Elsewhere it accepts it, because a developer often has no other. */
export const byEnvironment: Effect.Effect<OnPrivilegedLogin> = Effect.map(
  Effect.orElseSucceed(Config.option(Config.String("NODE_ENV")), () => Option.none<string>()),
  (environment) => (Option.contains(environment, "production") ? "refuse" : "accept")
)

const apart =
  "give the program a login of its own: create role my_app login; grant eventsourcing_tenant to my_app"

/** The login of a client, if it holds every right. A database within the program has no logins. */
export const privilegedLogin = (
  sql: SqlClient.SqlClient
): Effect.Effect<PrivilegedLogin | undefined, SqlError.SqlError> => {
  if (sessionOf(sql) !== undefined) return Effect.undefined
  return Effect.map(
    sql<{
      login: string
      superuser: boolean
      exempt: boolean
      owner: boolean
      roles: ReadonlyArray<string>
    }>`
      select r.rolname::pg_catalog.text as login, r.rolsuper as superuser, r.rolbypassrls as exempt,
        exists (
          select from pg_catalog.pg_namespace n
          where n.nspname = 'eventsourcing' and pg_catalog.pg_has_role(r.oid, n.nspowner, 'member')
        ) as owner,
        coalesce((
          select pg_catalog.array_agg(g.rolname::pg_catalog.text order by g.rolname) from pg_catalog.pg_roles g
          where g.rolname in ('eventsourcing_tenant', 'eventsourcing_runner', 'eventsourcing_all_tenants', 'eventsourcing_administrator')
            and pg_catalog.pg_has_role(r.oid, g.oid, 'member')
        ), '{}') as roles
      from pg_catalog.pg_roles r where r.rolname = session_user`.withoutTransform,
    ([found]) => {
      if (found === undefined) return undefined
      const { exempt, login, owner, roles, superuser } = found
      const problems = superuser
        ? [{ problem: "it is a superuser, to whom no policy applies", remedy: apart }]
        : [
            ...(exempt
              ? [{ problem: "it is exempt from row-level security (bypassrls)", remedy: apart }]
              : []),
            ...(owner
              ? [{ problem: "it owns the schema eventsourcing, and may drop its policies", remedy: apart }]
              : []),
            ...(roles.length === 4 && !owner
              ? [
                  {
                    problem: `it is a member of ${roles.join(", ")}`,
                    remedy: "use a login each for the work of tenants, for projections and for operators"
                  }
                ]
              : [])
          ]
      return problems.length === 0 ? undefined : new PrivilegedLogin({ login, problems })
    }
  )
}

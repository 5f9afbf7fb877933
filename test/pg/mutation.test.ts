import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { type Context, Effect, Exit, Redacted, References, type Scope } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { randomUUID } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import { type Case, coreCases } from "../../src/testing/TenantIsolationSuite.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { type Config, servers } from "../support/Databases.ts"
import { type Mutant, mutants, setRls, unprotected, withoutPredicates } from "../support/mutants.ts"
import { administrationCases, administrationSqlCases, carriedTable } from "../support/administrationCases.ts"
import { directoryCases } from "../support/directoryCases.ts"
import { projectionCases } from "../support/projectionCases.ts"
import { snapshotCases } from "../support/snapshotCases.ts"
import { layerOn, type Store, storeWith, TenantDatabase } from "../support/tenantDatabase.ts"

/** Owners exclude and admit tenants from outside. */
type Needs = Store | TenantDatabase

const cases: ReadonlyArray<Case<Needs>> = [
  ...projectionCases,
  ...snapshotCases,
  ...coreCases,
  ...directoryCases,
  ...administrationCases,
  ...administrationSqlCases
]

const killersFile = new URL("../fixtures/killers.json", import.meta.url)
/**
 * The case that found each mutant in a former run is tried first, so that a run takes a third of the time. If it finds
 * nothing, all others are tried. `RECORD_KILLERS=1` writes the file anew.
 */
const formerKillers = JSON.parse(readFileSync(killersFile, "utf8")) as Readonly<Record<string, string>>
/** The name of a mutant in the file, by its line, because its number changes more often. */
const keyOf = ({ line, name }: Mutant): string => `${name.split(" ")[0]}: ${line}`

/** The cases that fail. */
const red = (among: ReadonlyArray<Case<Needs>>, store: Context.Context<Store>) =>
  Effect.filter(among, ({ run }) =>
    run.pipe(
      Effect.provideContext(store),
      Effect.exit,
      Effect.map(Exit.isFailure),
      // without the logs of cases that fail
      Effect.provideService(References.CurrentLoggers, new Set())
    )
  )

const names = (some: ReadonlyArray<Case<Needs>>) => some.map(({ name }) => name)

/** Runs as the superuser. */
const asOwner = <A, E>(body: Effect.Effect<A, E, SqlClient.SqlClient | TenantDatabase>) =>
  TenantDatabase.use(({ owner }) =>
    Effect.provide(body, PgClient.layer({ ...owner, maxConnections: 1 }), { local: true })
  )

/** The mutants to judge, by a pattern of their functions, such as `MUTANTS='read_log|append'`. Default: all. */
const chosen = new RegExp(process.env["MUTANTS"] ?? "")

/** True in the long run. */
const everything = process.env["EVENTSOURCING_ISOLATION_CASES"] === "all"

/**
 * Cases that have found a mutant: only they depend on predicates. With `EVENTSOURCING_ISOLATION_CASES=all`, as in the long run, and
 * if the file of killers is out of date, all cases.
 */
const sensitive = (): ReadonlyArray<Case<Needs>> => {
  const found = new Set(Object.values(formerKillers))
  const some = cases.filter((one) => found.has(one.name))
  return everything || some.length < found.size ? cases : some
}

const emptied = [
  "events",
  "event_tags",
  "event_blocks",
  "command_keys",
  "subjects",
  "tenants",
  "projections",
  "projection_failures",
  "projection_versions",
  "dead_letters",
  "discarded_dead_letters",
  "snapshots"
]

interface Verdict {
  readonly mutant: string
  readonly predicate: string
  readonly "killed without RLS by": string
  readonly "with RLS": string
  readonly slower: boolean
}

/** Statements on all tables are repeatable, because the store announces logs in the background and may hold a table. */
const again = Effect.retry({ times: 10 })

const empty = again(
  SqlClient.SqlClient.use((sql) =>
    // Not truncate, which makes new files for each table and index.
    sql.unsafe(
      `do $$ begin ${emptied.map((table) => `delete from eventsourcing.${table};`).join(" ")} end $$`
    )
  )
)

/** The cases that fail while a function is replaced by its mutant. */
const mutated = (
  mutant: Mutant,
  run: Effect.Effect<ReadonlyArray<Case<Needs>>, SqlError.SqlError, TenantDatabase>
) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql.unsafe(mutant.sql)
    const failing = yield* run
    yield* sql.unsafe(mutant.original)
    return failing
  })

/** The first case that fails, the likely ones first; a mutant survives only if all cases miss it. */
const killersOf = (mutant: Mutant, store: Context.Context<Store>) =>
  Effect.gen(function* () {
    const former = cases.filter((one) => one.name === formerKillers[keyOf(mutant)])
    const likely = mutant.onlySlower
      ? sensitive()
      : /projection|dead_letter|rebuild|announce/.test(mutant.name)
        ? cases
        : mutant.name.includes("snapshot")
          ? [...snapshotCases, ...cases]
          : [
              ...coreCases,
              ...projectionCases,
              ...snapshotCases,
              ...directoryCases,
              ...administrationCases,
              ...administrationSqlCases
            ]
    for (const test of new Set([...former, ...likely])) {
      const failing = yield* red([test], store)
      if (failing.length > 0) return failing
    }
    return []
  })

/**
 * Checks that some case fails without row-level security, and succeeds again with it. Functions that look
 * across tenants run as a role that may see all of them: there the predicate is the only layer, and row-level security
 * hides nothing. First all mutants without, then all with it: each change of it makes every session plan its statements anew.
 * With it only in the long run: case 33 runs all cases without any predicate.
 */
const judge = Effect.fnUntraced(function* (mutants_: ReadonlyArray<Mutant>, store: Context.Context<Store>) {
  // before row-level security is switched off, that of this table as well
  const sql = yield* SqlClient.SqlClient
  yield* sql.unsafe(carriedTable)
  yield* again(setRls(false))
  const killers = yield* Effect.forEach(mutants_, (mutant) =>
    Effect.andThen(empty, mutated(mutant, killersOf(mutant, store)))
  )
  yield* Effect.andThen(empty, again(setRls(true)))
  return yield* Effect.forEach(mutants_, (mutant, index) =>
    Effect.gen(function* () {
      const killed = killers[index] ?? []
      const asked = everything && killed.length > 0
      const left = asked ? yield* mutated(mutant, red(killed, store)) : []
      return {
        mutant: mutant.name,
        predicate: mutant.line,
        slower: mutant.onlySlower,
        "killed without RLS by": names(killed).join() || "SURVIVED",
        "with RLS": !asked ? "?" : left.length === 0 ? "isolated" : mutant.underRls ? "LEAKS" : "killed"
      } satisfies Verdict
    })
  )
})

/** A role for this test, because others may use the server. */
const roleWith = (attributes: string) =>
  Effect.gen(function* () {
    const { outside, owner } = yield* TenantDatabase
    const name = `eventsourcing_test_${randomUUID().slice(0, 8)}`
    yield* Effect.acquireRelease(outside(`create role ${name} login password '${name}' ${attributes}`), () =>
      Effect.orDie(
        Effect.andThen(outside(`reassign owned by ${name} to current_user`), outside(`drop role ${name}`))
      )
    )
    return { name, config: { ...owner, username: name, password: Redacted.make(name) } }
  })

/** A role that owns the tables, for which row-level security counts because it is forced. */
const ownerOfTables = Effect.gen(function* () {
  const { outside } = yield* TenantDatabase
  const { config, name: role } = yield* roleWith(
    "in role eventsourcing_tenant, eventsourcing_runner, eventsourcing_all_tenants, eventsourcing_administrator"
  )
  for (const table of [
    "eventsourcing.events",
    "eventsourcing.event_tags",
    "eventsourcing.event_blocks",
    "eventsourcing.command_keys",
    "eventsourcing.tenants",
    "eventsourcing.cross_tenant_accesses",
    "eventsourcing.projections",
    "eventsourcing.dead_letters",
    "eventsourcing.discarded_dead_letters",
    "eventsourcing.snapshots",
    "eventsourcing_rebuild.read_model",
    "public.read_model"
  ]) {
    yield* outside(`alter table ${table} owner to ${role}`)
  }
  return config
})

for (const server of servers) {
  const { name } = server
  const database = layerOn(server)

  describe(`tenant predicates on ${name}`, () => {
    it.live("32: every access to tenants' rows has one", () =>
      Effect.map(asOwner(unprotected), (found) => assert.deepStrictEqual(found, [])).pipe(
        Effect.provide(database, { local: true })
      )
    )

    // a minute, so in the long run, unless mutants are chosen
    it.live.runIf(everything || process.env["MUTANTS"] !== undefined)(
      `32: without one and without row-level security, the suite fails${everything ? "; with it, it succeeds" : ""}`,
      () =>
        Effect.gen(function* () {
          const { store } = yield* TenantDatabase
          const services = yield* store()
          const all = (yield* asOwner(mutants)).filter((mutant) => chosen.test(mutant.name))
          const verdicts = yield* asOwner(judge(all, services))
          if (process.env["MUTANTS"] === undefined) assert.isAtLeast(verdicts.length, 70)
          console.table(verdicts)
          if (process.env["RECORD_KILLERS"] !== undefined) {
            const found = all.flatMap((mutant, index) =>
              mutant.onlySlower ? [] : [[keyOf(mutant), verdicts[index]?.["killed without RLS by"]]]
            )
            writeFileSync(killersFile, `${JSON.stringify(Object.fromEntries(found), null, 2)}\n`)
          }
          for (const verdict of verdicts) {
            // exactly: mutants that are listed as only slower must be
            assert.strictEqual(
              verdict["killed without RLS by"] === "SURVIVED",
              verdict.slower,
              verdict.mutant
            )
            assert.notStrictEqual(verdict["with RLS"], "LEAKS", verdict.mutant)
          }
        }).pipe(Effect.scoped, Effect.provide(database, { local: true })),
      600_000
    )

    it.live("31: alone they isolate, with row-level security switched off", () =>
      Effect.gen(function* () {
        const { store } = yield* TenantDatabase
        const services = yield* store()
        yield* asOwner(again(setRls(false)))
        assert.deepStrictEqual(names(yield* red(cases, services)), [])
      }).pipe(Effect.scoped, Effect.provide(database, { local: true }))
    )
  })

  describe(`row-level security on ${name}`, () => {
    const application = "the role of the application"
    const runtimes: Readonly<Record<string, Effect.Effect<Config, unknown, TenantDatabase | Scope.Scope>>> = {
      [application]: Effect.map(TenantDatabase, ({ app }) => app),
      "a superuser": Effect.map(TenantDatabase, ({ owner }) => owner),
      // They have less than a superuser.
      ...(everything && {
        "the owner of the tables": ownerOfTables,
        "a role exempt from row-level security": Effect.map(
          roleWith(
            "bypassrls in role eventsourcing_tenant, eventsourcing_runner, eventsourcing_all_tenants, eventsourcing_administrator"
          ),
          ({ config }) => config
        )
      })
    }
    for (const [role, config] of Object.entries(runtimes)) {
      it.live(`33: alone it isolates, without any predicate, for ${role}`, () =>
        Effect.gen(function* () {
          yield* asOwner(
            Effect.gen(function* () {
              const sql = yield* SqlClient.SqlClient
              for (const definition of yield* withoutPredicates) yield* sql.unsafe(definition)
            })
          )
          const services = yield* Effect.flatMap(config, storeWith)
          // The role of the application runs all of them; under other roles the same statements run as the same role.
          const some = role === application ? cases : sensitive()
          assert.deepStrictEqual(names(yield* red(some, services)), [])
          // and in transactions, on the user's tables
          for (const tenant of [yield* Tenant.generate, yield* Tenant.generate]) {
            const seen = yield* PgTenant.transaction(
              SqlClient.SqlClient.use((sql) =>
                Effect.andThen(
                  sql`insert into public.read_model values (${tenant}, 'shared', 'value')`,
                  sql<{ tenant: string }>`select tenant_id as tenant from public.read_model`
                )
              )
            ).pipe(Tenant.provide(tenant), Effect.provideContext(services))
            assert.deepStrictEqual(seen, [{ tenant }])
          }
        }).pipe(Effect.scoped, Effect.provide(database, { local: true }))
      )
    }
  })
}

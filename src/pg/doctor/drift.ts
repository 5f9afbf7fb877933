/** Compares the objects of a database with the files of this version of the library. */
import { Effect } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import * as Migrate from "../migrate.ts"
import { lowestSchema, schemaNumber } from "../schemaNumber.ts"
import { sqlFiles } from "../sqlFiles.ts"
import * as sqlErrors from "../sqlErrors.ts"
import { type Finding, finder } from "./finding.ts"

/** The SQLSTATE for a missing right. */
const insufficientPrivilege = "42501"

const find = finder("schema", "the store may fail, or not isolate tenants, in ways that nobody has tested")

/** The number of the schema against that of the library. */
const ofNumber = (applied: number, lowestProgram: number): ReadonlyArray<Finding> =>
  lowestProgram > schemaNumber
    ? [
        find(
          "critical",
          `the database has schema ${applied} and refuses programs below ${lowestProgram}; this library is of schema ${schemaNumber}`,
          "npm install effect-eventsourcing@latest",
          { meaning: "this version of the library does not start on it" }
        )
      ]
    : applied < lowestSchema
      ? [
          find(
            "critical",
            applied === 0
              ? "the database has no event store"
              : `the database has schema ${applied}; this library needs at least ${lowestSchema}`,
            "eventsourcing migrate",
            { meaning: "this version of the library does not start on it" }
          )
        ]
      : []

interface Routine {
  readonly name: string
  readonly body: string
}

/** The routines of the files. `do` blocks make the others, from these. */
const routines: ReadonlyArray<Routine> = sqlFiles.flatMap(({ sql }) =>
  [
    ...sql.matchAll(
      /^create or replace (?:function|procedure) eventsourcing\.(\w+)\s*\([^]*?^as (?:\$(\w*)\$([^]*?)\$\2\$|'([^']*)')/gm
    )
  ].map(([, name = "", , dollars, quoted]) => ({ name, body: dollars ?? quoted ?? "" }))
)

/** The names of relations that the files create, such as `events` and `dead_letters_age`. */
const relations: ReadonlyArray<string> = sqlFiles.flatMap(({ sql }) =>
  [
    ...sql.matchAll(
      /^\s*create (?:table if not exists eventsourcing\.|(?:unique )?index (?:if not exists )?(?!on\b))(\w+)/gm
    )
  ].map(([, name = ""]) => name)
)

/** All text of the files, in which a routine that they make by a `do` block is named too. */
const text = sqlFiles.map(({ sql }) => sql).join("\n")

const again = "delete from eventsourcing.schema_files; then run: eventsourcing migrate"

/** Objects that differ from the files. */
const ofObjects = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const stored = yield* sql<Routine>`
    select p.proname::pg_catalog.text as name, p.prosrc as body from pg_catalog.pg_proc p
    where p.pronamespace = 'eventsourcing'::pg_catalog.regnamespace`.withoutTransform
  const bodies = new Set(stored.map(({ body, name }) => JSON.stringify([name, body])))
  const names = new Set(stored.map(({ name }) => name))
  const differing = routines.filter(({ body, name }) => !bodies.has(JSON.stringify([name, body])))
  const unknown = [...names].filter((name) => !new RegExp(`\\b${name}\\b`).test(text))
  const classes = yield* sql<{ name: string; valid: boolean }>`
    select c.relname::pg_catalog.text as name, coalesce(i.indisvalid, true) as valid
    from pg_catalog.pg_class c left join pg_catalog.pg_index i on i.indexrelid = c.oid
    where c.relnamespace = 'eventsourcing'::pg_catalog.regnamespace`.withoutTransform
  const found = new Set(classes.map(({ name }) => name))
  const triggers = yield* sql<{ name: string; table: string }>`
    select t.tgname::pg_catalog.text as name, t.tgrelid::pg_catalog.regclass::pg_catalog.text as table
    from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid
    where not t.tgisinternal and c.relnamespace = 'eventsourcing'::pg_catalog.regnamespace
    order by 2, 1`.withoutTransform
  return [
    ...differing.map(({ name }) =>
      find(
        "critical",
        names.has(name) ? `function ${name} differs from that of the library` : `function ${name} is missing`,
        again
      )
    ),
    ...relations.flatMap((name) =>
      found.has(name) ? [] : [find("critical", `${name} is missing in the schema eventsourcing`, again)]
    ),
    ...classes.flatMap(({ name, valid }) =>
      valid
        ? []
        : [
            find("warning", `index ${name} is invalid`, `reindex index concurrently eventsourcing.${name}`, {
              meaning: "the index costs every write and helps no look-up"
            })
          ]
    ),
    ...unknown.map((name) =>
      find(
        "warning",
        `function ${name} in the schema eventsourcing is not one of the library`,
        `drop routine eventsourcing.${name}, or move it to a schema of the application`
      )
    ),
    ...triggers
      .filter(({ name }) => !text.includes(`create trigger ${name}`))
      .map(({ name, table }) =>
        find(
          "critical",
          `trigger ${name} on ${table} is not one of the library`,
          `drop trigger ${name} on ${table}`,
          { meaning: "it runs in every append, and may refuse or change events" }
        )
      )
  ]
})

/** The files that the database lacks, or has with another text. */
const ofFiles = Effect.map(
  Migrate.pending({ files: sqlFiles, number: schemaNumber }),
  (files): ReadonlyArray<Finding> =>
    files.length === 0
      ? []
      : [
          find(
            "warning",
            `the database lacks ${files.length === 1 ? "a file" : `${files.length} files`} of the library, or has another text: ${files
              .slice(0, 5)
              .map(({ path }) => path)
              .join(", ")}${files.length > 5 ? ", …" : ""}`,
            "eventsourcing migrate"
          )
        ]
)

export const drift = (
  sql: SqlClient.SqlClient
): Effect.Effect<
  { readonly exists: boolean; readonly findings: ReadonlyArray<Finding> },
  SqlError.SqlError
> =>
  Effect.gen(function* () {
    const [found] = yield* sql<{ exists: boolean }>`
      select pg_catalog.to_regprocedure('eventsourcing.schema_version()') is not null
        and pg_catalog.to_regprocedure('eventsourcing.lowest_program()') is not null as exists`
      .withoutTransform
    if (found?.exists !== true) return { exists: false, findings: ofNumber(0, 0) }
    const [row] = yield* sql<{ applied: number; lowest: number }>`
      select eventsourcing.schema_version() as applied, eventsourcing.lowest_program() as lowest`
      .withoutTransform
    const { applied, lowest } = row ?? { applied: 0, lowest: 0 }
    const number = ofNumber(applied, lowest)
    // A newer schema has other files.
    if (number.length > 0 || applied > schemaNumber) return { exists: true, findings: number }
    // Only the owner sees the list of files; others compare the objects.
    const files = yield* ofFiles.pipe(
      Effect.catchIf(
        (error) => sqlErrors.sqlState(error) === insufficientPrivilege,
        () => Effect.succeed([])
      )
    )
    return { exists: true, findings: files.length > 0 ? files : yield* ofObjects }
  }).pipe(Effect.provideService(SqlClient.SqlClient, sql))

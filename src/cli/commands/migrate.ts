/** `migrate`: applies the SQL files of the library, shows those that are missing, or prints all of them. */
import { Console, Effect, Schema } from "effect"
import { Command } from "effect/cli"
import * as PgMigrator from "../../pg/PgMigrator.ts"
import { found, wrongUsage } from "../failures.ts"
import { document, emit } from "../output.ts"
import { asFailure, type Program } from "../program.ts"
import { toggle } from "../settings.ts"

/** The document of `migrate`. */
export const Migrated = document("migrate", {
  before: Schema.Int.annotate({ description: "The schema number before; 0 without a schema." }),
  latest: Schema.Int.annotate({ description: "The schema number of this library." }),
  applied: Schema.Array(Schema.String).annotate({ description: "Files that were applied." }),
  pending: Schema.Array(Schema.String).annotate({ description: "Files that are missing." })
})

const check = toggle("check", "Change nothing; exit with 3 if something is missing")
const print = toggle("print", "Print the SQL for psql; needs no database")

const sql = (): string =>
  [
    "-- Apply with: psql -1 -v ON_ERROR_STOP=1 -f …",
    ...PgMigrator.files.map(({ path, sql: text }) => `-- ${path}\n${text.trimEnd()}\n`)
  ].join("\n")

export const migrate = (program: Program) =>
  Command.make("migrate", { check, print }, (flags) =>
    Effect.gen(function* () {
      if (flags.check && flags.print) return yield* wrongUsage("Give either --check or --print.")
      if (flags.print) return yield* Console.log(sql())
      const { applied, before, pending } = yield* program.onDatabase(
        Effect.gen(function* () {
          const number = yield* PgMigrator.applied
          const missing = flags.check ? yield* PgMigrator.pending : []
          const files = flags.check ? [] : yield* PgMigrator.run
          return { before: number, pending: missing, applied: files }
        })
      )
      const { latest } = PgMigrator
      const isNewer = before > latest
      yield* emit(
        Migrated,
        {
          command: "migrate",
          before,
          latest,
          applied,
          pending,
          next:
            pending.length > 0
              ? [{ purpose: "apply them as the owner of the database", command: `${program.name} migrate` }]
              : []
        },
        () => [
          isNewer
            ? `The database has schema ${before}, which is newer than ${latest} of this library. It is left as it is.`
            : flags.check
              ? pending.length === 0
                ? `Up to date: schema ${latest}.`
                : `${pending.length} of ${PgMigrator.files.length} files are missing (schema ${before}, this library has ${latest}):`
              : applied.length === 0
                ? `Up to date: schema ${latest}.`
                : `Applied ${applied.length} files: schema ${latest}.`,
          ...pending.map((path) => `  ${path}`)
        ]
      )
      if (pending.length > 0) return yield* found()
    }).pipe(asFailure)
  ).pipe(
    Command.withDescription("Create or update the schema of the database"),
    Command.withExamples([
      {
        command: `${program.name} migrate`,
        description: "Apply what is missing, as the owner of the database"
      },
      {
        command: `${program.name} migrate --check`,
        description: "For a pipeline: exit with 3 if something is missing"
      },
      { command: `${program.name} migrate --print > schema.sql`, description: "For a database administrator" }
    ])
  )

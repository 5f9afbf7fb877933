/** `export` and `import`: a tenant as a tar file. */
import { Effect, FileSystem, Option, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { Actions } from "../../operations/Actions.ts"
import { dryRunFlag, tenantFlag, yesFlag } from "../ask.ts"
import { refused, wrongUsage } from "../failures.ts"
import { quote } from "../output.ts"
import { asFailure, type Program } from "../program.ts"
import { toggle } from "../settings.ts"
import { act, last, onActions } from "./act.ts"

const compression = Flag.optional(
  Flag.Literals("compression", ["gzip", "zstd"]).pipe(
    Flag.withDescription("Compress each file of the archive; zstd needs Node 22.15")
  )
)

export const exportTenant = (program: Program) =>
  Command.make(
    "export",
    {
      file: Argument.String("file").pipe(Argument.withDescription("The tar file to write")),
      tenant: tenantFlag,
      compression,
      overwrite: toggle("overwrite", "Replace a file that exists"),
      dryRun: dryRunFlag
    },
    (flags) =>
      Effect.gen(function* () {
        const files = yield* FileSystem.FileSystem
        const { file, tenant } = flags
        const exists = yield* files.exists(file)
        if (exists && !flags.overwrite && !flags.dryRun)
          return yield* refused(`${file} exists: give another name, or --overwrite.`)
        const request = { compression: Option.getOrUndefined(flags.compression) }
        const again = `${program.name} export ${quote(file)} --tenant ${tenant} --reason …`
        yield* act(
          program,
          {
            command: "export",
            tenant,
            dryRun: flags.dryRun,
            goOn: `${again} (from the beginning: no half of a file is left)`,
            next: ({ dryRun }) =>
              dryRun
                ? []
                : [
                    {
                      purpose: "check the archive, without a change",
                      command: `${program.name} import ${quote(file)} --tenant ${tenant} --dry-run`
                    }
                  ]
          },
          ({ dryRun, report }) =>
            Effect.gen(function* () {
              const actions = yield* Actions
              const measured = yield* actions.measureExport(request)
              if (dryRun) return measured
              const total = measured.counts.events ?? 0
              let written = 0
              const part = `${file}.part`
              yield* actions
                .export(request, {
                  onProgress: ({ bytes }) => {
                    written = bytes
                    return report(bytes, bytes + 1)
                  }
                })
                .pipe(
                  Stream.run(files.sink(part)),
                  Effect.andThen(files.rename(part, file)),
                  Effect.onExit((exit) =>
                    exit._tag === "Success" ? Effect.void : Effect.ignore(files.remove(part, { force: true }))
                  )
                )
              return {
                ...measured,
                dryRun: false,
                counts: { ...measured.counts, events: total, bytes: written },
                details: { file }
              }
            })
        )
      }).pipe(asFailure)
  ).pipe(
    Command.withDescription("Write a tenant into a tar file; it stays in use"),
    Command.withExamples([
      {
        command: `${program.name} export acme.tar --tenant … --compression gzip --reason "ticket 17"`,
        description: "An archive"
      }
    ])
  )

export const importTenant = (program: Program) =>
  Command.make(
    "import",
    {
      file: Argument.optional(Argument.String("file").pipe(Argument.withDescription("The tar file to read"))),
      tenant: tenantFlag,
      fromOther: toggle("from-other", "The archive is one of another tenant"),
      abandon: toggle("abandon", "Remove an unfinished import instead"),
      dryRun: dryRunFlag,
      yes: yesFlag
    },
    (flags) =>
      Effect.gen(function* () {
        const files = yield* FileSystem.FileSystem
        const { tenant } = flags
        const file = Option.getOrUndefined(flags.file)
        if (flags.abandon === (file !== undefined))
          return yield* wrongUsage("Give either a file or --abandon.")
        if (file === undefined)
          return yield* act(
            program,
            {
              command: "import",
              tenant,
              dryRun: flags.dryRun,
              yes: flags.yes,
              question: `Remove all that the unfinished import of tenant ${tenant} has written?`
            },
            ({ dryRun }) => onActions((actions) => actions.abandonImport({ dryRun }))
          )
        if (!(yield* files.exists(file))) return yield* wrongUsage(`${file} does not exist.`)
        yield* act(
          program,
          {
            command: "import",
            tenant,
            dryRun: flags.dryRun,
            goOn: `${program.name} import ${quote(file)} --tenant ${tenant} --reason …, or: ${program.name} import --abandon --tenant ${tenant} --reason …`
          },
          ({ dryRun, report }) =>
            onActions((actions) =>
              last(report)(actions.import(files.stream(file), { dryRun, fromOther: flags.fromOther }))
            )
        )
      }).pipe(asFailure)
  ).pipe(
    Command.withDescription("Import a tenant from a tar file; run it again to go on"),
    Command.withExamples([
      {
        command: `${program.name} import acme.tar --tenant … --dry-run`,
        description: "Verify the archive, and write nothing"
      }
    ])
  )

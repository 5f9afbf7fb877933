/** `doctor`: examines the database, the work of tenants and the program. */
import { DateTime, Effect, Schema } from "effect"
import { Command } from "effect/cli"
import * as PgDoctor from "../../pg/PgDoctor.ts"
import { asOperatorOfAll } from "../ask.ts"
import { tolerantReading } from "../doctor/reading.ts"
import { examineWork } from "../doctor/work.ts"
import { type CliFailure, exitCodes, found } from "../failures.ts"
import { document, emit, time, wrap } from "../output.ts"
import { asFailure, type Program } from "../program.ts"

/** The document of `doctor`. */
export const Examined = document("doctor", {
  examinedAt: Schema.DateTimeUtcFromString,
  findings: Schema.Array(PgDoctor.Finding)
})

const weights = { critical: 0, warning: 1, notice: 2 }

/** A wall of text at 200 columns is hard to read. */
const widest = 110

const linesOf = (finding: PgDoctor.Finding, width: number): ReadonlyArray<string> => {
  const fit = Math.min(width, widest)
  return [
    ...wrap(`${finding.severity.toUpperCase()}  ${finding.problem}`, fit),
    ...(finding.since === null ? [] : [`    since:  ${time(finding.since)} UTC`]),
    ...wrap(`means:  ${finding.meaning}`, fit, "    "),
    // not broken, so that it can be copied
    `    repair: ${finding.repair}`
  ]
}

const unexamined = PgDoctor.finder(
  "notExamined",
  "something may be wrong that this examination does not show"
)

/** The store refuses a database with findings, and a login may lack roles. */
const withoutWork = ({ kind, message }: CliFailure): PgDoctor.Finding =>
  unexamined(
    "notice",
    `the work of tenants was not examined: ${message}`,
    kind === "StorageUnavailable"
      ? "grant eventsourcing_tenant, eventsourcing_all_tenants and eventsourcing_administrator to the login of the operator"
      : "repair the other findings, and run eventsourcing doctor again"
  )

export const doctor = (program: Program) =>
  Command.make("doctor", {}, () =>
    Effect.gen(function* () {
      const ofDatabase = yield* program.onDatabase(PgDoctor.examine)
      const work = yield* examineWork(program.name).pipe(
        asOperatorOfAll("doctor"),
        program.onStore,
        Effect.catchIf(
          ({ exitCode }) => exitCode !== exitCodes.usage,
          (failure) => Effect.succeed([withoutWork(failure)])
        )
      )
      const reading = tolerantReading([
        ...program.aggregates,
        ...program.projections.flatMap(({ aggregates }) => aggregates)
      ])
      const findings = [...ofDatabase, ...work, ...reading].toSorted(
        (one, other) => weights[one.severity] - weights[other.severity]
      )
      yield* emit(
        Examined,
        {
          command: "doctor",
          examinedAt: yield* DateTime.now,
          findings,
          next:
            findings.length === 0
              ? []
              : [{ purpose: "after the repairs, examine again", command: `${program.name} doctor` }]
        },
        (width) =>
          findings.length === 0
            ? ["Nothing found: the database, the work of tenants and the program are healthy."]
            : findings.flatMap((finding) => linesOf(finding, width))
      )
      if (findings.some(({ severity }) => severity !== "notice")) return yield* found()
    }).pipe(asFailure)
  ).pipe(
    Command.withDescription("Examine the database, the work of tenants and the program"),
    Command.withExamples([
      {
        command: `${program.name} doctor`,
        description: "As the owner of the database, before a release and on alerts"
      },
      {
        command: `${program.name} doctor --json`,
        description: "For a monitor: exit with 3 if there is a finding"
      }
    ])
  )

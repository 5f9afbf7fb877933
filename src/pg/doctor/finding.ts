/** A finding of the examination of a database. */
import { Schema } from "effect"

/** The weight of a finding. */
export type Severity = typeof Severity.Type
/**
 * Schema of the weight of a finding: `critical` for tenants that are not isolated, or events that may be lost; `warning` for work
 * that does not go on, or soon will not; `notice` for something that could not be examined.
 */
export const Severity = Schema.Literals(["critical", "warning", "notice"])

/** Something that is wrong, with the command that repairs it. */
export type Finding = typeof Finding.Type
/** Schema of a finding. */
export const Finding = Schema.Struct({
  check: Schema.String.annotate({
    description: "The check that found it; its name does not change.",
    examples: ["parkedProjection"]
  }),
  severity: Severity.annotate({
    description:
      "critical: tenants are not isolated, or events may be lost. warning: work does not go on, or soon will not. notice: it could not be examined.",
    examples: ["warning"]
  }),
  problem: Schema.String.annotate({
    description: "The problem, with the object that has it.",
    examples: ["projection orders is parked for 2 hours"]
  }),
  meaning: Schema.String.annotate({
    description: "The consequence if nothing is done.",
    examples: ["its read model does not change any more"]
  }),
  repair: Schema.String.annotate({
    description: "The command or statement that repairs it.",
    examples: ["eventsourcing migrate"]
  }),
  since: Schema.NullOr(Schema.DateTimeUtcFromString).annotate({
    description: "The time since which it is so; null if that is not known."
  })
}).annotate({
  identifier: "Finding",
  description: "Something that is wrong, with the command that repairs it."
})

/** Makes the findings of one check. */
export const finder =
  (check: string, meaning: string) =>
  (
    severity: Severity,
    problem: string,
    repair: string,
    more: { readonly meaning?: string; readonly since?: Finding["since"] } = {}
  ): Finding => ({
    check,
    severity,
    problem,
    meaning: more.meaning ?? meaning,
    repair,
    since: more.since ?? null
  })

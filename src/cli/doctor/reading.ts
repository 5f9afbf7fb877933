/** Finds aggregates that pass over events which they cannot read. */
import type * as Aggregate from "../../domain/Aggregate.ts"
import { type Finding, finder } from "../../pg/PgDoctor.ts"

const find = finder(
  "tolerantReading",
  "states and read models lack events, and decisions are made on such states"
)

/** Tolerant aggregates of the program, given to the store's own code or to its projections. */
export const tolerantReading = (aggregates: Iterable<Aggregate.Any>): ReadonlyArray<Finding> => {
  const seen = new Set<string>()
  const findings: Array<Finding> = []
  for (const { skips, type } of aggregates) {
    if (skips.size === 0 || seen.has(type)) continue
    seen.add(type)
    findings.push(
      find(
        "warning",
        `aggregate ${type} passes over stored events: ${[...skips].join(", ")}`,
        `add upcasters or the missing events, and give this program ${type} without Aggregate.tolerant`
      )
    )
  }
  return findings
}

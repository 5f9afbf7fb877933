/** `audit`: the record of looks and operations. */
import { Effect, Schema } from "effect"
import { Command } from "effect/cli"
import * as Looks from "../../operations/Looks.ts"
import * as Operations from "../../operations/Operations.ts"
import { asOperatorOfAll, limitFlag, optionalTenant, optionalText, orUndefined } from "../ask.ts"
import { document, emit, quote, table, time } from "../output.ts"
import { asFailure, type Program } from "../program.ts"

/** The document of `audit`. */
export const Audited = document("audit", { accesses: Schema.Array(Looks.AccessView) })

/** The outcome of an action; nothing for a look. */
const outcomeOf = ({ outcome, parameters }: Looks.AccessView): string =>
  outcome === null
    ? parameters === null
      ? ""
      : "no outcome"
    : outcome.status === "failed"
      ? `failed: ${outcome.error}`
      : outcome.status

export const audit = (program: Program) =>
  Command.make(
    "audit",
    {
      by: optionalText("by", "actor", "Accesses of this actor"),
      tenant: optionalTenant,
      operation: optionalText(
        "operation",
        "prefix",
        "The beginning of the operation, such as Operations.log"
      ),
      before: optionalText("before", "id", "The place of the page before"),
      limit: limitFlag(1000, 50)
    },
    (flags) =>
      Effect.gen(function* () {
        const actor = orUndefined(flags.by)
        const tenantId = orUndefined(flags.tenant)
        const operation = orUndefined(flags.operation)
        const page = yield* Operations.Operations.use((operations) =>
          operations.accesses({
            actor,
            tenantId,
            operation,
            before: orUndefined(flags.before),
            limit: flags.limit
          })
        )
        const again = [
          `${program.name} audit --limit ${flags.limit}`,
          ...(actor === undefined ? [] : [`--by ${quote(actor)}`]),
          ...(tenantId === undefined ? [] : [`--tenant ${tenantId}`]),
          ...(operation === undefined ? [] : [`--operation ${quote(operation)}`])
        ].join(" ")
        yield* emit(
          Audited,
          {
            command: "audit",
            accesses: page.accesses,
            next:
              page.next === null
                ? []
                : [{ purpose: "earlier records", command: `${again} --before ${page.next}` }]
          },
          (width) =>
            page.accesses.length === 0
              ? ["No records."]
              : table(
                  [
                    { title: "time (UTC)", whole: true },
                    { title: "actor" },
                    { title: "operation" },
                    { title: "outcome" },
                    { title: "reason" }
                  ],
                  page.accesses.map((access) => [
                    time(access.accessedAt),
                    access.actor,
                    access.operation,
                    outcomeOf(access),
                    access.reason
                  ]),
                  width
                )
        )
      }).pipe(asOperatorOfAll("audit"), program.onStore, asFailure)
  ).pipe(Command.withDescription("Show the record of looks and operations"))

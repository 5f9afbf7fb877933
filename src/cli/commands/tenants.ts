/** `tenants`: the tenants with the ends of their logs and their work. */
import { Effect, Option, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import * as Tenant from "../../domain/Tenant.ts"
import * as Looks from "../../operations/Looks.ts"
import * as Operations from "../../operations/Operations.ts"
import { asOperatorOfAll, limitFlag, optionalText, orUndefined } from "../ask.ts"
import { wrongUsage } from "../failures.ts"
import { document, emit, number, table, time } from "../output.ts"
import { asFailure, type Program } from "../program.ts"

/** The document of `tenants`. */
export const Tenants = document("tenants", { tenants: Schema.Array(Looks.TenantSummary) })

const statuses = ["active", "suspended", "importing", "moving", "moved", "erased"] as const

const order = Flag.Literals("order", ["id", "head", "lastAppend", "deadLetters", "distance"]).pipe(
  Flag.withDefault("id"),
  Flag.withDescription("Order: id ascending, any other descending")
)
const status = Flag.Literals("status", statuses).pipe(
  Flag.atLeast(0),
  Flag.withDescription("Tenants in this state alone; may be given several times")
)

const decodeTenant = Schema.decodeUnknownOption(Tenant.TenantId)

/** The cursor of a text such as 120:0b7d1c7e-…: the value by which the list is ordered, and the last tenant. */
const cursorOf = (text: string): Looks.TenantCursor | undefined => {
  const at = text.indexOf(":")
  const value = Number(text.slice(0, Math.max(at, 0)))
  const tenantId = Option.getOrUndefined(decodeTenant(text.slice(at + 1)))
  return at < 1 || !Number.isFinite(value) || tenantId === undefined ? undefined : { value, tenantId }
}

const columns = [
  { title: "tenant", whole: true },
  { title: "status" },
  { title: "events", right: true },
  { title: "last append (UTC)" },
  { title: "day", right: true },
  { title: "week", right: true },
  { title: "dead", right: true },
  { title: "slowest projection" },
  { title: "marks" }
]

const rowOf = (tenant: Looks.TenantSummary): ReadonlyArray<string> => [
  tenant.tenantId,
  tenant.status,
  number(tenant.head),
  time(tenant.lastAppendAt),
  number(tenant.lastDay),
  number(tenant.lastWeek),
  tenant.deadLetters === 0 ? "–" : number(tenant.deadLetters),
  tenant.slowest === null || tenant.slowest.distance === 0
    ? "–"
    : `${tenant.slowest.projection} v${tenant.slowest.version}: ${number(tenant.slowest.distance)}`,
  [
    tenant.quota === null ? "" : (tenant.quota.plan ?? "quota"),
    tenant.hold === null ? "" : "hold",
    tenant.move === null ? "" : "move"
  ]
    .filter((mark) => mark !== "")
    .join(" ")
]

/** The table of tenants. */
export const tenantTable = (tenants: ReadonlyArray<Looks.TenantSummary>, width: number) =>
  table(columns, tenants.map(rowOf), width)

export const tenants = (program: Program) =>
  Command.make(
    "tenants",
    {
      order,
      status,
      prefix: optionalText("prefix", "hex", "Tenants whose id begins with it"),
      after: optionalText("after", "cursor", "The place of the page before"),
      limit: limitFlag(1000, 50)
    },
    (flags) =>
      Effect.gen(function* () {
        const after = orUndefined(flags.after)
        const cursor = after === undefined ? undefined : cursorOf(after)
        if (after !== undefined && cursor === undefined)
          return yield* wrongUsage("--after takes the cursor of a page, as printed at its end.")
        const prefix = orUndefined(flags.prefix)
        const page = yield* Operations.Operations.use((operations) =>
          operations.tenants({
            order: flags.order,
            statuses: flags.status.length === 0 ? undefined : flags.status,
            prefix,
            after: cursor,
            limit: flags.limit
          })
        ).pipe(asOperatorOfAll("tenants"), program.onStore)
        const { next } = page
        const again = [
          `${program.name} tenants --order ${flags.order} --limit ${flags.limit}`,
          ...flags.status.map((one) => `--status ${one}`),
          ...(prefix === undefined ? [] : [`--prefix ${prefix}`])
        ].join(" ")
        yield* emit(
          Tenants,
          {
            command: "tenants",
            tenants: page.tenants,
            next:
              next === null
                ? []
                : [{ purpose: "the next page", command: `${again} --after ${next.value}:${next.tenantId}` }]
          },
          (width) => (page.tenants.length === 0 ? ["No tenants."] : tenantTable(page.tenants, width))
        )
      }).pipe(asFailure)
  ).pipe(
    Command.withDescription("List tenants with their logs and work"),
    Command.withExamples([
      {
        command: `${program.name} tenants --order distance --limit 10`,
        description: "The ten that are farthest behind"
      },
      {
        command: `${program.name} tenants --status moving --json`,
        description: "Moves under way, for a program"
      }
    ])
  )

/** `projections`: the work of projections with one tenant or with all. */
import { Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as Looks from "../../operations/Looks.ts"
import * as Operations from "../../operations/Operations.ts"
import {
  asOperatorOf,
  asOperatorOfAll,
  dryRunFlag,
  limitFlag,
  optionalInt,
  optionalTenant,
  orUndefined,
  yesFlag
} from "../ask.ts"
import { wrongUsage } from "../failures.ts"
import { document, emit, number, span, table, time, wrap } from "../output.ts"
import { asFailure, type Program } from "../program.ts"
import { toggle } from "../settings.ts"
import { act, onActions } from "./act.ts"
import { tenantTable } from "./tenants.ts"

/** The document of `projections`. */
export const Projections = document("projections", {
  projections: Schema.Array(Looks.ProjectionView).annotate({
    description: "With --tenant: the projections of the tenant."
  }),
  totals: Schema.Array(Looks.ProjectionTotal).annotate({
    description: "Without --tenant: the projections of this program with all tenants."
  }),
  behind: Schema.Array(Looks.TenantSummary).annotate({
    description: "Without --tenant: the tenants that are farthest behind."
  })
})

const pendingOf = ({ distance, pending }: Looks.ProjectionView): string =>
  pending === null ? `≤ ${number(distance)}` : `${number(pending.events)}${pending.exact ? "" : "+"}`

const detailsOf = (view: Looks.ProjectionView, width: number): ReadonlyArray<string> =>
  view.cause === null || view.failedPosition === null
    ? []
    : [
        ...wrap(
          `${view.projection} v${view.version} failed at position ${view.failedPosition}, ${view.cause.times} times since ${time(view.cause.firstAt)}: ${view.cause.message}`,
          width,
          "  "
        ),
        ...view.cause.stack
          .split("\n")
          .filter((line) => line.trim().startsWith("at "))
          .slice(0, 3)
          .map((line) => `    ${line.trim()}`)
      ]

const ofTenant = (views: ReadonlyArray<Looks.ProjectionView>, width: number): ReadonlyArray<string> =>
  views.length === 0
    ? ["No projection has worked for this tenant."]
    : [
        ...table(
          [
            { title: "projection" },
            { title: "version", right: true },
            { title: "state", whole: true },
            { title: "pending", right: true },
            { title: "position", right: true },
            { title: "head", right: true },
            { title: "oldest (UTC)" },
            { title: "served" }
          ],
          views.map((view) => [
            view.projection,
            String(view.version),
            view.state,
            pendingOf(view),
            number(view.position),
            number(view.head),
            time(view.oldestPendingAt),
            view.servedMillisAgo === null ? "–" : `${span(view.servedMillisAgo)} ago`
          ]),
          width
        ),
        ...views.flatMap((view) => detailsOf(view, width))
      ]

const ofAll = (totals: ReadonlyArray<Looks.ProjectionTotal>, width: number): ReadonlyArray<string> =>
  table(
    [
      { title: "projection" },
      { title: "version", right: true },
      { title: "pending", right: true },
      { title: "oldest", right: true },
      { title: "parked", right: true }
    ],
    totals.map((total) => [
      total.projection,
      String(total.version),
      number(total.pending),
      total.pending === 0 ? "–" : span(total.oldestAgeMillis),
      number(total.parked)
    ]),
    width
  )

const name = Argument.String("projection").pipe(Argument.withDescription("The name of the projection"))

const resume = (program: Program) =>
  Command.make(
    "resume",
    {
      projection: Argument.optional(name),
      tenant: optionalTenant,
      all: toggle("all", "The projections of all tenants"),
      version: optionalInt("of-version", "Its version (all versions)"),
      dryRun: dryRunFlag
    },
    (flags) =>
      Effect.gen(function* () {
        const tenant = orUndefined(flags.tenant)
        if (flags.all === Option.isSome(flags.tenant))
          return yield* wrongUsage("Give either --tenant or --all.")
        const request = { projection: orUndefined(flags.projection), version: orUndefined(flags.version) }
        yield* act(program, { command: "projections resume", tenant, dryRun: flags.dryRun }, ({ dryRun }) =>
          onActions((actions) =>
            tenant === undefined
              ? actions.resumeProjectionsOfAll({ ...request, dryRun })
              : actions.resumeProjections({ ...request, dryRun })
          )
        )
      }).pipe(asFailure)
  ).pipe(Command.withDescription("Let parked projections, and parked rebuilds, try again"))

const retire = (program: Program) =>
  Command.make(
    "retire",
    {
      projection: name,
      version: Flag.Int("of-version").pipe(Flag.withDescription("Its version")),
      dryRun: dryRunFlag,
      yes: yesFlag
    },
    ({ dryRun: dry, projection, version, yes }) =>
      act(
        program,
        {
          command: "projections retire",
          tenant: undefined,
          dryRun: dry,
          yes,
          question: `Retire ${projection} v${version}? No program can run this version again.`
        },
        ({ dryRun }) => onActions((actions) => actions.retire({ projection, version, dryRun }))
      )
  ).pipe(Command.withDescription("Retire a version that no program runs any more"))

const stopped = new Set(["parked", "stalled"])

export const projections = (program: Program) =>
  Command.make("projections", { tenant: optionalTenant, limit: limitFlag(1000, 20) }, (flags) =>
    Effect.gen(function* () {
      const operations = yield* Operations.Operations
      if (Option.isSome(flags.tenant)) {
        const tenantId = flags.tenant.value
        const views = yield* operations.projections.pipe(asOperatorOf("projections", tenantId))
        return yield* emit(
          Projections,
          {
            command: "projections",
            projections: views,
            totals: [],
            behind: [],
            next: views
              .filter(({ state }) => stopped.has(state))
              .map(({ projection, state, version }) =>
                state === "parked"
                  ? {
                      purpose: `resume ${projection} v${version}, once its cause is mended`,
                      command: `${program.name} projections resume ${projection} --of-version ${version} --tenant ${tenantId} --reason …`
                    }
                  : {
                      purpose: `find the runner of ${projection} v${version}, which does not work`,
                      command: `${program.name} doctor`
                    }
              )
          },
          (width) => ofTenant(views, width)
        )
      }
      const { behind, totals } = yield* Effect.gen(function* () {
        const known = program.projections.length === 0 ? [] : yield* operations.projectionsOfAll
        const page = yield* operations.tenants({ order: "distance", limit: flags.limit })
        return {
          totals: known,
          behind: page.tenants.filter(({ slowest }) => slowest !== null && slowest.distance > 0)
        }
      }).pipe(asOperatorOfAll("projections"))
      yield* emit(
        Projections,
        {
          command: "projections",
          projections: [],
          totals,
          behind,
          next: behind.slice(0, 3).map(({ tenantId }) => ({
            purpose: "the projections of this tenant",
            command: `${program.name} projections --tenant ${tenantId}`
          }))
        },
        (width) => [
          ...(totals.length === 0 ? [] : [...ofAll(totals, width), ""]),
          ...(behind.length === 0 ? ["No tenant is behind."] : tenantTable(behind, width))
        ]
      )
    }).pipe(program.onStore, asFailure)
  ).pipe(
    Command.withDescription("Show the work of projections, and resume them"),
    Command.withSubcommands([resume(program), retire(program)])
  )

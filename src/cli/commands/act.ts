/** Runs acts: asks, shows progress, prints the outcome, and says how to go on after Ctrl-C. */
import { Console, Context, Effect, Option, Stream } from "effect"
import {
  AllTenants,
  CurrentTenant,
  TenantAdministration,
  type TenantId,
  untenanted
} from "../../domain/Tenant.ts"
import { Actions } from "../../operations/Actions.ts"
import * as Acts from "../../operations/Acts.ts"
import { type Asking, checkedOperator, confirm, requireReason } from "../ask.ts"
import type { CliFailure } from "../failures.ts"
import { clean, document, emit, type Next, number, table } from "../output.ts"
import { asFailure, type Program, type Services } from "../program.ts"
import { type Report, withProgress } from "../progress.ts"
import type { Settings } from "../settings.ts"

/** The document of an act. */
export const Acted = document("act", Acts.Done.fields)

/** A command that acts. */
export interface Act {
  /** The name in the record, such as `erase`. */
  readonly command: string
  /** Undefined for an act on all tenants. */
  readonly tenant: TenantId | undefined
  readonly dryRun: boolean
  /** The question before an act that cannot be undone; undefined for others. */
  readonly question?: string | undefined
  readonly yes?: boolean | undefined
  /** False for an act that changes nothing, so that a default reason will do. Default: true. */
  readonly needsReason?: boolean | undefined
  /** The commands to run next. */
  readonly next?: ((done: Acts.Done) => ReadonlyArray<Next>) | undefined
  /** The command that goes on after an interruption. */
  readonly goOn?: string | undefined
}

const words = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)

/** The counts of the dry run of an act, for its question. */
const preview = (done: Acts.Done): string =>
  Object.entries(done.counts)
    .flatMap(([unit, count]) => (count === null ? [] : [`${number(count)} ${words(unit)}`]))
    .join(", ")

const countLines = (done: Acts.Done, width: number): ReadonlyArray<string> => {
  const counts = preview(done)
  const state = done.dryRun
    ? done.changed
      ? "would change something"
      : "would change nothing"
    : done.changed
      ? "done"
      : "nothing to change"
  return [
    `${words(done.action)}${done.tenantId === null ? " of all tenants" : ` of ${done.tenantId}`}: ${state}${counts === "" ? "" : ` (${counts})`}`,
    ...(Object.keys(done.details).length === 0
      ? []
      : table(
          [{ title: "detail" }, { title: "value" }],
          Object.entries(done.details).map(([name, value]) => [
            words(name),
            typeof value === "string" ? value : JSON.stringify(value)
          ]),
          width
        )),
    `recorded as ${done.accessId}`
  ]
}

/** The requirements of actions. */
type Needs = Services | CurrentTenant | TenantAdministration | AllTenants

/** Runs an action. */
export const onActions = <E>(
  run: (actions: Actions["Service"]) => Effect.Effect<Acts.Done, E, Needs>
): Effect.Effect<Acts.Done, E, Needs> => Effect.flatMap(Actions, run)

/** Runs an act as the operator: asks, runs, prints. */
export const act = <E>(
  program: Program,
  { command, dryRun, goOn, needsReason = true, next, question, tenant, yes = false }: Act,
  run: (options: { readonly dryRun: boolean; readonly report: Report }) => Effect.Effect<Acts.Done, E, Needs>
): Effect.Effect<void, CliFailure, Asking | Settings> =>
  Effect.gen(function* () {
    const access = yield* checkedOperator(command)
    const asOperator = Effect.provideContext(
      Context.make(TenantAdministration, access).pipe(
        Context.add(AllTenants, access),
        // An act on all tenants has no tenant of its own.
        Context.add(CurrentTenant, tenant ?? untenanted)
      )
    )
    if (!dryRun && needsReason) yield* requireReason
    if (question !== undefined && !dryRun)
      yield* confirm(
        yes,
        question,
        Effect.map(asOperator(run({ dryRun: true, report: () => Effect.void })), preview)
      )
    const done = yield* withProgress(command, (report) => asOperator(run({ dryRun, report }))).pipe(
      Effect.onInterrupt(() =>
        Console.error(
          clean(
            goOn === undefined
              ? "Interrupted. Run the same command again."
              : `Interrupted. Nothing is lost.\n→ go on: ${goOn}`
          )
        )
      )
    )
    yield* emit(Acted, { command: "act", ...done, next: next?.(done) ?? [] }, (width) =>
      countLines(done, width)
    )
  }).pipe(program.onStore, asFailure)

/** The result of a long action, whose progress is reported. */
export const last =
  (report: Report) =>
  <E>(steps: Stream.Stream<Acts.Progress, E, Needs>): Effect.Effect<Acts.Done, E, Needs> =>
    steps.pipe(
      Stream.tap(({ done, total }) => (total === null ? Effect.void : report(done, total))),
      Stream.runLast,
      Effect.flatMap((step) =>
        Option.match(
          Option.flatMap(step, ({ result }) => Option.fromNullOr(result)),
          {
            onNone: () => Effect.die(new Error("an action ends with its result")),
            onSome: Effect.succeed
          }
        )
      )
    )

/** Flags that several commands have, and the confirmation of what cannot be undone. */
import {
  Context,
  Effect,
  Option,
  Result,
  Schema,
  type FileSystem,
  type Path,
  Stdio,
  type Terminal
} from "effect"
import { Flag, Prompt } from "effect/cli"
import * as Tenant from "../domain/Tenant.ts"
import type { TenantId } from "../domain/Tenant.ts"
import * as PayloadGrant from "../operations/PayloadGrant.ts"
import { type CliFailure, refused, wrongUsage } from "./failures.ts"
import { clean } from "./output.ts"
import { operator, type Settings, statedReason, toggle } from "./settings.ts"

const describe = <A>(flag: Flag.Flag<A>, description: string): Flag.Flag<A> =>
  Flag.withDescription(flag, description)

/** `--tenant`. */
export const tenantFlag: Flag.Flag<TenantId> = describe(
  Flag.withMetavar(Flag.withSchema(Flag.String("tenant"), Tenant.TenantId), "uuid"),
  "The tenant"
)

/** `--tenant`, or all tenants. */
export const optionalTenant: Flag.Flag<Option.Option<TenantId>> = Flag.optional(tenantFlag)

/** `--payloads`. */
export const payloadsFlag: Flag.Flag<"none" | "masked" | "full"> = describe(
  Flag.withDefault(Flag.Literals("payloads", ["none", "masked", "full"]), "masked"),
  "Payloads: left out, their structure and lengths, or as they are"
)

/** `--limit`. */
export const limitFlag = (most: number, otherwise: number): Flag.Flag<number> =>
  describe(
    Flag.withDefault(
      Flag.filter(
        Flag.Int("limit"),
        (value) => value >= 1 && value <= most,
        () => `must be an integer from 1 to ${most}`
      ),
      otherwise
    ),
    `Maximum number of rows, up to ${most}`
  )

/** `--yes`. */
export const yesFlag: Flag.Flag<boolean> = toggle("yes", "Do it without a question")

/** `--dry-run`. */
export const dryRunFlag: Flag.Flag<boolean> = toggle("dry-run", "Count, and change nothing")

/** A flag that may be given several times. */
export const several = (name: string, metavar: string, description: string) =>
  describe(Flag.withMetavar(Flag.atLeast(Flag.String(name), 0), metavar), description)

/** An optional text. */
export const optionalText = (name: string, metavar: string, description: string) =>
  Flag.optional(describe(Flag.withMetavar(Flag.String(name), metavar), description))

/** An optional integer. */
export const optionalInt = (name: string, description: string) =>
  Flag.optional(describe(Flag.Int(name), description))

/** The operator, checked: the record takes an actor of up to 255 characters and a reason of up to 1,000. */
export const checkedOperator = (
  command: string
): Effect.Effect<Tenant.CrossTenantAccess, CliFailure, Settings> =>
  Effect.filterOrFail(
    operator(command),
    ({ actor, reason }) =>
      actor.trim() !== "" && actor.length <= 255 && reason.trim() !== "" && reason.length <= 1000,
    () =>
      wrongUsage("The record takes an actor of 1 to 255 characters and a reason of 1 to 1,000 characters.")
  )

/** Runs a look or an act on one tenant for the operator. */
export const asOperatorOf =
  (command: string, tenantId: TenantId, payloads?: "none" | "masked" | "full") =>
  <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<
    A,
    E | CliFailure,
    Exclude<R, Tenant.CurrentTenant | Tenant.TenantAdministration> | Settings
  > =>
    Effect.flatMap(checkedOperator(command), (access) =>
      Effect.provideContext(
        payloads === undefined ? effect : PayloadGrant.provide(payloads)(effect),
        Context.make(Tenant.CurrentTenant, tenantId).pipe(Context.add(Tenant.TenantAdministration, access))
      )
    )

/** Runs a look or an act across tenants for the operator. */
export const asOperatorOfAll =
  (command: string) =>
  <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<
    A,
    E | CliFailure,
    Exclude<R, Tenant.AllTenants | Tenant.TenantAdministration> | Settings
  > =>
    Effect.flatMap(checkedOperator(command), (access) =>
      Effect.provideContext(
        effect,
        Context.make(Tenant.AllTenants, access).pipe(Context.add(Tenant.TenantAdministration, access))
      )
    )

/** The reason of an act, which must be stated. */
export const requireReason: Effect.Effect<string, CliFailure, Settings> = Effect.filterOrFail(
  Effect.map(statedReason, (reason) => reason?.trim() ?? ""),
  (reason) => reason !== "",
  () => wrongUsage("An act is recorded with its reason: give --reason, such as a ticket.")
)

/** The surroundings of a question. */
export type Asking = Stdio.Stdio | FileSystem.FileSystem | Path.Path | Terminal.Terminal

/**
 * Asks for an act that cannot be undone, with its counts. Without a terminal it is refused unless `--yes` is given.
 */
export const confirm = <E, R>(
  yes: boolean,
  question: string,
  counts: Effect.Effect<string, E, R>
): Effect.Effect<void, CliFailure | Terminal.QuitError | E, Asking | R> =>
  Effect.gen(function* () {
    if (yes) return
    const stdio = yield* Stdio.Stdio
    if (!(yield* stdio.stdinIsTerminal))
      return yield* refused(`Nobody can answer "${question}" here: give --yes if it shall be done.`)
    const counted = yield* counts
    const message = counted === "" ? question : `${question} (${counted})`
    const answer = yield* Prompt.run(Prompt.Confirm({ message: clean(message), initial: false }))
    if (!answer) return yield* refused("Not confirmed. Nothing was changed.")
  })

/** A UTC time of a text such as 2026-03-01 or 2026-03-01T12:00:00Z. */
export const timeFlag = (name: string, description: string) =>
  Flag.optional(
    describe(
      Flag.withMetavar(
        Flag.filterMap(
          Flag.String(name),
          (text) => Result.getSuccess(decodeTime(text)),
          (text) => `${text} is not a time: give one such as 2026-03-01 or 2026-03-01T12:00:00Z`
        ),
        "time"
      ),
      description
    )
  )

const decodeTime = Schema.decodeUnknownResult(Schema.DateTimeUtcFromString)

/** The value of an optional flag. */
export const orUndefined = Option.getOrUndefined

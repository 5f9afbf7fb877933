/**
 * Tests that two tenants do not notice each other when both do the same with the same ids. One call tests an application's
 * own functions.
 *
 * **Example**
 *
 * ```ts
 * import { it } from "@effect/vitest"
 * import { TenantScenario } from "effect-eventsourcing/testing"
 *
 * it.effect("banks do not notice each other", () =>
 *   TenantScenario.isolated({
 *     commands: { open: openAccount("1"), deposit: deposit("1", 10) },
 *     observe: { balance: balanceOf("1") }
 *   })
 * )
 * ```
 */
import { assert } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Option, Stream } from "effect"
import * as EventStore from "../store/EventStore.ts"
import { differenceOfTexts, showOnLines } from "./domain/show.ts"
import * as sealedMemory from "./sealedMemory.ts"
import * as Tenant from "../domain/Tenant.ts"
import * as TenantIsolationSuite from "./TenantIsolationSuite.ts"

/** Named effects that run in the name of one tenant after another. */
export type Actions<R> = Readonly<Record<string, Effect.Effect<unknown, unknown, R>>>

/** Options of {@link isolated}. */
export interface Options<R, Services, E> {
  /** Commands of both tenants, in this order. A command may fail, in both tenants alike. */
  readonly commands: Actions<R>
  /** Reads of both tenants, beside their logs. Each must succeed or fail alike in both tenants. */
  readonly observe?: Actions<R> | undefined
  /**
   * The services that the commands need: a store of any driver (`TenantScenario.layer(MyStorage)`), read models, services of
   * the application. Default: a store in memory.
   */
  readonly layer?: Layer.Layer<Services, E> | undefined
}

/** The event store, the repository and the registry on a driver. */
export const layer: typeof TenantIsolationSuite.layer = TenantIsolationSuite.layer

const memory = layer(sealedMemory.layer)

/**
 * Fails the test if one of two tenants notices the other while both do the same with the same ids.
 *
 * **Details**
 *
 * Two new tenants take turns, command by command; each is the first once. After each command of one tenant, the other must
 * see exactly what it saw before, in its log (if there is an `EventStore`) and through `observe`. Both must get the same
 * outcomes and see the same, apart from UUIDs, dates and times.
 *
 * **Gotchas**
 *
 * Values that the commands generate must be UUIDs or times, or the outcomes differ. Numbers from a clock are equal under
 * the `TestClock` of `it.effect`.
 */
export const isolated = <R, E = never, Services = TenantIsolationSuite.Services>(
  options: Options<R, Services, E>
): Effect.Effect<void, E, Exclude<R, Tenant.CurrentTenant | Services>> => {
  const run = Effect.gen(function* () {
    const first = yield* Tenant.generate
    yield* takeTurns(first, yield* Tenant.generate, options)
    // The order of the tenants' ids must not matter either.
    const second = yield* Tenant.generate
    yield* takeTurns(yield* Tenant.generate, second, options)
  })
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the type parameter `Services` has its default if no layer is given
  const given = (options.layer ?? memory) as Layer.Layer<Services, E>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- of two exclusions TypeScript does not see that they are one
  return Effect.provide(run, given) as Effect.Effect<void, E, Exclude<R, Tenant.CurrentTenant | Services>>
}

/** Runs the commands in two tenants by turns. */
const takeTurns = <R>(
  ours: Tenant.TenantId,
  theirs: Tenant.TenantId,
  { commands, observe = {} }: Pick<Options<R, never, never>, "commands" | "observe">
): Effect.Effect<void, never, Exclude<R, Tenant.CurrentTenant>> =>
  Effect.gen(function* () {
    const look = (tenant: Tenant.TenantId) => Tenant.provide(tenant)(everythingSeen(observe))
    const seen = new Map([
      [ours, yield* look(ours)],
      [theirs, yield* look(theirs)]
    ])
    for (const [name, command] of Object.entries(commands)) {
      const turn = Effect.fnUntraced(function* (actor: Tenant.TenantId, other: Tenant.TenantId) {
        const outcome = viewOf(yield* Effect.exit(Tenant.provide(actor)(command)))
        compare(seen.get(other) ?? {}, yield* look(other), {
          problem: `another tenant notices "${name}"`,
          labels: ["before", "after"],
          same: (text) => text
        })
        const own = yield* look(actor)
        seen.set(actor, own)
        return { outcome, own }
      })
      const first = yield* turn(ours, theirs)
      const second = yield* turn(theirs, ours)
      const labels = ["the first tenant", "the second"] as const
      const same = alike
      const problem = `"${name}" has another outcome for a second tenant`
      compare({ outcome: first.outcome }, { outcome: second.outcome }, { problem, labels, same })
      compare(first.own, second.own, {
        problem: `after "${name}" a second tenant sees other data`,
        labels,
        same
      })
    }
  })

/** An observation, as a text to compare and as a text to read. */
interface View {
  readonly text: string
  readonly shown: () => string
}

/** The observations of a tenant, by their names. */
type Seen = Readonly<Record<string, View>>

const everythingSeen = Effect.fnUntraced(function* <R>(observe: Actions<R>) {
  const store = yield* Effect.serviceOption(EventStore.EventStore)
  const seen: Record<string, View> = {}
  for (const [name, effect] of Object.entries(observe)) seen[name] = viewOf(yield* Effect.exit(effect))
  if (Option.isSome(store)) {
    const log = yield* Effect.exit(Stream.runCollect(store.value.readLogJson({})))
    // Rendered only on a difference; envelopes never change.
    seen["its log"] = Exit.isSuccess(log)
      ? { text: JSON.stringify(log.value), shown: () => showOnLines(log.value) }
      : viewOf(log)
    seen["the head of its log"] = viewOf(yield* Effect.exit(store.value.position))
  }
  return seen
})

const viewOf = (exit: Exit.Exit<unknown, unknown>): View => {
  const text = Exit.isSuccess(exit) ? showOnLines(exit.value) : exit.cause.reasons.map(showReason).join("\n")
  return { text, shown: () => text }
}

const showReason = (reason: Cause.Reason<unknown>): string => {
  if (Cause.isFailReason(reason)) return `failure: ${showOnLines(reason.error)}`
  return Cause.isDieReason(reason) ? `defect: ${showOnLines(reason.defect)}` : "interrupted"
}

/** Replaces everything in a text that may differ between two tenants that do the same. */
const alike = (text: string): string =>
  text
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi, "<uuid>")
    .replaceAll(/[+-]?\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)/g, "<time>")

interface Comparison {
  readonly problem: string
  readonly labels: readonly [former: string, latter: string]
  readonly same: (text: string) => string
}

/** Fails the test at the first difference. */
const compare = (expected: Seen, found: Seen, { labels, problem, same }: Comparison): void => {
  for (const [name, view] of Object.entries(expected)) {
    const other = found[name]
    if (other === undefined || same(other.text) === same(view.text)) continue
    const difference = differenceOfTexts(same(view.shown()), same(other.shown()))
    assert.fail(`${problem}: ${name}\n\n- ${labels[0]}\n+ ${labels[1]}\n\n${difference}`)
  }
}

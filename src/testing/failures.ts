/** Inspects failures in the suites. */
import { assert } from "@effect/vitest"
import { Cause, Effect, Exit, Predicate } from "effect"
import { inspect } from "node:util"
import { TenantMismatch } from "../driver/StoreError.ts"

/** Tags of the errors that group reasons. */
type Group = "Conflict" | "InvalidInput" | "TenantRefused" | "Undecodable"

/** The reason of an error that groups reasons; any other error itself. */
export type ReasonIn<E> = E extends { readonly _tag: Group; readonly reason: infer R } ? R : E

const groups: ReadonlySet<unknown> = new Set<Group>([
  "Conflict",
  "InvalidInput",
  "TenantRefused",
  "Undecodable"
])

/** The reason of an error that groups reasons; any other error itself. */
export const reasonOf = <E>(error: E): ReasonIn<E> => {
  const isGroup = Predicate.hasProperty(error, "_tag") && groups.has(error._tag)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the type says the same
  return (isGroup && Predicate.hasProperty(error, "reason") ? error.reason : error) as ReasonIn<E>
}

/** The reason that an effect fails with. */
export const flipped = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<ReasonIn<E>, A, R> =>
  Effect.map(Effect.flip(effect), reasonOf)

/** Returns the defect of an effect that works for another tenant than that of its transaction; fails if there is none. */
export const mismatches = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<TenantMismatch, never, R> =>
  Effect.map(Effect.exit(effect), (exit) => {
    const defects = Exit.isFailure(exit) ? exit.cause.reasons.filter(Cause.isDieReason) : []
    for (const { defect } of defects) if (defect instanceof TenantMismatch) return defect
    return assert.fail(`expected the defect TenantMismatch, got ${inspect(exit, { depth: 6 })}`)
  })

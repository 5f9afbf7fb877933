/**
 * The tenant's numbers of forgotten subjects at which states were read. A state contains no personal data but that of subjects who
 * were not forgotten at its number, so nothing may come of it once the number has grown.
 */
import { Effect } from "effect"
import { currentTenant } from "../domain/currentTenant.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import { Conflict, type ReadError, SubjectsForgotten } from "../driver/StoreError.ts"
import type { EventStore } from "./EventStore.ts"

type Numbers = Pick<EventStore["Service"], "knownForgotten" | "forgottenSubjects">

/** True if an append was refused because a subject was forgotten since the state was read on which it was decided. */
export const isForgotten = (error: unknown): boolean =>
  error instanceof Conflict && error.reason instanceof SubjectsForgotten

/**
 * Reads a state from the beginning, and gives it the number that was known before. `isPersonal` is true if it may contain personal
 * data: then the number is read if it is not known yet.
 */
export const numbered = <A, E, R>(
  store: Numbers,
  isPersonal: () => boolean,
  read: Effect.Effect<A, E, R>,
  withNumber: (state: A, forgotten: number) => A
): Effect.Effect<A, E | ReadError, R | CurrentTenant> => {
  const { forgottenSubjects, knownForgotten } = store
  if (knownForgotten === undefined) return read
  return Effect.flatMap(currentTenant, (tenantId) => {
    const known = knownForgotten(tenantId)
    const before: Effect.Effect<number | undefined, ReadError, CurrentTenant> =
      known === undefined && isPersonal() ? forgottenSubjects : Effect.succeed(known)
    return Effect.flatMap(before, (number) =>
      Effect.map(read, (state) => {
        // The first sealed data of the tenant may have come without marks. At 0 nobody was forgotten yet, so 0 is never too high.
        const forgotten = number ?? (knownForgotten(tenantId) === undefined ? undefined : 0)
        return forgotten === undefined ? state : withNumber(state, forgotten)
      })
    )
  })
}

/** False if a subject was forgotten since a state was read. Asked behind a read that went on from the state. */
export const isStillAt = (
  { forgottenSubjects, knownForgotten }: Numbers,
  forgotten: number | undefined
): Effect.Effect<boolean, ReadError, CurrentTenant> =>
  knownForgotten === undefined
    ? Effect.succeed(true)
    : Effect.flatMap(currentTenant, (tenantId) => {
        const known = knownForgotten(tenantId)
        if (forgotten === undefined || known !== forgotten) return Effect.succeed(known === forgotten)
        return Effect.map(forgottenSubjects, (now) => now === forgotten)
      })

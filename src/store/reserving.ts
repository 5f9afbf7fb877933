/**
 * Lines of processes that refuse each other's appends take turns: each reserves the aggregate for some appends. A reservation is a
 * matter of speed alone, and is made only while others append in between.
 */
import { Effect, Exit, Scope } from "effect"
import type { Kept, Reservation } from "./commandLine.ts"
import type { Contention } from "./contention.ts"
import { type Reserving, withTenant } from "./decideTogether.ts"
import type { EventStore } from "./EventStore.ts"
import type { StreamTypes } from "./joinedStreams.ts"

/** A line keeps a reservation that others may wait for so long, in milliseconds, and on a slow machine for so many appends. */
const keptFor = 20
const keptAppends = 8
/** The longest time for which it is kept, in milliseconds. */
const longestKept = 200

const isOver = ({ since, uses }: Reservation): boolean => {
  const kept = performance.now() - since
  return kept >= longestKept || (kept >= keptFor && uses >= keptAppends)
}

/** The reservations of lines; undefined if the store makes none. */
export const makeReserving = (
  { reserve }: EventStore["Service"],
  contention: Contention
): Reserving<StreamTypes> | undefined => {
  if (reserve === undefined) return undefined
  return {
    enter: ({ command: { aggregate, id, slot }, services }, kept: Kept<unknown>) =>
      Effect.suspend(() => {
        if (kept.reservation !== undefined) {
          kept.reservation.uses++
          if (!isOver(kept.reservation)) return Effect.succeed(false)
          kept.reservation.leave()
          kept.reservation = undefined
        }
        if (slot.line === undefined || !contention.isWanted(slot.line)) return Effect.succeed(false)
        const scope = Scope.makeUnsafe()
        const leave = (): void => void Effect.runFork(Scope.close(scope, Exit.void))
        return withTenant(services, Scope.provide(reserve({ aggregate, id }), scope)).pipe(
          // A defect of a storage, or an id that cannot be stored, is met by the append.
          Effect.exit,
          Effect.map((exit) => {
            const isReserved = Exit.isSuccess(exit) && exit.value
            if (isReserved) kept.reservation = { since: performance.now(), uses: 0, leave }
            else leave()
            return isReserved
          })
        )
      }),
    lost: ({ command: { slot } }, wasRead) => {
      if (slot.line !== undefined) contention.lost(slot.line, wasRead)
    },
    foundNewer: ({ command: { slot } }) => {
      if (slot.line !== undefined && contention.isWanted(slot.line)) contention.lost(slot.line, false)
    }
  }
}

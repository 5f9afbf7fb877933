/** Checks positions that were stored outside of the store: they must still have the same event. */
import { Effect } from "effect"
import type * as Event from "../domain/Event.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type { EventStorage, LogHead } from "../driver/EventStorage.ts"
import type { DivergedAt } from "./ProjectionError.ts"
import { PositionAhead, PositionDiverged, type ReadError } from "../driver/StoreError.ts"

/** A position up to which a log is known, with the id of its event if known. */
export interface Known {
  readonly position: number
  /** Undefined if unknown; another event there is then not noticed. */
  readonly eventId: string | undefined
}

/** A given position as a known one. A number below 0 counts as 0. */
export const knownOf = (position: number | Event.Position): Known => {
  const known =
    typeof position === "number"
      ? { position: Math.max(0, position), eventId: undefined }
      : { position: position.position, eventId: position.eventId }
  if (!Number.isSafeInteger(known.position)) throw new RangeError("a position is an integer")
  return known
}

/** The reason why a log cannot be read on from a position; undefined if it can. `head` was looked up `at` that position. */
export const positionProblem = (
  tenantId: TenantId,
  { position, eventId }: Known,
  head: LogHead
): PositionAhead | PositionDiverged | undefined => {
  if (eventId !== undefined && head.eventIdAt !== eventId)
    return new PositionDiverged({ tenantId, position, expected: eventId, actual: head.eventIdAt })
  return position > head.position ? new PositionAhead({ tenantId, position, head: head.position }) : undefined
}

/** The number of a position, after checking that its event is still there. */
export const confirm = <At extends number | Event.Position>(
  storage: EventStorage["Service"],
  tenantId: TenantId,
  position: At
): Effect.Effect<number, ReadError | DivergedAt<At>> => {
  const confirmed = Effect.suspend((): Effect.Effect<number, ReadError | PositionDiverged> => {
    const known = knownOf(position)
    const { eventId: expected, position: at } = known
    return expected === undefined
      ? Effect.succeed(at)
      : Effect.flatMap(storage.head({ tenantId, at }), ({ eventIdAt: actual }) =>
          actual === expected
            ? Effect.succeed(at)
            : Effect.fail(new PositionDiverged({ tenantId, position: at, expected, actual }))
        )
  })
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- A number has no id to compare.
  return confirmed as Effect.Effect<number, ReadError | DivergedAt<At>>
}

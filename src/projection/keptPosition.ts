/** Positions that were kept outside of the store: is the event there still the one that was seen? */
import { Effect } from "effect"
import type * as Event from "../domain/Event.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type { EventStorage, LogHead } from "../driver/EventStorage.ts"
import type { DivergedAt } from "./ProjectionError.ts"
import { PositionAhead, PositionDiverged, type ReadError } from "../driver/StoreError.ts"

/** A position up to which a log is known, and the id of the event there, if that is known. */
export interface Known {
  readonly position: number
  /** Undefined: not known, so that another event there is not noticed. */
  readonly eventId: string | undefined
}

/** A position as one that is known. What is before the log's beginning is its beginning. */
export const knownOf = (position: number | Event.Position): Known => {
  const known =
    typeof position === "number"
      ? { position: Math.max(0, position), eventId: undefined }
      : { position: position.position, eventId: position.eventId }
  if (!Number.isSafeInteger(known.position)) throw new RangeError("a position is an integer")
  return known
}

/** The reason for which a log cannot be read on from a position, if there is one; `head` was asked `at` that position. */
export const broken = (
  tenantId: TenantId,
  { position, eventId }: Known,
  head: LogHead
): PositionAhead | PositionDiverged | undefined => {
  if (eventId !== undefined && head.eventIdAt !== eventId)
    return new PositionDiverged({ tenantId, position, expected: eventId, actual: head.eventIdAt })
  return position > head.position ? new PositionAhead({ tenantId, position, head: head.position }) : undefined
}

/** The number of a position, once the event that was kept with it is found there. */
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

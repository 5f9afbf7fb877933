/** Checks the versions and conditions of an append without events. Nothing is written, so no lock is needed. */
import { Effect } from "effect"
import type * as EventStorage from "../driver/EventStorage.ts"
import { isExpected } from "../driver/expectedVersion.ts"
import { matches } from "../driver/queryMatch.ts"
import {
  AppendConditionFailed,
  Conflict,
  PositionDiverged,
  type ReadError,
  VersionConflict
} from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type { StoredStream } from "./read.ts"

export const makeChecks = (storage: EventStorage.EventStorage["Service"]) => {
  /** The id of the event with a version. */
  const lastEventId = (key: StoredStream, version: number): Effect.Effect<string | undefined, ReadError> =>
    Effect.map(
      storage.readStream({
        ...key,
        fromVersion: version,
        toVersion: version,
        direction: "forwards",
        limit: 1
      }),
      ({ rows }) => rows[0]?.eventId
    )

  /** Checks the expected version of a stream without events, and returns the actual one. */
  const stream = Effect.fnUntraced(function* (
    tenantId: TenantId,
    { aggregateType, aggregateId, expectedEventId, expectedVersion: expected }: EventStorage.StreamAppend
  ) {
    const key = { tenantId, aggregateType, aggregateId }
    const actual = yield* storage.streamVersion(key)
    const actualEventId = expectedEventId === undefined ? undefined : yield* lastEventId(key, actual)
    if (isExpected(expected, actual) && actualEventId === expectedEventId) return actual
    return yield* new Conflict({
      reason: new VersionConflict({
        ...key,
        expected,
        actual,
        ...(expectedEventId === undefined
          ? undefined
          : { expectedEventId, actualEventId: actualEventId ?? null })
      })
    })
  })

  /** The first event in a range of positions that matches a query. */
  const firstEvent = (
    tenantId: TenantId,
    fromPosition: number,
    toPosition: number,
    query: EventStorage.EventQuery | undefined
  ): Effect.Effect<EventStorage.EventRow | undefined, ReadError> =>
    Effect.map(
      storage.readLog({
        tenantId,
        fromPosition,
        toPosition,
        recordedFrom: undefined,
        recordedBefore: undefined,
        aggregateTypes: undefined,
        eventTypes: undefined,
        query,
        direction: "forwards",
        limit: 1
      }),
      ({ rows }) => rows[0]
    )

  /** Checks a condition. The error contains its index. */
  const condition = Effect.fnUntraced(function* (
    tenantId: TenantId,
    { afterEventId, after, query }: EventStorage.AppendCondition,
    index: number
  ) {
    if (afterEventId !== undefined) {
      const actual = (yield* firstEvent(tenantId, after, after, undefined))?.eventId ?? null
      if (actual !== afterEventId)
        return yield* new PositionDiverged({ tenantId, position: after, expected: afterEventId, actual })
    }
    const first = yield* firstEvent(tenantId, after + 1, Number.MAX_SAFE_INTEGER, query)
    if (first === undefined) return
    const { position } = first
    const item = query.findIndex((one) => matches([one], first))
    return yield* new Conflict({
      reason: new AppendConditionFailed({ tenantId, after, position, condition: index, item })
    })
  })

  return { stream, condition }
}

/** Searches a tenant's log in pages that scan a bounded number of positions. */
import { Effect } from "effect"
import type { Direction, EventQuery, EventRow, EventStorage } from "../driver/EventStorage.ts"
import type { ReadError } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** Selects events. Everything that is given must fit. */
export interface Filter {
  /** Stored event types. An empty list selects nothing. */
  readonly eventTypes?: ReadonlyArray<string> | undefined
  /** All of these tags. */
  readonly tags?: ReadonlyArray<string> | undefined
  readonly aggregateType?: string | undefined
  readonly aggregateId?: string | undefined
  readonly actor?: string | undefined
  readonly correlationId?: string | undefined
}

/** A range of recorded times, in milliseconds since 1970. */
export interface Times {
  /** Recorded at this time or later. */
  readonly from: number | undefined
  /** Recorded before this time. */
  readonly before: number | undefined
}

/** A search. */
export interface Search {
  readonly tenantId: TenantId
  readonly query: EventQuery | undefined
  readonly actor: string | undefined
  readonly times: Times
  readonly direction: Direction
  /** The position from which it goes on, inclusive. */
  readonly start: number | undefined
  readonly limit: number
  /** Maximum number of positions to search. */
  readonly scan: number
}

/** The rows that a search has found, and the place to go on. */
export interface Found {
  readonly rows: ReadonlyArray<EventRow>
  readonly head: number
  readonly scanned: number
  readonly next: number | null
}

/** The query of a filter; undefined if it selects by nothing that drivers select by. */
export const queryOf = ({
  aggregateId,
  aggregateType,
  correlationId,
  eventTypes,
  tags = []
}: Filter): EventQuery | undefined =>
  aggregateId === undefined &&
  aggregateType === undefined &&
  correlationId === undefined &&
  eventTypes === undefined &&
  tags.length === 0
    ? undefined
    : [{ aggregateType, aggregateId, correlationId, eventTypes, tags }]

/** Rows that are read at a time to find those of an actor. */
const actorPage = 500

const everything = {
  recordedFrom: undefined,
  recordedBefore: undefined,
  aggregateTypes: undefined,
  eventTypes: undefined
} as const

export const makeSearch = (storage: EventStorage["Service"]) => {
  /** The first position at or after a time, or one past the end. Drivers find it without a scan. */
  const positionAt = (tenantId: TenantId, time: number, head: number): Effect.Effect<number, ReadError> =>
    Effect.map(
      storage.readLog({
        ...everything,
        tenantId,
        fromPosition: 1,
        toPosition: head,
        recordedFrom: time,
        direction: "forwards",
        limit: 1
      }),
      ({ rows }) => rows[0]?.position ?? head + 1
    )

  return Effect.fnUntraced(function* (search: Search): Effect.fn.Return<Found, ReadError> {
    const { actor, direction, limit, query, scan, tenantId, times } = search
    const { position: head } = yield* storage.head({ tenantId })
    const lowest = times.from === undefined ? 1 : yield* positionAt(tenantId, times.from, head)
    const highest = times.before === undefined ? head : (yield* positionAt(tenantId, times.before, head)) - 1
    const forwards = direction === "forwards"
    const step = forwards ? 1 : -1
    const begin = forwards ? Math.max(search.start ?? 1, lowest) : Math.min(search.start ?? head, highest)
    const end = forwards ? Math.min(highest, begin + scan - 1) : Math.max(lowest, begin - scan + 1)
    const rows: Array<EventRow> = []
    let at = begin
    while ((forwards ? at <= end : at >= end) && rows.length < limit) {
      const page = yield* storage.readLog({
        ...everything,
        tenantId,
        fromPosition: forwards ? at : end,
        toPosition: forwards ? end : at,
        query,
        direction,
        // An actor is looked for in the rows.
        limit: actor === undefined ? limit - rows.length : actorPage
      })
      const last = page.rows.at(-1)
      at = page.complete || last === undefined ? end + step : last.position + step
      for (const row of page.rows) {
        if (actor !== undefined && row.actor !== actor) continue
        rows.push(row)
        if (rows.length < limit) continue
        at = row.position + step
        break
      }
    }
    return {
      rows,
      head,
      scanned: Math.max(0, (at - begin) * step),
      next: (forwards ? at <= highest : at >= lowest) ? at : null
    }
  })
}

/**
 * Tamper evidence: every event of a tenant's log carries a hash of itself and its predecessor, written with the event. An
 * attacker who changes, removes, adds or reorders rows must rewrite all rows after them. A hash that is kept elsewhere reveals
 * even that.
 */
import { Effect, Schema } from "effect"
import * as Event from "../domain/Event.ts"
import * as EventStorage from "../driver/EventStorage.ts"
import { currentTenant } from "../domain/currentTenant.ts"
import { chainStart, eventHash } from "../driver/eventHash.ts"
import { checkIntegers } from "./read.ts"
import {
  PositionDiverged,
  type ReadError,
  type UnknownTenant,
  type TenantRefused
} from "../driver/StoreError.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import { checkEventId } from "../internal/uuid.ts"
import { spanned } from "../telemetry/spanned.ts"

/** A position of a tenant's log with the hash of its event. Kept in another place, it proves all events up to it. */
export interface Anchor {
  readonly position: number
  /** 64 lower-case hexadecimal digits. */
  readonly hash: string
  /**
   * The id of the event. With it, a log that was replaced (restored, or rewritten after a failover) raises `PositionDiverged`.
   * Without it, such a log raises `HashChainBroken` and cannot be told from a forged one.
   */
  readonly eventId?: Event.EventId
}

/** The end of a chain: an anchor with the id of its event. */
export interface Head extends Required<Anchor> {}

/** Schema of an {@link Anchor}, to store it as JSON. */
export const Anchor: Schema.Codec<
  Anchor,
  { readonly position: number; readonly hash: string; readonly eventId?: string }
> = Schema.Struct({
  position: Schema.Int.check(Schema.isGreaterThan(0)),
  hash: Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/)),
  eventId: Schema.optionalKey(Event.EventId)
})

/**
 * Raised when a tenant's log is not what was appended to it.
 *
 * **Details**
 *
 * `position` is the first broken position, with one of these reasons:
 * - `missing`: there is no event at this position, although later positions have one.
 * - `changed`: the event does not match its hash, or does not follow the event before it.
 * - `unlinked`: the event has no hash although it needs one, or has one although it lies before the start of the chain, as
 *   after the chain was switched off and on again.
 * - `anchor`: the event does not have the hash of the anchor, or the log ends before the anchor.
 */
export class HashChainBroken extends Schema.TaggedError<HashChainBroken>()("HashChainBroken", {
  tenantId: Schema.String,
  position: Schema.Int,
  reason: Schema.Literals(["missing", "changed", "unlinked", "anchor"])
}) {
  override get message(): string {
    return `the log of tenant ${this.tenantId} is broken at position ${this.position} (${this.reason}): it is not what was appended`
  }
}

/** Raised when no event of a log to be verified carries a hash. Start the chain first. */
export class NoHashChain extends Schema.TaggedError<NoHashChain>()("NoHashChain", {
  tenantId: Schema.String
}) {
  override get message(): string {
    return `the events of tenant ${this.tenantId} carry no hashes: start the chain with HashChain.start`
  }
}

/**
 * Starts the hash chain of the current tenant: every later event carries a hash. Does nothing if the chain has started.
 * Returns the first position with a hash. To cover the very first event of a new tenant, call `TenantRegistry.provision` and
 * then this.
 *
 * **Gotchas**
 *
 * The library has no way to stop a chain. Events before the start are not covered.
 *
 * The start and the hashes are stored in ordinary rows. In PostgreSQL even the tenant's own SQL (`PgTenant.transaction`) could
 * switch the chain off, because the right to lock the tenant's row includes the right to update it. {@link verify} without
 * `from`, or with an anchor, discovers that afterwards.
 */
export const start: Effect.Effect<
  number,
  ReadError | TenantRefused<UnknownTenant>,
  EventStorage.EventStorage | CurrentTenant
> = Effect.gen(function* () {
  const storage = yield* EventStorage.EventStorage
  return yield* storage.startHashChain(yield* currentTenant)
})

/**
 * The end of the current tenant's chain; undefined if no event carries a hash yet.
 *
 * **When to use**
 *
 * Store it regularly in a place that nobody with access to the database can change. Without it, {@link verify} can find
 * neither the removal of the last events nor a chain that was rewritten from some event on.
 */
export const head: Effect.Effect<Head | undefined, ReadError, EventStorage.EventStorage | CurrentTenant> =
  Effect.gen(function* () {
    const storage = yield* EventStorage.EventStorage
    const tenantId = yield* currentTenant
    const { rows } = yield* storage.readLog({
      ...everything,
      tenantId,
      fromPosition: 1,
      toPosition: Number.MAX_SAFE_INTEGER,
      direction: "backwards",
      limit: 1
    })
    return headOf(rows[0])
  })

const headOf = (row: EventStorage.EventRow | undefined): Head | undefined =>
  row === undefined || row.hash === null
    ? undefined
    : // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is stored as the id of an event is one
      { position: row.position, hash: row.hash, eventId: row.eventId as Event.EventId }

/** The range to verify, and the anchor to verify it against. */
export interface VerifyOptions {
  /**
   * The first position to verify. The hash before it is trusted, and earlier events are not read. The position is limited to
   * the range from the start of the chain to the position after the anchor. Default: the start of the chain; all earlier
   * events must then exist and have no hashes.
   */
  readonly from?: number | undefined
  /** An earlier {@link head}, which the chain must contain or continue. */
  readonly anchor?: Anchor | undefined
  /** Runs after each page, with the last position that was read and that of the end. */
  readonly onProgress?:
    | ((progress: { readonly position: number; readonly end: number }) => Effect.Effect<void>)
    | undefined
}

/** The result of a verification. */
export interface Verified {
  /** The first position that was verified. */
  readonly from: number
  /** Number of verified events. */
  readonly events: number
  /** The end of the chain when the verification began; undefined if no event carries a hash yet. */
  readonly head: Head | undefined
}

/**
 * Verifies the current tenant's log: reads it page by page, computes each hash again, and compares it with the stored one.
 *
 * **Details**
 *
 * Fails at the first broken position. If the anchor has an event id, and the log has another event there or ends before it,
 * `PositionDiverged` is raised instead: a restore, a failover or an attacker has replaced the log. Compare the log with the last
 * backup before you keep a new anchor. An anchor without an event id raises `HashChainBroken` there.
 *
 * Events appended meanwhile are left to the next verification: pass this head to it as the anchor, and the position after it
 * as `from`.
 *
 * Without `from` it reads the whole log from position 1, also the events before the start of the chain, and also if no start
 * is recorded. Only this reveals that the chain was switched off, for a while or for good. It costs one read of all events of
 * the tenant, 500 at a time, and a SHA-256 of each event with a hash. With an anchor and `from` it reads only the new events
 * and still proves them. With `from` alone it trusts all earlier events.
 *
 * **Example**
 *
 * ```ts
 * const audit = Effect.gen(function* () {
 *   const anchor = yield* lastAnchor // from another place
 *   const verified = yield* HashChain.verify({ anchor })
 *   if (verified.head !== undefined) yield* keepAnchor(verified.head)
 * })
 * ```
 */
export const verify = (
  options: VerifyOptions = {}
): Effect.Effect<
  Verified,
  HashChainBroken | NoHashChain | PositionDiverged | ReadError,
  EventStorage.EventStorage | CurrentTenant
> =>
  spanned("verify", undefined, () =>
    Effect.gen(function* () {
      const { anchor } = options
      const storage = yield* EventStorage.EventStorage
      const tenantId = yield* currentTenant
      const broken = (position: number, reason: HashChainBroken["reason"]) =>
        new HashChainBroken({ tenantId, position, reason })
      checkEventId({ anchor: anchor?.eventId })
      const diverged = ({ eventId, position }: Head, actual: string | null) =>
        new PositionDiverged({ tenantId, position, expected: eventId, actual })
      const started = yield* storage.hashChainStart(tenantId)
      if (anchor !== undefined && anchor.position < (started ?? Infinity))
        return yield* broken(anchor.position, "anchor")
      // Without a recorded start, no event may have a hash.
      const chainedFrom = started ?? Infinity
      const { position: end } = yield* storage.head({ tenantId })
      checkIntegers({ from: options.from })
      const from = Math.max(
        1,
        Math.min(
          Math.max(options.from ?? chainedFrom, chainedFrom),
          // Otherwise nothing would prove the events between the anchor and `from`.
          (anchor?.position ?? Infinity) + 1,
          // The start of the chain may have been altered too, so the last event is read in any case.
          end + 1
        )
      )

      // Without `from`, every event is read, because the start of the chain may have been moved. With it, the event before is
      // read for its hash.
      let next = options.from === undefined ? 1 : Math.max(1, from - 1)
      let previous = chainStart
      let last: Head | undefined
      const check = (row: EventStorage.EventRow): HashChainBroken | PositionDiverged | undefined => {
        if (row.position !== next) return broken(next, row.position > next ? "missing" : "changed")
        next++
        if (row.position < chainedFrom)
          return row.hash === null ? undefined : broken(row.position, "unlinked")
        if (row.hash === null) return broken(row.position, "unlinked")
        if (row.position >= from && row.hash !== eventHash(previous, tenantId, row))
          return broken(row.position, "changed")
        if (row.position === anchor?.position) {
          if (hasEventId(anchor) && row.eventId !== anchor.eventId) return diverged(anchor, row.eventId)
          if (row.hash !== anchor.hash) return broken(row.position, "anchor")
        }
        previous = row.hash
        last = headOf(row)
        return undefined
      }

      while (next <= end) {
        const page: EventStorage.Page<EventStorage.EventRow> = yield* storage.readLog({
          ...everything,
          tenantId,
          fromPosition: next,
          toPosition: end,
          direction: "forwards",
          limit: pageSize
        })
        for (const row of page.rows) {
          const failure = check(row)
          if (failure !== undefined) return yield* failure
        }
        if (page.rows.length === 0 || (page.complete && next <= end)) return yield* broken(next, "missing")
        yield* options.onProgress?.({ position: next - 1, end }) ?? Effect.void
      }
      if (started === undefined) return yield* new NoHashChain({ tenantId })
      if (anchor !== undefined && anchor.position > end)
        return yield* hasEventId(anchor) ? diverged(anchor, null) : broken(end + 1, "anchor")
      return { from, events: Math.max(0, end + 1 - from), head: last }
    })
  )

const hasEventId = (anchor: Anchor): anchor is Head => anchor.eventId !== undefined

const pageSize = 500

const everything = {
  recordedFrom: undefined,
  recordedBefore: undefined,
  aggregateTypes: undefined,
  eventTypes: undefined
} as const

/**
 * Tamper evidence: every event of a tenant's log carries a hash over itself and its predecessor, written in the append.
 * Who changes, removes, adds or reorders rows behind the library's back must rewrite all that follow, and cannot do even
 * that where a hash is kept elsewhere.
 */
import { Effect, Schema } from "effect"
import * as EventStorage from "../driver/EventStorage.ts"
import { currentTenant } from "../domain/currentTenant.ts"
import { chainStart, eventHash } from "../driver/eventHash.ts"
import { checkIntegers } from "./read.ts"
import type { ReadError, UnknownTenant, TenantRefused } from "../driver/StoreError.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"

/** A position of a tenant's log and the hash of the event there: kept elsewhere, it vouches for all before it. */
export interface Anchor {
  readonly position: number
  /** 64 lower-case hexadecimal digits. */
  readonly hash: string
}

/** An {@link Anchor}, as JSON to be kept elsewhere. */
export const Anchor: Schema.Codec<Anchor, { readonly position: number; readonly hash: string }> =
  Schema.Struct({
    position: Schema.Int.check(Schema.isGreaterThan(0)),
    hash: Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/))
  })

/**
 * Raised when a tenant's log is not what was appended to it.
 *
 * **Details**
 *
 * `position` is the first that is broken, and `reason` is how:
 * - `missing`: there is no event at this position, though there are some behind it.
 * - `changed`: the event is not the one that its hash was made of, or does not follow the one before it.
 * - `unlinked`: the event has no hash though it must have one; or has one though it lies before the start of the chain, as
 *   after the chain was switched off and on again.
 * - `anchor`: the event has not the hash of the anchor, or the log ends before it.
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

/** Raised when a log is to be verified none of whose events carries a hash: start the chain first. */
export class NoHashChain extends Schema.TaggedError<NoHashChain>()("NoHashChain", {
  tenantId: Schema.String
}) {
  override get message(): string {
    return `the events of tenant ${this.tenantId} carry no hashes: start the chain with HashChain.start`
  }
}

/**
 * Has every further event of the current tenant carry a hash: from now on, or from the first event for a tenant without
 * one: `TenantRegistry.provision` it first. Does nothing if they do. Returns the first position with a hash.
 *
 * **Gotchas**
 *
 * There is no way back in this library. Events from before the start are not covered.
 *
 * Start and hashes are rows like any others. In PostgreSQL even the tenant's own SQL (`PgTenant.transaction`) could switch
 * the chain off: an append locks the tenant's row, and who may lock it may update it. {@link verify} without `from` finds
 * that afterwards, and so does an anchor.
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
 * Keep it now and then where nobody who can write to the database can: the removal of the last events, and a chain that
 * was made anew from some event on, are only found with it.
 */
export const head: Effect.Effect<Anchor | undefined, ReadError, EventStorage.EventStorage | CurrentTenant> =
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
    const last = rows[0]
    return last === undefined || last.hash === null ? undefined : { position: last.position, hash: last.hash }
  })

/** What is verified, and against what. */
export interface VerifyOptions {
  /**
   * The first position that is verified; the hash before it is trusted, and what lies before that is not looked at. A
   * position before the start of the chain stands for the start, one behind the anchor's next one stands for that. Default:
   * the start of the chain, and all that is before it must be there, without hashes.
   */
  readonly from?: number | undefined
  /** What the chain must lead to or on from: what {@link head} gave at an earlier time. */
  readonly anchor?: Anchor | undefined
}

/** What was verified. */
export interface Verified {
  /** The first position that was verified. */
  readonly from: number
  /** How many events. */
  readonly events: number
  /** The end of the chain when the verification began; undefined if no event carries a hash yet. */
  readonly head: Anchor | undefined
}

/**
 * Verifies the current tenant's log: reads it page by page, makes each hash again from what is stored, and compares.
 *
 * **Details**
 *
 * Fails at the first position that is broken. What is appended meanwhile is left to the next time; to go on then, give the
 * head of this time as the anchor, and the position behind it as `from`.
 *
 * Without `from` it reads the whole log from position 1, also what lies before the start of the chain, and also where no
 * start is recorded any more: only so it finds that the chain was switched off for a while, or for good. That costs one read
 * of all events of the tenant, 500 at a time, and a SHA-256 of each that has a hash. With an anchor and `from` it reads only
 * what is new, and finds the same from the anchor on; with `from` alone, it takes what lies before on trust.
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
  HashChainBroken | NoHashChain | ReadError,
  EventStorage.EventStorage | CurrentTenant
> =>
  Effect.gen(function* () {
    const { anchor } = options
    const storage = yield* EventStorage.EventStorage
    const tenantId = yield* currentTenant
    const broken = (position: number, reason: HashChainBroken["reason"]) =>
      new HashChainBroken({ tenantId, position, reason })
    const started = yield* storage.hashChainStart(tenantId)
    if (anchor !== undefined && anchor.position < (started ?? Infinity))
      return yield* broken(anchor.position, "anchor")
    // Where no start is recorded, no event may have a hash.
    const chainedFrom = started ?? Infinity
    const { position: end } = yield* storage.head({ tenantId })
    checkIntegers({ from: options.from })
    const from = Math.max(
      1,
      Math.min(
        Math.max(options.from ?? chainedFrom, chainedFrom),
        // What lies between the anchor and what is verified would be vouched for by nobody.
        (anchor?.position ?? Infinity) + 1,
        // The start of a chain may have been changed as well: the last event is looked at in any case.
        end + 1
      )
    )

    // The start may have been moved behind events with hashes. With a given one, the predecessor is read for its hash.
    let next = options.from === undefined ? 1 : Math.max(1, from - 1)
    let previous = chainStart
    let last: Anchor | undefined
    const check = (row: EventStorage.EventRow): HashChainBroken | undefined => {
      if (row.position !== next) return broken(next, row.position > next ? "missing" : "changed")
      next++
      if (row.position < chainedFrom) return row.hash === null ? undefined : broken(row.position, "unlinked")
      if (row.hash === null) return broken(row.position, "unlinked")
      if (row.position >= from && row.hash !== eventHash(previous, tenantId, row))
        return broken(row.position, "changed")
      if (row.position === anchor?.position && row.hash !== anchor.hash) return broken(row.position, "anchor")
      previous = row.hash
      last = { position: row.position, hash: row.hash }
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
    }
    if (started === undefined) return yield* new NoHashChain({ tenantId })
    if (anchor !== undefined && anchor.position > end) return yield* broken(end + 1, "anchor")
    return { from, events: Math.max(0, end + 1 - from), head: last }
  }).pipe(Effect.withSpan("HashChain.verify"))

const pageSize = 500

const everything = {
  recordedFrom: undefined,
  recordedBefore: undefined,
  aggregateTypes: undefined,
  eventTypes: undefined
} as const

/**
 * Events whose sealed fields this process has opened before. A field takes longer to open than the rest of its event to read, and
 * several readers often want the same events: the projections of a process, or loads of one aggregate.
 *
 * An event is found only by the text that was opened, in the tenant and under the id in which it was opened, and is used only with
 * keys that are valid at that time: see `keyring.ts`.
 */
import type { TenantId } from "../domain/Tenant.ts"

/** An event that was opened. */
export interface OpenedEvent {
  /** The text with the sealed fields. */
  readonly stored: string
  /** The text with the opened fields, none of which is of a forgotten subject. */
  readonly payload: string
  /** The keys that opened it. */
  readonly keyIds: ReadonlyArray<string>
  readonly expiresAt: number
}

type Events = Map<TenantId, Map<string, OpenedEvent>>

/** Bounds of the opened events that a process keeps. */
export interface OpenedLimits {
  /** Characters of both texts of all events. */
  readonly opened: number
  readonly ageMillis: number
}

const sizeOf = ({ payload, stored }: OpenedEvent): number => payload.length + stored.length

/**
 * Two generations: the recent one becomes the former when it has half of the room or is old, and the former one is dropped. An event
 * of the former that is used again becomes recent.
 */
export class OpenedEvents {
  private readonly limits: OpenedLimits
  private recent: Events = new Map()
  private former: Events = new Map()
  /** Characters of the recent generation. */
  private size = 0
  private recentUntil = 0

  constructor(limits: OpenedLimits) {
    this.limits = limits
  }

  /** Finds events of a tenant at a time. */
  of(tenantId: TenantId, now: number): (eventId: string, stored: string) => OpenedEvent | undefined {
    const { former, recent } = this
    const [ofRecent, ofFormer] = [recent.get(tenantId), former.get(tenantId)]
    return (eventId, stored) => {
      const found = ofRecent?.get(eventId)
      const event = found ?? ofFormer?.get(eventId)
      if (event === undefined || event.stored !== stored || event.expiresAt <= now) return undefined
      if (found === undefined) this.add(tenantId, eventId, event, now)
      return event
    }
  }

  set(tenantId: TenantId, eventId: string, event: Omit<OpenedEvent, "expiresAt">, now: number): void {
    // A copy: the text of a page may be a part of a larger one, which it would keep in memory.
    const stored = Buffer.from(event.stored).toString()
    const kept = { ...event, stored, expiresAt: now + this.limits.ageMillis }
    if (sizeOf(kept) <= this.limits.opened / 2) this.add(tenantId, eventId, kept, now)
  }

  /** Drops the events of a tenant. */
  forget(tenantId: TenantId): void {
    for (const event of this.recent.get(tenantId)?.values() ?? []) this.size -= sizeOf(event)
    this.recent.delete(tenantId)
    this.former.delete(tenantId)
  }

  private add(tenantId: TenantId, eventId: string, event: OpenedEvent, now: number): void {
    if (this.size + sizeOf(event) > this.limits.opened / 2 || now >= this.recentUntil) {
      this.former = now >= this.recentUntil + this.limits.ageMillis ? new Map() : this.recent
      this.recent = new Map()
      this.size = 0
      this.recentUntil = now + this.limits.ageMillis
    }
    let events = this.recent.get(tenantId)
    if (events === undefined) this.recent.set(tenantId, (events = new Map<string, OpenedEvent>()))
    const before = events.get(eventId)
    this.size += sizeOf(event) - (before === undefined ? 0 : sizeOf(before))
    events.set(eventId, event)
  }
}

/** The logs of `MemoryStorage`: the events of one tenant, with indexes. */
import type {
  AppendCondition,
  CommandKey,
  CommandRow,
  EventRow,
  NewEventRow,
  StreamAppend,
  StreamRow,
  UsageRow
} from "../driver/EventStorage.ts"
import type {
  CommandKeyRow,
  LegalHold,
  MoveRun,
  Origin,
  Quota,
  TenantState
} from "../driver/AdministrationStorage.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { chainStart, eventHash } from "../driver/eventHash.ts"
import { matches } from "../driver/queryMatch.ts"
import { Subjects } from "./subjects.ts"

/** The outcome of a command with its expiry. */
interface StoredCommand extends CommandRow {
  readonly recordedAt: number
  readonly expiresAt: number
}

/** Days are in UTC. */
export const dayMillis = 86_400_000

/** Number of command keys that each command checks for expiry. */
const sweep = 4

/** The index of the first of ascending numbers that is greater than a limit. */
const firstAbove = (ascending: ReadonlyArray<number>, limit: number): number => {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((ascending[middle] ?? Infinity) > limit) high = middle
    else low = middle + 1
  }
  return low
}

/** The index of a UUID's version digit. */
const versionDigit = 14

/**
 * Finds the events of a log by their ids. Ids of version 7 mostly arrive in ascending order, so an id greater than the last is
 * known to be new at once. As long as all ids do, the log itself is the sorted list; from the first other id on, those that ascend
 * have a list of their own. This takes a fraction of the cost of a map of all ids.
 */
class EventIds {
  readonly #log: ReadonlyArray<EventRow>
  /** Undefined while it would equal the log. */
  #ascending: Array<EventRow> | undefined
  #last = ""
  readonly #others = new Map<string, EventRow>()

  constructor(log: ReadonlyArray<EventRow>) {
    this.#log = log
  }

  /** Adds the last event of the log. */
  add(row: EventRow): void {
    const { eventId } = row
    // a single random id could be greater than all ids that follow
    if (eventId[versionDigit] === "7" && eventId > this.#last) {
      this.#ascending?.push(row)
      this.#last = eventId
    } else {
      this.#ascending ??= this.#log.slice(0, -1)
      this.#others.set(eventId, row)
    }
  }

  copyTo(other: EventIds): void {
    other.#ascending = this.#ascending?.slice()
    other.#last = this.#last
    for (const [eventId, row] of this.#others) other.#others.set(eventId, row)
  }

  find(eventId: string): EventRow | undefined {
    const other = this.#others.size === 0 ? undefined : this.#others.get(eventId)
    if (other !== undefined || eventId > this.#last) return other
    const ascending = this.#ascending ?? this.#log
    let low = 0
    let high = ascending.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const row = ascending[middle]
      if (row === undefined || row.eventId >= eventId) high = middle
      else low = middle + 1
    }
    const found = ascending[low]
    return found?.eventId === eventId ? found : undefined
  }
}

/** The state of a tenant. A transaction shares it with the log that it copies. */
export interface Administered {
  state: Exclude<TenantState, { readonly status: "elsewhere" }>
  /** The token of the import or restoration that made the tenant active. */
  endedBy: string | undefined
  /** The state before the erasure. */
  former: Administered["state"] | undefined
  hold: LegalHold | undefined
  origin: Origin | undefined
  quota: Quota | undefined
  readonly subjects: Subjects
  /** True if no rows remain of a tenant that has moved. */
  purged: boolean
  calledOff: ReadonlyArray<string>
  /** The last run of a move that has taken the tenant over. */
  run: MoveRun | undefined
}

/** One tenant's log. It shares nothing with other tenants. */
export class TenantLog {
  readonly administered: Administered
  readonly tenantId: TenantId
  readonly createdAt: number
  readonly events: Array<EventRow> = []
  /** The first position with a hash. */
  chainedFrom: number | undefined
  readonly #streams = new Map<string, Map<string, Array<EventRow>>>()
  readonly #eventIds = new EventIds(this.events)
  readonly #byTag = new Map<string, Array<number>>()
  readonly #commands = new Map<string, StoredCommand>()
  #swept: IterableIterator<[string, StoredCommand]> | undefined

  constructor(tenantId: TenantId, createdAt: number, administered?: Administered) {
    this.tenantId = tenantId
    this.createdAt = createdAt
    this.administered = administered ?? {
      state: { status: "active" },
      endedBy: undefined,
      former: undefined,
      hold: undefined,
      origin: undefined,
      quota: undefined,
      subjects: new Subjects(),
      purged: false,
      calledOff: [],
      run: undefined
    }
  }

  get status(): Administered["state"]["status"] {
    return this.administered.state.status
  }

  /** A copy that can be changed independently. */
  fork(): TenantLog {
    const copy = new TenantLog(this.tenantId, this.createdAt, this.administered)
    copy.chainedFrom = this.chainedFrom
    for (const row of this.events) copy.events.push(row)
    for (const [type, streams] of this.#streams)
      copy.#streams.set(type, new Map(Array.from(streams, ([id, rows]) => [id, [...rows]])))
    this.#eventIds.copyTo(copy.#eventIds)
    for (const [tag, positions] of this.#byTag) copy.#byTag.set(tag, [...positions])
    for (const [key, command] of this.#commands) copy.#commands.set(key, command)
    return copy
  }

  stream(aggregateType: string, aggregateId: string): ReadonlyArray<EventRow> {
    return this.#streams.get(aggregateType)?.get(aggregateId) ?? []
  }

  version(aggregateType: string, aggregateId: string): number {
    return this.#streams.get(aggregateType)?.get(aggregateId)?.length ?? 0
  }

  /** All streams, in no order. */
  streams(): Array<StreamRow> {
    return Array.from(this.#streams, ([aggregateType, byId]) =>
      Array.from(byId, ([aggregateId, { length: version }]) => ({ aggregateType, aggregateId, version }))
    ).flat()
  }

  byEventId(eventId: string): EventRow | undefined {
    return this.#eventIds.find(eventId)
  }

  /** Adds events of a stream. */
  write({ aggregateId, aggregateType, events }: StreamAppend, now: number): void {
    if (events.length === 0) return
    let ofType = this.#streams.get(aggregateType)
    if (ofType === undefined) this.#streams.set(aggregateType, (ofType = new Map<string, Array<EventRow>>()))
    let rows = ofType.get(aggregateId)
    if (rows === undefined) ofType.set(aggregateId, (rows = []))
    const recordedAt = this.#recordedAt(now)
    for (const event of events)
      this.#add(this.#row(aggregateType, aggregateId, rows.length + 1, recordedAt, event), rows)
  }

  #add(row: EventRow, stream: Array<EventRow>): void {
    this.events.push(row)
    stream.push(row)
    this.#eventIds.add(row)
    for (const tag of row.tags) {
      const tagged = this.#byTag.get(tag)
      if (tagged === undefined) this.#byTag.set(tag, [row.position])
      else tagged.push(row.position)
    }
  }

  /** Adds the next event as it is. */
  restore(row: EventRow): void {
    let ofType = this.#streams.get(row.aggregateType)
    if (ofType === undefined)
      this.#streams.set(row.aggregateType, (ofType = new Map<string, Array<EventRow>>()))
    let rows = ofType.get(row.aggregateId)
    if (rows === undefined) ofType.set(row.aggregateId, (rows = []))
    this.#add(row, rows)
  }

  /** The unexpired commands, in no order. */
  commandKeys(now: number): ReadonlyArray<CommandKeyRow> {
    return Array.from(this.#commands, ([key, { expiresAt, ...command }]) => ({
      key,
      ...command,
      expiresInMillis: expiresAt - now
    })).filter(({ expiresInMillis }) => expiresInMillis > 0)
  }

  /** Stores the outcome of a command as it is. */
  restoreCommand({ expiresInMillis, key, ...command }: CommandKeyRow, now: number): void {
    this.#commands.set(key, { ...command, expiresAt: now + expiresInMillis })
  }

  /** The clock may go back; recorded times never do. */
  #recordedAt(now: number): number {
    const last = this.events.at(-1)?.recordedAt
    return last === undefined || last < now ? now : last
  }

  #row(
    aggregateType: string,
    aggregateId: string,
    version: number,
    recordedAt: number,
    event: NewEventRow
  ): EventRow {
    const row = {
      eventId: event.eventId,
      eventType: event.eventType,
      schemaVersion: event.schemaVersion,
      occurredAt: event.occurredAt,
      actor: event.actor,
      correlationId: event.correlationId,
      causationId: event.causationId,
      metadata: event.metadata,
      payload: event.payload,
      tags: event.tags,
      position: this.events.length + 1,
      aggregateType,
      aggregateId,
      version,
      recordedAt,
      hash: null,
      traceparent: event.traceparent ?? null
    }
    return this.chainedFrom === undefined
      ? row
      : {
          ...row,
          hash: eventHash(
            row.position === this.chainedFrom ? chainStart : (this.events.at(-1)?.hash ?? chainStart),
            this.tenantId,
            row
          )
        }
  }

  /** Usage of each day in a range of time. */
  *usage(from: number, before: number): Generator<Omit<UsageRow, "tenantId">> {
    let first = this.positionAt(from)
    while (first <= this.events.length) {
      const recordedAt = this.events[first - 1]?.recordedAt ?? Infinity
      if (recordedAt >= before) return
      const day = Math.floor(recordedAt / dayMillis) * dayMillis
      const end = this.positionAt(Math.min(day + dayMillis, before))
      const events = this.events.slice(first - 1, end - 1)
      yield {
        day,
        events: events.length,
        bytes: events.reduce(
          (total, { metadata, payload }) => total + Buffer.byteLength(payload) + Buffer.byteLength(metadata),
          0
        ),
        streams: new Set(
          events.map(({ aggregateId, aggregateType }) => this.stream(aggregateType, aggregateId))
        ).size,
        newStreams: events.filter(({ version }) => version === 1).length
      }
      first = end
    }
  }

  /** The first position recorded at or after a time. */
  positionAt(time: number): number {
    let low = 1
    let high = this.events.length + 1
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if ((this.events[middle - 1]?.recordedAt ?? Infinity) >= time) high = middle
      else low = middle + 1
    }
    return low
  }

  /** The first event that a condition rules out, and the first item of its query that the event matches. */
  conflicting({
    after,
    query
  }: AppendCondition): { readonly position: number; readonly item: number } | undefined {
    let position: number | undefined
    for (const item of query) position = this.#firstMatch(item, after, position ?? Infinity) ?? position
    const row = position === undefined ? undefined : this.events[position - 1]
    return row === undefined
      ? undefined
      : { position: row.position, item: query.findIndex((item) => matches([item], row)) }
  }

  #firstMatch(item: AppendCondition["query"][number], seen: number, before: number): number | undefined {
    const query = [item]
    if (item.tags.length === 0) {
      for (let position = seen + 1; position <= this.events.length && position < before; position++) {
        const row = this.events[position - 1]
        if (row !== undefined && matches(query, row)) return position
      }
      return undefined
    }
    // an event with all of the tags has the rarest one
    let tagged: ReadonlyArray<number> | undefined
    for (const tag of item.tags) {
      const positions = this.#byTag.get(tag) ?? []
      if (tagged === undefined || positions.length < tagged.length) tagged = positions
    }
    if (tagged === undefined) return undefined
    for (let at = firstAbove(tagged, seen); at < tagged.length; at++) {
      const position = tagged[at]
      if (position === undefined || position >= before) return undefined
      const row = this.events[position - 1]
      if (row !== undefined && matches(query, row)) return position
    }
    return undefined
  }

  /** The outcome of a command, unless it has expired. */
  command(key: string, now: number): StoredCommand | undefined {
    const stored = this.#commands.get(key)
    return stored === undefined || stored.expiresAt <= now ? undefined : stored
  }

  /** Stores the outcome of a command and removes some expired ones. */
  keepCommand({ expiresInMillis, fingerprint, key }: CommandKey, stream: StreamAppend, now: number): void {
    const { aggregateId, aggregateType, events } = stream
    this.#commands.set(key, {
      fingerprint,
      aggregateType,
      aggregateId,
      version: this.version(aggregateType, aggregateId),
      position: this.events.length,
      events: events.length,
      recordedAt: this.#recordedAt(now),
      expiresAt: now + expiresInMillis
    })
    // continues where the last check ended, so that all keys are checked in turn
    for (let looked = 0; looked < sweep; looked++) {
      const next = (this.#swept ??= this.#commands.entries()).next()
      if (next.done === true) {
        this.#swept = undefined
        return
      }
      const [old, { expiresAt: end }] = next.value
      if (end <= now && old !== key) this.#commands.delete(old)
    }
  }

  /** Number of stored outcomes of commands. */
  get commands(): number {
    return this.#commands.size
  }
}

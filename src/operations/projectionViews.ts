/** Shows the work of projections with a tenant, and their dead letters in groups. */
import { Effect } from "effect"
import type {
  Administered,
  AdministrationStorage,
  DeadLetterRow,
  WorkRow
} from "../driver/AdministrationStorage.ts"
import type { EventRow, EventStorage } from "../driver/EventStorage.ts"
import { type FailureRecord, pausedError, type ProjectionStorage } from "../driver/ProjectionStorage.ts"
import type { ReadError, StorageUnavailable } from "../driver/StoreError.ts"
import { byCodePoints } from "../driver/codePoints.ts"
import { storedTypes } from "../domain/storedTypes.ts"
import type * as Projection from "../projection/Projection.ts"
import { timeOf, timeOrNull } from "./eventView.ts"
import { causesOf, keyOf, type LetterCause, readLetters } from "./letters.ts"
import type { DeadLetterGroup, DeadLetterGroups, ProjectionTotal, ProjectionView } from "./Looks.ts"

/** The storages that the looks read. */
interface Storages {
  readonly events: EventStorage["Service"]
  readonly projections: ProjectionStorage["Service"]
  readonly administration: AdministrationStorage["Service"]
}

/** Maximum number of pending events that are counted. */
const countedEvents = 1000

/** Maximum number of positions that are searched for them. */
const searchedPositions = 50_000

/** A projection with work is stalled if no worker has recorded anything for this time, in milliseconds. */
const stalledAfter = 60_000

const idle: Omit<WorkRow, "projection" | "version" | "tables"> = {
  rebuild: false,
  position: 0,
  parked: false,
  attempts: 0,
  failedPosition: undefined,
  error: undefined,
  failureKind: undefined,
  retryInMillis: undefined,
  servedMillisAgo: undefined
}

/** Relays of the outbox are reactions. */
const kindOf = (projection: Projection.Any | undefined): ProjectionView["kind"] =>
  projection === undefined ? null : projection.kind === "reaction" ? "reaction" : "readModel"

const everything = { recordedFrom: undefined, recordedBefore: undefined } as const

export const makeProjectionViews = (storages: Storages, known: ReadonlyArray<Projection.Any>) => {
  const { administration, events, projections } = storages
  const byKey = new Map(known.map((one) => [keyOf({ projection: one.name, version: one.version }), one]))

  const pendingOf = (
    { aggregates, eventTypes }: Projection.Any,
    { tenantId }: Administered,
    position: number,
    head: number
  ): Effect.Effect<NonNullable<ProjectionView["pending"]>, ReadError> => {
    const end = Math.min(head, position + searchedPositions)
    const count = (
      from: number,
      counted: number
    ): Effect.Effect<NonNullable<ProjectionView["pending"]>, ReadError> =>
      Effect.flatMap(
        events.readLog({
          ...everything,
          tenantId,
          fromPosition: from,
          toPosition: end,
          aggregateTypes: aggregates.map(({ type }) => type),
          eventTypes: storedTypes(aggregates, eventTypes),
          direction: "forwards",
          limit: countedEvents
        }),
        ({ complete, rows }) => {
          const total = counted + rows.length
          const last = rows.at(-1)
          if (complete || last === undefined) return Effect.succeed({ events: total, exact: end === head })
          return total >= countedEvents
            ? Effect.succeed({ events: total, exact: false })
            : count(last.position + 1, total)
        }
      )
    return position >= head ? Effect.succeed({ events: 0, exact: true }) : count(position + 1, 0)
  }

  const rowAt = (
    { tenantId }: Administered,
    position: number
  ): Effect.Effect<EventRow | undefined, ReadError> =>
    Effect.map(
      events.readLog({
        ...everything,
        tenantId,
        fromPosition: position,
        toPosition: position,
        aggregateTypes: undefined,
        eventTypes: undefined,
        direction: "forwards",
        limit: 1
      }),
      ({ rows }) => rows[0]
    )

  const failuresOf = (
    at: Administered,
    { projection, version }: Pick<WorkRow, "projection" | "version">
  ): Effect.Effect<ReadonlyArray<FailureRecord>, ReadError> =>
    projections.failures({ ...at, projection, version })

  const view = Effect.fnUntraced(function* (
    at: Administered,
    row: WorkRow,
    rebuild: WorkRow | undefined,
    head: number
  ): Effect.fn.Return<ProjectionView, ReadError> {
    const projection = byKey.get(keyOf(row))
    const distance = Math.max(0, head - row.position)
    const pending = projection === undefined ? null : yield* pendingOf(projection, at, row.position, head)
    const next = distance === 0 ? undefined : yield* rowAt(at, row.position + 1)
    const failures = row.error === undefined ? [] : yield* failuresOf(at, row)
    const cause = failures.find((one) => !one.rebuild && one.position === row.failedPosition)
    const isIdle = pending === null ? distance === 0 : pending.exact && pending.events === 0
    const waits = row.retryInMillis !== undefined && row.retryInMillis > 0
    const isStalled = !waits && row.servedMillisAgo !== undefined && row.servedMillisAgo > stalledAfter
    return {
      projection: row.projection,
      version: row.version,
      known: projection !== undefined,
      kind: kindOf(projection),
      state: row.parked
        ? row.error === pausedError
          ? "paused"
          : "parked"
        : rebuild !== undefined
          ? "rebuilding"
          : isIdle
            ? "running"
            : isStalled
              ? "stalled"
              : "behind",
      position: row.position,
      head,
      pending,
      distance,
      oldestPendingAt: timeOrNull(next?.recordedAt),
      attempts: row.attempts,
      failedPosition: row.failedPosition ?? null,
      error: row.error ?? null,
      failureKind: row.failureKind ?? null,
      cause:
        cause === undefined
          ? null
          : {
              code: cause.code,
              message: cause.message,
              stack: cause.stack,
              times: cause.times,
              firstAt: timeOf(cause.firstAt),
              lastAt: timeOf(cause.lastAt)
            },
      retryInMillis: row.retryInMillis ?? null,
      servedMillisAgo: row.servedMillisAgo ?? null,
      rebuild:
        rebuild === undefined
          ? null
          : { position: rebuild.position, parked: rebuild.parked, error: rebuild.error ?? null },
      tables: row.tables
    }
  })

  /** The projections that have worked for the tenant, and those of the program. */
  const list = Effect.fnUntraced(function* (
    at: Administered
  ): Effect.fn.Return<ReadonlyArray<ProjectionView>, ReadError> {
    const { position: head } = yield* events.head({ tenantId: at.tenantId })
    const rows = yield* administration.work(at)
    const live = new Map<string, WorkRow>()
    for (const one of known) {
      const row = { ...idle, projection: one.name, version: one.version, tables: one.tables }
      live.set(keyOf(row), row)
    }
    // A rebuild may begin before the first event was handled.
    for (const row of rows)
      if (row.rebuild && !live.has(keyOf(row))) live.set(keyOf(row), { ...row, ...idle })
    for (const row of rows) if (!row.rebuild) live.set(keyOf(row), row)
    const rebuilds = new Map(rows.filter(({ rebuild }) => rebuild).map((row) => [keyOf(row), row]))
    const sorted = [...live.values()].toSorted(
      (one, other) => byCodePoints(one.projection, other.projection) || one.version - other.version
    )
    return yield* Effect.forEach(sorted, (row) => view(at, row, rebuilds.get(keyOf(row)), head), {
      concurrency: 4
    })
  })

  /** Dead letters by projection and version, with the common cause. */
  const deadLetters = Effect.fnUntraced(function* (
    at: Administered,
    limit: number
  ): Effect.fn.Return<DeadLetterGroups, ReadError> {
    const { complete, letters } = yield* readLetters(administration, at, limit)
    const causeOf = yield* causesOf(projections, at, letters)
    const groups = new Map<string, Array<DeadLetterRow>>()
    for (const letter of letters) {
      const key = JSON.stringify([keyOf(letter), causeOf(letter)])
      const group = groups.get(key)
      if (group === undefined) groups.set(key, [letter])
      else group.push(letter)
    }
    return {
      groups: [...groups.values()].flatMap((group) => groupOf(group, causeOf)).toSorted(largestFirst),
      events: letters.length,
      complete
    }
  })

  /** The work of the program's projections with all tenants. */
  const totals: Effect.Effect<ReadonlyArray<ProjectionTotal>, StorageUnavailable> = Effect.map(
    projections.backlog(known.map(({ name, version }) => ({ projection: name, version }))),
    (rows) =>
      rows.map(
        ({ deadLetters: letters, oldestAge, oldestDeadLetter, parked, pending, projection, version }) => ({
          projection,
          version,
          kind: kindOf(byKey.get(keyOf({ projection, version }))),
          pending,
          oldestAgeMillis: oldestAge,
          parked,
          deadLetters: letters,
          oldestDeadLetterMillis: oldestDeadLetter
        })
      )
  )

  return { list, deadLetters, totals }
}

const largestFirst = (one: DeadLetterGroup, other: DeadLetterGroup): number =>
  other.events - one.events || byCodePoints(one.projection, other.projection) || one.version - other.version

const groupOf = (
  letters: ReadonlyArray<DeadLetterRow>,
  causeOf: (letter: DeadLetterRow) => LetterCause
): ReadonlyArray<DeadLetterGroup> => {
  const [first] = letters
  if (first === undefined) return []
  const times = letters.map(({ failedAt }) => failedAt)
  return [
    {
      projection: first.projection,
      version: first.version,
      ...causeOf(first),
      events: letters.length,
      firstAt: timeOf(times.reduce((one, other) => Math.min(one, other))),
      lastAt: timeOf(times.reduce((one, other) => Math.max(one, other))),
      examples: letters.slice(0, 5).map(({ eventId, position }) => ({ position, eventId }))
    }
  ]
}

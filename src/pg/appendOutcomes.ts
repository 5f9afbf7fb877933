/** Decodes the columns of `append.sql` and `append_one.sql` into outcomes of appends. */
import { Exit } from "effect"
import type { AppendReceipt, AppendRequest, CommandRow, TenantStatus } from "../driver/EventStorage.ts"
import { quotaExceeded, tooLarge } from "../driver/quotas.ts"
import { refusalOf } from "../driver/refusals.ts"
import {
  AppendConditionFailed,
  type AppendError,
  CommandKeyConflict,
  EventIdConflict,
  SubjectsForgotten,
  UnknownTenant,
  VersionConflict,
  Conflict,
  PositionDiverged,
  TenantRefused
} from "../driver/StoreError.ts"
import type { Batch } from "./appendBatch.ts"
import type { Answer } from "./groupCommit.ts"

/** The outcome of one append. */
export type Outcome = Answer<AppendReceipt, AppendError>

/** An earlier command. */
interface StoredCommand {
  readonly fingerprint: string
  readonly aggregate_type: string
  readonly aggregate_id: string
  readonly version: number
  readonly position: number
  readonly events: number
  readonly recorded_at: number
}

/** The reason why an append of a batch was not written. `append` is its index in the arrays. */
type Refusal = { readonly append: number } & (
  | { readonly kind: "held" | "absent" | "unknownTenant" | "commandConflict" }
  | { readonly kind: Exclude<TenantStatus, "active"> }
  | { readonly kind: "commandBefore"; readonly command: StoredCommand }
  | { readonly kind: "eventIdConflict"; readonly eventId: string }
  | {
      readonly kind: "replayed"
      readonly positions: ReadonlyArray<number>
      readonly versions: ReadonlyArray<number>
      readonly times: ReadonlyArray<number>
    }
  | {
      readonly kind: "versionConflict"
      /** The index of the stream in the arrays. */
      readonly stream: number
      readonly actual: number
      readonly eventId: string | null
    }
  | {
      readonly kind: "conditionFailed"
      readonly condition: number
      readonly item: number
      readonly position: number
    }
  | { readonly kind: "positionDiverged"; readonly condition: number; readonly eventId: string | null }
  | { readonly kind: "subjectsForgotten"; readonly forgotten: number }
  | { readonly kind: "tooLarge"; readonly limit: "eventBytes" | "appendEvents"; readonly maximum: number }
  | {
      readonly kind: "quotaExceeded"
      readonly quota: "events" | "rate"
      readonly maximum: number
      readonly windowMillis?: number
      readonly retryAfterMillis?: number
    }
)

/** The columns of the only row of `append.sql`, by stream in the order of the arrays. */
export type ResultColumns = readonly [
  heads: ReadonlyArray<number | null>,
  versions: ReadonlyArray<number>,
  times: ReadonlyArray<Date>,
  refusals: ReadonlyArray<Refusal> | null
]

/** The only column of the only row of `append_one.sql`: NULL if it declined the append. */
export type OneColumns = readonly [
  answer: readonly [position: number, version: number, recordedAt: number] | null
]

/** The outcome of `append_one.sql`; undefined if it declined. */
export const decodeOne = ([answer]: OneColumns): Outcome | undefined =>
  answer === null
    ? undefined
    : Exit.succeed({
        replayed: false,
        positions: [answer[0]],
        versions: [answer[1]],
        recordedAt: [answer[2]]
      })

/** Consecutive numbers of events, up to the given last one. */
const upTo = (last: number, events: number): ReadonlyArray<number> =>
  Array.from({ length: events }, (_, index) => last - events + 1 + index)

const conflict = (reason: Conflict["reason"]): Outcome => Exit.fail(new Conflict({ reason }))

/** The outcome of an append that was not written. */
const outcomeOf = (request: AppendRequest, firstStream: number, refusal: Refusal): Outcome => {
  const { command, conditions, streams, tenantId } = request
  switch (refusal.kind) {
    case "held":
    case "absent":
      return refusal.kind
    case "suspended":
    case "importing":
    case "moving":
    case "moved":
    case "erased":
      return Exit.fail(refusalOf(tenantId, refusal.kind))
    case "unknownTenant":
      return Exit.fail(new TenantRefused({ reason: new UnknownTenant({ tenantId }) }))
    case "commandConflict":
      return conflict(new CommandKeyConflict({ tenantId, key: command?.key ?? "" }))
    case "eventIdConflict":
      return conflict(new EventIdConflict({ tenantId, eventId: refusal.eventId }))
    case "replayed": {
      const { positions, times, versions } = refusal
      return Exit.succeed({ replayed: true, positions, versions, recordedAt: times })
    }
    case "commandBefore": {
      const { aggregate_id, aggregate_type, events, fingerprint, position, recorded_at, version } =
        refusal.command
      const row: CommandRow = {
        fingerprint,
        aggregateType: aggregate_type,
        aggregateId: aggregate_id,
        version,
        position,
        events
      }
      return Exit.succeed({
        replayed: true,
        positions: upTo(position, events),
        versions: upTo(version, events),
        recordedAt: upTo(0, events).map(() => recorded_at),
        command: row
      })
    }
    case "versionConflict": {
      const stream = streams[refusal.stream - firstStream]
      const expectedEventId = stream?.expectedEventId
      return conflict(
        new VersionConflict({
          tenantId,
          aggregateType: stream?.aggregateType ?? "",
          aggregateId: stream?.aggregateId ?? "",
          expected: stream?.expectedVersion ?? "any",
          actual: refusal.actual,
          ...(expectedEventId === undefined ? undefined : { expectedEventId, actualEventId: refusal.eventId })
        })
      )
    }
    case "conditionFailed": {
      const { condition, item, position } = refusal
      const after = conditions?.[condition]?.after ?? 0
      return conflict(new AppendConditionFailed({ tenantId, after, condition, item, position }))
    }
    case "positionDiverged": {
      const { after = 0, afterEventId = "" } = conditions?.[refusal.condition] ?? {}
      return Exit.fail(
        new PositionDiverged({ tenantId, position: after, expected: afterEventId, actual: refusal.eventId })
      )
    }
    case "subjectsForgotten":
      return conflict(new SubjectsForgotten({ tenantId, forgotten: refusal.forgotten }))
    case "tooLarge":
      return Exit.fail(tooLarge(request, refusal.limit, refusal.maximum))
    case "quotaExceeded": {
      const { maximum, quota, retryAfterMillis = null, windowMillis = null } = refusal
      return Exit.fail(quotaExceeded(tenantId, quota, maximum, windowMillis, retryAfterMillis))
    }
  }
}

/** The outcomes of a batch, in the order of its requests. */
export const decode = (
  requests: ReadonlyArray<AppendRequest>,
  { entries }: Batch,
  [heads, versions, times, refusals]: ResultColumns
): ReadonlyArray<Outcome> => {
  const refused = new Map<number, Refusal>()
  for (const refusal of refusals ?? []) refused.set(refusal.append, refusal)
  // each is set below: the entries are the requests in another order
  const outcomes: Array<Outcome> = requests.map(() => "held")
  let append = 0
  let place = 0
  for (const { index, request } of entries) {
    const refusal = refused.get(++append)
    if (refusal !== undefined) {
      outcomes[index] = outcomeOf(request, place + 1, refusal)
      place += request.streams.length
      continue
    }
    const receipt = {
      replayed: false,
      positions: new Array<number>(),
      versions: new Array<number>(),
      recordedAt: new Array<number>()
    }
    let unchanged: AppendReceipt["unchanged"]
    for (const { events } of request.streams) {
      const head = heads[place]
      const version = versions[place]
      const time = times[place++]?.getTime()
      if (head === undefined || head === null || version === undefined || time === undefined)
        throw new Error("eventsourcing.append returned no place for a stream")
      for (let event = 1; event <= events.length; event++) {
        receipt.positions.push(head + event)
        receipt.versions.push(version + event)
        receipt.recordedAt.push(time)
      }
      if (events.length === 0) unchanged = { version, position: head }
    }
    outcomes[index] = Exit.succeed(
      request.command === undefined || unchanged === undefined ? receipt : { ...receipt, unchanged }
    )
  }
  return outcomes
}

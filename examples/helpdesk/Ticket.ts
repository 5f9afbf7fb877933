/**
 * A ticket of a help desk: its entries in the desk's log, and the rules for further entries.
 *
 * Not covered: rules about time. The author and the time of an entry are the actor and the time of the event; the rules look
 * at the order of the entries only.
 */
import { type DateTime, Result, Schema } from "effect"
import { Aggregate, Event } from "effect-eventsourcing"

// Events: one per activity of the desk.

/** The desk's classification of a ticket. */
export const Classification = Schema.Struct({
  seriousness: Schema.String,
  seriousness2: Schema.String,
  product: Schema.String,
  responsibleSection: Schema.String,
  serviceLevel: Schema.String,
  serviceType: Schema.String,
  supportSection: Schema.String,
  workgroup: Schema.String
})
export type Classification = typeof Classification.Type

const fields = {
  /** The entry of the desk's log. Its id is also the event's id. */
  entry: Event.EventId,
  /** The new classification, if it has changed. */
  classification: Schema.optionalKey(Classification)
}

const TicketInserted = Schema.TaggedStruct("TicketInserted", fields)
const SeriousnessAssigned = Schema.TaggedStruct("SeriousnessAssigned", fields)
const TicketTakenInCharge = Schema.TaggedStruct("TicketTakenInCharge", fields)
const TicketPutOnWait = Schema.TaggedStruct("TicketPutOnWait", fields)
const UpgradeRequired = Schema.TaggedStruct("UpgradeRequired", fields)
const AnomalyCreated = Schema.TaggedStruct("AnomalyCreated", fields)
const AnomalyResolved = Schema.TaggedStruct("AnomalyResolved", fields)
const InterventionScheduled = Schema.TaggedStruct("InterventionScheduled", fields)
const TicketResolved = Schema.TaggedStruct("TicketResolved", fields)
const TicketClosed = Schema.TaggedStruct("TicketClosed", fields)
// A few tickets come from a bug tracker and have only its verdicts.
const MarkedResolved = Schema.TaggedStruct("MarkedResolved", fields)
const MarkedInvalid = Schema.TaggedStruct("MarkedInvalid", fields)
const MarkedVerified = Schema.TaggedStruct("MarkedVerified", fields)
const MarkedDuplicate = Schema.TaggedStruct("MarkedDuplicate", fields)

const events = [
  TicketInserted,
  SeriousnessAssigned,
  TicketTakenInCharge,
  TicketPutOnWait,
  UpgradeRequired,
  AnomalyCreated,
  AnomalyResolved,
  InterventionScheduled,
  TicketResolved,
  TicketClosed,
  MarkedResolved,
  MarkedInvalid,
  MarkedVerified,
  MarkedDuplicate
] as const

export type TicketEvent = (typeof events)[number]["Type"]
export type Activity = TicketEvent["_tag"]

// Fold: the status of a ticket, by the rules of the desk.

/** Tickets are identified by the name of their case, which is unique within a customer only. */
const CaseName = Schema.NonEmptyString.check(Schema.isMaxLength(255))

const Status = Schema.Literals([
  "new",
  "waiting",
  "inCharge",
  "resolved",
  "closed",
  "markedResolved",
  "markedInvalid",
  "markedVerified",
  "markedDuplicate"
])
type Status = typeof Status.Type

const TicketState = Schema.Struct({
  status: Status,
  classification: Schema.NullOr(Classification),
  /** The recorded entries, so that none is recorded twice. */
  entries: Schema.Array(Event.EventId)
})
export type TicketState = typeof TicketState.Type

interface Rule {
  /** The statuses that allow an activity. */
  readonly from: ReadonlyArray<Status>
  /** The status after the activity. */
  readonly to: Status
}

/**
 * The rules, found in four years of a real desk's log and obeyed by all of its 4,587 tickets. A ticket is closed only right
 * after it was resolved; a closed ticket must be taken in charge before anything else happens to it; and verdicts of the bug
 * tracker do not mix with the work of the desk.
 */
const rules: { readonly [A in Activity]: Rule } = {
  TicketInserted: { from: ["new"], to: "waiting" },
  SeriousnessAssigned: { from: ["new", "waiting", "inCharge", "resolved"], to: "waiting" },
  TicketTakenInCharge: { from: ["new", "waiting", "inCharge", "resolved", "closed"], to: "inCharge" },
  TicketPutOnWait: { from: ["new", "waiting", "inCharge", "resolved"], to: "waiting" },
  UpgradeRequired: { from: ["waiting", "inCharge", "resolved"], to: "waiting" },
  AnomalyCreated: { from: ["new", "waiting", "inCharge"], to: "waiting" },
  AnomalyResolved: { from: ["waiting", "inCharge"], to: "waiting" },
  InterventionScheduled: { from: ["inCharge"], to: "waiting" },
  TicketResolved: { from: ["new", "waiting", "inCharge", "resolved"], to: "resolved" },
  TicketClosed: { from: ["resolved", "closed"], to: "closed" },
  MarkedResolved: { from: ["new"], to: "markedResolved" },
  MarkedInvalid: { from: ["markedResolved"], to: "markedInvalid" },
  MarkedVerified: { from: ["new", "markedInvalid"], to: "markedVerified" },
  MarkedDuplicate: { from: ["markedVerified"], to: "markedDuplicate" }
}

export const Ticket = Aggregate.make(
  "Ticket",
  {
    id: CaseName,
    state: TicketState,
    initial: { status: "new", classification: null, entries: [] },
    events
  },
  // One function over all events, because all have the same effect. The other examples have a handler per event.
  (state, event) => ({
    status: rules[event._tag].to,
    classification: event.classification ?? state.classification,
    entries: [...state.entries, event.entry]
  })
)

// Decisions

/** An entry of the desk's log about a ticket. */
export interface Entry {
  readonly id: Event.EventId
  readonly activity: Activity
  readonly classification: Classification
  readonly actor: string
  readonly occurredAt: DateTime.Utc
}

/** Raised when an entry breaks the rules of the desk. */
export class EntryRefused extends Schema.TaggedError<EntryRefused>()("EntryRefused", {
  entry: Event.EventId,
  activity: Schema.String,
  status: Status
}) {
  override get message(): string {
    return `${this.activity} is not possible on a ticket that is ${this.status}`
  }
}

const sameClassification = Schema.toEquivalence(Schema.NullOr(Classification))

/** Decides on one entry of a ticket. */
const decide = (ticket: TicketState, entry: Entry): Result.Result<TicketEvent, EntryRefused> => {
  const { id, activity, classification } = entry
  if (!rules[activity].from.includes(ticket.status)) {
    return Result.fail(new EntryRefused({ entry: id, activity, status: ticket.status }))
  }
  return Result.succeed(
    sameClassification(ticket.classification, classification)
      ? { _tag: activity, entry: id }
      : { _tag: activity, entry: id, classification }
  )
}

/** The outcome of entries for a ticket. */
export interface Admitted {
  readonly events: ReadonlyArray<Event.NewEvent<TicketEvent>>
  readonly refused: ReadonlyArray<EntryRefused>
}

/** Adds entries to a ticket in their order, as far as the rules allow. Entries that it already has yield no events. */
export const admit = (entries: ReadonlyArray<Entry>, ticket: TicketState): Admitted => {
  const admitted: Array<Event.NewEvent<TicketEvent>> = []
  const refused: Array<EntryRefused> = []
  let state = ticket
  for (const entry of entries) {
    if (state.entries.includes(entry.id)) continue
    const decided = decide(state, entry)
    if (Result.isFailure(decided)) {
      refused.push(decided.failure)
      continue
    }
    state = Ticket.apply(state, decided.success)
    admitted.push(
      Event.make(decided.success, { eventId: entry.id, occurredAt: entry.occurredAt, actor: entry.actor })
    )
  }
  return { events: admitted, refused }
}

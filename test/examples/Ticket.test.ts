import { assert, describe, it } from "@effect/vitest"
import { DateTime, Result } from "effect"
import { Event } from "effect-eventsourcing"
import {
  type Activity,
  admit,
  type Classification,
  type Entry,
  Ticket
} from "../../examples/helpdesk/Ticket.ts"

const classification: Classification = {
  seriousness: "Value 1",
  seriousness2: "Value 1",
  product: "Value 1",
  responsibleSection: "Value 1",
  serviceLevel: "Value 1",
  serviceType: "Value 1",
  supportSection: "Value 1",
  workgroup: "Value 1"
}

const entry = (activity: Activity, changed: Partial<Classification> = {}): Entry => ({
  id: Event.generateId(),
  activity,
  classification: { ...classification, ...changed },
  actor: "Value 2",
  occurredAt: DateTime.makeUnsafe("2010-01-13T08:40:25Z")
})

/** Accepts all entries, or fails with the first refused one. */
const record = (entries: ReadonlyArray<Entry>) => (state: typeof Ticket.initial) => {
  const { events, refused } = admit(entries, state)
  const [first] = refused
  return first === undefined ? Result.succeed(events) : Result.fail(first)
}

const decide = (entries: ReadonlyArray<Entry>, state = Ticket.initial) =>
  Result.map(record(entries)(state), (events) => events.map(({ payload }) => payload))

/** A ticket with these entries. */
const ticketWith = (...entries: ReadonlyArray<Entry>) => Ticket.fold(Result.getOrThrow(decide(entries)))

/** Entries that lead to each status of a ticket. */
const ways = {
  new: [],
  waiting: ["SeriousnessAssigned"],
  inCharge: ["SeriousnessAssigned", "TicketTakenInCharge"],
  resolved: ["SeriousnessAssigned", "TicketTakenInCharge", "TicketResolved"],
  closed: ["SeriousnessAssigned", "TicketTakenInCharge", "TicketResolved", "TicketClosed"],
  markedResolved: ["MarkedResolved"],
  markedInvalid: ["MarkedResolved", "MarkedInvalid"],
  markedVerified: ["MarkedVerified"],
  markedDuplicate: ["MarkedVerified", "MarkedDuplicate"]
} as const satisfies Record<string, ReadonlyArray<Activity>>

/** The rules once more, inverted: the allowed activities by status. */
const next: { readonly [Status in keyof typeof ways]: ReadonlyArray<Activity> } = {
  new: [
    "TicketInserted",
    "SeriousnessAssigned",
    "TicketTakenInCharge",
    "TicketPutOnWait",
    "AnomalyCreated",
    "TicketResolved",
    "MarkedResolved",
    "MarkedVerified"
  ],
  waiting: [
    "SeriousnessAssigned",
    "TicketTakenInCharge",
    "TicketPutOnWait",
    "UpgradeRequired",
    "AnomalyCreated",
    "AnomalyResolved",
    "TicketResolved"
  ],
  inCharge: [
    "SeriousnessAssigned",
    "TicketTakenInCharge",
    "TicketPutOnWait",
    "UpgradeRequired",
    "AnomalyCreated",
    "AnomalyResolved",
    "InterventionScheduled",
    "TicketResolved"
  ],
  resolved: [
    "SeriousnessAssigned",
    "TicketTakenInCharge",
    "TicketPutOnWait",
    "UpgradeRequired",
    "TicketResolved",
    "TicketClosed"
  ],
  closed: ["TicketTakenInCharge", "TicketClosed"],
  markedResolved: ["MarkedInvalid"],
  markedInvalid: ["MarkedVerified"],
  markedVerified: ["MarkedDuplicate"],
  markedDuplicate: []
}

const allActivities: ReadonlyArray<Activity> = [
  "TicketInserted",
  "SeriousnessAssigned",
  "TicketTakenInCharge",
  "TicketPutOnWait",
  "UpgradeRequired",
  "AnomalyCreated",
  "AnomalyResolved",
  "InterventionScheduled",
  "TicketResolved",
  "TicketClosed",
  "MarkedResolved",
  "MarkedInvalid",
  "MarkedVerified",
  "MarkedDuplicate"
]

describe("a ticket of the help desk", () => {
  for (const [status, way] of Object.entries(ways)) {
    it(`that is ${status} accepts the entries that the rules allow, and refuses all others`, () => {
      const ticket = ticketWith(...way.map((activity) => entry(activity)))
      assert.strictEqual(ticket.status, status)
      const allowed = allActivities.filter((activity) => Result.isSuccess(record([entry(activity)])(ticket)))
      assert.deepStrictEqual(allowed, next[status as keyof typeof ways])
    })
  }

  it("is reopened when it is taken in charge after it was closed", () => {
    const reopened = ticketWith(
      ...ways.closed.map((activity) => entry(activity)),
      entry("TicketTakenInCharge")
    )
    assert.strictEqual(reopened.status, "inCharge")
    assert.isTrue(Result.isFailure(decide([entry("TicketClosed")], reopened)))
    assert.isTrue(Result.isSuccess(decide([entry("TicketResolved"), entry("TicketClosed")], reopened)))
  })

  it("accepts all of several entries or none, and names the refused one", () => {
    const closing = entry("TicketClosed")
    const refusal = Result.getOrThrow(Result.flip(decide([entry("TicketInserted"), closing])))
    assert.strictEqual(refusal.entry, closing.id)
    assert.strictEqual(refusal.message, "TicketClosed is not possible on a ticket that is waiting")
  })

  it("accepts an entry once", () => {
    const [first, second] = [entry("TicketResolved"), entry("TicketClosed")]
    const ticket = ticketWith(first, second)
    assert.deepStrictEqual(decide([first, second], ticket), Result.succeed([]))
    assert.deepStrictEqual(decide([second, second], ticketWith(first)), decide([second], ticketWith(first)))
    const third = entry("TicketClosed")
    assert.deepStrictEqual(
      decide([first, second, third], ticket),
      Result.succeed([{ _tag: "TicketClosed", entry: third.id }])
    )
  })

  it("records actor and time of an entry, under the id of the entry", () => {
    const resolved = entry("TicketResolved")
    const [event] = Result.getOrThrow(record([resolved])(Ticket.initial))
    assert.deepStrictEqual(event?.options, {
      eventId: resolved.id,
      actor: "Value 2",
      occurredAt: resolved.occurredAt
    })
  })

  it("records a classification if it is new", () => {
    const entries = [
      entry("TicketInserted"),
      entry("SeriousnessAssigned"),
      entry("SeriousnessAssigned", { seriousness2: "Value 3" }),
      entry("TicketResolved", { seriousness2: "Value 3" })
    ]
    const events = Result.getOrThrow(decide(entries))
    assert.deepStrictEqual(
      events.map((event) => event.classification?.seriousness2),
      ["Value 1", undefined, "Value 3", undefined]
    )
    assert.strictEqual(Ticket.fold(events).classification?.seriousness2, "Value 3")
  })
})

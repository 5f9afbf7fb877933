/**
 * The values that `Operations` returns. Each is a schema whose encoded form is JSON, with descriptions and examples, so that an
 * `HttpApi`, a command line and a page can have them as they are.
 */
import { Schema } from "effect"
import { TenantId } from "../domain/Tenant.ts"
import { Outcome } from "./Acts.ts"

const at = (description: string) =>
  Schema.DateTimeUtcFromString.annotate({ description }).pipe(
    Schema.annotateEncoded({ description, examples: ["2026-11-30T12:00:00.000Z"] })
  )
const tenant = TenantId.pipe(
  Schema.annotateEncoded({
    description: "The id of the tenant.",
    examples: ["0b7d1c7e-3c0e-4f4b-9d0a-6f3f4c1d2a5e"]
  })
)
const position = (description: string) => Schema.Int.annotate({ description, examples: [17] })
const count = (description: string) => Schema.Int.annotate({ description, examples: [3] })
const text = (description: string, example: string) =>
  Schema.String.annotate({ description, examples: [example] })
const millis = (description: string) => Schema.Finite.annotate({ description, examples: [1500] })

const Status = Schema.Literals(["active", "suspended", "importing", "moving", "moved", "erased"]).annotate({
  description: "The state of the tenant in its storage.",
  examples: ["active"]
})

const Hold = Schema.Struct({
  actor: text("The person who set the hold.", "ada"),
  reason: text("The reason for it.", "case 17"),
  heldAt: at("The time at which it was set.")
}).annotate({ description: "A legal hold: nothing of it may be erased." })

const Limits = Schema.Struct({
  events: Schema.NullOr(count("Maximum number of events in the log.")),
  rate: Schema.NullOr(
    Schema.Struct({
      events: count("Maximum number of events in any window."),
      windowMillis: millis("Length of the window in milliseconds.")
    })
  ),
  eventBytes: Schema.NullOr(count("Maximum bytes of an event.")),
  plan: Schema.NullOr(text("The plan that the limits come from.", "standard"))
}).annotate({ description: "The quota of the tenant: limits of its own, or the name of its plan." })

/** A tenant in a list. */
export type TenantSummary = typeof TenantSummary.Type
/** Schema of a tenant in a list. */
export const TenantSummary = Schema.Struct({
  tenantId: tenant,
  status: Status,
  createdAt: at("The time at which it was registered."),
  head: position("The last position of its log; 0 if it is empty."),
  lastAppendAt: Schema.NullOr(at("Recorded time of its last event.")),
  lastDay: count("Number of events in the last 24 hours."),
  lastWeek: count("Number of events in the last 7 days."),
  deadLetters: count("Number of events that projections gave up on."),
  slowest: Schema.NullOr(
    Schema.Struct({
      projection: text("Its name.", "orders"),
      version: count("Its version."),
      distance: count(
        "Number of positions between it and the head, including events that it need not handle."
      )
    })
  ).annotate({ description: "The projection that is farthest behind; null if none has ever worked." }),
  quota: Schema.NullOr(Limits),
  hold: Schema.NullOr(Hold),
  move: Schema.NullOr(text("The id of the move that is under way.", "0197f3b0-1111-7222-8333-444455556666"))
}).annotate({ identifier: "TenantSummary", description: "A tenant with the end of its log and its work." })

/** The place of a tenant in a list. */
export type TenantCursor = typeof TenantCursor.Type
/** Schema of the place of a tenant in a list, to go on after it. */
export const TenantCursor = Schema.Struct({
  value: Schema.Finite.annotate({ description: "The value by which the list is ordered.", examples: [0] }),
  tenantId: tenant
}).annotate({ identifier: "TenantCursor", description: "The last tenant of a page." })

/** A page of tenants. */
export type TenantPage = typeof TenantPage.Type
/** Schema of a page of tenants. */
export const TenantPage = Schema.Struct({
  tenants: Schema.Array(TenantSummary),
  next: Schema.NullOr(TenantCursor).annotate({ description: "The cursor of the next page; null at the end." })
}).annotate({ identifier: "TenantPage", description: "A page of tenants." })

/** A stored event under the operator's grant. */
export type EventView = typeof EventView.Type
/** Schema of a stored event under the operator's grant. */
export const EventView = Schema.Struct({
  position: position("Its position in the tenant's log."),
  eventId: text("Its id.", "0197f3b0-1111-7222-8333-444455556666"),
  aggregateType: text("The type of its aggregate.", "Order"),
  aggregateId: text("The id of its aggregate.", "order-17"),
  version: count("Its version in the stream."),
  eventType: text("Its stored type.", "OrderPlaced"),
  schemaVersion: count("The stored version of its schema."),
  occurredAt: at("The time at which it happened."),
  recordedAt: at("The time at which it was stored."),
  actor: Schema.NullOr(text("The actor.", "ada")),
  correlationId: text("The id that it shares with all events of one cause.", "request-17"),
  causationId: Schema.NullOr(text("The id of the event or command that caused it.", "request-17")),
  traceparent: Schema.NullOr(
    text("Its W3C trace.", "00-11111111111111111111111111111111-2222222222222222-01")
  ),
  tags: Schema.Array(Schema.String).annotate({ description: "Its tags.", examples: [["customer:7"]] }),
  characters: count("Characters of the stored payload."),
  sealed: Schema.Boolean.annotate({
    description: "True if personal fields are left out.",
    examples: [false]
  }),
  stored: Schema.Json.annotate({
    description: "The stored payload under the grant: full, its structure, or null.",
    examples: [{ _tag: "string(11)", total: "number" }]
  }),
  metadata: Schema.Json.annotate({ description: "The metadata under the grant.", examples: [{}] }),
  present: Schema.NullOr(
    Schema.Array(Schema.Json).annotate({ examples: [[{ _tag: "string(11)", total: "number" }]] })
  ).annotate({
    description:
      "The events as which it is read now, after upcasting, under the grant; null if the aggregate is not known or the event cannot be read."
  }),
  unreadable: Schema.NullOr(
    text("The reason why it cannot be read: the tag of the error.", "UnknownSchemaVersion")
  )
}).annotate({ identifier: "EventView", description: "A stored event under the operator's grant." })

/** A page of a log. */
export type LogPage = typeof LogPage.Type
/** Schema of a page of a log. */
export const LogPage = Schema.Struct({
  events: Schema.Array(EventView),
  head: position("The last position of the log."),
  scanned: count("Number of positions that this page has searched."),
  next: Schema.NullOr(position("The position from which the next page goes on.")).annotate({
    description:
      "Null at the end of the range. A page may have no events and go on, because a search is bounded."
  })
}).annotate({ identifier: "LogPage", description: "Events of a log, and the place to go on." })

/** A page of a stream. */
export type StreamPage = typeof StreamPage.Type
/** Schema of a page of a stream. */
export const StreamPage = Schema.Struct({
  events: Schema.Array(EventView),
  version: count("The version of the stream; 0 if it has no events."),
  next: Schema.NullOr(count("The version from which the next page goes on; null at the end."))
}).annotate({ identifier: "StreamPage", description: "Events of one stream." })

/** A step of the difference of two states, as in RFC 6902. */
export type PatchStep = typeof PatchStep.Type
/** Schema of a step of the difference of two states, as in RFC 6902. */
export const PatchStep = Schema.Struct({
  op: Schema.Literals(["add", "remove", "replace"]).annotate({ examples: ["replace"] }),
  path: text("JSON pointer to the place.", "/balance"),
  value: Schema.Json.annotate({
    description: "The new value under the grant; null in a removal.",
    examples: ["number"]
  })
}).annotate({ identifier: "PatchStep", description: "A step of a JSON patch." })

/** The state of an aggregate at a version. */
export type StateView = typeof StateView.Type
/** Schema of the state of an aggregate at a version. */
export const StateView = Schema.Struct({
  aggregateType: text("The type of the aggregate.", "Order"),
  aggregateId: text("The id of the aggregate.", "order-17"),
  version: count("The version of the state: that of the last folded event."),
  latest: count("The version of the stream."),
  known: Schema.Boolean.annotate({ description: "True if the program has the aggregate.", examples: [true] }),
  state: Schema.Json.annotate({
    description: "The state under the grant.",
    examples: [{ balance: "number" }]
  }),
  difference: Schema.Array(PatchStep).annotate({
    description: "The difference to the state before the last folded event. Empty if nothing is shown."
  }),
  unreadable: Schema.NullOr(
    Schema.Struct({
      position: position("The first event that cannot be read."),
      error: text("The tag of the error.", "UnknownEventType")
    })
  ).annotate({ description: "The event at which the fold ended early." }),
  snapshot: Schema.NullOr(
    Schema.Struct({
      version: count("The version of the snapshot."),
      position: position("The position of its last event."),
      stateVersion: count("The version of the fold that made it."),
      takenAt: at("The time at which it was stored."),
      characters: count("Characters of its state."),
      current: Schema.Boolean.annotate({
        description: "True if its stateVersion is that of the aggregate, so that it is used.",
        examples: [true]
      })
    })
  ).annotate({ description: "The stored snapshot of the stream." })
}).annotate({ identifier: "StateView", description: "The folded state of an aggregate at a version." })

/** The events of one correlation id as a graph. */
export type TraceGraph = typeof TraceGraph.Type
/** Schema of the events of one correlation id as a graph. */
export const TraceGraph = Schema.Struct({
  correlationId: text("The correlation id.", "request-17"),
  nodes: Schema.Array(EventView),
  edges: Schema.Array(
    Schema.Struct({
      cause: text("The id of the cause.", "0197f3b0-1111-7222-8333-444455556666"),
      effect: text("The id of the event that it caused.", "0197f3b0-1111-7222-8333-777788889999"),
      known: Schema.Boolean.annotate({
        description: "True if the cause is one of the nodes.",
        examples: [true]
      })
    })
  ),
  next: Schema.NullOr(position("The position from which the search goes on; null at the end of the log."))
}).annotate({ identifier: "TraceGraph", description: "Events of one correlation id, and their causes." })

const ProjectionKind = Schema.NullOr(Schema.Literals(["readModel", "reaction"])).annotate({
  description:
    "readModel: it fills tables. reaction: it acts outside, as reactions and relays of the outbox do. null: the program does not have it.",
  examples: ["readModel"]
})

/** The work of a projection with a tenant. */
export type ProjectionView = typeof ProjectionView.Type
/** Schema of the work of a projection with a tenant. */
export const ProjectionView = Schema.Struct({
  projection: text("Its name.", "orders"),
  version: count("Its version."),
  known: Schema.Boolean.annotate({
    description: "True if the program has the projection.",
    examples: [true]
  }),
  kind: ProjectionKind,
  state: Schema.Literals(["running", "behind", "stalled", "parked", "paused", "rebuilding"]).annotate({
    description:
      "running: it has handled everything. behind: it has work. stalled: it has work, and no worker has recorded progress for a minute. parked: a failure has stopped it. paused: an operator has stopped it. rebuilding: a rebuild is under way.",
    examples: ["running"]
  }),
  position: position("The last position in its read model."),
  head: position("The last position of the log."),
  pending: Schema.NullOr(
    Schema.Struct({
      events: count("Number of events that it still has to handle."),
      exact: Schema.Boolean.annotate({
        description: "False if there may be more, because a count is bounded.",
        examples: [true]
      })
    })
  ).annotate({ description: "Its remaining work; null if the program does not have the projection." }),
  distance: count("Number of positions to the head."),
  oldestPendingAt: Schema.NullOr(at("Recorded time of the event after its position.")),
  attempts: count("Number of times that the failed event has failed."),
  failedPosition: Schema.NullOr(position("The failed event.")),
  error: Schema.NullOr(text("Summary of the last failure, without any payload.", "Error")),
  failureKind: Schema.NullOr(Schema.Literals(["handler", "storage", "schema"])),
  cause: Schema.NullOr(
    Schema.Struct({
      code: Schema.NullOr(text("The code that the storage gave.", "none")),
      message: text("The message; values of the event are masked.", "unknown product"),
      stack: text("The stack; values of the event are masked.", "Error: unknown product"),
      times: count("Number of failures at this event."),
      firstAt: at("The first of them."),
      lastAt: at("The last of them.")
    })
  ),
  retryInMillis: Schema.NullOr(millis("Milliseconds until the next attempt.")),
  servedMillisAgo: Schema.NullOr(
    millis("Milliseconds since a worker last recorded progress; null if that is unknown.")
  ),
  rebuild: Schema.NullOr(
    Schema.Struct({
      position: position("The last position in the rebuilt read model."),
      parked: Schema.Boolean.annotate({ examples: [false] }),
      error: Schema.NullOr(text("Summary of its last failure.", "Error"))
    })
  ),
  tables: Schema.Array(Schema.String).annotate({
    description: "The read models that it fills.",
    examples: [["orders"]]
  })
}).annotate({ identifier: "ProjectionView", description: "The work of a projection with a tenant." })

/** The work of a projection with all tenants. */
export type ProjectionTotal = typeof ProjectionTotal.Type
/** Schema of the work of a projection with all tenants. */
export const ProjectionTotal = Schema.Struct({
  projection: text("Its name.", "orders"),
  version: count("Its version."),
  pending: count("Number of positions that are not in its read models, as of the last sweep of the runners."),
  oldestAgeMillis: millis("Milliseconds since the oldest of them was recorded."),
  parked: count("Number of tenants for which it, or a rebuild of it, is parked."),
  kind: ProjectionKind,
  deadLetters: count("Number of its dead letters."),
  oldestDeadLetterMillis: millis("Milliseconds since the oldest of them failed for the last time.")
}).annotate({ identifier: "ProjectionTotal", description: "The work of a projection with all tenants." })

/** Dead letters with a common cause. */
export type DeadLetterGroup = typeof DeadLetterGroup.Type
/** Schema of dead letters with a common cause. */
export const DeadLetterGroup = Schema.Struct({
  projection: text("The projection.", "orders"),
  version: count("Its version."),
  kind: Schema.NullOr(Schema.Literals(["handler", "storage", "schema"])).annotate({
    description: "The kind of failure; null if its cause is no longer kept."
  }),
  error: text("Summary of the failure, without any payload.", "Error"),
  frame: Schema.NullOr(
    text("The first frame of the stack; null if its cause is no longer kept.", "at handle (orders.ts:17:3)")
  ),
  events: count("Number of dead letters in the group."),
  firstAt: at("The first of them."),
  lastAt: at("The last of them."),
  examples: Schema.Array(
    Schema.Struct({ position: position("Its position."), eventId: text("Its id.", "0197f3b0-…") })
  ).annotate({ description: "Up to five of them, in the order of the log." })
}).annotate({ identifier: "DeadLetterGroup", description: "Dead letters with a common cause." })

/** Dead letters of a tenant in groups. */
export type DeadLetterGroups = typeof DeadLetterGroups.Type
/** Schema of the dead letters of a tenant in groups. */
export const DeadLetterGroups = Schema.Struct({
  groups: Schema.Array(DeadLetterGroup),
  events: count("Number of dead letters in all groups."),
  complete: Schema.Boolean.annotate({
    description: "False if the tenant has more than were read.",
    examples: [true]
  })
}).annotate({
  identifier: "DeadLetterGroups",
  description: "Dead letters of a tenant, the largest group first."
})

/** A subject that was forgotten or is held. */
export type SubjectView = typeof SubjectView.Type
/** Schema of a subject that was forgotten or is held. */
export const SubjectView = Schema.Struct({
  subject: text("The id of the person.", "customer-7"),
  forgotten: Schema.NullOr(
    Schema.Struct({
      forgetting: text("The id of the forgetting.", "0197f3b0-1111-7222-8333-444455556666"),
      forgottenAt: at("The time of the forgetting."),
      allowedAgainAt: Schema.NullOr(at("The time from which new data is allowed again.")),
      actor: text("The actor.", "ada"),
      reason: text("The reason.", "request 17")
    })
  ),
  underWay: Schema.Boolean.annotate({
    description: "True if a forgetting has begun and not ended.",
    examples: [false]
  }),
  hold: Schema.NullOr(Hold)
}).annotate({ identifier: "SubjectView", description: "A person who was forgotten, or must not be." })

/** A page of subjects. */
export type SubjectPage = typeof SubjectPage.Type
/** Schema of a page of subjects. */
export const SubjectPage = Schema.Struct({
  subjects: Schema.Array(SubjectView),
  next: Schema.NullOr(text("The subject after which the next page begins; null at the end.", "customer-7"))
}).annotate({ identifier: "SubjectPage", description: "Subjects of a tenant, ordered by id." })

/** A recorded verification of a hash chain. */
export type ChainVerification = typeof ChainVerification.Type
/** Schema of a recorded verification of a hash chain. */
export const ChainVerification = Schema.Struct({
  accessId: text("The id of its record.", "0197f3b0-1111-7222-8333-444455556666"),
  verifiedAt: at("The time at which it ended."),
  actor: text("The person or program.", "ada"),
  events: Schema.NullOr(count("Number of proved events; null if it failed.")),
  anchor: Schema.NullOr(
    Schema.Struct({
      position: position("The end of the chain at that time."),
      eventId: text("The id of the event there.", "0197f3b0-1111-7222-8333-444455556666"),
      hash: text("The hash of the event there.", "0".repeat(64))
    })
  ).annotate({
    description:
      "An anchor, which proves all events up to it as long as this record is not forged; null if it failed, or without events."
  }),
  problem: Schema.NullOr(text("The failure; null if the chain is as it was appended.", "the log … is broken"))
}).annotate({ identifier: "ChainVerification", description: "A recorded verification of a hash chain." })

/** An unfinished move of a tenant. */
export type MoveView = typeof MoveView.Type
/** Schema of an unfinished move of a tenant. */
export const MoveView = Schema.Struct({
  id: text("Its id.", "0197f3b0-1111-7222-8333-444455556666"),
  from: Schema.NullOr(text("The placement that it leads from; null if unknown here.", "eu-1")),
  to: Schema.NullOr(text("The placement that it leads to; null if unknown here.", "eu-2")),
  step: Schema.Literals(["copying", "fenced", "decided", "removing", "calledOff"]).annotate({
    description:
      "copying: appends go on. fenced: appends wait. decided: the tenant is at its target. removing: rows are left at the source. calledOff: the copy is left.",
    examples: ["copying"]
  }),
  end: Schema.NullOr(position("The last position at the source; null if unknown here.")),
  copied: Schema.NullOr(position("The last position at the target; null if unknown here.")),
  leaseMillis: Schema.NullOr(
    millis(
      "Milliseconds for which a process keeps it; 0 if any process may carry it on, null if unknown here."
    )
  )
}).annotate({ identifier: "MoveView", description: "An unfinished move of a tenant." })

/** The hash chain of a tenant. */
export type ChainView = typeof ChainView.Type
/** Schema of the hash chain of a tenant. */
export const ChainView = Schema.Struct({
  started: Schema.Boolean.annotate({ description: "True if the chain was started.", examples: [true] }),
  from: Schema.NullOr(position("The first position with a hash.")),
  head: position("The last position of the log."),
  eventId: Schema.NullOr(text("The id of the event there.", "0197f3b0-1111-7222-8333-444455556666")),
  hash: Schema.NullOr(text("The hash of the event there; an anchor, if kept elsewhere.", "0".repeat(64))),
  verifications: Schema.Array(ChainVerification).annotate({
    description: "The last ten verifications on record, the newest first."
  })
}).annotate({ identifier: "ChainView", description: "The hash chain of a tenant. It is not verified here." })

/** A recorded access. */
export type AccessView = typeof AccessView.Type
/** Schema of a recorded access. */
export const AccessView = Schema.Struct({
  accessId: text("The id of the record.", "0197f3b0-1111-7222-8333-444455556666"),
  accessedAt: at("The time of the access."),
  actor: text("The person or program.", "ada"),
  reason: text("The reason.", "alert 17"),
  operation: text("The operation.", "Operations.log 0b7d1c7e-3c0e-4f4b-9d0a-6f3f4c1d2a5e payloads masked"),
  parameters: Schema.Json.annotate({
    description: "The parameters of an action; null for a look.",
    examples: [{ dryRun: false }]
  }),
  completedAt: Schema.NullOr(
    at(
      "The time at which the action ended; null while it runs, after its process was killed, and for a look."
    )
  ),
  outcome: Schema.NullOr(Outcome)
}).annotate({ identifier: "AccessView", description: "A recorded look or action." })

/** A page of recorded accesses. */
export type AccessPage = typeof AccessPage.Type
/** Schema of a page of recorded accesses. */
export const AccessPage = Schema.Struct({
  accesses: Schema.Array(AccessView),
  next: Schema.NullOr(
    text(
      "The access before which the next page begins; null at the end.",
      "0197f3b0-1111-7222-8333-444455556666"
    )
  )
}).annotate({ identifier: "AccessPage", description: "Recorded accesses, the newest first." })

/**
 * The requests, answers and failures of `Actions`. Each is a schema whose encoded form is JSON, with descriptions and examples, so that
 * an `HttpApi`, a command line and a page can have them as they are.
 */
import { Schema } from "effect"
import { TenantId } from "../domain/Tenant.ts"

const count = (description: string) => Schema.Int.annotate({ description, examples: [3] })
const text = (description: string, example: string) =>
  Schema.String.annotate({ description, examples: [example] })
const millis = (description: string) => Schema.Finite.annotate({ description, examples: [1500] })
const positive = (description: string) =>
  Schema.Int.check(Schema.isGreaterThan(0)).annotate({ description, examples: [3] })

const dryRun = Schema.optional(
  Schema.Boolean.annotate({
    description: "True to count the effects of the action and to change nothing. Default: false.",
    examples: [true]
  })
)

const projection = text("The name of a projection.", "orders")
const version = positive("Its version. Default: all versions that there are.")

/** The names of all actions. */
export type ActionName = typeof ActionName.Type
/** Schema of the names of all actions. */
export const ActionName = Schema.Literals([
  "provisionTenant",
  "suspendTenant",
  "resumeTenant",
  "holdTenant",
  "releaseTenant",
  "setQuota",
  "clearQuota",
  "pauseProjections",
  "pauseProjectionsOfAll",
  "resumeProjections",
  "resumeProjectionsOfAll",
  "rebuild",
  "rebuildAll",
  "cancelRebuild",
  "cancelRebuildAll",
  "retire",
  "retryDeadLetters",
  "discardDeadLetters",
  "verify",
  "verifyAll",
  "export",
  "import",
  "abandonImport",
  "move",
  "resumeMove",
  "abortMove",
  "erase",
  "undoErasure",
  "finishErasure",
  "forget",
  "allowAgain",
  "holdSubject",
  "releaseSubject"
]).annotate({ identifier: "ActionName", description: "The name of an action.", examples: ["suspendTenant"] })

/** A request without parameters. */
export type Plain = typeof Plain.Type
/** Schema of a request without parameters. */
export const Plain = Schema.Struct({ dryRun }).annotate({
  identifier: "PlainAction",
  description: "An action without parameters."
})

/** A quota to set. */
export type SetQuota = typeof SetQuota.Type
/** Schema of a quota to set: limits of the tenant's own, or the name of a plan. */
export const SetQuota = Schema.Struct({
  dryRun,
  quota: Schema.Union([
    Schema.Struct({ plan: text("The name of a defined plan.", "standard") }),
    Schema.Struct({
      events: Schema.optional(positive("Maximum number of events in the log. Default: no limit.")),
      rate: Schema.optional(
        Schema.Struct({
          events: positive("Maximum number of events in any window."),
          windowMillis: positive("Length of the window in milliseconds.")
        })
      ),
      eventBytes: Schema.optional(positive("Maximum bytes of an event. Default: no limit."))
    })
  ]).annotate({ description: "Limits of the tenant's own, or its plan.", examples: [{ plan: "standard" }] })
}).annotate({ identifier: "SetQuota", description: "A quota to set." })

/** Projections to act on. */
export type ProjectionFilter = typeof ProjectionFilter.Type
/** Schema of projections to act on. */
export const ProjectionFilter = Schema.Struct({
  dryRun,
  projection: Schema.optional(projection.annotate({ description: "Default: every projection." })),
  version: Schema.optional(version)
}).annotate({ identifier: "ProjectionFilter", description: "Projections to act on." })

/** A rebuild. */
export type Rebuild = typeof Rebuild.Type
/** Schema of a rebuild. */
export const Rebuild = Schema.Struct({
  dryRun,
  projection,
  version: Schema.optional(positive("Its version. Default: the highest one that the program has.")),
  restart: Schema.optional(
    Schema.Boolean.annotate({
      description: "True to start over a rebuild that is under way. Default: false.",
      examples: [false]
    })
  )
}).annotate({ identifier: "RebuildAction", description: "A rebuild of a projection." })

/** A version of a projection. */
export type ProjectionVersion = typeof ProjectionVersion.Type
/** Schema of a version of a projection. */
export const ProjectionVersion = Schema.Struct({
  dryRun,
  projection,
  version: positive("Its version.")
}).annotate({ identifier: "ProjectionVersion", description: "A version of a projection." })

/** Dead letters to act on. */
export type DeadLetterFilter = typeof DeadLetterFilter.Type
/** Schema of dead letters to act on. Everything that is given must fit. */
export const DeadLetterFilter = Schema.Struct({
  dryRun,
  projection: Schema.optional(projection.annotate({ description: "Default: every projection." })),
  version: Schema.optional(version),
  kind: Schema.optional(
    Schema.Literals(["handler", "storage", "schema"]).annotate({
      description: "The kind of failure. One whose cause is no longer kept does not match. Default: any."
    })
  ),
  error: Schema.optional(text("The summary of the failure, to the letter. Default: any.", "Error")),
  frame: Schema.optional(
    text("The first frame of the stack, as groups of dead letters have it. Default: any.", "at handle (…)")
  ),
  eventTypes: Schema.optional(
    Schema.Array(Schema.String).annotate({
      description: "Stored types of the events. An empty list selects nothing. Default: any.",
      examples: [["OrderPlaced"]]
    })
  ),
  fromPosition: Schema.optional(count("The first position. Default: the beginning.")),
  toPosition: Schema.optional(count("The last position. Default: the end.")),
  olderThanMillis: Schema.optional(
    millis("Milliseconds that have passed at least since the last failure. Default: 0.")
  )
}).annotate({ identifier: "DeadLetterFilter", description: "Dead letters to act on." })

/** A verification of a hash chain. */
export type Verify = typeof Verify.Type
/** Schema of a verification of a hash chain. */
export const Verify = Schema.Struct({
  dryRun,
  from: Schema.optional(positive("The first position to prove. Default: the whole log.")),
  anchor: Schema.optional(
    Schema.Struct({
      position: positive("The position of the anchor."),
      hash: text("The hash that was kept elsewhere.", "0".repeat(64)),
      eventId: Schema.optional(text("The id of the event there.", "0197f3b0-1111-7222-8333-444455556666"))
    }).annotate({ description: "An anchor that was kept elsewhere. Default: none." })
  )
}).annotate({ identifier: "VerifyAction", description: "A verification of a hash chain." })

/** An export. */
export type Export = typeof Export.Type
/** Schema of an export. */
export const Export = Schema.Struct({
  compression: Schema.optional(
    Schema.Literals(["gzip", "zstd"]).annotate({
      description: "Compresses each file of the archive. Default: none."
    })
  )
}).annotate({ identifier: "ExportAction", description: "An export of a tenant as a tar file." })

/** An import. */
export type Import = typeof Import.Type
/** Schema of an import. */
export const Import = Schema.Struct({
  dryRun,
  fromOther: Schema.optional(
    Schema.Boolean.annotate({
      description: "True to import the archive of another tenant. Default: false, which refuses one.",
      examples: [false]
    })
  )
}).annotate({ identifier: "ImportAction", description: "An import of an archive." })

/** A move. */
export type Move = typeof Move.Type
/** Schema of a move. */
export const Move = Schema.Struct({ dryRun, to: text("The placement to move to.", "eu-2") }).annotate({
  identifier: "MoveAction",
  description: "A move of the tenant to another database."
})

/** An erasure. */
export type Erase = typeof Erase.Type
/** Schema of an erasure. */
export const Erase = Schema.Struct({
  dryRun,
  delayMillis: Schema.optional(
    Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)).annotate({
      description:
        "Milliseconds for which the rows stay and the erasure can be undone. Default: 0, to remove them now.",
      examples: [604_800_000]
    })
  )
}).annotate({ identifier: "EraseAction", description: "An erasure of the tenant." })

/** A person. */
export type Subject = typeof Subject.Type
/** Schema of a person. */
export const Subject = Schema.Struct({
  dryRun,
  subject: text("The id of the person.", "customer-7")
}).annotate({
  identifier: "SubjectAction",
  description: "An action on a person. The record of it does not name the person."
})

const unknown = (description: string) => Schema.NullOr(count(`${description}; null if unknown.`))

/** The effects of an action in numbers. */
export type Counts = typeof Counts.Type
/** Schema of the effects of an action in numbers. A number is null if the action has no such effects, or if it is unknown. */
export const Counts = Schema.Struct({
  tenants: unknown("Number of tenants"),
  projections: unknown("Number of projections of these tenants"),
  events: unknown("Number of events"),
  deadLetters: unknown("Number of dead letters"),
  subjects: unknown("Number of persons"),
  rows: unknown("Number of rows"),
  bytes: unknown("Number of bytes")
}).annotate({ identifier: "ActionCounts", description: "The effects of an action in numbers." })

/** The end of an action. */
export type Done = typeof Done.Type
/** Schema of the end of an action, or of its dry run. */
export const Done = Schema.Struct({
  accessId: text("The id of its record.", "0197f3b0-1111-7222-8333-444455556666"),
  action: ActionName,
  tenantId: Schema.NullOr(
    TenantId.pipe(Schema.annotateEncoded({ examples: ["0b7d1c7e-3c0e-4f4b-9d0a-6f3f4c1d2a5e"] }))
  ).annotate({ description: "Null for an action on all tenants." }),
  dryRun: Schema.Boolean.annotate({ description: "True if nothing was changed.", examples: [false] }),
  changed: Schema.Boolean.annotate({
    description: "True if the action changed anything; in a dry run, if it would.",
    examples: [true]
  }),
  counts: Counts,
  details: Schema.Record(Schema.String, Schema.Json).annotate({
    description: "More of the outcome, by name, such as the former status of a tenant.",
    examples: [{ formerStatus: "active" }]
  })
}).annotate({ identifier: "ActionDone", description: "The end of an action, or of its dry run." })

/** The progress of an action. */
export type Progress = typeof Progress.Type
/** Schema of the progress of an action. */
export const Progress = Schema.Struct({
  accessId: text("The id of its record.", "0197f3b0-1111-7222-8333-444455556666"),
  step: text("The step that is under way.", "copying"),
  unit: Schema.Literals(["events", "tenants", "deadLetters", "rows", "bytes"]).annotate({
    description: "The unit of the numbers.",
    examples: ["events"]
  }),
  done: count("The number that is done."),
  total: Schema.NullOr(count("The number of all. It may grow; null if it is unknown.")),
  result: Schema.NullOr(Done).annotate({ description: "The end of the action, in the last element alone." })
}).annotate({ identifier: "ActionProgress", description: "The progress of an action." })

/** The recorded outcome of an action. */
export type Outcome = typeof Outcome.Type
/** Schema of the recorded outcome of an action. */
export const Outcome = Schema.Union([
  Schema.Struct({
    status: Schema.Literal("succeeded"),
    changed: Schema.Boolean,
    counts: Counts,
    details: Schema.Record(Schema.String, Schema.Json)
  }),
  Schema.Struct({
    status: Schema.Literal("failed"),
    error: text("The tag of the error.", "TenantHeld"),
    message: Schema.NullOr(
      text("Its message; null if it might name a person.", "tenant … must not be erased")
    )
  }),
  /** The caller ended it early, or its process shut down. */
  Schema.Struct({ status: Schema.Literal("interrupted") })
]).annotate({
  identifier: "ActionOutcome",
  description:
    "The recorded outcome of an action. interrupted: the caller ended it early, or its process shut down.",
  examples: [{ status: "interrupted" }]
})

const failure = {
  action: ActionName,
  accessId: text("The id of the record of the action.", "0197f3b0-1111-7222-8333-444455556666")
}

/** Raised when the program lacks a part that an action needs. Nothing was changed. */
export class ActionUnavailable extends Schema.TaggedError<ActionUnavailable>()("ActionUnavailable", {
  ...failure,
  /** The missing part, for example `TenantMove`. */
  missing: Schema.String
}) {
  override get message(): string {
    return `${this.action} is not available in this program: provide ${this.missing}`
  }
}

/** Raised when the state of the store, or the request, does not allow an action. Nothing was changed. */
export class ActionRefused extends Schema.TaggedError<ActionRefused>()("ActionRefused", {
  ...failure,
  /** The tag of the error of the service below, for example `TenantHeld`. */
  error: Schema.String,
  /** A sentence that describes the obstacle and its remedy. */
  problem: Schema.String
}) {
  override get message(): string {
    return `${this.action} is refused: ${this.problem}`
  }
}

/** Raised when an action failed on its way. The changes up to there remain; repeat the action after the cause is removed. */
export class ActionFailed extends Schema.TaggedError<ActionFailed>()("ActionFailed", {
  ...failure,
  /** The tag of the error of the service below, for example `RebuildParked`. */
  error: Schema.String,
  /** A sentence that describes the failure. */
  problem: Schema.String
}) {
  override get message(): string {
    return `${this.action} failed: ${this.problem}`
  }
}

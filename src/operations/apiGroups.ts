/** The description of the operations over HTTP with all its types, which are too large to be published: `OperationsApi` has it without them. */
import { Schema } from "effect"
import {
  HttpApi,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSchema,
  OpenApi
} from "effect/http-api"
import { TenantId } from "../domain/Tenant.ts"
import * as Problem from "../http/Problem.ts"
import { ActionsGroup } from "./actionsApi.ts"
import { documented } from "./apiDocs.ts"
import * as Looks from "./Looks.ts"
import { headerSchemas } from "./operatorHeaders.ts"
import { OperatorAccess } from "./OperatorAccess.ts"
import { Payloads } from "./PayloadGrant.ts"

const optional = Schema.optionalKey
const text = optional(Schema.String)
const texts = optional(Schema.Array(Schema.String))
const within = (minimum: number, maximum: number) =>
  optional(Schema.Int.check(Schema.isBetween({ minimum, maximum })))
const position = within(0, Number.MAX_SAFE_INTEGER)
const limit = within(1, 1000)
const bounds = { limit, scan: within(1, 1_000_000) }
const filter = {
  eventTypes: texts,
  tags: texts,
  aggregateType: text,
  aggregateId: text,
  actor: text,
  correlationId: text
}

const errors = [Problem.InvalidInput, Problem.Unavailable, Problem.InternalServerError] as const

const headers = headerSchemas
const ofTenant = { params: { tenantId: TenantId }, headers, error: errors } as const
const ofAll = { headers, error: errors } as const

/** The end of a live log because of a failure. */
export class TailEnded extends Schema.TaggedError<TailEnded>()("TailEnded", {
  /** True if following again can help. */
  retryable: Schema.Boolean
}) {
  override get message(): string {
    return this.retryable ? "the live log ended: follow it again" : "the live log ended"
  }
}

/** The operator of the request, for a page that shows which things are possible. */
const Me = Schema.Struct({
  actor: Schema.String.annotate({ description: "The operator.", examples: ["ada"] }),
  tenants: Schema.NullOr(
    Schema.Array(TenantId).annotate({ examples: [[TenantId.make("0b7d1c7e-3c0e-4f4b-9d0a-6f3f4c1d2a5e")]] })
  ).annotate({ description: "The tenants that the operator sees; null for all." }),
  payloads: Payloads,
  personal: Schema.Boolean.annotate({
    description: "True if the operator may open personal data.",
    examples: [false]
  }),
  may: Schema.Literals(["look", "act"]).annotate({
    description: "look: every action is refused.",
    examples: ["look"]
  })
}).annotate({ identifier: "Me", description: "The operator of the request, and the operator's rights." })

/**
 * The looks, one endpoint each.
 *
 * @internal
 */
class LooksGroup extends HttpApiGroup.make("looks")
  .add(
    HttpApiEndpoint.get("me", "/me", { ...ofAll, success: Me }).annotateMerge(
      documented("The operator", "The operator of the request, and what the operator may see and do.")
    ),
    HttpApiEndpoint.get("tenants", "/tenants", {
      ...ofAll,
      query: {
        order: optional(Schema.Literals(["id", "head", "lastAppend", "deadLetters", "distance"])),
        statuses: optional(
          Schema.Array(Schema.Literals(["active", "suspended", "importing", "moving", "moved", "erased"]))
        ),
        prefix: text,
        afterValue: optional(Schema.Finite),
        afterTenant: optional(TenantId),
        limit
      },
      success: Looks.TenantPage
    }).annotateMerge(
      documented(
        "Tenants",
        "Tenants with the ends of their logs and their work. An operator of some tenants gets those alone."
      )
    ),
    HttpApiEndpoint.get("log", "/tenants/:tenantId/log", {
      ...ofTenant,
      query: {
        ...filter,
        ...bounds,
        recordedFrom: optional(Schema.DateTimeUtcFromString),
        recordedBefore: optional(Schema.DateTimeUtcFromString),
        direction: optional(Schema.Literals(["forwards", "backwards"])),
        from: position
      },
      success: Looks.LogPage
    }).annotateMerge(
      documented("A page of a log", "Events of the tenant's log, the newest first if no direction is given.")
    ),
    HttpApiEndpoint.get("tail", "/tenants/:tenantId/tail", {
      ...ofTenant,
      query: { ...filter, after: position },
      success: HttpApiSchema.StreamSse({ data: Looks.EventView, error: TailEnded })
    }).annotateMerge(
      documented(
        "A live log",
        "Server-sent events: the log after a position, and then each event as it is appended. It does not end by itself."
      )
    ),
    HttpApiEndpoint.get("stream", "/tenants/:tenantId/stream", {
      ...ofTenant,
      query: {
        aggregateType: Schema.String,
        aggregateId: Schema.String,
        fromVersion: within(1, 2_147_483_647),
        limit
      },
      success: Looks.StreamPage
    }).annotateMerge(
      documented(
        "A page of a stream",
        "Events of one stream in the order of versions, as stored and as read now."
      )
    ),
    HttpApiEndpoint.get("state", "/tenants/:tenantId/state", {
      ...ofTenant,
      query: {
        aggregateType: Schema.String,
        aggregateId: Schema.String,
        version: within(0, 2_147_483_647)
      },
      success: Looks.StateView
    }).annotateMerge(
      documented(
        "The state of an aggregate",
        "The folded state at a version, the difference to the one before it, and the snapshot."
      )
    ),
    HttpApiEndpoint.get("trace", "/tenants/:tenantId/trace", {
      ...ofTenant,
      query: { ...bounds, correlationId: Schema.String, from: position },
      success: Looks.TraceGraph
    }).annotateMerge(
      documented("Causes", "The events of one correlation id, and the edges from causes to effects.")
    ),
    HttpApiEndpoint.post("decision", "/tenants/:tenantId/decision", {
      ...ofTenant,
      payload: Schema.Struct({
        items: Schema.Array(
          Schema.Struct({
            aggregateType: text,
            eventTypes: texts,
            tags: texts
          })
        ).annotate({
          description:
            "An event matches if it matches one of the items: its type is one of them, and it has all of the tags.",
          examples: [[{ eventTypes: ["OrderPlaced"], tags: ["customer:7"] }]]
        }),
        ...bounds,
        from: position
      }),
      success: Looks.LogPage
    }).annotateMerge(
      documented(
        "The events of a decision",
        "The events that a query by types and tags matches. It changes nothing."
      )
    ),
    HttpApiEndpoint.get("projections", "/tenants/:tenantId/projections", {
      ...ofTenant,
      success: Schema.Array(Looks.ProjectionView).annotate({ description: "The work of each projection." })
    }).annotateMerge(
      documented(
        "Projections of a tenant",
        "Running, behind, stalled, parked or rebuilding, with the pending work."
      )
    ),
    HttpApiEndpoint.get("projectionsOfAll", "/projections", {
      ...ofAll,
      success: Schema.Array(Looks.ProjectionTotal).annotate({
        description: "The work of each projection with all tenants."
      })
    }).annotateMerge(
      documented(
        "Projections of all tenants",
        "Work as of the last sweep of the runners. Refused for an operator of some tenants."
      )
    ),
    HttpApiEndpoint.get("deadLetters", "/tenants/:tenantId/dead-letters", {
      ...ofTenant,
      success: Looks.DeadLetterGroups
    }).annotateMerge(
      documented("Dead letters", "The tenant's dead letters by their common cause, the largest group first.")
    ),
    HttpApiEndpoint.get("subjects", "/tenants/:tenantId/subjects", {
      ...ofTenant,
      query: { after: text, limit },
      success: Looks.SubjectPage
    }).annotateMerge(documented("Subjects", "The people of the tenant who were forgotten or are held.")),
    HttpApiEndpoint.get("chain", "/tenants/:tenantId/chain", {
      ...ofTenant,
      success: Schema.NullOr(Looks.ChainView).annotate({
        description: "The chain; null for an unknown tenant."
      })
    }).annotateMerge(
      documented("The hash chain", "The end of the tenant's hash chain, without a verification.")
    ),
    HttpApiEndpoint.get("move", "/tenants/:tenantId/move", {
      ...ofTenant,
      success: Schema.NullOr(Looks.MoveView).annotate({ description: "The move; null if there is none." })
    }).annotateMerge(
      documented("The move of a tenant", "The unfinished move of the tenant to another database.")
    ),
    HttpApiEndpoint.get("accesses", "/accesses", {
      ...ofAll,
      query: { actor: text, tenantId: optional(TenantId), operation: text, before: text, limit },
      success: Looks.AccessPage
    }).annotateMerge(
      documented(
        "The record of accesses",
        "Looks and operations, the newest first. An operator of some tenants must name one of them."
      )
    )
  )
  .middleware(OperatorAccess)
  .middleware(HttpApiMiddleware.ProblemDetails) {}

/**
 * The operations of a store over HTTP.
 *
 * @internal
 */
export class Api extends HttpApi.make("operations")
  .add(LooksGroup)
  .add(ActionsGroup)
  .annotateMerge(
    OpenApi.annotations({
      title: "Operations",
      version: "1.0.0",
      description:
        "The looks of an operator at a store of events and the actions on it, tenant by tenant. Every request states a reason, and is recorded."
    })
  ) {}

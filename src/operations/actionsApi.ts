/** The actions as a group of the `HttpApi`: one endpoint each, with the schemas of `Acts`. */
import { Schema } from "effect"
import {
  HttpApiEndpoint,
  HttpApiError,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSchema
} from "effect/http-api"
import { TenantId } from "../domain/Tenant.ts"
import * as Problem from "../http/Problem.ts"
import { problemType } from "../http/problemType.ts"
import * as Acts from "./Acts.ts"
import { documented } from "./apiDocs.ts"
import { OperatorAccess } from "./OperatorAccess.ts"
import { headerSchemas } from "./operatorHeaders.ts"

const details = {
  action: Acts.ActionName,
  /** The id of the record of the action. */
  accessId: Schema.String
}

/** Status 409: the state of the store, or the request, does not allow the action. Nothing was changed. */
export class ActionRefused extends HttpApiError.Problem<ActionRefused>()(
  "ActionRefusedProblem",
  { type: problemType("action-refused"), status: 409, title: "The action is refused." },
  { ...details, error: Schema.String }
) {}

/** Status 422: the action failed on its way. The changes up to there remain. */
export class ActionFailed extends HttpApiError.Problem<ActionFailed>()(
  "ActionFailedProblem",
  { type: problemType("action-failed"), status: 422, title: "The action failed on its way." },
  { ...details, error: Schema.String }
) {}

/** Status 501: the program lacks a part that the action needs. */
export class ActionUnavailable extends HttpApiError.Problem<ActionUnavailable>()(
  "ActionUnavailableProblem",
  {
    type: problemType("action-unavailable"),
    status: 501,
    title: "The program lacks a part for this action."
  },
  { ...details, missing: Schema.String }
) {}

/** The end of a long action because of a failure. */
export class ActionEnded extends Schema.TaggedError<ActionEnded>()("ActionEnded", {
  /** The tag of the failure, for example `ActionRefused`. */
  error: Schema.String,
  problem: Schema.String,
  /** True if repeating the action can help. */
  retryable: Schema.Boolean
}) {
  override get message(): string {
    return this.problem
  }
}

const errors = [
  Problem.InvalidInput,
  Problem.Unavailable,
  Problem.InternalServerError,
  ActionRefused,
  ActionFailed,
  ActionUnavailable
] as const

const base = { headers: headerSchemas, error: errors } as const
const ofTenant = { ...base, params: { tenantId: TenantId } } as const
const steps = HttpApiSchema.StreamSse({ data: Acts.Progress, error: ActionEnded })

const done = <const Name extends Acts.ActionName, Payload extends Schema.Struct<Schema.Struct.Fields>>(
  name: Name,
  payload: Payload,
  summary: string,
  description: string
) =>
  HttpApiEndpoint.post(name, `/tenants/:tenantId/actions/${name}`, {
    ...ofTenant,
    payload,
    success: Acts.Done
  }).annotateMerge(documented(summary, `${description} With dryRun it counts, and changes nothing.`))

const long = <const Name extends Acts.ActionName, Payload extends Schema.Struct<Schema.Struct.Fields>>(
  name: Name,
  payload: Payload,
  summary: string,
  description: string
) =>
  HttpApiEndpoint.post(name, `/tenants/:tenantId/actions/${name}`, {
    ...ofTenant,
    payload,
    success: steps
  }).annotateMerge(
    documented(
      summary,
      `${description} Server-sent events with the progress; the last one has the result. With dryRun it counts, and changes nothing.`
    )
  )

/**
 * The actions on one tenant.
 *
 * @internal
 */
export class ActionsGroup extends HttpApiGroup.make("actions")
  .add(
    done(
      "provisionTenant",
      Acts.Plain,
      "Register the tenant",
      "Registers the tenant, unless it is registered already."
    ),
    done("suspendTenant", Acts.Plain, "Suspend the tenant", "Its data can be read but not written."),
    done("resumeTenant", Acts.Plain, "Resume the tenant", "Resumes a suspended tenant."),
    done("holdTenant", Acts.Plain, "Hold the tenant", "Sets a legal hold with the reason of the operator."),
    done("releaseTenant", Acts.Plain, "Release the tenant", "Releases its legal hold."),
    done("setQuota", Acts.SetQuota, "Set the quota", "Sets the quota of the tenant."),
    done("clearQuota", Acts.Plain, "Remove the quota", "Removes the quota of the tenant."),
    done(
      "resumeProjections",
      Acts.ProjectionFilter,
      "Resume projections",
      "Lets parked projections of the tenant, and parked rebuilds, try again."
    ),
    long("rebuild", Acts.Rebuild, "Rebuild", "Rebuilds a read model beside the live one, and swaps both."),
    done("cancelRebuild", Acts.Rebuild, "Cancel a rebuild", "The live read model stays as it is."),
    long(
      "retryDeadLetters",
      Acts.DeadLetterFilter,
      "Retry dead letters",
      "Handles them again in the order of the log, up to the first that fails again."
    ),
    long(
      "discardDeadLetters",
      Acts.DeadLetterFilter,
      "Discard dead letters",
      "Discards them with the reason of the operator."
    ),
    long("verify", Acts.Verify, "Verify the hash chain", "Verifies the hash chain of the tenant."),
    done("abandonImport", Acts.Plain, "Abandon an import", "Removes an unfinished import."),
    long("move", Acts.Move, "Move the tenant", "Moves the tenant to another database while it is in use."),
    long("resumeMove", Acts.Plain, "Carry on with a move", "Carries on with an interrupted move."),
    done("abortMove", Acts.Plain, "Call a move off", "Calls a move off that is not decided."),
    long("erase", Acts.Erase, "Erase the tenant", "Erases the tenant, at once or after a delay."),
    done("undoErasure", Acts.Plain, "Undo an erasure", "Restores a tenant whose rows are not removed yet."),
    long(
      "finishErasure",
      Acts.Plain,
      "Finish an erasure",
      "Removes the rows of an erased tenant, or the rest of them."
    ),
    done("forget", Acts.Subject, "Forget a person", "Forgets a person, with the reason of the operator."),
    done("allowAgain", Acts.Subject, "Allow new data", "Allows new data of a forgotten person."),
    done("holdSubject", Acts.Subject, "Hold a person", "Until its release the person cannot be forgotten."),
    done("releaseSubject", Acts.Subject, "Release a person", "Releases the legal hold of a person.")
  )
  .middleware(OperatorAccess)
  .middleware(HttpApiMiddleware.ProblemDetails) {}

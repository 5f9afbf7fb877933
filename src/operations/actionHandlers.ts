/** Handlers of the actions over HTTP: as the operator of the request, who must be allowed to act and to see the tenant. */
import { Context, Effect, type Layer, Stream } from "effect"
import { HttpApiBuilder, type HttpApiGroup, type HttpApiMiddleware } from "effect/http-api"
import { AllTenants, type TenantId } from "../domain/Tenant.ts"
import * as Problem from "../http/Problem.ts"
import { type ActionError, Actions, type OnTenant } from "./Actions.ts"
import { ActionEnded, ActionFailed, ActionRefused, ActionUnavailable } from "./actionsApi.ts"
import type * as Acts from "./Acts.ts"
import { Api } from "./apiGroups.ts"
import { atTenant, CurrentOperator, mayAct, type OperatorAccess } from "./OperatorAccess.ts"

/** The services of an action on one tenant. Suspending needs `AllTenants`, for that tenant alone. */
const onTenant = (tenantId: TenantId) =>
  Effect.gen(function* () {
    yield* mayAct
    const context = yield* atTenant(tenantId)
    const { actor, reason } = yield* CurrentOperator
    return Context.add(context, AllTenants, { actor, reason })
  })

const problemOf = (error: ActionError) => {
  switch (error._tag) {
    case "ActionRefused":
      return new ActionRefused({
        action: error.action,
        accessId: error.accessId,
        error: error.error,
        detail: error.problem
      })
    case "ActionFailed":
      return new ActionFailed({
        action: error.action,
        accessId: error.accessId,
        error: error.error,
        detail: error.problem
      })
    case "ActionUnavailable":
      return new ActionUnavailable({
        action: error.action,
        accessId: error.accessId,
        missing: error.missing,
        detail: error.message
      })
    case "StorageUnavailable":
      return error
  }
}

const endOf = (error: ActionError) =>
  new ActionEnded({
    error: error._tag,
    problem: error.message,
    retryable: error._tag === "StorageUnavailable" && error.retryable
  })

const done = (tenantId: TenantId, action: Effect.Effect<Acts.Done, ActionError, OnTenant | AllTenants>) =>
  Effect.flatMap(onTenant(tenantId), (context) =>
    action.pipe(Effect.mapError(problemOf), Effect.provideContext(context))
  ).pipe(Problem.mapErrors)

const long = (tenantId: TenantId, action: Stream.Stream<Acts.Progress, ActionError, OnTenant>) =>
  Effect.map(onTenant(tenantId), (context) =>
    action.pipe(Stream.mapError(endOf), Stream.provideContext(context))
  )

/** The handlers of the actions. */
export const layer: Layer.Layer<
  HttpApiGroup.Service<"operations", "actions">,
  never,
  Actions | OperatorAccess | HttpApiMiddleware.ProblemDetails
> = HttpApiBuilder.group(
  Api,
  "actions",
  Effect.fnUntraced(function* (handlers) {
    const actions = yield* Actions
    return handlers
      .handle("provisionTenant", ({ params, payload }) =>
        done(params.tenantId, actions.provisionTenant(payload))
      )
      .handle("suspendTenant", ({ params, payload }) => done(params.tenantId, actions.suspendTenant(payload)))
      .handle("resumeTenant", ({ params, payload }) => done(params.tenantId, actions.resumeTenant(payload)))
      .handle("holdTenant", ({ params, payload }) => done(params.tenantId, actions.holdTenant(payload)))
      .handle("releaseTenant", ({ params, payload }) => done(params.tenantId, actions.releaseTenant(payload)))
      .handle("setQuota", ({ params, payload }) => done(params.tenantId, actions.setQuota(payload)))
      .handle("clearQuota", ({ params, payload }) => done(params.tenantId, actions.clearQuota(payload)))
      .handle("resumeProjections", ({ params, payload }) =>
        done(params.tenantId, actions.resumeProjections(payload))
      )
      .handle("rebuild", ({ params, payload }) => long(params.tenantId, actions.rebuild(payload)))
      .handle("cancelRebuild", ({ params, payload }) => done(params.tenantId, actions.cancelRebuild(payload)))
      .handle("retryDeadLetters", ({ params, payload }) =>
        long(params.tenantId, actions.retryDeadLetters(payload))
      )
      .handle("discardDeadLetters", ({ params, payload }) =>
        long(params.tenantId, actions.discardDeadLetters(payload))
      )
      .handle("verify", ({ params, payload }) => long(params.tenantId, actions.verify(payload)))
      .handle("abandonImport", ({ params, payload }) => done(params.tenantId, actions.abandonImport(payload)))
      .handle("move", ({ params, payload }) => long(params.tenantId, actions.move(payload)))
      .handle("resumeMove", ({ params, payload }) => long(params.tenantId, actions.resumeMove(payload)))
      .handle("abortMove", ({ params, payload }) => done(params.tenantId, actions.abortMove(payload)))
      .handle("erase", ({ params, payload }) => long(params.tenantId, actions.erase(payload)))
      .handle("undoErasure", ({ params, payload }) => done(params.tenantId, actions.undoErasure(payload)))
      .handle("finishErasure", ({ params, payload }) => long(params.tenantId, actions.finishErasure(payload)))
      .handle("forget", ({ params, payload }) => done(params.tenantId, actions.forget(payload)))
      .handle("allowAgain", ({ params, payload }) => done(params.tenantId, actions.allowAgain(payload)))
      .handle("holdSubject", ({ params, payload }) => done(params.tenantId, actions.holdSubject(payload)))
      .handle("releaseSubject", ({ params, payload }) =>
        done(params.tenantId, actions.releaseSubject(payload))
      )
  })
)

/** Handlers of the operations over HTTP: each look as the operator of the request, for the tenants that the operator may see. */
import { type Context, Effect, type Layer, Stream } from "effect"
import { HttpApiBuilder, type HttpApiGroup, type HttpApiMiddleware } from "effect/http-api"
import { AllTenants, type TenantId } from "../domain/Tenant.ts"
import * as Problem from "../http/Problem.ts"
import type * as Looks from "./Looks.ts"
import { Operations, type TenantsRequest } from "./Operations.ts"
import { Api, TailEnded } from "./apiGroups.ts"
import { atAll, atTenant, CurrentOperator, type OperatorAccess, OperatorRefused } from "./OperatorAccess.ts"

type Service = Context.Service.Shape<typeof Operations>

/** The value by which a list of tenants is ordered. */
const valueOf = (order: TenantsRequest["order"], tenant: Looks.TenantSummary): number => {
  switch (order) {
    case "head":
      return tenant.head
    case "lastAppend":
      return tenant.lastAppendAt?.epochMilliseconds ?? 0
    case "deadLetters":
      return tenant.deadLetters
    case "distance":
      return tenant.slowest?.distance ?? 0
    default:
      return 0
  }
}

/** The tenants of an operator who sees some: each is looked at alone, so that nothing is read of others. */
const someTenants = Effect.fnUntraced(function* (
  operations: Service,
  mine: ReadonlySet<TenantId>,
  { after, limit = 100, order, prefix = "", statuses }: TenantsRequest
) {
  const { actor, reason } = yield* CurrentOperator
  const pages = yield* Effect.forEach(
    [...mine].filter((tenantId) => tenantId.startsWith(prefix)),
    (tenantId) => operations.tenants({ prefix: tenantId, statuses, limit: 1 }),
    { concurrency: 4 }
  ).pipe(Effect.provideService(AllTenants, { actor, reason }))
  const entries = pages
    .flatMap(({ tenants }) => tenants)
    .map((tenant) => ({ tenant, value: valueOf(order, tenant) }))
    .toSorted(
      (one, other) => other.value - one.value || (one.tenant.tenantId < other.tenant.tenantId ? -1 : 1)
    )
  const begin =
    after === undefined
      ? 0
      : entries.findIndex(
          ({ tenant: { tenantId }, value }) =>
            value < after.value || (value === after.value && tenantId > after.tenantId)
        )
  const rest = begin < 0 ? [] : entries.slice(begin)
  const page = rest.slice(0, limit)
  const last = page.at(-1)
  return {
    tenants: page.map(({ tenant }) => tenant),
    next:
      rest.length > limit && last !== undefined ? { value: last.value, tenantId: last.tenant.tenantId } : null
  }
})

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g

/** The handlers of the looks. */
export const layer: Layer.Layer<
  HttpApiGroup.Service<"operations", "looks">,
  never,
  Operations | OperatorAccess | HttpApiMiddleware.ProblemDetails
> = HttpApiBuilder.group(
  Api,
  "looks",
  Effect.fnUntraced(function* (handlers) {
    const operations = yield* Operations
    /** Runs a look at one tenant as the operator of the request. */
    const at = <A, E, R>(tenantId: TenantId, look: Effect.Effect<A, E, R>) =>
      Effect.flatMap(atTenant(tenantId), (context) => Effect.provideContext(look, context)).pipe(
        Problem.mapErrors
      )
    return handlers
      .handle("me", () =>
        Effect.map(CurrentOperator, ({ actor, allowed, may, tenants }) => ({
          actor,
          ...allowed,
          may,
          tenants: tenants === "all" ? null : [...tenants]
        }))
      )
      .handle("tenants", ({ query: { afterTenant, afterValue, ...rest } }) =>
        Effect.gen(function* () {
          if ((afterTenant === undefined) !== (afterValue === undefined))
            return yield* new Problem.InvalidInput({ detail: "give afterTenant and afterValue, or none" })
          const request: TenantsRequest =
            afterTenant === undefined || afterValue === undefined
              ? rest
              : { ...rest, after: { value: afterValue, tenantId: afterTenant } }
          const { tenants } = yield* CurrentOperator
          if (tenants !== "all") return yield* someTenants(operations, tenants, request)
          return yield* Effect.provideContext(operations.tenants(request), yield* atAll)
        }).pipe(Problem.mapErrors)
      )
      .handle("log", ({ params: { tenantId }, query }) => at(tenantId, operations.log(query)))
      .handle("tail", ({ params: { tenantId }, query }) =>
        Effect.map(atTenant(tenantId), (context) =>
          operations.tail(query).pipe(
            Stream.provideContext(context),
            Stream.mapError(({ retryable }) => new TailEnded({ retryable }))
          )
        )
      )
      .handle("stream", ({ params: { tenantId }, query }) => at(tenantId, operations.stream(query)))
      .handle("state", ({ params: { tenantId }, query }) => at(tenantId, operations.state(query)))
      .handle("trace", ({ params: { tenantId }, query }) => at(tenantId, operations.trace(query)))
      .handle("decision", ({ params: { tenantId }, payload }) => at(tenantId, operations.decision(payload)))
      .handle("projections", ({ params: { tenantId } }) => at(tenantId, operations.projections))
      .handle("projectionsOfAll", () =>
        Effect.flatMap(atAll, (context) => Effect.provideContext(operations.projectionsOfAll, context)).pipe(
          Problem.mapErrors
        )
      )
      .handle("deadLetters", ({ params: { tenantId } }) => at(tenantId, operations.deadLetters))
      .handle("subjects", ({ params: { tenantId }, query }) => at(tenantId, operations.subjects(query)))
      .handle("chain", ({ params: { tenantId } }) =>
        Effect.map(at(tenantId, operations.chain), (chain) => chain ?? null)
      )
      .handle("move", ({ params: { tenantId } }) =>
        Effect.map(at(tenantId, operations.move), (move) => move ?? null)
      )
      .handle("accesses", ({ query }) =>
        Effect.gen(function* () {
          const { actor, reason, tenants } = yield* CurrentOperator
          const { tenantId } = query
          if (tenants !== "all" && (tenantId === undefined || !tenants.has(tenantId)))
            return yield* new OperatorRefused({ detail: "name a tenant that this operator sees" })
          const page = yield* Effect.provideService(operations.accesses(query), AllTenants, { actor, reason })
          if (tenants === "all") return page
          const names: ReadonlySet<string> = tenants
          return {
            ...page,
            accesses: page.accesses.filter(({ operation }) =>
              (operation.match(uuid) ?? []).every((name) => names.has(name))
            )
          }
        }).pipe(Problem.mapErrors)
      )
  })
)

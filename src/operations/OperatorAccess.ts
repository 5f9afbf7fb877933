/**
 * The guard of the operations over HTTP: the user's function decides who the operator is, and what the operator may see and do.
 *
 * **Details**
 *
 * Every request states a reason: in the header `x-operator-reason`, percent-encoded as `encodeURIComponent` does it, or, for
 * looks, in the query as `reason`. Actions take the header only. A page of another site cannot send it, so a cookie alone carries
 * out nothing. The headers `x-operator-payloads` and `x-operator-personal` ask for payloads. Without them they are masked, and
 * nobody gets more than `authorize` allows.
 *
 * A refusal does not tell if a tenant exists.
 */
import { Context, Effect, Layer, Schema } from "effect"
import { HttpServerRequest } from "effect/http"
import { HttpApiError, HttpApiMiddleware } from "effect/http-api"
import { AllTenants, CurrentTenant, TenantAdministration, type TenantId } from "../domain/Tenant.ts"
import * as Problem from "../http/Problem.ts"
import { problemType } from "../http/problemType.ts"
import { type Grant, PayloadGrant, Payloads } from "./PayloadGrant.ts"

/** Status 401: the request does not tell who the operator is. */
export class OperatorUnknown extends HttpApiError.Problem<OperatorUnknown>()("OperatorUnknown", {
  type: problemType("operator-unknown"),
  status: 401,
  title: "The request carries no valid credential of an operator."
}) {}

/** Status 403: the operator may not do this, or not for this tenant. */
export class OperatorRefused extends HttpApiError.Problem<OperatorRefused>()("OperatorRefused", {
  type: problemType("operator-refused"),
  status: 403,
  title: "The operator may not do this."
}) {}

/** The rights of an operator. */
export interface Access {
  /** The person or program for the record, at most 255 characters, without blanks at the ends. */
  readonly actor: string
  /** The tenants that the operator sees. An empty list is none. */
  readonly tenants: "all" | ReadonlyArray<TenantId>
  /** The most that the operator may see of payloads. Default: `masked`. */
  readonly payloads?: Payloads | undefined
  /** True if the operator may open personal data. Needs `payloads: "full"`. Default: false. */
  readonly personal?: boolean | undefined
  /** `look` refuses every action. Default: `look`. */
  readonly may?: "look" | "act" | undefined
}

/** The operator of the running request. */
export interface Operator {
  readonly actor: string
  readonly tenants: "all" | ReadonlySet<TenantId>
  /** The grant of this request: that which it asks for, as far as it is allowed. */
  readonly grant: Grant
  /** The most that the operator may ask for. */
  readonly allowed: Grant
  readonly may: "look" | "act"
  /** The reason that the request states. */
  readonly reason: string
  /** True if the reason is in the header, which a page of another site cannot send. */
  readonly reasonInHeader: boolean
}

/** The operator for whom a handler runs. */
export class CurrentOperator extends Context.Service<CurrentOperator, Operator>()(
  "effect-eventsourcing/CurrentOperator"
) {}

/** Guards the operations over HTTP. Its handlers have the {@link CurrentOperator}. */
export class OperatorAccess extends HttpApiMiddleware.Service<
  OperatorAccess,
  { readonly provides: CurrentOperator }
>()("effect-eventsourcing/OperatorAccess", {
  error: [Problem.InvalidInput, OperatorUnknown, OperatorRefused]
}) {}

/** The names of the headers of a request. */
export const headerNames: {
  readonly reason: "x-operator-reason"
  readonly payloads: "x-operator-payloads"
  readonly personal: "x-operator-personal"
} = {
  reason: "x-operator-reason",
  payloads: "x-operator-payloads",
  personal: "x-operator-personal"
}

/** Decides on the operator of a request, from a verified credential. */
export type Authorize<R = never> = (
  request: HttpServerRequest.HttpServerRequest
) => Effect.Effect<Access, OperatorUnknown | OperatorRefused, R>

const decoded = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

const isReason = Schema.is(
  Schema.NonEmptyString.check(
    Schema.isMaxLength(1000),
    Schema.isTrimmed(),
    Schema.isPattern(/^[^\p{Cc}\p{Cs}]*$/u)
  )
)

const isPayloads = Schema.is(Payloads)

const least = (one: Payloads, other: Payloads): Payloads => {
  const order: ReadonlyArray<Payloads> = ["none", "masked", "full"]
  return order.indexOf(one) < order.indexOf(other) ? one : other
}

const reasonOf = (
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<Pick<Operator, "reason" | "reasonInHeader">, Problem.InvalidInput> => {
  const header = request.headers[headerNames.reason]
  const reason =
    header === undefined
      ? (new URL(request.url, "http://localhost").searchParams.get("reason") ?? undefined)
      : decoded(header)
  return isReason(reason)
    ? Effect.succeed({ reason, reasonInHeader: header !== undefined })
    : Effect.fail(
        new Problem.InvalidInput({
          detail: `state a reason of 1 to 1,000 characters in the header ${headerNames.reason}, percent-encoded`
        })
      )
}

const grantOf = (
  request: HttpServerRequest.HttpServerRequest,
  allowed: Grant
): Effect.Effect<Grant, Problem.InvalidInput> => {
  const asked = request.headers[headerNames.payloads] ?? "masked"
  if (!isPayloads(asked))
    return Effect.fail(
      new Problem.InvalidInput({ detail: `${headerNames.payloads} must be none, masked or full` })
    )
  const payloads = least(asked, allowed.payloads)
  const personal = request.headers[headerNames.personal] === "true"
  return Effect.succeed({ payloads, personal: personal && payloads === "full" && allowed.personal })
}

/** The guard with a function that decides on the operator. It is asked for each request. */
export const layer = <R = never>(authorize: Authorize<R>): Layer.Layer<OperatorAccess, never, R> =>
  Layer.effect(
    OperatorAccess,
    Effect.map(Effect.context<R>(), (context) =>
      OperatorAccess.of((handler) =>
        Effect.gen(function* () {
          const request = yield* HttpServerRequest.HttpServerRequest
          const access = yield* Effect.provideContext(authorize(request), context)
          const { payloads = "masked", personal = false } = access
          const allowed = { payloads, personal: personal && payloads === "full" }
          const operator = {
            actor: access.actor,
            tenants: access.tenants === "all" ? access.tenants : new Set(access.tenants),
            allowed,
            grant: yield* grantOf(request, allowed),
            may: access.may ?? "look",
            ...(yield* reasonOf(request))
          }
          return yield* Effect.provideService(handler, CurrentOperator, operator)
        })
      )
    )
  )

const refused = new OperatorRefused({ detail: "this operator may not do this, or not for this tenant" })

/** The services of a look at one tenant. Fails if the operator may not see the tenant. */
export const atTenant = (
  tenantId: TenantId
): Effect.Effect<Context.Context<CurrentTenant | TenantAdministration>, OperatorRefused, CurrentOperator> =>
  Effect.flatMap(CurrentOperator, ({ actor, grant, reason, tenants }) =>
    tenants === "all" || tenants.has(tenantId)
      ? Effect.succeed(
          Context.make(CurrentTenant, tenantId).pipe(
            Context.add(TenantAdministration, { actor, reason }),
            Context.add(PayloadGrant, grant)
          )
        )
      : Effect.fail(refused)
  )

/** The services of a look at all tenants. Fails for an operator of some. */
export const atAll: Effect.Effect<
  Context.Context<AllTenants>,
  OperatorRefused,
  CurrentOperator
> = Effect.flatMap(CurrentOperator, ({ actor, reason, tenants }) =>
  tenants === "all" ? Effect.succeed(Context.make(AllTenants, { actor, reason })) : Effect.fail(refused)
)

/** Fails unless the operator may act, and has stated the reason in the header. */
export const mayAct: Effect.Effect<void, OperatorRefused, CurrentOperator> = Effect.flatMap(
  CurrentOperator,
  ({ may, reasonInHeader }) => (may === "act" && reasonInHeader ? Effect.void : Effect.fail(refused))
)

/**
 * The refusals of a request before its handler runs, as problem details (RFC 9457). They name no tenant, quote no credential,
 * and do not reveal if another tenant exists.
 */
import { Schema } from "effect"
import { HttpApiError } from "effect/http-api"
import { problemType } from "./problemType.ts"

/** Raised when a request carries no credential. Status 401, with the header `www-authenticate` if the resolver has one. */
export class CredentialMissing extends HttpApiError.Problem<CredentialMissing>()("CredentialMissing", {
  type: problemType("credential-missing"),
  status: 401,
  title: "The request carries no credential."
}) {}

/**
 * Raised when a credential cannot be read: it has another scheme, is garbled, occurs more than once, or has no valid tenant id.
 * Status 400. `detail` gives the reason.
 */
export class CredentialMalformed extends HttpApiError.Problem<CredentialMalformed>()("CredentialMalformed", {
  type: problemType("credential-malformed"),
  status: 400,
  title: "The credential of the request cannot be read."
}) {}

/** The reasons for which a readable credential is not accepted. */
export const RejectionReason: Schema.Literals<
  readonly [
    "algorithm",
    "audience",
    "claims",
    "expired",
    "issuer",
    "notYetValid",
    "signature",
    "untrustedSender"
  ]
> = Schema.Literals([
  "algorithm",
  "audience",
  "claims",
  "expired",
  "issuer",
  "notYetValid",
  "signature",
  "untrustedSender"
])

/** A reason for which a readable credential is not accepted. */
export type RejectionReason = typeof RejectionReason.Type

/**
 * Raised when a credential is not accepted. Status 401.
 *
 * **Details**
 *
 * - `algorithm`: its algorithm is not one of the configured ones.
 * - `signature`: it was not signed with a known key, or was altered afterwards.
 * - `issuer`, `audience`: it is genuine, but of another issuer or for another service.
 * - `expired`, `notYetValid`: it is genuine, but not valid now.
 * - `claims`: it is genuine, but lacks a required claim.
 * - `untrustedSender`: the request did not come through the trusted proxy.
 */
export class CredentialRejected extends HttpApiError.Problem<CredentialRejected>()(
  "CredentialRejected",
  {
    type: problemType("credential-rejected"),
    status: 401,
    title: "The credential of the request is not accepted."
  },
  { reason: RejectionReason }
) {}

/** Raised when the verified tenant of a request is not registered here. Status 403. */
export class TenantNotKnown extends HttpApiError.Problem<TenantNotKnown>()("TenantNotKnown", {
  type: problemType("tenant-not-known"),
  status: 403,
  title: "The tenant of the request is not registered here."
}) {}

/** Raised when the verified tenant of a request is suspended. Status 403. */
export class TenantNotActive extends HttpApiError.Problem<TenantNotActive>()("TenantNotActive", {
  type: problemType("tenant-not-active"),
  status: 403,
  title: "The tenant of the request is suspended."
}) {}

/** The places of a request in which a tenant can be stated. */
export const StatedPlace: Schema.Literals<readonly ["path", "query", "header", "body", "credential"]> =
  Schema.Literals(["path", "query", "header", "body", "credential"])

/**
 * Raised when a request states another tenant than the verified one, or an invalid tenant id. Status 403: the credential does
 * not give access to that tenant. Nothing was executed.
 *
 * **Details**
 *
 * `place` and `name` locate the statement. `credential` means that two credentials of the request name different tenants.
 */
export class TenantContradicted extends HttpApiError.Problem<TenantContradicted>()(
  "TenantContradicted",
  {
    type: problemType("tenant-contradicted"),
    status: 403,
    title: "The request states another tenant than its credential does."
  },
  { place: StatedPlace, name: Schema.String }
) {}

/**
 * Raised when a tenant cannot be verified now, because the key set or the storage cannot be reached. Status 503 with
 * `Retry-After`.
 */
export class TenantCheckUnavailable extends HttpApiError.Problem<TenantCheckUnavailable>()(
  "TenantCheckUnavailable",
  {
    type: problemType("tenant-check-unavailable"),
    status: 503,
    title: "The tenant of the request cannot be verified now."
  }
) {}

/** A refusal of a request before its handler runs. */
export type TenantAccessError =
  | CredentialMissing
  | CredentialMalformed
  | CredentialRejected
  | TenantNotKnown
  | TenantNotActive
  | TenantContradicted
  | TenantCheckUnavailable

/**
 * Why a request is refused before its handler runs. Each is a typed body of the response: `_tag`, `message` and what is
 * said below; none names a tenant, quotes a credential, or tells whether another tenant exists.
 */
import { Effect, Schema } from "effect"

const says = (message: string) => Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed(message)))

/** Raised when a request carries no credential. Status 401, with the header `www-authenticate` if the resolver has one. */
export class CredentialMissing extends Schema.TaggedError<CredentialMissing>()(
  "CredentialMissing",
  { message: says("the request carries no credential that says whose it is") },
  { httpApiStatus: 401 }
) {}

/**
 * Raised when a credential cannot be read: of another scheme, garbled, given more than once, or without a proper tenant.
 * Status 400. `problem` says which.
 */
export class CredentialMalformed extends Schema.TaggedError<CredentialMalformed>()(
  "CredentialMalformed",
  { problem: Schema.String, message: says("the credential of the request cannot be read") },
  { httpApiStatus: 400 }
) {}

/** Why a credential that can be read is not accepted. */
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

/** Why a credential that can be read is not accepted. */
export type RejectionReason = typeof RejectionReason.Type

/**
 * Raised when a credential is not accepted. Status 401.
 *
 * **Details**
 *
 * `algorithm`: its algorithm is not one of those that are configured. `signature`: it was not signed with a known key, or
 * was changed since. `issuer`, `audience`, `expired`, `notYetValid`, `claims`: it is genuine, and not for here, not for
 * now, or lacks a claim that is required. `untrustedSender`: the request did not come through the trusted proxy.
 */
export class CredentialRejected extends Schema.TaggedError<CredentialRejected>()(
  "CredentialRejected",
  { reason: RejectionReason, message: says("the credential of the request is not accepted") },
  { httpApiStatus: 401 }
) {}

/** Raised when a request is of a verified tenant that is not registered here. Status 403. */
export class TenantNotKnown extends Schema.TaggedError<TenantNotKnown>()(
  "TenantNotKnown",
  { message: says("the tenant of the request is not registered here") },
  { httpApiStatus: 403 }
) {}

/** Raised when a request is of a verified tenant that is suspended. Status 403. */
export class TenantNotActive extends Schema.TaggedError<TenantNotActive>()(
  "TenantNotActive",
  { message: says("the tenant of the request is suspended") },
  { httpApiStatus: 403 }
) {}

/** Where in a request a tenant can be stated. */
export const StatedPlace: Schema.Literals<readonly ["path", "query", "header", "body", "credential"]> =
  Schema.Literals(["path", "query", "header", "body", "credential"])

/**
 * Raised when a request states a tenant that is not the verified one, or something that is no tenant where one is stated.
 * Status 403: the credential does not entitle to it. Nothing was executed.
 *
 * **Details**
 *
 * `place` and `name` say where, `credential` means that two credentials of the request are of different tenants.
 */
export class TenantContradicted extends Schema.TaggedError<TenantContradicted>()(
  "TenantContradicted",
  {
    place: StatedPlace,
    name: Schema.String,
    message: says("the request states another tenant than its credential does")
  },
  { httpApiStatus: 403 }
) {}

/**
 * Raised when a tenant cannot be verified just now, because the key set or the storage cannot be reached. Status 503.
 */
export class TenantCheckUnavailable extends Schema.TaggedError<TenantCheckUnavailable>()(
  "TenantCheckUnavailable",
  { message: says("the tenant of the request cannot be verified now, try again later") },
  { httpApiStatus: 503 }
) {}

/** Why a request is refused before its handler runs. */
export type TenantAccessError =
  | CredentialMissing
  | CredentialMalformed
  | CredentialRejected
  | TenantNotKnown
  | TenantNotActive
  | TenantContradicted
  | TenantCheckUnavailable

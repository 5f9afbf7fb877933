/**
 * The proxy that is trusted to state in a header the tenant of the requests that it forwards.
 */
import { Context, Effect, Option, Redacted, Result } from "effect"
import type { HttpServerRequest } from "effect/http"
import { IpNetwork, NetAddress } from "effect/net"
import { soleHeader } from "./headers.ts"
import { ResolverConfigError } from "./TenantResolver.ts"

/** A header that only the proxy can set, because nobody else knows the value. */
export interface ProxySecret {
  /** The name of the header. The proxy must remove headers of this name from the requests of clients. */
  readonly header: string
  /** At least 16 characters. */
  readonly value: Redacted.Redacted
}

/**
 * A trusted proxy, recognised by its address, by a secret, or by both, which must then both match. There is no default: a proxy
 * without either does not compile.
 */
export type TrustedProxy =
  | {
      /** Addresses (`10.0.0.7`, `::1`) or networks (`10.0.0.0/8`) of the proxies. */
      readonly peers: readonly [string, ...Array<string>]
      readonly secret?: ProxySecret | undefined
    }
  | { readonly peers?: undefined; readonly secret: ProxySecret }

/**
 * The address of the other end of the connection. Provide it with each request if your server does not pass it on, as with
 * `HttpRouter.toWebHandler`. By default it is the `peerAddress` of the request. If a request has neither, no address is
 * trusted.
 *
 * **Gotchas**
 *
 * Use the address of the socket, never one from a header such as `x-forwarded-for`.
 */
export const PeerAddress: Context.Reference<string | undefined> = Context.Reference<string | undefined>(
  "effect-eventsourcing/http/PeerAddress",
  { defaultValue: () => undefined }
)

const minSecretLength = 16

const addressOf = (text: string): NetAddress.IpAddress | undefined =>
  Option.getOrUndefined(
    Option.map(Result.getSuccess(NetAddress.ipFromString(text)), (address) => NetAddress.toCanonical(address))
  )

const networkOf = (text: string): Result.Result<IpNetwork.IpNetwork, ResolverConfigError> => {
  const address = addressOf(text)
  return Result.mapError(
    address === undefined ? IpNetwork.fromString(text) : IpNetwork.make(address, NetAddress.width(address)),
    () =>
      new ResolverConfigError({
        problem: `"${text}" is neither an IP address nor a network such as 10.0.0.0/8`
      })
  )
}

/** Compares in a time that does not depend on the place of the first difference. */
const isSame = (given: string, expected: string): boolean => {
  let difference = given.length ^ expected.length
  for (let index = 0; index < expected.length; index++)
    difference |= given.charCodeAt(index) ^ expected.charCodeAt(index)
  return difference === 0
}

/**
 * True if a request comes from the proxy.
 *
 * @internal
 */
export const make = (
  proxy: TrustedProxy
): Effect.Effect<
  (request: HttpServerRequest.HttpServerRequest) => Effect.Effect<boolean>,
  ResolverConfigError
> =>
  Effect.gen(function* () {
    const { secret } = proxy
    const peers =
      proxy.peers === undefined ? undefined : yield* Effect.fromResult(Result.all(proxy.peers.map(networkOf)))
    // A cast can bring in an empty list without a secret. It would trust nobody, which is certainly a mistake.
    if (peers?.length === 0 || (peers === undefined && secret === undefined))
      return yield* new ResolverConfigError({
        problem: "the trusted proxy has neither an address nor a secret"
      })
    const expected = secret === undefined ? undefined : Redacted.value(secret.value)
    if (expected !== undefined && expected.length < minSecretLength)
      return yield* new ResolverConfigError({
        problem: `the secret of the trusted proxy has less than ${minSecretLength} characters`
      })

    const isPeer = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<boolean> =>
      Effect.map(PeerAddress, (known) => {
        if (peers === undefined) return true
        const text = known ?? Option.getOrUndefined(request.peerAddress)
        const address = text === undefined ? undefined : addressOf(text)
        return address !== undefined && peers.some((network) => IpNetwork.contains(network, address))
      })
    const hasSecret = (request: HttpServerRequest.HttpServerRequest): boolean => {
      if (secret === undefined || expected === undefined) return true
      const given = soleHeader(request, secret.header)
      return typeof given === "string" && isSame(given, expected)
    }
    return (request) => Effect.map(isPeer(request), (peer) => peer && hasSecret(request))
  })

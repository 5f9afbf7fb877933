/**
 * Which sender is believed when it says in a header whose request it passes on.
 */
import { Context, Effect, Option, Redacted, Result } from "effect"
import type { HttpServerRequest } from "effect/http"
import { IpNetwork, NetAddress } from "effect/net"
import { soleHeader } from "./headers.ts"
import { ResolverConfigError } from "./TenantResolver.ts"

/** A header that only the proxy can set, because only the proxy knows the value. */
export interface ProxySecret {
  /** The name of the header. The proxy must remove what clients send under that name. */
  readonly header: string
  /** At least 16 characters. */
  readonly value: Redacted.Redacted
}

/**
 * A proxy that is believed: by its address, by a secret, or by both, which then must both be right. There is no default:
 * with neither, nobody is believed, and it does not compile.
 */
export type TrustedProxy =
  | {
      /** Addresses (`10.0.0.7`, `::1`) or networks (`10.0.0.0/8`) of the proxies. */
      readonly peers: readonly [string, ...Array<string>]
      readonly secret?: ProxySecret | undefined
    }
  | { readonly peers?: undefined; readonly secret: ProxySecret }

/**
 * The address of the other end of the connection, for servers that pass requests on without it, as
 * `HttpRouter.toWebHandler` does: provide it with each request. Where it is not provided, the `peerAddress` of the request
 * counts; where there is none either, no address is trusted.
 *
 * **Gotchas**
 *
 * It is the address of the socket, never one out of a header such as `x-forwarded-for`.
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

/** In a time that does not depend on where the first difference is. */
const isSame = (given: string, expected: string): boolean => {
  let difference = given.length ^ expected.length
  for (let index = 0; index < expected.length; index++)
    difference |= given.charCodeAt(index) ^ expected.charCodeAt(index)
  return difference === 0
}

/**
 * Whether a request comes from the proxy.
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
    // Past the types, an empty list would trust nobody; without a secret either, that is surely not what was meant.
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

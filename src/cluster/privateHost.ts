/** Addresses that no other network reaches. */
import { Result } from "effect"
import { Host, IpNetwork, NetAddress } from "effect/net"

/** Private networks, and those of one link or machine: RFC 1918, RFC 3927, RFC 4193, RFC 4291, RFC 6598. */
const networks = [
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "::1/128",
  "fc00::/7",
  "fe80::/10"
].map((network) => IpNetwork.fromStringUnsafe(network))

/** Names that are resolved in a local network alone: RFC 6761, RFC 6762, and those of a cluster. */
const localName = /^(?:[a-z0-9-]+|.+\.(?:localhost|local|internal|svc))$/i

/** True if a host is an address of a private network or of the machine, or has a name of these. */
export const isPrivateHost = (text: string): boolean => {
  const host = Result.getOrUndefined(Host.hostFromString(text))
  if (host === undefined) return false
  if (!NetAddress.isIpAddress(host)) return localName.test(text)
  return networks.some((network) => IpNetwork.contains(network, host))
}

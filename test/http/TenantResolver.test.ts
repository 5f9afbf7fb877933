import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Option, Redacted } from "effect"
import * as JwtResolver from "../../src/http/JwtResolver.ts"
import * as ProxyHeaderResolver from "../../src/http/ProxyHeaderResolver.ts"
import * as SubdomainResolver from "../../src/http/SubdomainResolver.ts"
import * as TenantResolver from "../../src/http/TenantResolver.ts"
import * as TrustedProxy from "../../src/http/TrustedProxy.ts"
import type * as Tenant from "../../src/domain/Tenant.ts"
import { serve, tenantA, tenantB } from "./support/guarded.ts"
import { options, sign, withToken } from "./support/tokens.ts"
import { flipped } from "../../src/testing/failures.ts"

const slugs: { readonly [slug: string]: Tenant.TenantId | undefined } = { acme: tenantA, globex: tenantB }

const subdomain = (changed: Partial<SubdomainResolver.Options<never, never>> = {}) =>
  SubdomainResolver.make({
    baseDomain: "example.com",
    lookup: (slug) => Effect.sync(() => (Object.hasOwn(slugs, slug) ? slugs[slug] : undefined)),
    ...changed
  })

const layerOf = <E>(make: Effect.Effect<TenantResolver.TenantResolver["Service"], E>) =>
  Layer.orDie(TenantResolver.layer(make))

/** Sends requests from an address. */
const from = (address: string) => Context.make(TrustedProxy.PeerAddress, address)

const proxySecret = { header: "x-proxy-secret", value: Redacted.make("a secret of the proxy") }

describe("a subdomain", () => {
  for (const [host, tenantId] of [
    ["acme.example.com", tenantA],
    ["globex.example.com", tenantB],
    ["ACME.Example.COM", tenantA],
    ["acme.example.com:8787", tenantA],
    ["acme.example.com.", tenantA]
  ] as const) {
    it.effect(`names the tenant: ${host}`, () =>
      Effect.gen(function* () {
        const { send } = yield* serve(layerOf(subdomain()))
        const { status, body } = yield* send("/whoami", { headers: { host } })
        assert.deepStrictEqual([status, body["tenantId"]], [200, tenantId])
      })
    )
  }

  for (const [what, host, status, tag] of [
    ["missing", undefined, 401, "credential-missing"],
    ["the base domain", "example.com", 401, "credential-missing"],
    ["of another domain", "acme.example.org", 400, "credential-malformed"],
    ["of a domain that ends alike", "acme.badexample.com", 400, "credential-malformed"],
    ["a domain that ends alike", "acme-example.com", 400, "credential-malformed"],
    ["of a domain that goes on", "acme.example.com.evil.test", 400, "credential-malformed"],
    ["two levels deep", "a.acme.example.com", 400, "credential-malformed"],
    ["empty", ".example.com", 400, "credential-malformed"],
    ["with a user", "acme@globex.example.com", 400, "credential-malformed"],
    ["a wildcard", "*.example.com", 400, "credential-malformed"],
    ["given twice", "acme.example.com, globex.example.com", 400, "credential-malformed"],
    ["with a name of every object", "constructor.example.com", 403, "tenant-not-known"],
    ["nobody's", "initech.example.com", 403, "tenant-not-known"]
  ] as const) {
    it.effect(`is refused if it is ${what}`, () =>
      Effect.gen(function* () {
        const { send, executions } = yield* serve(layerOf(subdomain()))
        const answer = yield* send("/whoami", host === undefined ? {} : { headers: { host } })
        assert.deepStrictEqual([answer.status, answer.problem], [status, tag])
        assert.isNull(answer.headers.get("www-authenticate"))
        assert.strictEqual(yield* executions, 0)
      })
    )
  }

  it.effect("is not taken from a forwarded header of a client", () =>
    Effect.gen(function* () {
      const { send } = yield* serve(layerOf(subdomain()))
      const headers = {
        host: "acme.example.com",
        "x-forwarded-host": "globex.example.com",
        forwarded: "host=globex.example.com"
      }
      assert.strictEqual((yield* send("/whoami", { headers })).body["tenantId"], tenantA)
      const { host: _, ...forged } = headers
      assert.strictEqual((yield* send("/whoami", { headers: forged })).status, 401)
    })
  )

  it.effect("is taken from a forwarded host only if the proxy sent it", () =>
    Effect.gen(function* () {
      const forwarded = {
        header: "x-forwarded-host",
        proxy: { peers: ["10.0.0.0/8"] }
      } as const
      const { send } = yield* serve(layerOf(subdomain({ forwarded })))
      const headers = { host: "internal", "x-forwarded-host": "acme.example.com" }
      const trusted = yield* send("/whoami", { headers }, from("10.1.2.3"))
      assert.strictEqual(trusted.body["tenantId"], tenantA)
      for (const context of [from("192.0.2.1"), from("unix socket"), Context.empty()]) {
        const { status, body } = yield* send("/whoami", { headers }, context)
        assert.deepStrictEqual([status, body["reason"]], [401, "untrustedSender"])
      }
      const twice = { "x-forwarded-host": "acme.example.com, globex.example.com" }
      assert.strictEqual((yield* send("/whoami", { headers: twice }, from("10.1.2.3"))).status, 400)
      const none = yield* send("/whoami", { headers: { host: "acme.example.com" } }, from("10.1.2.3"))
      assert.strictEqual(none.status, 401)
    })
  )

  it.effect("whose tenant cannot be looked up is answered with 503", () =>
    Effect.gen(function* () {
      const resolver = SubdomainResolver.make({
        baseDomain: "example.com",
        lookup: () => Effect.fail("away")
      })
      const { send } = yield* serve(layerOf(resolver))
      const { status, problem } = yield* send("/whoami", { headers: { host: "acme.example.com" } })
      assert.deepStrictEqual([status, problem], [503, "tenant-check-unavailable"])
    })
  )

  it.effect("requires a domain", () =>
    Effect.gen(function* () {
      for (const baseDomain of ["", ".com", "example..com", "https://example.com", "example.com/"]) {
        const error = yield* flipped(subdomain({ baseDomain }))
        assert.strictEqual(error._tag, "ResolverConfigError")
      }
    })
  )
})

describe("a header of a proxy", () => {
  const byAddress = ProxyHeaderResolver.make({
    proxy: { peers: ["10.0.0.7", "192.168.0.0/16", "::1"] },
    actorHeader: "x-actor"
  })
  const bySecret = ProxyHeaderResolver.make({ proxy: { secret: proxySecret } })
  const byBoth = ProxyHeaderResolver.make({ proxy: { peers: ["10.0.0.7"], secret: proxySecret } })
  const headers = { "x-tenant-id": tenantA }
  const secret = { "x-proxy-secret": "a secret of the proxy" }

  it.effect("identifies the tenant of the request", () =>
    Effect.gen(function* () {
      const { send } = yield* serve(layerOf(byAddress))
      for (const address of ["10.0.0.7", "::ffff:10.0.0.7", "192.168.4.5", "::1"]) {
        const init = { headers: { ...headers, "x-actor": "ada" } }
        const { body } = yield* send("/whoami", init, from(address))
        assert.deepInclude(body, { tenantId: tenantA, actor: "ada" }, address)
      }
    })
  )

  it.effect("is refused from other senders, known or unknown", () =>
    Effect.gen(function* () {
      const { send, executions } = yield* serve(layerOf(byAddress))
      for (const context of [
        from("10.0.0.8"),
        from("::2"),
        from(""),
        from("10.0.0.7, 10.0.0.7"),
        Context.empty()
      ]) {
        for (const more of [{}, { "x-forwarded-for": "10.0.0.7", forwarded: "for=10.0.0.7" }, secret]) {
          const { status, body, problem } = yield* send(
            "/whoami",
            { headers: { ...headers, ...more } },
            context
          )
          assert.deepStrictEqual(
            [status, problem, body["reason"]],
            [401, "credential-rejected", "untrustedSender"]
          )
        }
      }
      assert.strictEqual(yield* executions, 0)
    })
  )

  it.effect("is trusted with the proxy's secret, or with its secret and its address", () =>
    Effect.gen(function* () {
      const withSecret = yield* serve(layerOf(bySecret))
      const withBoth = yield* serve(layerOf(byBoth))
      const good = { headers: { ...headers, ...secret } }
      assert.strictEqual((yield* withSecret.send("/whoami", good)).status, 200)
      assert.strictEqual((yield* withBoth.send("/whoami", good, from("10.0.0.7"))).status, 200)
      assert.strictEqual((yield* withBoth.send("/whoami", good, from("10.0.0.8"))).status, 401)
      assert.strictEqual((yield* withBoth.send("/whoami", { headers }, from("10.0.0.7"))).status, 401)
      for (const wrong of [
        "",
        "a secret of the prox",
        "a secret of the proxy!",
        "a secret of the proxy, a secret of the proxy"
      ]) {
        const init = { headers: { ...headers, "x-proxy-secret": wrong } }
        assert.strictEqual((yield* withSecret.send("/whoami", init)).status, 401, wrong)
      }
      assert.strictEqual((yield* withSecret.send("/whoami", { headers })).status, 401)
    })
  )

  it.effect("is refused if it is missing, no tenant id, or given twice", () =>
    Effect.gen(function* () {
      const { send } = yield* serve(layerOf(byAddress))
      const answer = (init: RequestInit) =>
        Effect.map(send("/whoami", init, from("10.0.0.7")), ({ status, problem }) => [status, problem])
      assert.deepStrictEqual(yield* answer({}), [401, "credential-missing"])
      for (const text of [
        "",
        "acme",
        "%",
        "00000000-0000-0000-0000-000000000000",
        `${tenantA}, ${tenantA}`
      ]) {
        assert.deepStrictEqual(
          yield* answer({ headers: { "x-tenant-id": text } }),
          [400, "credential-malformed"],
          text
        )
      }
      const long = { headers: { ...headers, "x-actor": "a".repeat(256) } }
      assert.deepStrictEqual(yield* answer(long), [400, "credential-malformed"])
    })
  )

  it.effect("requires a proxy that can be recognised", () =>
    Effect.gen(function* () {
      const problem = (proxy: TrustedProxy.TrustedProxy) =>
        Effect.map(flipped(ProxyHeaderResolver.make({ proxy })), (error) => error.problem)
      assert.include(yield* problem({ peers: ["proxy.internal"] }), '"proxy.internal" is neither')
      assert.include(yield* problem({ peers: ["10.0.0.1/8"] }), "is neither")
      assert.include(
        yield* problem({ secret: { header: "x-s", value: Redacted.make("short") } }),
        "less than 16"
      )
      assert.include(
        yield* problem({} as unknown as TrustedProxy.TrustedProxy),
        "neither an address nor a secret"
      )
    })
  )
})

describe("the address of the peer", () => {
  it.effect("is that of the server's request by default", () =>
    Effect.gen(function* () {
      const { HttpServerRequest } = yield* Effect.promise(() => import("effect/http"))
      const isProxy = yield* TrustedProxy.make({ peers: ["10.0.0.7"] })
      const request = HttpServerRequest.fromWeb(new Request("http://localhost/"))
      const known = request.modify({ remoteAddress: Option.some("10.0.0.7") })
      assert.isFalse(yield* isProxy(request))
      assert.isTrue(yield* isProxy(known))
      // The peer is not an address that a client stated in a header.
      const forwarded = known.modify({
        remoteAddress: Option.some("10.0.0.7"),
        peerAddress: Option.some("192.0.2.1")
      })
      assert.isFalse(yield* isProxy(forwarded))
      assert.isFalse(yield* Effect.provideService(isProxy(known), TrustedProxy.PeerAddress, "192.0.2.1"))
    })
  )
})

describe("two resolvers together", () => {
  const both = layerOf(TenantResolver.agreeing(JwtResolver.make(options), subdomain()))

  it.effect("must find the same tenant", () =>
    Effect.gen(function* () {
      const { send } = yield* serve(both)
      const token = yield* sign()
      const good = yield* send("/whoami", withToken(token, { host: "acme.example.com" }))
      assert.deepInclude(good.body, { tenantId: tenantA, actor: "ada" })
      const { status, body, text, problem } = yield* send(
        "/whoami",
        withToken(token, { host: "globex.example.com" })
      )
      assert.deepStrictEqual([status, problem, body["place"]], [403, "tenant-contradicted", "credential"])
      assert.notInclude(text, tenantB)
    })
  )

  it.effect("are both required", () =>
    Effect.gen(function* () {
      const { send } = yield* serve(both)
      const anonymous = yield* send("/whoami", { headers: { host: "acme.example.com" } })
      assert.deepStrictEqual([anonymous.status, anonymous.headers.get("www-authenticate")], [401, "Bearer"])
      assert.strictEqual((yield* send("/whoami", withToken(yield* sign()))).status, 401)
    })
  )
})

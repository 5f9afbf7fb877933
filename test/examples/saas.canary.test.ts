/**
 * Secrets are planted in a shop's orders through the running service, and searched for in every answer that another shop
 * gets, and in all logs, spans and metrics of the service.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Tenant, TenantRegistry } from "effect-eventsourcing"
import { PgEmbedded, PgServer } from "effect-eventsourcing/pg"
import { Canary } from "effect-eventsourcing/testing"
import * as App from "../../examples/saas/App.ts"
import * as Server from "../../examples/saas/Server.ts"
import * as Tokens from "../../examples/saas/Tokens.ts"
import { servers } from "../support/Databases.ts"

const databases = [
  { name: "PGlite", database: Layer.orDie(PgEmbedded.layer) },
  ...servers.map(({ name, freshDatabase }) => ({
    name,
    database: Layer.unwrap(Effect.map(freshDatabase, ({ owner }) => PgServer.layer(owner))).pipe(Layer.orDie)
  }))
]

/** The visible parts of an answer. */
const ask = (
  url: string,
  token: string,
  method: string,
  path: string,
  { body, headers = {} }: { readonly body?: string; readonly headers?: Record<string, string> } = {}
) =>
  Effect.promise(async () => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body })
    })
    return { status: response.status, headers: [...response.headers], text: await response.text() }
  })

const newShop = (actor: string) =>
  Effect.gen(function* () {
    const { provision } = yield* TenantRegistry.TenantRegistry
    const tenantId = yield* Tenant.generate
    yield* provision(tenantId)
    return { tenantId, token: yield* Tokens.sign(tenantId, actor) }
  })

const placing = (product: string) => JSON.stringify({ lines: [{ product, quantity: 1, price: 100 }] })

/** All requests of a shop about an order. */
const everything = (
  url: string,
  token: string,
  orderId: string,
  text: string,
  headers: Record<string, string> = {}
) =>
  Effect.forEach(
    [
      ["PUT", `/orders/${orderId}`, placing(text)],
      ["PUT", `/orders/${orderId}`, placing(`another ${text}`)],
      ["PUT", `/orders/${orderId}`, `{"lines": "${text}"`],
      ["PUT", `/orders/${orderId}`, JSON.stringify({ lines: [{ product: text, quantity: 0, price: -1 }] })],
      ["PUT", `/orders/${orderId}`, placing(text.repeat(100_000))],
      ["PUT", `/orders/${orderId}`, placing(`${text}\0`)],
      ["POST", `/orders/${orderId}/ship`, JSON.stringify({ parcel: text })],
      ["POST", `/orders/${orderId}/cancel`, JSON.stringify({ reason: text })],
      ["GET", `/orders/${orderId}`],
      ["GET", "/orders?position=1"],
      ["GET", "/orders?position=1000000"],
      ["GET", "/orders"],
      ["GET", "/audit"],
      ["GET", "/health"],
      ["GET", "/ready"]
    ] as const,
    ([method, path, body]) =>
      ask(url, token, method, path, { headers, ...(body === undefined ? {} : { body }) })
  )

describe.each(databases)("examples/saas on $name", ({ database }) => {
  it.live(
    "3, 14, 20: tells a shop nothing about another one, and shows no order in logs, spans and metrics",
    () =>
      Effect.gen(function* () {
        const [content, actor, order, correlation] = [
          Canary.make(),
          Canary.make(),
          Canary.make(),
          Canary.make()
        ]
        const heard = yield* Canary.overhear(
          Effect.gen(function* () {
            const { url } = yield* Server.Server
            const a = yield* newShop(actor.secret)
            const b = yield* newShop("b")
            const own = yield* everything(url, a.token, order.secret, content.in("product"), {
              "x-correlation-id": correlation.secret
            })
            const others = yield* everything(url, b.token, crypto.randomUUID(), "b's")
            const forged = yield* everything(url, b.token, order.secret, "b's", {
              "x-tenant-id": a.tenantId,
              "x-correlation-id": "mine"
            })
            const curious = yield* Effect.forEach(
              ["/orders?tenantId=", "/audit?tenant_id=", "/orders?after=", "/tenants/"],
              (path) => ask(url, b.token, "GET", `${path}${a.tenantId}`)
            )
            return { a, own, others, forged, curious }
          }).pipe(
            Effect.provide(Layer.orDie(App.layer({ port: 0, database, resolver: Tokens.layerDevelopment })), {
              local: true
            })
          )
        )
        const { exit, logs, metrics, spans } = heard
        if (exit._tag === "Failure") return assert.fail(String(exit.cause))
        const { a, curious, forged, others, own } = exit.value
        // The search finds the secrets where they must be.
        for (const canary of [content, actor, order, correlation]) assert.isNotEmpty(Canary.find(canary, own))
        assert.isAbove(spans.length, 50)
        Canary.assertAbsent([content, actor, order, correlation, Canary.of(a.tenantId)], others)
        // Its own texts may be returned to it.
        Canary.assertAbsent([content, actor, correlation, Canary.of(a.tenantId)], forged)
        Canary.assertAbsent([content, actor, order, correlation], curious)
        Canary.assertAbsent(content, { logs, metrics, spans })
        Canary.assertAbsent([actor, order, correlation], { logs, metrics })
      }),
    120_000
  )
})

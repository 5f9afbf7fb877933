import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { EventStore, Tenant, TenantRegistry } from "effect-eventsourcing"
import { PgEmbedded, PgServer } from "effect-eventsourcing/pg"
import { connect } from "node:net"
import * as App from "../../examples/saas/App.ts"
import * as Server from "../../examples/saas/Server.ts"
import * as Tokens from "../../examples/saas/Tokens.ts"
import { servers } from "../support/Databases.ts"
import { inThisRun } from "../support/pgliteRuns.ts"

const databases = inThisRun([
  { name: "PGlite", database: Layer.orDie(PgEmbedded.layer) },
  ...servers.map(({ name, freshDatabase }) => ({
    name,
    database: Layer.unwrap(Effect.map(freshDatabase, ({ owner }) => PgServer.layer(owner))).pipe(Layer.orDie)
  }))
])

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: unknown
}

/** Calls the service over a socket, with `fetch`. */
const call = (
  url: string,
  path: string,
  {
    token,
    method = "GET",
    body,
    headers = {}
  }: {
    readonly token?: string
    readonly method?: string
    readonly body?: unknown
    readonly headers?: Record<string, string>
  } = {}
): Effect.Effect<Answer> =>
  Effect.promise(async () => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
    const text = await response.text()
    const isJson = response.headers.get("content-type")?.includes("json") === true
    const json: unknown = isJson ? JSON.parse(text) : undefined
    return { status: response.status, headers: response.headers, text, json }
  })

/** A registered tenant, its token, and a word in all of its texts. */
const newTenant = (actor: string) =>
  Effect.gen(function* () {
    const { provision } = yield* TenantRegistry.TenantRegistry
    const tenantId = yield* Tenant.generate
    yield* provision(tenantId)
    return { tenantId, actor, token: yield* Tokens.sign(tenantId, actor), word: `word-of-${tenantId}` }
  })

/** The same in every tenant, so that a mix-up would find an order. */
const orderIds = [
  "0197a000-0000-7000-8000-0000000000a1",
  "0197a000-0000-7000-8000-0000000000a2",
  "0197a000-0000-7000-8000-0000000000a3"
] as const

const line = (word: string, quantity: number) => ({ product: word, quantity, price: 100 })

describe.each(databases)("examples/saas on $name", ({ database }) => {
  const Service = Layer.orDie(App.layer({ port: 0, database, resolver: Tokens.layerDevelopment }))

  it.layer(Service, { excludeTestServices: true, timeout: "1 minute" })((it) => {
    it.effect(
      "serves fifty tenants at the same time, each with its own answers",
      () =>
        Effect.gen(function* () {
          const { url } = yield* Server.Server
          const tenants = yield* Effect.forEach(
            Array.from({ length: 50 }, (_, index) => `actor-${index}`),
            newTenant
          )
          const answersOf = Effect.fnUntraced(function* (tenant: (typeof tenants)[number], index: number) {
            const { token, word, actor } = tenant
            const answers: Array<Answer> = []
            const ask = (path: string, options: Parameters<typeof call>[2] = {}) =>
              Effect.tap(call(url, path, { token, ...options }), (answer) =>
                Effect.sync(() => answers.push(answer))
              )
            const quantity = index + 1
            let position = 0
            for (const orderId of orderIds) {
              const correlationId = `${word}-${orderId}`
              const { status, json, headers } = yield* ask(`/orders/${orderId}`, {
                method: "PUT",
                body: { lines: [line(word, quantity)] },
                headers: { "x-correlation-id": correlationId }
              })
              position++
              assert.strictEqual(status, 200)
              assert.deepStrictEqual(json, { orderId, version: 1, position })
              assert.strictEqual(headers.get("x-correlation-id"), correlationId)
            }
            const shipped = yield* ask(`/orders/${orderIds[0]}/ship`, {
              method: "POST",
              body: { parcel: word }
            })
            assert.deepStrictEqual(shipped.json, { orderId: orderIds[0], version: 2, position: 4 })
            // On a busy machine the table may lag for longer than the service waits, which then answers with a retryable error.
            const listed = yield* Effect.repeat(ask("/orders?position=4"), {
              while: (answer) => answer.status === 503,
              times: 10
            })
            assert.deepStrictEqual(listed.json, {
              orders: orderIds.map((orderId, order) => ({
                orderId,
                status: order === 0 ? "shipped" : "placed",
                lines: 1,
                total: quantity * 100,
                parcel: order === 0 ? word : null,
                placedBy: actor
              }))
            })
            const one = yield* ask(`/orders/${orderIds[0]}`)
            assert.deepStrictEqual(one.json, {
              orderId: orderIds[0],
              version: 2,
              order: { _tag: "Shipped", lines: [line(word, quantity)], parcel: word }
            })
            const audit = yield* ask("/audit")
            const { entries, next } = audit.json as {
              readonly entries: ReadonlyArray<{ readonly [name: string]: unknown }>
              readonly next: number | null
            }
            assert.isNull(next)
            assert.deepStrictEqual(
              entries.map((entry) => [entry["position"], entry["eventType"], entry["actor"]]),
              ["OrderPlaced", "OrderPlaced", "OrderPlaced", "OrderShipped"].map((type, at) => [
                at + 1,
                type,
                actor
              ])
            )
            assert.deepStrictEqual(
              entries.slice(0, 3).map(({ correlationId }) => correlationId),
              orderIds.map((orderId) => `${word}-${orderId}`)
            )
            return answers
          })
          const all = yield* Effect.forEach(tenants, answersOf, { concurrency: "unbounded" })
          for (const [index, answers] of all.entries()) {
            const text = answers.map((answer) => `${answer.text}${[...answer.headers].join()}`).join()
            assert.include(text, tenants[index]?.word ?? "no such tenant")
            for (const [other, { word, tenantId }] of tenants.entries()) {
              if (other !== index) assert.notInclude(text, word)
              if (other !== index) assert.notInclude(text, tenantId)
            }
          }
        }),
      180_000
    )

    it.effect("answers for another tenant's order as for an unknown one", () =>
      Effect.gen(function* () {
        const { url } = yield* Server.Server
        const [one, two] = [yield* newTenant("ada"), yield* newTenant("bob")]
        const placed = crypto.randomUUID()
        yield* call(url, `/orders/${placed}`, {
          token: one.token,
          method: "PUT",
          body: { lines: [line("a", 1)] }
        })
        const found: Array<ReadonlyArray<string>> = []
        for (const id of [placed, crypto.randomUUID()]) {
          const answers = [
            yield* call(url, `/orders/${id}`, { token: two.token }),
            yield* call(url, `/orders/${id}/ship`, {
              token: two.token,
              method: "POST",
              body: { parcel: "p" }
            }),
            yield* call(url, `/orders/${id}/cancel`, {
              token: two.token,
              method: "POST",
              body: { reason: "r" }
            })
          ]
          const texts = new Set(answers.map(({ status, text }) => `${status} ${text}`))
          found.push([...texts].toSorted())
          for (const text of texts) assert.match(text, /^404 \{.*"type":"urn:problem-type:[\w:-]+not-found"/)
        }
        assert.deepStrictEqual(found[0], found[1])
        assert.deepStrictEqual((yield* call(url, "/orders", { token: two.token })).json, { orders: [] })
        assert.deepStrictEqual((yield* call(url, "/audit", { token: two.token })).json, {
          entries: [],
          next: null
        })
        // The same id belongs to another order there.
        const same = yield* call(url, `/orders/${placed}`, {
          token: two.token,
          method: "PUT",
          body: { lines: [line("b", 2)] }
        })
        assert.deepInclude(same.json, { version: 1, position: 1 })
      })
    )

    it.effect("accepts repeated commands, and refuses those that an order does not allow", () =>
      Effect.gen(function* () {
        const { url } = yield* Server.Server
        const { token } = yield* newTenant("ada")
        const id = crypto.randomUUID()
        const place = (quantity: number) =>
          call(url, `/orders/${id}`, { token, method: "PUT", body: { lines: [line("a", quantity)] } })
        const first = yield* place(1)
        assert.deepStrictEqual((yield* place(1)).json, first.json)
        assert.strictEqual((yield* place(2)).status, 409)
        const cancelled = yield* call(url, `/orders/${id}/cancel`, {
          token,
          method: "POST",
          body: { reason: "too late" }
        })
        assert.deepInclude(cancelled.json, { version: 2, position: 2 })
        const late = yield* call(url, `/orders/${id}/ship`, { token, method: "POST", body: { parcel: "p" } })
        assert.deepStrictEqual(late.json, {
          type: "urn:problem-type:saas:order-refused",
          status: 409,
          title: "The order does not allow this.",
          detail: "the order has been cancelled"
        })
        const { json } = yield* call(url, "/orders?position=2", { token })
        assert.include(JSON.stringify(json), '"status":"cancelled"')
      })
    )

    it.effect("pages through orders and the audit log", () =>
      Effect.gen(function* () {
        const { url } = yield* Server.Server
        const { token } = yield* newTenant("ada")
        for (const id of orderIds)
          yield* call(url, `/orders/${id}`, { token, method: "PUT", body: { lines: [line("a", 1)] } })
        const idsOf = (path: string) =>
          Effect.map(call(url, path, { token }), ({ text }) => orderIds.filter((id) => text.includes(id)))
        assert.deepStrictEqual(yield* idsOf("/orders?position=3&limit=2"), [orderIds[0], orderIds[1]])
        assert.deepStrictEqual(yield* idsOf(`/orders?limit=2&after=${orderIds[1]}`), [orderIds[2]])
        const page = yield* call(url, "/audit?limit=2", { token })
        assert.deepInclude(page.json, { next: 2 })
        assert.deepStrictEqual(yield* idsOf("/audit?limit=2&after=2"), [orderIds[2]])
        assert.deepInclude((yield* call(url, "/audit?limit=2&after=2", { token })).json, { next: null })
      })
    )

    it.effect("reports a wrong request in JSON, and does nothing", () =>
      Effect.gen(function* () {
        const { url } = yield* Server.Server
        const { token } = yield* newTenant("ada")
        const put = (path: string, body: unknown) => call(url, path, { token, method: "PUT", body })
        const good = { lines: [line("a", 1)] }
        const answers = [
          yield* put("/orders/1", good),
          yield* put(`/orders/${orderIds[0]}`, { lines: [] }),
          yield* put(`/orders/${orderIds[0]}`, { lines: [line("a", 0)] }),
          yield* put(`/orders/${orderIds[0]}`, { lines: [line("a\0b", 1)] }),
          yield* put(`/orders/${orderIds[0]}`, { lines: [line("a\ud800", 1)] }),
          yield* call(url, "/orders?limit=501", { token }),
          yield* call(url, "/orders?position=-1", { token }),
          yield* call(url, "/orders?position=1", { token }),
          yield* call(url, "/audit?after=x", { token })
        ]
        for (const { status, json, headers } of answers) {
          assert.strictEqual(status, 400)
          assert.strictEqual(headers.get("content-type"), "application/problem+json")
          assert.deepInclude(json, { status: 400 })
          assert.isString(headers.get("x-correlation-id"))
        }
        assert.deepStrictEqual((yield* call(url, "/audit", { token })).json, { entries: [], next: null })
      })
    )

    it.effect("refuses requests with a bad token, another tenant, or a suspended tenant", () =>
      Effect.gen(function* () {
        const { url } = yield* Server.Server
        const { token, tenantId } = yield* newTenant("ada")
        const other = yield* newTenant("bob")
        const outcome = (path: string, options: Parameters<typeof call>[2] = {}) =>
          Effect.map(call(url, path, options), ({ status, text }) => [
            status,
            /"type":"[\w:-]+:([\w-]+)"/.exec(text)?.[1]
          ])
        assert.deepStrictEqual(yield* outcome("/orders"), [401, "credential-missing"])
        assert.deepStrictEqual(yield* outcome("/audit", { token: "garbage" }), [400, "credential-malformed"])
        assert.deepStrictEqual(yield* outcome("/audit", { token: `${token}x` }), [401, "credential-rejected"])
        const stranger = yield* Tokens.sign(yield* Tenant.generate, "eve")
        assert.deepStrictEqual(yield* outcome("/orders", { token: stranger }), [403, "tenant-not-known"])
        const contradicted = [403, "tenant-contradicted"]
        const headers = { "x-tenant-id": other.tenantId }
        assert.deepStrictEqual(yield* outcome("/orders", { token, headers }), contradicted)
        assert.deepStrictEqual(yield* outcome(`/orders?tenant_id=${other.tenantId}`, { token }), contradicted)
        const body = { lines: [line("a", 1)], tenantId: other.tenantId }
        const put = yield* outcome(`/orders/${orderIds[0]}`, { token, method: "PUT", body })
        assert.deepStrictEqual(put, contradicted)
        const store = yield* EventStore.EventStore
        for (const each of [tenantId, other.tenantId])
          assert.strictEqual(yield* store.position.pipe(Tenant.provide(each)), 0)
        const { suspend } = yield* TenantRegistry.TenantRegistry
        yield* suspend(other.tenantId).pipe(Tenant.provideAll({ actor: "test", reason: "test" }))
        assert.deepStrictEqual(yield* outcome("/orders", { token: other.token }), [403, "tenant-not-active"])
      })
    )

    it.effect("refuses a second authorization header, which Node alone would drop", () =>
      Effect.gen(function* () {
        const { url } = yield* Server.Server
        const [one, two] = [yield* newTenant("ada"), yield* newTenant("bob")]
        const answer = yield* Effect.callback<string>((resume) => {
          let text = ""
          const socket = connect(Number(new URL(url).port), "127.0.0.1", () => {
            socket.write(
              `GET /audit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n` +
                `Authorization: Bearer ${one.token}\r\nAuthorization: Bearer ${two.token}\r\n\r\n`
            )
          })
          socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk))
          socket.once("close", () => resume(Effect.succeed(text)))
        })
        assert.match(answer, /^HTTP\/1\.1 400 /)
        assert.include(answer, ':credential-malformed"')
      })
    )

    it.effect("refuses a body that is too large, and stays up", () =>
      Effect.gen(function* () {
        const { url } = yield* Server.Server
        const { token } = yield* newTenant("ada")
        const body = { lines: [line("x".repeat(1_100_000), 1)] }
        const { status } = yield* call(url, `/orders/${orderIds[0]}`, { token, method: "PUT", body })
        assert.strictEqual(status, 413)
        assert.strictEqual((yield* call(url, "/orders", { token })).status, 200)
      })
    )

    it.effect("reports health and readiness without a token, and nothing about tenants", () =>
      Effect.gen(function* () {
        const { url } = yield* Server.Server
        assert.deepStrictEqual((yield* call(url, "/health")).json, { status: "ok" })
        const { status, json, text } = yield* call(url, "/ready")
        assert.strictEqual(status, 200)
        assert.match(text, /^\{"status":"ready","projections":\{"parked":0,"total":\d+\}\}$/)
        assert.isDefined(json)
      })
    )

    it.effect("records an access across tenants for readiness, but not with every probe", () =>
      Effect.gen(function* () {
        const { url } = yield* Server.Server
        yield* Effect.forEach([1, 2, 3], () => call(url, "/ready"), { concurrency: "unbounded" })
        const { accesses } = yield* TenantRegistry.TenantRegistry
        const recorded = yield* Stream.runCollect(accesses).pipe(
          Tenant.provideAll({ actor: "test", reason: "count the looks of readiness" })
        )
        const looks = recorded.filter(({ operation }) =>
          operation.startsWith("ProjectionManager.statusOfAll")
        )
        assert.deepStrictEqual(
          looks.map(({ actor, reason }) => [actor, reason]),
          [["examples/saas", "readiness: are projections parked"]]
        )
      })
    )

    it.effect("describes its API, with the token and the errors", () =>
      Effect.gen(function* () {
        const { url } = yield* Server.Server
        const { text } = yield* call(url, "/openapi.json")
        for (const expected of [
          '"bearer"',
          '"/orders/{orderId}"',
          "TenantContradicted",
          "CredentialRejected"
        ])
          assert.include(text, expected)
        const docs = yield* call(url, "/docs")
        assert.strictEqual(docs.status, 200)
        assert.notMatch(docs.text, /<script[^>]* src=/)
      })
    )
  })
})

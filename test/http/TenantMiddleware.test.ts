import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Ref, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { HttpServerRequest } from "effect/http"
import * as EventStorage from "../../src/driver/EventStorage.ts"
import { Repeated, soleHeader } from "../../src/http/headers.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import { StorageUnavailable, OtherFailure } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { type Answer, serve, stranger, tenantA, tenantB } from "./support/guarded.ts"
import { resolver, sign, withToken } from "./support/tokens.ts"

const outcome = ({ status, problem }: Answer) => [status, problem]

const json = (token: string, body: unknown, type = "application/json"): RequestInit => ({
  method: "POST",
  headers: { authorization: `Bearer ${token}`, "content-type": type },
  body: typeof body === "string" ? body : JSON.stringify(body)
})

/** Counts the reads of a tenant's status, and can fail. */
const counting = (failing: Ref.Ref<boolean>, asked: Ref.Ref<number>) =>
  Layer.effect(
    EventStorage.EventStorage,
    Effect.map(EventStorage.EventStorage, (storage) => ({
      ...storage,
      tenantStatus: (tenantId: Tenant.TenantId) =>
        Ref.update(asked, (count) => count + 1).pipe(
          Effect.andThen(Ref.get(failing)),
          Effect.flatMap((fails) =>
            fails
              ? Effect.fail(
                  new StorageUnavailable({
                    reason: new OtherFailure({ operation: "read", retryable: true, code: null })
                  })
                )
              : storage.tenantStatus(tenantId)
          )
        )
    }))
  ).pipe(Layer.provide(MemoryStorage.layer))

describe("a verified tenant", () => {
  it.effect("that is not registered is refused, with nothing executed and nothing registered", () =>
    Effect.gen(function* () {
      const { send, executions, storage } = yield* serve(resolver)
      const token = yield* sign({ tenant_id: stranger })
      for (const [path, method] of [
        ["/whoami", "GET"],
        ["/append", "POST"]
      ] as const) {
        const answer = yield* send(path, { ...withToken(token), method })
        assert.deepStrictEqual(outcome(answer), [403, "tenant-not-known"])
        assert.notInclude(answer.text, stranger)
      }
      assert.strictEqual(yield* executions, 0)
      assert.isUndefined(yield* storage.tenantStatus(stranger))
    })
  )

  it.effect("that is not registered is admitted if the issuer decides on tenants", () =>
    Effect.gen(function* () {
      const { send, storage } = yield* serve(resolver, { unregistered: "accept" })
      const token = yield* sign({ tenant_id: stranger })
      assert.strictEqual((yield* send("/append", { ...withToken(token), method: "POST" })).status, 200)
      assert.strictEqual(yield* storage.tenantStatus(stranger), "active")
    })
  )

  it.effect("is admitted as soon as it is registered", () =>
    Effect.gen(function* () {
      const { send, registry } = yield* serve(resolver)
      const token = yield* sign({ tenant_id: stranger })
      assert.strictEqual((yield* send("/whoami", withToken(token))).status, 403)
      yield* registry.provision(stranger)
      assert.strictEqual((yield* send("/whoami", withToken(token))).status, 200)
    })
  )

  it.effect("that is suspended is refused with a separate error, and admitted again when it is resumed", () =>
    Effect.gen(function* () {
      const { send, registry, executions } = yield* serve(resolver)
      const access = Tenant.provideAll({ actor: "test", reason: "test" })
      yield* registry.suspend(tenantA).pipe(access)
      const answer = yield* send("/whoami", withToken(yield* sign()))
      assert.deepStrictEqual(outcome(answer), [403, "tenant-not-active"])
      assert.notInclude(answer.text, tenantA)
      assert.strictEqual(yield* executions, 0)
      assert.strictEqual((yield* send("/whoami", withToken(yield* sign({ tenant_id: tenantB })))).status, 200)
      yield* registry.resume(tenantA).pipe(access)
      assert.strictEqual((yield* send("/whoami", withToken(yield* sign()))).status, 200)
    })
  )

  it.effect("that is active is checked again only after a second, unlike others", () =>
    Effect.gen(function* () {
      const asked = yield* Ref.make(0)
      const failing = yield* Ref.make(false)
      const { send, registry } = yield* serve(resolver, {}, counting(failing, asked))
      const token = yield* sign()
      const other = yield* sign({ tenant_id: tenantB })
      yield* Effect.forEach([token, token, other, token], (one) => send("/whoami", withToken(one)))
      assert.strictEqual(yield* Ref.get(asked), 2)
      yield* registry.suspend(tenantA).pipe(Tenant.provideAll({ actor: "test", reason: "test" }))
      assert.strictEqual((yield* send("/whoami", withToken(token))).status, 200)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* send("/whoami", withToken(token))).status, 403)
      assert.strictEqual((yield* send("/whoami", withToken(token))).status, 403)
      assert.strictEqual(yield* Ref.get(asked), 4)
    })
  )

  it.effect("is checked with every request if configured so", () =>
    Effect.gen(function* () {
      const asked = yield* Ref.make(0)
      const failing = yield* Ref.make(false)
      const { send } = yield* serve(resolver, { statusTimeToLive: 0 }, counting(failing, asked))
      const token = yield* sign()
      yield* Effect.forEach([1, 2, 3], () => send("/whoami", withToken(token)))
      assert.strictEqual(yield* Ref.get(asked), 3)
    })
  )

  it.effect("whose status cannot be read is answered with 503", () =>
    Effect.gen(function* () {
      const asked = yield* Ref.make(0)
      const failing = yield* Ref.make(true)
      const { send, executions } = yield* serve(resolver, {}, counting(failing, asked))
      const token = yield* sign()
      assert.deepStrictEqual(outcome(yield* send("/whoami", withToken(token))), [
        503,
        "tenant-check-unavailable"
      ])
      assert.strictEqual(yield* executions, 0)
      yield* Ref.set(failing, false)
      assert.strictEqual((yield* send("/whoami", withToken(token))).status, 200)
    })
  )
})

describe("a tenant that the request states", () => {
  const forged = [403, "tenant-contradicted"]

  for (const stated of [tenantB, stranger, "%", "*", "acme", `${tenantA} `, `${tenantA},${tenantB}`]) {
    it.effect(`is refused in the path, the query and a header if it is another one: ${stated}`, () =>
      Effect.gen(function* () {
        const { send, executions } = yield* serve(resolver)
        const token = yield* sign()
        const encoded = encodeURIComponent(stated)
        const answers = [
          yield* send(`/tenants/${encoded}/things`, withToken(token)),
          yield* send(`/whoami?tenantId=${encoded}`, withToken(token)),
          yield* send(`/whoami?TENANT-ID=${encoded}`, withToken(token)),
          yield* send(`/whoami?tenant_id=${tenantA}&tenant_id=${encoded}`, withToken(token)),
          yield* send(`/whoami?tenantId[]=${encoded}`, withToken(token)),
          yield* send(`/whoami?tenantId%5B0%5D=${tenantA}&tenantId%5B1%5D=${encoded}`, withToken(token)),
          yield* send(`/whoami?filter[Tenant_ID]=${encoded}`, withToken(token)),
          yield* send(`/whoami?where[order][tenantId][]=${encoded}`, withToken(token)),
          yield* send("/whoami", withToken(token, { "x-tenant-id": `${tenantA}, ${stated}` }))
        ]
        for (const answer of answers) {
          assert.deepStrictEqual(outcome(answer), forged)
          assert.notInclude(answer.text, stated)
          assert.notInclude(answer.text, tenantA)
        }
        assert.deepStrictEqual(
          answers.map(({ body }) => [body["place"], body["name"]]),
          [
            ["path", "tenantId"],
            ["query", "tenantId"],
            ["query", "TENANT-ID"],
            ["query", "tenant_id"],
            ["query", "tenantId[]"],
            ["query", "tenantId[1]"],
            ["query", "filter[Tenant_ID]"],
            ["query", "where[order][tenantId][]"],
            ["header", "x-tenant-id"]
          ]
        )
        assert.strictEqual(yield* executions, 0)
      })
    )
  }

  for (const [what, body] of Object.entries({
    "of another tenant": { tenantId: tenantB },
    "of another tenant, in another spelling": { Tenant_ID: tenantB },
    "of nobody": { tenantId: null },
    "of several": { tenantId: [tenantA, tenantB] },
    "deep inside": { orders: [{ a: 1 }, { meta: { tenantId: tenantB } }] },
    "twice, as JSON takes the last": `{"tenantId":"${tenantA}","tenantId":"${tenantB}"}`,
    "behind an escape": `{"tenant\\u0049d":"${tenantB}"}`,
    "under ten thousand levels": `${'{"a":'.repeat(10_000)}{"tenantId":"${tenantB}"}${"}".repeat(10_000)}`
  })) {
    it.effect(`is refused in a body: ${what}`, () =>
      Effect.gen(function* () {
        const { send, executions } = yield* serve(resolver)
        const token = yield* sign()
        const text = typeof body === "string" ? body : JSON.stringify(body)
        const answers = [
          yield* send("/things", json(token, body)),
          yield* send("/things", json(token, body, "application/json; charset=utf-8")),
          yield* send("/things", json(token, body, "APPLICATION/JSON")),
          // The endpoint reads a body without a media type as JSON.
          yield* send("/things", {
            ...withToken(token),
            method: "POST",
            body: new TextEncoder().encode(text)
          }),
          yield* send("/vendor", json(token, body, "application/vnd.things"))
        ]
        for (const answer of answers) {
          assert.deepStrictEqual([...outcome(answer), answer.body["place"]], [...forged, "body"])
          assert.notInclude(answer.text, tenantB)
        }
        assert.strictEqual(yield* executions, 0)
      })
    )
  }

  it.effect("is refused in a form", () =>
    Effect.gen(function* () {
      const { send, executions } = yield* serve(resolver)
      const token = yield* sign()
      const form = (body: string) => json(token, body, "application/x-www-form-urlencoded")
      assert.strictEqual((yield* send("/form", form(`name=a&tenant_id=${tenantA}`))).status, 200)
      for (const body of [
        `name=a&tenant_id=${tenantB}`,
        `name=a&tenant_id=${tenantA}&tenant_id=${tenantB}`,
        `name=a&order[tenant_id]=${tenantB}`
      ]) {
        assert.deepStrictEqual(outcome(yield* send("/form", form(body))), forged)
      }
      assert.strictEqual(yield* executions, 1)
    })
  )

  it.effect("is accepted if it is the verified one, even in upper case", () =>
    Effect.gen(function* () {
      const { send } = yield* serve(resolver)
      const token = yield* sign()
      for (const stated of [tenantA, tenantA.toUpperCase()]) {
        const answers = [
          yield* send(`/tenants/${stated}/things?tenantId=${stated}&tenantId=${stated}`, withToken(token)),
          yield* send(
            `/whoami?filter[tenantId]=${stated}&tenantId[]=${stated}&filter[tenant]=B`,
            withToken(token, { "x-tenant-id": stated })
          ),
          yield* send(
            "/things",
            json(token, { a: [{ tenantId: stated }], tenantIds: [tenantB], tenant: "B" })
          )
        ]
        assert.deepStrictEqual(
          answers.map(({ status }) => status),
          [200, 200, 200]
        )
        assert.deepStrictEqual(
          answers.map(({ body }) => body["tenantId"]),
          [tenantA, tenantA, tenantA]
        )
      }
    })
  )

  it.effect("is checked under the configured names only", () =>
    Effect.gen(function* () {
      const { send } = yield* serve(resolver, {
        tenantFields: ["organisation"],
        tenantHeaders: ["x-organisation"]
      })
      const token = yield* sign()
      assert.strictEqual((yield* send("/things", json(token, { tenantId: tenantB }))).status, 200)
      assert.strictEqual((yield* send("/things", json(token, { organisation: tenantB }))).status, 403)
      const header = (name: string) => send("/whoami", withToken(token, { [name]: tenantB }))
      assert.strictEqual((yield* header("x-organisation")).status, 403)
      assert.strictEqual((yield* header("x-tenant-id")).status, 200)
    })
  )

  it.effect("leaves a body that is not JSON to the endpoint", () =>
    Effect.gen(function* () {
      const { send, executions } = yield* serve(resolver)
      const answer = yield* send("/things", json(yield* sign(), "{"))
      assert.strictEqual(answer.status, 400)
      assert.strictEqual(yield* executions, 0)
    })
  )
})

describe("a header that is given twice", () => {
  it("is found in the raw headers, because Node keeps only the first", () => {
    const request = (rawHeaders: ReadonlyArray<string>) =>
      HttpServerRequest.fromWeb(
        Object.assign(new Request("http://localhost/", { headers: { authorization: "Bearer a" } }), {
          rawHeaders
        })
      )
    assert.strictEqual(
      soleHeader(request(["Authorization", "Bearer a", "AUTHORIZATION", "Bearer b"]), "authorization"),
      Repeated
    )
    assert.strictEqual(
      soleHeader(request(["Authorization", "Bearer a", "X", "authorization"]), "authorization"),
      "Bearer a"
    )
  })
})

describe("events that handlers append", () => {
  it.effect("have the actor of the token and the correlation id of the request", () =>
    Effect.gen(function* () {
      const { send } = yield* serve(resolver)
      const init = { ...withToken(yield* sign(), { "x-correlation-id": "order-4711" }), method: "POST" }
      const { body } = yield* send("/append", init)
      assert.deepStrictEqual(body, { actor: "ada", correlationId: "order-4711" })
    })
  )
})

describe("spans", () => {
  it.effect("have the tenant and the correlation id", () =>
    Effect.gen(function* () {
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const { send } = yield* serve(resolver).pipe(Effect.withTracer(tracer))
      yield* send("/whoami", withToken(yield* sign(), { "x-correlation-id": "c1" }))
      const request = spans.find(({ kind }) => kind === "server")
      assert.strictEqual(request?.attributes.get("tenant.id"), tenantA)
      assert.strictEqual(request?.attributes.get("correlation.id"), "c1")
    })
  )
})

describe("many concurrent requests of two tenants", () => {
  it.live("are never mixed", () =>
    Effect.gen(function* () {
      const { send } = yield* serve(resolver, { statusTimeToLive: 0 })
      const tokens = { [tenantA]: yield* sign(), [tenantB]: yield* sign({ tenant_id: tenantB, sub: "bob" }) }
      const start = yield* Deferred.make<void>()
      const requests = Array.from({ length: 400 }, (_, index) => {
        const tenantId = index % 2 === 0 ? tenantA : tenantB
        const token = tokens[tenantId] ?? ""
        const correlationId = `${index}`
        return Effect.gen(function* () {
          yield* Deferred.await(start)
          const answer = yield* send("/whoami", withToken(token, { "x-correlation-id": correlationId }))
          assert.deepStrictEqual(answer.body, {
            tenantId,
            actor: tenantId === tenantA ? "ada" : "bob",
            role: null,
            correlationId
          })
          assert.strictEqual(answer.headers.get("x-correlation-id"), correlationId)
          const appended = yield* send("/append", {
            ...withToken(token, { "x-correlation-id": correlationId }),
            method: "POST"
          })
          assert.deepInclude(appended.body, { correlationId })
          const log = yield* send("/log", withToken(token))
          assert.include(log.text, tenantId)
          assert.notInclude(log.text, tenantId === tenantA ? tenantB : tenantA)
        })
      })
      yield* Effect.all(
        [Effect.all(requests, { concurrency: "unbounded" }), Deferred.succeed(start, undefined)],
        {
          concurrency: "unbounded"
        }
      )
    })
  )
})

describe("an endpoint that is not guarded", () => {
  it.effect("answers without a credential", () =>
    Effect.gen(function* () {
      const { send } = yield* serve(resolver)
      assert.strictEqual((yield* send("/health", {}, Context.empty())).status, 200)
      assert.strictEqual((yield* send("/health", { headers: { authorization: "garbage" } })).status, 200)
    })
  )
})

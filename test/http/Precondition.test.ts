import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Schema, type Scope } from "effect"
import { HttpEffect, HttpRouter, HttpServer, type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup, HttpApiTest } from "effect/http-api"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Precondition from "../../src/http/Precondition.ts"
import * as Problem from "../../src/http/Problem.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as StoreError from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Account, deposited } from "../support/bank.ts"
import { tenantA, tenantB } from "./support/guarded.ts"

const account = { tenant: Tenant.TenantId, id: Schema.String }
const Balance = Schema.Struct({ balance: Schema.Int })

const Api = HttpApi.make("test").add(
  HttpApiGroup.make("accounts").add(
    HttpApiEndpoint.post("deposit", "/:tenant/accounts/:id", {
      params: account,
      headers: Precondition.headers,
      success: Precondition.Tagged(Balance),
      error: [Problem.PreconditionFailed, ...Problem.commandErrors]
    }),
    HttpApiEndpoint.get("get", "/:tenant/accounts/:id", {
      params: account,
      success: Precondition.Tagged(Balance),
      error: Problem.queryErrors
    })
  )
)

const deposit = (id: string, headers: Precondition.Headers) =>
  Precondition.check(headers, (expected) =>
    Repository.Repository.use(({ execute }) => execute(Account, id, () => [deposited(1)], expected))
  )

const Handlers = HttpApiBuilder.group(Api, "accounts", (handlers) =>
  handlers
    .handle("deposit", ({ headers, params: { id, tenant } }) =>
      deposit(id, headers).pipe(
        Effect.map((done) => Precondition.tagged(done, { balance: done.state.balance })),
        Problem.mapErrors,
        Tenant.provide(tenant)
      )
    )
    .handle("get", ({ params: { id, tenant } }) =>
      Repository.Repository.use(({ load }) => load(Account, id)).pipe(
        Effect.map((loaded) => Precondition.tagged(loaded, { balance: loaded.state.balance })),
        Problem.mapErrors,
        Tenant.provide(tenant)
      )
    )
)

/** The same without `HttpApi`. */
const Plain = HttpRouter.add(
  "POST",
  "/plain/:id",
  Effect.gen(function* () {
    const { id = "" } = yield* HttpRouter.params
    const done = yield* deposit(id, yield* Precondition.fromRequest)
    return HttpServerResponse.empty({ status: 204, headers: { etag: Precondition.etag(done) } })
  }).pipe(Problem.mapErrors, Tenant.provide(tenantA))
)

const Store = Repository.layer.pipe(Layer.provideMerge(EventStore.layer), Layer.provide(MemoryStorage.layer))

/** The tag with the version alone, without the event id. */
const versionIn = (tag: string | null): string | null =>
  tag === null ? null : tag.replace(/^"(\d+)\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"$/, '"$1"')

const serve = Effect.gen(function* () {
  const services = yield* Layer.build(Store)
  const app = yield* HttpRouter.toHttpEffect(
    Layer.merge(HttpApiBuilder.layer(Api), Plain).pipe(
      Layer.provide(Handlers),
      HttpRouter.provideRequest(Layer.succeedContext(services)),
      Layer.provide(HttpServer.layerServices)
    )
  )
  const handler = HttpEffect.toWebHandlerWith<never, HttpServerRequest.HttpServerRequest | Scope.Scope>(
    yield* Effect.context()
  )(app)
  return (path: string, headers: Record<string, string> = {}, method = "POST") =>
    Effect.promise(async () => {
      const response = await handler(
        new Request(`http://localhost${path}`, { method, headers }),
        Context.empty()
      )
      const text = await response.text()
      return {
        status: response.status,
        tag: response.headers.get("etag"),
        etag: versionIn(response.headers.get("etag")),
        text,
        version: /"version":(\d+)/.exec(text)?.[1]
      }
    })
}).pipe(Effect.orDie)

const one = `/${tenantA}/accounts/1`
const other = `/${tenantB}/accounts/1`

describe("If-Match", () => {
  it.effect("lets a command through with the present version, and with no other", () =>
    Effect.gen(function* () {
      const send = yield* serve
      const first = yield* send(one)
      assert.deepStrictEqual([first.status, first.etag, first.text], [200, '"1"', '{"balance":1}'])
      const second = yield* send(one, { "if-match": '"1"' })
      assert.deepStrictEqual([second.status, second.etag], [200, '"2"'])
      for (const stale of ['"1"', '"0"', '"3"', '"9007199254740991"']) {
        const { status, etag, version } = yield* send(one, { "if-match": stale })
        assert.deepStrictEqual([status, etag, version], [412, null, "2"], stale)
      }
      const shown = yield* send(one, {}, "GET")
      assert.deepStrictEqual([shown.etag, shown.text], ['"2"', '{"balance":2}'])
    })
  )

  it.effect("of another history with the same version is refused, unless it contains the version alone", () =>
    Effect.gen(function* () {
      const send = yield* serve
      const first = yield* send(one)
      assert.notStrictEqual(first.tag, first.etag)
      assert.strictEqual((yield* send(one, {}, "GET")).tag, first.tag)
      // The tag of an event that a failover lost: the same version with another event.
      const lost = Precondition.etag({ version: 1, eventId: Event.generateId() })
      for (const path of [one, "/plain/1"]) {
        const { etag, status, version } = yield* send(path, { "if-match": lost })
        assert.deepStrictEqual([status, etag, version], [412, null, "1"], path)
      }
      const second = yield* send(one, { "if-match": first.tag ?? "" })
      assert.deepStrictEqual([second.status, second.etag], [200, '"2"'])
      assert.notInclude(second.tag ?? "", (first.tag ?? "").slice(3, -1))
      // The version alone cannot detect it.
      assert.strictEqual((yield* send(one, { "if-match": '"2"' })).status, 200)
      // Two events at one version are two versions.
      assert.strictEqual((yield* send(one, { "if-match": `${lost}, "1"` })).status, 400)
      const { status } = yield* send(one, { "if-match": `"3", ${first.tag}` })
      assert.strictEqual(status, 400)
    })
  )

  it.effect("is the same for a command that had nothing to do", () =>
    Effect.gen(function* () {
      const { execute, load } = yield* Repository.Repository
      const done = yield* execute(Account, "1", () => [deposited(1)])
      const idle = yield* execute(Account, "1", () => [], {
        expectedVersion: 1,
        expectedEventId: done.eventId
      })
      assert.strictEqual(done.eventId, done.events[0]?.eventId)
      assert.deepStrictEqual([idle.version, idle.eventId], [1, done.eventId])
      assert.strictEqual((yield* load(Account, "1")).eventId, done.eventId)
      assert.deepStrictEqual(Precondition.etag(yield* execute(Account, "2", () => [])), '"0"')
    }).pipe(Tenant.provide(tenantA), Effect.provide(Store))
  )

  it.effect("never matches with a weak tag, or with one that is no version", () =>
    Effect.gen(function* () {
      const send = yield* serve
      yield* send(one)
      for (const tag of [
        'W/"1"',
        '"abc"',
        '""',
        '"*"',
        '"01"',
        '"1.0"',
        '"+1"',
        '"-1"',
        '"1e0"',
        '"9007199254740993"',
        '"99999999999999999999"',
        'W/"1", W/"2"',
        '"NaN"',
        '"a,b"',
        '"1."',
        '"1.abc"',
        '"1.0190C5A0-0000-7000-8000-00000000ACEE"',
        '"0.0190c5a0-0000-7000-8000-00000000acee"'
      ]) {
        const { status, version } = yield* send(one, { "if-match": tag })
        assert.deepStrictEqual([status, version], [412, "1"], tag)
      }
      assert.strictEqual((yield* send(one, {}, "GET")).etag, '"1"')
    })
  )

  it.effect("is refused if it cannot be read, or contains several versions", () =>
    Effect.gen(function* () {
      const send = yield* serve
      yield* send(one)
      for (const text of [
        "1",
        "",
        '"1',
        '1"',
        '"1""2"',
        '"1" "2"',
        '"1", "2"',
        "*, *",
        '"1", *',
        '"1",',
        ',"1"',
        'w/"1"',
        "'1'",
        '" 1"',
        '"1\u0001"'
      ]) {
        // `Request` itself refuses control characters, as a server does.
        const { status } = yield* send(one, { "if-match": text }).pipe(
          Effect.catchDefect(() => Effect.succeed({ status: 400 }))
        )
        assert.strictEqual(status, 400, text)
      }
      assert.strictEqual((yield* send(one, {}, "GET")).etag, '"1"')
      // One version may occur several times, beside tags that cannot match.
      assert.strictEqual((yield* send(one, { "if-match": ' "1" ,"1", W/"7" ,"x"' })).status, 200)
    })
  )

  it.effect("of * expects an existing stream, and If-None-Match of * expects none", () =>
    Effect.gen(function* () {
      const send = yield* serve
      const away = yield* send(one, { "if-match": "*" })
      assert.deepStrictEqual([away.status, away.version], [412, "0"])
      assert.strictEqual((yield* send(one, { "if-none-match": "*" })).etag, '"1"')
      const there = yield* send(one, { "if-none-match": "*" })
      assert.deepStrictEqual([there.status, there.version], [412, "1"])
      assert.strictEqual((yield* send(one, { "if-match": "*" })).etag, '"2"')
      // No stream meets both at once.
      assert.strictEqual((yield* send(one, { "if-match": '"2"', "if-none-match": "*" })).status, 412)
      assert.strictEqual(
        (yield* send(`/${tenantA}/accounts/2`, { "if-match": '"0"', "if-none-match": "*" })).status,
        412
      )
      for (const text of ['"2"', 'W/"2"', "", "**"])
        assert.strictEqual((yield* send(one, { "if-none-match": text })).status, 400, text)
    })
  )

  it.effect(
    "concerns the tenant's own stream, and reveals nothing of another tenant's with the same id",
    () =>
      Effect.gen(function* () {
        const send = yield* serve
        yield* send(one)
        yield* send(one)
        const [foreign, nobody] = [
          yield* send(other, { "if-match": '"2"' }),
          yield* send(`/${tenantB}/accounts/nobody`, { "if-match": '"2"' })
        ]
        assert.deepStrictEqual(foreign, nobody)
        assert.deepStrictEqual([foreign.status, foreign.version], [412, "0"])
        assert.strictEqual((yield* send(other, { "if-none-match": "*" })).etag, '"1"')
        assert.strictEqual((yield* send(one, { "if-match": '"2"' })).etag, '"3"')
        assert.strictEqual((yield* send(other, { "if-match": '"3"' })).status, 412)
        assert.strictEqual((yield* send(other, { "if-match": '"1"' })).etag, '"2"')
      })
  )

  it.effect("lets one of many clients with the same version succeed", () =>
    Effect.gen(function* () {
      const send = yield* serve
      yield* send(one)
      const answers = yield* Effect.forEach(
        Array.from({ length: 20 }),
        () => send(one, { "if-match": '"1"' }),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        answers.map(({ status }) => status).toSorted((a, b) => a - b),
        [200, ...Array.from({ length: 19 }, () => 412)]
      )
      assert.strictEqual((yield* send(one, {}, "GET")).etag, '"2"')
    })
  )

  it.effect("works in a router without HttpApi", () =>
    Effect.gen(function* () {
      const send = yield* serve
      assert.strictEqual((yield* send("/plain/1", { "if-none-match": "*" })).etag, '"1"')
      const { status, etag } = yield* send("/plain/1", { "if-match": '"1"' })
      assert.deepStrictEqual([status, etag], [204, '"2"'])
      const stale = yield* send("/plain/1", { "if-match": '"1"' })
      assert.deepStrictEqual([stale.status, stale.version], [412, "2"])
      const malformed = yield* send("/plain/1", { "if-match": "1" })
      assert.deepStrictEqual([malformed.status, malformed.text.includes("invalid-input")], [400, true])
    })
  )

  it.effect("is a version for a typed client, like the ETag", () =>
    Effect.gen(function* () {
      const client = yield* HttpApiTest.groups(Api, ["accounts"])
      const params = { tenant: tenantA, id: "1" }
      const { headers } = yield* client.accounts.deposit({ params, headers: { "if-none-match": "noStream" } })
      const version = headers.etag
      assert.deepStrictEqual([version.version, typeof version.eventId], [1, "string"])
      const second = yield* client.accounts.deposit({ params, headers: { "if-match": version } })
      assert.deepStrictEqual([second.body, second.headers.etag.version], [{ balance: 2 }, 2])
      const caught = yield* client.accounts
        .deposit({ params, headers: { "if-match": version } })
        .pipe(Effect.catchTag("PreconditionFailedProblem", (problem) => Effect.succeed(problem.version)))
      assert.strictEqual(caught, 2)
      yield* client.accounts.deposit({ params, headers: { "if-match": "streamExists" } })
      const shown = yield* client.accounts.get({ params })
      assert.strictEqual(shown.headers.etag.version, 3)
      yield* client.accounts.deposit({ params, headers: { "if-match": { version: 3 } } })
    }).pipe(
      Effect.provide(
        Layer.mergeAll(Handlers.pipe(HttpRouter.provideRequest(Store)), HttpServer.layerServices, Store)
      )
    )
  )

  it("decodes its own tags, and tags that a proxy has made weak", () => {
    const { decodeUnknownSync: decode, encodeSync: encode } = Schema
    const eventId = Event.generateId()
    for (const expected of [
      { version: 0 },
      { version: 7 },
      { version: 7, eventId },
      { version: Number.MAX_SAFE_INTEGER },
      { version: Number.NaN },
      "streamExists"
    ] as const)
      assert.deepStrictEqual(decode(Precondition.IfMatch)(encode(Precondition.IfMatch)(expected)), expected)
    assert.deepStrictEqual(decode(Precondition.ETag)('W/"7"'), { version: 7 })
    assert.deepStrictEqual(decode(Precondition.ETag)(`W/"7.${eventId}"`), { version: 7, eventId })
    for (const text of [
      "7",
      '"07"',
      '"-7"',
      '"x"',
      'w/"7"',
      '"9007199254740993"',
      '"7.x"',
      `"7.${eventId}."`
    ])
      assert.throws(() => decode(Precondition.ETag)(text), /entity tag|integer/)
  })
})

describe("a conflict with another version than that of the request", () => {
  const stated = { "if-match": "streamExists" } as const
  const conflict = (expected: StoreError.ExpectedVersion) =>
    new StoreError.Conflict({
      reason: new StoreError.VersionConflict({
        tenantId: tenantA,
        aggregateType: "Account",
        aggregateId: "1",
        expected,
        actual: 2
      })
    })

  it.effect("stays a conflict", () =>
    Effect.gen(function* () {
      const check = (headers: Precondition.Headers, error: StoreError.Conflict) =>
        Effect.map(Effect.flip(Precondition.check(headers, () => Effect.fail(error))), ({ _tag }) => _tag)
      assert.strictEqual(yield* check(stated, conflict(1)), "Conflict")
      assert.strictEqual(yield* check(stated, conflict("streamExists")), "PreconditionFailedProblem")
      assert.strictEqual(yield* check({}, conflict("any")), "Conflict")
      assert.strictEqual(
        yield* check({ "if-match": { version: Number.NaN } }, conflict(Number.NaN)),
        "PreconditionFailedProblem"
      )
      const reused = new StoreError.Conflict({
        reason: new StoreError.CommandKeyConflict({ tenantId: tenantA, key: "k" })
      })
      assert.strictEqual(yield* check({ "if-match": { version: 1 } }, reused), "Conflict")
    })
  )

  it.effect("does not occur for a request that was carried out before", () =>
    Effect.gen(function* () {
      const { execute } = yield* Repository.Repository
      const pay = (headers: Precondition.Headers) =>
        Precondition.check(headers, (expected) =>
          execute(Account, "1", () => [deposited(1)], { command: { key: "pay" }, ...expected })
        )
      const first = yield* pay({ "if-none-match": "noStream" })
      const again = yield* pay({ "if-none-match": "noStream" })
      assert.deepStrictEqual([first.version, again.version, again.replayed], [1, 1, true])
    }).pipe(EventContext.provide({ actor: "ada" }), Tenant.provide(tenantA), Effect.provide(Store))
  )
})

/** The operations over HTTP, on a server of this process: the same answers as in the process, and the rights of operators. */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest, HttpRouter, HttpServer } from "effect/http"
import { OpenApi } from "effect/http-api"
import * as Tenant from "../../src/domain/Tenant.ts"
import type { StorageUnavailable } from "../../src/driver/StoreError.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Actions from "../../src/operations/Actions.ts"
import * as Operations from "../../src/operations/Operations.ts"
import * as OperationsApi from "../../src/operations/OperationsApi.ts"
import * as OperationsClient from "../../src/operations/OperationsClient.ts"
import * as OperationsServer from "../../src/operations/OperationsServer.ts"
import * as OperatorAccess from "../../src/operations/OperatorAccess.ts"
import * as PayloadGrant from "../../src/operations/PayloadGrant.ts"
import { append, events, newTenant, stream } from "../../src/testing/driver/eventKit.ts"
import { newProjection } from "../../src/testing/driver/projectionKit.ts"
import {
  at,
  atAll,
  depositsOf,
  fill,
  full,
  looksAt,
  operating,
  troubled
} from "../../src/testing/operations/kit.ts"

type Part = Readonly<Record<string, unknown>>
const partOf = (value: unknown): Part =>
  typeof value === "object" && value !== null ? (value as Part) : assert.fail("not an object")

/** The rights by token. Tests add theirs. */
const rights = new Map<string, OperatorAccess.Access>()

const authorize: OperatorAccess.Authorize = (request) => {
  const access = rights.get(request.headers["authorization"] ?? "")
  return access === undefined ? Effect.fail(new OperatorAccess.OperatorUnknown()) : Effect.succeed(access)
}

let tokens = 0
const newToken = (access: OperatorAccess.Access): string => {
  const token = `Bearer ${++tokens}`
  rights.set(token, access)
  return token
}

type Service = Context.Service.Shape<typeof Operations.Operations>

/** The client of an operator. */
const clientOf = (access: OperatorAccess.Access) =>
  Effect.gen(function* () {
    const { address } = yield* HttpServer.HttpServer
    const services = yield* Layer.build(
      OperationsClient.layer({
        baseUrl: `${HttpServer.formatAddress(address)}/operations`,
        transformClient: HttpClient.mapRequest(HttpClientRequest.setHeader("authorization", newToken(access)))
      }).pipe(Layer.provide(FetchHttpClient.layer))
    )
    return Context.get(services, Operations.Operations)
  })

const everyone = { actor: "boss", tenants: "all", payloads: "full", personal: true } as const

/** Serves the operations, and runs with two tenants of the same ids and other secrets. */
const serving = <A, E, R>(
  run: (a: Tenant.TenantId, b: Tenant.TenantId, local: Service) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function* () {
    const projected = yield* newProjection()
    const [a, b] = [newTenant(), newTenant()]
    yield* fill(a, "canary-of-a")
    yield* troubled(a, "canary-of-a", projected)
    yield* fill(b, "canary-of-b")
    yield* troubled(b, "canary-of-b", projected)
    return yield* operating([depositsOf(projected)], (local) =>
      Effect.gen(function* () {
        yield* Layer.build(
          HttpRouter.serve(
            OperationsServer.layer({ path: "/operations", authorize }).pipe(
              Layer.provide([Layer.succeed(Operations.Operations, local), Actions.layer()])
            ),
            { disableListenLog: true, disableLogger: true }
          )
        )
        return yield* run(a, b, local)
      })
    )
  }).pipe(Effect.provide(NodeHttpServer.layerTest, { local: true }))

/** Answers without ages in milliseconds, which go on while two answers are compared. */
const still = (answer: unknown): unknown =>
  JSON.parse(
    JSON.stringify(answer ?? null, (key, value: unknown) =>
      /^(retryInMillis|servedMillisAgo|oldestAgeMillis|oldestDeadLetterMillis)$/.test(key) ? undefined : value
    )
  )

/** The status of a refusal. */
const codeOf = (exit: Exit.Exit<unknown, StorageUnavailable>): string | null | undefined => {
  const [reason] = Exit.isFailure(exit) ? exit.cause.reasons : []
  return reason?._tag === "Fail" ? reason.error.code : undefined
}

layer(MemoryStorage.layer, { excludeTestServices: true })("operations over HTTP", (it) => {
  it.effect("give the same as in the process, to the tenant asked for alone", () =>
    serving((a, b, local) =>
      Effect.gen(function* () {
        const remote = yield* clientOf(everyone)
        for (const [tenant, foreign] of [
          [a, "canary-of-b"],
          [b, "canary-of-a"]
        ] as const) {
          const expected = looksAt(local)
          for (const [name, look] of Object.entries(looksAt(remote))) {
            const answer = still(yield* look.pipe(full, at(tenant)))
            const here = expected[name] ?? Effect.die(name)
            assert.deepStrictEqual(answer, still(yield* here.pipe(full, at(tenant))), name)
            assert.notInclude(JSON.stringify(answer), foreign, name)
          }
        }
        const page = yield* remote.tenants({ order: "head", limit: 1 }).pipe(atAll)
        assert.strictEqual(page.tenants.length, 1)
        assert.isNotNull(page.next)
        const next = yield* remote.tenants({ order: "head", after: page.next ?? undefined }).pipe(atAll)
        assert.isTrue(next.tenants.every(({ tenantId }) => tenantId !== page.tenants[0]?.tenantId))
        assert.deepStrictEqual(
          still(yield* remote.projectionsOfAll.pipe(atAll)),
          still(yield* local.projectionsOfAll.pipe(atAll))
        )
        const { accesses } = yield* remote.accesses({ tenantId: b, operation: "Operations.log" }).pipe(atAll)
        assert.deepStrictEqual(accesses.map(({ actor, reason }) => [actor, reason]).slice(0, 1), [
          ["operator", "contract"]
        ])
        assert.include(
          accesses.map(({ actor }) => actor),
          "boss"
        )
      })
    )
  )

  it.effect("follow the log live, in both directions of an operator's rights", () =>
    serving((a, b) =>
      Effect.gen(function* () {
        const remote = yield* clientOf({ actor: "one", tenants: [a] })
        const live = yield* remote
          .tail({ after: 4 })
          .pipe(Stream.take(2), Stream.runCollect, at(a), Effect.forkChild)
        yield* append(b, stream("9", events(1)))
        yield* append(a, stream("1", events(1)))
        const followed = yield* Fiber.join(live)
        assert.deepStrictEqual(
          followed.map(({ position }) => position),
          [5, 6]
        )
        const refused = yield* remote.tail({ after: 0 }).pipe(Stream.runDrain, at(b), Effect.exit)
        assert.strictEqual(codeOf(refused), "403")
      })
    )
  )

  it.effect("show an operator of a tenant that tenant alone", () =>
    serving((a, b, local) =>
      Effect.gen(function* () {
        for (const [mine, other, foreign] of [
          [a, b, "canary-of-b"],
          [b, a, "canary-of-a"]
        ] as const) {
          const remote = yield* clientOf({ ...everyone, actor: "one", tenants: [mine] })
          for (const [name, look] of Object.entries(looksAt(remote))) {
            assert.isTrue(Exit.isSuccess(yield* look.pipe(full, at(mine), Effect.exit)), name)
            const unknown = newTenant()
            const answers = yield* Effect.forEach([other, unknown], (tenant) =>
              look.pipe(full, at(tenant), Effect.exit)
            )
            assert.deepStrictEqual(answers.map(codeOf), ["403", "403"], name)
            assert.notInclude(JSON.stringify(answers), foreign)
          }
          const { next, tenants } = yield* remote.tenants({ order: "head" }).pipe(atAll)
          assert.deepStrictEqual([tenants.map(({ tenantId }) => tenantId), next], [[mine], null])
          assert.strictEqual(codeOf(yield* remote.projectionsOfAll.pipe(atAll, Effect.exit)), "403")
          assert.strictEqual(codeOf(yield* remote.accesses().pipe(atAll, Effect.exit)), "403")
          const theirs = yield* remote.accesses({ tenantId: other }).pipe(atAll, Effect.exit)
          assert.strictEqual(codeOf(theirs), "403")
          const { accesses } = yield* remote.accesses({ tenantId: mine }).pipe(atAll)
          assert.isAbove(accesses.length, 0)
          assert.notInclude(JSON.stringify(accesses), other)
        }
        // A refused look was not carried out, so it is not in the record.
        const { accesses } = yield* local.accesses({ tenantId: b, actor: "one" }).pipe(atAll)
        assert.isTrue(accesses.every(({ reason }) => reason === "contract"))
      })
    )
  )

  it.effect("page through the tenants of an operator in the same order as through all", () =>
    serving((a, b, local) =>
      Effect.gen(function* () {
        yield* append(a, stream("7", events(3)))
        const remote = yield* clientOf({ actor: "two", tenants: [b, a, newTenant()] })
        for (const order of ["id", "head", "lastAppend", "deadLetters", "distance"] as const) {
          const all = yield* local.tenants({ order, limit: 1000 }).pipe(atAll)
          const mine = all.tenants.map(({ tenantId }) => tenantId).filter((id) => id === a || id === b)
          const first = yield* remote.tenants({ order, limit: 1 }).pipe(atAll)
          const second = yield* remote
            .tenants({ order, limit: 1, after: first.next ?? undefined })
            .pipe(atAll)
          assert.deepStrictEqual(
            [...first.tenants, ...second.tenants].map(({ tenantId }) => tenantId),
            mine,
            order
          )
          assert.isNull(second.next)
        }
      })
    )
  )

  it.effect("give payloads as they are asked for, and no more than is allowed", () =>
    serving((a) =>
      Effect.gen(function* () {
        const shownTo = Effect.fnUntraced(function* (
          payloads: PayloadGrant.Payloads | undefined,
          asked: PayloadGrant.Payloads
        ) {
          const remote = yield* clientOf({ actor: "one", tenants: [a], payloads })
          const { events: found } = yield* remote
            .log({ direction: "forwards", limit: 1 })
            .pipe(PayloadGrant.provide(asked), at(a))
          return JSON.stringify(found[0]?.stored)
        })
        const whole = JSON.stringify({ _tag: "Opened", owner: "canary-of-a" })
        const masked = JSON.stringify({ _tag: "string(6)", owner: "string(11)" })
        assert.strictEqual(yield* shownTo("full", "full"), whole)
        assert.strictEqual(yield* shownTo("full", "masked"), masked)
        assert.strictEqual(yield* shownTo("masked", "full"), masked)
        assert.strictEqual(yield* shownTo(undefined, "full"), masked)
        assert.strictEqual(yield* shownTo("none", "full"), "null")
        assert.strictEqual(yield* shownTo("full", "none"), "null")
      })
    )
  )

  it.effect("refuse requests without a credential or a reason, and numbers out of range, as problems", () =>
    serving((a) =>
      Effect.gen(function* () {
        const authorization = newToken({ actor: "one", tenants: [a] })
        const get = Effect.fnUntraced(function* (path: string, headers: Record<string, string>) {
          const response = yield* HttpClient.get(`/operations/tenants/${a}/${path}`, { headers })
          const text = yield* response.text
          const problem = (response.headers["content-type"] ?? "").startsWith("application/problem+json")
          return { status: response.status, problem, text }
        })
        const reason = { "x-operator-reason": encodeURIComponent("Störung 17") }
        assert.include(yield* get("log", reason), { status: 401, problem: true })
        assert.include(yield* get("log", { authorization }), { status: 400, problem: true })
        assert.include(yield* get("log?reason=x", { authorization }), { status: 200 })
        for (const bad of ["%", "%20x", "%00", "x".repeat(1001), "%F0%9F"])
          assert.include(
            yield* get("log", { authorization, "x-operator-reason": bad }),
            { status: 400, problem: true },
            bad
          )
        for (const bad of ["limit=0", "limit=1001", "limit=x", "scan=0", "from=-1", "direction=up"])
          assert.include(
            yield* get(`log?${bad}`, { authorization, ...reason }),
            { status: 400, problem: true },
            bad
          )
        const wrong = { authorization, ...reason, "x-operator-payloads": "all" }
        assert.include(yield* get("log", wrong), { status: 400, problem: true })
        const me = yield* HttpClient.get("/operations/me", { headers: { authorization, ...reason } })
        assert.deepStrictEqual(yield* me.json, {
          actor: "one",
          tenants: [a],
          payloads: "masked",
          personal: false,
          may: "look"
        })
        const remote = yield* clientOf(everyone)
        const local = yield* remote.log({ limit: 0 }).pipe(at(a), Effect.exit)
        assert.isTrue(Exit.hasDies(local))
        const { accesses } = yield* remote.accesses({ tenantId: a, actor: "one" }).pipe(atAll)
        assert.deepStrictEqual(
          accesses.map((access) => access.reason),
          ["x"]
        )
      })
    )
  )

  it.effect("let only those act who may, at their tenants, and with the reason in the header", () =>
    serving((a, b, local) =>
      Effect.gen(function* () {
        const looker = newToken({ actor: "looker", tenants: "all" })
        const actor = newToken({ actor: "acts", tenants: [a], may: "act" })
        const reason = { "x-operator-reason": "ticket%2017" }
        const post = Effect.fnUntraced(function* (
          path: string,
          headers: Record<string, string>,
          body: Record<string, unknown>
        ) {
          const response = yield* HttpClient.execute(
            HttpClientRequest.post(`/operations/tenants/${path}`).pipe(
              HttpClientRequest.setHeaders(headers),
              HttpClientRequest.bodyJsonUnsafe(body)
            )
          )
          return { status: response.status, text: yield* response.text }
        })
        const suspend = (
          tenant: Tenant.TenantId,
          headers: Record<string, string>,
          dryRun: boolean,
          query = ""
        ) => post(`${tenant}/actions/suspendTenant${query}`, headers, { dryRun })
        const statuses = Effect.forEach([a, b], (tenant) =>
          Effect.map(local.tenants({ prefix: tenant }).pipe(atAll), ({ tenants }) => tenants[0]?.status)
        )
        assert.strictEqual((yield* suspend(a, { authorization: looker, ...reason }, false)).status, 403)
        assert.strictEqual((yield* suspend(b, { authorization: actor, ...reason }, false)).status, 403)
        assert.strictEqual((yield* suspend(a, { authorization: actor }, false, "?reason=x")).status, 403)
        assert.strictEqual((yield* suspend(a, reason, false)).status, 401)
        const dry = yield* suspend(a, { authorization: actor, ...reason }, true)
        assert.strictEqual(dry.status, 200)
        assert.deepInclude(partOf(JSON.parse(dry.text)), { dryRun: true, changed: true, tenantId: a })
        assert.deepStrictEqual(yield* statuses, ["active", "active"])
        const done = yield* suspend(a, { authorization: actor, ...reason }, false)
        assert.deepInclude(partOf(JSON.parse(done.text)), { dryRun: false, changed: true })
        assert.deepStrictEqual(yield* statuses, ["suspended", "active"])
        // The program of this test has no TenantErasure.
        const erase = yield* post(`${a}/actions/erase`, { authorization: actor, ...reason }, {})
        assert.include(erase.text, "ActionUnavailable")
      })
    )
  )

  it.effect("are unreachable as the storage is: the error says if a retry helps", () =>
    Effect.gen(function* () {
      const remote = yield* Effect.map(
        Layer.build(
          OperationsClient.layer({ baseUrl: "http://127.0.0.1:9" }).pipe(Layer.provide(FetchHttpClient.layer))
        ),
        Context.get(Operations.Operations)
      )
      const error = yield* remote.log().pipe(at(newTenant()), Effect.flip)
      assert.strictEqual(error._tag, "StorageUnavailable")
      assert.isTrue(error.retryable)
    })
  )
})

describe("the description of the operations over HTTP", () => {
  const spec = OpenApi.fromApi(OperationsApi.Api)
  const operations = Object.entries(spec.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      name: `${method} ${path}`,
      operation: partOf(operation)
    }))
  )

  it("has a summary, a description, an example of each parameter, and the errors of every endpoint", () => {
    assert.isAbove(operations.length, 13)
    for (const { name, operation } of operations) {
      assert.match(String(operation["summary"]), /^[A-Z]/, name)
      assert.match(String(operation["description"]), /\.$/, name)
      for (const parameter of operation["parameters"] as ReadonlyArray<Part>) {
        assert.match(String(parameter["description"]), /\.$/, `${name} ${String(parameter["name"])}`)
        assert.isDefined(parameter["example"], `${name} ${String(parameter["name"])}`)
      }
      assert.includeMembers(
        Object.keys(partOf(operation["responses"])),
        ["200", "400", "401", "403", "500", "503"],
        name
      )
    }
  })

  it("has an example of each text and number of the answers", () => {
    const without: Array<string> = []
    const walk = (schema: unknown, path: string): void => {
      if (Array.isArray(schema)) return schema.forEach((one) => walk(one, path))
      if (typeof schema !== "object" || schema === null) return
      const { anyOf, enum: listed, examples, items, properties, type } = schema as Part
      if (["string", "integer", "number", "boolean"].includes(String(type)))
        if (examples === undefined && listed === undefined) without.push(path)
      if (examples !== undefined) return
      walk(anyOf, path)
      walk(items, path)
      for (const [key, member] of Object.entries(properties ?? {})) walk(member, `${path}.${key}`)
    }
    for (const [name, schema] of Object.entries(spec.components.schemas))
      if (!/Problem|Encoded$|Operator|TailEnded/.test(name)) walk(schema, name)
    assert.deepStrictEqual(without, [])
  })
})

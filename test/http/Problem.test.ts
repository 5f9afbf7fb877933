import { assert, describe, it } from "@effect/vitest"
import { Effect, Equal, Layer, Logger, References, Schema } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse, ProblemDetails } from "effect/http"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiSchema,
  HttpApiTest,
  OpenApi
} from "effect/http-api"
import { SqlError } from "effect/sql"
import { ImportFailed } from "../../src/store/EventStore.ts"
import { HashChainBroken, NoHashChain } from "../../src/store/HashChain.ts"
import * as Problem from "../../src/http/Problem.ts"
import { TenantNotActive, TenantNotKnown } from "../../src/http/TenantAccessError.ts"
import * as ProjectionError from "../../src/projection/ProjectionError.ts"
import * as StoreError from "../../src/driver/StoreError.ts"

// In every field that is not for clients; no response may contain any of these.
const tenantId = "secret-tenant"
const stream = { tenantId, aggregateType: "secret-type", aggregateId: "secret-id" }
const storedEvent = { ...stream, version: 2, position: 7, eventType: "secret-event", schemaVersion: 3 }
const failure = { operation: "secret-operation", code: "secret-code" }
const projection = { tenantId, projection: "secret-projection", version: 1 }
const behind = { ...projection, wanted: 3, position: 1, head: 4, error: "secret-error" }
const parked = { ...behind, failedPosition: 2 }

const versionConflict = new StoreError.VersionConflict({ ...stream, expected: 1, actual: 2 })
const eventIdConflict = new StoreError.EventIdConflict({ tenantId, eventId: "secret-event-id" })
const diverged = new StoreError.PositionDiverged({
  tenantId,
  position: 3,
  expected: "secret-event-id",
  actual: "secret-other-id"
})
const invalidEvent = new StoreError.InvalidEvent({
  aggregateType: "secret-type",
  eventType: "secret-event",
  path: ["payload", "lines", 0, "product"],
  reason: "contains U+0000"
})
const invalidMetadata = new StoreError.InvalidEvent({
  aggregateType: "secret-type",
  eventType: "secret-event",
  path: ["metadata", "secret-key"],
  reason: "contains U+0000"
})
const item = { item: 3, aggregateType: "secret-type", aggregateId: "secret-id", eventId: "secret-event-id" }

const refusals = [new StoreError.UnknownTenant({ tenantId }), new StoreError.TenantSuspended({ tenantId })]
const conflict = (reason: StoreError.ConflictReason) => new StoreError.Conflict({ reason })
const invalid = (reason: StoreError.InvalidReason) => new StoreError.InvalidInput({ reason })
const unavailable = (reason: StoreError.UnavailableReason) => new StoreError.StorageUnavailable({ reason })

const notNow = (retryAfter?: number) =>
  [
    503,
    "UnavailableProblem",
    { outcome: "notWritten", ...(retryAfter === undefined ? {} : { retryAfter }) }
  ] as const
const mistake = [500, "InternalServerErrorProblem", {}] as const
const notFound = [404, "NotFoundProblem", {}] as const

const errors = [
  conflict(versionConflict),
  conflict(eventIdConflict),
  conflict(new StoreError.CommandKeyConflict({ tenantId, key: "secret-key" })),
  conflict(new StoreError.AppendConditionFailed({ tenantId, after: 3, position: 4, condition: 0, item: 0 })),
  conflict(diverged),
  conflict(new StoreError.SubjectsForgotten({ tenantId, forgotten: 3 })),
  diverged,
  invalid(invalidEvent),
  invalid(invalidMetadata),
  invalid(new StoreError.InvalidAggregateId({ aggregateType: "secret-type", reason: "is empty" })),
  invalid(new StoreError.LimitExceeded({ limit: "depth", subject: "payload of secret-event", maximum: 100 })),
  new StoreError.PositionAhead({ tenantId, position: 9, head: 8 }),
  new ProjectionError.InvalidReason({ reason: "is blank" }),
  new ImportFailed({ ...item, reason: invalidEvent }),
  new ImportFailed({ ...item, reason: versionConflict }),
  new StoreError.TenantRefused({ reason: new StoreError.UnknownTenant({ tenantId }) }),
  new StoreError.TenantRefused({ reason: new StoreError.TenantSuspended({ tenantId }) }),
  new StoreError.TenantRefused({ reason: new StoreError.TenantErased({ tenantId }) }),
  new StoreError.TenantRefused({ reason: new StoreError.TenantImporting({ tenantId }) }),
  new StoreError.TenantRefused({ reason: new StoreError.TenantMoving({ tenantId }) }),
  new StoreError.TenantRefused({ reason: new StoreError.TenantMoved({ tenantId }) }),
  new StoreError.TenantRefused({
    reason: new StoreError.QuotaExceeded({
      tenantId,
      quota: "rate",
      maximum: 100,
      windowMillis: 60_000,
      retryAfterMillis: 1500
    })
  }),
  new StoreError.TenantRefused({
    reason: new StoreError.QuotaExceeded({
      tenantId,
      quota: "events",
      maximum: 100,
      windowMillis: null,
      retryAfterMillis: null
    })
  }),
  new StoreError.AggregateNotFound(stream),
  new ProjectionError.DeadLetterNotFound({ ...projection, position: 3 }),
  new NoHashChain({ tenantId }),
  unavailable(new StoreError.Contended(failure)),
  unavailable(new StoreError.TimedOut(failure)),
  unavailable(new StoreError.ShuttingDown(failure)),
  unavailable(new StoreError.ReadOnly(failure)),
  unavailable(new StoreError.StorageFull(failure)),
  unavailable(new StoreError.SchemaMismatch(failure)),
  unavailable(new StoreError.ConnectionFailed({ ...failure, retryable: true })),
  unavailable(new StoreError.ConnectionFailed({ ...failure, retryable: false })),
  unavailable(new StoreError.OtherFailure({ ...failure, retryable: true })),
  unavailable(new StoreError.OtherFailure({ ...failure, retryable: false })),
  unavailable(new StoreError.KeyVaultFailed({ ...failure, retryable: true, remedy: "secret-remedy" })),
  unavailable(new StoreError.KeyVaultFailed({ ...failure, retryable: false, remedy: "secret-remedy" })),
  unavailable(new StoreError.KeyMissing({ operation: "secret-operation", tenantId, keyId: "secret-key" })),
  unavailable(
    new StoreError.SealBroken({ operation: "secret-operation", tenantId, subject: "secret-event" })
  ),
  new StoreError.OutcomeUnknown({ tenantId, eventIds: ["secret-event-id"] }),
  new ProjectionError.ProjectionBehind({ ...behind, state: "catchingUp" }),
  new ProjectionError.ProjectionParked(parked),
  new SqlError.SqlError({ reason: new SqlError.DeadlockError({ cause: "secret-cause" }) }),
  new SqlError.SqlError({ reason: new SqlError.SqlSyntaxError({ cause: "secret-cause" }) }),
  new StoreError.Undecodable({
    reason: new StoreError.EventDecodeError({ ...storedEvent, path: ["secret-key"], reason: "secret-reason" })
  }),
  new StoreError.Undecodable({ reason: new StoreError.UnknownEventType(storedEvent) }),
  new StoreError.Undecodable({
    reason: new StoreError.UnknownSchemaVersion({ ...storedEvent, oldest: 1, newest: 2 })
  }),
  new StoreError.InlineProjectionFailed({
    ...stream,
    projection: "secret-projection",
    eventType: "secret-event",
    reason: "secret-reason"
  }),
  new HashChainBroken({ tenantId, position: 3, reason: "changed" }),
  new ProjectionError.ReplayFailed({ ...projection, position: 3, error: "secret-error", replayed: 1 }),
  new ProjectionError.CannotRebuild({ projection: "secret-projection", version: 1, reason: "secret-reason" }),
  new ProjectionError.RebuildCancelled({ ...projection, tenants: 2 }),
  new ProjectionError.RebuildParked({ ...parked, tenants: 2 })
]

/** The problem of each error: its status, its tag and its further fields. */
const expected: ReadonlyArray<readonly [number, string, Readonly<Record<string, unknown>>]> = [
  [409, "ConflictProblem", { reason: "VersionConflict", version: 2 }],
  [409, "ConflictProblem", { reason: "EventIdConflict" }],
  [409, "ConflictProblem", { reason: "CommandKeyConflict" }],
  [409, "ConflictProblem", { reason: "AppendConditionFailed" }],
  [409, "ConflictProblem", { reason: "PositionDiverged" }],
  [409, "ConflictProblem", { reason: "SubjectsForgotten" }],
  [409, "ConflictProblem", { reason: "PositionDiverged" }],
  [400, "InvalidInputProblem", { path: ["lines", 0, "product"] }],
  [400, "InvalidInputProblem", {}],
  [400, "InvalidInputProblem", {}],
  [400, "InvalidInputProblem", { limit: { name: "depth", maximum: 100 } }],
  [400, "InvalidInputProblem", {}],
  [400, "InvalidInputProblem", {}],
  [400, "InvalidInputProblem", { path: ["lines", 0, "product"] }],
  [409, "ConflictProblem", { reason: "VersionConflict", version: 2 }],
  [403, "TenantNotKnown", {}],
  [403, "TenantNotActive", {}],
  [403, "TenantNotActive", {}],
  notNow(1),
  notNow(1),
  notNow(1),
  [429, "TooManyRequestsProblem", { retryAfter: 2 }],
  [429, "TooManyRequestsProblem", {}],
  notFound,
  notFound,
  notFound,
  notNow(1),
  notNow(1),
  notNow(5),
  notNow(5),
  notNow(30),
  notNow(),
  notNow(5),
  notNow(),
  notNow(5),
  notNow(),
  notNow(5),
  notNow(),
  notNow(),
  notNow(),
  [503, "UnavailableProblem", { outcome: "unknown", retryAfter: 1 }],
  notNow(1),
  notNow(),
  notNow(1),
  mistake,
  mistake,
  mistake,
  mistake,
  mistake,
  mistake,
  mistake,
  mistake,
  mistake,
  mistake
]

const reasonTag = (error: object): ReadonlyArray<string> => {
  const reason: unknown = "reason" in error ? error.reason : undefined
  return typeof reason === "object" && reason !== null && "_tag" in reason ? [String(reason._tag)] : []
}

const cases = errors.map((error, index) => {
  const [status = 0, tag = "", fields = {}] = expected[index] ?? []
  return { name: [error._tag, ...reasonTag(error)].join(" of "), error, status, tag, fields }
})

/** The response of a router without `HttpApi`, and its log. */
const respond = (failing: Effect.Effect<never, unknown>) =>
  Effect.gen(function* () {
    const logged: Array<{ readonly level: string; readonly message: unknown }> = []
    const logger = Logger.make(({ logLevel, message }) => void logged.push({ level: logLevel, message }))
    const { dispose, handler } = HttpRouter.toWebHandler(
      Layer.merge(
        HttpRouter.add("GET", "/", Problem.mapErrors(failing)),
        Layer.mergeAll(Logger.layer([logger]), Layer.succeed(References.MinimumLogLevel, "Info"))
      ),
      { disableLogger: true }
    )
    const response = yield* Effect.promise(() => handler(new Request("http://localhost/")))
    const text = yield* Effect.promise(() => response.text())
    yield* Effect.promise(dispose)
    return { response, text, logged }
  })

/** A handler that fails with the given error. */
const Api = HttpApi.make("test").add(
  HttpApiGroup.make("group").add(
    HttpApiEndpoint.get("fail", "/fail/:index", {
      params: { index: Schema.FiniteFromString },
      success: HttpApiSchema.NoContent,
      error: [...Problem.commandErrors, Problem.NotFound]
    }),
    HttpApiEndpoint.get("limited", "/limited", {
      success: HttpApiSchema.NoContent,
      error: [Problem.TooManyRequests, Problem.PreconditionFailed, ...Problem.queryErrors]
    })
  )
)

const Handlers = HttpApiBuilder.group(Api, "group", (handlers) =>
  handlers
    .handle("fail", ({ params: { index } }) => {
      const error = errors[index]
      return error === undefined ? Effect.void : Problem.mapErrors(Effect.fail(error))
    })
    .handle("limited", () => Effect.fail(Problem.tooManyRequests({ retryAfter: "1500 millis" })))
)
const Served = Layer.merge(Handlers, HttpServer.layerServices)

describe("the problem of an error of the library", () => {
  it.effect.each(cases)(
    "has its status, and reveals nothing of tenants and internals: $name",
    ({ error, fields, status, tag }) =>
      Effect.gen(function* () {
        const { response, text, logged } = yield* respond(Effect.fail(error))
        assert.strictEqual(response.status, status)
        assert.strictEqual(response.headers.get("content-type"), "application/problem+json")
        assert.notInclude(text, "secret")
        const { detail, title, type, ...rest } = yield* Schema.decodeUnknownEffect(ProblemDetails.Schema)(
          JSON.parse(text)
        )
        assert.deepStrictEqual(rest, { ...fields, status })
        assert.isString(title)
        assert.isString(type)
        assert.strictEqual(detail === undefined, status === 403 || status === 404 || status === 500)
        assert.strictEqual(
          response.headers.get("retry-after"),
          "retryAfter" in fields ? String(fields["retryAfter"]) : null
        )
        assert.strictEqual(Problem.fromError(error)._tag, tag)
        // If a client can do nothing, operators get the full error.
        const level = status === 500 ? ["Error"] : status === 503 ? ["Warn"] : []
        assert.deepStrictEqual(
          logged.filter(({ level: at }) => at === "Error" || at === "Warn").map(({ level: at }) => at),
          error._tag === "ProjectionBehind" ? [] : level
        )
        if (logged.length > 0 && level.length > 0 && error._tag !== "ProjectionBehind")
          assert.include(logged[0]?.message, error)
      })
  )

  it.effect.each(cases)("is caught by a typed client: $name", ({ error, tag }) =>
    Effect.gen(function* () {
      const client = yield* HttpApiTest.groups(Api, ["group"])
      const problem = yield* Effect.flip(client.group.fail({ params: { index: errors.indexOf(error) } }))
      assert.strictEqual(problem._tag, tag)
      assert.isTrue(Equal.equals(problem, Problem.fromError(error)))
    }).pipe(Effect.provide(Served))
  )

  it("exists for every error of the store and of read models", () => {
    const seen = new Set(errors.flatMap((error) => reasonTag(error).concat(error._tag)))
    assert.deepStrictEqual(
      [...Object.keys(StoreError), ...Object.keys(ProjectionError)].filter((name) => !seen.has(name)),
      // A defect, and errors at the start of a layer; neither belongs to a request.
      ["TenantMismatch", "ProjectionRefused"]
    )
    assert.lengthOf(expected, errors.length)
  })

  it.effect("leaves errors and defects of the program unchanged", () =>
    Effect.gen(function* () {
      const own = { _tag: "Conflict", reason: versionConflict }
      assert.strictEqual(Problem.fromError(own), own)
      const failing: Effect.Effect<never, typeof own> = Effect.fail(own)
      assert.strictEqual(yield* Effect.flip(Problem.mapErrors(failing)), own)
      const dying = yield* respond(Effect.die(new StoreError.TenantMismatch({ tenantId })))
      assert.deepStrictEqual([dying.response.status, dying.text], [500, ""])
      // A response is not an error.
      const response = HttpServerResponse.text("teapot", { status: 418 })
      assert.strictEqual((yield* respond(Effect.fail(response))).response.status, 418)
    })
  )

  it.effect(
    "has its time in whole seconds, in the body and in the header, also for limits of the program",
    () =>
      Effect.gen(function* () {
        const client = yield* HttpApiTest.groups(Api, ["group"])
        const limited = yield* Effect.flip(client.group.limited())
        assert.deepInclude(limited, { _tag: "TooManyRequestsProblem", retryAfter: 2 })
        const { response } = yield* respond(
          Effect.fail(Problem.tooManyRequests({ retryAfter: "1500 millis" }))
        )
        assert.deepStrictEqual([response.status, response.headers.get("retry-after")], [429, "2"])
        const endless = yield* respond(Effect.fail(Problem.unavailable({ retryAfter: Infinity })))
        assert.deepStrictEqual(
          [endless.response.status, endless.response.headers.get("retry-after")],
          [503, null]
        )
        assert.notInclude(endless.text, "retryAfter")
      }).pipe(Effect.provide(Served))
  )

  it.effect("carries its header through HttpApi", () =>
    Effect.gen(function* () {
      const { dispose, handler } = HttpRouter.toWebHandler(
        HttpApiBuilder.layer(Api).pipe(Layer.provide(Handlers), Layer.provide(HttpServer.layerServices)),
        { disableLogger: true }
      )
      for (const { error, fields, status } of cases) {
        const response = yield* Effect.promise(() =>
          handler(new Request(`http://localhost/fail/${errors.indexOf(error)}`))
        )
        assert.deepStrictEqual(
          [response.status, response.headers.get("retry-after"), response.headers.get("content-type")],
          [status, "retryAfter" in fields ? String(fields["retryAfter"]) : null, "application/problem+json"]
        )
      }
      yield* Effect.promise(dispose)
    })
  )

  it("is described in OpenAPI, with its header", () => {
    const text = JSON.stringify(OpenApi.fromApi(Api))
    for (const part of ["application/problem+json", "retry-after", "ConflictProblem", "UnavailableProblem"])
      assert.include(text, part)
  })

  it("of a refused tenant is that of the middleware", () => {
    const problems = refusals.map((reason) => Problem.fromError(new StoreError.TenantRefused({ reason })))
    assert.instanceOf(problems[0], TenantNotKnown)
    assert.instanceOf(problems[1], TenantNotActive)
  })
})

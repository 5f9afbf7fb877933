import { assert, describe, it } from "@effect/vitest"
import { Effect, Equal, Schema } from "effect"
import * as StoreError from "../../src/driver/StoreError.ts"

const tenantId = "0197a000-0000-7000-8000-00000000000a"
const stream = { tenantId, aggregateType: "Account", aggregateId: "1" }
const storedEvent = { ...stream, version: 2, position: 7, eventType: "Opened", schemaVersion: 3 }
const failure = { operation: "append", code: "57P01" }

const conflicts = [
  new StoreError.VersionConflict({ ...stream, expected: 1, actual: 2 }),
  new StoreError.VersionConflict({ ...stream, expected: "noStream", actual: 2 }),
  new StoreError.VersionConflict({ ...stream, expected: Number.NaN, actual: 2 }),
  new StoreError.EventIdConflict({ tenantId, eventId: "0197a000-0000-7000-8000-0000000000e1" }),
  new StoreError.CommandKeyConflict({ tenantId, key: "pay" }),
  new StoreError.AppendConditionFailed({ tenantId, after: 3, position: 4, condition: 0, item: 1 }),
  new StoreError.VersionConflict({
    ...stream,
    expected: 2,
    actual: 2,
    expectedEventId: "e1",
    actualEventId: "e2"
  }),
  new StoreError.PositionDiverged({ tenantId, position: 3, expected: "e1", actual: "e2" }),
  new StoreError.PositionDiverged({ tenantId, position: 3, expected: "e1", actual: null }),
  new StoreError.SubjectsForgotten({ tenantId, forgotten: 3 })
]
const inputs = [
  new StoreError.InvalidEvent({
    aggregateType: "Account",
    eventType: "Opened",
    path: ["payload", "lines", 0],
    reason: "contains U+0000"
  }),
  new StoreError.InvalidAggregateId({ aggregateType: "Account", reason: "is empty" }),
  new StoreError.LimitExceeded({ limit: "depth", subject: "payload of Opened", maximum: 100 })
]
const refusals = [
  new StoreError.UnknownTenant({ tenantId }),
  new StoreError.TenantSuspended({ tenantId }),
  new StoreError.TenantImporting({ tenantId }),
  new StoreError.TenantMoving({ tenantId }),
  new StoreError.TenantMoved({ tenantId }),
  new StoreError.TenantErased({ tenantId }),
  new StoreError.QuotaExceeded({
    tenantId,
    quota: "rate",
    maximum: 100,
    windowMillis: 60_000,
    retryAfterMillis: 1500
  })
]
const undecodables = [
  new StoreError.EventDecodeError({ ...storedEvent, path: ["amount"], reason: "Expected number" }),
  new StoreError.UnknownEventType(storedEvent),
  new StoreError.UnknownSchemaVersion({ ...storedEvent, oldest: 1, newest: 2 })
]
const kinds = [
  new StoreError.ConnectionFailed({ ...failure, retryable: true }),
  new StoreError.ConnectionFailed({ operation: "read", code: null, retryable: false }),
  new StoreError.TimedOut(failure),
  new StoreError.ShuttingDown(failure),
  new StoreError.Contended(failure),
  new StoreError.ReadOnly(failure),
  new StoreError.StorageFull(failure),
  new StoreError.SchemaMismatch(failure),
  new StoreError.OtherFailure({ ...failure, retryable: true }),
  new StoreError.KeyVaultFailed({ ...failure, retryable: false, remedy: "restore the file" }),
  new StoreError.KeyMissing({ operation: "read", tenantId, keyId: "k1" }),
  new StoreError.SealBroken({ operation: "read", tenantId, subject: "event e1" })
]

const grouped = [
  ...conflicts.map((reason) => new StoreError.Conflict({ reason })),
  ...inputs.map((reason) => new StoreError.InvalidInput({ reason })),
  ...refusals.map((reason) => new StoreError.TenantRefused({ reason })),
  ...undecodables.map((reason) => new StoreError.Undecodable({ reason })),
  ...kinds.map((reason) => new StoreError.StorageUnavailable({ reason }))
]

const errors = [
  ...grouped,
  new StoreError.OutcomeUnknown({ tenantId, eventIds: ["e1", "e2"] }),
  new StoreError.PositionDiverged({ tenantId, position: 3, expected: "e1", actual: null }),
  new StoreError.PositionAhead({ tenantId, position: 9, head: 8 }),
  new StoreError.PositionAhead({ tenantId, position: Infinity, head: 8 }),
  new StoreError.AggregateNotFound(stream),
  new StoreError.InlineProjectionFailed({
    ...stream,
    projection: "names",
    eventType: "Opened",
    reason: "unique"
  })
]

/** One schema for all of them, for a protocol that sends any. */
const AnyError = Schema.toCodecJson(
  Schema.Union([
    StoreError.Conflict,
    StoreError.InvalidInput,
    StoreError.TenantRefused,
    StoreError.Undecodable,
    StoreError.StorageUnavailable,
    StoreError.OutcomeUnknown,
    StoreError.PositionDiverged,
    StoreError.PositionAhead,
    StoreError.AggregateNotFound,
    StoreError.InlineProjectionFailed
  ])
)

const nameOf = (error: (typeof errors)[number]): string =>
  `${error._tag}${"reason" in error && typeof error.reason === "object" ? ` of ${error.reason._tag}` : ""}`

describe("an error of the store", () => {
  it.effect.each(errors.map((error) => [nameOf(error), error] as const))(
    "is the same after it was sent as JSON: %s",
    ([, error]) =>
      Effect.gen(function* () {
        const sent = JSON.stringify(yield* Schema.encodeEffect(AnyError)(error))
        const received = yield* Schema.decodeUnknownEffect(AnyError)(JSON.parse(sent))
        assert.isTrue(Equal.equals(received, error), sent)
        assert.strictEqual(received.constructor, error.constructor)
        assert.strictEqual(received.message, error.message)
        if ("reason" in error && typeof error.reason === "object")
          assert.deepStrictEqual(
            "reason" in received && Object.getPrototypeOf(received.reason),
            Object.getPrototypeOf(error.reason)
          )
        if (error instanceof StoreError.StorageUnavailable) {
          assert.instanceOf(received, StoreError.StorageUnavailable)
          assert.deepInclude(received, { retryable: error.retryable, code: error.code })
        }
      })
  )

  it("is one of those above, or the defect of a program", () => {
    const seen = new Set<string>()
    for (const error of errors) {
      seen.add(error._tag)
      if ("reason" in error && typeof error.reason === "object") seen.add(error.reason._tag)
    }
    assert.deepStrictEqual(
      Object.keys(StoreError).filter((name) => !seen.has(name)),
      ["TenantMismatch"]
    )
  })

  it.effect.each(grouped.map((error) => [nameOf(error), error] as const))(
    "can be caught by its reason: %s",
    ([, error]) =>
      Effect.gen(function* () {
        const failing: Effect.Effect<never, typeof error> = Effect.fail(error)
        const { _tag, reason } = error
        const caught = yield* failing.pipe(
          Effect.unwrapReason("Conflict"),
          Effect.unwrapReason("InvalidInput"),
          Effect.unwrapReason("TenantRefused"),
          Effect.unwrapReason("Undecodable"),
          Effect.unwrapReason("StorageUnavailable"),
          Effect.flip
        )
        assert.strictEqual(caught, reason)
        const byReason = failing.pipe(
          Effect.catchReasons("Conflict", {
            VersionConflict: () => Effect.succeed("caught"),
            EventIdConflict: () => Effect.succeed("caught"),
            CommandKeyConflict: () => Effect.succeed("caught"),
            AppendConditionFailed: () => Effect.succeed("caught"),
            PositionDiverged: () => Effect.succeed("caught"),
            SubjectsForgotten: () => Effect.succeed("caught")
          }),
          Effect.catch(() => Effect.succeed("not caught"))
        )
        assert.strictEqual(yield* byReason, _tag === "Conflict" ? "caught" : "not caught")
      })
  )
})

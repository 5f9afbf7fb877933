/** The contract of actions: tenants, quotas, erasure, hash chains, archives and the record. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect, Stream } from "effect"
import type { ActionError } from "../../operations/Actions.ts"
import { AdministrationStorage } from "../../driver/AdministrationStorage.ts"
import { EventStorage } from "../../driver/EventStorage.ts"
import type { Storages } from "../../operations/Operations.ts"
import * as Operations from "../../operations/Operations.ts"
import { administered, record } from "../driver/administrationKit.ts"
import { append, events, newTenant, stream } from "../driver/eventKit.ts"
import { acting, last, recordedOf } from "./actingKit.ts"
import { at, atAll } from "./kit.ts"

const statusOf = (tenantId: ReturnType<typeof newTenant>) =>
  Effect.map(record(tenantId), (found) => found?.state.status)

/** The error of an action, without the id of its record. */
const refusal = <A, R>(action: Effect.Effect<A, ActionError, R>) =>
  Effect.map(Effect.flip(action), (error) => [error._tag, "error" in error ? error.error : undefined])

export const actions = (it: Vitest.MethodsNonLive<Storages>): void => {
  it.effect("provisions, suspends and resumes a tenant, and counts that in a dry run", () =>
    acting([], (act) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        const dry = yield* act.provisionTenant({ dryRun: true }).pipe(at(tenant))
        assert.deepInclude(dry, { action: "provisionTenant", tenantId: tenant, dryRun: true, changed: true })
        assert.isUndefined(yield* statusOf(tenant))
        assert.isTrue((yield* act.provisionTenant().pipe(at(tenant))).changed)
        const again = yield* act.provisionTenant().pipe(at(tenant))
        assert.deepInclude(again, { changed: false, details: { status: "active" } })
        assert.strictEqual(again.counts.tenants, 0)
        assert.isTrue((yield* act.suspendTenant({ dryRun: true }).pipe(at(tenant), atAll)).changed)
        assert.strictEqual(yield* statusOf(tenant), "active")
        const suspended = yield* act.suspendTenant().pipe(at(tenant), atAll)
        assert.deepInclude(suspended, { changed: true, details: { formerStatus: "active" } })
        assert.strictEqual(yield* statusOf(tenant), "suspended")
        assert.isFalse((yield* act.suspendTenant({ dryRun: true }).pipe(at(tenant), atAll)).changed)
        assert.isTrue((yield* act.resumeTenant().pipe(at(tenant), atAll)).changed)
        assert.strictEqual(yield* statusOf(tenant), "active")
      })
    )
  )

  it.effect("sets and clears quotas and legal holds", () =>
    acting([], (act) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* append(tenant, stream("1", events(1)))
        const quota = { events: 10, rate: { events: 5, windowMillis: 1000 } }
        yield* act.setQuota({ quota, dryRun: true }).pipe(at(tenant))
        assert.isUndefined((yield* record(tenant))?.quota)
        yield* act.setQuota({ quota }).pipe(at(tenant))
        assert.deepStrictEqual((yield* record(tenant))?.quota, quota)
        assert.isTrue((yield* act.clearQuota({ dryRun: true }).pipe(at(tenant))).changed)
        assert.isTrue((yield* act.clearQuota().pipe(at(tenant))).changed)
        assert.isUndefined((yield* record(tenant))?.quota)
        assert.isFalse((yield* act.clearQuota().pipe(at(tenant))).changed)
        yield* act.holdTenant({ dryRun: true }).pipe(at(tenant))
        assert.isUndefined((yield* record(tenant))?.hold)
        yield* act.holdTenant().pipe(at(tenant))
        assert.deepInclude((yield* record(tenant))?.hold, { actor: "operator", reason: "contract" })
        for (const dryRun of [true, false])
          assert.deepStrictEqual(yield* refusal(last(act.erase({ dryRun })).pipe(at(tenant))), [
            "ActionRefused",
            "TenantHeld"
          ])
        yield* act.releaseTenant().pipe(at(tenant))
        assert.isUndefined((yield* record(tenant))?.hold)
      })
    )
  )

  it.effect("erases a tenant at once, or after a delay in which it can be undone", () =>
    acting([], (act) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* append(tenant, stream("1", events(3)))
        const dry = yield* last(act.erase({ dryRun: true })).pipe(at(tenant))
        assert.deepInclude(dry, { changed: true, dryRun: true })
        assert.deepInclude(dry.counts, { tenants: 1, events: 3 })
        assert.strictEqual(yield* statusOf(tenant), "active")
        const scheduled = yield* last(act.erase({ delayMillis: 60_000 })).pipe(at(tenant))
        assert.deepInclude(scheduled.details, { complete: false })
        assert.strictEqual(yield* statusOf(tenant), "erased")
        yield* act.undoErasure({ dryRun: true }).pipe(at(tenant))
        assert.strictEqual(yield* statusOf(tenant), "erased")
        yield* act.undoErasure().pipe(at(tenant))
        assert.strictEqual(yield* statusOf(tenant), "active")
        assert.deepStrictEqual(yield* refusal(act.undoErasure().pipe(at(tenant))), [
          "ActionRefused",
          "TenantStateConflict"
        ])
        assert.deepStrictEqual(yield* refusal(last(act.finishErasure()).pipe(at(tenant))), [
          "ActionRefused",
          "TenantStateConflict"
        ])
        const erased = yield* last(act.erase()).pipe(at(tenant))
        assert.deepInclude(erased.counts, { tenants: 1, events: 3 })
        assert.isAtLeast(erased.counts.rows ?? 0, 3)
        assert.deepInclude(erased.details, { complete: true, keys: "noVault" })
        const finished = yield* last(act.finishErasure({ dryRun: true })).pipe(at(tenant))
        assert.isFalse(finished.changed)
      })
    )
  )

  it.effect("verifies the chain of one tenant and of all, and finds the broken one", () =>
    acting([], (act) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* append(tenant, stream("1", events(1)))
        assert.deepStrictEqual(yield* refusal(last(act.verify({ dryRun: true })).pipe(at(tenant))), [
          "ActionRefused",
          "NoHashChain"
        ])
        yield* EventStorage.use((storage) => storage.startHashChain(tenant))
        yield* append(tenant, stream("2", events(600)))
        const dry = yield* last(act.verify({ dryRun: true })).pipe(at(tenant))
        assert.deepInclude(dry.counts, { tenants: 1, events: 600 })
        const steps = yield* Stream.runCollect(act.verify()).pipe(at(tenant))
        assert.deepStrictEqual(
          steps.filter(({ result }) => result === null).map(({ done, total }) => [done, total]),
          [
            [500, 601],
            [601, 601]
          ]
        )
        const result = steps.at(-1)?.result
        assert.deepInclude(result?.counts, { events: 600 })
        const chain = yield* Operations.Operations.use((looks) => looks.chain).pipe(at(tenant))
        assert.deepInclude(result?.details["head"], { position: 601, hash: chain?.hash ?? null })
        const wrong = { position: 601, hash: "0".repeat(64) }
        assert.deepStrictEqual(yield* refusal(last(act.verify({ anchor: wrong })).pipe(at(tenant))), [
          "ActionFailed",
          "HashChainBroken"
        ])
        const onRecord = yield* Operations.Operations.use((looks) => looks.chain).pipe(at(tenant))
        assert.deepStrictEqual(
          onRecord?.verifications.map(({ actor, anchor, events: proved, problem }) => [
            actor,
            anchor?.position,
            proved,
            problem === null
          ]),
          [
            ["operator", undefined, null, false],
            ["operator", 601, 600, true]
          ]
        )
        const all = yield* last(act.verifyAll({ dryRun: true })).pipe(atAll)
        assert.isAtLeast(all.counts.events ?? 0, 600)
        yield* last(act.verifyAll()).pipe(atAll)
        const [newest] = yield* recordedOf(tenant)
        assert.deepInclude(newest?.outcome, { status: "succeeded" })
        assert.include(newest?.operation, "Actions.verify ")
      })
    )
  )

  it.effect("exports a tenant, and imports it again after its erasure from the id", () =>
    acting([], (act) =>
      Effect.gen(function* () {
        const [tenant, other] = [newTenant(), newTenant()]
        assert.deepStrictEqual(yield* refusal(act.measureExport().pipe(at(tenant))), [
          "ActionRefused",
          "TenantRefused"
        ])
        yield* append(tenant, stream("1", events(4)))
        const dry = yield* act.measureExport().pipe(at(tenant))
        assert.deepInclude(dry.counts, { tenants: 1, events: 4 })
        let progress = 0
        const archive = yield* act
          .export({}, { onProgress: ({ bytes }) => Effect.sync(() => void (progress = bytes)) })
          .pipe(Stream.runCollect, at(tenant))
        const bytes = archive.reduce((sum, part) => sum + part.length, 0)
        assert.strictEqual(progress, bytes)
        const [exported] = yield* recordedOf(tenant)
        assert.strictEqual(
          exported?.outcome?.status === "succeeded" ? exported.outcome.counts.bytes : undefined,
          bytes
        )
        const input = Stream.fromIterable(archive)
        for (const dryRun of [true, false]) {
          assert.deepStrictEqual(yield* refusal(last(act.import(input, { dryRun })).pipe(at(other))), [
            "ActionFailed",
            "InvalidArchive"
          ])
          assert.isUndefined(yield* statusOf(other))
          assert.deepStrictEqual(yield* refusal(last(act.import(input, { dryRun })).pipe(at(tenant))), [
            "ActionRefused",
            "TenantStateConflict"
          ])
        }
        const counted = yield* last(act.import(input, { dryRun: true, fromOther: true })).pipe(at(other))
        assert.deepInclude(counted.counts, { tenants: 1, events: 4 })
        assert.isUndefined(yield* statusOf(other))
        const imported = yield* last(act.import(input, { fromOther: true })).pipe(at(other))
        assert.deepInclude(imported.counts, { tenants: 1, events: 4 })
        assert.strictEqual((yield* record(other))?.position, 4)
        assert.deepStrictEqual(yield* refusal(act.abandonImport().pipe(at(other))), [
          "ActionRefused",
          "TenantStateConflict"
        ])
      })
    )
  )

  it.effect("records who, why, the parameters and the outcome, once", () =>
    acting([], (act) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* append(tenant, stream("1", events(2)))
        yield* act.setQuota({ quota: { events: 10 } }).pipe(at(tenant))
        yield* act.setQuota({ quota: { plan: "no \0 plan \ud800" } }).pipe(Effect.ignore, at(tenant))
        yield* last(act.erase({ dryRun: true })).pipe(at(tenant))
        const storage = yield* EventStorage
        const open = yield* storage.recordAccess({
          actor: "operator",
          reason: "contract",
          operation: `Actions.rebuild ${tenant}`,
          parameters: { projection: "orders" }
        })
        const records = yield* recordedOf(tenant)
        assert.deepStrictEqual<ReadonlyArray<object>>(
          records.map(({ operation, outcome, parameters }) => ({
            operation: operation.split(" ")[0],
            parameters,
            outcome: outcome === null ? null : outcome.status
          })),
          [
            { operation: "Actions.rebuild", parameters: { projection: "orders" }, outcome: null },
            { operation: "Actions.erase", parameters: { dryRun: true }, outcome: "succeeded" },
            {
              operation: "Actions.setQuota",
              parameters: { dryRun: false, quota: { plan: "no \uFFFD plan \uFFFD" } },
              outcome: "failed"
            },
            {
              operation: "Actions.setQuota",
              parameters: { dryRun: false, quota: { events: 10 } },
              outcome: "succeeded"
            }
          ]
        )
        for (const one of records) assert.deepInclude(one, { actor: "operator", reason: "contract" })
        for (const { completedAt, outcome } of records)
          assert.strictEqual(completedAt === null, outcome === null)
        const complete = storage.completeAccess({ accessId: open, outcome: { status: "interrupted" } })
        assert.isTrue(yield* complete)
        assert.isFalse(yield* complete)
        const [first] = yield* recordedOf(tenant)
        assert.deepStrictEqual(first?.outcome, { status: "interrupted" })
        const look = yield* storage.recordAccess({ actor: "a", reason: "b", operation: `Look ${tenant}` })
        assert.isFalse(yield* storage.completeAccess({ accessId: look, outcome: {} }))
        const page = yield* storage.listAccesses({
          accessId: look,
          before: undefined,
          operation: `Actions.setQuota ${tenant}`,
          limit: 1
        })
        assert.deepStrictEqual([page.rows.length, page.complete], [1, false])
        assert.deepStrictEqual(page.rows[0]?.parameters, records[2]?.parameters)
      })
    )
  )

  it.effect("records an action that its caller interrupts", () =>
    acting([], (act) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* append(tenant, stream("1", events(1)))
        yield* EventStorage.use((storage) => storage.startHashChain(tenant))
        yield* append(tenant, stream("2", events(600)))
        yield* act.verify().pipe(Stream.take(1), Stream.runDrain, at(tenant))
        const [first] = yield* recordedOf(tenant)
        assert.deepStrictEqual(first?.outcome, { status: "interrupted" })
      })
    )
  )

  it.effect("fails without a part that the program has not provided", () =>
    acting([], (act) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* append(tenant, stream("1", events(1)))
        const missing = Effect.fnUntraced(function* <R>(action: Effect.Effect<unknown, ActionError, R>) {
          const error = yield* Effect.flip(action)
          return error._tag === "ActionUnavailable" ? error.missing : error._tag
        })
        for (const dryRun of [true, false]) {
          assert.strictEqual(
            yield* missing(last(act.move({ to: "two", dryRun })).pipe(at(tenant))),
            "TenantMove"
          )
          assert.strictEqual(
            yield* missing(act.forget({ subject: "ada", dryRun }).pipe(at(tenant))),
            "Forgetting"
          )
          assert.include(
            yield* missing(last(act.rebuild({ projection: "orders", dryRun })).pipe(at(tenant))),
            "projection orders"
          )
        }
      })
    )
  )

  it.effect("acts on the tenant of the operator alone, with the same ids in another one", () =>
    acting([], (act) =>
      Effect.gen(function* () {
        const [mine, other] = [newTenant(), newTenant()]
        for (const tenant of [mine, other]) yield* append(tenant, stream("1", events(2)))
        const before = yield* record(other)
        yield* act.setQuota({ quota: { events: 5 } }).pipe(at(mine))
        yield* act.holdTenant().pipe(at(mine))
        yield* act.releaseTenant().pipe(at(mine))
        yield* act.suspendTenant().pipe(at(mine), atAll)
        yield* last(act.erase()).pipe(at(mine))
        assert.deepStrictEqual(yield* record(other), before)
        assert.deepStrictEqual(yield* recordedOf(other), [])
        const request = yield* administered(other)
        const { rows } = yield* AdministrationStorage.use((storage) =>
          storage.readEvents({ ...request, fromPosition: 1, toPosition: 9, limit: 9 })
        )
        assert.lengthOf(rows, 2)
      })
    )
  )
}

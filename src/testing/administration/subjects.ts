/** The contract of drivers: subjects that are forgotten, allowed again or held. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { AdministrationStorage } from "../../driver/AdministrationStorage.ts"
import type { EventStorage } from "../../driver/EventStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import {
  administered,
  begun,
  change,
  changeSubject,
  forgetting,
  forgottenSubjects,
  listedSubjects,
  newToken,
  purge,
  rawEvents,
  record
} from "../driver/administrationKit.ts"
import {
  append,
  appended,
  batch,
  endsWith,
  event,
  events,
  newTenant,
  request,
  setStatus,
  stream
} from "../driver/eventKit.ts"
import { flipped } from "../failures.ts"

type Services = AdministrationStorage | EventStorage

const lastOf = (wanted: ReturnType<typeof forgetting>, number: number, allowedAgainAt?: number) => {
  const { change: _, ...last } = wanted
  return { ...last, number, allowedAgainAt }
}

const tagOf = <A, R>(effect: Effect.Effect<A, { readonly _tag: string }, R>) =>
  Effect.map(Effect.flip(effect), (error) => error._tag)

export const subjects = (it: Vitest.MethodsNonLive<Services>): void => {
  it.effect("raises the tenant's number once for each forgetting, and leaves other tenants alone", () =>
    Effect.gen(function* () {
      const [tenant, other] = [newTenant(), newTenant()]
      yield* append(tenant, stream("one", events(1)))
      yield* append(other, stream("one", events(1)))
      const [first, second, third] = [forgetting(), forgetting(), forgetting()]
      assert.deepStrictEqual(yield* forgottenSubjects(tenant, 0), { forgotten: 0, subjects: [] })
      assert.deepStrictEqual((yield* changeSubject(tenant, "ada", first)).forgotten, lastOf(first, 1))
      assert.deepStrictEqual((yield* changeSubject(tenant, "ada", first)).forgotten, lastOf(first, 1))
      yield* changeSubject(tenant, "bob", second)
      const row = (wanted: typeof first, number: number, subject: string) => ({
        number,
        subject,
        forgetting: wanted.forgetting,
        forgottenAt: wanted.forgottenAt,
        allowedAgainAt: undefined,
        ended: false
      })
      assert.deepStrictEqual(yield* forgottenSubjects(tenant), { forgotten: 2, subjects: [] })
      assert.deepStrictEqual(yield* forgottenSubjects(tenant, 0), {
        forgotten: 2,
        subjects: [row(first, 1, "ada"), row(second, 2, "bob")]
      })
      assert.deepStrictEqual(yield* forgottenSubjects(tenant, 1), {
        forgotten: 2,
        subjects: [row(second, 2, "bob")]
      })
      // The end of one forgetting is not that of another.
      for (const [{ forgetting: ending }, ended] of [
        [second, false],
        [first, true],
        [first, true]
      ] as const) {
        const ada = yield* changeSubject(tenant, "ada", { change: "end", forgetting: ending })
        assert.strictEqual(ada.begun, ended ? undefined : first.forgetting)
        assert.deepStrictEqual(
          (yield* forgottenSubjects(tenant, 0)).subjects.map((subject) => subject.ended),
          [ended, false]
        )
      }
      yield* changeSubject(tenant, "ada", { change: "allow", allowedAt: 5 })
      yield* changeSubject(tenant, "ada", { change: "allow", allowedAt: 6 })
      assert.strictEqual((yield* forgottenSubjects(tenant, 0)).subjects[0]?.allowedAgainAt, 5)
      assert.strictEqual((yield* changeSubject(tenant, "ada", first)).forgotten?.number, 1)
      yield* changeSubject(tenant, "ada", third)
      assert.deepStrictEqual(yield* forgottenSubjects(tenant, 0), {
        forgotten: 3,
        subjects: [row(second, 2, "bob"), row(third, 3, "ada")]
      })
      assert.strictEqual((yield* record(tenant))?.forgotten, 3)
      assert.deepStrictEqual(yield* forgottenSubjects(other, 0), { forgotten: 0, subjects: [] })
      assert.deepStrictEqual(yield* listedSubjects(other), { rows: [], complete: true })
      assert.deepStrictEqual(yield* forgottenSubjects(newTenant()), { forgotten: 0, subjects: [] })
      assert.deepStrictEqual(
        yield* Effect.forEach(
          [tenant, other, newTenant(), tenant],
          (tenantId) => forgottenSubjects(tenantId),
          {
            concurrency: "unbounded"
          }
        ),
        [3, 0, 0, 3].map((forgotten) => ({ forgotten, subjects: [] }))
      )
    })
  )

  it.effect("refuses appends and states from before a forgetting, in this tenant only", () =>
    Effect.gen(function* () {
      const [tenant, other] = [newTenant(), newTenant()]
      const [mine, theirs] = [events(1), events(1)]
      yield* append(tenant, stream("one", mine))
      yield* append(other, stream("one", theirs))
      yield* changeSubject(tenant, "ada", forgetting())
      const next = (tenantId: TenantId, forgotten: number, count = 1) => ({
        ...request(tenantId, stream("one", events(count))),
        forgotten
      })
      const outdated = { _tag: "SubjectsForgotten", tenantId: tenant, forgotten: 1 }
      // alone, with several events, and together
      assert.deepStrictEqual(yield* batch(next(tenant, 0)), [outdated])
      assert.deepStrictEqual(yield* batch(next(tenant, 0, 2)), [outdated])
      assert.deepStrictEqual(
        yield* batch(next(other, 0), next(tenant, 0), next(tenant, 1), next(other, 0), next(tenant, 0, 2)),
        [appended([2], [2]), outdated, appended([2], [2]), appended([3], [3]), outdated]
      )
      assert.deepStrictEqual(yield* batch(next(tenant, 1)), [appended([3], [3])])
      const last = yield* Effect.map(rawEvents(tenant), (rows) => rows.at(-1)?.eventId ?? "")
      for (const [forgotten, ends] of [
        [1, true],
        [0, false],
        [undefined, true]
      ] as const)
        assert.strictEqual(yield* endsWith(tenant, "one", 3, last, { forgotten }), ends)
      const end = yield* Effect.map(rawEvents(other), (rows) => rows.at(-1)?.eventId ?? "")
      assert.deepStrictEqual(
        yield* Effect.forEach([0, 1], (forgotten) => endsWith(other, "one", 3, end, { forgotten })),
        [true, false]
      )
    })
  )

  it.effect("does not begin to forget a subject under a hold, and sets no hold while one is forgotten", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(1)))
      const { hold } = yield* changeSubject(tenant, "ada", { change: "hold", reason: "lawsuit" })
      assert.containSubset(hold, { actor: "suite", reason: "lawsuit" })
      const wanted = forgetting()
      const begin = { change: "begin", forgetting: wanted.forgetting } as const
      assert.containSubset(yield* flipped(changeSubject(tenant, "ada", begin)), {
        _tag: "SubjectHeld",
        tenantId: tenant,
        subject: "ada",
        actor: "suite",
        reason: "lawsuit"
      })
      assert.strictEqual((yield* changeSubject(tenant, "bob", begin)).begun, wanted.forgetting)
      const another = { ...begin, forgetting: uuidV4Unsafe() }
      assert.strictEqual((yield* changeSubject(tenant, "bob", another)).begun, wanted.forgetting)
      assert.isUndefined((yield* changeSubject(tenant, "ada", { change: "release" })).hold)
      assert.strictEqual((yield* changeSubject(tenant, "ada", begin)).begun, wanted.forgetting)
      assert.strictEqual(
        yield* tagOf(changeSubject(tenant, "ada", { change: "hold", reason: "lawsuit" })),
        "TenantStateConflict"
      )
      assert.strictEqual((yield* forgottenSubjects(tenant)).forgotten, 0)
      assert.strictEqual((yield* changeSubject(tenant, "ada", wanted)).begun, wanted.forgetting)
      yield* changeSubject(tenant, "ada", { change: "end", forgetting: wanted.forgetting })
      const held = yield* changeSubject(tenant, "ada", { change: "hold", reason: "lawsuit" })
      assert.isUndefined(held.begun)
      // a vault that has the fence already is not contradicted
      const restored = forgetting()
      assert.deepStrictEqual((yield* changeSubject(tenant, "ada", restored)).forgotten, lastOf(restored, 2))
    })
  )

  it.effect(
    "lists subjects page by page, and changes them only in a tenant that is active or suspended",
    () =>
      Effect.gen(function* () {
        const tenant = newTenant()
        const wanted = forgetting()
        assert.strictEqual(yield* tagOf(changeSubject(tenant, "ada", wanted)), "TenantStateConflict")
        yield* append(tenant, stream("one", events(1)))
        for (const subject of ["b", "a", "ä", "Z"]) yield* changeSubject(tenant, subject, forgetting())
        const first = yield* listedSubjects(tenant, undefined, 3)
        assert.deepStrictEqual(
          [first.complete, first.rows.map(({ subject }) => subject)],
          [false, ["Z", "a", "b"]]
        )
        const rest = yield* listedSubjects(tenant, "b", 3)
        assert.deepStrictEqual([rest.complete, rest.rows.map(({ subject }) => subject)], [true, ["ä"]])
        yield* setStatus(tenant, "suspended")
        assert.strictEqual((yield* changeSubject(tenant, "c", wanted)).forgotten?.number, 5)
        yield* setStatus(tenant, "active")
        const token = newToken()
        yield* change(tenant, { change: "fence", token, expiresInMillis: 60_000, waitMillis: 1000 })
        assert.strictEqual(yield* tagOf(changeSubject(tenant, "d", forgetting())), "TenantStateConflict")
        assert.strictEqual((yield* forgottenSubjects(tenant)).forgotten, 5)
      })
  )

  it.effect("finds a text in the payloads of some positions of this tenant, to the letter", () =>
    Effect.gen(function* () {
      const storage = yield* AdministrationStorage
      const [tenant, other] = [newTenant(), newTenant()]
      const mark = '{"$sealed":'
      yield* append(tenant, stream("one", events(2)))
      yield* append(
        tenant,
        stream(
          "one",
          [event({ payload: `{"name":${mark}1,"key":"%_"}}` }), event({ metadata: `{"a":${mark}1}}` })],
          2
        )
      )
      yield* append(other, stream("one", events(4)))
      const found = (tenantId: TenantId, text: string, fromPosition: number, toPosition: number) =>
        Effect.flatMap(administered(tenantId), (at) =>
          storage.hasPayloadWith({ ...at, text, fromPosition, toPosition })
        )
      for (const [from, to, is] of [
        [0, 100, true],
        [3, 3, true],
        [1, 2, false],
        [4, 4, false],
        [4, 3, false],
        [1, Number.MAX_SAFE_INTEGER, true]
      ] as const)
        assert.strictEqual(yield* found(tenant, mark, from, to), is, `${from} to ${to}`)
      assert.isTrue(yield* found(tenant, '"%_"', 1, 4))
      assert.isFalse(yield* found(tenant, "%", 1, 2))
      assert.isFalse(yield* found(other, mark, 1, 4))
      assert.isFalse(yield* found(newTenant(), mark, 1, 4))
    })
  )

  it.effect("does not erase a tenant that has held subjects, unless it is told to", () =>
    Effect.gen(function* () {
      const [tenant, other] = [newTenant(), newTenant()]
      for (const tenantId of [tenant, other]) yield* append(tenantId, stream("one", events(1)))
      for (let n = 0; n < 12; n++)
        yield* changeSubject(tenant, `s${String.fromCharCode(97 + n)}`, {
          change: "hold",
          reason: `case ${n}`
        })
      const erase = { change: "erase", token: newToken(), purgeInMillis: 0 } as const
      const refused = yield* flipped(change(tenant, erase))
      assert.containSubset(refused, {
        _tag: "TenantHeld",
        tenantId: tenant,
        actor: "suite",
        reason: "case 0"
      })
      if (refused._tag !== "TenantHeld") return assert.fail("another error")
      assert.deepStrictEqual(
        refused.subjects,
        Array.from({ length: 10 }, (_, n) => ({
          subject: `s${String.fromCharCode(97 + n)}`,
          actor: "suite",
          reason: `case ${n}`
        }))
      )
      assert.include(refused.message, "sa by suite (case 0)")
      assert.strictEqual((yield* record(tenant))?.state.status, "active")
      // a hold of one tenant does not hold another
      yield* change(other, { ...erase, token: newToken() })
      assert.strictEqual((yield* record(other))?.state.status, "erased")
      yield* change(tenant, { ...erase, heldSubjects: true })
      assert.strictEqual((yield* record(tenant))?.state.status, "erased")
    })
  )

  it.effect("carries subjects and their number with an import, and removes them with a purge", () =>
    Effect.gen(function* () {
      const storage = yield* AdministrationStorage
      const [source, target] = [newTenant(), newTenant()]
      yield* append(source, stream("one", events(2)))
      yield* changeSubject(source, "ada", forgetting())
      yield* changeSubject(source, "bob", forgetting())
      yield* changeSubject(source, "ada", { change: "allow", allowedAt: 7 })
      yield* changeSubject(source, "cyd", { change: "hold", reason: "lawsuit" })
      yield* changeSubject(source, "dan", { change: "begin", forgetting: uuidV4Unsafe() })
      const { rows } = yield* listedSubjects(source)
      assert.lengthOf(rows, 4)
      const token = yield* begun(target, yield* rawEvents(source))
      const at = { ...(yield* administered(target)), token }
      const written = { ...at, forgotten: 2, subjects: rows }
      assert.strictEqual(
        yield* tagOf(storage.writeSubjects({ ...written, token: newToken() })),
        "TenantStateConflict"
      )
      for (let time = 0; time < 2; time++) yield* storage.writeSubjects(written)
      assert.deepStrictEqual((yield* listedSubjects(target)).rows, rows)
      yield* change(target, {
        change: "finishImport",
        token,
        head: 2,
        chainedFrom: undefined,
        status: "active"
      })
      assert.deepStrictEqual(yield* forgottenSubjects(target, 0), yield* forgottenSubjects(source, 0))
      const ending = newToken()
      yield* change(target, { change: "erase", token: ending, purgeInMillis: 0, heldSubjects: true })
      assert.isAtLeast(yield* purge(target, ending, 100), 6)
      assert.deepStrictEqual(yield* listedSubjects(target), { rows: [], complete: true })
      assert.strictEqual((yield* record(target))?.forgotten, 0)
      assert.deepStrictEqual((yield* listedSubjects(source)).rows, rows)
    })
  )
}

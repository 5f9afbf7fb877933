/** Cases about subjects with the same ids in two tenants: forgotten, allowed again, held, imported and purged in one of them. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import {
  AdministrationStorage,
  type SubjectChange,
  type SubjectRow
} from "../../driver/AdministrationStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import {
  administered,
  begun,
  change,
  changeSubject,
  forgetting as newForgetting,
  forgottenSubjects,
  listedSubjects,
  newToken,
  purge,
  rawEvents,
  record
} from "../driver/administrationKit.ts"
import { append, batch, endsWith, events, newTenant, request, stream } from "../driver/eventKit.ts"
import { flipped } from "../failures.ts"
import { type Case, type Services, test, withNeighbour } from "./kit.ts"

/** Everything that a tenant and its administration see of subjects. */
const shown = Effect.fnUntraced(function* (tenantId: TenantId) {
  return {
    record: yield* record(tenantId),
    forgotten: yield* forgottenSubjects(tenantId),
    all: yield* forgottenSubjects(tenantId, 0),
    rest: yield* forgottenSubjects(tenantId, 1),
    listed: yield* listedSubjects(tenantId),
    listedAfter: yield* listedSubjects(tenantId, "ada", 1)
  }
})

/** Two tenants with the same subjects: "ada" is forgotten, three times in the first and once in the second; "bob" is held. */
const withSubjects = <A, E, R>(
  run: (pairs: ReadonlyArray<readonly [own: TenantId, other: TenantId]>) => Effect.Effect<A, E, R>
) =>
  withNeighbour(
    Effect.fnUntraced(function* (mine, theirs) {
      for (const [tenantId, times] of [
        [mine, 3],
        [theirs, 1]
      ] as const) {
        yield* append(tenantId, stream("one", events(2)))
        for (let time = 0; time < times; time++) yield* changeSubject(tenantId, "ada", newForgetting())
        yield* changeSubject(tenantId, "bob", { change: "hold", reason: `lawsuit ${times}` })
      }
      yield* run([
        [mine, theirs],
        [theirs, mine]
      ])
    })
  )

/** The number of a tenant. */
const numberOf = (tenantId: TenantId) => Effect.map(forgottenSubjects(tenantId), ({ forgotten }) => forgotten)

/** The cases. */
export const forgetting: ReadonlyArray<Case<Services | AdministrationStorage>> = [
  test("42: a subject that is forgotten, allowed again, held and released in one tenant is as before in another", () =>
    withSubjects((pairs) =>
      Effect.forEach(
        pairs,
        Effect.fnUntraced(function* ([own, other]) {
          const before = yield* shown(other)
          assert.isNotEmpty(before.all.subjects)
          assert.lengthOf(before.listed.rows, 2)
          const changes = Effect.fnUntraced(function* (subject: string, wanted: SubjectChange) {
            const row = yield* changeSubject(own, subject, wanted)
            assert.strictEqual(row.subject, subject)
            const { rows } = yield* listedSubjects(own)
            assert.deepStrictEqual(
              rows.find((one) => one.subject === subject),
              row
            )
            assert.deepStrictEqual(yield* shown(other), before)
            return row
          })
          const first = yield* numberOf(own)
          const again = newForgetting()
          const begin = { change: "begin", forgetting: again.forgetting } as const
          assert.strictEqual((yield* changes("ada", begin)).begun, again.forgetting)
          for (let time = 0; time < 2; time++) {
            const { begun: open, forgotten } = yield* changes("ada", again)
            assert.deepStrictEqual([open, forgotten?.number], [again.forgetting, first + 1])
          }
          assert.isUndefined((yield* changes("ada", { change: "end", forgetting: again.forgetting })).begun)
          assert.strictEqual(
            (yield* changes("ada", { change: "allow", allowedAt: 5 })).forgotten?.allowedAgainAt,
            5
          )
          assert.isUndefined((yield* changes("bob", { change: "release" })).hold)
          // while the other tenant holds it
          const released = newForgetting()
          yield* changes("bob", { change: "begin", forgetting: released.forgetting })
          assert.strictEqual((yield* changes("bob", released)).forgotten?.number, first + 2)
          yield* changes("bob", { change: "end", forgetting: released.forgetting })
          yield* changes("bob", { change: "hold", reason: "appeal" })
          // as the other tenant has it, so that the next one finds the same
          yield* changes("ada", newForgetting())
          const after = yield* shown(own)
          assert.deepStrictEqual(
            after.all.subjects.map(({ number, subject }) => [number, subject]),
            [
              [first + 2, "bob"],
              [first + 3, "ada"]
            ]
          )
          assert.strictEqual(after.record?.forgotten, first + 3)
        }),
        { discard: true }
      )
    )),

  test("42: a forgetting ends, and holds keep a tenant from erasure and are named, in their own tenant only", () =>
    withSubjects(
      Effect.forEach(
        Effect.fnUntraced(function* ([own, other]) {
          // one id in both tenants, as somebody might give it
          const shared = newForgetting()
          for (const tenantId of [own, other])
            yield* changeSubject(tenantId, "eve", { change: "begin", forgetting: shared.forgetting })
          yield* changeSubject(own, "eve", shared)
          yield* changeSubject(own, "eve", { change: "end", forgetting: shared.forgetting })
          const { rows } = yield* listedSubjects(other)
          assert.strictEqual(rows.find(({ subject }) => subject === "eve")?.begun, shared.forgetting)
          yield* changeSubject(other, "eve", shared)
          yield* changeSubject(other, "eve", { change: "end", forgetting: shared.forgetting })

          const held = `held by ${other}`
          yield* changeSubject(other, held, { change: "hold", reason: "lawsuit" })
          const refused = yield* flipped(
            change(own, { change: "erase", token: newToken(), purgeInMillis: 0 })
          )
          assert.deepStrictEqual(
            refused._tag === "TenantHeld" && refused.subjects.map(({ subject }) => subject),
            ["bob"]
          )
          yield* changeSubject(other, held, { change: "release" })
          // while "bob" is held in both
          const free = newTenant()
          yield* append(free, stream("one", events(1)))
          const erased = yield* change(free, { change: "erase", token: newToken(), purgeInMillis: 0 })
          assert.strictEqual(erased.state.status, "erased")
        }),
        { discard: true }
      )
    )),

  test("42: an append and a remembered state are compared with the number of their own tenant", () =>
    withSubjects(
      Effect.fnUntraced(function* (pairs) {
        const sends = Effect.fnUntraced(function* (
          count: number,
          numbers: ReadonlyArray<readonly [TenantId, number]>
        ) {
          const outcomes = yield* batch(
            ...numbers.map(([tenantId, forgotten]) => ({
              ...request(tenantId, stream("one", events(count))),
              forgotten
            }))
          )
          return outcomes.map((outcome) => outcome["forgotten"] ?? outcome["_tag"])
        })
        for (let time = 0; time < 2; time++) {
          const tenants = pairs.map(([own]) => own)
          const right = yield* Effect.forEach(tenants, (tenantId) =>
            Effect.map(numberOf(tenantId), (number) => [tenantId, number] as const)
          )
          const numbers = right.map(([, number]) => number)
          assert.lengthOf(new Set(numbers), 2)
          const wrong = right.map(([tenantId], index) => [tenantId, numbers[1 - index] ?? 0] as const)
          for (const count of [1, 2]) {
            assert.deepStrictEqual(yield* sends(count, right), ["Appended", "Appended"])
            assert.deepStrictEqual(yield* sends(count, wrong), numbers)
            // alone
            for (const [index, one] of right.entries()) {
              assert.deepStrictEqual(yield* sends(count, [one]), ["Appended"])
              assert.deepStrictEqual(yield* sends(count, wrong.slice(index, index + 1)), [numbers[index]])
            }
          }
          const ends = yield* Effect.forEach(
            [...right, ...wrong],
            ([tenantId, forgotten]) =>
              Effect.flatMap(rawEvents(tenantId), (rows) => {
                const last = rows.at(-1)
                return endsWith(tenantId, "one", last?.version ?? 0, last?.eventId ?? "", { forgotten })
              }),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(ends, [true, true, false, false])
          // then the first alone goes on
          yield* changeSubject(tenants[0] ?? newTenant(), "cyd", newForgetting())
        }
      })
    )),

  test("42: an import writes, and a purge removes, subjects of its own tenant only", () =>
    withSubjects(
      Effect.fnUntraced(function* (pairs) {
        const tenants = pairs.map(([own]) => own)
        const before = yield* Effect.forEach(tenants, shown)
        const imported = newTenant()
        const storage = yield* AdministrationStorage
        const token = yield* begun(imported, yield* rawEvents(tenants[0] ?? newTenant()))
        const { change: _, ...last } = newForgetting()
        const subjects: ReadonlyArray<SubjectRow> = [
          {
            subject: "ada",
            forgotten: { ...last, number: 2, allowedAgainAt: 9 },
            begun: undefined,
            hold: undefined
          },
          { subject: "bob", forgotten: undefined, begun: uuidV4Unsafe(), hold: undefined }
        ]
        const at = { ...(yield* administered(imported)), token }
        for (const forgotten of [7, 8]) yield* storage.writeSubjects({ ...at, forgotten, subjects })
        assert.deepStrictEqual(yield* listedSubjects(imported), { rows: subjects, complete: true })
        assert.strictEqual((yield* record(imported))?.forgotten, 8)
        assert.deepStrictEqual(yield* Effect.forEach(tenants, shown), before)
        yield* purge(imported, token, 3)
        assert.deepStrictEqual(yield* listedSubjects(imported), { rows: [], complete: true })
        assert.deepStrictEqual(yield* Effect.forEach(tenants, shown), before)
      })
    ))
]

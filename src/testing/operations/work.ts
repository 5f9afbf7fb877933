/** The contract of operations: tenants, projections, dead letters, subjects, chains and the record of looks. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { AdministrationStorage } from "../../driver/AdministrationStorage.ts"
import { EventStorage } from "../../driver/EventStorage.ts"
import { ProjectionStorage } from "../../driver/ProjectionStorage.ts"
import type { Storages } from "../../operations/Operations.ts"
import * as Canary from "../Canary.ts"
import { administered, change, changeSubject, forgetting, newToken } from "../driver/administrationKit.ts"
import { append, events, newTenant, newTenants, setStatus, stream } from "../driver/eventKit.ts"
import { failNext, newProjection, putNextAside } from "../driver/projectionKit.ts"
import { at, atAll, depositsOf, fill, full, looksAt, operating, park, troubled } from "./kit.ts"

export const work = (it: Vitest.MethodsNonLive<Storages>): void => {
  it.effect("lists tenants by id, head, last append, dead letters and distance, page by page", () =>
    operating([], (operations) =>
      Effect.gen(function* () {
        const projected = yield* newProjection()
        const nth = newTenants()
        const [small, large, middle] = [nth(1), nth(2), nth(3)]
        const prefix = small.slice(0, -4)
        yield* append(middle, stream("1", events(2)))
        yield* append(small, stream("1", events(1)))
        yield* append(large, stream("1", events(3)))
        yield* projected.on(middle, putNextAside())
        yield* projected.on(small, (claim) =>
          ProjectionStorage.use((storage) => storage.advance(claim, claim.head))
        )
        yield* projected.on(large, (claim) => ProjectionStorage.use((storage) => storage.advance(claim, 1)))
        const listed = Effect.fnUntraced(function* (
          order: "id" | "head" | "lastAppend" | "deadLetters" | "distance"
        ) {
          const found: Array<string> = []
          let after: { readonly value: number; readonly tenantId: typeof small } | undefined
          for (;;) {
            const page = yield* operations.tenants({ order, prefix, limit: 2, after }).pipe(atAll)
            assert.isAtMost(page.tenants.length, 2)
            for (const { tenantId } of page.tenants) found.push(tenantId)
            if (page.next === null) return found
            after = page.next
          }
        })
        assert.deepStrictEqual(yield* listed("id"), [small, large, middle])
        assert.deepStrictEqual(yield* listed("head"), [large, middle, small])
        assert.strictEqual((yield* listed("deadLetters"))[0], middle)
        assert.deepStrictEqual(yield* listed("distance"), [large, middle, small])
        const recent = yield* operations.tenants({ order: "lastAppend", prefix }).pipe(atAll)
        const times = recent.tenants.map(({ lastAppendAt }) => lastAppendAt?.epochMilliseconds ?? 0)
        assert.deepStrictEqual(
          times,
          times.toSorted((one, other) => other - one)
        )
        assert.notInclude(times, 0)
        const summary = recent.tenants.find(({ tenantId }) => tenantId === middle)
        assert.deepInclude(summary, {
          status: "active",
          head: 2,
          lastDay: 2,
          lastWeek: 2,
          deadLetters: 1,
          slowest: { projection: projected.projection, version: 1, distance: 1 },
          quota: null,
          hold: null,
          move: null
        })
      })
    )
  )

  it.effect("lists tenants of chosen states with quota, hold and move", () =>
    operating([], (operations) =>
      Effect.gen(function* () {
        const nth = newTenants()
        const [active, suspended, moving, erased] = [nth(1), nth(2), nth(3), nth(4)]
        const prefix = active.slice(0, -4)
        for (const tenant of [active, suspended, moving, erased])
          yield* append(tenant, stream("1", events(1)))
        yield* setStatus(suspended, "suspended")
        const move = uuidV4Unsafe()
        yield* change(moving, {
          change: "fence",
          token: newToken(),
          expiresInMillis: 60_000,
          waitMillis: 1000,
          move: { id: move, to: "elsewhere" }
        })
        yield* change(erased, { change: "erase", token: newToken(), purgeInMillis: 60_000 })
        const administration = yield* AdministrationStorage
        const request = yield* administered(active)
        yield* administration.setQuota({ ...request, quota: { events: 10 } })
        yield* administration.setHold({ ...request, reason: "case 17" })
        const states = Effect.fnUntraced(function* (
          statuses?: ReadonlyArray<"active" | "suspended" | "moving" | "erased">
        ) {
          const { tenants } = yield* operations.tenants({ prefix, statuses }).pipe(atAll)
          return tenants.map(({ status }) => status)
        })
        assert.deepStrictEqual(yield* states(), ["active", "suspended", "moving", "erased"])
        assert.deepStrictEqual(yield* states(["suspended", "erased"]), ["suspended", "erased"])
        assert.deepStrictEqual(yield* states([]), [])
        const { tenants } = yield* operations.tenants({ prefix }).pipe(atAll)
        assert.deepStrictEqual(tenants[0]?.quota, { events: 10, rate: null, eventBytes: null, plan: null })
        assert.deepInclude(tenants[0]?.hold, { actor: "suite", reason: "case 17" })
        assert.strictEqual(tenants[2]?.move, move)
        assert.deepInclude(yield* operations.move.pipe(at(moving)), {
          id: move,
          to: "elsewhere",
          step: "fenced",
          end: 1
        })
        assert.isUndefined(yield* operations.move.pipe(at(active)))
        assert.isUndefined(yield* operations.move.pipe(at(newTenant())))
        yield* administration.setHold({ ...request, reason: undefined })
      })
    )
  )

  it.effect("tells running, behind, parked and rebuilding projections apart, with their pending work", () =>
    Effect.gen(function* () {
      const projected = yield* newProjection()
      yield* operating([depositsOf(projected)], (operations) =>
        Effect.gen(function* () {
          const tenant = newTenant()
          const mine = operations.projections.pipe(
            at(tenant),
            Effect.map((all) => all.find(({ projection }) => projection === projected.projection))
          )
          assert.deepInclude(yield* mine, { state: "running", known: true, position: 0, head: 0 })
          yield* fill(tenant, "secret")
          assert.deepInclude(yield* mine, {
            state: "behind",
            position: 0,
            distance: 5,
            pending: { events: 2, exact: true }
          })
          yield* projected.on(tenant, (claim) =>
            ProjectionStorage.use((storage) => storage.advance(claim, 2))
          )
          assert.deepInclude(yield* mine, { state: "behind", pending: { events: 1, exact: true } })
          yield* projected.on(tenant, failNext(60_000, "Error: soon"))
          const waiting = yield* mine
          assert.deepInclude(waiting, {
            state: "behind",
            error: "Error: soon",
            failedPosition: 3,
            attempts: 1
          })
          assert.isAbove(waiting?.retryInMillis ?? 0, 0)
          const storage = yield* ProjectionStorage
          yield* storage.resume(projected.of(tenant))
          const ready = newTenant()
          yield* fill(ready, "secret")
          yield* park(projected, ready)
          const parked = yield* operations.projections.pipe(at(ready))
          assert.deepInclude(
            parked.find(({ projection }) => projection === projected.projection),
            { state: "parked", failedPosition: 1, failureKind: "handler" }
          )
          const done = newTenant()
          yield* fill(done, "secret")
          yield* projected.on(done, (claim) => ProjectionStorage.use((at3) => at3.advance(claim, 3)))
          const look = operations.projections.pipe(
            at(done),
            Effect.map((all) => all.find(({ projection }) => projection === projected.projection))
          )
          // The two positions that are left have no event for it.
          assert.deepInclude(yield* look, {
            state: "running",
            distance: 2,
            pending: { events: 0, exact: true }
          })
          yield* storage.startRebuild({ ...projected.of(done), tables: [] })
          assert.deepInclude(yield* look, {
            state: "rebuilding",
            rebuild: { position: 0, parked: false, error: null }
          })
        })
      )
    })
  )

  it.effect("shows projections that the program does not have by their distance", () =>
    Effect.gen(function* () {
      const projected = yield* newProjection()
      yield* operating([], (operations) =>
        Effect.gen(function* () {
          const tenant = newTenant()
          yield* fill(tenant, "secret")
          yield* projected.on(tenant, (claim) =>
            ProjectionStorage.use((storage) => storage.advance(claim, 3))
          )
          const all = yield* operations.projections.pipe(at(tenant))
          assert.deepInclude(
            all.find(({ projection }) => projection === projected.projection),
            { known: false, state: "behind", distance: 2, pending: null }
          )
        })
      )
    })
  )

  it.effect("counts the work of the program's projections over all tenants", () =>
    Effect.gen(function* () {
      const projected = yield* newProjection()
      yield* operating([depositsOf(projected)], (operations) =>
        Effect.gen(function* () {
          const tenant = newTenant()
          yield* fill(tenant, "secret")
          yield* park(projected, tenant)
          const [total] = yield* operations.projectionsOfAll.pipe(atAll)
          assert.deepInclude(total, {
            projection: projected.projection,
            version: 1,
            kind: "readModel",
            parked: 1,
            deadLetters: 0
          })
          assert.isAtLeast(total?.pending ?? 0, 5)
        })
      )
    })
  )

  it.effect("groups dead letters by projection, error and first frame, the largest group first", () =>
    operating([], (operations) =>
      Effect.gen(function* () {
        const projected = yield* newProjection()
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        const storage = yield* ProjectionStorage
        const fails = (stack: string) =>
          projected.on(tenant, (claim) =>
            storage.fail({
              claim,
              position: claim.position + 1,
              attempts: 0,
              error: "Error: broken",
              kind: "handler",
              waited: 0,
              parked: false,
              retryIn: 0,
              cause: { code: null, message: "broken", stack }
            })
          )
        for (const line of [17, 17, 23]) {
          yield* fails(`Error: broken\n    at handle (deposits.ts:${line}:3)\n    at run`)
          yield* projected.on(tenant, putNextAside())
        }
        yield* projected.on(tenant, putNextAside({ error: "Error: other" }))
        const { complete, events: count, groups } = yield* operations.deadLetters.pipe(at(tenant))
        assert.deepStrictEqual([complete, count], [true, 4])
        assert.deepStrictEqual(
          groups.map(({ error, events: size, examples, frame, kind }) => ({
            error,
            size,
            frame,
            kind,
            positions: examples.map(({ position }) => position)
          })),
          [
            {
              error: "Error: broken",
              size: 2,
              frame: "at handle (deposits.ts:17:3)",
              kind: "handler",
              positions: [1, 2]
            },
            {
              error: "Error: broken",
              size: 1,
              frame: "at handle (deposits.ts:23:3)",
              kind: "handler",
              positions: [3]
            },
            { error: "Error: other", size: 1, frame: null, kind: null, positions: [4] }
          ]
        )
        yield* storage.removeDeadLetter({ ...projected.of(tenant), position: 4, reason: "known" })
        assert.strictEqual((yield* operations.deadLetters.pipe(at(tenant))).events, 3)
      })
    )
  )

  it.effect("shows forgotten and held subjects, and the hash chain", () =>
    operating([], (operations) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        assert.isUndefined(yield* operations.chain.pipe(at(tenant)))
        yield* EventStorage.use((storage) => storage.provisionTenant(tenant))
        assert.deepStrictEqual(yield* operations.chain.pipe(at(tenant)), {
          started: false,
          from: null,
          head: 0,
          eventId: null,
          hash: null,
          verifications: []
        })
        yield* EventStorage.use((storage) => storage.startHashChain(tenant))
        yield* fill(tenant, "secret")
        const chain = yield* operations.chain.pipe(at(tenant))
        assert.deepInclude(chain, { started: true, from: 1, head: 5 })
        assert.match(chain?.hash ?? "", /^[0-9a-f]{64}$/)
        const forgotten = forgetting()
        yield* changeSubject(tenant, "ada", forgotten)
        const begun = yield* operations.subjects({ limit: 1 }).pipe(at(tenant))
        assert.isTrue(begun.subjects[0]?.underWay)
        yield* changeSubject(tenant, "ada", { change: "end", forgetting: forgotten.forgetting })
        yield* changeSubject(tenant, "bob", { change: "hold", reason: "case 17" })
        const first = yield* operations.subjects({ limit: 1 }).pipe(at(tenant))
        assert.deepInclude(first.subjects[0], { subject: "ada", underWay: false, hold: null })
        assert.deepInclude(first.subjects[0]?.forgotten, { actor: "officer", reason: "request" })
        assert.strictEqual(first.next, "ada")
        const second = yield* operations.subjects({ after: "ada" }).pipe(at(tenant))
        assert.deepInclude(second.subjects[0], { subject: "bob", forgotten: null })
        assert.deepInclude(second.subjects[0]?.hold, { actor: "suite", reason: "case 17" })
        assert.isNull(second.next)
      })
    )
  )

  it.effect("records each look with the operator, the reason, the tenant and the grant", () =>
    operating([], (operations) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        const looks = looksAt(operations)
        for (const look of Object.values(looks)) yield* look.pipe(full, at(tenant))
        const recorded = operations.accesses({ tenantId: tenant, operation: "Operations." }).pipe(atAll)
        const { accesses } = yield* recorded
        assert.deepStrictEqual(
          accesses.map(({ actor, operation, reason }) => [actor, reason, operation]).toReversed(),
          Object.keys(looks).map((name) => [
            "operator",
            "contract",
            `Operations.${name === "filtered" ? "log" : name} ${tenant} payloads full with personal data`
          ])
        )
        yield* operations.chain.pipe(at(tenant))
        const [last] = (yield* recorded).accesses
        assert.strictEqual(last?.operation, `Operations.chain ${tenant} payloads masked`)
        const page = yield* operations.accesses({ tenantId: tenant, limit: 1 }).pipe(atAll)
        assert.lengthOf(page.accesses, 1)
        const rest = yield* operations
          .accesses({ tenantId: tenant, before: page.next ?? undefined })
          .pipe(atAll)
        assert.strictEqual(rest.accesses[0]?.operation, accesses[0]?.operation)
        assert.deepStrictEqual(
          (yield* operations.accesses({ actor: uuidV4Unsafe() }).pipe(atAll)).accesses,
          []
        )
      })
    )
  )

  it.effect("registers no tenant", () =>
    operating([], (operations) =>
      Effect.gen(function* () {
        const tenant = newTenant()
        const { tail: _, ...looks } = looksAt(operations)
        for (const look of Object.values(looks)) yield* look.pipe(at(tenant))
        const { tenants } = yield* operations.tenants({ prefix: tenant }).pipe(atAll)
        assert.deepStrictEqual(tenants, [])
        assert.isUndefined(yield* EventStorage.use((storage) => storage.tenantStatus(tenant)))
      })
    )
  )

  it.effect("shows one tenant nothing of another one with the same ids", () =>
    Effect.gen(function* () {
      const projected = yield* newProjection()
      yield* operating([depositsOf(projected)], (operations) =>
        Effect.gen(function* () {
          const tenants = [newTenant(), newTenant()] as const
          const canaries = [Canary.make(), Canary.make()] as const
          for (const nth of [0, 1] as const) {
            yield* fill(tenants[nth], canaries[nth].secret)
            yield* troubled(tenants[nth], canaries[nth].secret, projected)
          }
          for (const [mine, other] of [
            [0, 1],
            [1, 0]
          ] as const) {
            const silent: Array<string> = []
            for (const [name, look] of Object.entries(looksAt(operations))) {
              const seen = yield* look.pipe(full, at(tenants[mine]))
              Canary.assertAbsent([canaries[other], Canary.of(tenants[other])], seen)
              if (Canary.find(canaries[mine], seen).length === 0) silent.push(name)
            }
            // Those that show nothing of the secret, which everything else must.
            assert.deepStrictEqual(silent, ["filtered", "chain", "move"])
            for (const look of Object.values(looksAt(operations))) {
              const seen: unknown = yield* look.pipe(at(tenants[mine]))
              const payloads = Canary.find(canaries[mine], seen).filter(({ path }) =>
                /stored|present|metadata|state|difference/.test(path)
              )
              assert.deepStrictEqual(payloads, [])
            }
          }
        })
      )
    })
  )
}

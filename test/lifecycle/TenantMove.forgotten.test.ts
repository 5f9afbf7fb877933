/** People are forgotten while their tenant moves: before the fence, at it, and behind it. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, References, Scope } from "effect"
import { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import { SnapshotStorage } from "../../src/driver/SnapshotStorage.ts"
import type * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantMove from "../../src/lifecycle/TenantMove.ts"
import { forgottenSubjects, rawEvents, record } from "../../src/testing/driver/administrationKit.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { backends } from "../support/backends.ts"
import { administer, homes, makeWorld, program, type World } from "../support/moving.ts"
import {
  by,
  gone,
  nameOf,
  newVault,
  processOn,
  read,
  type Storages,
  type Vault,
  write
} from "../support/persons.ts"

/** `Ada` is forgotten before the fence, `Bob` across it, `Cyd` behind it, and `Dan` is not. */
const people = ["Ada", "Bob", "Cyd", "Dan"]

/** The storages of a program of its own, which finds the tenant by the directory that all share. */
const storagesOf = Effect.fnUntraced(function* (world: World) {
  const context = yield* Layer.build(Layer.fresh(program(world)))
  const storages: Context.Context<Storages> = Context.make(
    AdministrationStorage,
    Context.get(context, AdministrationStorage)
  ).pipe(
    Context.add(EventStorage, Context.get(context, EventStorage)),
    Context.add(SnapshotStorage, Context.get(context, SnapshotStorage))
  )
  return { storages, moves: Context.get(context, TenantMove.TenantMove) }
})

/**
 * A process that forgets in a fiber. It tells when its fence stands in the vault, behind which it waits for `go`, and when it has met the
 * fence of the move.
 */
const forgets = Effect.fnUntraced(function* (
  world: World,
  vault: Vault,
  tenantId: Tenant.TenantId,
  subject: string,
  go: Effect.Effect<unknown> = Effect.void
): Effect.fn.Return<
  {
    readonly fenced: Effect.Effect<void>
    readonly met: Effect.Effect<void>
    readonly done: Effect.Effect<unknown, unknown>
  },
  never,
  Scope.Scope
> {
  const fenced = yield* Deferred.make<void>()
  const late: Vault = {
    ...vault,
    fence: (request) =>
      Effect.tap(vault.fence(request), () => Effect.andThen(Deferred.succeed(fenced, undefined), go))
  }
  const { storages } = yield* storagesOf(world)
  const met = yield* Deferred.make<void>()
  const administration = Context.get(storages, AdministrationStorage)
  const noted: typeof administration = {
    ...administration,
    changeSubject: (request) =>
      Effect.tapError(administration.changeSubject(request), (error) =>
        error._tag === "TenantStateConflict" && error.status === "moving"
          ? Deferred.succeed(met, undefined)
          : Effect.void
      )
  }
  const { forgetting } = yield* processOn(Context.add(storages, AdministrationStorage, noted), late)
  const fiber = yield* Effect.forkScoped(by(tenantId)(forgetting.forget(subject, { reason: "request" })))
  return { fenced: Deferred.await(fenced), met: Deferred.await(met), done: Fiber.join(fiber) }
})

for (const backend of backends.filter(({ name }) => name !== "PGlite"))
  describe(`a move of a tenant in use, on ${backend.name}`, () => {
    it.live(
      "forgets who is forgotten meanwhile, once, in every process, and keeps the vault",
      () =>
        Effect.gen(function* () {
          const world = yield* makeWorld({ a: backend.layer, b: backend.layer })
          const tenantId = newTenant()
          world.entries.set(tenantId, "a")
          const vault = yield* newVault
          const mover = yield* storagesOf(world)
          const other = yield* storagesOf(world)
          const writer = yield* processOn(other.storages, vault)
          for (const subject of people) for (let n = 0; n < 3; n++) yield* write(writer, tenantId, subject)

          // writers whose keys are warm, and a reader
          let ended = false
          const acknowledged = new Map(people.map((subject) => [subject, 3]))
          const writers = yield* Effect.forEach(people, (subject) =>
            Effect.forkScoped(
              Effect.gen(function* () {
                while (!ended) {
                  yield* write(writer, tenantId, subject)
                  acknowledged.set(subject, (acknowledged.get(subject) ?? 0) + 1)
                  yield* Effect.sleep("1 millis")
                }
              }).pipe(
                // from the forgetting on, the person's data are refused
                Effect.catchTag("InvalidInput", () => Effect.void)
              )
            )
          )

          const scope = yield* Effect.scope
          const isFenced = yield* Deferred.make<void>()
          const ahead = yield* Deferred.make<void>()
          let steps = 0
          let behind: Effect.Success<ReturnType<typeof forgets>> | undefined
          const bob = yield* forgets(world, vault, tenantId, "Bob", Deferred.await(isFenced))
          yield* bob.fenced
          const moved = yield* administer(
            mover.moves.start(tenantId, {
              to: "b",
              onProgress: ({ step }) =>
                Effect.gen(function* () {
                  if (step === "copying" && steps++ === 0) {
                    const ada = yield* forgets(world, vault, tenantId, "Ada")
                    yield* Effect.orDie(ada.done)
                    yield* Deferred.succeed(ahead, undefined)
                  }
                  if (step === "fenced" && behind === undefined) {
                    yield* Deferred.succeed(isFenced, undefined)
                    behind = yield* forgets(world, vault, tenantId, "Cyd")
                    yield* bob.met
                    yield* behind.met
                  }
                }).pipe(Scope.provide(scope))
            })
          )
          assert.strictEqual(moved.to, "b")
          yield* Deferred.await(ahead)
          yield* bob.done
          yield* behind?.done ?? Effect.die(new Error("there was no fence"))
          ended = true
          yield* Effect.forEach(writers, Fiber.join)
          assert.deepStrictEqual(yield* homes(world, tenantId), ["b"])

          const fresh = yield* storagesOf(world)
          const home = world.storages.get("b") ?? assert.fail("b")
          for (const process of [writer, yield* processOn(fresh.storages, vault)]) {
            for (const subject of ["Ada", "Bob", "Cyd"]) {
              const seen = yield* read(process, tenantId, subject)
              assert.isAtLeast(seen.length, acknowledged.get(subject) ?? 0, subject)
              assert.deepStrictEqual(new Set(seen), new Set([gone]), subject)
            }
            const kept = yield* read(process, tenantId, "Dan")
            assert.strictEqual(kept.length, acknowledged.get("Dan"))
            assert.deepStrictEqual(new Set(kept), new Set([nameOf("Dan")]))
          }
          yield* Effect.gen(function* () {
            const rows = yield* rawEvents(tenantId)
            assert.deepStrictEqual(
              rows
                .filter(({ eventType }) => eventType === "SubjectForgotten")
                .map(({ aggregateId }) => aggregateId)
                .toSorted((one, two) => (one < two ? -1 : 1)),
              ["Ada", "Bob", "Cyd"]
            )
            assert.notMatch(JSON.stringify(rows), /Lovelace/)
            assert.strictEqual((yield* record(tenantId))?.forgotten, 3)
            assert.lengthOf((yield* forgottenSubjects(tenantId, 0)).subjects, 3)
          }).pipe(Effect.provideContext(home))
          const keys = yield* vault.exportKeys({ tenantId })
          assert.deepStrictEqual([...new Set(keys.map(({ subject }) => subject))], ["Dan"])
        }).pipe(Effect.scoped, Effect.provideService(References.CurrentLoggers, new Set())),
      60_000
    )
  })

import { assert, layer } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Option, References } from "effect"
import { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import type { TenantAdministration } from "../../src/domain/Tenant.ts"
import * as TenantMove from "../../src/lifecycle/TenantMove.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import {
  changeSubject,
  forgetting,
  forgottenSubjects,
  listedSubjects,
  newToken,
  rawEvents
} from "../../src/testing/driver/administrationKit.ts"
import { append, event, events, newTenant, stream } from "../../src/testing/driver/eventKit.ts"
import { flipped } from "../../src/testing/failures.ts"
import { acrossTenants } from "../support/siloTenants.ts"
import {
  administer,
  forgetful,
  full,
  homes,
  makeWorld,
  type Program,
  program,
  recordsOf,
  type Storages,
  type World
} from "../support/moving.ts"

class Shared extends Context.Service<Shared, World>()("test/TenantMove/Shared") {}

const embedded: Layer.Layer<Storages> = PgStorage.layer.pipe(Layer.provide(PgEmbedded.layer), Layer.orDie)

/** A tenant with a log, a hash chain and a command key. */
const tenantAt = Effect.fnUntraced(function* (world: World, placement: string) {
  const tenantId = newTenant()
  world.entries.set(tenantId, placement)
  const storage = yield* EventStorage
  yield* append(tenantId, stream("one", events(15, { tags: ["t"] })))
  yield* storage.startHashChain(tenantId)
  yield* append(tenantId, stream("two", events(15)))
  yield* storage.append({
    tenantId,
    streams: [stream("three", [event({ payload: '{ "n": 1.50 }' })])],
    command: { key: "k", fingerprint: "f".repeat(64), expiresInMillis: 3_600_000 }
  })
  return tenantId
})

const moving = <A, E>(
  run: (moves: TenantMove.TenantMove["Service"]) => Effect.Effect<A, E, TenantAdministration>
) => TenantMove.TenantMove.use((moves) => administer(run(moves)))

type Services = Layer.Success<ReturnType<typeof program>>

/** Runs a test in a program of its own, without its logs. */
const inProgram = <A, E>(run: (world: World) => Effect.Effect<A, E, Services>, settings: Program = {}) =>
  Effect.flatMap(Shared, (world) =>
    run(world).pipe(Effect.provide(Layer.fresh(program(world, settings))))
  ).pipe(Effect.provideService(References.CurrentLoggers, new Set()))

const places: ReadonlyArray<readonly [string, Readonly<Record<string, Layer.Layer<Storages>>>]> = [
  ["memory", { a: MemoryStorage.layer, b: MemoryStorage.layer, c: MemoryStorage.layer }],
  ["PGlite", { a: embedded, b: embedded }]
]

for (const [name, storages] of places) {
  layer(Layer.effect(Shared, makeWorld(storages)), { excludeTestServices: true })(
    `moves of tenants between placements on ${name}`,
    (it) => {
      it.effect("take the whole log and what belongs to it along, and lead back", () =>
        inProgram(
          Effect.fnUntraced(function* (world) {
            const tenantId = yield* tenantAt(world, "a")
            const before = yield* rawEvents(tenantId)
            const steps: Array<string> = []
            const moved = yield* moving((moves) =>
              moves.start(tenantId, {
                to: "b",
                onProgress: ({ step }) => Effect.sync(() => void (steps.at(-1) === step || steps.push(step)))
              })
            )
            assert.containSubset(moved, { from: "a", to: "b", events: 31, removed: true })
            assert.deepStrictEqual([...new Set(steps)], ["copying", "fenced", "decided"])
            assert.deepStrictEqual(yield* homes(world, tenantId), ["b"])
            assert.strictEqual(world.entries.get(tenantId), "b")
            assert.deepStrictEqual(yield* rawEvents(tenantId), before)
            const left = (yield* recordsOf(world, tenantId)).get("a")
            assert.containSubset(left, { position: 0, state: { status: "moved", to: "b", purged: true } })
            const storage = yield* EventStorage
            const replayed = yield* storage.append({
              tenantId,
              streams: [stream("three", events(1))],
              command: { key: "k", fingerprint: "f".repeat(64), expiresInMillis: 3_600_000 }
            })
            assert.isTrue(replayed.replayed)
            assert.deepStrictEqual((yield* append(tenantId, stream("one", events(1)))).positions, [32])
            assert.isUndefined(yield* moving((moves) => moves.status(tenantId)))
            yield* moving((moves) => moves.start(tenantId, { to: "a" }))
            assert.deepStrictEqual(yield* homes(world, tenantId), ["a"])
            assert.deepStrictEqual((yield* append(tenantId, stream("one", events(1)))).positions, [33])
          })
        )
      )

      it.effect("take forgotten and held subjects along, with their numbers", () =>
        inProgram(
          Effect.fnUntraced(function* (world) {
            const tenantId = yield* tenantAt(world, "a")
            for (const subject of ["ada", "bob"]) yield* changeSubject(tenantId, subject, forgetting())
            yield* changeSubject(tenantId, "bob", { change: "allow", allowedAt: 7 })
            yield* changeSubject(tenantId, "cyd", { change: "hold", reason: "lawsuit" })
            const begin = { change: "begin", forgetting: newToken() } as const
            yield* changeSubject(tenantId, "dan", begin)
            const [{ rows }, before] = [
              yield* listedSubjects(tenantId),
              yield* forgottenSubjects(tenantId, 0)
            ]
            assert.lengthOf(rows, 4)
            for (const to of ["b", "a"]) {
              yield* moving((moves) => moves.start(tenantId, { to }))
              assert.deepStrictEqual((yield* listedSubjects(tenantId)).rows, rows)
              assert.deepStrictEqual(yield* forgottenSubjects(tenantId, 0), before)
              const held = yield* flipped(changeSubject(tenantId, "cyd", begin))
              assert.containSubset(held, { _tag: "SubjectHeld", reason: "lawsuit" })
            }
            const last = yield* changeSubject(tenantId, "ada", forgetting())
            assert.strictEqual(last.forgotten?.number, 3)
          })
        )
      )

      it.effect("are called off if the target does not keep who was forgotten", () =>
        Effect.flatMap(Shared, (world) =>
          Effect.gen(function* () {
            const tenantId = yield* tenantAt(world, "a")
            yield* changeSubject(tenantId, "ada", forgetting())
            const error = yield* flipped(moving((moves) => moves.start(tenantId, { to: "b" })))
            assert.containSubset(error, { _tag: "MoveCalledOff" })
            assert.include(error.message, "the forgotten subjects differ")
            assert.deepStrictEqual(yield* homes(world, tenantId), ["a"])
          }).pipe(Effect.provide(Layer.fresh(program(forgetful(world, "b")))))
        ).pipe(Effect.provideService(References.CurrentLoggers, new Set()))
      )

      it.effect(
        "are refused, and change nothing, for a tenant that cannot move or a place that cannot take it",
        () =>
          inProgram(
            Effect.fnUntraced(function* (world) {
              const [tenantId, suspended, occupied] = [
                yield* tenantAt(world, "a"),
                yield* tenantAt(world, "a"),
                yield* tenantAt(world, "a")
              ]
              yield* acrossTenants(
                TenantRegistry.TenantRegistry.use((registry) => registry.suspend(suspended)).pipe(
                  Effect.provide(TenantRegistry.layer)
                )
              )
              yield* append(occupied, stream("one", events(1))).pipe(
                Effect.provideContext(world.storages.get("b") ?? assert.fail("b"))
              )
              const tenants = [tenantId, suspended, occupied]
              const before = yield* Effect.forEach(tenants, (tenant) => recordsOf(world, tenant))
              for (const [tenant, to, reason] of [
                [tenantId, "a", "samePlacement"],
                [tenantId, "d", "unknownPlacement"],
                [suspended, "b", "notActive"],
                [occupied, "b", "occupied"],
                [newTenant(), "b", "notActive"]
              ] as const) {
                const error = yield* flipped(moving((moves) => moves.start(tenant, { to })))
                assert.containSubset(error, { _tag: "MoveRefused", reason })
              }
              const noReplace = Layer.fresh(program(world, { directory: { replace: undefined } }))
              const fixed = moving((moves) => moves.start(tenantId, { to: "b" })).pipe(
                Effect.provide(noReplace)
              )
              assert.containSubset(yield* flipped(fixed), { reason: "fixedDirectory" })
              for (const run of [
                moving((moves) => moves.resume(tenantId)),
                moving((moves) => Effect.asVoid(moves.abort(tenantId)))
              ])
                assert.containSubset(yield* flipped(run), { _tag: "MoveRefused", reason: "noMove" })
              assert.deepStrictEqual(
                yield* Effect.forEach(tenants, (tenant) => recordsOf(world, tenant)),
                before
              )
            })
          )
      )

      it.effect("are called off if the disk of the target is full, and the tenant stays in use", () =>
        inProgram(
          Effect.fnUntraced(function* (world) {
            const tenantId = yield* tenantAt(world, "a")
            const onFullDisk = Layer.fresh(program(full(world, "b")))
            const error = yield* flipped(
              moving((moves) => moves.start(tenantId, { to: "b" })).pipe(Effect.provide(onFullDisk))
            )
            assert.containSubset(error, { _tag: "MoveCalledOff", tenantId })
            assert.include(error.message, "no room")
            assert.deepStrictEqual([...(yield* recordsOf(world, tenantId)).keys()], ["a"])
            assert.deepStrictEqual((yield* append(tenantId, stream("one", events(1)))).positions, [32])
            assert.isUndefined(yield* moving((moves) => moves.status(tenantId)))
          })
        )
      )

      it.effect("can be aborted until they are decided, and exclude each other", () =>
        inProgram(
          Effect.fnUntraced(function* (world) {
            const tenantId = yield* tenantAt(world, "a")
            const copied = yield* Deferred.make<void>()
            const start = moving((moves) =>
              moves.start(tenantId, {
                to: "b",
                // the log is copied, and the fence is not set yet
                onProgress: () => Effect.andThen(Deferred.succeed(copied, undefined), Effect.never)
              })
            )
            const first = yield* Effect.forkChild(start)
            yield* Deferred.await(copied)
            const status = yield* moving((moves) => moves.status(tenantId))
            assert.containSubset(status, { from: "a", to: "b", step: "copying", end: 31, copied: 31 })
            assert.isAbove(Duration.toMillis(status?.lease ?? Duration.zero), 0)
            const second = yield* flipped(moving((moves) => moves.start(tenantId, { to: "b" })))
            assert.containSubset(second, { _tag: "MoveRefused", reason: "underWay" })
            const other = yield* flipped(moving((moves) => moves.resume(tenantId)))
            assert.containSubset(other, { _tag: "MoveRefused", reason: "underWay" })
            yield* moving((moves) => moves.abort(tenantId))
            assert.deepStrictEqual([...(yield* recordsOf(world, tenantId)).keys()], ["a"])
            const left = yield* Fiber.await(first)
            assert.strictEqual(left._tag, "Failure")
            assert.deepStrictEqual((yield* append(tenantId, stream("one", events(1)))).positions, [32])
            yield* moving((moves) => moves.start(tenantId, { to: "b" }))
            assert.deepStrictEqual(yield* homes(world, tenantId), ["b"])
          }),
          { settings: { lease: "300 millis" } }
        )
      )

      // a handler has the only connection of an embedded database
      if (name !== "memory") return
      it.effect("are tried again if the fence expires before the decision, with the events since", () =>
        inProgram(
          Effect.fnUntraced(function* (world) {
            const tenantId = yield* tenantAt(world, "a")
            const services = yield* Effect.context<EventStorage>()
            let written = false
            const moved = yield* moving((moves) =>
              moves.start(tenantId, {
                to: "b",
                onProgress: ({ step }) => {
                  if (step !== "fenced" || written) return Effect.void
                  written = true
                  // waits until the fence has expired
                  return append(tenantId, stream("two", events(1))).pipe(
                    Effect.provideContext(services),
                    Effect.orDie
                  )
                }
              })
            )
            assert.containSubset(moved, { events: 32, removed: true })
            assert.deepStrictEqual(yield* homes(world, tenantId), ["b"])
          }),
          { settings: { fence: "300 millis" } }
        )
      )

      it.effect("are called off if a handler does not end in time, and wait for one that does", () =>
        inProgram(
          Effect.fnUntraced(function* (world) {
            const tenantId = yield* tenantAt(world, "a")
            const storage = yield* ProjectionStorage
            const key = { projection: `slow ${tenantId}`, version: 1 }
            yield* storage.register([{ ...key, startAt: "beginning", tables: [] }])
            yield* storage.sweep
            const begun = yield* Deferred.make<void>()
            const ends = yield* Deferred.make<void>()
            const work = Effect.gen(function* () {
              for (let worked = false; !worked;) {
                const done = yield* storage.work(
                  { projections: [{ ...key, acrossTenants: false }], accessId: undefined },
                  (claim) =>
                    claim.tenantId === tenantId
                      ? Effect.andThen(
                          Deferred.succeed(begun, undefined),
                          Effect.andThen(Deferred.await(ends), Effect.as(storage.advance(claim, 31), true))
                        )
                      : Effect.as(storage.advance(claim, claim.head), false)
                )
                worked = Option.getOrElse(done, () => false)
              }
            })
            const handler = yield* Effect.forkChild(work)
            yield* Deferred.await(begun)
            const error = yield* flipped(moving((moves) => moves.start(tenantId, { to: "b" })))
            assert.containSubset(error, { _tag: "MoveCalledOff" })
            assert.include(error.message, "handlers")
            assert.deepStrictEqual(yield* homes(world, tenantId), ["a"])
            const second = yield* Effect.forkChild(moving((moves) => moves.start(tenantId, { to: "b" })))
            yield* Effect.sleep("30 millis")
            yield* Deferred.succeed(ends, undefined)
            yield* Fiber.join(handler)
            yield* Fiber.join(second)
            assert.deepStrictEqual(yield* homes(world, tenantId), ["b"])
            const { accessId, administration } = yield* administrationOf(world, "b")
            const progress = yield* administration.readProgress({ accessId, tenantId })
            assert.containSubset(progress, [{ projection: key.projection, position: 31 }])
          }),
          { settings: { handlerWait: "100 millis" } }
        )
      )
    }
  )
}

const administrationOf = Effect.fnUntraced(function* (world: World, placement: string) {
  const administration = Context.get(
    world.storages.get(placement) ?? assert.fail(placement),
    AdministrationStorage
  )
  const accessId = yield* administration.recordAccess({ actor: "test", reason: "test", operation: "look" })
  return { accessId, administration }
})

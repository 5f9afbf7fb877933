import { assert, describe, it, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Metric, Result, Schedule, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as SnapshotPolicy from "../../src/domain/SnapshotPolicy.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import { flipped } from "../../src/testing/failures.ts"
import { backends } from "../support/backends.ts"
import { Account, append, asNewTenant, deposited, Deposited, inMemory, opened } from "../support/bank.ts"
import { failover, Failover } from "../support/failover.ts"
import {
  enterAll,
  entered,
  inMemory as inMemorySnapshots,
  Ledger,
  withRepository
} from "../support/snapshots.ts"
import * as Telemetry from "../../src/telemetry/Telemetry.ts"

type State = typeof Account.initial

class Overdrawn extends Schema.TaggedError<Overdrawn>()("Overdrawn", { balance: Schema.Int }) {}

const deposit = (amount: number) => () => [deposited(amount)]

/** Refuses unless the balance is at least the amount. */
const spend =
  (amount: number) =>
  ({ balance }: State) =>
    balance < amount
      ? Result.fail(new Overdrawn({ balance }))
      : Result.succeed(amount === 0 ? [] : [deposited(-amount)])

type Events = Aggregate.EventOf<typeof Account>

const execute = <const D extends Repository.Decision<Events, unknown, unknown>>(
  decide: (state: State) => D,
  options?: Repository.ExecuteOptions,
  id = "1"
) => Repository.Repository.use((repository) => repository.execute(Account, id, decide, options))

const load = (options?: Repository.LoadOptions, id = "1") =>
  Repository.Repository.use((repository) => repository.load(Account, id, options))

/** Runs an effect like another process, with a repository that shares no remembered states. */
const elsewhere = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Repository.Repository> | EventStore.EventStore> =>
  Effect.provide(effect, Repository.layer, { local: true })

const requests = Effect.flatMap(Failover, (failing) => failing.requests)
const switchOver = Effect.flatMap(Failover, (failing) => failing.switchOver)

const counted = (metric: Metric.Counter<number>, attributes: Record<string, string>) =>
  Effect.map(Metric.value(Metric.withAttributes(metric, attributes)), ({ count }) => count)

describe.each(backends)("a repository that remembers, on $name", (backend) => {
  const Store = Layer.provideMerge(EventStore.layer, failover(backend.layer))
  layer(Layer.provideMerge(Repository.layer, Store), { excludeTestServices: true })((it) => {
    it.effect(
      "decides on the remembered state without a load, and appends with its version and the id of its last event",
      () =>
        Effect.gen(function* () {
          yield* execute(deposit(1))
          yield* requests
          assert.deepInclude(yield* execute(deposit(2)), {
            state: { status: "none", balance: 3 },
            version: 2
          })
          assert.deepStrictEqual(yield* requests, ["append"])
          // Not for other aggregates, nor for other aggregate values of the same type.
          const { initial, state } = Account
          const counting = { id: Schema.String, state, initial, events: [Deposited] }
          const Deposits = Aggregate.make("Account", counting, (known) => ({
            ...known,
            balance: known.balance + 1
          }))
          assert.strictEqual(
            (yield* Repository.Repository.use((one) => one.load(Deposits, "1"))).state.balance,
            2
          )
          assert.deepStrictEqual(yield* requests, ["loadStream"])
        }).pipe(asNewTenant)
    )

    it.effect("decides again after an append by another process, even with few retries", () =>
      Effect.gen(function* () {
        yield* execute(deposit(1))
        yield* elsewhere(execute(deposit(10)))
        const seen: Array<number> = []
        const outcome = yield* execute(
          ({ balance }) => {
            seen.push(balance)
            return [deposited(100)]
          },
          { retry: Schedule.recurs(0) }
        )
        assert.deepInclude(outcome, { state: { status: "none", balance: 111 }, version: 3 })
        assert.deepStrictEqual(seen, [1, 11])
      }).pipe(asNewTenant)
    )

    it.effect("refuses, or decides on no events, only on a state that the store has confirmed", () =>
      Effect.gen(function* () {
        yield* execute(deposit(1))
        yield* elsewhere(execute(deposit(10)))
        assert.deepInclude(yield* execute(spend(0)), { state: { status: "none", balance: 11 }, version: 2 })
        yield* elsewhere(execute(deposit(100)))
        // A refusal on the remembered state, but not on the stored one.
        assert.deepInclude(yield* execute(spend(111)), { version: 4 })
        yield* elsewhere(execute(deposit(5)))
        assert.deepStrictEqual(yield* flipped(execute(spend(6))), new Overdrawn({ balance: 5 }))
        yield* elsewhere(execute(deposit(5)))
        // An expected version is not compared with the remembered one either.
        yield* execute(deposit(1), { expectedVersion: 6 })
        assert.deepInclude(yield* flipped(execute(deposit(1), { expectedVersion: 6 })), { actual: 7 })
      }).pipe(asNewTenant)
    )

    it.effect("confirms a refusal, and a decision without events, without reading, and decides once", () =>
      Effect.gen(function* () {
        const { eventId } = yield* execute(deposit(1))
        yield* requests
        let decided = 0
        const once =
          <A>(decide: (state: State) => A) =>
          (state: State): A => {
            decided++
            return decide(state)
          }
        assert.deepStrictEqual(yield* execute(once(() => [])), {
          state: { status: "none", balance: 1 },
          version: 1,
          eventId,
          events: [],
          replayed: false
        })
        assert.deepStrictEqual(yield* flipped(execute(once(spend(2)))), new Overdrawn({ balance: 1 }))
        const broken = execute(
          once((): ReadonlyArray<Events> => {
            throw new Error("broken")
          })
        )
        assert.strictEqual(String(Cause.squash(yield* Effect.flip(Effect.sandbox(broken)))), "Error: broken")
        assert.deepInclude(yield* flipped(execute(deposit(1), { expectedVersion: 7 })), { actual: 1 })
        assert.strictEqual(decided, 3)
        assert.deepStrictEqual(
          yield* requests,
          Array.from({ length: 4 }, () => "streamEndsWith")
        )
      }).pipe(asNewTenant)
    )

    it.effect("runs the effect of a decision only on a confirmed state", () =>
      Effect.gen(function* () {
        yield* execute(deposit(1))
        yield* elsewhere(execute(deposit(10)))
        const run: Array<number> = []
        yield* execute(({ balance }) => Effect.sync(() => (run.push(balance), [deposited(balance)])))
        assert.deepStrictEqual(run, [11])
      }).pipe(asNewTenant)
    )

    it.effect("loads events of others, from the remembered state on", () =>
      Effect.gen(function* () {
        yield* execute(deposit(1))
        yield* elsewhere(execute(deposit(10)))
        yield* requests
        assert.deepInclude(yield* load(), { state: { status: "none", balance: 11 }, version: 2 })
        assert.deepStrictEqual(yield* load({ fresh: true }), yield* load())
        assert.deepStrictEqual(yield* requests, [
          "streamEndsWith",
          "loadStream",
          "loadStream",
          "streamEndsWith"
        ])
      }).pipe(asNewTenant)
    )

    it.effect("never decides on a state of another history, even of the same length", () =>
      Effect.gen(function* () {
        const ids = ["a", "b", "c", "d", "e"]
        const history = (amounts: ReadonlyArray<number>) =>
          Effect.forEach(ids, (id) => append(id, amounts.map(deposited)))
        yield* history([1, 2])
        for (const id of ids) assert.strictEqual((yield* load({}, id)).state.balance, 3)
        // The other database has lost the end of the log, and has new events.
        yield* switchOver
        yield* history([1, 20])
        assert.deepInclude(yield* execute(spend(20), {}, "a"), { state: { status: "none", balance: 1 } })
        assert.deepInclude(yield* execute(spend(0), {}, "b"), { state: { status: "none", balance: 21 } })
        assert.deepStrictEqual(yield* flipped(execute(spend(22), {}, "c")), new Overdrawn({ balance: 21 }))
        assert.deepInclude(yield* load({}, "d"), { state: { status: "none", balance: 21 }, version: 2 })
        assert.deepInclude(yield* execute(deposit(1), {}, "e"), { state: { status: "none", balance: 22 } })
        // The next stream does not exist there.
        yield* switchOver
        assert.deepInclude(yield* execute(deposit(1), {}, "a"), { state: { status: "none", balance: 4 } })
      }).pipe(asNewTenant)
    )

    it.effect("never decides on a state that a rolled back transaction has seen", () =>
      Effect.gen(function* () {
        const tenantId = yield* Tenant.CurrentTenant
        yield* execute(deposit(1))
        const { transaction } = yield* ProjectionStorage
        const rolledBack = transaction(
          tenantId,
          Effect.gen(function* () {
            assert.deepInclude(yield* execute(deposit(10)), { state: { status: "none", balance: 11 } })
            assert.deepInclude(yield* load(), { state: { status: "none", balance: 11 } })
            return yield* Effect.fail("rolled back")
          })
        )
        assert.strictEqual(yield* flipped(rolledBack), "rolled back")
        yield* requests
        assert.deepInclude(yield* execute(deposit(2)), { state: { status: "none", balance: 3 }, version: 2 })
        // The former state is still remembered.
        assert.deepStrictEqual(yield* requests, ["append"])
      }).pipe(asNewTenant)
    )

    it.effect("41: keeps 100 tenants with the same ids apart", () =>
      Effect.gen(function* () {
        const { execute: executeOf, load: loadOf } = yield* Repository.Repository
        const tenants = yield* Effect.replicateEffect(Tenant.generate, 100)
        const each = <A, E, R>(run: (canary: number) => Effect.Effect<A, E, R>) =>
          Effect.forEach(tenants, (tenantId, index) => Tenant.provide(tenantId)(run(index + 1)), {
            concurrency: 10
          })
        yield* each((canary) => executeOf(Account, "same", deposit(canary)))
        yield* requests
        // A decision that sees another tenant's state would be refused, and made again: it must not come to that.
        const seen: Array<readonly [number, number]> = []
        yield* each((canary) =>
          executeOf(Account, "same", ({ balance }) => {
            seen.push([balance, canary])
            return [deposited(canary)]
          })
        )
        assert.lengthOf(seen, 100)
        for (const [balance, canary] of seen) assert.strictEqual(balance, canary)
        assert.notInclude(yield* requests, "loadStream")
        yield* each((canary) =>
          Effect.map(loadOf(Account, "same"), ({ state, version }) =>
            assert.deepStrictEqual([state.balance, version], [2 * canary, 2])
          )
        )
      })
    )

    it.effect("finds the events of a first run with derived ids before a remembered state", () =>
      Effect.gen(function* () {
        const handle = (
          decide: (state: State) => Repository.Decision<ReturnType<typeof deposited>, Overdrawn>
        ) => execute(decide).pipe(EventContext.derivingIds(["test", "message 1"]))
        yield* execute(deposit(1))
        const first = yield* handle(({ balance }) => [deposited(balance + 1)])
        const { eventId } = yield* execute(deposit(3))
        const again = [
          ({ balance }: State) => [deposited(balance + 1)],
          () => [deposited(2)],
          () => [],
          ({ balance }: State) => Result.fail(new Overdrawn({ balance })),
          () => Effect.succeed([deposited(9)])
        ]
        for (const decide of again)
          assert.deepStrictEqual(yield* handle(decide), {
            ...first,
            state: { status: "none", balance: 6 },
            version: 3,
            eventId,
            replayed: true
          })
      }).pipe(asNewTenant)
    )

    it.effect("carries out a command with a key once, and records its outcome on a confirmed state", () =>
      Effect.gen(function* () {
        yield* execute(deposit(1))
        const first = yield* execute(deposit(2), { command: { key: "a" } })
        yield* elsewhere(execute(deposit(4)))
        let decided = 0
        const count = (state: State) => {
          decided++
          return [deposited(state.balance)]
        }
        assert.deepStrictEqual(yield* execute(count, { command: { key: "a" } }), { ...first, replayed: true })
        assert.strictEqual(decided, 0)
        assert.deepInclude(yield* execute(count, { command: { key: "b" } }), {
          state: { status: "none", balance: 14 }
        })
        yield* elsewhere(execute(deposit(1)))
        assert.deepInclude(yield* execute(spend(0), { command: { key: "c" } }), {
          state: { status: "none", balance: 15 },
          version: 5
        })
      }).pipe(asNewTenant)
    )
  })
})

describe("the states that a repository remembers", () => {
  it.effect("belong to one layer on one store, and are never shared", () =>
    Effect.gen(function* () {
      const tenantId = yield* Tenant.generate
      const balances = yield* Effect.forEach([1, 10], (amount) =>
        Effect.andThen(
          execute(deposit(amount)),
          Effect.map(load(), ({ state }) => state.balance)
        ).pipe(
          // The same layer of the repository on two stores.
          Effect.provide(
            Repository.layer.pipe(
              Layer.provideMerge(EventStore.layer),
              Layer.provide(MemoryStorage.layerWith({}))
            )
          )
        )
      ).pipe(Tenant.provide(tenantId))
      assert.deepStrictEqual(balances, [1, 10])
    })
  )

  it.effect.each([{ entries: 0 }, { bytes: 0 }])("do not exist with %o", (remember) => {
    const Store = Layer.provideMerge(EventStore.layer, failover(MemoryStorage.layer))
    return Effect.gen(function* () {
      yield* execute(deposit(1))
      yield* execute(deposit(2))
      assert.deepStrictEqual(yield* requests, ["loadStream", "append", "loadStream", "append"])
    }).pipe(asNewTenant, Effect.provide(Layer.provideMerge(Repository.layerWith({ remember }), Store)))
  })

  it.effect("have limits that must be integers from 0", () =>
    Effect.gen(function* () {
      for (const remember of [{ entries: -1 }, { entries: 1.5 }, { bytes: Number.NaN }]) {
        const built = Layer.build(Layer.provide(Repository.layerWith({ remember }), inMemory()))
        const exit = yield* Effect.exit(Effect.scoped(built))
        assert(Exit.isFailure(exit))
        assert.match(String(Cause.squash(exit.cause)), /remember\.(entries|bytes) must be an integer/)
      }
    })
  )

  it.effect("are counted: hits, misses, and states that were not the newest", () =>
    Effect.gen(function* () {
      const counts = Effect.all([
        counted(Telemetry.rememberedHits, { aggregate: "Account" }),
        counted(Telemetry.rememberedMisses, { aggregate: "Account", reason: "absent" }),
        counted(Telemetry.rememberedMisses, { aggregate: "Account", reason: "fresh" }),
        counted(Telemetry.rememberedOutdated, { aggregate: "Account" })
      ])
      const before = yield* counts
      yield* execute(deposit(1))
      yield* execute(deposit(1))
      yield* load()
      yield* load({ fresh: true })
      yield* append("1", [opened()])
      yield* execute(deposit(1))
      const after = yield* counts
      assert.deepStrictEqual(
        after.map((count, index) => count - (before[index] ?? 0)),
        [3, 1, 1, 1]
      )
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )
})

const step = Schema.Struct({
  kind: Schema.Literals(["execute", "nothing", "refuse", "load", "elsewhere"]),
  count: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 }))
})

describe("snapshots of a repository that remembers", () => {
  const policies = [
    SnapshotPolicy.every(1),
    SnapshotPolicy.every(4),
    SnapshotPolicy.whenReadMoreThan(1),
    SnapshotPolicy.whenReadMoreThan(5),
    ({ appended, read }: SnapshotPolicy.Situation) => (appended + read) % 3 === 1
  ]

  it.effect.prop(
    "become due at the same versions as without remembered states",
    [
      Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: policies.length - 1 })),
      Schema.Array(step).check(Schema.isMaxLength(15))
    ],
    ([policy, steps]) => {
      const versions = (remember: Repository.RememberOptions) => {
        const taken: Array<number> = []
        const watched = inMemorySnapshots((storage) => ({
          save: (snapshot) => {
            taken.push(snapshot.version)
            return storage.save(snapshot)
          }
        }))
        const run = Effect.gen(function* () {
          const repository = yield* Repository.Repository
          for (const { count, kind } of steps) {
            const amounts = Array.from({ length: count }, (_, index) => index)
            if (kind === "execute") yield* repository.execute(Ledger, "1", () => amounts.map(entered))
            else if (kind === "nothing") yield* repository.execute(Ledger, "1", () => [])
            else if (kind === "refuse")
              yield* flipped(repository.execute(Ledger, "1", () => Result.fail("no")))
            else if (kind === "load") yield* repository.loadOrInitial(Ledger, "1")
            else yield* enterAll(amounts)
          }
        })
        return run.pipe(
          withRepository({ policy: policies[policy] ?? SnapshotPolicy.never, taken: "atOnce" }, { remember }),
          Effect.provide(watched),
          asNewTenant,
          Effect.as(taken)
        )
      }
      return Effect.gen(function* () {
        assert.deepStrictEqual(yield* versions({}), yield* versions({ entries: 0 }))
      })
    }
  )
})

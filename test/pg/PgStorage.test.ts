/** One store per client: separate for different clients, shared for the same one. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import {
  Context,
  Effect,
  Exit,
  Fiber,
  Layer,
  LayerMap,
  ManagedRuntime,
  Schedule,
  Scope,
  Stream
} from "effect"
import { SqlClient } from "effect/sql"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import type { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import type { SnapshotStorage } from "../../src/driver/SnapshotStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import { perClient } from "../../src/pg/perClient.ts"
import * as InMemoryProjection from "../../src/projection/InMemoryProjection.ts"
import * as ProjectionManager from "../../src/projection/ProjectionManager.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import * as SnapshotPolicy from "../../src/domain/SnapshotPolicy.ts"
import * as Decisions from "../../src/store/Decisions.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import { Account, append, asNewTenant, opened } from "../support/bank.ts"
import { servers } from "../support/Databases.ts"

type Client = Layer.Layer<PgClient.PgClient | SqlClient.SqlClient>

/** The same constants for every database, as a program has them. */
const storeOn = (client: Client) =>
  Layer.mergeAll(Repository.layer, TenantRegistry.layer).pipe(
    Layer.provideMerge(EventStore.layer),
    Layer.provide(PgStorage.layer),
    Layer.provide(client),
    Layer.orDie
  )

const open = Repository.Repository.use(({ execute }) => execute(Account, "1", () => [opened()]))

/** A service of a program, on a store. */
class Left extends Context.Service<Left, EventStore.EventStore["Service"]>()("test/Left") {}
class Right extends Context.Service<Right, EventStore.EventStore["Service"]>()("test/Right") {}
const left = Layer.effect(Left, EventStore.EventStore)
const right = Layer.effect(Right, EventStore.EventStore)

const events = [opened()]
const appendTo = (store: EventStore.EventStore["Service"], expectedVersion: number | "any" = 0) =>
  store.append({ aggregate: Account, id: "1", events, expectedVersion })

/** Ways to use two databases in one program. Each opens account `1` of one tenant in the first, and of another in the second. */
const ways: Record<
  string,
  (
    one: Client,
    other: Client,
    mine: Tenant.TenantId,
    theirs: Tenant.TenantId
  ) => Effect.Effect<unknown, unknown>
> = {
  "a store provided within another one": (one, other, mine, theirs) =>
    Effect.andThen(
      Tenant.provide(mine)(open),
      open.pipe(Tenant.provide(theirs), Effect.provide(storeOn(other)))
    ).pipe(Effect.provide(storeOn(one))),
  "two services of a program": (one, other, mine, theirs) =>
    Effect.andThen(
      Left.use(appendTo).pipe(Tenant.provide(mine)),
      Right.use(appendTo).pipe(Tenant.provide(theirs))
    ).pipe(
      Effect.provide(
        Layer.mergeAll(left.pipe(Layer.provide(storeOn(one))), right.pipe(Layer.provide(storeOn(other))))
      )
    ),
  "Layer.build": (one, other, mine, theirs) =>
    Effect.gen(function* () {
      const first = yield* Layer.build(storeOn(one))
      const second = yield* Layer.build(storeOn(other)).pipe(Effect.provideContext(first))
      yield* open.pipe(Tenant.provide(mine), Effect.provideContext(first))
      yield* open.pipe(Tenant.provide(theirs), Effect.provideContext(second))
    }).pipe(Effect.scoped),
  "a LayerMap by tenant": (one, other, mine, theirs) => {
    class Stores extends LayerMap.Service<Stores>()("test/Stores", {
      lookup: (tenantId: Tenant.TenantId) => storeOn(tenantId === mine ? one : other),
      idleTimeToLive: "1 minute"
    }) {}
    return Effect.forEach([mine, theirs], (tenantId) =>
      open.pipe(Tenant.provide(tenantId), Effect.provide(Stores.get(tenantId)))
    ).pipe(Effect.provide(Stores.layer))
  },
  "a constant that needs a client, in Layer.fresh": (one, other, mine, theirs) => {
    const constant = EventStore.layer.pipe(Layer.provide(PgStorage.layer), Layer.orDie)
    return Effect.andThen(
      append("1", events, 0).pipe(Tenant.provide(mine)),
      append("1", events, 0).pipe(
        Tenant.provide(theirs),
        Effect.provide(Layer.fresh(constant).pipe(Layer.provide(other)))
      )
    ).pipe(Effect.provide(Layer.fresh(constant).pipe(Layer.provide(one))))
  }
}

/** The tenants with events in a database. */
const tenantsIn = (owner: PgClient.PgPoolConfig) =>
  SqlClient.SqlClient.use(
    (sql) => sql<{ tenant: string }>`select distinct tenant_id::text as tenant from eventsourcing.events`
  ).pipe(
    Effect.map((rows) => rows.map(({ tenant }) => tenant)),
    Effect.provide(PgClient.layer({ ...owner, maxConnections: 1 }), { local: true })
  )

const embedded = (): Client =>
  PgMigrator.layer.pipe(Layer.provideMerge(PgEmbedded.layerWith({})), Layer.orDie)

describe("two stores in one program", () => {
  it.live("36: are separate in two embedded databases, and each is migrated", () =>
    Effect.gen(function* () {
      const [mine, theirs] = [yield* Tenant.generate, yield* Tenant.generate]
      const [one, other] = [embedded(), embedded()]
      yield* Effect.gen(function* () {
        for (const store of [yield* Left, yield* Right]) {
          assert.strictEqual((yield* appendTo(store).pipe(Tenant.provide(mine))).version, 1)
        }
        yield* appendTo(yield* Left).pipe(Tenant.provide(theirs))
        assert.strictEqual(yield* (yield* Right).position.pipe(Tenant.provide(theirs)), 0)
      }).pipe(
        Effect.provide(
          Layer.mergeAll(left.pipe(Layer.provide(storeOn(one))), right.pipe(Layer.provide(storeOn(other))))
        )
      )
    })
  )

  const memory = (name: string, driver: Layer.Layer<EventStorage>) =>
    it.live(`36: are one store if a layer is used twice, in ${name}`, () =>
      Effect.gen(function* () {
        const first = yield* Left
        const second = yield* Right
        yield* appendTo(first)
        assert.strictEqual(yield* second.position, 1)
        assert.isTrue(Exit.isFailure(yield* Effect.exit(appendTo(second))))
        assert.strictEqual((yield* appendTo(second, 1)).version, 2)
        assert.strictEqual(yield* first.position, 2)
      }).pipe(
        asNewTenant,
        Effect.provide(
          Layer.mergeAll(
            left.pipe(Layer.provide(EventStore.layer), Layer.provide(driver)),
            right.pipe(Layer.provide(EventStore.layer), Layer.provide(driver))
          )
        )
      )
    )
  memory("memory", MemoryStorage.layer)
  memory(
    "PGlite",
    PgStorage.layer.pipe(Layer.provide(PgMigrator.layer), Layer.provide(PgEmbedded.layer), Layer.orDie)
  )

  it.live("36: are separate in memory for two layers", () =>
    Effect.gen(function* () {
      yield* appendTo(yield* Left)
      assert.strictEqual(yield* (yield* Right).position, 0)
    }).pipe(
      asNewTenant,
      Effect.provide(
        Layer.mergeAll(
          left.pipe(Layer.provide(EventStore.layer), Layer.provide(MemoryStorage.layerWith({}))),
          right.pipe(Layer.provide(EventStore.layer), Layer.provide(MemoryStorage.layerWith({})))
        )
      )
    )
  )
})

const Openings = InMemoryProjection.make(
  "openings",
  { aggregates: [Account], initial: () => 0 },
  (count) => count + 1
)

type Storages = EventStorage | ProjectionStorage | SnapshotStorage

describe("a constant of the typed tier", () => {
  const tier = <I, S, E>(
    name: string,
    key: Context.Key<I, S>,
    service: Layer.Layer<I, E, Storages | EventStore.EventStore>
  ) =>
    it.effect(`36: is a service per store: ${name}`, () =>
      Effect.gen(function* () {
        const memoMap = yield* Layer.makeMemoMap
        const scope = yield* Effect.scope
        const on = (driver: Layer.Layer<Storages>) =>
          EventStore.layer.pipe(
            Layer.provideMerge(driver),
            (store) => Layer.provide(service, store),
            Layer.buildWithMemoMap(memoMap, scope),
            Effect.map(Context.get(key))
          )
        const first = yield* on(MemoryStorage.layer)
        const again = yield* on(MemoryStorage.layer)
        const second = yield* on(MemoryStorage.layerWith({}))
        assert.isTrue(first === again)
        assert.isFalse(first === second)
      })
    )
  tier("EventStore.layer", EventStore.EventStore, EventStore.layer)
  tier("EventStore.layerWith", EventStore.EventStore, EventStore.layerWith({ pageSize: 7 }))
  tier("Repository.layer", Repository.Repository, Repository.layer)
  tier(
    "Repository.layerWith",
    Repository.Repository,
    Repository.layerWith({ snapshots: { policy: SnapshotPolicy.every(1) } })
  )
  tier("Decisions.layer", Decisions.Decisions, Decisions.layer)
  tier("TenantRegistry.layer", TenantRegistry.TenantRegistry, TenantRegistry.layer)
  tier("ProjectionManager.layer", ProjectionManager.ProjectionManager, ProjectionManager.layer)
  tier(
    "ProjectionRunner.layer",
    ProjectionRunner.ProjectionRunner,
    ProjectionRunner.layer({ projections: [], concurrency: 0 })
  )
  tier("InMemoryProjection.layer", Openings.Service, Openings.layer)
})

for (const { freshDatabase, name } of servers) {
  describe(`two databases in one program, on ${name}`, () => {
    for (const [way, run] of Object.entries(ways)) {
      it.live(`36: each has only the events of its own tenant: ${way}`, () =>
        Effect.gen(function* () {
          const [one, other] = [yield* freshDatabase, yield* freshDatabase]
          const [mine, theirs] = [yield* Tenant.generate, yield* Tenant.generate]
          yield* run(
            PgClient.layer(one.app).pipe(Layer.orDie),
            PgClient.layer(other.app).pipe(Layer.orDie),
            mine,
            theirs
          )
          assert.deepStrictEqual(yield* tenantsIn(one.owner), [mine])
          assert.deepStrictEqual(yield* tenantsIn(other.owner), [theirs])
        }).pipe(Effect.scoped)
      )
    }
  })

  describe(`the store of a client, on ${name}`, () => {
    /** A client, its listening sessions, and a tenant's append to a store. */
    const setup = Effect.gen(function* () {
      const { app, owner } = yield* freshDatabase
      const clients = yield* Layer.build(PgClient.layer(app))
      const sql = yield* Effect.map(
        Layer.build(PgClient.layer({ ...owner, maxConnections: 1 })),
        Context.get(SqlClient.SqlClient)
      )
      const listeners = Effect.map(
        sql<{ n: number }>`
          select count(*)::int4 as n from pg_stat_activity
          where datname = current_database() and query ilike 'listen%'`,
        ([row]) => row?.n
      )
      return {
        listeners: (wanted: number) =>
          listeners.pipe(
            Effect.filterOrFail((n) => n === wanted),
            Effect.retry(Schedule.spaced("10 millis").pipe(Schedule.upTo({ times: 300 }))),
            Effect.orElseSucceed(() => undefined),
            Effect.andThen(listeners),
            Effect.map((n) => assert.strictEqual(n, wanted))
          ),
        /** The store in a program of its own, which ends with the scope. */
        build: (options: PgStorage.Options = {}, scope?: Scope.Scope) =>
          Effect.gen(function* () {
            const memoMap = yield* Layer.makeMemoMap
            const services = yield* Layer.buildWithMemoMap(
              EventStore.layer.pipe(Layer.provideMerge(PgStorage.layerWith(options))),
              memoMap,
              scope ?? (yield* Effect.scope)
            )
            return {
              storage: Context.get(services, EventStorage),
              store: Context.get(services, EventStore.EventStore)
            }
          }).pipe(Effect.provideContext(clients))
      }
    })

    /** Listens, and returns an effect that waits for the next hint. */
    const listen = Effect.fnUntraced(function* (storage: EventStorage["Service"]) {
      let hints = 0
      yield* Stream.runForEach(storage.changes, () => Effect.sync(() => hints++)).pipe(
        Effect.forkScoped({ startImmediately: true })
      )
      return <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.suspend(() => {
          const before = hints
          return Effect.andThen(
            effect,
            Effect.repeat(Effect.sleep("5 millis"), { until: () => hints > before })
          )
        })
    })

    it.live("36: is one, with one group commit and one listener, however often it is built", () =>
      Effect.gen(function* () {
        const { build, listeners } = yield* setup
        const first = yield* build()
        const again = yield* build({ provisionOnAppend: true })
        assert.isTrue(first.storage === again.storage)
        const other = yield* build({ groupCommit: false })
        assert.isFalse(first.storage === other.storage)
        for (const { storage } of [first, again, other]) {
          const hearing = yield* listen(storage)
          yield* listeners(1)
          yield* hearing(Tenant.provide(yield* Tenant.generate)(appendTo(other.store)))
        }
        yield* listeners(1)
      }).pipe(Effect.scoped)
    )

    it.live("36: continues when one of its users ends, and ends with the last one", () =>
      Effect.gen(function* () {
        const { build, listeners } = yield* setup
        const [one, other] = [yield* Scope.make(), yield* Scope.make()]
        const first = yield* build({}, one)
        const hearing = yield* listen(first.storage)
        yield* listeners(1)
        const second = yield* build({}, other)
        yield* Scope.close(one, Exit.void)
        yield* listeners(1)
        const tenantId = yield* Tenant.generate
        // The other one appends, announces and receives announcements as before.
        yield* hearing(Tenant.provide(tenantId)(appendTo(second.store)))
        yield* hearing(Tenant.provide(tenantId)(appendTo(second.store, 1)))
        yield* Scope.close(other, Exit.void)
        yield* listeners(0)
        // A later user gets a new store.
        const third = yield* build()
        assert.strictEqual((yield* Tenant.provide(tenantId)(appendTo(third.store, 2))).version, 3)
      }).pipe(Effect.scoped)
    )

    it.live("36: is shared by a ManagedRuntime and a program beside it", () =>
      Effect.gen(function* () {
        const { app } = yield* freshDatabase
        const client = yield* Effect.map(Layer.build(PgClient.layer(app)), Layer.succeedContext)
        const runtime = ManagedRuntime.make(PgStorage.layer.pipe(Layer.provide(client)))
        const first = yield* Effect.promise(() => runtime.runPromise(EventStorage))
        yield* Effect.gen(function* () {
          assert.isTrue((yield* EventStorage) === first)
          yield* Effect.promise(() => runtime.dispose())
          assert.strictEqual((yield* first.head({ tenantId: yield* Tenant.generate })).position, 0)
        }).pipe(Effect.provide(PgStorage.layer.pipe(Layer.provide(client))))
      }).pipe(Effect.scoped)
    )
  })
}

describe("a part that exists once per client", () => {
  // It connects at its first use.
  const client = Effect.map(Layer.build(PgClient.layer({})), Context.get(SqlClient.SqlClient))

  it.live("is created again after a failure, and by the next caller if the first is interrupted", () =>
    Effect.gen(function* () {
      const sql = yield* client
      const closed: Array<number> = []
      let made = 0
      const part = perClient(
        () =>
          Effect.gen(function* () {
            const n = ++made
            yield* Effect.addFinalizer(() => Effect.sync(() => void closed.push(n)))
            if (n === 1) return yield* Effect.fail("no")
            if (n === 2) return yield* Effect.never
            return n
          }),
        () => "part"
      )
      assert.strictEqual(yield* Effect.flip(Effect.scoped(part(sql))), "no")
      assert.deepStrictEqual(closed, [1])
      const stuck = yield* Effect.forkChild(Effect.scoped(part(sql)), { startImmediately: true })
      const waits = yield* Effect.forkChild(Effect.scoped(Effect.andThen(part(sql), Effect.never)), {
        startImmediately: true
      })
      yield* Fiber.interrupt(stuck)
      const scope = yield* Scope.make()
      assert.strictEqual(yield* Scope.provide(part(sql), scope), 3)
      assert.deepStrictEqual(closed, [1, 2])
      yield* Fiber.interrupt(waits)
      assert.deepStrictEqual(closed, [1, 2])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(closed, [1, 2, 3])
      assert.strictEqual(yield* Effect.scoped(part(sql)), 4)
      assert.deepStrictEqual(closed, [1, 2, 3, 4])
    }).pipe(Effect.scoped)
  )
})

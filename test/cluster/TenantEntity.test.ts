/** Entities of tenants in a cluster of one process, over a store in memory. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Layer, Option, Schema, Stream } from "effect"
import {
  ClusterSchema,
  Entity,
  MessageStorage,
  RunnerAddress,
  RunnerHealth,
  RunnerStorage,
  Runners,
  Sharding,
  ShardingConfig,
  TestRunner
} from "effect/cluster"
import { Rpc, RpcSchema } from "effect/rpc"
import * as TenantEntity from "../../src/cluster/TenantEntity.ts"
import { isPrivateHost } from "../../src/cluster/privateHost.ts"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"

const Placed = Schema.TaggedStruct("Placed", { item: Schema.String })

const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state: Schema.Array(Schema.String), initial: [], events: [Placed] },
  { Placed: (items, { item }) => [...items, item] }
)

const place = Rpc.make("place", {
  payload: {
    id: Schema.String,
    item: Schema.String,
    key: Schema.String,
    tenantId: Schema.optional(Schema.String)
  },
  success: Schema.Struct({ tenantId: Schema.String, items: Schema.Array(Schema.String) })
})
const items = Rpc.make("items", {
  payload: { id: Schema.String },
  success: RpcSchema.Stream(Schema.String, Schema.Never)
})

const Orders = TenantEntity.make("Orders", [place, items])

const Served = Orders.toLayer({
  place: ({ payload: { id, item, key } }) =>
    Effect.gen(function* () {
      const tenantId = yield* Tenant.CurrentTenant
      const repository = yield* Repository.Repository
      const { state } = yield* Effect.orDie(
        repository.execute(Order, id, () => [Placed.make({ item })], { command: { key, content: item } })
      )
      return { tenantId, items: state }
    }),
  items: ({ payload: { id } }) =>
    Stream.unwrap(
      Effect.map(
        Effect.orDie(Repository.Repository.use((repository) => repository.loadOrInitial(Order, id))),
        ({ state }) => Stream.fromIterable(state)
      )
    )
})

const services = Repository.layer.pipe(
  Layer.provideMerge(EventStore.layer),
  Layer.provideMerge(Layer.fresh(MemoryStorage.layer))
)

const cluster = Served.pipe(
  Layer.provideMerge(TestRunner.layer),
  Layer.provideMerge(ShardingConfig.layer()),
  Layer.provideMerge(services)
)

const one = Tenant.TenantId.make("018f4f7e-1c3a-7b52-9d3e-2f6a8c0b1d4e")
const other = Tenant.TenantId.make("018f4f7e-1c3a-7b52-9d3e-2f6a8c0b1d4f")

const placed = (item: string, key = item) =>
  Effect.flatMap(Orders.client, (client) => client.place({ id: "1", item, key }))

describe("a call of an entity", () => {
  it.live("reaches the entity of the tenant of its fiber, and no other one with the same ids", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Tenant.provide(one)(placed("apple")), { tenantId: one, items: ["apple"] })
      assert.deepStrictEqual(yield* Tenant.provide(other)(placed("pear", "apple")), {
        tenantId: other,
        items: ["pear"]
      })
      const read = Stream.unwrap(Effect.map(Orders.client, (client) => client.items({ id: "1" })))
      assert.deepStrictEqual(yield* Tenant.provide(one)(Stream.runCollect(read)), ["apple"])
      assert.deepStrictEqual(yield* Tenant.provide(other)(Stream.runCollect(read)), ["pear"])
    }).pipe(Effect.provide(cluster, { local: true }))
  )

  it.live("takes the event context of its caller along, and a command with its key is carried out once", () =>
    Effect.gen(function* () {
      const context = {
        actor: "ada",
        correlationId: "order 1 Ω",
        causationId: "cause",
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        metadata: { source: { page: 3 } }
      }
      const twice = Effect.andThen(placed("apple"), placed("apple")).pipe(EventContext.provide(context))
      assert.deepStrictEqual((yield* Tenant.provide(one)(twice)).items, ["apple"])
      const [event, ...more] = yield* EventStore.EventStore.use((store) =>
        Stream.runCollect(store.readLog({ aggregates: [Order] }))
      ).pipe(Tenant.provide(one))
      assert.deepStrictEqual(more, [])
      const { actor, causationId, correlationId, metadata, traceparent } = event ?? assert.fail()
      assert.deepStrictEqual({ actor, causationId, correlationId, metadata, traceparent }, context)
    }).pipe(Effect.provide(cluster, { local: true }))
  )

  it.live("is refused if its payload names another tenant, and nothing is sent", () =>
    Effect.gen(function* () {
      const { place: call } = yield* Orders.client
      const error = yield* call({ id: "1", item: "apple", key: "1", tenantId: other }).pipe(
        Tenant.provide(one),
        Effect.flip
      )
      assert.instanceOf(error, TenantEntity.PayloadNamesOtherTenant)
      assert.strictEqual(
        error.message,
        "the field tenantId of Orders.place names another tenant than the one of the call"
      )
      assert.notInclude(error.message, other)
      const { tenantId } = yield* call({ id: "1", item: "apple", key: "1", tenantId: one }).pipe(
        Tenant.provide(one)
      )
      assert.strictEqual(tenantId, one)
    }).pipe(Effect.provide(cluster, { local: true }))
  )

  it.live("from a program without these checks is refused by the entity itself", () =>
    Effect.gen(function* () {
      const forged = yield* Entity.make("Orders", [place, items]).client
      const call = (address: string, tenantId?: string) =>
        forged(address)
          .place({ id: "1", item: "apple", key: "1", tenantId })
          .pipe(Effect.timeout("2 seconds"), Effect.exit)
      for (const exit of [
        yield* call(one, other),
        yield* call("nobody"),
        yield* call(one.toUpperCase()),
        yield* call(`${one}/x`),
        yield* call(`${one}/1/2`)
      ])
        assert.isTrue(exit._tag === "Failure" && Cause.hasDies(exit.cause), String(exit))
      for (const tenantId of [one, other])
        assert.deepStrictEqual(
          yield* EventStore.EventStore.use((store) =>
            Stream.runCollect(store.readLog({ aggregates: [Order] }))
          ).pipe(Tenant.provide(tenantId)),
          []
        )
    }).pipe(Effect.provide(cluster, { local: true }))
  )
})

describe("an entity with buckets", () => {
  const Large = TenantEntity.make(
    "Large",
    [Rpc.make("where", { payload: { key: Schema.String }, success: Schema.String })],
    { buckets: { count: 4, keyOf: ({ payload }) => (payload as { readonly key: string }).key } }
  )
  const layer = Large.toLayer({
    where: ({ address }) =>
      Effect.map(Tenant.CurrentTenant, (tenantId) => `${tenantId} at ${address.entityId}`)
  }).pipe(Layer.provideMerge(TestRunner.layer), Layer.provideMerge(ShardingConfig.layer()))

  it.live("has one entity for each key, all of the same tenant", () =>
    Effect.gen(function* () {
      const { where } = yield* Large.client
      const found = yield* Effect.forEach([..."abcdefghijklmnop"], (key) => where({ key }))
      assert.deepStrictEqual(yield* Effect.forEach([..."abcdefghijklmnop"], (key) => where({ key })), found)
      assert.deepStrictEqual(
        [...new Set(found)].toSorted(),
        [0, 1, 2, 3].map((bucket) => `${one} at ${one}/${bucket}`)
      )
    }).pipe(Tenant.provide(one), Effect.provide(layer, { local: true }))
  )

  it("refuses a number of buckets out of range", () => {
    for (const count of [1, 1.5, 1025])
      assert.throws(
        () => TenantEntity.make("Large", [place], { buckets: { count, keyOf: () => "" } }),
        RangeError
      )
  })
})

describe("an entity", () => {
  it("refuses calls that the cluster would store", () => {
    assert.throws(
      () => TenantEntity.make("Orders", [place, items.annotate(ClusterSchema.Persisted, true)]),
      "Orders.items is annotated as Persisted"
    )
  })

  it.live("has the shard group of its tenant", () =>
    Effect.gen(function* () {
      const Tiered = TenantEntity.make(
        "Tiered",
        [Rpc.make("group", { payload: {}, success: Schema.String })],
        { shardGroup: (tenantId) => (tenantId === one ? "large" : "default") }
      )
      const groups = ["default", "large"]
      const layer = Tiered.toLayer({ group: ({ address }) => Effect.succeed(address.shardId.group) }).pipe(
        Layer.provideMerge(
          Sharding.layer.pipe(
            Layer.provideMerge(Runners.layerNoop),
            Layer.provideMerge(MessageStorage.layerMemory),
            Layer.provide([RunnerStorage.layerMemory, RunnerHealth.layerNoop])
          )
        ),
        Layer.provideMerge(
          ShardingConfig.layer({ availableShardGroups: groups, assignedShardGroups: groups })
        )
      )
      const group = Effect.flatMap(Tiered.client, (client) => client.group({}))
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* Tenant.provide(one)(group), "large")
        assert.strictEqual(yield* Tenant.provide(other)(group), "default")
      }).pipe(Effect.provide(layer, { local: true }))
    })
  )

  it.live("is not served at an address that may be public, unless the transport is stated", () =>
    Effect.gen(function* () {
      const at = (host: string, transport?: "mutualTls") =>
        Effect.exit(
          Effect.scoped(
            Layer.build(
              Orders.toLayer(
                { place: () => Effect.die("not called"), items: () => Stream.empty },
                { transport }
              ).pipe(
                Layer.provide(TestRunner.layer),
                Layer.provide(
                  ShardingConfig.layer({ runnerAddress: Option.some(RunnerAddress.make(host, 34_431)) })
                ),
                Layer.fresh
              )
            )
          )
        )
      const refused = yield* at("203.0.113.7")
      assert.isTrue(refused._tag === "Failure")
      assert.include(String(refused), "203.0.113.7")
      assert.strictEqual((yield* at("203.0.113.7", "mutualTls"))._tag, "Success")
      assert.strictEqual((yield* at("10.1.2.3"))._tag, "Success")
    })
  )

  it("knows the addresses of private networks", () => {
    const hosts = {
      private: [
        "127.0.0.1",
        "10.0.0.1",
        "172.31.0.1",
        "192.168.1.1",
        "::1",
        "fd00::1",
        "localhost",
        "db",
        "a.internal"
      ],
      public: ["8.8.8.8", "172.32.0.1", "0.0.0.0", "::", "2001:db8::1", "example.com", "::ffff:8.8.8.8"]
    }
    assert.deepStrictEqual(
      hosts.private.filter((host) => !isPrivateHost(host)),
      []
    )
    assert.deepStrictEqual(hosts.public.filter(isPrivateHost), [])
  })
})

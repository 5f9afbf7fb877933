/** Orders of many shops: the entity of a tenant, which any process of the cluster may serve. */
import { NodeClusterSocket } from "@effect/platform-node"
import { Effect, Layer, Option, Redacted, Schema } from "effect"
import { Aggregate, EventStore, Repository } from "effect-eventsourcing"
import { TenantEntity } from "effect-eventsourcing/cluster"
import { PgServer, PgStorage } from "effect-eventsourcing/pg"
import { MessageStorage, RunnerAddress, ShardingConfig, SqlRunnerStorage } from "effect/cluster"
import { Rpc } from "effect/rpc"

const LineAdded = Schema.TaggedStruct("LineAdded", { product: Schema.String })

export const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [LineAdded] },
  { LineAdded: (lines) => lines + 1 }
)

/** The calls. The tenant is not in their payloads: it is in the address. */
export const Orders = TenantEntity.make("Orders", [
  Rpc.make("addLine", {
    payload: { order: Schema.String, product: Schema.String, key: Schema.String },
    success: Schema.Struct({ lines: Schema.Int, process: Schema.Int }),
    error: Schema.Struct({ _tag: Schema.tag("NotAdded"), reason: Schema.String })
  })
])

/** The handlers. They run with the tenant of the address. */
const Handlers = Orders.toLayer({
  addLine: ({ payload: { key, order, product } }) =>
    Repository.Repository.use((repository) =>
      repository.execute(Order, order, () => [LineAdded.make({ product })], {
        command: { key, content: product }
      })
    ).pipe(
      Effect.map(({ version }) => ({ lines: version, process: process.pid })),
      Effect.mapError(({ message }) => ({ _tag: "NotAdded" as const, reason: message }))
    )
})

/** The database of the events. */
export const Store = (url: string) =>
  Repository.layer.pipe(
    Layer.provideMerge(EventStore.layer),
    Layer.provideMerge(PgStorage.layer),
    Layer.provide(PgServer.layer({ url: Redacted.make(url), maxConnections: 10 }))
  )

/**
 * The cluster: processes find each other in tables of a database. Calls are not stored, so there is no storage of messages. A process
 * that is killed is replaced after the expiration of its locks.
 */
const settingsOf = (runnerAddress: Option.Option<RunnerAddress.RunnerAddress>) => ({
  runnerAddress,
  shardsPerGroup: 30,
  shardLockRefreshInterval: "1 second" as const,
  shardLockExpiration: "4 seconds" as const,
  refreshAssignmentsInterval: "500 millis" as const,
  runnerHealthCheckInterval: "2 seconds" as const
})

const Places = (url: string) =>
  Layer.merge(MessageStorage.layerNoop, Layer.orDie(SqlRunnerStorage.layer)).pipe(
    Layer.provide(PgServer.layer({ url: Redacted.make(url), maxConnections: 4 }))
  )

/** A process that serves orders at a port of the loopback interface. */
export const Runner = (url: string, port: number) => {
  const settings = settingsOf(Option.some(RunnerAddress.make("127.0.0.1", port)))
  return Handlers.pipe(
    Layer.provide(NodeClusterSocket.layer({ storage: "byo", shardingConfig: settings })),
    Layer.provide(Places(url)),
    Layer.provide(ShardingConfig.layer(settings)),
    Layer.provide(Store(url))
  )
}

/** A process that only calls. */
export const Caller = (url: string) => {
  const settings = settingsOf(Option.none())
  return NodeClusterSocket.layer({ storage: "byo", clientOnly: true, shardingConfig: settings }).pipe(
    Layer.provide(Places(url)),
    Layer.provide(ShardingConfig.layer(settings))
  )
}

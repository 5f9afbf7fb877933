/** Entities of `effect/cluster` whose id is the tenant: the commands of a tenant meet in one process of a cluster. */
import { Context, type Duration, Effect, Layer, Option, Schema, type Scope, Stream } from "effect"
import {
  type ClusterError,
  ClusterSchema,
  Entity,
  type EntityId,
  type Sharding,
  ShardingConfig
} from "effect/cluster"
import type { Headers } from "effect/http"
import { Rpc, type RpcGroup, RpcSchema } from "effect/rpc"
import { currentTenant } from "../domain/currentTenant.ts"
import { CurrentEventContext } from "../domain/EventContext.ts"
import { CurrentTenant, type TenantId } from "../domain/Tenant.ts"
import { contradictionIn, nameMatcher } from "../domain/statedTenants.ts"
import { contextOf, headersOf } from "./carriedContext.ts"
import { addressOf, tenantOf } from "./tenantAddress.ts"
import { isPrivateHost } from "./privateHost.ts"

/** The payload of a call names another tenant than the one that it is for. Nothing was sent. */
export class PayloadNamesOtherTenant extends Schema.TaggedError<PayloadNamesOtherTenant>()(
  "PayloadNamesOtherTenant",
  {
    /** The name of the entity. */
    entity: Schema.String,
    /** The name of the call. */
    call: Schema.String,
    /** The name of the field. */
    field: Schema.String
  }
) {
  override get message(): string {
    return `the field ${this.field} of ${this.entity}.${this.call} names another tenant than the one of the call`
  }
}

/** The failures of a call beside those that it declares. */
export type CallError =
  | PayloadNamesOtherTenant
  | ClusterError.MailboxFull
  | ClusterError.AlreadyProcessingMessage
  | ClusterError.EntityNotAssignedToRunner
  | ClusterError.PersistenceError

/** The calls of an entity, each to the entity of the tenant of the calling fiber. */
export type Client<Rpcs extends Rpc.Any> = {
  readonly [Current in Rpcs as Current["_tag"]]: (
    payload: Rpc.PayloadConstructor<Current>
  ) => Current extends Rpc.Rpc<
    infer _Tag,
    infer Payload,
    infer Success,
    infer Failure,
    infer _Middleware,
    infer _Requires
  >
    ? [Success] extends [RpcSchema.Stream<infer A, infer E>]
      ? Stream.Stream<
          A["Type"],
          E["Type"] | Failure["Type"] | CallError,
          | CurrentTenant
          | Payload["EncodingServices"]
          | Success["DecodingServices"]
          | Failure["DecodingServices"]
        >
      : Effect.Effect<
          Success["Type"],
          Failure["Type"] | CallError,
          | CurrentTenant
          | Payload["EncodingServices"]
          | Success["DecodingServices"]
          | Failure["DecodingServices"]
        >
    : never
}

/** Settings of an entity, the same in all processes. */
export interface Options {
  /**
   * Spreads a large tenant over several entities: a call goes to the bucket of its key, an integer from 0. Calls to one aggregate
   * should have one key, its id. Default: one entity a tenant.
   */
  readonly buckets?: {
    /** An integer from 2 to 1,024. Changing it moves keys to other entities. */
    readonly count: number
    readonly keyOf: (call: { readonly tag: string; readonly payload: unknown }) => string
  }
  /**
   * The shard group of a tenant, such as its tier: processes with `assignedShardGroups` serve these groups alone. Default: `"default"`.
   */
  readonly shardGroup?: ((tenantId: TenantId) => string) | undefined
  /** Fields of payloads that name a tenant, at any depth, without regard to case, `-` and `_`. Default: `["tenantId"]`. */
  readonly tenantFields?: ReadonlyArray<string> | undefined
}

/** Settings of the entities in a process. */
export interface LayerOptions {
  /** An entity without calls for so long is put away. Default: the `entityMaxIdleTime` of the cluster. */
  readonly maxIdleTime?: Duration.Input | undefined
  /** Calls to one entity that run at the same time, an integer from 1. Default: unbounded, as the store decides their order. */
  readonly concurrency?: number | "unbounded" | undefined
  /** Calls that wait for one entity, an integer from 1; more are refused with `MailboxFull`. Default: that of the cluster. */
  readonly mailboxCapacity?: number | "unbounded" | undefined
  /**
   * The protection of the network between the processes, whose calls carry tenants and actors that nobody checks again. `"private"`: only
   * the processes of the cluster reach it. `"mutualTls"`: each process shows a certificate. Default: unknown, and an address that may be
   * public is refused.
   */
  readonly transport?: "private" | "mutualTls" | undefined
}

/** The handlers of an entity: functions of requests, which run with the tenant of the address. */
export type Handlers<Rpcs extends Rpc.Any> = Entity.HandlersFrom<Rpcs>

/** The process has an address that may be public, and its transport is not stated. */
export class PublicTransport extends Schema.TaggedError<PublicTransport>()("PublicTransport", {
  host: Schema.String
}) {
  override get message(): string {
    return (
      `the cluster listens on ${this.host}, which may be public: calls between its processes name tenants and actors that nobody ` +
      'checks again. Use a private address, or state `transport: "private"` or `transport: "mutualTls"`'
    )
  }
}

/** An entity whose id is the tenant. */
export interface TenantEntity<out Type extends string, in out Rpcs extends Rpc.Any> {
  readonly type: Type
  readonly protocol: RpcGroup.RpcGroup<Rpcs>
  /**
   * The calls of the entity. A call goes to the entity of the tenant of its fiber, wherever in the cluster that is; another one cannot
   * be addressed. The event context of the fiber (actor, correlation, causation, metadata, trace) goes along.
   */
  readonly client: Effect.Effect<Client<Rpcs>, never, Sharding.Sharding>
  /**
   * Serves the entity in this process. Handlers run with the tenant of the address of the entity, and with the event context of the
   * caller.
   *
   * Fails with `PublicTransport` if the address of the process may be public: at the start if the layer has the `ShardingConfig`, and
   * otherwise as a defect of the first call.
   */
  readonly toLayer: <H extends Handlers<Rpcs>, RX = never>(
    handlers: H | Effect.Effect<H, never, RX>,
    options?: LayerOptions
  ) => Layer.Layer<never, PublicTransport, Needs<Rpcs, H, RX>>
}

/** The requirements of the handlers of an entity. The tenant comes from the address. */
export type Needs<Rpcs extends Rpc.Any, H, RX> =
  | Exclude<
      RX | RpcGroup.HandlersServices<Rpcs, H>,
      Scope.Scope | Entity.CurrentAddress | Entity.CurrentRunnerAddress | CurrentTenant
    >
  | Rpc.ServicesClient<Rpcs>
  | Rpc.ServicesServer<Rpcs>
  | Rpc.Middleware<Rpcs>
  | Sharding.Sharding

const maxBuckets = 1024

/** Refuses calls that the cluster would store: its tables have neither a tenant nor row-level security. */
const refusePersisted = (name: string, calls: ReadonlyArray<Rpc.AnyWithProps>): void => {
  for (const rpc of calls)
    if (Context.get(rpc.annotations, ClusterSchema.Persisted))
      throw new Error(
        `${name}.${rpc._tag} is annotated as Persisted: the cluster's tables of messages have no tenant and no row-level security. ` +
          "Remove the annotation, and give the command a key, so that it is carried out once"
      )
}

/**
 * An entity whose id is the tenant, with its calls.
 *
 * **Details**
 *
 * The commands of a tenant meet in one process, where remembered states and joined commands make them fast. Nothing else rests on the
 * cluster: two processes may serve a tenant for a while (a paused one that comes back), and expected versions with the lock
 * of the tenant keep its log right. A call is not stored. Give a command a key, so that it can be sent again after a failure whose
 * outcome is unknown.
 *
 * **Example**
 *
 * ```ts
 * const Orders = TenantEntity.make("Orders", [
 *   Rpc.make("place", { payload: { id: Schema.String, key: Schema.String }, success: Schema.Int })
 * ])
 *
 * const Served = Orders.toLayer({
 *   place: ({ payload }) =>
 *     Effect.map(placeOrder(payload.id, { command: { key: payload.key } }), ({ version }) => version)
 * })
 *
 * const place = Effect.flatMap(Orders.client, ({ place }) => place({ id: "1", key: "a" }))
 * ```
 *
 * @throws if a call is annotated as `Persisted`, or the number of buckets is out of range
 */
export const make = <const Type extends string, const Rpcs extends ReadonlyArray<Rpc.Any>>(
  name: Type,
  rpcs: Rpcs,
  { buckets, shardGroup, tenantFields = ["tenantId"] }: Options = {}
): TenantEntity<Type, Rpcs[number]> => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every Rpc has them; the narrower type is for inference
  const calls = rpcs as ReadonlyArray<Rpc.Any> as ReadonlyArray<Rpc.AnyWithProps>
  refusePersisted(name, calls)
  if (
    buckets !== undefined &&
    !(Number.isInteger(buckets.count) && buckets.count >= 2 && buckets.count <= maxBuckets)
  )
    throw new RangeError(
      `the number of buckets must be an integer from 2 to ${maxBuckets}, not ${buckets.count}`
    )
  const isName = nameMatcher(tenantFields)
  const plain = Entity.make(name, rpcs)
  const entity =
    shardGroup === undefined
      ? plain
      : plain.annotate(ClusterSchema.ShardGroup, (id: EntityId.EntityId) => {
          const tenantId = tenantOf(id)
          return tenantId === undefined ? "default" : shardGroup(tenantId)
        })

  const contradiction = (tag: string, payload: unknown, tenantId: TenantId) => {
    const field = contradictionIn(payload, isName, tenantId)
    return field === undefined ? undefined : new PayloadNamesOtherTenant({ entity: name, call: tag, field })
  }

  const addressOfCall = (tenantId: TenantId, tag: string, payload: unknown): string =>
    buckets === undefined ? tenantId : addressOf(tenantId, buckets.keyOf({ tag, payload }), buckets.count)

  /** A call as the tenant and in the event context of the fiber. */
  const prepared = (tag: string, payload: unknown) =>
    Effect.flatMap(currentTenant, (tenantId) => {
      const found = contradiction(tag, payload, tenantId)
      if (found !== undefined) return Effect.fail(found)
      return Effect.map(headersOf, (headers) => ({ address: addressOfCall(tenantId, tag, payload), headers }))
    })

  const client = Effect.map(entity.client, (clientOf) => {
    const members = calls.map(({ _tag: tag, successSchema }) => [
      tag,
      (payload: unknown) => {
        const sent = Effect.map(prepared(tag, payload), ({ address, headers }) => {
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a client has a function for each of its calls
          const call = (clientOf(address) as unknown as Record<string, Call | undefined>)[tag]
          return call?.(payload, { headers }) ?? Effect.die(new Error(`${name} has no call ${tag}`))
        })
        return RpcSchema.isStreamSchema(successSchema)
          ? Stream.unwrap(Effect.map(sent, toStream))
          : Effect.flatMap(sent, toEffect)
      }
    ])
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the members of its type, one for each call
    return Object.fromEntries(members) as Client<Rpcs[number]>
  })

  /** Handlers for an address that is not a tenant. Only a process without this code can have called it. */
  const refused = Object.fromEntries(
    calls.map(({ _tag: tag }) => [
      tag,
      () => Effect.die(new Error(`${name}.${tag} was called at an address that is not a tenant`))
    ])
  )

  /** Handlers that run with the tenant of their address. */
  const inTenant = (handlers: object, tenantId: TenantId): object => {
    const asTenant =
      (tag: string, handler: (request: AnyRequest) => object) =>
      (request: AnyRequest): unknown => {
        const found = contradiction(tag, request.payload, tenantId)
        if (found !== undefined) return Effect.die(found)
        const context = contextOf(request.headers)
        return Rpc.wrapMap(handler(request), (result: object) =>
          Effect.isEffect(result)
            ? result.pipe(
                Effect.provideService(CurrentEventContext, context),
                Effect.provideService(CurrentTenant, tenantId)
              )
            : toStream(result).pipe(
                Stream.provideService(CurrentEventContext, context),
                Stream.provideService(CurrentTenant, tenantId)
              )
        )
      }
    return Object.fromEntries(
      Object.entries(handlers).map(([tag, handler]: readonly [string, (request: AnyRequest) => object]) => [
        tag,
        asTenant(tag, handler)
      ])
    )
  }

  const toLayer: TenantEntity<Type, Rpcs[number]>["toLayer"] = (handlers, { transport, ...options } = {}) => {
    const built = Effect.isEffect(handlers) ? handlers : Effect.succeed(handlers)
    const mayServe = (host: string): boolean => transport !== undefined || isPrivateHost(host)
    const build = Effect.gen(function* () {
      const { entityId } = yield* Entity.CurrentAddress
      const { host } = yield* Entity.CurrentRunnerAddress
      // A program may keep the settings of its cluster from other layers, so that its start knows no address.
      if (!mayServe(host)) return yield* Effect.die(new PublicTransport({ host }))
      const tenantId = tenantOf(entityId)
      if (tenantId === undefined) return refused
      return inTenant(yield* Effect.provideService(built, CurrentTenant, tenantId), tenantId)
    })
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the handlers of the caller, each in the tenant of its address
    const served = entity.toLayer(build as never, {
      concurrency: "unbounded",
      // A defect is the answer of its own call. Otherwise the entity starts again, with all calls that were under way.
      disableFatalDefects: true,
      ...options
    })
    const checked = Layer.unwrap(
      Effect.gen(function* () {
        const config = yield* Effect.serviceOption(ShardingConfig.ShardingConfig)
        const address = Option.flatMap(config, ({ runnerAddress }) => runnerAddress)
        if (Option.isSome(address) && !mayServe(address.value.host))
          return yield* new PublicTransport({ host: address.value.host })
        return served
      })
    )
    return checked
  }

  return { type: name, protocol: entity.protocol, client, toLayer }
}

type AnyRequest = Entity.Request<Rpc.AnyWithProps>
type Call = (payload: unknown, options: { readonly headers: Headers.Input }) => object

/** The result of a call whose success is a stream. */
const toStream = (result: object): Stream.Stream<unknown, unknown> =>
  Stream.isStream(result)
    ? // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- its services are those of the fiber
      (result as Stream.Stream<unknown, unknown>)
    : Stream.die(new Error("a call with a stream has none"))

/** The result of any other call. */
const toEffect = (result: object): Effect.Effect<unknown, unknown> =>
  Effect.isEffect(result)
    ? // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- its services are those of the fiber
      (result as Effect.Effect<unknown, unknown>)
    : Effect.die(new Error("a call without an effect"))

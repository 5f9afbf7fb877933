/**
 * Projections: what is read from a tenant's events. A value with a name, a version, and handlers per event type.
 */
import { type Effect, Schedule } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import type { EnvelopeOf } from "../store/EventStore.ts"
import { checkHandlers, eventTags } from "../domain/handlers.ts"
import { codecOf } from "../domain/codec/aggregateCodec.ts"
import type { AllTenants, CurrentTenant } from "../domain/Tenant.ts"
import type { StartAt } from "../driver/ProjectionStorage.ts"

export type { StartAt } from "../driver/ProjectionStorage.ts"

/** What to do with an event when its handler has failed as often as the schedule allows. */
export type OnFailure =
  /** Stop this projection for this tenant, until somebody resumes it. Nothing is skipped. */
  | "park"
  /** Put the event aside as a dead letter, and go on behind it. */
  | "deadLetter"

/**
 * Any effect. Said like this because `Effect<unknown, unknown, unknown>`, as what a handler is expected to return, would
 * be taken for what a generic call in it requires.
 */
export type AnyEffect = { readonly [Id in Effect.TypeId]: unknown }

/** Handlers of the events of aggregates, by event type. Types without a handler are passed over. */
export type Handlers<As extends ReadonlyArray<Aggregate.Any>> = {
  readonly [Tag in Aggregate.EventOf<As[number]>["_tag"]]?: (
    event: Extract<Aggregate.EventOf<As[number]>, { readonly _tag: Tag }>,
    envelope: EnvelopeWith<EnvelopeOf<As[number]>, Tag>
  ) => AnyEffect
}

/** The envelopes among some whose payload has a tag. */
export type EnvelopeWith<Envelope, Tag extends string> =
  Envelope extends Event.Envelope<infer Payload, infer Type>
    ? [Extract<Payload, { readonly _tag: Tag }>] extends [never]
      ? never
      : Event.Envelope<Extract<Payload, { readonly _tag: Tag }>, Type>
    : never

/** What all projections have. */
export interface Options<As extends ReadonlyArray<Aggregate.Any>> {
  /**
   * Default: 1. A new version starts at the beginning of every log, beside the old one, and fills tables of its own: give
   * it others, let readers follow, then `ProjectionManager.retire` the old version. To fill the same tables anew, keep the
   * version and rebuild.
   */
  readonly version?: number | undefined
  /** Whose events are read. */
  readonly aggregates: As
  /**
   * The tables that it alone fills, registered with `eventsourcing.register_read_model`: so that it can be rebuilt beside
   * the live read model, and that no other version or projection fills them as well. Handlers name them without a schema.
   */
  readonly tables?: ReadonlyArray<string> | undefined
  /** When a failed event is tried again. Default: {@link defaultRetry}. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** Default: `"park"`. */
  readonly onFailure?: OnFailure | undefined
  /** Events of one tenant that are handled in one transaction at most. Default: 100. */
  readonly batchSize?: number | undefined
}

/**
 * A projection whose handlers are effects.
 *
 * **Details**
 *
 * On PostgreSQL, handlers run with `SqlClient` in a transaction that is bound to the event's tenant and that moves the
 * checkpoint as well: the effect of an event on the database is there exactly once. In the event's order, one tenant at
 * a time; other effects than SQL happen at least once.
 */
export interface Projection<out E, out R> {
  /** Unique in the application, 1 to 255 characters. */
  readonly name: string
  readonly version: number
  /**
   * A `"reaction"` works on a tenant as `"tenant"` does, but for effects and not for a read model: it cannot be rebuilt,
   * and its handlers never run for a rebuild.
   */
  readonly kind: "tenant" | "acrossTenants" | "reaction"
  readonly startAt: StartAt
  readonly aggregates: ReadonlyArray<Aggregate.Any>
  /** The event types that have a handler. */
  readonly eventTypes: ReadonlyArray<string>
  readonly tables: ReadonlyArray<string>
  readonly retry: Schedule.Schedule<unknown>
  readonly onFailure: OnFailure
  readonly batchSize: number
  /** Runs the handler of an event. */
  handle(envelope: Event.Envelope<Event.Tagged>): Effect.Effect<unknown, E, R>
  /**
   * Handles the events of a batch at once, instead of `handle` one by one. At least one event, all of one tenant. It may
   * fail with {@link FailedAt}; after any other failure the first event is tried alone, and then those behind it.
   */
  handleAll?(envelopes: ReadonlyArray<Event.Envelope<Event.Tagged>>): Effect.Effect<unknown, E, R>
}

/** Says at which of its events {@link Projection.handleAll} failed, if that is known. */
export class FailedAt<out E> {
  readonly position: number
  readonly error: E
  constructor(position: number, error: E) {
    this.position = position
    this.error = error
  }
}

/** Any projection. */
export type Any = Projection<unknown, unknown>

/** The requirements of a projection's handlers, apart from the tenant, which the runner provides. */
export type Requirements<P> = P extends Projection<infer _E, infer R> ? Exclude<R, CurrentTenant> : never

/** Five times, after 0.1, 0.2, 0.4 … seconds, jittered. */
export const defaultRetry: Schedule.Schedule<unknown> = Schedule.exponential("100 millis").pipe(
  Schedule.jittered,
  Schedule.upTo({ times: 5 })
)

/** What a handler fails with. */
export type ErrorOf<H> = H extends (...args: never) => Effect.Effect<unknown, infer E, infer _R> ? E : never
/** What a handler requires. */
export type RequirementsOf<H> = H extends (...args: never) => Effect.Effect<unknown, infer _E, infer R>
  ? R
  : never

const build = <E, R>(
  kind: Projection<E, R>["kind"],
  name: string,
  options: Options<ReadonlyArray<Aggregate.Any>>,
  handlers: object
): Projection<E, R> => {
  const { version = 1, batchSize = 100 } = options
  if (name.length < 1 || name.length > 255)
    throw new RangeError("the name of a projection has 1 to 255 characters")
  for (const [what, value] of Object.entries({ version, batchSize })) {
    if (!Number.isSafeInteger(value) || value < 1)
      throw new RangeError(`${what} of projection ${name} must be a positive integer`)
  }
  checkHandlers(`projection ${name}`, handlers, eventTags(options.aggregates), "some events")
  const byTag = new Map<
    string,
    (event: Event.Tagged, envelope: Event.Envelope<Event.Tagged>) => Effect.Effect<unknown, E, R>
  >(Object.entries(handlers))
  return {
    name,
    version,
    kind,
    startAt: "beginning",
    aggregates: options.aggregates,
    eventTypes: [...byTag.keys()],
    tables: options.tables ?? [],
    retry: options.retry ?? defaultRetry,
    onFailure: options.onFailure ?? "park",
    batchSize,
    handle(envelope) {
      const handler = byTag.get(envelope.eventType)
      if (handler === undefined)
        throw new TypeError(`projection ${name} has no handler for ${envelope.eventType}`)
      return handler(envelope.payload, envelope)
    }
  }
}

/**
 * A projection of each tenant's events into what belongs to that tenant. Throws on a handler for a tag that no event of
 * its aggregates has.
 *
 * **Example**
 *
 * ```ts
 * const OrderSummary = Projection.make("order-summary", { aggregates: [Order], tables: ["order_summary"] }, {
 *   OrderPlaced: ({ total }, { tenantId, aggregateId }) =>
 *     SqlClient.SqlClient.use((sql) =>
 *       sql`insert into order_summary (tenant_id, order_id, total) values (${tenantId}, ${aggregateId}, ${total})`)
 * })
 * ```
 */
export const make = <const As extends ReadonlyArray<Aggregate.Any>, H extends Handlers<As>>(
  name: string,
  options: Options<As>,
  handlers: H & Aggregate.NoOthers<H, Aggregate.EventOf<As[number]>["_tag"]>
): Projection<ErrorOf<H[keyof H]>, RequirementsOf<H[keyof H]>> => build("tenant", name, options, handlers)

/**
 * A projection of all tenants' events into what belongs to no tenant, such as totals. It works as the role
 * `eventsourcing_all_tenants` and needs `AllTenants`; the order of events is kept within each tenant.
 */
export const makeAcrossTenants = <const As extends ReadonlyArray<Aggregate.Any>, H extends Handlers<As>>(
  name: string,
  options: Options<As>,
  handlers: H & Aggregate.NoOthers<H, Aggregate.EventOf<As[number]>["_tag"]>
): Projection<ErrorOf<H[keyof H]>, RequirementsOf<H[keyof H]> | AllTenants> =>
  build("acrossTenants", name, options, handlers)

/** What {@link makeBatched} needs besides what all projections have. */
export interface BatchOptions<
  As extends ReadonlyArray<Aggregate.Any>,
  Tag extends string
> extends Options<As> {
  /** Which events it handles. Default: all of its aggregates. */
  readonly eventTypes?: ReadonlyArray<Tag> | undefined
}

/**
 * A projection of each tenant's events whose handler takes many at once: one statement for a batch instead of one per
 * event makes catching up many times faster.
 *
 * **Details**
 *
 * The handler gets at least one event and at most `batchSize`, all of one tenant and in the order of its log, and runs
 * in the tenant's transaction as other handlers do; the event context is that of the first. If it fails, the events are
 * tried again one by one, unless it fails with {@link FailedAt}, which says at which event.
 *
 * **Example**
 *
 * ```ts
 * const Totals = Projection.makeBatched("totals", { aggregates: [Order], eventTypes: ["Placed"], batchSize: 1000 },
 *   (placed) => SqlClient.SqlClient.use((sql) =>
 *     sql`insert into totals ${sql.insert(placed.map(({ tenantId, aggregateId, payload }) =>
 *       ({ tenant_id: tenantId, order_id: aggregateId, total: payload.total })))}`))
 * ```
 */
export const makeBatched = <
  const As extends ReadonlyArray<Aggregate.Any>,
  E,
  R,
  Tag extends Aggregate.EventOf<As[number]>["_tag"] = Aggregate.EventOf<As[number]>["_tag"]
>(
  name: string,
  options: BatchOptions<As, Tag>,
  handler: (
    envelopes: readonly [
      EnvelopeWith<EnvelopeOf<As[number]>, Tag>,
      ...ReadonlyArray<EnvelopeWith<EnvelopeOf<As[number]>, Tag>>
    ]
  ) => Effect.Effect<unknown, E, R>
): Projection<E, R> => {
  const eventTypes = options.eventTypes ?? [
    ...new Set(options.aggregates.flatMap((aggregate) => [...codecOf(aggregate).events.keys()]))
  ]
  const handleAll = (envelopes: ReadonlyArray<Event.Envelope<Event.Tagged>>) =>
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only events of these types are read, and never none
    handler(envelopes as unknown as Parameters<typeof handler>[0])
  const projection = build<E, R>("tenant", name, options, {})
  return { ...projection, eventTypes, handle: (envelope) => handleAll([envelope]), handleAll }
}

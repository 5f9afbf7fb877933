/**
 * Projections: read models of a tenant's events. A value with a name, a version, and handlers per event type.
 */
import { Effect, Schedule } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import type { EnvelopeOf } from "../store/EventStore.ts"
import { checkHandlers, eventTags } from "../domain/handlers.ts"
import { codecOf } from "../domain/codec/aggregateCodec.ts"
import type * as PersonalSubject from "../domain/PersonalSubject.ts"
import { checkForgotten, forgottenTag, withSubjects } from "./onForgotten.ts"
import type { AllTenants, CurrentTenant } from "../domain/Tenant.ts"
import type { StartAt } from "../driver/ProjectionStorage.ts"

export type { StartAt } from "../driver/ProjectionStorage.ts"

/** The action after the last retry of a failed event. */
export type OnFailure =
  /** Stop this projection for this tenant until it is resumed. Nothing is skipped. */
  | "park"
  /** Put the event aside as a dead letter and continue behind it. */
  | "deadLetter"

/**
 * Any effect, without its type parameters: with `Effect<unknown, unknown, unknown>` as the expected result, a generic call in a
 * handler would be inferred to require `unknown`.
 */
export type AnyEffect = { readonly [Id in Effect.TypeId]: unknown }

/** Handlers of the events of aggregates, by event type. Events without a handler are skipped. */
export type Handlers<As extends ReadonlyArray<Aggregate.Any>> = {
  readonly [Tag in Aggregate.EventOf<As[number]>["_tag"]]?: (
    event: Extract<Aggregate.EventOf<As[number]>, { readonly _tag: Tag }>,
    envelope: EnvelopeWith<EnvelopeOf<As[number]>, Tag>
  ) => AnyEffect
}

/** The envelopes, among the given ones, whose payload has a tag. */
export type EnvelopeWith<Envelope, Tag extends string> =
  Envelope extends Event.Envelope<infer Payload, infer Type>
    ? [Extract<Payload, { readonly _tag: Tag }>] extends [never]
      ? never
      : Event.Envelope<Extract<Payload, { readonly _tag: Tag }>, Type>
    : never

/** Options of all projections. */
export interface Options<As extends ReadonlyArray<Aggregate.Any>> {
  /**
   * The version. A new one starts at the beginning of every log, beside the old one, and fills other tables: name them, switch
   * the readers, then `ProjectionManager.retire` the old version. To fill the same tables anew, keep the version and rebuild.
   * Default: 1.
   */
  readonly version?: number | undefined
  /** The aggregates whose events are handled. */
  readonly aggregates: As
  /**
   * The tables that only this projection fills, registered with `eventsourcing.register_read_model`, or across
   * tenants with `eventsourcing.register_shared_read_model`. They allow a rebuild beside
   * the live read model, and no other version or projection may fill them. Handlers name them without a schema.
   */
  readonly tables?: ReadonlyArray<string> | undefined
  /** Schedule of retries of a failed event. Default: {@link defaultRetry}. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** Default: `"park"`. */
  readonly onFailure?: OnFailure | undefined
  /**
   * Maximum number of events of one tenant per page, and of a batch (`makeBatched`). Default: 100. A transaction has one page, or several
   * while the tenant is behind and no other work waits: until 10,000 events or a second.
   */
  readonly batchSize?: number | undefined
}

/** The handler of {@link ForgottenOption}. */
export type ForgottenHandler = (
  event: PersonalSubject.SubjectForgotten,
  envelope: PersonalSubject.Envelope
) => AnyEffect

/** The option of a projection that handles events with personal fields. */
export interface ForgottenOption<F extends ForgottenHandler | "keepsNone" | undefined> {
  /**
   * The handler that removes the data of a forgotten subject from the read model, or `"keepsNone"` if the read model has no personal
   * data. The handler runs like those of events, in the order of the log: it need not care for the events behind, in which the
   * subject is forgotten. Required if a handled event has personal fields (`Personal.make`).
   */
  readonly forgotten?: F
}

/**
 * A projection whose handlers are effects.
 *
 * **Details**
 *
 * On PostgreSQL, handlers run with `SqlClient` in a transaction that is bound to the event's tenant and also moves the checkpoint,
 * so each event changes the database exactly once. Events are handled in order, one tenant at a time. Effects other than SQL
 * happen at least once.
 */
export interface Projection<out E, out R> {
  /** Unique in the application, 1 to 255 characters. */
  readonly name: string
  readonly version: number
  /**
   * A `"reaction"` works on one tenant like `"tenant"`, but for effects instead of a read model: it cannot be rebuilt, and its
   * handlers never run for a rebuild.
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
   * Handles the events of a batch at once, instead of `handle` one by one: at least one event, all of one tenant. It may fail with
   * {@link FailedAt}; after any other failure the first event is tried alone, and then those behind it.
   */
  handleAll?(envelopes: ReadonlyArray<Event.Envelope<Event.Tagged>>): Effect.Effect<unknown, E, R>
}

/** The failure of {@link Projection.handleAll} at a known event. */
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

/** The errors of a handler. */
export type ErrorOf<H> = H extends (...args: never) => Effect.Effect<unknown, infer E, infer _R> ? E : never
/** The requirements of a handler. */
export type RequirementsOf<H> = H extends (...args: never) => Effect.Effect<unknown, infer _E, infer R>
  ? R
  : never

type Handler<E, R> = (
  event: Event.Tagged,
  envelope: Event.Envelope<Event.Tagged>
) => Effect.Effect<unknown, E, R>

type Forgets = ForgottenHandler | "keepsNone" | undefined

const build = <E, R>(
  kind: Projection<E, R>["kind"],
  name: string,
  options: Options<ReadonlyArray<Aggregate.Any>> & ForgottenOption<Forgets>,
  handlers: object,
  eventTypes?: ReadonlyArray<string>
): Projection<E, R> => {
  const { version = 1, batchSize = 100 } = options
  if (name.length < 1 || name.length > 255)
    throw new RangeError("the name of a projection has 1 to 255 characters")
  for (const [option, value] of Object.entries({ version, batchSize })) {
    if (!Number.isSafeInteger(value) || value < 1)
      throw new RangeError(`${option} of projection ${name} must be a positive integer`)
  }
  checkHandlers(`projection ${name}`, handlers, eventTags(options.aggregates), "some events")
  const byTag = new Map<string, Handler<E, R>>(Object.entries(handlers))
  const { aggregates, forgotten } = options
  const handled = eventTypes ?? [...byTag.keys()]
  checkForgotten(`projection ${name}`, aggregates, handled, forgotten)
  const forgets = typeof forgotten === "function"
  if (forgets) {
    if (handled.includes(forgottenTag))
      throw new TypeError(`projection ${name} has two handlers for ${forgottenTag}: leave out one`)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it gets events of this tag only, and its effects are among those of the projection
    byTag.set(forgottenTag, forgotten as unknown as Handler<E, R>)
  }
  return {
    name,
    version,
    kind,
    startAt: "beginning",
    aggregates: forgets ? withSubjects(`projection ${name}`, aggregates) : aggregates,
    eventTypes: forgets ? [...handled, forgottenTag] : handled,
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
 * A projection of each tenant's events into a read model of that tenant. Throws if a handler has no event, and if a handled event
 * has personal fields but the option `forgotten` is not given.
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
export const make = <
  const As extends ReadonlyArray<Aggregate.Any>,
  H extends Handlers<As>,
  F extends ForgottenHandler | "keepsNone" | undefined
>(
  name: string,
  options: Options<As> & ForgottenOption<F>,
  handlers: H & Aggregate.NoOthers<H, Aggregate.EventOf<As[number]>["_tag"]>
): Projection<ErrorOf<H[keyof H] | F>, RequirementsOf<H[keyof H] | F>> =>
  build("tenant", name, options, handlers)

/**
 * A projection of all tenants' events into a common read model, such as totals. It works as the role `eventsourcing_all_tenants`
 * and needs `AllTenants`. Events are in order within each tenant.
 */
export const makeAcrossTenants = <
  const As extends ReadonlyArray<Aggregate.Any>,
  H extends Handlers<As>,
  F extends ForgottenHandler | "keepsNone" | undefined
>(
  name: string,
  options: Options<As> & ForgottenOption<F>,
  handlers: H & Aggregate.NoOthers<H, Aggregate.EventOf<As[number]>["_tag"]>
): Projection<ErrorOf<H[keyof H] | F>, RequirementsOf<H[keyof H] | F> | AllTenants> =>
  build("acrossTenants", name, options, handlers)

/** Options of {@link makeBatched}. */
export interface BatchOptions<
  As extends ReadonlyArray<Aggregate.Any>,
  Tag extends string
> extends Options<As> {
  /** Event types to handle. Default: all of its aggregates. */
  readonly eventTypes?: ReadonlyArray<Tag> | undefined
}

/**
 * A projection of each tenant's events whose handler takes many events at once: one statement for a batch instead of one per
 * event makes catching up many times faster.
 *
 * **Details**
 *
 * The handler gets at least one event and at most `batchSize`, all of one tenant in the order of its log, and runs in the tenant's
 * transaction like other handlers, with the event context of the first event. If it fails, the events are tried again one by
 * one, unless it fails with {@link FailedAt}, which names the event.
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
  F extends ForgottenHandler | "keepsNone" | undefined,
  Tag extends Aggregate.EventOf<As[number]>["_tag"] = Aggregate.EventOf<As[number]>["_tag"]
>(
  name: string,
  options: BatchOptions<As, Tag> & ForgottenOption<F>,
  handler: (
    envelopes: readonly [
      EnvelopeWith<EnvelopeOf<As[number]>, Tag>,
      ...ReadonlyArray<EnvelopeWith<EnvelopeOf<As[number]>, Tag>>
    ]
  ) => Effect.Effect<unknown, E, R>
): Projection<E | ErrorOf<F>, R | RequirementsOf<F>> => {
  const eventTypes = options.eventTypes ?? [
    ...new Set(options.aggregates.flatMap((aggregate) => [...codecOf(aggregate).events.keys()]))
  ]
  const handleBatch = (envelopes: ReadonlyArray<Event.Envelope<Event.Tagged>>) =>
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only events of these types are read, and never none
    handler(envelopes as unknown as Parameters<typeof handler>[0])
  const projection = build<E | ErrorOf<F>, R | RequirementsOf<F>>("tenant", name, options, {}, eventTypes)
  if (typeof options.forgotten !== "function")
    return { ...projection, handle: (envelope) => handleBatch([envelope]), handleAll: handleBatch }
  const handleRun = (run: ReadonlyArray<Event.Envelope<Event.Tagged>>) => {
    const [first] = run
    return first?.eventType === forgottenTag ? projection.handle(first) : handleBatch(run)
  }
  return {
    ...projection,
    handle: (envelope) => handleRun([envelope]),
    handleAll: (envelopes) => Effect.forEach(runsOf(envelopes), handleRun, { discard: true })
  }
}

/** Splits a batch at each forgotten subject, which is a run of its own. */
const runsOf = (
  envelopes: ReadonlyArray<Event.Envelope<Event.Tagged>>
): ReadonlyArray<ReadonlyArray<Event.Envelope<Event.Tagged>>> => {
  const runs: Array<Array<Event.Envelope<Event.Tagged>>> = []
  for (const envelope of envelopes) {
    const last = runs.at(-1)
    if (last === undefined || envelope.eventType === forgottenTag || last[0]?.eventType === forgottenTag)
      runs.push([envelope])
    else last.push(envelope)
  }
  return runs
}

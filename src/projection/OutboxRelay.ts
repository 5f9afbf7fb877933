/**
 * The outbox relay: publishes the events of every tenant. The log itself is the outbox, so nothing is written twice, and
 * nothing is published that was not committed.
 */
import { Context, DateTime, Duration, Effect, Layer, Result, Schedule, Schema } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import * as EventStorage from "../driver/EventStorage.ts"
import { codecOf } from "../domain/codec/aggregateCodec.ts"
import { partId } from "../domain/derivedIds.ts"
import * as Projection from "./Projection.ts"
import * as ProjectionRunner from "./ProjectionRunner.ts"
import * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import * as Reaction from "./Reaction.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** An event, ready to be sent. */
export interface Message {
  /** The event's id, or one that follows from it. A message may come twice: whoever receives it drops what it has seen of that tenant. */
  readonly id: Event.EventId
  readonly tenantId: TenantId
  /** Tenant and stream, as JSON: messages of one key are in order, and must stay so (the key of a partition). */
  readonly key: string
  readonly eventType: string
  /**
   * `message-id`, `tenant-id`, `event-type`, `correlation-id` and, if there is one, `causation-id`. What is not visible
   * ASCII in them is percent-encoded, and so is `%`.
   */
  readonly headers: Readonly<Record<string, string>>
  /** The event's envelope as JSON text: all of its members, times in ISO 8601. */
  readonly body: string
}

/** Raised by a publisher that could not get rid of a message. The relay tries again, by its schedule. */
export class PublishFailed extends Schema.TaggedError<PublishFailed>()("PublishFailed", {
  /** Why, without anything of the message's body: it is kept with the progress of the relay. */
  reason: Schema.String,
  /** Which message of several was refused; those before it were taken. If it is not known, leave it out. */
  messageId: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `a message was not published: ${this.reason}`
  }
}

/**
 * Publishes messages.
 *
 * **Details**
 *
 * An effect succeeds when the messages are safe where they go to: they are not offered again then. Of one tenant, the
 * next messages come only after that.
 */
export class Publisher extends Context.Service<
  Publisher,
  {
    readonly publish: (message: Message) => Effect.Effect<void, PublishFailed>
    /** Publishes messages of one tenant, in this order. Without it they are published one by one. */
    readonly publishAll?: (messages: ReadonlyArray<Message>) => Effect.Effect<void, PublishFailed>
  }
>()("effect-eventsourcing/Publisher") {}

/** What is published, and how. */
export interface Options<As extends ReadonlyArray<Aggregate.Any>> {
  /** Whose events are published. */
  readonly aggregates: As
  /** Which of their events. Default: all. */
  readonly eventTypes?: ReadonlyArray<Aggregate.EventOf<As[number]>["_tag"]> | undefined
  /** Where a relay that is new to the database begins. Default: `"now"`. See {@link Reaction.Options}. */
  readonly startAt?: Projection.StartAt | undefined
  /** When messages are tried again that were not published. Default: {@link defaultRetry}. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** What to do when the schedule has come to its end. Default: `"park"`. */
  readonly onFailure?: Projection.OnFailure | undefined
  /** Messages of one tenant that are published at once, between two checkpoints. Default: 100. */
  readonly batchSize?: number | undefined
  /** How long publishing a message, or `publishAll`, may take before it counts as failed. Default: 10 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * After 0.1, 0.2, 0.4 … seconds, jittered and at most half a minute apart, without end: a broker that is down is no
 * reason to stop.
 */
export const defaultRetry: Schedule.Schedule<unknown> = Schedule.min([
  Schedule.exponential("100 millis"),
  Schedule.spaced("30 seconds")
]).pipe(Schedule.jittered)

/** What a header can carry everywhere: visible ASCII. */
const headerValue = (text: string): string =>
  text.replaceAll(/[^\x21-\x24\x26-\x7e]/gu, (character) =>
    character === "%" ? "%25" : encodeURIComponent(character)
  )

/** The parts of an event that is read as several are messages of their own, and the same ones each time. */
const messageId = ({ eventId, part }: Event.Envelope<unknown>): Event.EventId =>
  part === undefined ? eventId : partId(eventId, part)

/** An event as a message. */
const messageOf = (
  aggregates: ReadonlyMap<string, Aggregate.Any>,
  envelope: Event.Envelope<Event.Tagged>
): Result.Result<Message, PublishFailed> => {
  const { tenantId, aggregateType, aggregateId, eventType, correlationId, causationId } = envelope
  const aggregate = aggregates.get(aggregateType)
  const codec = aggregate === undefined ? undefined : codecOf(aggregate).events.get(eventType)
  if (codec === undefined) throw new TypeError(`the relay does not publish ${aggregateType}`)
  const id = messageId(envelope)
  return Result.map(
    Result.mapError(
      codec.encode(envelope.payload),
      () => new PublishFailed({ reason: "it does not fit its schema", messageId: id })
    ),
    (payload) => ({
      id,
      tenantId,
      key: JSON.stringify([tenantId, aggregateType, aggregateId]),
      eventType,
      headers: {
        "message-id": id,
        "tenant-id": tenantId,
        "event-type": headerValue(eventType),
        "correlation-id": headerValue(correlationId),
        ...(causationId === null ? undefined : { "causation-id": headerValue(causationId) })
      },
      body: JSON.stringify({
        ...envelope,
        schemaVersion: codec.schemaVersion,
        occurredAt: DateTime.formatIso(envelope.occurredAt),
        recordedAt: DateTime.formatIso(envelope.recordedAt),
        payload
      })
    })
  )
}

/**
 * A relay as a projection, to be run by a `ProjectionRunner` together with others. {@link layer} gives it workers of its
 * own.
 *
 * **Details**
 *
 * The messages of a tenant are published in the order of its log, so those of a stream are in order; tenants do not wait
 * for each other. At least once: what was published when a worker died, or before the message that failed, is published
 * again. A message that cannot be published holds up its tenant until it can, unless `retry` ends and `onFailure` is
 * `"deadLetter"`.
 *
 * The payload in a message is what the event's schema makes of it now, and `schemaVersion` the version of that. Each part
 * of an event that is read as several is a message; the ids of the second and later ones follow from the event's id.
 *
 * **Gotchas**
 *
 * On PostgreSQL a worker keeps its transaction, and with it one connection, while it publishes: the row lock in there is
 * what makes sure that no other worker publishes the same tenant's messages at the same time, and it is free at once when
 * the process dies, which no lease is. Appends do not wait for it. But connections are as many as `concurrency`, and
 * vacuum waits for the oldest transaction: keep `batchSize` times the time of a message, or the time of a `publishAll`,
 * in the seconds; `timeout` sees to it. On the embedded database there is one connection: everything else waits while
 * something is published, so publish to what is quick there, such as a queue in the process.
 */
export const make = <const As extends ReadonlyArray<Aggregate.Any>>(
  name: string,
  options: Options<As>
): Reaction.Reaction<PublishFailed | Projection.FailedAt<PublishFailed>, Publisher> => {
  const { aggregates, startAt, retry = defaultRetry, onFailure, batchSize = 100 } = options
  const timeout = options.timeout ?? "10 seconds"
  const byType = new Map<string, Aggregate.Any>(aggregates.map((aggregate) => [aggregate.type, aggregate]))
  const known = new Set(aggregates.flatMap((aggregate) => [...codecOf(aggregate).events.keys()]))
  const eventTypes: ReadonlyArray<string> = options.eventTypes ?? [...known]
  for (const eventType of eventTypes) {
    if (!known.has(eventType))
      throw new TypeError(`the aggregates of relay ${name} have no event ${eventType}`)
  }

  const inTime = (publish: Effect.Effect<void, PublishFailed>): Effect.Effect<void, PublishFailed> =>
    Effect.timeoutOrElse(publish, {
      duration: timeout,
      orElse: () => Effect.fail(new PublishFailed({ reason: `it took longer than ${inWords(timeout)}` }))
    })

  const publishOne = (envelope: Event.Envelope<Event.Tagged>) =>
    Publisher.use(({ publish }) =>
      Effect.flatMap(Effect.fromResult(messageOf(byType, envelope)), (message) => inTime(publish(message)))
    )

  const publishAll = (envelopes: ReadonlyArray<Event.Envelope<Event.Tagged>>) =>
    Effect.gen(function* () {
      const publisher = yield* Publisher
      if (publisher.publishAll === undefined) {
        return yield* Effect.forEach(
          envelopes,
          (envelope) =>
            Effect.mapError(
              publishOne(envelope),
              (error) => new Projection.FailedAt(envelope.position, error)
            ),
          { discard: true }
        )
      }
      const messages = yield* Effect.forEach(envelopes, (envelope) =>
        Effect.fromResult(messageOf(byType, envelope))
      )
      return yield* inTime(publisher.publishAll(messages))
    }).pipe(
      Effect.mapError((error) => {
        if (error instanceof Projection.FailedAt) return error
        const refused = envelopes.find((envelope) => messageId(envelope) === error.messageId)
        return refused === undefined ? error : new Projection.FailedAt(refused.position, error)
      }),
      Effect.withSpan("OutboxRelay.publish", {
        kind: "producer",
        attributes: { "messaging.batch.message_count": envelopes.length }
      })
    )

  return {
    ...Reaction.make(name, { aggregates, startAt, retry, onFailure, batchSize }, {}),
    eventTypes,
    handle: publishOne,
    handleAll: publishAll
  }
}

const inWords = (duration: Duration.Input): string => Duration.format(Duration.fromInputUnsafe(duration))

/** Settings of {@link layer}: of the relay and of its workers. */
export interface LayerOptions<As extends ReadonlyArray<Aggregate.Any>>
  extends Options<As>, Omit<ProjectionRunner.Options<[]>, "projections"> {}

/**
 * Runs a relay with workers of its own while the layer's scope is open, so that a slow broker does not hold up the
 * projections. See {@link make}.
 */
export const layer = <const As extends ReadonlyArray<Aggregate.Any>>(
  name: string,
  options: LayerOptions<As>
): Layer.Layer<
  never,
  ProjectionStorage.ProjectionRefused | StorageUnavailable,
  EventStorage.EventStorage | ProjectionStorage.ProjectionStorage | Publisher
> => {
  const { concurrency, pollInterval, sweepInterval } = options
  return layerPer([EventStorage.EventStorage, ProjectionStorage.ProjectionStorage, Publisher], () =>
    Layer.effectDiscard(
      Layer.build(
        ProjectionRunner.layer({
          projections: [make(name, options)],
          concurrency,
          pollInterval,
          sweepInterval
        })
      )
    )
  )
}

/**
 * The outbox relay: publishes the events of every tenant. The log itself is the outbox, so nothing is written twice, and only
 * committed events are published.
 */
import {
  Cause,
  Context,
  DateTime,
  Duration,
  Effect,
  Exit,
  Layer,
  Metric,
  Result,
  Schedule,
  Schema
} from "effect"
import { layerPer } from "../internal/layerPer.ts"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import * as EventStorage from "../driver/EventStorage.ts"
import { codecOf } from "../domain/codec/aggregateCodec.ts"
import { partId } from "../domain/derivedIds.ts"
import { checkForgotten, forgottenTag, withSubjects } from "./onForgotten.ts"
import * as Projection from "./Projection.ts"
import * as ProjectionRunner from "./ProjectionRunner.ts"
import * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import * as Reaction from "./Reaction.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { wholeMillis } from "../internal/clock.ts"
import { linkTo, spanned } from "../telemetry/spanned.ts"
import { attribute, outboxAge, outboxMessages } from "../telemetry/Telemetry.ts"

/** An event, ready to be sent. */
export interface Message {
  /** The event's id, or one derived from it. A message may arrive twice, so receivers must drop ids that they have seen for the tenant. */
  readonly id: Event.EventId
  readonly tenantId: TenantId
  /** Tenant and stream as JSON. Messages of one key are in order and must stay so: use it as the key of a partition. */
  readonly key: string
  readonly eventType: string
  /**
   * `message-id`, `tenant-id`, `event-type`, `correlation-id` and, if there is one, `causation-id`. All characters but visible
   * ASCII are percent-encoded, and so is `%`.
   */
  readonly headers: Readonly<Record<string, string>>
  /** The event's whole envelope as JSON text, with times in ISO 8601. */
  readonly body: string
}

/** Raised by a publisher that could not deliver a message. The relay tries again on its schedule. */
export class PublishFailed extends Schema.TaggedError<PublishFailed>()("PublishFailed", {
  /** The reason, without parts of the message's body, because it is stored with the progress of the relay. */
  reason: Schema.String,
  /** The id of the refused message among several; earlier ones were accepted. Omit it if it is unknown. */
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
 * Succeed only when the receiver has stored the messages: they are not offered again. The next messages of the tenant follow only
 * after that.
 */
export class Publisher extends Context.Service<
  Publisher,
  {
    readonly publish: (message: Message) => Effect.Effect<void, PublishFailed>
    /** Publishes messages of one tenant in this order. Without it they are published one by one. */
    readonly publishAll?: (messages: ReadonlyArray<Message>) => Effect.Effect<void, PublishFailed>
  }
>()("effect-eventsourcing/Publisher") {}

/** Options of a relay. */
export interface Options<As extends ReadonlyArray<Aggregate.Any>> {
  /** The aggregates whose events are published. */
  readonly aggregates: As
  /** Event types to publish. Default: all. */
  readonly eventTypes?: ReadonlyArray<Aggregate.EventOf<As[number]>["_tag"]> | undefined
  /** The start of a relay that is new to the database. Default: `"now"`. See {@link Reaction.Options}. */
  readonly startAt?: Projection.StartAt | undefined
  /** Schedule of retries of a failed message. Default: {@link defaultRetry}. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** The action after the last retry. Default: `"park"`. */
  readonly onFailure?: Projection.OnFailure | undefined
  /** Number of messages of one tenant that are published between two checkpoints. Default: 100. */
  readonly batchSize?: number | undefined
  /** Timeout of publishing a message, or of `publishAll`. Default: 10 seconds. */
  readonly timeout?: Duration.Input | undefined
  /**
   * `"publish"` publishes `SubjectForgotten` too, so that receivers forget the personal data that they were sent; `"keepsNone"` if they
   * keep none. Required if a published event has personal fields (`Personal.make`). Default: not published.
   */
  readonly forgotten?: "publish" | "keepsNone" | undefined
}

/**
 * After 0.1, 0.2, 0.4 … seconds, jittered and at most half a minute apart, endlessly, because a broker that is down is no reason
 * to stop.
 */
export const defaultRetry: Schedule.Schedule<unknown> = Schedule.min([
  Schedule.exponential("100 millis"),
  Schedule.spaced("30 seconds")
]).pipe(Schedule.jittered)

/** Characters that every header can carry: visible ASCII. */
const headerValue = (text: string): string =>
  text.replaceAll(/[^\x21-\x24\x26-\x7e]/gu, (character) =>
    character === "%" ? "%25" : encodeURIComponent(character)
  )

/** The message id of a part of a split event, the same each time. */
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
 * A relay as a projection, for a `ProjectionRunner` with others. {@link layer} gives it workers of its own.
 *
 * **Details**
 *
 * The messages of a tenant are published in the order of its log, so those of a stream are in order; tenants do not wait for each
 * other. Delivery is at least once: messages that were published before a worker died, or before a failed message, may be
 * published again. A message that cannot be published holds up its tenant, unless `retry` ends and `onFailure` is
 * `"deadLetter"`.
 *
 * A message carries the payload as the event's present schema encodes it, with the version of that schema. Each part of a split event
 * is a message; the ids of the second and later parts are derived from the event's id.
 *
 * **Gotchas**
 *
 * On PostgreSQL a worker holds a transaction, and so a connection, while it publishes. Its row lock keeps other workers from
 * publishing the same tenant's messages at the same time, and unlike a lease is released at once when the process dies. Appends
 * do not wait for it. But the relay uses `concurrency` connections, and vacuum waits for the oldest transaction: keep the time for
 * `batchSize` messages, or for one `publishAll`, within seconds; `timeout` enforces it. The embedded database has one
 * connection, so everything waits while the relay publishes: publish to a fast target there, such as a queue in the process.
 */
export const make = <const As extends ReadonlyArray<Aggregate.Any>>(
  name: string,
  options: Options<As>
): Reaction.Reaction<PublishFailed | Projection.FailedAt<PublishFailed>, Publisher> => {
  const { forgotten, startAt, retry = defaultRetry, onFailure, batchSize = 100 } = options
  const publishes = forgotten === "publish"
  const aggregates = publishes ? withSubjects(`relay ${name}`, options.aggregates) : options.aggregates
  const timeout = options.timeout ?? "10 seconds"
  const byType = new Map<string, Aggregate.Any>(aggregates.map((aggregate) => [aggregate.type, aggregate]))
  const known = new Set(aggregates.flatMap((aggregate) => [...codecOf(aggregate).events.keys()]))
  const eventTypes: ReadonlyArray<string> =
    options.eventTypes === undefined
      ? [...known]
      : publishes
        ? [...new Set([...options.eventTypes, forgottenTag])]
        : options.eventTypes
  for (const eventType of eventTypes) {
    if (!known.has(eventType))
      throw new TypeError(`the aggregates of relay ${name} have no event ${eventType}`)
  }
  checkForgotten(`relay ${name}`, aggregates, eventTypes, forgotten)

  const inTime = (publish: Effect.Effect<void, PublishFailed>): Effect.Effect<void, PublishFailed> =>
    Effect.timeoutOrElse(publish, {
      duration: timeout,
      orElse: () => Effect.fail(new PublishFailed({ reason: `it took longer than ${inWords(timeout)}` }))
    })

  const publishOne = (envelope: Event.Envelope<Event.Tagged>) =>
    Publisher.use(({ publish }) =>
      Effect.flatMap(Effect.fromResult(messageOf(byType, envelope)), (message) => inTime(publish(message)))
    )

  const sent = Metric.withAttributes(outboxMessages, { relay: name })
  const age = Metric.withAttributes(outboxAge, { relay: name })
  const recordSent = (
    services: Context.Context<never>,
    envelopes: ReadonlyArray<Event.Envelope<Event.Tagged>>
  ): Effect.Effect<void> => {
    const oldest = Math.min(...envelopes.map(({ recordedAt }) => DateTime.toEpochMillis(recordedAt)))
    sent.updateUnsafe(envelopes.length, services)
    // The clock of the database may be ahead.
    age.updateUnsafe(Math.max(0, wholeMillis(services) - oldest) / 1000, services)
    return Effect.void
  }

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
      Effect.andThen(Effect.withFiber(({ context }) => recordSent(context, envelopes))),
      (run) =>
        spanned(
          "send",
          name,
          (_services, span) => {
            linkTo(span, envelopes)
            return run
          },
          {
            attributes: {
              [attribute.messagingSystem]: "eventsourcing",
              [attribute.messagingOperation]: "send",
              [attribute.messagingType]: "send",
              [attribute.destination]: name,
              [attribute.messageCount]: envelopes.length
            },
            shown: shownExit
          }
        )
    )

  return {
    ...Reaction.make(name, { aggregates, startAt, retry, onFailure, batchSize }, {}),
    eventTypes,
    handle: publishOne,
    handleAll: publishAll
  }
}

/** The publisher's own failure. */
const shownExit = (exit: Exit.Exit<unknown, unknown>): Exit.Exit<unknown, unknown> => {
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  return error instanceof Projection.FailedAt ? Exit.fail(error.error) : exit
}

const inWords = (duration: Duration.Input): string => Duration.format(Duration.fromInputUnsafe(duration))

/** Settings of {@link layer}, for the relay and its workers. */
export interface LayerOptions<As extends ReadonlyArray<Aggregate.Any>>
  extends Options<As>, Omit<ProjectionRunner.Options<[]>, "projections"> {}

/**
 * Runs a relay with workers of its own while the layer's scope is open, so that a slow broker does not delay the projections. See
 * {@link make}.
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

/**
 * The publisher: what a program provides to get its events out, to a broker, a queue or another service. The outbox relay
 * feeds it.
 */
import { Context, type Effect, Schema } from "effect"
import type { EventId } from "../domain/Event.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** An event, ready to be sent. */
export interface Message {
  /** The event's id, or one that follows from it. A message may come twice: whoever receives it drops what it has seen of that tenant. */
  readonly id: EventId
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

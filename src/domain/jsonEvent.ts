/** Events that come as JSON, on their way into a log. */
import type { Schema } from "effect"
import { type Appendable, type EventOptions, NewEvent, type Tagged } from "./Event.ts"

/** The part of an event that is stored as it came. */
export interface Content {
  readonly eventType: string
  readonly schemaVersion: number
  readonly payload: Schema.Json
  /** Default: that of the event context; null: none. */
  readonly actor?: string | null | undefined
  /** Default: that of the event context. */
  readonly correlationId?: string | undefined
  /** Default: that of the event context; null: none. */
  readonly causationId?: string | null | undefined
  /** Default: that of the event context; null: none. */
  readonly traceparent?: string | null | undefined
}

/**
 * An event whose payload is JSON. It is stored as it came, under its own schema version, so that the same JSON is the same event
 * after its aggregate has got a newer version. `payload` and `more` are the events that it is read as.
 */
export class JsonEvent extends NewEvent<Tagged> {
  readonly content: Content
  readonly more: ReadonlyArray<Tagged>
  constructor(
    content: Content,
    [payload, ...more]: readonly [Tagged, ...Array<Tagged>],
    options: EventOptions
  ) {
    super(payload, options)
    this.content = content
    this.more = more
  }

  override withOptions(options: EventOptions): JsonEvent {
    return new JsonEvent(this.content, [this.payload, ...this.more], options)
  }
}

/** The payloads that an event is read as. */
export const payloadsOf = <Payload extends Tagged>(
  event: Appendable<Payload>
): readonly [Tagged, ...ReadonlyArray<Tagged>] => {
  if (event instanceof JsonEvent) return [event.payload, ...event.more]
  return [event instanceof NewEvent ? event.payload : event]
}

/** JSON events that are to be stored in a log. */
import type { Schema } from "effect"
import { type Appendable, type EventOptions, NewEvent, type Tagged } from "./Event.ts"

/** The part of a JSON event that is stored unchanged. */
export interface Content {
  readonly eventType: string
  readonly schemaVersion: number
  readonly payload: Schema.Json
  /** null for none. Default: that of the event context. */
  readonly actor?: string | null | undefined
  /** Default: that of the event context. */
  readonly correlationId?: string | undefined
  /** null for none. Default: that of the event context. */
  readonly causationId?: string | null | undefined
  /** null for none. Default: that of the event context. */
  readonly traceparent?: string | null | undefined
}

/**
 * An event with a JSON payload. It is stored unchanged, with its own schema version, so that the same JSON remains the same event
 * even if its aggregate has a newer version by then. `payload` and `more` are the events that it is read as.
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

/** The payloads as which an event is read. */
export const payloadsOf = <Payload extends Tagged>(
  event: Appendable<Payload>
): readonly [Tagged, ...ReadonlyArray<Tagged>] => {
  if (event instanceof JsonEvent) return [event.payload, ...event.more]
  return [event instanceof NewEvent ? event.payload : event]
}

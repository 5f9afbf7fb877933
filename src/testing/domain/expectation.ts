/** Expectations of a decision, and the report if one is not met. */
import { assert } from "@effect/vitest"
import { Equal, Result } from "effect"
import * as Event from "../../domain/Event.ts"
import { payloadOf } from "./decision.ts"
import { difference, indent, show } from "./show.ts"

const stated = (
  options: Event.EventOptions,
  names: ReadonlyArray<string>
): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(options).filter(([name]) => names.includes(name)))

/** An event for display, with its options if it has any. */
export const plain = <Payload>(event: Event.Appendable<Payload>): unknown =>
  event instanceof Event.NewEvent ? { event: event.payload, ...event.options } : event

/** An event with only those of its options that another event has too. */
export const plainLike = <Payload>(
  event: Event.Appendable<Payload>,
  expected: Event.Appendable<Payload> | undefined
): unknown =>
  event instanceof Event.NewEvent && expected instanceof Event.NewEvent
    ? { event: event.payload, ...stated(event.options, Object.keys(expected.options)) }
    : payloadOf(event)

/** True if an event is the expected one, with the expected options. */
export const sameEvent = <Payload>(
  expected: Event.Appendable<Payload>,
  found: Event.Appendable<Payload> | undefined
): boolean => {
  if (found === undefined || !Equal.equals(payloadOf(expected), payloadOf(found))) return false
  if (!(expected instanceof Event.NewEvent)) return true
  const options: Event.EventOptions = found instanceof Event.NewEvent ? found.options : {}
  const names = Object.keys(expected.options)
  return Equal.equals(stated(expected.options, names), stated(options, names))
}

/** An expectation that was not met. */
export interface Unmet {
  readonly given: { readonly title: string; readonly events: ReadonlyArray<unknown> }
  readonly decided: Result.Result<ReadonlyArray<unknown>, unknown>
  /** The kind of expectation, for example "events". */
  readonly kind: string
  readonly expected: unknown
  /** The outcome instead. Default: the decided events. */
  readonly found?: unknown
}

/** Fails the test with the given events, the expectation and the outcome. */
export const unmet = ({ decided, expected, found, given, kind }: Unmet): never => {
  const outcome = Result.isSuccess(decided)
    ? decided.success.length === 0
      ? "nothing was decided"
      : "events were decided"
    : kind === "an error"
      ? "it failed with another error"
      : "it failed"
  const instead = found ?? (Result.isSuccess(decided) ? decided.success : decided.failure)
  return assert.fail(
    [
      `expected ${kind}, but ${found === undefined ? outcome : "this is different"}`,
      "",
      `given ${given.title}${given.events.length === 0 ? " without events" : ""}`,
      ...given.events.map((event) => indent(show(event))),
      "",
      "- expected",
      "+ decided",
      "",
      difference(expected, instead)
    ].join("\n")
  )
}

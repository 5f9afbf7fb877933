/** What is expected of a decision, and how it is told that it was not met. */
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

/** An event as it is shown: with what its writer states about it, if that is said. */
export const plain = <Payload>(event: Event.Appendable<Payload>): unknown =>
  event instanceof Event.NewEvent ? { event: event.payload, ...event.options } : event

/** An event with no more of its options than another one has. */
export const plainLike = <Payload>(
  event: Event.Appendable<Payload>,
  expected: Event.Appendable<Payload> | undefined
): unknown =>
  event instanceof Event.NewEvent && expected instanceof Event.NewEvent
    ? { event: event.payload, ...stated(event.options, Object.keys(expected.options)) }
    : payloadOf(event)

/** Whether an event is the one that is expected, with the options that are expected. */
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
  /** What was expected, for example "events". */
  readonly kind: string
  readonly expected: unknown
  /** What was found instead. Default: what was decided. */
  readonly found?: unknown
}

/** Fails the test, and says what was given, expected and found. */
export const unmet = ({ decided, expected, found, given, kind }: Unmet): never => {
  const outcome = Result.isSuccess(decided)
    ? decided.success.length === 0
      ? "nothing was decided"
      : "events were decided"
    : kind === "an error"
      ? "it failed otherwise"
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

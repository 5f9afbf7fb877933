/** The cause of a failure as operators may see it: the values of the event are masked. */
import { Cause, Predicate } from "effect"
import type * as Event from "../domain/Event.ts"
import type { FailureCause, FailureDescription } from "../driver/ProjectionStorage.ts"

const mask = "…"

/** Values of at least this length are masked everywhere; shorter ones only as whole words, because any text contains them. */
const shortest = 4

const maxMessage = 4000
const maxStack = 10_000
const maxNested = 3

const isWritable = (value: object): value is { readonly toJSON: () => unknown } =>
  "toJSON" in value && typeof value.toJSON === "function"

const addValues = (value: unknown, values: Set<string>, seen: Set<object>): void => {
  if (typeof value === "string") {
    if (value.trim() !== "") values.add(value)
  } else if (typeof value === "number" || typeof value === "bigint") {
    values.add(String(value))
  } else if (Predicate.isObjectOrArray(value) && !seen.has(value)) {
    seen.add(value)
    if (isWritable(value)) addValues(value.toJSON(), values, seen)
    if (Predicate.isIterable(value)) for (const item of value) addValues(item, values, seen)
    for (const [key, item] of Object.entries(value)) if (key !== "_tag") addValues(item, values, seen)
  }
}

/** Adds the ids in an error of the library, or in its reason: the only source for an event that cannot be decoded. */
const addIds = (error: unknown, values: Set<string>): void => {
  for (const name of ["aggregateId", "eventId"])
    if (Predicate.hasProperty(error, name)) addValues(error[name], values, new Set())
  if (Predicate.hasProperty(error, "reason")) addIds(error.reason, values)
}

/** The values of events and the ids of their streams, which must not be shown. The log has the tenant and the position. */
const valuesOf = (
  events: ReadonlyArray<Event.Envelope<Event.Tagged>>,
  error: unknown
): ReadonlyArray<string> => {
  const values = new Set<string>()
  const seen = new Set<object>()
  addIds(error, values)
  for (const { aggregateId, eventId, metadata, payload } of events) {
    addValues([aggregateId, eventId], values, seen)
    addValues(payload, values, seen)
    addValues(metadata, values, seen)
  }
  return longestFirst(values)
}

const longestFirst = (values: ReadonlySet<string>): ReadonlyArray<string> =>
  [...values].toSorted((one, other) => other.length - one.length)

const escaped = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`)

/** Masks values in a text, also as JSON writes them. */
const masked = (text: string, values: ReadonlyArray<string>): string => {
  let shown = text
  for (const value of values) {
    for (const written of new Set([value, JSON.stringify(value).slice(1, -1)])) {
      if (!shown.includes(written)) continue
      shown =
        written.length >= shortest && !/^-?\d/.test(written)
          ? shown.replaceAll(written, mask)
          : shown.replaceAll(
              new RegExp(String.raw`(?<![\p{L}\p{N}_])${escaped(written)}(?![\p{L}\p{N}_])`, "gu"),
              mask
            )
    }
  }
  return shown
}

/** A text without the values of events, which have personal fields. */
export const maskedText = (text: string, events: ReadonlyArray<Event.Envelope<Event.Tagged>>): string => {
  if (events.length === 0) return text
  const values = new Set<string>()
  const seen = new Set<object>()
  for (const { payload } of events) addValues(payload, values, seen)
  return masked(text, longestFirst(values))
}

const storable = (text: string, length: number): string => text.replaceAll("\0", "").slice(0, length)

/** The frames of a stack, without the message above them, which may have values. */
const framesOf = (stack: string | undefined): ReadonlyArray<string> =>
  (stack ?? "").split("\n").filter((line) => /^\s+at /.test(line))

/** The storage describes its own errors; anything else has its own message or tag. */
const messageOf = (error: unknown, { code, message }: FailureDescription): string => {
  if (code !== null || error instanceof Error) return message
  if (typeof error === "string") return error
  return Predicate.hasProperty(error, "_tag") && Predicate.isString(error._tag)
    ? `${message} (${error._tag})`
    : message
}

/** Message, code and stack of a failure at some events. */
export const maskedCause = (
  cause: Cause.Cause<unknown>,
  error: unknown,
  description: FailureDescription,
  events: ReadonlyArray<Event.Envelope<Event.Tagged>>
): FailureCause => {
  const values = valuesOf(events, error)
  const message = masked(messageOf(error, description), values)
  const name = error instanceof Error ? error.name : "Failure"
  const lines = [`${name}: ${message}`, ...Cause.prettyErrors(cause).flatMap(({ stack }) => framesOf(stack))]
  // The description of a storage error is complete, and its nested causes may quote rows.
  let nested = description.code === null && error instanceof Error ? error.cause : undefined
  for (let depth = 0; depth < maxNested && nested instanceof Error; depth++) {
    lines.push(`[cause]: ${masked(`${nested.name}: ${nested.message}`, values)}`, ...framesOf(nested.stack))
    nested = nested.cause
  }
  return {
    code: description.code,
    message: storable(message, maxMessage),
    stack: storable(lines.join("\n"), maxStack)
  }
}

/** An error that prints as the masked cause, for logs. */
export const toError = ({ message, stack }: FailureCause): Error => {
  const error = new Error(message)
  error.name = stack.slice(0, Math.max(0, stack.indexOf(":")))
  error.stack = stack
  return error
}

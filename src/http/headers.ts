/** Headers that may be given only once. */
import { Predicate } from "effect"
import type { HttpServerRequest } from "effect/http"

/** Stands for a header that was given more than once. */
export const Repeated: unique symbol = Symbol.for("effect-eventsourcing/http/Repeated")

/** Counts raw headers, because Node drops the second of two `authorization` or `host` headers. */
const rawCount = (source: object, name: string): number => {
  if (!Predicate.hasProperty(source, "rawHeaders") || !Array.isArray(source.rawHeaders)) return 0
  return source.rawHeaders.filter(
    (text: unknown, index) => index % 2 === 0 && typeof text === "string" && text.toLowerCase() === name
  ).length
}

/**
 * The value of a header that may be given only once. A proxy may have joined several values into one text with `", "`, which the
 * caller must not mistake for a single value.
 */
export const soleHeader = (
  request: HttpServerRequest.HttpServerRequest,
  name: string
): string | undefined | typeof Repeated => {
  const header = name.toLowerCase()
  return rawCount(request.source, header) > 1 ? Repeated : request.headers[header]
}

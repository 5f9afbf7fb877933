/** Headers that may be given only once. */
import { Predicate } from "effect"
import type { HttpServerRequest } from "effect/http"

/** A header was given more than once. */
export const Repeated: unique symbol = Symbol.for("effect-eventsourcing/http/Repeated")

/** The raw headers, because Node keeps only the first of two `authorization` or `host` headers. */
const rawCount = (source: object, name: string): number => {
  if (!Predicate.hasProperty(source, "rawHeaders") || !Array.isArray(source.rawHeaders)) return 0
  return source.rawHeaders.filter(
    (text: unknown, index) => index % 2 === 0 && typeof text === "string" && text.toLowerCase() === name
  ).length
}

/**
 * The value of a header that may be given only once. A proxy may have joined several values with `", "` into one text: the
 * caller must not mistake that for a single value.
 */
export const soleHeader = (
  request: HttpServerRequest.HttpServerRequest,
  name: string
): string | undefined | typeof Repeated => {
  const header = name.toLowerCase()
  return rawCount(request.source, header) > 1 ? Repeated : request.headers[header]
}

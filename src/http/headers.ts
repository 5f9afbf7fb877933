/** Headers that may be given once. */
import { Predicate } from "effect"
import type { HttpServerRequest } from "effect/http"

/** A header was given more than once. */
export const Repeated: unique symbol = Symbol.for("effect-eventsourcing/http/Repeated")

/** Node keeps the first of two `authorization` or `host` headers and drops the other; only the raw ones tell. */
const rawCount = (source: object, name: string): number => {
  if (!Predicate.hasProperty(source, "rawHeaders") || !Array.isArray(source.rawHeaders)) return 0
  return source.rawHeaders.filter(
    (text: unknown, index) => index % 2 === 0 && typeof text === "string" && text.toLowerCase() === name
  ).length
}

/**
 * The value of a header that may be given once. Values that were given apart and joined since, by `", "`, are one text
 * here: whoever reads it must not take it for one value.
 */
export const soleHeader = (
  request: HttpServerRequest.HttpServerRequest,
  name: string
): string | undefined | typeof Repeated => {
  const header = name.toLowerCase()
  return rawCount(request.source, header) > 1 ? Repeated : request.headers[header]
}

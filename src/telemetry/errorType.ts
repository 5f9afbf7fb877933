/** The `error.type` of spans and metrics. */

const tagOf = (value: unknown): string | undefined =>
  typeof value === "object" && value !== null && "_tag" in value && typeof value._tag === "string"
    ? value._tag
    : undefined

/** The tag of an error; that of its reason if it has one. Errors without a tag have that of their class, other values `_OTHER`. */
export const errorType = (error: unknown): string => {
  if (typeof error !== "object" || error === null) return "_OTHER"
  const reason = "reason" in error ? tagOf(error.reason) : undefined
  return reason ?? tagOf(error) ?? (error instanceof Error ? error.name : "_OTHER")
}

/** From generated values to values that can be stored. Schemas allow texts and numbers that no store keeps as they are. */

/** A text that can be stored: without U+0000, and without halves of surrogate pairs. */
export const storableText = (text: string): string =>
  text.replaceAll("\0", "0").replaceAll(/[\uD800-\uDFFF]/gu, "\uFFFD")

/** A JSON value that can be stored, and is otherwise the same. */
export const storableJson = (value: unknown): unknown => {
  if (typeof value === "string") return storableText(value)
  if (typeof value === "number") return Object.is(value, -0) || !Number.isFinite(value) ? 0 : value
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(storableJson)
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [
      key === "__proto__" ? "proto" : storableText(key),
      storableJson(member)
    ])
  )
}

/**
 * The same for a value of any type: texts and numbers are replaced wherever they stand in plain objects and arrays. What JSON
 * does not know at all is left to those who must deal with it.
 */
export const storableValue = (value: unknown): unknown => {
  if (typeof value === "string") return storableText(value)
  if (Object.is(value, -0)) return 0
  if (Array.isArray(value)) return value.map(storableValue)
  if (typeof value !== "object" || value === null) return value
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== null && prototype !== Object.prototype) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [storableText(key), storableValue(member)])
  )
}

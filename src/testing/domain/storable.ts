/** Makes generated values storable, because schemas allow texts and numbers that no store keeps unchanged. */

/** A text without the characters that cannot be stored: U+0000 and halves of surrogate pairs. */
export const storableText = (text: string): string =>
  text.replaceAll("\0", "0").replaceAll(/[\uD800-\uDFFF]/gu, "\uFFFD")

/** A JSON value with unstorable parts replaced. */
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
 * A value of any type with unstorable texts and numbers replaced, wherever they are in plain objects and arrays. Values that
 * JSON does not know stay, for the laws to find.
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

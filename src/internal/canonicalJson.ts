/** JSON with sorted keys, so that equal JSON values have equal texts. */
export const canonicalJson = (value: unknown): string => JSON.stringify(ordered(value))

const ordered = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(ordered)
  const entries = Object.entries(value).toSorted(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0))
  // Not by assignment, because a key may be __proto__.
  return Object.fromEntries(entries.map(([key, member]) => [key, ordered(member)]))
}

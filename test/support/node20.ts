/**
 * Polyfills for vitest 5 on Node 20. Without them a failing test crashes the reporter, which hides the failure.
 */
const group = <K, V>(items: Iterable<V>, keyOf: (item: V, index: number) => K): Map<K, Array<V>> => {
  const groups = new Map<K, Array<V>>()
  let index = 0
  for (const item of items) {
    const key = keyOf(item, index++)
    const members = groups.get(key)
    if (members === undefined) groups.set(key, [item])
    else members.push(item)
  }
  return groups
}

const define = (target: object, name: string, value: unknown): void => {
  if (!(name in target)) Object.defineProperty(target, name, { value, configurable: true, writable: true })
}

define(Map, "groupBy", group)
define(Object, "groupBy", <V>(items: Iterable<V>, keyOf: (item: V, index: number) => PropertyKey) =>
  Object.fromEntries(group(items, keyOf))
)
define(Promise, "withResolvers", () => {
  let settlers = {}
  const promise = new Promise((resolve, reject) => {
    settlers = { resolve, reject }
  })
  return { promise, ...settlers }
})

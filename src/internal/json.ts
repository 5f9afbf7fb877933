/**
 * JSON that can be stored and read back exactly: without values that JSON or PostgreSQL would change or refuse.
 */

/** The path at which a value cannot be stored, and the reason. */
export interface Problem {
  readonly path: Array<string | number>
  readonly reason: string
  readonly limit: "depth" | undefined
}

/** U+0000, which PostgreSQL refuses, and halves of surrogate pairs, which UTF-8 cannot express. */
const unstorable = /[\0\uD800-\uDFFF]/u

/** The beginning of the escapes with which `JSON.stringify` writes these characters, and few others. */
const escaped = "\\u"

/** The reason why a text cannot be stored; undefined if it can. */
export const textProblem = (text: string): string | undefined =>
  unstorable.test(text)
    ? text.includes("\0")
      ? "contains the character U+0000, which cannot be stored"
      : "contains half of a surrogate pair, which cannot be stored"
    : undefined

/** Maximum length of an id, a type or an actor. Several of them must fit into an index row of PostgreSQL (2,704 bytes). */
export const maxNameLength = 255

/** The reason why a text cannot be an id, a type or an actor; undefined if it can. */
export const nameProblem = (text: string): string | undefined =>
  text.length === 0
    ? "is empty"
    : text.length > maxNameLength
      ? `has more than ${maxNameLength} characters`
      : textProblem(text)

const maxReasonLength = 1000

/** The reason why a text cannot be a reason that is stored with what was done; undefined if it can. */
export const reasonProblem = (text: string): string | undefined => {
  if (text.trim() === "") return "is blank"
  return text.length > maxReasonLength ? `has more than ${maxReasonLength} characters` : textProblem(text)
}

/** True for objects made by `{}` or `JSON.parse`, of any realm. JSON changes others, or they change it. */
const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

const problem = (reason: string, limit?: "depth"): Problem => ({ path: [], reason, limit })

/** The first problem of a JSON value; undefined if it has none. Descends at most `maxDepth` levels. */
export const jsonProblem = (value: unknown, maxDepth: number, withTexts = true): Problem | undefined => {
  switch (typeof value) {
    case "string": {
      const reason = withTexts ? textProblem(value) : undefined
      return reason === undefined ? undefined : problem(reason)
    }
    case "number":
      if (!Number.isFinite(value)) return problem(`is ${value}, which JSON cannot carry`)
      return Object.is(value, -0) ? problem("is -0, which JSON does not tell from 0") : undefined
    case "boolean":
      return undefined
    case "object": {
      if (value === null) return undefined
      if (maxDepth === 0) return problem("is nested too deeply", "depth")
      if (Array.isArray(value)) {
        for (let index = 0; index < value.length; index++) {
          const found = jsonProblem(value[index], maxDepth - 1, withTexts)
          if (found !== undefined) {
            found.path.unshift(index)
            return found
          }
        }
        return undefined
      }
      if (!isPlain(value)) return problem("is not a plain object, which JSON cannot carry")
      for (const key of Object.keys(value)) {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the key exists
        const member = (value as Readonly<Record<string, unknown>>)[key]
        // JSON leaves out a key whose value is undefined, as the schema of an optional key expects.
        if (member === undefined) continue
        const unfit =
          key === "__proto__"
            ? "is a key that would change the prototype of an object"
            : withTexts
              ? keyProblem(key)
              : undefined
        const found = unfit === undefined ? jsonProblem(member, maxDepth - 1, withTexts) : problem(unfit)
        if (found !== undefined) {
          // The error may be stored as well, so it must not contain the key.
          found.path.unshift(textProblem(key) === undefined ? key : "?")
          return found
        }
      }
      return undefined
    }
    default:
      return problem(`is a ${typeof value}, which JSON cannot carry`)
  }
}

const keyProblem = (key: string): string | undefined => {
  const reason = textProblem(key)
  return reason === undefined ? undefined : `the key ${reason}`
}

/** The JSON text of a value that can be stored, or the first problem of one that cannot. */
export const jsonText = (value: unknown, maxDepth: number): string | Problem => {
  const unfit = jsonProblem(value, maxDepth, false)
  if (unfit === undefined) {
    const text = JSON.stringify(value)
    return text.includes(escaped) ? (jsonProblem(value, maxDepth) ?? text) : text
  }
  // The first problem may be in a text.
  return jsonProblem(value, maxDepth) ?? unfit
}

/** True if two JSON texts mean the same value. The order of keys does not matter; that of array elements does. */
export const sameJson = (left: string, right: string): boolean =>
  left === right || sameValue(JSON.parse(left), JSON.parse(right))

const sameValue = (left: unknown, right: unknown): boolean => {
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null)
    return left === right
  if (Array.isArray(left) || Array.isArray(right)) {
    return (
      Array.isArray(left) &&
      Array.isArray(right) &&
      left.length === right.length &&
      left.every((element, index) => sameValue(element, right[index]))
    )
  }
  const members = new Map(Object.entries(right))
  const entries = Object.entries(left)
  return (
    entries.length === members.size &&
    entries.every(([key, member]) => members.has(key) && sameValue(member, members.get(key)))
  )
}

/** Values and their differences as readable text, for the messages of failed tests. */
import { TextDiff } from "effect"
import { inspect } from "node:util"

/** Maximum width of a value on one line. */
const width = 90

/** Values that are shown by their own `toString` instead of their members: maps, dates, and Effect's data types. */
const hasOwnText = (value: object): boolean =>
  value instanceof Map ||
  value instanceof Set ||
  value instanceof Date ||
  ArrayBuffer.isView(value) ||
  (inspect.custom in value && !(value instanceof Error))

const membersOf = (value: object): ReadonlyArray<readonly [string, unknown]> => {
  const members: Array<readonly [string, unknown]> = Object.entries(value).filter(
    ([key]) => key !== "_tag" && key !== "stack"
  )
  const stated = members.some(([key]) => key === "message")
  return value instanceof Error && value.message !== "" && !stated
    ? [...members, ["message", value.message]]
    : members
}

const nameOf = (value: object): string => {
  if ("_tag" in value && typeof value._tag === "string") return `${value._tag} `
  return value instanceof Error ? `${value.name} ` : ""
}

const keyOf = (key: string): string =>
  /^[\p{ID_Start}_$][\p{ID_Continue}$]*$/u.test(key) ? key : JSON.stringify(key)

/** The lines of a value, a member each. The first and the last are its brackets. */
const partsOf = (
  value: object,
  seen: ReadonlyArray<object>,
  room: number
): readonly [open: string, parts: ReadonlyArray<string>, close: string] =>
  Array.isArray(value)
    ? ["[", value.map((element: unknown) => render(element, seen, room)), "]"]
    : [
        `${nameOf(value)}{`,
        membersOf(value).map(([key, member]) => `${keyOf(key)}: ${render(member, seen, room)}`),
        "}"
      ]

// Without commas, so that the last line does not differ from the others.
const onLines = ([open, parts, close]: ReturnType<typeof partsOf>): string =>
  parts.length === 0 ? `${open}${close}` : [open, ...parts.map(indent), close].join("\n")

const render = (value: unknown, seen: ReadonlyArray<object>, room: number): string => {
  if (typeof value === "string") return JSON.stringify(value)
  if (typeof value !== "object" || value === null || hasOwnText(value)) {
    return inspect(value, { depth: Infinity, breakLength: Math.max(room, 20) })
  }
  if (seen.includes(value)) return "[circular]"
  const parts = partsOf(value, [...seen, value], room - 2)
  const [open, members, close] = parts
  // A value with nothing but a tag is shown as the tag.
  if (members.length === 0) return nameOf(value).trim() || `${open}${close}`
  const blank = close === "}" ? " " : ""
  const line = `${open}${blank}${members.join(", ")}${blank}${close}`
  return line.length <= room && !line.includes("\n") ? line : onLines(parts)
}

/** A value on as few lines as fit: `Deposited { amount: 10 }`. */
export const show = (value: unknown): string => render(value, [], width)

/** A value with a line for each of its members. */
export const showOnLines = (value: unknown): string =>
  typeof value !== "object" || value === null || hasOwnText(value)
    ? show(value)
    : onLines(partsOf(value, [value], width - 2))

/** Indents every line of a text by two columns. */
export const indent = (text: string): string => text.replaceAll(/^/gm, "  ")

const marks = { Equal: "  ", Delete: "- ", Insert: "+ " } as const

/** The difference of two texts, line by line: `-` was expected, `+` was found. */
export const differenceOfTexts = (expected: string, found: string): string =>
  TextDiff.diff(expected.split("\n"), found.split("\n"))
    .flatMap(({ _tag, items }) => items.map((item) => `${marks[_tag]}${item}`))
    .join("\n")

/** The difference of two values, with a line for each member. */
export const difference = (expected: unknown, found: unknown): string =>
  differenceOfTexts(showOnLines(expected), showOnLines(found))

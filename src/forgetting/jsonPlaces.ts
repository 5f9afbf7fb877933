/** Finds values in a JSON text without parsing it, so that the rest of the text can stay exactly as it is. */

/** A value in a JSON text: its place, and the characters from `start` up to `end` (exclusive). */
export interface JsonPlace {
  readonly path: ReadonlyArray<string | number>
  readonly start: number
  readonly end: number
}

const quote = 0x22
const backslash = 0x5c
const openBrace = 0x7b
const closeBrace = 0x7d
const openBracket = 0x5b
const closeBracket = 0x5d
const comma = 0x2c

const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09

const skipSpace = (text: string, from: number): number => {
  let at = from
  while (isSpace(text.charCodeAt(at))) at++
  return at
}

/** The place behind a string that begins at `start`. */
const endOfString = (text: string, start: number): number => {
  let at = start
  for (;;) {
    at = text.indexOf('"', at + 1)
    if (at < 0) throw new SyntaxError("a JSON text ends within a string")
    let escapes = 0
    while (text.charCodeAt(at - 1 - escapes) === backslash) escapes++
    if (escapes % 2 === 0) return at + 1
  }
}

/** The place behind a number or a literal. */
const endOfScalar = (text: string, start: number): number => {
  let at = start
  for (;;) {
    const code = text.charCodeAt(at)
    // NaN at the end of the text.
    if (!(code > 0x20) || code === comma || code === closeBrace || code === closeBracket) return at
    at++
  }
}

const keyOf = (text: string, start: number, end: number): string => {
  const key = text.slice(start + 1, end - 1)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the text of a JSON string
  return key.includes("\\") ? (JSON.parse(text.slice(start, end)) as string) : key
}

/** Collects the values that `wants` names, without looking into them. `wants` sees the path so far, which changes afterwards. */
export const jsonPlaces = (
  text: string,
  wants: (path: ReadonlyArray<string | number>, start: number) => boolean,
  /** Stops after so many values. */
  limit: number
): ReadonlyArray<JsonPlace> => {
  const found: Array<JsonPlace> = []
  const path: Array<string | number> = []
  /** Returns the place behind the value at `start`. */
  const value = (start: number, wanted: boolean): number => {
    const take = wanted && wants(path, start)
    const code = text.charCodeAt(start)
    const end =
      code === quote
        ? endOfString(text, start)
        : code === openBrace
          ? members(start, wanted && !take)
          : code === openBracket
            ? elements(start, wanted && !take)
            : endOfScalar(text, start)
    if (take) found.push({ path: [...path], start, end })
    return end
  }
  const members = (start: number, wanted: boolean): number => {
    let at = skipSpace(text, start + 1)
    if (text.charCodeAt(at) === closeBrace) return at + 1
    const depth = path.length
    path.push("")
    for (;;) {
      const end = endOfString(text, at)
      if (wanted) path[depth] = keyOf(text, at, end)
      // Behind the colon.
      at = skipSpace(text, value(skipSpace(text, skipSpace(text, end) + 1), wanted && found.length < limit))
      if (text.charCodeAt(at) !== comma) break
      at = skipSpace(text, at + 1)
    }
    path.length = depth
    return at + 1
  }
  const elements = (start: number, wanted: boolean): number => {
    let at = skipSpace(text, start + 1)
    if (text.charCodeAt(at) === closeBracket) return at + 1
    const depth = path.length
    path.push(0)
    for (let index = 0; ; index++) {
      path[depth] = index
      at = skipSpace(text, value(at, wanted && found.length < limit))
      if (text.charCodeAt(at) !== comma) break
      at = skipSpace(text, at + 1)
    }
    path.length = depth
    return at + 1
  }
  value(skipSpace(text, 0), true)
  return found
}

/** A text with other texts in place of some values, which are in the order of the text. */
export const spliced = (
  text: string,
  places: ReadonlyArray<JsonPlace>,
  replacements: ReadonlyArray<string>
): string => {
  let result = ""
  let from = 0
  for (const [index, { end, start }] of places.entries()) {
    result += text.slice(from, start) + (replacements[index] ?? text.slice(start, end))
    from = end
  }
  return result + text.slice(from)
}

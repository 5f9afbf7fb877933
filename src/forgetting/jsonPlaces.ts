/** Finds values in a JSON text without parsing it, so that the rest of the text can stay exactly as it is. */

/** A part of a text: the characters from `start` up to `end` (exclusive). */
export interface TextRange {
  readonly start: number
  readonly end: number
}

type Path = ReadonlyArray<string | number>

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

/** The place behind the value that begins at `start`. */
export const endOfValue = (text: string, start: number): number => {
  const first = text.charCodeAt(start)
  if (first === quote) return endOfString(text, start)
  if (first !== openBrace && first !== openBracket) return endOfScalar(text, start)
  let depth = 0
  let at = start
  for (;;) {
    const code = text.charCodeAt(at)
    if (code === quote) {
      at = endOfString(text, at)
      continue
    }
    at++
    if (code === openBrace || code === openBracket) depth++
    else if (code === closeBrace || code === closeBracket) {
      if (--depth === 0) return at
    } else if (Number.isNaN(code)) throw new SyntaxError("a JSON text ends within a value")
  }
}

const keyOf = (text: string, start: number, end: number): string => {
  const key = text.slice(start + 1, end - 1)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the text of a JSON string
  return key.includes("\\") ? (JSON.parse(text.slice(start, end)) as string) : key
}

/**
 * Sees a value. Returns the place behind it if the walk is not to look into it, and the length of the text to end the walk. The path
 * is that of the value, and changes afterwards.
 */
type See = (path: Path, start: number) => number | undefined

/** Shows the values of a text in their order, each before those inside of it. */
export const walkJson = (text: string, see: See): void => {
  walkValue(text, skipSpace(text, 0), [], see)
}

// Functions of the module and not closures, because a walk is made for each event.
const walkValue = (text: string, start: number, path: Array<string | number>, see: See): number => {
  const taken = see(path, start)
  if (taken !== undefined) return taken
  switch (text.charCodeAt(start)) {
    case quote:
      return endOfString(text, start)
    case openBrace:
      return walkMembers(text, start, path, see)
    case openBracket:
      return walkElements(text, start, path, see)
    default:
      return endOfScalar(text, start)
  }
}

const walkMembers = (text: string, start: number, path: Array<string | number>, see: See): number => {
  let at = skipSpace(text, start + 1)
  if (text.charCodeAt(at) === closeBrace) return at + 1
  const depth = path.length
  for (;;) {
    const end = endOfString(text, at)
    path[depth] = keyOf(text, at, end)
    // Behind the colon.
    at = skipSpace(text, walkValue(text, skipSpace(text, skipSpace(text, end) + 1), path, see))
    if (text.charCodeAt(at) !== comma) break
    at = skipSpace(text, at + 1)
  }
  path.length = depth
  return at + 1
}

const walkElements = (text: string, start: number, path: Array<string | number>, see: See): number => {
  let at = skipSpace(text, start + 1)
  if (text.charCodeAt(at) === closeBracket) return at + 1
  const depth = path.length
  for (let index = 0; ; index++) {
    path[depth] = index
    at = skipSpace(text, walkValue(text, at, path, see))
    if (text.charCodeAt(at) !== comma) break
    at = skipSpace(text, at + 1)
  }
  path.length = depth
  return at + 1
}

/** A text with other texts in place of some parts, which are in the order of the text. */
export const spliced = (
  text: string,
  ranges: ReadonlyArray<TextRange>,
  replacements: ReadonlyArray<string>
): string => {
  let result = ""
  let from = 0
  let index = 0
  for (const { end, start } of ranges) {
    result += text.slice(from, start) + (replacements[index++] ?? text.slice(start, end))
    from = end
  }
  return result + text.slice(from)
}

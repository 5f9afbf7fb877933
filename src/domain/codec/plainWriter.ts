/**
 * Fast path of encoding: writes the JSON text of values that encoding would only copy, such as objects of texts, numbers and
 * booleans, in one pass instead of three (encode, check, write). It declines all other schemas and values; the general encoder
 * handles those and reports the errors.
 */
import type { SchemaAST } from "effect"
import { textProblem } from "../../internal/json.ts"
import { isForgotten } from "../Personal.ts"
import { dataOf } from "./marks.ts"
import { elementOf, isBare, meets, ofEach } from "./plainSchema.ts"

/** The JSON text of a value; undefined if the value is not simple. Throws if a check of the schema throws. */
type Write = (value: unknown) => string | undefined

/** Writes values of a schema. */
export interface JsonWriter {
  readonly write: Write
  /** The maximum depth of its values. */
  readonly depth: number
}

/** The writer for a JSON codec; undefined if the codec changes values or is not simple. */
export const jsonWriter: (ast: SchemaAST.AST) => JsonWriter | undefined = ofEach(
  (ast): JsonWriter | undefined => {
    if (ast.encoding !== undefined) return undefined
    const checks = ast.checks ?? []
    switch (ast._tag) {
      case "String":
        return leaf(ast, checks, writeText)
      case "Number":
        return leaf(ast, checks, writeNumber)
      case "Boolean":
        return leaf(ast, checks, (value) => (typeof value === "boolean" ? String(value) : undefined))
      case "Null":
        return leaf(ast, checks, (value) => (value === null ? "null" : undefined))
      case "Literal": {
        const { literal } = ast
        const text = typeof literal === "string" ? writeText(literal) : undefined
        return text === undefined
          ? undefined
          : leaf(ast, checks, (value) => (value === literal ? text : undefined))
      }
      case "Union": {
        if (!isBare(ast)) return undefined
        const data = dataOf(ast)
        return data === undefined ? union(ast) : personal(jsonWriter(data))
      }
      case "Arrays":
        return isBare(ast) ? array(ast) : undefined
      case "Objects":
        return isBare(ast) ? struct(ast) : undefined
      default:
        return undefined
    }
  }
)

/** Texts that need no escaping and are never refused: without quotes, backslashes, control characters and surrogates. */
const plain = /^[ !#-[\]-\uD7FF\uE000-\uFFFF]*$/

const writeText = (value: unknown): string | undefined => {
  if (typeof value !== "string") return undefined
  if (plain.test(value)) return `"${value}"`
  return textProblem(value) === undefined ? JSON.stringify(value) : undefined
}

const writeNumber = (value: unknown): string | undefined =>
  typeof value === "number" && Number.isFinite(value) && !Object.is(value, -0) ? String(value) : undefined

const leaf = (
  ast: SchemaAST.AST,
  checks: ReadonlyArray<SchemaAST.Check<unknown>>,
  write: Write
): JsonWriter => ({
  depth: 0,
  write:
    checks.length === 0
      ? write
      : (value) => {
          const text = write(value)
          return text !== undefined && meets(checks, value, ast) ? text : undefined
        }
})

/** Only unions of leaves. A leaf writes its value unchanged, so all matching members write the same text. */
const union = ({ types }: SchemaAST.Union): JsonWriter | undefined => {
  const writers = types.map(jsonWriter)
  if (!writers.every((writer) => writer?.depth === 0)) return undefined
  return {
    depth: 0,
    write: (value) => {
      for (const writer of writers) {
        const text = writer?.write(value)
        if (text !== undefined) return text
      }
      return undefined
    }
  }
}

/** Leaves forgotten data to the encoder. */
const personal = (data: JsonWriter | undefined): JsonWriter | undefined =>
  data && { ...data, write: (value) => (isForgotten(value) ? undefined : data.write(value)) }

const array = (ast: SchemaAST.Arrays): JsonWriter | undefined => {
  const type = elementOf(ast)
  const element = type === undefined ? undefined : jsonWriter(type)
  if (element === undefined) return undefined
  return {
    depth: element.depth + 1,
    write: (value) => {
      if (!Array.isArray(value)) return undefined
      let text = "["
      for (let index = 0; index < value.length; index++) {
        const written = element.write(value[index])
        if (written === undefined) return undefined
        text += index === 0 ? written : `,${written}`
      }
      return `${text}]`
    }
  }
}

interface Member {
  readonly name: string
  /** The text before the value: the opening brace for the first property, a comma for the others. */
  readonly label: string
  readonly optional: boolean
  readonly write: Write
}

const struct = ({ indexSignatures, propertySignatures }: SchemaAST.Objects): JsonWriter | undefined => {
  if (indexSignatures.length > 0 || propertySignatures.length === 0) return undefined
  const members: Array<Member> = []
  let depth = 0
  for (const { name, type } of propertySignatures) {
    const member = memberOf(name, type, members.length === 0)
    if (member === undefined) return undefined
    members.push(member)
    depth = Math.max(depth, member.depth)
  }
  return {
    depth: depth + 1,
    write: (value) => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined
      let text = ""
      for (const { label, name, optional, write } of members) {
        if (optional && !(name in value)) continue
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a missing property is undefined, which no writer accepts
        const written = write((value as Readonly<Record<string, unknown>>)[name])
        if (written === undefined) return undefined
        text += label + written
      }
      return `${text}}`
    }
  }
}

const memberOf = (
  name: PropertyKey,
  type: SchemaAST.AST,
  isFirst: boolean
): (Member & Pick<JsonWriter, "depth">) | undefined => {
  const writer = jsonWriter(type)
  // Objects list names that look like integers first, so the order would differ from that of the schema. Reserved names are refused
  // by the encoder.
  if (writer === undefined || typeof name !== "string" || /^(\d|__proto__$|\$)/.test(name)) return undefined
  const label = writeText(name)
  const optional = type.context?.isOptional === true
  if (label === undefined || (isFirst && optional)) return undefined
  return {
    name,
    label: `${isFirst ? "{" : ","}${label}:`,
    optional,
    write: writer.write,
    depth: writer.depth
  }
}

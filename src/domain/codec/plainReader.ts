/**
 * Fast path of decoding: recognises JSON values that decoding would only copy, such as objects of texts, numbers and booleans
 * with exactly the declared members. Recognising them takes a fraction of the time. It declines all other schemas and values;
 * the general decoder handles those and reports the errors.
 */
import type { SchemaAST } from "effect"
import { dataOf } from "./marks.ts"
import { elementOf, isBare, meets, ofEach } from "./plainSchema.ts"

/** True if a JSON value decodes to itself. Throws if a check of the schema throws. */
type Fits = (value: unknown) => boolean

/** A reader of leaves (texts, numbers and the like) or of composed values. */
interface Reader {
  readonly fits: Fits
  readonly isLeaf: boolean
}

/** The reader for a JSON codec; undefined if the codec changes values or is not simple. */
export const jsonReader = (ast: SchemaAST.AST): Fits | undefined => readerOf(ast)?.fits

const readerOf = ofEach((ast): Reader | undefined => {
  if (ast.encoding !== undefined) return undefined
  const checks = ast.checks ?? []
  switch (ast._tag) {
    case "String":
      return leaf(ast, checks, (value) => typeof value === "string")
    case "Number":
      return leaf(ast, checks, Number.isFinite)
    case "Boolean":
      return leaf(ast, checks, (value) => typeof value === "boolean")
    case "Null":
      return leaf(ast, checks, (value) => value === null)
    case "Literal": {
      const { literal } = ast
      return leaf(ast, checks, (value) => value === literal)
    }
    case "Union": {
      if (!isBare(ast)) return undefined
      // Personal data. Forgotten data is left to the decoder.
      const data = dataOf(ast)
      return data === undefined ? union(ast) : readerOf(data)
    }
    case "Arrays":
      return isBare(ast) ? array(ast) : undefined
    case "Objects":
      return isBare(ast) ? struct(ast) : undefined
    default:
      return undefined
  }
})

const leaf = (ast: SchemaAST.AST, checks: ReadonlyArray<SchemaAST.Check<unknown>>, fits: Fits): Reader => ({
  isLeaf: true,
  fits: checks.length === 0 ? fits : (value) => fits(value) && meets(checks, value, ast)
})

/** Only unions of leaves. In a union of objects, the first matching member decides which properties are left out. */
const union = ({ types }: SchemaAST.Union): Reader | undefined => {
  const readers: Array<Fits> = []
  for (const type of types) {
    const reader = readerOf(type)
    if (reader?.isLeaf !== true) return undefined
    readers.push(reader.fits)
  }
  return { isLeaf: true, fits: (value) => readers.some((fits) => fits(value)) }
}

const array = (ast: SchemaAST.Arrays): Reader | undefined => {
  const type = elementOf(ast)
  const element = type === undefined ? undefined : readerOf(type)?.fits
  if (element === undefined) return undefined
  return {
    isLeaf: false,
    fits: (value) => {
      if (!Array.isArray(value)) return false
      for (let index = 0; index < value.length; index++) if (!element(value[index])) return false
      return true
    }
  }
}

interface Member {
  readonly name: string
  readonly optional: boolean
  readonly fits: Fits
}

const struct = ({ indexSignatures, propertySignatures }: SchemaAST.Objects): Reader | undefined => {
  if (indexSignatures.length > 0 || propertySignatures.length === 0) return undefined
  const members: Array<Member> = []
  for (const { name, type } of propertySignatures) {
    const reader = readerOf(type)
    if (reader === undefined || typeof name !== "string" || name === "__proto__") return undefined
    members.push({ name, optional: type.context?.isOptional === true, fits: reader.fits })
  }
  return {
    isLeaf: false,
    fits: (value) => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return false
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an object
      const object = value as Readonly<Record<string, unknown>>
      return fitInOrder(object, members) ?? fitInAnyOrder(object, members)
    }
  }
}

/** Fast path for objects with all members in the declared order; undefined if it declines. Looking up each member takes twice as long. */
const fitInOrder = (
  value: Readonly<Record<string, unknown>>,
  members: ReadonlyArray<Member>
): boolean | undefined => {
  if (Object.keys(value).length !== members.length) return undefined
  let found = 0
  // inherited properties would come last
  for (const name in value) {
    const member = members[found++]
    if (member?.name !== name) return undefined
    if (!member.fits(value[name])) return false
  }
  return true
}

const fitInAnyOrder = (value: Readonly<Record<string, unknown>>, members: ReadonlyArray<Member>): boolean => {
  // Decoding would leave out properties that the schema does not declare.
  const own = Object.keys(value).length
  if (own > members.length) return false
  let found = 0
  for (const { fits, name, optional } of members) {
    if (Object.hasOwn(value, name)) {
      if (!fits(value[name])) return false
      found++
    } else if (!optional || name in value) {
      return false
    }
  }
  return own === found
}

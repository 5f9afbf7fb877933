/** The marks of personal fields in the schema of an event, and their problems, which are found when an aggregate is made. */
import { SchemaAST } from "effect"
import { aggregateId, annotation, type Mark } from "../Personal.ts"

/** The mark of a part of a schema. */
export const markOf = ({ annotations }: SchemaAST.AST): Mark | undefined =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only `Personal.make` sets this annotation
  annotations?.[annotation] as Mark | undefined

/** The encoded form of a part of a schema. Its parts may be encoded further. */
export const encodedForm = (ast: SchemaAST.AST): SchemaAST.AST => {
  const link = ast.encoding?.at(-1)
  return link === undefined ? ast : encodedForm(link.to)
}

/** True for the part of a marked schema that stands for forgotten data. */
const isForgottenPart = (ast: SchemaAST.AST): boolean => {
  const encoded = encodedForm(ast)
  return encoded._tag === "Objects" && encoded.propertySignatures.some(({ name }) => name === "$forgotten")
}

/** The schema of the data in a marked schema; undefined without a mark, and for one that was changed. */
export const dataOf = (ast: SchemaAST.AST): SchemaAST.AST | undefined =>
  ast._tag === "Union" && ast.types.length === 2 && markOf(ast) !== undefined
    ? ast.types.find((type) => !isForgottenPart(type))
    : undefined

/** The target of a recursive schema; undefined if its module has not been run yet. */
const targetOf = (ast: SchemaAST.Suspend): SchemaAST.AST | undefined => {
  try {
    return ast.thunk()
  } catch {
    return undefined
  }
}

/** The parts of one form of a schema, each with its name in the form. */
const partsOf = (ast: SchemaAST.AST): ReadonlyArray<readonly [string | undefined, SchemaAST.AST]> => {
  switch (ast._tag) {
    case "Objects":
      return [
        ...ast.propertySignatures.map(({ name, type }) => [String(name), type] as const),
        ...ast.indexSignatures.map(({ type }) => ["*", type] as const)
      ]
    case "Arrays":
      return [...ast.elements, ...ast.rest].map((type) => ["*", type] as const)
    case "Union":
      return ast.types.map((type) => [undefined, type] as const)
    case "Declaration":
      return ast.typeParameters.map((type) => [undefined, type] as const)
    case "Suspend": {
      const target = targetOf(ast)
      return target === undefined ? [] : [[undefined, target]]
    }
    default:
      return []
  }
}

const collect = (ast: SchemaAST.AST, marks: Set<Mark>, seen: Set<SchemaAST.AST>): ReadonlySet<Mark> => {
  if (seen.has(ast)) return marks
  seen.add(ast)
  const mark = markOf(ast)
  if (mark !== undefined) marks.add(mark)
  for (const [, part] of partsOf(ast)) collect(part, marks, seen)
  for (const { to } of ast.encoding ?? []) collect(to, marks, seen)
  return marks
}

/** The marks of the decoded, encoded and intermediate forms of a schema. */
const known = new WeakMap<SchemaAST.AST, ReadonlySet<Mark>>()

const marksOf = (ast: SchemaAST.AST): ReadonlySet<Mark> => {
  const before = known.get(ast)
  if (before !== undefined) return before
  const marks = collect(ast, new Set(), new Set())
  known.set(ast, marks)
  return marks
}

/** True if a schema has a mark. */
export const hasMarks = (ast: SchemaAST.AST): boolean => marksOf(ast).size > 0

/** The names of the properties of an encoded object. */
export const namesOf = ({ propertySignatures }: SchemaAST.Objects): ReadonlySet<string> =>
  new Set(propertySignatures.map(({ name }) => String(name)))

/** The state of a walk through the encoded form of a schema. */
interface Walk {
  readonly path: ReadonlyArray<string>
  /** The properties of the objects around a part, the outermost first. */
  readonly around: ReadonlyArray<SchemaAST.Objects>
  /** The parts around a part, to end at a recursion. */
  readonly within: ReadonlyArray<SchemaAST.AST>
}

/**
 * Throws if the marks of an event are wrong: one is not in the encoded form, is inside another one, or has no field for its
 * subject. Takes the codec of its JSON.
 */
export const checkMarks = (event: string, json: SchemaAST.AST): void => {
  if (!hasMarks(json)) return
  const found = new Set<Mark>()
  walk(json, { path: [], around: [], within: [] })
  if ([...marksOf(json)].some((mark) => !found.has(mark)))
    throw new TypeError(
      `${event} would be stored without the mark of a personal field: mark the stored form of the field, and use Personal.orForgotten in the form that it is decoded to`
    )

  function walk(part: SchemaAST.AST, { around, path, within }: Walk): void {
    const ast = encodedForm(part)
    if (within.includes(ast)) return
    const mark = markOf(ast)
    if (mark !== undefined) return check(ast, mark, around, path)
    const inside = ast._tag === "Objects" ? [...around, ast] : around
    for (const [name, inner] of partsOf(ast))
      walk(inner, {
        path: name === undefined ? path : [...path, name],
        around: inside,
        within: [...within, ast]
      })
  }

  function check(
    ast: SchemaAST.AST,
    mark: Mark,
    around: ReadonlyArray<SchemaAST.Objects>,
    path: ReadonlyArray<string>
  ): void {
    found.add(mark)
    const { subject } = mark
    const field = path.length === 0 ? event : `the personal field ${path.join(".")} of ${event}`
    if (path.length === 0) throw new TypeError(`${event} is marked as a whole: mark its fields`)
    const inner = [...marksOf(ast)].some((other) => other !== mark)
    if (inner) throw new TypeError(`${field} contains another personal field: mark only one of the two`)
    if (subject === aggregateId) return
    const holder = around.findLast((object) => namesOf(object).has(subject))
    if (holder === undefined)
      throw new TypeError(
        `${field} has the subject ${JSON.stringify(subject)}, but neither the object with the field nor one around it has such a field in its stored form`
      )
    const id = holder.propertySignatures.find(({ name }) => name === subject)?.type
    if (id !== undefined && hasMarks(encodedForm(id)))
      throw new TypeError(
        `${field} has the subject ${JSON.stringify(subject)}, which is personal itself: the id of a subject must stay readable`
      )
  }
}

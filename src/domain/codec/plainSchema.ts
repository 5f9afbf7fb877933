/** Recognises the simple parts of a schema, for the reader and the writer of simple JSON. */
import { Schema, type SchemaAST } from "effect"

/** Computes a result once per part of a schema, because schemas may share parts. */
export const ofEach = <A>(make: (ast: SchemaAST.AST) => A): ((ast: SchemaAST.AST) => A) => {
  const known = new WeakMap<SchemaAST.AST, { readonly made: A }>()
  return (ast) => {
    let entry = known.get(ast)
    if (entry === undefined) known.set(ast, (entry = { made: make(ast) }))
    return entry.made
  }
}

/** True if a composed part has no checks of its own and is not a union that requires exactly one member to fit. */
export const isBare = (ast: SchemaAST.Union | SchemaAST.Arrays | SchemaAST.Objects): boolean =>
  (ast.checks ?? []).length === 0 &&
  ast.encodingChecks === undefined &&
  !(ast._tag === "Union" && ast.options?.mode === "oneOf")

/** The element type of a list; undefined if some elements have a type of their own. */
export const elementOf = ({ elements, rest }: SchemaAST.Arrays): SchemaAST.AST | undefined => {
  const [type, more] = rest
  return more === undefined && elements.length === 0 ? type : undefined
}

const noOptions: SchemaAST.ParseOptions = {}

/** The check of `Schema.Int`, the most frequent one, which is run directly. */
const isInteger: unknown = Schema.Int.ast.checks?.[0]

/** True if a value passes the checks of its schema. Throws if a check throws. */
export const meets = (
  checks: ReadonlyArray<SchemaAST.Check<unknown>>,
  value: unknown,
  ast: SchemaAST.AST
): boolean => {
  for (const check of checks) {
    const met =
      check === isInteger
        ? Number.isSafeInteger(value)
        : check._tag === "Filter"
          ? check.run(value, ast, noOptions) === undefined
          : meets(check.checks, value, ast)
    if (!met) return false
  }
  return true
}

/** What the reader and the writer of simple JSON have in common: which parts of a schema are simple. */
import type { SchemaAST } from "effect"

/** What is made of a part of a schema; once, as schemas may share parts. */
export const ofEach = <A>(make: (ast: SchemaAST.AST) => A): ((ast: SchemaAST.AST) => A) => {
  const known = new WeakMap<SchemaAST.AST, { readonly made: A }>()
  return (ast) => {
    let entry = known.get(ast)
    if (entry === undefined) known.set(ast, (entry = { made: make(ast) }))
    return entry.made
  }
}

/** Whether a part that is put together from others has no checks of its own, and takes whichever of its members fits. */
export const isBare = (ast: SchemaAST.Union | SchemaAST.Arrays | SchemaAST.Objects): boolean =>
  (ast.checks ?? []).length === 0 &&
  ast.encodingChecks === undefined &&
  !(ast._tag === "Union" && ast.options?.mode === "oneOf")

/** The type of all elements of a list; undefined if some have a type of their own. */
export const elementOf = ({ elements, rest }: SchemaAST.Arrays): SchemaAST.AST | undefined => {
  const [type, more] = rest
  return more === undefined && elements.length === 0 ? type : undefined
}

const noOptions: SchemaAST.ParseOptions = {}

/** Whether a value passes the checks of its schema. Throws what a check throws. */
export const meets = (
  checks: ReadonlyArray<SchemaAST.Check<unknown>>,
  value: unknown,
  ast: SchemaAST.AST
): boolean => {
  for (const check of checks) {
    const met =
      check._tag === "Filter"
        ? check.run(value, ast, noOptions) === undefined
        : meets(check.checks, value, ast)
    if (!met) return false
  }
  return true
}

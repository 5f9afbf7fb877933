/** Finds the personal fields of encoded events. Finders are compiled once per schema; a schema without marks has none. */
import { Result, Schema, SchemaAST, SchemaParser } from "effect"
import { nameProblem } from "../../internal/json.ts"
import { aggregateId, type Subject } from "../Personal.ts"
import { encodedForm, hasMarks, markOf, namesOf } from "./marks.ts"
import { ofEach } from "./plainSchema.ts"

/** A place in an encoded event: keys of objects and indexes of arrays. */
export type Path = ReadonlyArray<string | number>

/** A personal field of an event: its place in the payload, and the person it is about. */
export interface PersonalField {
  /** Keys of objects and indexes of arrays, from the root of the payload. Never empty. */
  readonly path: Path
  /** The id of the person within the tenant, 1 to 255 characters. */
  readonly subject: string
}

export const samePath = (left: Path, right: Path): boolean =>
  left.length === right.length && left.every((key, index) => key === right[index])

/** The member by which a storage tells sealed data from other data. Events of programs must not have it. */
export const sealedMember = "$sealed"

/** The personal fields of an encoded event. */
export interface PersonalFields {
  /** Those that have data, in the order of the event's text. */
  readonly fields: ReadonlyArray<PersonalField>
  /** The places of forgotten data. */
  readonly forgotten: ReadonlyArray<Path>
}

/** The subject of a field is missing, or cannot be one. */
export interface NoSubject {
  readonly path: Path
  readonly reason: string
}

/** Finds the personal fields of an encoded event. `order` tells if its text has the order of the schema or of the value's keys. */
export type FindPersonal = (
  json: unknown,
  aggregateId: string,
  order: "schema" | "keys"
) => PersonalFields | NoSubject

/** An object around the part that is searched, and its properties by its schema. */
interface Scope {
  readonly value: Readonly<Record<string, unknown>>
  readonly names: ReadonlySet<string>
  /** Length of its path. */
  readonly depth: number
}

interface Search {
  readonly aggregateId: string
  readonly byKeys: boolean
  readonly path: Array<string | number>
  readonly scopes: Array<Scope>
  fields: Array<PersonalField>
  forgotten: ReadonlyArray<Path>
  problem: NoSubject | undefined
}

type Visit = (value: unknown, search: Search) => void

const none: ReadonlyArray<Path> = Object.freeze([])

/** The finder for the codec of an event's JSON; undefined if it has no marks. */
export const personalFinder = (json: SchemaAST.AST): FindPersonal | undefined => {
  const visit = visitorOf(json)
  if (visit === undefined) return undefined
  return (value, id, order) => {
    const search: Search = {
      aggregateId: id,
      byKeys: order === "keys",
      path: [],
      scopes: [],
      fields: [],
      forgotten: none,
      problem: undefined
    }
    visit(value, search)
    return search.problem ?? search
  }
}

const visitorOf = ofEach((part): Visit | undefined => {
  const ast = encodedForm(part)
  if (!hasMarks(ast)) return undefined
  const mark = markOf(ast)
  if (mark !== undefined) return marked(mark.subject)
  switch (ast._tag) {
    case "Objects":
      return object(ast)
    case "Arrays":
      return array(ast)
    case "Union":
      return union(ast)
    case "Suspend":
      return recursive(ast)
    default:
      return undefined
  }
})

const recursive = (ast: SchemaAST.Suspend): Visit => {
  let target: Visit | undefined
  return (value, search) => {
    target ??= visitorOf(ast.thunk())
    target?.(value, search)
  }
}

const marked =
  (subject: Subject): Visit =>
  (value, search) => {
    if (isForgottenJson(value)) {
      search.forgotten = [...search.forgotten, [...search.path]]
      return
    }
    const id = subject === aggregateId ? search.aggregateId : subjectIn(subject, search)
    if (id !== undefined) search.fields.push({ path: [...search.path], subject: id })
  }

/** True for the encoded form of forgotten data. */
const isForgottenJson = (value: unknown): boolean =>
  typeof value === "object" &&
  value !== null &&
  "$forgotten" in value &&
  value.$forgotten === true &&
  Object.keys(value).length === 1

/** The id of a subject in the nearest object that has it. */
const subjectIn = (name: string, search: Search): string | undefined => {
  const { scopes } = search
  for (let index = scopes.length - 1; index >= 0; index--) {
    const scope = scopes[index]
    if (scope?.names.has(name) !== true) continue
    const given = scope.value[name]
    const id = typeof given === "number" && Number.isFinite(given) ? String(given) : given
    const reason = problemOf(id)
    if (reason === undefined) return String(id)
    search.problem ??= {
      path: [...search.path.slice(0, scope.depth), name],
      reason: `${reason}, but is the id of the subject of ${search.path.join(".")}`
    }
    return undefined
  }
  search.problem ??= { path: [...search.path], reason: `has no subject: there is no field ${name}` }
  return undefined
}

const problemOf = (id: unknown): string | undefined => {
  if (typeof id === "string") return nameProblem(id)
  return id === undefined ? "is missing" : "is no text and no number"
}

interface Member {
  readonly name: string
  readonly visit: Visit
}

const object = (ast: SchemaAST.Objects): Visit => {
  const names = namesOf(ast)
  const members: Array<Member> = []
  for (const { name, type } of ast.propertySignatures) {
    const visit = visitorOf(type)
    if (visit !== undefined) members.push({ name: String(name), visit })
  }
  const byName = new Map(members.map(({ name, visit }) => [name, visit]))
  const others = ast.indexSignatures.flatMap(({ parameter, type }) => {
    const visit = visitorOf(type)
    return visit === undefined ? [] : [{ accepts: acceptor(parameter), visit }]
  })
  const visitMember = (name: string, member: unknown, visit: Visit, search: Search): void => {
    // A function is inherited: JSON has none.
    if (member === undefined || typeof member === "function") return
    search.path.push(name)
    visit(member, search)
    search.path.pop()
  }
  return (value, search) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an object
    const record = value as Readonly<Record<string, unknown>>
    search.scopes.push({ value: record, names, depth: search.path.length })
    if (others.length > 0 || (search.byKeys && members.length > 1)) {
      for (const name of Object.keys(record)) {
        const visit = byName.get(name)
        if (visit !== undefined) visitMember(name, record[name], visit, search)
        else if (!names.has(name))
          for (const other of others)
            if (other.accepts(name)) visitMember(name, record[name], other.visit, search)
      }
    } else for (const { name, visit } of members) visitMember(name, record[name], visit, search)
    search.scopes.pop()
  }
}

/** True for the keys of an index signature. */
const acceptor = (parameter: SchemaAST.AST): ((name: string) => boolean) => {
  const encoded = encodedForm(parameter)
  return encoded._tag === "String" && encoded.checks === undefined ? () => true : fitting(parameter)
}

const array = ({ elements, rest }: SchemaAST.Arrays): Visit => {
  const first = elements.map(visitorOf)
  const [every, ...last] = rest.map(visitorOf)
  return (value, search) => {
    if (!Array.isArray(value)) return
    const end = value.length - last.length
    for (let index = 0; index < value.length; index++) {
      const visit =
        index < first.length ? first[index] : index < end ? every : last[index - Math.max(end, first.length)]
      if (visit === undefined) continue
      search.path.push(index)
      visit(value[index], search)
      search.path.pop()
    }
  }
}

/**
 * The fields of all members that the value fits, because the one that was encoded cannot be told from the others. So a field that
 * only one of them marks is sealed too.
 */
const union = ({ types }: SchemaAST.Union): Visit => {
  const members = types.flatMap((type) => {
    const visit = visitorOf(type)
    return visit === undefined ? [] : [{ fits: fitting(type), visit }]
  })
  return (value, search) => {
    const before = search.fields.length
    let fitted = 0
    for (const { fits, visit } of members) {
      if (!fits(value)) continue
      visit(value, search)
      fitted++
    }
    if (fitted > 1)
      search.fields = [...search.fields.slice(0, before), ...outermost(search.fields.slice(before))]
  }
}

/** Without fields that occur twice or are inside of another one. */
const outermost = (fields: ReadonlyArray<PersonalField>): ReadonlyArray<PersonalField> =>
  fields.filter(
    ({ path }, index) =>
      !fields.some(
        (other, at) =>
          at !== index &&
          other.path.every((key, depth) => key === path[depth]) &&
          (other.path.length < path.length || at < index)
      )
  )

/** True for values that a part of a codec decodes. */
const fitting = (ast: SchemaAST.AST): ((value: unknown) => boolean) => {
  const decode = SchemaParser.decodeUnknownResult(Schema.make<Schema.Codec<unknown>>(ast))
  return (value) => Result.isSuccess(decode(value))
}

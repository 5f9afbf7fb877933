/** The import graph of `src`: rooms, and the files that each may import. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

const source = fileURLToPath(new URL("../src", import.meta.url))

const Lists = Schema.Struct({
  rooms: Schema.Array(Schema.String),
  opened: Schema.Array(Schema.String)
})

/** The lists of the linter: rooms from the top, and private files that another room may import. */
const lists = Schema.decodeUnknownSync(Lists)(
  await import(new URL("../oxlint.config.mjs", import.meta.url).href)
)
const rooms = ["index.ts", "EventSourcing.ts", ...lists.rooms]
const opened = new Set(lists.opened.map((file) => `${file}.ts`))

const files = readdirSync(source, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.split(Path.sep).join("/"))
  .toSorted()

const textOf = new Map(files.map((file) => [file, readFileSync(Path.join(source, file), "utf8")]))

/** The specifiers of a module's imports and re-exports, of types too. */
const importsOf = (file: string): ReadonlyArray<string> =>
  [
    ...(textOf.get(file) ?? "").matchAll(/^(?:import|export)\s[^"]*?from "([^"]+)"|\bimport\("([^"]+)"\)/gm)
  ].map(([, named, dynamic]) => named ?? dynamic ?? "")

const resolve = (from: string, specifier: string): string =>
  Path.posix.join(Path.posix.dirname(from), specifier)

const graph: ReadonlyMap<string, ReadonlyArray<string>> = new Map(
  files.map((file) => [
    file,
    importsOf(file)
      .filter((specifier) => specifier.startsWith("."))
      .map((specifier) => resolve(file, specifier))
  ])
)

const arrows = [...graph].flatMap(([from, targets]) => targets.map((to) => ({ from, to })))
const roomOf = (file: string): string => file.split("/")[0] ?? file
const heightOf = (file: string): number => rooms.indexOf(roomOf(file))
const isPrivate = (file: string): boolean =>
  /^[a-z]/.test(Path.posix.basename(file)) && !file.endsWith("index.ts")
const show = ({ from, to }: (typeof arrows)[number]): string => `${from} -> ${to}`

/** A circular path, if there is one (depth-first search). */
const circle = (): ReadonlyArray<string> | undefined => {
  const done = new Set<string>()
  const walk = (file: string, path: ReadonlyArray<string>): ReadonlyArray<string> | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (done.has(file)) return undefined
    for (const target of graph.get(file) ?? []) {
      const found = walk(target, [...path, file])
      if (found !== undefined) return found
    }
    done.add(file)
    return undefined
  }
  for (const file of files) {
    const found = walk(file, [])
    if (found !== undefined) return found
  }
  return undefined
}

describe("the rooms of src", () => {
  it("are all known, and every import leads to a file", () => {
    assert.deepStrictEqual(
      files.filter((file) => heightOf(file) < 0),
      []
    )
    assert.deepStrictEqual(arrows.filter(({ to }) => !textOf.has(to)).map(show), [])
    assert.isAbove(arrows.length, 500)
  })

  it("import only rooms below them", () => {
    const up = arrows.filter(({ from, to }) => heightOf(to) < heightOf(from))
    assert.deepStrictEqual(up.map(show), [])
  })

  it("have no circle of imports, not even of types", () => {
    assert.isUndefined(circle())
  })

  it("import private files of other rooms only as listed, and the list has no others", () => {
    const crossing = arrows.filter(
      ({ from, to }) =>
        roomOf(from) !== roomOf(to) &&
        roomOf(to) !== "internal" &&
        roomOf(from) !== "index.ts" &&
        isPrivate(to)
    )
    assert.deepStrictEqual(crossing.filter(({ to }) => !opened.has(to)).map(show), [])
    const used = new Set(crossing.map(({ to }) => to))
    assert.deepStrictEqual(
      [...opened].filter((file) => !used.has(file)),
      []
    )
  })

  it("know PostgreSQL only in pg: its client and SQLSTATEs", () => {
    const elsewhere = files.filter((file) => !/^(pg|testing|cli)\//.test(file))
    assert.deepStrictEqual(
      elsewhere.filter((file) =>
        importsOf(file).some((specifier) => /^(@effect\/sql-pg|@electric-sql)/.test(specifier))
      ),
      []
    )
    // Five digits and capitals in quotes, at least one digit: "23505", "57P01".
    const quoted = elsewhere.filter((file) =>
      /"(?=[0-9A-Z]*[0-9])[0-9][0-9A-Z]{4}"/.test(textOf.get(file) ?? "")
    )
    const importing = elsewhere.filter((file) => graph.get(file)?.some((to) => roomOf(to) === "pg"))
    assert.deepStrictEqual(
      [...quoted, ...importing].filter((file) => file !== "index.ts"),
      []
    )
  })

  it("do not import the memory driver in pg", () => {
    assert.deepStrictEqual(
      arrows.filter(({ from, to }) => roomOf(from) === "pg" && roomOf(to) === "memory").map(show),
      []
    )
  })

  it("keep the ground small and without events", () => {
    const ground = files.filter((file) => roomOf(file) === "internal")
    const lines = ground.reduce((sum, file) => sum + (textOf.get(file) ?? "").split("\n").length, 0)
    assert.isBelow(lines, 700)
    assert.deepStrictEqual(
      arrows.filter(({ from, to }) => roomOf(from) === "internal" && roomOf(to) !== "internal").map(show),
      []
    )
  })
})

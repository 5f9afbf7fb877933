import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { existsSync } from "node:fs"
import { readFile, rm, writeFile } from "node:fs/promises"
import * as Path from "node:path"
import { brokenLinks, compile, type Compiled, missingNames, outputOf, root } from "./support/snippets.ts"

const file = Path.join(root, "README.md")
const readme = existsSync(file) ? await readFile(file, "utf8") : undefined

/** A snippet, with the output after it if it is a program. */
interface Snippet {
  readonly code: string
  readonly output: string | undefined
}

/** The snippets in TypeScript. A marked one continues those before it. */
const snippetsOf = (text: string): ReadonlyArray<Snippet> => {
  const found: Array<Snippet> = []
  for (const match of text.matchAll(
    /(^<!-- continues -->\n+)?^```ts\n(.*?)^```\n(?:\n*```text\n(.*?)^```)?/gms
  )) {
    const [, continues, code = "", output] = match
    const before = continues === undefined ? "" : (found.at(-1)?.code ?? "")
    found.push({ code: `${before}${code}`, output })
  }
  return found
}

describe.skipIf(readme === undefined)("the README", () => {
  const text = readme ?? ""
  const snippets = snippetsOf(text)
  const program = snippets[0]?.code ?? ""
  /** Variants of the program, each without one of its tenants. */
  const forgetful = [...program.matchAll(/Tenant\.provide\(\w+\)/g)].map(({ index, 0: { length } }) =>
    [program.slice(0, index), "Effect.map((value) => value)", program.slice(index + length)].join("")
  )
  let compiled: Compiled = { directory: "", errors: [] }

  beforeAll(async () => {
    compiled = await compile({
      ...Object.fromEntries(snippets.map(({ code }, index) => [`snippet${index}.ts`, code])),
      ...Object.fromEntries(forgetful.map((code, index) => [`forgetful${index}.ts`, code]))
    })
  })

  afterAll(() => rm(compiled.directory, { recursive: true, force: true }))

  it("has snippets that compile", () => {
    assert.isNotEmpty(snippets)
    assert.deepStrictEqual(
      compiled.errors.filter((line) => !/^(forgetful| )/.test(line)),
      []
    )
  })

  it("shows the error for a forgotten tenant, in the last line of the program", () => {
    assert.isAbove(forgetful.length, 1)
    const message = "Type 'CurrentTenant' is not assignable to type 'never'."
    assert.include(text, message)
    const { errors } = compiled
    const last = program.trimEnd().split("\n").length
    for (const index of forgetful.keys()) {
      const own = errors.findIndex((line) => line.startsWith(`forgetful${index}.ts(`))
      assert.match(errors[own] ?? "", new RegExp(`^forgetful${index}\\.ts\\(${last},`))
      const next = errors.findIndex((line, at) => at > own && !line.startsWith(" "))
      assert.include(errors.slice(own, next === -1 ? undefined : next).join("\n"), message)
    }
  })

  // package.test.ts runs the first program, with the package installed as by a user.
  it.each(snippets.slice(1).filter(({ output }) => output !== undefined))(
    "has a program that says $output",
    async ({ code, output }) => {
      await writeFile(Path.join(compiled.directory, "program.ts"), code)
      assert.strictEqual(await outputOf(compiled, "program.ts"), output)
    }
  )

  it("quotes its examples exactly", async () => {
    const quotes = [...text.matchAll(/\]\((examples\/\S+)\):\n\n^```typescript\n(.*?)^```/gms)]
    assert.lengthOf(quotes, [...text.matchAll(/^```typescript$/gm)].length)
    for (const [, example = "", code = ""] of quotes) {
      const source = await readFile(Path.join(root, example), "utf8")
      const lines = new Set(source.split("\n").map((line) => line.trim()))
      const quoted = code.split("\n").map((line) => line.trim())
      assert.deepStrictEqual(
        quoted.filter((line) => !lines.has(line)),
        []
      )
    }
  })

  it("names only exports that exist", () => {
    assert.deepStrictEqual(missingNames(text), [])
  })

  it("links only to files and headings that exist", () => {
    assert.deepStrictEqual(brokenLinks(file), [])
  })
})

import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { rm } from "node:fs/promises"
import * as Path from "node:path"
import { brokenLinks, compile, type Compiled, missingNames, outputOf, root } from "./support/snippets.ts"

interface Snippet {
  readonly code: string
  /** The expected compiler error, for a snippet that does not compile. */
  readonly error: string | undefined
  /** The output of the page up to here, if it states one. */
  readonly output: string | undefined
}

const snippetsOf = (text: string): ReadonlyArray<Snippet> =>
  [
    ...text.matchAll(/(?:^<!-- error: ([^\n]*) -->\n+)?^```ts\n(.*?)^```\n(?:\n*^```text\n(.*?)^```)?/gms)
  ].map(([, error, code = "", output]) => ({ code, error, output: error === undefined ? output : undefined }))

const docs = readdirSync(Path.join(root, "docs")).filter((file) => file.endsWith(".md"))

/** A page of the documentation, and the names of its programs. */
const pages = ["AGENTS.md", ...docs.map((file) => `docs/${file}`)].map((name) => {
  const text = readFileSync(Path.join(root, name), "utf8")
  const snippets = snippetsOf(text)
  const slug = name.replaceAll(/\W/g, "-")
  /** The program of a page from its beginning to a snippet, without the snippets that do not compile. */
  const upTo = (end: number) =>
    snippets
      .filter(({ error }, index) => index < end && error === undefined)
      .map(({ code }) => code)
      .join("\n")
  return {
    name,
    text,
    program: { file: `${slug}.ts`, code: upTo(snippets.length) },
    wrong: snippets.flatMap(({ code, error }, index) =>
      error === undefined
        ? []
        : [{ error, file: `${slug}-wrong${index}.ts`, code: `${upTo(index)}\n${code}` }]
    ),
    output: snippets.find((snippet) => snippet.output !== undefined)?.output,
    hasSnippets: snippets.length > 0
  }
})

let compiled: Compiled = { directory: "", errors: [] }

// All pages at once: the compiler spends most of its time on the sources.
beforeAll(async () => {
  compiled = await compile(
    Object.fromEntries(
      pages
        .filter(({ hasSnippets }) => hasSnippets)
        .flatMap(({ program, wrong }) => [program, ...wrong].map(({ code, file }) => [file, code]))
    )
  )
})

afterAll(() => rm(compiled.directory, { recursive: true, force: true }))

describe.each(pages)("$name", ({ hasSnippets, name, output, program, text, wrong }) => {
  it.runIf(hasSnippets)("is one program, except for snippets that show an error", async () => {
    assert.deepStrictEqual(
      compiled.errors.filter((line) => line.startsWith(`${program.file}(`)),
      []
    )
    for (const { error, file } of wrong) {
      const said = compiled.errors.find(
        (line) => line.startsWith(`${file}(`) && !/ TS61(?:33|9[26]):/.test(line)
      )
      assert.include(said, error, file)
    }
    if (output !== undefined) assert.strictEqual(await outputOf(compiled, program.file), output)
  })

  it("names only exports that exist", () => {
    assert.deepStrictEqual(missingNames(text), [])
  })

  it("links only to files and headings that exist", () => {
    assert.deepStrictEqual(brokenLinks(Path.join(root, name)), [])
  })
})

it("is compiled without an error of any other file", () => {
  const known = pages.flatMap(({ program, wrong }) => [program, ...wrong].map(({ file }) => file))
  assert.deepStrictEqual(
    compiled.errors.filter(
      (line) => !line.startsWith(" ") && !known.some((file) => line.startsWith(`${file}(`))
    ),
    []
  )
})

import { assert, describe, it } from "@effect/vitest"
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
const pages = ["AGENTS.md", ...docs.map((file) => `docs/${file}`)]

describe.each(pages)("%s", (page) => {
  const text = readFileSync(Path.join(root, page), "utf8")
  const snippets = snippetsOf(text)

  it.runIf(snippets.length > 0)("is one program, except for snippets that show an error", async () => {
    const wrong = snippets.flatMap(({ error }, index) =>
      error === undefined ? [] : [{ error, file: `wrong${index}.ts`, index }]
    )
    /** The program of a page from its beginning to a snippet, without the snippets that do not compile. */
    const upTo = (end: number) =>
      snippets
        .filter(({ error }, index) => index < end && error === undefined)
        .map(({ code }) => code)
        .join("\n")
    const compiled: Compiled = await compile({
      "page.ts": upTo(snippets.length),
      ...Object.fromEntries(
        wrong.map(({ file, index }) => [file, `${upTo(index)}\n${snippets[index]?.code ?? ""}`])
      )
    })
    try {
      assert.deepStrictEqual(
        compiled.errors.filter((line) => !/^(wrong| )/.test(line)),
        []
      )
      for (const { error, file } of wrong) {
        const said = compiled.errors.findIndex(
          (line) => line.startsWith(`${file}(`) && !/ TS61(?:33|9[26]):/.test(line)
        )
        assert.isAtLeast(said, 0, file)
        assert.include(compiled.errors[said], error)
      }
      const output = snippets.find((snippet) => snippet.output !== undefined)?.output
      if (output !== undefined) assert.strictEqual(await outputOf(compiled, "page.ts"), output)
    } finally {
      await rm(compiled.directory, { recursive: true, force: true })
    }
  })

  it("names only exports that exist", () => {
    assert.deepStrictEqual(missingNames(text), [])
  })

  it("links only to files and headings that exist", () => {
    assert.deepStrictEqual(brokenLinks(Path.join(root, page)), [])
  })
})

import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { rm } from "node:fs/promises"
import * as Path from "node:path"
import { brokenLinks, compile, type Compiled, missingNames, root } from "./support/snippets.ts"

/** A snippet, and the error that it is to show, if it is one that does not compile. */
interface Snippet {
  readonly code: string
  readonly error: string | undefined
}

const snippetsOf = (text: string): ReadonlyArray<Snippet> =>
  [...text.matchAll(/(?:^<!-- error: (.*) -->\n+)?^```ts\n(.*?)^```/gms)].map(([, error, code = ""]) => ({
    code,
    error
  }))

const directory = Path.join(root, "docs")
const pages = readdirSync(directory).filter((file) => file.endsWith(".md"))

describe.each(pages)("docs/%s", (page) => {
  const text = readFileSync(Path.join(directory, page), "utf8")
  const snippets = snippetsOf(text)

  it.runIf(snippets.length > 0)("is one program, but for what is shown not to compile", async () => {
    const wrong = snippets.flatMap(({ error }, index) =>
      error === undefined ? [] : [{ error, file: `wrong${index}.ts`, index }]
    )
    /** A page is read from its beginning; what does not compile is not there for the rest of it. */
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
          (line) => line.startsWith(`${file}(`) && !line.includes("TS6133")
        )
        assert.isAtLeast(said, 0, file)
        assert.include(compiled.errors[said], error)
      }
    } finally {
      await rm(compiled.directory, { recursive: true, force: true })
    }
  })

  it("names only what there is", () => {
    assert.deepStrictEqual(missingNames(text), [])
  })

  it("links only to files that there are", () => {
    assert.deepStrictEqual(brokenLinks(text, directory), [])
  })
})

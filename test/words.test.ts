/** Sentences and names begin with their subject, and not with a word that only asks for it. */
import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import * as Path from "node:path"
import { root } from "./support/snippets.ts"

const word = "(?:what|whatever|who|whoever|whom|whose|whether|how|that)\\b"
const capital = word.replaceAll(/[a-z]+(?=[|)])/g, (text) =>
  text.replace(/^./, (letter) => letter.toUpperCase())
)

/** The beginning of a sentence: of a text, or after another sentence. */
const sentence = new RegExp(`(?:^|[.!?:)] )(${capital}[^.]{0,50})`, "g")
const declared = new RegExp(
  `\\b(?:const|let|function|class|interface|type|readonly) (${word.replace("\\b", "")}(?![a-z])\\w*)(?=\\s*[:=(<{?])`,
  "g"
)
/** The title of a test. One that begins with "that" or "whose" continues its group's title. */
const title = /\b(?:it|test|describe)(?:\.\w+)*\(\s*["`]((?:what|whatever|who|whoever|whether|how)\b.{0,50})/g

const filesIn = (folder: string, extension: string): ReadonlyArray<string> =>
  readdirSync(Path.join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(extension))
    .map((entry) => Path.relative(root, Path.join(entry.parentPath, entry.name)))
    .filter((file) => !file.startsWith("test/released") && !file.includes("node_modules"))

/** The comments of a program or of SQL, each as one line. */
const commentsOf = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/\/\*\*?([^]*?)\*\/|(?:(?:^|\s)(?:\/\/|--) [^\n]*(?:\n\s*(?:\/\/|--) [^\n]*)*)/g)]
    .flatMap(([comment]) => comment.split(/\n\s*\*?\s*\n/))
    .map((part) =>
      part
        .replaceAll(/(?:^|\n)\s*(?:\/\*\*?|\*\/?|\/\/|--)\s?|\*\/\s*$/g, " ")
        .replaceAll(/\s+/g, " ")
        .trim()
    )

/** The paragraphs, headings and cells of a page, without its code. */
const partsOf = (page: string): ReadonlyArray<string> =>
  page
    .replaceAll(/^```[^]*?^```$/gm, "")
    .split(/\n(?=\s*(?:\n|#|[-|]|\d+\.))|\|/)
    .map((part) => part.replaceAll(/\s+/g, " ").replace(/^[\s#*>-]*(?:\d+\. )?/, ""))

/** A program without its comments. */
const codeOf = (text: string): string => text.replaceAll(/\/\*[^]*?\*\/|\/\/ [^\n]*/g, "")

const matches = (parts: ReadonlyArray<string>, pattern: RegExp): ReadonlyArray<string> =>
  parts.flatMap((part) => [...part.matchAll(pattern)].map(([, found = ""]) => found))

const found = (files: ReadonlyArray<string>, inFile: (text: string) => ReadonlyArray<string>) =>
  files.flatMap((file) =>
    inFile(readFileSync(Path.join(root, file), "utf8")).map((text) => `${file}: ${text}`)
  )

describe("no sentence and no name begins with what, who, whether, how or that", () => {
  it("in the sources", () => {
    const folders = ["src", "bench", "examples", "scripts"]
    const files = [...folders.flatMap((folder) => filesIn(folder, ".ts")), ...filesIn("migrations", ".sql")]
    assert.isAbove(files.length, 200)
    assert.deepStrictEqual(
      found(files, (text) => [...matches(commentsOf(text), sentence), ...matches([codeOf(text)], declared)]),
      []
    )
  })

  it("in the pages", () => {
    const pages = ["README.md", "AGENTS.md", "CONTRIBUTING.md", ...filesIn("docs", ".md")]
    assert.deepStrictEqual(
      found(pages, (text) => matches(partsOf(text), sentence)),
      []
    )
  })

  it("in the tests", () => {
    const files = filesIn("test", ".ts")
    assert.deepStrictEqual(
      found(files, (text) => [
        ...matches(commentsOf(text), sentence),
        ...matches([codeOf(text)], title),
        ...matches([codeOf(text)], declared)
      ]),
      []
    )
  })
})

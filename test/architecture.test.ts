/** Compares docs/architecture.md with the tree. */
import { assert, describe, it } from "@effect/vitest"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import * as Path from "node:path"
import { root } from "./support/snippets.ts"

const page = readFileSync(Path.join(root, "docs/architecture.md"), "utf8")

describe("docs/architecture.md", () => {
  it("names files that exist", () => {
    const files = [...page.matchAll(/`([\w/.]+\.(?:ts|sql|mjs))`/g)].map(([, file = ""]) => file)
    assert.isAbove(files.length, 20)
    assert.deepStrictEqual(
      files
        .filter((file) => !["src", ""].some((folder) => existsSync(Path.join(root, folder, file))))
        .filter(
          // Names of kinds of files, in the sentence about them.
          (file) => file !== "PascalCase.ts" && file !== "camelCase.ts"
        ),
      []
    )
  })

  it("draws every room of src", () => {
    const rooms = readdirSync(Path.join(root, "src"), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
    for (const room of rooms) assert.include(page, `${room}["${room}: `, room)
  })

  it("walks through at most eight steps", () => {
    const walks = page.split(/^## /m).slice(1)
    assert.lengthOf(walks, 3)
    for (const walk of walks) assert.isAtMost([...walk.matchAll(/^\d+\. /gm)].length, 8)
  })
})

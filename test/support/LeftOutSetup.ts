/** Lists the omitted tests at the end of a run, so that nobody mistakes `npm test` for all tests. */
import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { TestProject } from "vitest/node"

const tests = fileURLToPath(new URL("..", import.meta.url))

const setup = (project: TestProject): (() => void) => {
  const long = readdirSync(tests, { recursive: true, encoding: "utf8" }).filter((file) =>
    file.endsWith(".long.test.ts")
  )
  return () => {
    if (project.vite.config.mode !== "test") return
    console.log(
      `\nLeft out, as it takes long (npm run test:long): ${long.length} files${long.map((file) => `\n  test/${file}`).join("")}` +
        "\nand the mutants of the predicates (test/pg/mutation.test.ts), more rounds of the crash tests and properties, more histories of " +
        "repositories, more cases of the tests of isolation, and PGlite " +
        "below all that is built on the drivers."
    )
  }
}

export default setup

import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Root from "effect-eventsourcing"
import * as Pg from "effect-eventsourcing/pg"
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const file = Path.join(root, "README.md")
const readme = existsSync(file) ? await readFile(file, "utf8") : undefined

/** A snippet, and the output that follows it, if it is a program. */
interface Snippet {
  readonly code: string
  readonly output: string | undefined
}

/** The snippets in TypeScript. One without imports continues those before it. */
const snippetsOf = (text: string): ReadonlyArray<Snippet> => {
  const found: Array<Snippet> = []
  for (const match of text.matchAll(/^```ts\n(.*?)^```\n(?:\n*```text\n(.*?)^```)?/gms)) {
    const [, code = "", output] = match
    const before = /^import /m.test(code) ? "" : (found.at(-1)?.code ?? "")
    found.push({ code: `${before}${code}`, output })
  }
  return found
}

const run = (cwd: string, ...args: ReadonlyArray<string>): Promise<{ status: number; output: string }> =>
  new Promise((resolve) => {
    const child = execFile(process.execPath, args, { cwd }, (_error, stdout, stderr) =>
      resolve({ status: child.exitCode ?? 1, output: `${stdout}${stderr}` })
    )
  })

const bin = (name: string, path: string): string =>
  createRequire(import.meta.url)
    .resolve(`${name}/package.json`)
    .replace("package.json", path)

describe.skipIf(readme === undefined)("the README", () => {
  const text = readme ?? ""
  const snippets = snippetsOf(text)
  const program = snippets[0]?.code ?? ""
  /** The program, with one of its tenants left out after another. */
  const forgetful = [...program.matchAll(/Tenant\.provide\(\w+\)/g)].map(({ index, 0: { length } }) =>
    [program.slice(0, index), "Effect.map((value) => value)", program.slice(index + length)].join("")
  )
  let directory = ""
  let errors: ReadonlyArray<string> = []

  beforeAll(async () => {
    directory = await mkdtemp(Path.join(tmpdir(), "effect-eventsourcing-readme-"))
    await symlink(Path.join(root, "node_modules"), Path.join(directory, "node_modules"), "junction")
    await writeFile(Path.join(directory, "package.json"), `{ "type": "module" }`)
    const files: Array<string> = []
    const write = async (name: string, code: string) => {
      files.push(name)
      await writeFile(Path.join(directory, name), code)
    }
    for (const [index, { code }] of snippets.entries()) await write(`snippet${index}.ts`, code)
    for (const [index, code] of forgetful.entries()) await write(`forgetful${index}.ts`, code)
    const config = {
      extends: Path.join(root, "tsconfig.json"),
      compilerOptions: { typeRoots: [Path.join(root, "node_modules/@types")] },
      files,
      include: [],
      exclude: []
    }
    await writeFile(Path.join(directory, "tsconfig.json"), JSON.stringify(config))
    const { output } = await run(directory, bin("typescript", "bin/tsc"), "--pretty", "false")
    errors = output.split("\n").filter((line) => line !== "")
  })

  afterAll(() => rm(directory, { recursive: true, force: true }))

  it("has snippets that compile", () => {
    assert.isNotEmpty(snippets)
    assert.deepStrictEqual(
      errors.filter((line) => !/^(forgetful| )/.test(line)),
      []
    )
  })

  it("shows the error that a forgotten tenant is, in the last line of the program", () => {
    assert.isAbove(forgetful.length, 1)
    const message = "Type 'CurrentTenant' is not assignable to type 'never'."
    assert.include(text, message)
    const last = program.trimEnd().split("\n").length
    for (const index of forgetful.keys()) {
      const own = errors.findIndex((line) => line.startsWith(`forgetful${index}.ts(`))
      assert.match(errors[own] ?? "", new RegExp(`^forgetful${index}\\.ts\\(${last},`))
      const next = errors.findIndex((line, at) => at > own && !line.startsWith(" "))
      assert.include(errors.slice(own, next === -1 ? undefined : next).join("\n"), message)
    }
  })

  // The first program is run where the package is installed as a user does it: in package.test.ts.
  it.each(snippets.slice(1).filter(({ output }) => output !== undefined))(
    "has a program that says $output",
    async ({ code, output }) => {
      const path = Path.join(directory, "program.ts")
      await writeFile(path, code)
      const tsx = bin("tsx", "dist/cli.mjs")
      const { output: said, status } = await run(
        directory,
        tsx,
        "--tsconfig",
        Path.join(root, "tsconfig.json"),
        path
      )
      assert.strictEqual(status, 0, said)
      assert.strictEqual(said.trim(), output?.trim())
    }
  )

  it("names only what there is", () => {
    const modules: Readonly<Record<string, object | undefined>> = { ...Root, ...Pg }
    const missing = [...text.matchAll(/`(?:yield\* )?([A-Z]\w+)\.(\w+)/g)].flatMap(
      ([, module = "", name = ""]) => {
        const exported = modules[module]
        return exported === undefined || name in exported ? [] : [`${module}.${name}`]
      }
    )
    assert.deepStrictEqual(missing, [])
  })

  it("links only to files that there are", () => {
    const links = [...text.matchAll(/\]\(([^)#:]+)\)/g)].map(([, link = ""]) => link)
    assert.deepStrictEqual(
      links.filter((link) => !existsSync(Path.join(root, link))),
      []
    )
  })
})

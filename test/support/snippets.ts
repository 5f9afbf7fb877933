/** Compiles code from documentation as a user would, against the sources. */
import * as Root from "effect-eventsourcing"
import * as Http from "effect-eventsourcing/http"
import * as Operations from "effect-eventsourcing/operations"
import * as Pg from "effect-eventsourcing/pg"
import * as Testing from "effect-eventsourcing/testing"
import { assert } from "@effect/vitest"
import { execFile } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { mkdtemp, symlink, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

/** The root of the package. */
export const root: string = fileURLToPath(new URL("../..", import.meta.url))

/** Runs a Node program. Returns both of its outputs. */
const run = (
  cwd: string,
  ...args: ReadonlyArray<string>
): Promise<{ readonly status: number; readonly output: string }> =>
  new Promise((resolve) => {
    const child = execFile(process.execPath, args, { cwd }, (_error, stdout, stderr) =>
      resolve({ status: child.exitCode ?? 1, output: `${stdout}${stderr}` })
    )
  })

/** The path of a program of an installed package. */
const bin = (name: string, path: string): string =>
  createRequire(import.meta.url)
    .resolve(`${name}/package.json`)
    .replace("package.json", path)

/** The source of each public module, by its name. */
const sources: ReadonlyMap<string, string> = new Map(
  ["src", "src/http", "src/pg", "src/testing"].flatMap((directory) =>
    [
      ...readFileSync(Path.join(root, directory, "index.ts"), "utf8").matchAll(
        /^export \* as (\w+) from "(.*)"$/gm
      )
    ].map(([, module = "", path = ""]) => [module, readFileSync(Path.join(root, directory, path), "utf8")])
  )
)

/** Code in a text of the form `Module.name` whose module has neither an export nor a member of that name. */
export const missingNames = (text: string): ReadonlyArray<string> => {
  const modules: Readonly<Record<string, object | undefined>> = {
    ...Root,
    ...Http,
    ...Operations,
    ...Pg,
    ...Testing
  }
  return [...text.matchAll(/`(?:yield\* )?([A-Z]\w+)\.(\w+)/g)].flatMap(([, module = "", name = ""]) => {
    const exported = modules[module]
    const isMember = new RegExp(`^ +readonly ${name}\\b`, "m").test(sources.get(module) ?? "")
    return exported === undefined || name in exported || isMember ? [] : [`${module}.${name}`]
  })
}

/** The anchors of a page's headings. */
const anchorsOf = (page: string): ReadonlyArray<string> =>
  [...readFileSync(page, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, "")
      .replaceAll(" ", "-")
  )

/** Links of a page to files or headings that do not exist. */
export const brokenLinks = (page: string): ReadonlyArray<string> =>
  [...readFileSync(page, "utf8").matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link = ""]) => link)
    .filter((link) => {
      if (/^\w+:/.test(link)) return false
      const [file = "", anchor] = link.split("#")
      const target = file === "" ? page : Path.join(Path.dirname(page), file)
      return !existsSync(target) || (anchor !== undefined && !anchorsOf(target).includes(anchor))
    })

/** A directory with the files, and the lines that the compiler prints about them. */
export interface Compiled {
  readonly directory: string
  readonly errors: ReadonlyArray<string>
}

/** Writes files to a temporary directory, which the caller removes, and compiles them. */
export const compile = async (files: Readonly<Record<string, string>>): Promise<Compiled> => {
  const directory = await mkdtemp(Path.join(tmpdir(), "effect-eventsourcing-docs-"))
  await symlink(Path.join(root, "node_modules"), Path.join(directory, "node_modules"), "junction")
  await writeFile(Path.join(directory, "package.json"), `{ "type": "module" }`)
  for (const [name, code] of Object.entries(files)) await writeFile(Path.join(directory, name), code)
  const config = {
    extends: Path.join(root, "tsconfig.json"),
    compilerOptions: { typeRoots: [Path.join(root, "node_modules/@types")] },
    files: Object.keys(files),
    include: [],
    exclude: []
  }
  await writeFile(Path.join(directory, "tsconfig.json"), JSON.stringify(config))
  const { output } = await run(directory, bin("typescript", "bin/tsc"), "--pretty", "false")
  return { directory, errors: output.split("\n").filter((line) => line !== "") }
}

/** The output of a compiled program. Fails the test if the program fails. */
export const outputOf = async ({ directory }: Compiled, file: string): Promise<string> => {
  const { output, status } = await run(
    directory,
    bin("tsx", "dist/cli.mjs"),
    "--tsconfig",
    Path.join(root, "tsconfig.json"),
    Path.join(directory, file)
  )
  assert.strictEqual(status, 0, output)
  return output
}

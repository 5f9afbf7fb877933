/** Code from documentation: compiled as a user would, against the sources. */
import * as Root from "effect-eventsourcing"
import * as Http from "effect-eventsourcing/http"
import * as Pg from "effect-eventsourcing/pg"
import * as Testing from "effect-eventsourcing/testing"
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdtemp, symlink, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

/** The root of the package. */
export const root: string = fileURLToPath(new URL("../..", import.meta.url))

/** Runs a program of Node's, and gives what it says on both of its outputs. */
export const run = (
  cwd: string,
  ...args: ReadonlyArray<string>
): Promise<{ readonly status: number; readonly output: string }> =>
  new Promise((resolve) => {
    const child = execFile(process.execPath, args, { cwd }, (_error, stdout, stderr) =>
      resolve({ status: child.exitCode ?? 1, output: `${stdout}${stderr}` })
    )
  })

/** The path of a program of an installed package. */
export const bin = (name: string, path: string): string =>
  createRequire(import.meta.url)
    .resolve(`${name}/package.json`)
    .replace("package.json", path)

/** What a text names in code as `Module.name` that its module does not export. */
export const missingNames = (text: string): ReadonlyArray<string> => {
  const modules: Readonly<Record<string, object | undefined>> = { ...Root, ...Http, ...Pg, ...Testing }
  return [...text.matchAll(/`(?:yield\* )?([A-Z]\w+)\.(\w+)/g)].flatMap(([, module = "", name = ""]) => {
    const exported = modules[module]
    return exported === undefined || name in exported ? [] : [`${module}.${name}`]
  })
}

/** Where a text in a directory links to files that are not there. */
export const brokenLinks = (text: string, directory: string): ReadonlyArray<string> =>
  [...text.matchAll(/\]\(([^)#:]+)\)/g)]
    .map(([, link = ""]) => link)
    .filter((link) => !existsSync(Path.join(directory, link)))

/** A directory with the files, and what the compiler says about them, line by line. */
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

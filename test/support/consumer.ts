/** The package in a user's project: installed from its tarball into an empty folder, with the README's first program. */
import { assert } from "@effect/vitest"
import { execFile } from "node:child_process"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { cp, mkdtemp, readFile, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

/** The root of this repository. */
export const root: string = fileURLToPath(new URL("../..", import.meta.url))
/** Files of a project that uses the package. */
export const fixture: string = Path.join(root, "test/fixtures/consumer")
export const packageName = "effect-eventsourcing"

/** The tarball that `npm test` has checked before, if its content has not changed since. */
const tarball = Path.join(root, ".cache/package.tgz")
const newest = (path: string): number => {
  const stats = statSync(path)
  return stats.isDirectory()
    ? Math.max(...readdirSync(path).map((name) => newest(Path.join(path, name))))
    : stats.mtimeMs
}
const contents = [
  "package.json",
  "README.md",
  ...(JSON.parse(readFileSync(Path.join(root, "package.json"), "utf8")) as Manifest).files
]
const isUpToDate =
  existsSync(tarball) &&
  contents.every(
    (name) => existsSync(Path.join(root, name)) && newest(Path.join(root, name)) <= statSync(tarball).mtimeMs
  ) &&
  // It contains the build of the present sources.
  newest(Path.join(root, "src")) <= newest(Path.join(root, "dist"))

interface Manifest {
  readonly files: ReadonlyArray<string>
  readonly name: string
  readonly version: string
  readonly devDependencies: Readonly<Record<string, string>>
}

interface Outcome {
  readonly status: number
  readonly output: string
}

/** Runs a program to its end, in an environment. */
export const runIn = (
  env: NodeJS.ProcessEnv,
  cwd: string,
  command: string,
  ...args: ReadonlyArray<string>
): Promise<Outcome> =>
  new Promise((resolve) => {
    const child = execFile(command, args, { cwd, env, maxBuffer: 1 << 26 }, (_error, stdout, stderr) =>
      resolve({ status: child.exitCode ?? 1, output: `${stdout}${stderr}` })
    )
  })

/** Runs a program to its end. */
export const run = (cwd: string, command: string, ...args: ReadonlyArray<string>): Promise<Outcome> => {
  // Without the variables of `npm test`, which would tie a nested npm to this package.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)))
  return runIn(env, cwd, command, ...args)
}

/** Runs a program that must succeed. Returns its output. */
export const succeed = async (
  cwd: string,
  command: string,
  ...args: ReadonlyArray<string>
): Promise<string> => {
  const { output, status } = await run(cwd, command, ...args)
  assert.strictEqual(status, 0, `${[command, ...args].join(" ")} failed:\n${output}`)
  return output
}

/** The first snippet of the README in the given language. */
const snippet = (readme: string, language: string): string | undefined =>
  new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "ms").exec(readme)?.[1]

/** A project with the package. */
export interface Consumer {
  /** Its folder, which the caller removes. */
  readonly directory: string
  /** The output of npm during the installation. */
  readonly installed: string
  /** The output of `out/program.js`, after `program.ts` is compiled. */
  readonly expected: string | undefined
}

/** Creates a project and installs the package and others, such as `typescript@5.4`. */
export const installPackage = async (...more: ReadonlyArray<string>): Promise<Consumer> => {
  const directory = await mkdtemp(Path.join(tmpdir(), "effect-eventsourcing-consumer-"))
  const manifest = JSON.parse(await readFile(Path.join(root, "package.json"), "utf8")) as Manifest
  const packed = `${manifest.name}-${manifest.version}.tgz`
  if (isUpToDate) await cp(tarball, Path.join(directory, packed))
  else await succeed(root, "npm", "pack", "--silent", "--pack-destination", directory)
  await writeFile(Path.join(directory, "package.json"), `{ "type": "module", "private": true }`)
  const peers = ["effect", "@effect/platform-node", "@effect/sql-pg", "@electric-sql/pglite", "@types/node"]
  const packages = [
    `./${packed}`,
    ...peers.map((name) => `${name}@${manifest.devDependencies[name]}`),
    ...more
  ]
  // All packages but the tarball are in npm's cache since `npm ci`.
  const options = ["--prefer-offline", "--no-audit", "--no-fund"]
  const installed = await succeed(directory, "npm", "install", ...options, ...packages)
  await cp(fixture, directory, { recursive: true })
  const readme = await readFile(Path.join(root, "README.md"), "utf8").catch(() => "")
  const program = snippet(readme, "ts")
  if (program !== undefined) await writeFile(Path.join(directory, "program.ts"), program)
  return { directory, installed, expected: snippet(readme, "text") }
}

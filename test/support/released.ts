/** Releases that `scripts/keep-release.ts` has kept in `test/released`, and programs that run on them or on the sources. */
import { PgClient } from "@effect/sql-pg"
import { assert } from "@effect/vitest"
import { Effect, Redacted, Schema, type Scope } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { execFileSync, spawn } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import type { Config } from "./Databases.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const folder = Path.join(root, "test/released")

/** A release, unpacked beside the packages it needs. */
export interface Release {
  /** The number of its schema. */
  readonly number: number
  /** The file of the program that is written for it. */
  readonly program: string
  /** The dump of its schema. */
  readonly schema: string
  /** The statements that create the roles of its schema. */
  readonly roles: string
}

/** The numbers of the releases that are kept. */
export const numbers: ReadonlyArray<number> = existsSync(folder)
  ? readdirSync(folder)
      .map(Number)
      .toSorted((a, b) => a - b)
  : []

/** Unpacks a release into a folder that is removed with the scope. */
export const unpacked = (number: number): Effect.Effect<Release, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(Path.join(tmpdir(), "effect-eventsourcing-released-"))),
      (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
    ),
    (directory) => {
      const kept = Path.join(folder, String(number))
      const modules = Path.join(directory, "node_modules")
      const own = Path.join(modules, "effect-eventsourcing")
      mkdirSync(own, { recursive: true })
      mkdirSync(Path.join(modules, "@effect"))
      for (const peer of ["effect", "@effect/sql-pg"])
        symlinkSync(Path.join(root, "node_modules", peer), Path.join(modules, peer))
      execFileSync("tar", ["-xzf", Path.join(kept, "package.tgz"), "-C", own, "--strip-components=1"])
      const program = Path.join(directory, "program.mjs")
      execFileSync("cp", [Path.join(kept, "program.mjs"), program])
      return {
        number,
        program,
        schema: readFileSync(Path.join(kept, "schema.sql"), "utf8"),
        roles: readFileSync(Path.join(own, "migrations/roles.sql"), "utf8")
      }
    }
  )

/** Runs a text with any number of statements on a separate connection. */
export const execute = (config: Config, text: string): Effect.Effect<void, SqlError.SqlError> =>
  SqlClient.SqlClient.use(
    (sql) => sql.unsafe(`do $outer$ begin execute $inner$${text}$inner$; end $outer$`).unprepared
  ).pipe(Effect.asVoid, Effect.provide(PgClient.layer({ ...config, maxConnections: 1 }), { local: true }))

/** An event that a program has reported as stored. */
const Acknowledged = Schema.Struct({
  tenantId: Schema.String,
  aggregateId: Schema.String,
  eventId: Schema.String,
  position: Schema.Int,
  version: Schema.Int,
  amount: Schema.Int
})

const Line = Schema.fromJsonString(
  Schema.Struct({
    ready: Schema.optionalKey(Schema.Boolean),
    done: Schema.optionalKey(Schema.Boolean),
    refused: Schema.optionalKey(Schema.String),
    failed: Schema.optionalKey(Schema.String),
    retried: Schema.optionalKey(Schema.String),
    acknowledged: Schema.optionalKey(Schema.Array(Acknowledged))
  })
)
const decodeLine = Schema.decodeUnknownSync(Line)

/** A running `rollingProgram.ts`. */
export interface Running {
  /** Its output so far. */
  readonly lines: () => ReadonlyArray<typeof Line.Type>
  /** All events that it has reported as stored. */
  readonly acknowledged: () => ReadonlyArray<typeof Acknowledged.Type>
  /** Waits for that many more acknowledged events. */
  readonly goesOn: (events: number) => Effect.Effect<void>
  /** Tells it to finish its current work, and waits for its end. */
  readonly stop: Effect.Effect<void>
  /** Waits for its end. */
  readonly ended: Effect.Effect<void>
}

/** Starts a program, which is killed with the scope, with Node or another runtime and its arguments. */
export const started = (
  program: string,
  name: string,
  config: Config,
  tenants: ReadonlyArray<string>,
  [runtime, ...runtimeArguments]: readonly [string, ...ReadonlyArray<string>] = [process.execPath]
): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { password } = config
      const settings = {
        ...config,
        name,
        tenants,
        password: Redacted.isRedacted(password) ? Redacted.value(password) : password
      }
      const child = spawn(runtime, [...runtimeArguments, program], {
        cwd: Path.dirname(program),
        env: { ...process.env, EVENTSOURCING_ROLLING: JSON.stringify(settings) },
        stdio: ["pipe", "pipe", "inherit"]
      })
      let said = ""
      child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text))
      const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
      const lines = () =>
        said
          .split("\n")
          .slice(0, -1)
          .map((line) => decodeLine(line))
      const acknowledged = () => lines().flatMap((line) => line.acknowledged ?? [])
      return {
        lines,
        acknowledged,
        goesOn: (events: number) =>
          Effect.gen(function* () {
            const target = acknowledged().length + events
            for (const deadline = Date.now() + 60_000; acknowledged().length < target;) {
              yield* Effect.sleep(20)
              const wrong = lines().find(
                ({ failed, refused }) => failed !== undefined || refused !== undefined
              )
              if (wrong !== undefined || Date.now() > deadline || child.exitCode !== null)
                assert.fail(`${name} does not continue: ${JSON.stringify(wrong ?? lines().at(-1))}`)
            }
          }),
        stop: Effect.promise(() => {
          child.stdin.end()
          return ended
        }),
        ended: Effect.promise(() => ended),
        kill: () => child.kill("SIGKILL")
      }
    }),
    ({ ended, kill }) =>
      Effect.suspend(() => {
        kill()
        return ended
      })
  )

import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Url from "node:url"
import * as PgliteLock from "../../src/pg/pglite/lock.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import { flipped } from "../../src/testing/failures.ts"
import { bundled } from "../support/programs.ts"

const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "eventsourcing-"))),
  (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
)

/** Opens a data directory while an effect runs. */
const opened =
  (dataDirectory: string) =>
  <A, E>(body: Effect.Effect<A, E, SqlClient.SqlClient>): Effect.Effect<A, E | PgEmbedded.PgEmbeddedError> =>
    Effect.provide(body, PgEmbedded.layerWith({ dataDirectory, migrate: false }), { local: true })

interface Child {
  readonly pid: number
  readonly line: (pattern: RegExp) => Promise<RegExpExecArray>
  readonly lines: () => string
  readonly ended: Promise<void>
}

/** A process that runs a program from its text, with the modules under test in scope. */
const child = (
  code: string,
  ...nodeArguments: ReadonlyArray<string>
): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const urlOf = async (path: string) =>
        JSON.stringify(Url.pathToFileURL(await bundled(path, { packages: "external" })).href)
      const program = `
        import { Effect } from "effect"
        import { SqlClient } from "effect/sql"
        import * as Fs from "node:fs"
        import * as PgEmbedded from ${await urlOf("src/pg/PgEmbedded.ts")}
        import * as PgliteLock from ${await urlOf("src/pg/pglite/lock.ts")}
        const say = (text) => Fs.writeSync(1, text + "\\n")
        ${code}`
      const process_ = ChildProcess.spawn(
        process.execPath,
        [...nodeArguments, "--input-type=module", "-e", program],
        { cwd: new URL("../..", import.meta.url), stdio: ["ignore", "pipe", "pipe"] }
      )
      let output = ""
      let problems = ""
      let check = () => {}
      process_.stdout.on("data", (data: Buffer) => {
        output += data.toString()
        check()
      })
      process_.stderr.on("data", (data: Buffer) => (problems += data.toString()))
      const ended = new Promise<void>((resolve) => process_.on("close", () => resolve()))
      return {
        process_,
        pid: process_.pid ?? 0,
        ended,
        lines: () => output,
        line: (pattern: RegExp) =>
          new Promise<RegExpExecArray>((resolve, reject) => {
            check = () => {
              const match = pattern.exec(output)
              if (match !== null) resolve(match)
            }
            check()
            void ended.then(() => reject(new Error(`the child ended: ${output}${problems}`)))
          })
      }
    }),
    ({ ended, process_ }) =>
      Effect.promise(() => {
        process_.kill("SIGKILL")
        return ended
      })
  )

const live = (name: string, body: () => Effect.Effect<void, unknown, Scope.Scope>): void =>
  it.live(name, () => body(), 60_000)

const insertNote = (text: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`create table if not exists notes (text text)`
    yield* sql`insert into notes values (${text})`
  })
const notes = Effect.flatMap(SqlClient.SqlClient, (sql) => sql<{ text: string }>`select text from notes`)

/** A lock left by a dead process: this one, as of an earlier start. */
const deadHolder = (token: string): string => {
  const probe = Fs.mkdtempSync(Path.join(Os.tmpdir(), "eventsourcing-"))
  const attempt = PgliteLock.acquire(probe)
  const content = Fs.readFileSync(Path.join(probe, PgliteLock.lockName), "utf8")
  if (attempt._tag === "Acquired") attempt.release()
  Fs.rmSync(probe, { recursive: true })
  return JSON.stringify({ ...(JSON.parse(content) as object), pid: 2 ** 22 + 1, token })
}

describe("PgEmbedded (PGlite) in a directory", () => {
  live("keeps data over a restart, in a directory for its owner alone", () =>
    Effect.gen(function* () {
      const directory = Path.join(yield* temporaryDirectory, "deep", "data")
      yield* opened(directory)(insertNote("kept"))
      assert.strictEqual(Fs.statSync(directory).mode & 0o777, 0o700)
      assert.deepStrictEqual(yield* opened(directory)(notes), [{ text: "kept" }])
      // 1: shut down in an orderly way
      assert.strictEqual(Fs.readFileSync(Path.join(directory, "global", "pg_control")).readInt32LE(16), 1)
      assert.deepStrictEqual(
        Fs.readdirSync(directory).filter((name) => name.startsWith("effect-")),
        []
      )
    })
  )

  live("30: does not keep a transaction that was open when the process ended", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const leaving = yield* child(`
        const program = Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql\`create table notes (text text)\`
          yield* sql\`insert into notes values ('committed')\`
          yield* sql.withTransaction(Effect.gen(function* () {
            yield* sql\`insert into notes values ('open')\`
            process.exit(0)
          }))
        })
        const layer = PgEmbedded.layerWith({ dataDirectory: ${JSON.stringify(directory)}, migrate: false })
        Effect.runPromise(Effect.provide(program, layer))`)
      yield* Effect.promise(() => leaving.ended)
      assert.deepStrictEqual(yield* opened(directory)(notes), [{ text: "committed" }])
    })
  )

  live("refuses a second opener in the same process, and lets it in afterwards", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const second = yield* opened(directory)(
        Effect.gen(function* () {
          yield* insertNote("first")
          const error = yield* flipped(opened(`${directory}/../${Path.basename(directory)}/`)(notes))
          assert.deepStrictEqual(yield* notes, [{ text: "first" }])
          return error
        })
      )
      assert.strictEqual(second._tag, "DataDirectoryInUse")
      assert.deepInclude(second, { directory, pid: process.pid })
      assert.include(second.message, directory)
      assert.include(second.message, String(process.pid))
      assert.deepStrictEqual(yield* opened(directory)(notes), [{ text: "first" }])
    })
  )

  live("refuses a second opener in another process", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const other = yield* child(`
        const dataDirectory = ${JSON.stringify(directory)}
        const program = Effect.flip(Effect.provide(SqlClient.SqlClient, PgEmbedded.layerWith({ dataDirectory, migrate: false })))
        process.stdin.unref?.()
        setTimeout(async () => {
          const error = await Effect.runPromise(program)
          say(error._tag + " " + error.pid + " " + error.directory)
        }, 0)`).pipe(
        // the child starts once the directory is open
        (spawned) =>
          opened(directory)(
            Effect.andThen(
              insertNote("first"),
              spawned.pipe(
                Effect.flatMap((running) => Effect.promise(() => running.line(/(\w+) (\d+) (.*)\n/))),
                Effect.scoped
              )
            )
          )
      )
      assert.deepStrictEqual(other.slice(1), ["DataDirectoryInUse", String(process.pid), directory])
    })
  )

  live("30: keeps what was committed when the process is killed, and takes its lock over", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const writer = yield* child(`
        const program = Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql\`create table numbers (n int primary key)\`
          for (let n = 1; ; n++) {
            yield* sql.withTransaction(sql\`insert into numbers values (\${n})\`)
            say("committed " + n)
          }
        })
        const layer = PgEmbedded.layerWith({ dataDirectory: ${JSON.stringify(directory)}, migrate: false })
        Effect.runPromise(Effect.provide(program, layer))`)
      yield* Effect.promise(() => writer.line(/committed 500\n/))
      const refused = yield* flipped(opened(directory)(Effect.void))
      assert.deepInclude(refused, { _tag: "DataDirectoryInUse", pid: writer.pid })
      process.kill(writer.pid, "SIGKILL")
      yield* Effect.promise(() => writer.ended)
      const committed = Number(/committed (\d+)\n$/.exec(writer.lines())?.[1])
      const [found] = yield* opened(directory)(
        Effect.flatMap(
          SqlClient.SqlClient,
          (sql) => sql<{ last: number; n: number }>`select max(n) as last, count(*)::int as n from numbers`
        )
      )
      // the last one may have been committed without being acknowledged
      assert.isAtLeast(committed, 500)
      assert.include([committed, committed + 1], found?.last)
      assert.strictEqual(found?.n, found?.last)
    })
  )

  live("gives the lock of a dead process to one of many", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const rounds = 40
      const token = (digit: string): string => `${digit.repeat(8)}-0000-0000-0000-000000000000`
      for (let round = 0; round < rounds; round++) {
        const lock = Path.join(directory, String(round), PgliteLock.lockName)
        Fs.mkdirSync(Path.dirname(lock))
        Fs.writeFileSync(lock, deadHolder(token("a")))
        // as left by a process that died while it took over the lock
        if (round % 2 === 1) Fs.writeFileSync(`${lock}.${token("a")}.claim`, deadHolder(token("b")))
      }
      const racers = yield* Effect.all(
        Array.from({ length: 5 }, () =>
          child(`
            const directory = ${JSON.stringify(directory)}
            say("ready")
            while (!Fs.existsSync(directory + "/go")) {}
            const begin = Number(Fs.readFileSync(directory + "/go", "utf8"))
            for (let round = 0; round < ${rounds}; round++) {
              while (Date.now() < begin + round * 20) {}
              const attempt = PgliteLock.acquire(directory + "/" + round)
              say("round " + round + " " + attempt._tag)
            }
            say("done")
            setInterval(() => {}, 1000)`)
        )
      )
      yield* Effect.promise(() => Promise.all(racers.map((racer) => racer.line(/ready\n/))))
      Fs.writeFileSync(Path.join(directory, "starting"), String(Date.now() + 100))
      Fs.renameSync(Path.join(directory, "starting"), Path.join(directory, "go"))
      yield* Effect.promise(() => Promise.all(racers.map((racer) => racer.line(/done\n/))))
      for (let round = 0; round < rounds; round++) {
        const winners = racers.filter((racer) => racer.lines().includes(`round ${round} Acquired\n`))
        assert.lengthOf(winners, 1, `round ${round}`)
        const folder = Path.join(directory, String(round))
        assert.deepStrictEqual(Fs.readdirSync(folder), [PgliteLock.lockName])
        assert.include(
          Fs.readFileSync(Path.join(folder, PgliteLock.lockName), "utf8"),
          `"pid":${winners[0]?.pid},`
        )
      }
    })
  )

  live("does not take over a lock that it cannot judge", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const lockFile = Path.join(directory, PgliteLock.lockName)
      const elsewhere = { pid: 7, host: "elsewhere", boot: "", started: "", token: "0".repeat(36) }
      Fs.writeFileSync(lockFile, JSON.stringify(elsewhere))
      const remote = yield* flipped(opened(directory)(Effect.void))
      assert.deepInclude(remote, { _tag: "DataDirectoryInUse", pid: 7, host: "elsewhere", lockFile })
      Fs.writeFileSync(lockFile, "what is this")
      const unreadable = yield* flipped(opened(directory)(Effect.void))
      assert.strictEqual(unreadable._tag, "DataDirectoryInUse")
      assert.include(unreadable.message, lockFile)
      Fs.rmSync(lockFile)
      yield* opened(directory)(insertNote("free"))
    })
  )

  live("makes a database anew that was not finished", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      for (const name of ["effect-eventsourcing.creating", "PG_VERSION"]) {
        Fs.writeFileSync(Path.join(directory, name), "")
      }
      yield* opened(directory)(insertNote("new"))
      assert.deepStrictEqual(yield* opened(directory)(notes), [{ text: "new" }])
    })
  )

  live("says what is wrong with a directory, and leaves it as it is", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const attempt = (name: string) => flipped(opened(Path.join(root, name))(Effect.void))

      Fs.mkdirSync(Path.join(root, "foreign"))
      Fs.writeFileSync(Path.join(root, "foreign", "thesis.txt"), "mine")
      const foreign = yield* attempt("foreign")
      assert.deepInclude(foreign, { _tag: "DataDirectoryUnusable", directory: Path.join(root, "foreign") })
      assert.include(foreign.message, "not a database")
      assert.deepStrictEqual(Fs.readdirSync(Path.join(root, "foreign")), ["thesis.txt"])

      Fs.writeFileSync(Path.join(root, "file"), "")
      assert.strictEqual((yield* attempt("file"))._tag, "DataDirectoryUnusable")
      assert.strictEqual((yield* attempt("file/below"))._tag, "DataDirectoryUnusable")

      yield* opened(Path.join(root, "damaged"))(insertNote("lost"))
      const control = Path.join(root, "damaged", "global", "pg_control")
      const intact = Fs.readFileSync(control)
      Fs.writeFileSync(control, "x".repeat(8192))
      const damaged = yield* attempt("damaged")
      assert.strictEqual(damaged._tag, "DataDirectoryUnusable")
      assert.include(damaged.message, "database files are incompatible with server")
      Fs.rmSync(control)
      assert.include((yield* attempt("damaged")).message, "pg_control")
      // the failed attempts have not removed the lock
      Fs.writeFileSync(control, intact)
      assert.deepStrictEqual(yield* opened(Path.join(root, "damaged"))(notes), [{ text: "lost" }])
    })
  )
})

describe("PgEmbedded without PGlite", () => {
  live("says what to install", () =>
    Effect.gen(function* () {
      const hook =
        "export const resolve = async (name, context, next) => {" +
        " if (name !== '@electric-sql/pglite') return next(name, context);" +
        " throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' }) }"
      const register = `import { register } from "node:module"; register("data:text/javascript," + encodeURIComponent(${JSON.stringify(hook)}))`
      const without = yield* child(
        `const error = await Effect.runPromise(Effect.flip(Effect.provide(SqlClient.SqlClient, PgEmbedded.layer)))
        say(error._tag + ": " + error.message)`,
        "--import",
        `data:text/javascript,${encodeURIComponent(register)}`
      )
      const [, text] = yield* Effect.promise(() => without.line(/PgliteNotInstalled: (.*)\n/))
      assert.include(text, "npm install @electric-sql/pglite")
    })
  )
})

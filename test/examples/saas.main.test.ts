import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { createServer } from "node:net"
import { promisify } from "node:util"
import { shops } from "../../examples/saas/Tokens.ts"
import { urlOf } from "../support/databaseUrl.ts"
import { servers } from "../support/Databases.ts"
import { bundled } from "../support/programs.ts"
import { root } from "./run.ts"

const { DATABASE_URL: _url, PORT: _port, NODE_ENV: _env, ...inherited } = process.env

interface Running {
  readonly child: ChildProcess
  readonly output: () => string
  readonly errors: () => string
  /** Its output when it listens or has ended. */
  readonly started: Promise<string>
  readonly ended: Promise<number | null>
}

const start = (program: ReadonlyArray<string>, environment: Record<string, string>): Running => {
  const child = spawn(process.execPath, program, {
    cwd: root,
    env: { ...inherited, PORT: "0", ...environment }
  })
  let output = ""
  let errors = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text))
  const ended = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)))
  const started = new Promise<string>((resolve) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text
      if (output.includes("Press Ctrl-C to stop")) resolve(output)
    })
    void ended.then(() => resolve(output))
  })
  return { child, output: () => output, errors: () => errors, started, ended }
}

const ending = (starting: () => Promise<Running>) =>
  Effect.acquireRelease(Effect.promise(starting), ({ child, ended }) =>
    Effect.promise(async () => {
      child.kill("SIGKILL")
      await ended
    })
  )

/** The program, run as in the README. */
const running = () => ending(async () => start(["--import", "tsx", "examples/saas/main.ts"], {}))

/** Bundled into one file, which starts sooner. */
const runningWith = (environment: Record<string, string>) =>
  ending(async () => start([await bundled("examples/saas/main.ts")], environment))

const shell = promisify(execFile)

/** Runs the lines that it prints for one shop, as if pasted into a terminal. */
const paste = (output: string, shop: string): Effect.Effect<string> =>
  Effect.promise(async () => {
    const lines = output.split(`# ${shop}`)[1]?.split("\n\n")[0]?.split("\n").slice(1) ?? []
    const { stdout } = await shell("bash", ["-c", lines.map((line) => `${line}; echo`).join("\n")])
    return stdout
  })

const isListening = (url: string) =>
  Effect.promise(() =>
    fetch(url).then(
      () => true,
      () => false
    )
  )

describe("examples/saas/main.ts", () => {
  it.live(
    "prints curl commands, answers them, and ends on SIGTERM",
    () =>
      Effect.gen(function* () {
        const { child, started, ended, errors } = yield* running()
        const output = yield* Effect.promise(() => started)
        const url = /Listening on (http:\/\/localhost:\d+)/.exec(output)?.[1] ?? ""
        for (const { name, product, tenantId } of shops) {
          const answers = yield* paste(output, name)
          assert.include(answers, '"version":1,"position":1')
          assert.include(answers, '"placedBy":"ada"')
          assert.include(answers, `"product":"${product}"`)
          assert.notInclude(answers, tenantId === shops[0].tenantId ? shops[1].product : shops[0].product)
        }
        assert.isTrue(yield* isListening(`${url}/health`))
        child.kill("SIGTERM")
        assert.strictEqual(yield* Effect.promise(() => ended), 0)
        assert.strictEqual(errors(), "")
        assert.isFalse(yield* isListening(`${url}/health`))
      }),
    60_000
  )

  it.live.each(servers)(
    "runs on $name, and ends on SIGINT",
    ({ freshDatabase }) =>
      Effect.gen(function* () {
        const { owner } = yield* freshDatabase
        const { child, started, ended, errors } = yield* runningWith({ DATABASE_URL: urlOf(owner) })
        const output = yield* Effect.promise(() => started)
        assert.include(yield* paste(output, "Teashop"), '"product":"Teapot"')
        child.kill("SIGINT")
        assert.strictEqual(yield* Effect.promise(() => ended), 0)
        assert.strictEqual(errors(), "")
      }),
    60_000
  )

  it.live(
    "refuses the development key in production, with an explanation",
    () =>
      Effect.gen(function* () {
        const { ended, errors, output } = yield* runningWith({ NODE_ENV: "production" })
        assert.strictEqual(yield* Effect.promise(() => ended), 1)
        assert.strictEqual(output(), "")
        assert.match(
          errors(),
          /^NODE_ENV is production, where the development key is refused: .*JWT_SECRET.*\.\n$/
        )
      }),
    60_000
  )

  it.live(
    "accepts a configured key, and then prints no token",
    () =>
      Effect.gen(function* () {
        const { child, started, ended, errors } = yield* runningWith({
          NODE_ENV: "production",
          JWT_ALGORITHMS: "HS256",
          JWT_ISSUER: "https://issuer.test",
          JWT_AUDIENCE: "orders",
          JWT_SECRET: "a secret of forty bytes, which are enough"
        })
        const output = yield* Effect.promise(() => started)
        assert.strictEqual(errors(), "")
        assert.include(output, "Listening on")
        assert.notInclude(output, "Bearer")
        child.kill("SIGTERM")
        assert.strictEqual(yield* Effect.promise(() => ended), 0)
      }),
    60_000
  )

  it.live(
    "explains wrong settings",
    () =>
      Effect.gen(function* () {
        const taken = yield* Effect.acquireRelease(
          Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
            const server = createServer()
            server.listen(0, "127.0.0.1", () => {
              const address = server.address()
              const port = typeof address === "object" && address !== null ? address.port : 0
              resume(Effect.succeed({ port, close: () => void server.close() }))
            })
          }),
          ({ close }) => Effect.sync(close)
        )
        for (const [environment, sentence] of [
          [{ PORT: "http" }, /^PORT is "http", and must be a number from 0 to 65535\.\n$/],
          [{ TENANTS: "acme" }, /^TENANTS must be a list of UUIDs/],
          [{ JWT_ISSUER: "https://issuer.test" }, /JWT_/],
          [{ PORT: String(taken.port) }, /^Port \d+ cannot be listened on \(EADDRINUSE\)/]
        ] as const) {
          const { ended, errors } = yield* runningWith(environment)
          assert.strictEqual(yield* Effect.promise(() => ended), 1)
          assert.match(errors(), sentence)
          assert.notMatch(errors(), /\n {4}at /)
        }
      }),
    120_000
  )
})

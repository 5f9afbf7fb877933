/** `inspect` on a real server: one browser, with the rights of the command line, until it is interrupted. */
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Schema } from "effect"
import * as Cli from "../../src/cli/Cli.ts"
import { Inspected } from "../../src/cli/commands/inspect.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { Account, Deposited } from "../support/account.ts"
import { runCommand, urlOf } from "../support/commandLine.ts"
import { servers } from "../support/Databases.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

const acme = Schema.decodeSync(Tenant.TenantId)("00000000-0000-4000-8000-00000000000a")

interface Browser {
  readonly origin: string
  readonly base: string
  /** A request with the cookie of the session and a reason. */
  readonly ask: (
    path: string,
    init?: { readonly method?: string; readonly body?: string; readonly payloads?: string }
  ) => Effect.Effect<{ readonly status: number; readonly text: string }>
}

/** Runs `inspect`, opens its address as a browser does, and interrupts it at the end. */
const inspecting = <A, E, R>(
  args: ReadonlyArray<string>,
  run: (browser: Browser, opened: typeof Inspected.Type) => Effect.Effect<A, E, R>,
  command: Cli.CliCommand = Cli.make()
) =>
  Effect.gen(function* () {
    const { app } = yield* TenantDatabase
    const printed = yield* Deferred.make<string>()
    const fiber = yield* runCommand(command, ["inspect", "--json", ...args], {
      env: { DATABASE_URL: urlOf(app), USER: "ada" },
      onOutput: (line) => Deferred.doneUnsafe(printed, Effect.succeed(line))
    }).pipe(Effect.forkScoped)
    const line = yield* Effect.raceFirst(
      Deferred.await(printed),
      Effect.flatMap(Fiber.join(fiber), ({ stderr }) => Effect.die(new Error(stderr)))
    )
    const opened = Schema.decodeSync(Schema.fromJsonString(Inspected))(line)
    const { hash, origin, pathname } = new URL(opened.url)
    const base = `${origin}${pathname}`
    const trade = yield* Effect.promise(() =>
      fetch(`${base}session`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ token: hash.replace("#token=", "") })
      })
    )
    const cookie = trade.headers.get("set-cookie")?.split(";")[0] ?? ""
    const browser: Browser = {
      origin,
      base,
      ask: (path, { body, method = "GET", payloads = "full" } = {}) =>
        Effect.promise(async () => {
          const response = await fetch(`${base}${path}`, {
            method,
            headers: {
              cookie,
              "content-type": "application/json",
              "x-operator-reason": "alert",
              "x-operator-payloads": payloads
            },
            ...(body === undefined ? {} : { body })
          })
          return { status: response.status, text: await response.text() }
        })
    }
    const result = yield* run(browser, opened)
    yield* Fiber.interrupt(fiber)
    assert.strictEqual(Cli.exitCodeOf(yield* Fiber.await(fiber)), Cli.exitCodes.interrupted)
    const after = yield* Effect.promise(() =>
      fetch(base).then(
        () => "served",
        () => "ended"
      )
    )
    assert.strictEqual(after, "ended")
    return result
  }).pipe(Effect.scoped)

const suspend = {
  path: `api/tenants/${acme}/actions/suspendTenant`,
  init: { method: "POST", body: "{}" }
} as const

for (const server of servers)
  layer(layerOn(server), { excludeTestServices: true })(`inspect on ${server.name}`, (it) => {
    it.effect("serves the page on loopback, looks alone, with masked payloads", () =>
      Effect.gen(function* () {
        const { store } = yield* TenantDatabase
        yield* EventStore.use((events) =>
          events.append({
            aggregate: Account,
            id: "1",
            events: [Deposited.make({ amount: 20, note: "secret" })],
            expectedVersion: "any"
          })
        ).pipe(Tenant.provide(acme), Effect.provideContext(yield* store()))
        yield* inspecting([], ({ ask, base, origin }, { may }) =>
          Effect.gen(function* () {
            assert.strictEqual(may, "look")
            assert.match(origin, /^http:\/\/127\.0\.0\.1:\d+$/)
            const page = yield* ask("")
            assert.include(page.text, "page.js")
            const me: unknown = JSON.parse((yield* ask("api/me")).text)
            assert.deepInclude(me, { actor: "ada", may: "look" })
            assert.include((yield* ask("api/tenants")).text, acme)
            const log = yield* ask(`api/tenants/${acme}/log`)
            assert.strictEqual(log.status, 200)
            assert.include(log.text, "Deposited")
            assert.notInclude(log.text, "secret")
            assert.strictEqual((yield* ask(suspend.path, suspend.init)).status, 403)
            // Nobody else: without the cookie, or with a guessed token.
            const stranger = yield* Effect.promise(() => fetch(`${base}api/me?reason=x`))
            assert.strictEqual(stranger.status, 401)
          })
        )
      })
    )

    it.effect("acts if it is allowed to, and shows states and payloads in a program that knows them", () =>
      inspecting(
        ["--allow-actions", "--payloads", "full"],
        ({ ask }, { may }) =>
          Effect.gen(function* () {
            assert.strictEqual(may, "act")
            const state = yield* ask(`api/tenants/${acme}/state?aggregateType=Account&aggregateId=1`)
            assert.strictEqual(state.status, 200, state.text)
            assert.include(state.text, '"balance":20')
            assert.include((yield* ask(`api/tenants/${acme}/log`)).text, "secret")
            const suspended = yield* ask(suspend.path, suspend.init)
            assert.strictEqual(suspended.status, 200, suspended.text)
            const { outside } = yield* TenantDatabase
            assert.deepStrictEqual(
              yield* outside<{ status: string }>(
                "select status from eventsourcing.tenants where tenant_id = $1",
                [acme]
              ),
              [{ status: "suspended" }]
            )
          }),
        Cli.make({ aggregates: [Account] })
      )
    )

    it.effect("says so if the port is taken", () =>
      inspecting([], ({ origin }) =>
        Effect.gen(function* () {
          const { app } = yield* TenantDatabase
          const { exitCode, stderr } = yield* runCommand(
            Cli.make(),
            ["inspect", "--listen", new URL(origin).port],
            { env: { DATABASE_URL: urlOf(app), USER: "ada" } }
          )
          assert.strictEqual(exitCode, Cli.exitCodes.failed)
          assert.include(stderr, "cannot be listened on")
        })
      )
    )
  })

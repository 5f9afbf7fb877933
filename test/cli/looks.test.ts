/** The looks of the command line, on a real server: for people and for machines. */
import { assert, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { Audited } from "../../src/cli/commands/audit.ts"
import { DeadLetters } from "../../src/cli/commands/deadLetters.ts"
import { Migrated } from "../../src/cli/commands/migrate.ts"
import { Projections } from "../../src/cli/commands/projections.ts"
import { Streamed } from "../../src/cli/commands/stream.ts"
import { Tailed } from "../../src/cli/commands/tail.ts"
import { Tenants } from "../../src/cli/commands/tenants.ts"
import { Traced } from "../../src/cli/commands/trace.ts"
import { Used } from "../../src/cli/commands/usage.ts"
import * as Cli from "../../src/cli/Cli.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { EventView } from "../../src/operations/Looks.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { Account, Deposited } from "../support/account.ts"
import { type Ended, runCommand, type Surroundings, urlOf } from "../support/commandLine.ts"
import { servers } from "../support/Databases.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

class Leaking extends Schema.TaggedError<Leaking>()("Leaking", { message: Schema.String }) {}

const decodeTenant = Schema.decodeSync(Tenant.TenantId)
const acme = decodeTenant("00000000-0000-4000-8000-00000000000a")
const globex = decodeTenant("00000000-0000-4000-8000-00000000000b")

const bare = Cli.make()
const own = Cli.make({ aggregates: [Account] })

/** A document of a command that ended well, decoded. */
const documentOf = <A>(schema: Schema.Codec<A, unknown>, { exitCode, stderr, stdout }: Ended): A => {
  assert.deepStrictEqual([exitCode, stderr], [0, ""])
  assert.strictEqual(stdout.split("\n").length, 2, stdout)
  return Schema.decodeSync(Schema.fromJsonString(schema))(stdout)
}

interface More extends Surroundings {
  readonly command?: Cli.CliCommand
  readonly owner?: boolean
}

class Lines extends Context.Service<
  Lines,
  (args: ReadonlyArray<string>, more?: More) => Effect.Effect<Ended>
>()("test/Lines") {}

const linesOn = Layer.effect(
  Lines,
  Effect.gen(function* () {
    const { app, owner, store } = yield* TenantDatabase
    const services = yield* store()
    const deposit = (id: string, amount: number, note: string) =>
      EventStore.use((events) =>
        events.append({
          aggregate: Account,
          id,
          events: [Deposited.make({ amount, note })],
          expectedVersion: "any"
        })
      ).pipe(EventContext.provide({ actor: "teller", correlationId: "request-1" }))
    yield* Effect.gen(function* () {
      yield* deposit("1", 20, "secret one")
      yield* deposit("1", 30, "secret two")
      yield* deposit("2", 5, "\u001b[2J\u202eevil")
    }).pipe(Tenant.provide(acme), Effect.provideContext(services))
    yield* deposit("1", 7, "of globex").pipe(
      Tenant.provide(globex),
      Effect.provideContext(services),
      Effect.orDie
    )
    return (
      args: ReadonlyArray<string>,
      { command = bare, owner: isOwner = false, ...surroundings }: More = {}
    ) =>
      runCommand(command, args, {
        env: { DATABASE_URL: urlOf(isOwner ? owner : app), USER: "ada" },
        ...surroundings
      })
  }).pipe(Effect.orDie)
)

for (const server of servers)
  layer(linesOn.pipe(Layer.provideMerge(layerOn(server))), { excludeTestServices: true })(
    `the command line on ${server.name}`,
    (it) => {
      it.effect("lists tenants, page by page, as the next step says", () =>
        Effect.gen(function* () {
          const run = yield* Lines
          const page = documentOf(
            Tenants,
            yield* run(["tenants", "--order", "head", "--limit", "1", "--json"])
          )
          assert.deepStrictEqual(
            page.tenants.map(({ head, tenantId }) => [tenantId, head]),
            [[acme, 3]]
          )
          const [next] = page.next
          const args = next?.command.split(" ").slice(1) ?? []
          const second = documentOf(Tenants, yield* run([...args, "--json"]))
          assert.deepStrictEqual(
            [second.tenants.map(({ tenantId }) => tenantId), second.next.length],
            [[globex], 0]
          )
          const text = yield* run(["tenants"], { columns: 60 })
          assert.include(text.stdout, acme)
          for (const line of text.stdout.split("\n")) assert.isAtMost(line.length, 60, line)
        })
      )

      it.effect("shows payloads as the grant allows, and nothing that a terminal obeys", () =>
        Effect.gen(function* () {
          const run = yield* Lines
          const tail = (...more: ReadonlyArray<string>) => run(["tail", "--tenant", acme, ...more])
          const masked = yield* tail()
          assert.include(masked.stdout, '"note":"string(10)"')
          assert.notInclude(masked.stdout, "secret")
          const full = yield* tail("--payloads", "full")
          assert.include(full.stdout, "secret one")
          assert.include(full.stdout, "evil")
          for (const character of ["\u001b", "\u202e"]) assert.notInclude(full.stdout, character)
          const none = documentOf(Tailed, yield* tail("--payloads", "none", "--json"))
          assert.deepStrictEqual(
            none.events.map(({ position, stored }) => [position, stored]),
            [
              [1, null],
              [2, null],
              [3, null]
            ]
          )
          assert.notInclude(full.stdout, "globex")
          const earlier = documentOf(
            Tailed,
            yield* tail("--limit", "1", "--aggregate", "Account", "--id", "1", "--json")
          )
          assert.deepStrictEqual(
            earlier.events.map(({ position }) => position),
            [2]
          )
          assert.match(earlier.next[0]?.command ?? "", /--aggregate Account --id 1 --at 1$/)
        })
      )

      it.effect("follows a log until Ctrl-C, a document a line", () =>
        Effect.gen(function* () {
          const run = yield* Lines
          const { store } = yield* TenantDatabase
          const lines: Array<string> = []
          const first = yield* Deferred.make<void>()
          const second = yield* Deferred.make<void>()
          const fiber = yield* run(["tail", "--tenant", globex, "--follow", "--json"], {
            onOutput: (line) => Deferred.doneUnsafe(lines.push(line) === 1 ? first : second, Effect.void)
          }).pipe(Effect.forkChild)
          yield* Deferred.await(first)
          yield* EventStore.use((events) =>
            events.append({
              aggregate: Account,
              id: "followed",
              events: [Deposited.make({ amount: 1, note: "live" })],
              expectedVersion: "noStream"
            })
          ).pipe(Tenant.provide(globex), Effect.provideContext(yield* store()))
          yield* Deferred.await(second)
          yield* Fiber.interrupt(fiber)
          assert.strictEqual(Cli.exitCodeOf(yield* Fiber.await(fiber)), Cli.exitCodes.interrupted)
          assert.deepStrictEqual(
            lines.map((line) => Schema.decodeSync(Schema.fromJsonString(EventView))(line).aggregateId),
            ["1", "followed"]
          )
        }).pipe(Effect.scoped)
      )

      it.effect("shows differences without aggregates, and states with them", () =>
        Effect.gen(function* () {
          const run = yield* Lines
          const args = ["stream", "Account", "1", "--tenant", acme, "--payloads", "full"]
          const differences = documentOf(Streamed, yield* run([...args, "--differences", "--json"]))
          assert.deepStrictEqual(
            differences.events.map(({ difference }) => difference?.map(({ path, value }) => [path, value])),
            [
              undefined,
              [
                ["/amount", 30],
                ["/note", "secret two"]
              ]
            ]
          )
          const refused = yield* run([...args, "--state"])
          assert.strictEqual(refused.exitCode, Cli.exitCodes.refused)
          assert.include(refused.stderr, "Cli.make")
          const state = documentOf(
            Streamed,
            yield* run([...args, "--state", "--at", "1", "--json"], { command: own })
          )
          assert.deepStrictEqual(state.state?.state, { balance: 20 })
          const text = yield* run([...args, "--state"], { command: own })
          assert.include(text.stdout, 'state at version 2 of 2: {"balance":50}')
          assert.include(text.stdout, "~ /balance 50")
        })
      )

      it.effect("traces, counts usage and projections, and records each look with actor and reason", () =>
        Effect.gen(function* () {
          const run = yield* Lines
          const traced = documentOf(Traced, yield* run(["trace", "request-1", "--tenant", acme, "--json"]))
          assert.lengthOf(traced.nodes, 3)
          const used = documentOf(Used, yield* run(["usage", "--tenant", globex, "--json"]))
          assert.deepStrictEqual(
            used.days.map(({ events, tenantId }) => [tenantId, events]),
            [[globex, 2]]
          )
          const projections = documentOf(Projections, yield* run(["projections", "--json"]))
          assert.deepStrictEqual([projections.projections, projections.behind], [[], []])
          const letters = documentOf(DeadLetters, yield* run(["dead-letters", "--tenant", acme, "--json"]))
          assert.deepStrictEqual(letters.groups, [])
          yield* run(["tail", "--tenant", globex, "--actor", "bob", "--reason", "ticket 17"])
          const audited = documentOf(
            Audited,
            yield* run([
              "audit",
              "--tenant",
              globex,
              "--operation",
              "Operations.log",
              "--by",
              "bob",
              "--json"
            ])
          )
          assert.deepStrictEqual(
            audited.accesses.map(({ actor, operation, reason }) => [actor, operation, reason]),
            [["bob", `Operations.log ${globex} payloads masked`, "ticket 17"]]
          )
          const mine = documentOf(Audited, yield* run(["audit", "--by", "ada", "--limit", "1", "--json"]))
          assert.strictEqual(mine.accesses[0]?.reason, "eventsourcing audit")
        })
      )

      it.effect("migrates, and says beforehand if it would", () =>
        Effect.gen(function* () {
          const run = yield* Lines
          const { outside } = yield* TenantDatabase
          const check = ["migrate", "--check", "--json"]
          assert.deepStrictEqual(documentOf(Migrated, yield* run(check, { owner: true })).pending, [])
          yield* outside("update eventsourcing.schema_files set sha256 = '' where path = 'read/log_head.sql'")
          const pending = yield* run(check, { owner: true })
          assert.strictEqual(pending.exitCode, Cli.exitCodes.findings)
          assert.deepStrictEqual(Schema.decodeSync(Schema.fromJsonString(Migrated))(pending.stdout).pending, [
            "read/log_head.sql"
          ])
          const applied = documentOf(Migrated, yield* run(["migrate", "--json"], { owner: true }))
          assert.deepStrictEqual(applied.applied, ["read/log_head.sql"])
          const printed = yield* run(["migrate", "--print"], { env: {} })
          assert.include(printed.stdout, "create table if not exists eventsourcing.events")
        })
      )

      it.effect("never prints a secret", () =>
        Effect.gen(function* () {
          const run = yield* Lines
          const secret = "s3cr3t/%word"
          const quoted = encodeURIComponent(secret)
          for (const url of [
            `postgresql://ada:${quoted}@127.0.0.1:1/none`,
            `postgresql://ada:${quoted}@127.0.0.1:notaport/none`,
            `mysql://ada:${quoted}@127.0.0.1/none`
          ])
            for (const json of [[], ["--json"]])
              for (const given of [
                { args: ["migrate", "--url", url, ...json], env: {} },
                { args: ["doctor", ...json], env: { DATABASE_URL: url } }
              ]) {
                const ended = yield* run(given.args, { env: given.env })
                assert.notStrictEqual(ended.exitCode, 0)
                assert.isAbove(ended.stderr.length, 10)
                for (const text of [secret, quoted]) assert.notInclude(ended.stdout + ended.stderr, text)
              }
          const leaking = new Leaking({ message: `no answer from postgresql://ada:${quoted}@127.0.0.1/none` })
          for (const failing of [Effect.fail(leaking), Effect.die(leaking)]) {
            const command = Cli.make({ database: Layer.effect(SqlClient.SqlClient, failing) })
            const ended = yield* run(["migrate", "--check"], { command, env: {} })
            assert.include(ended.stderr, "no answer from postgresql://ada:<redacted>@127.0.0.1/none")
          }
          const ended = yield* run(["migrate", "--host", "127.0.0.1", "--port", "1", "--user", "ada"], {
            env: { PGPASSWORD: secret }
          })
          assert.strictEqual(ended.exitCode, Cli.exitCodes.failed)
          assert.notInclude(ended.stdout + ended.stderr, secret)
        })
      )

      it.effect("has an exit code for each wrong command line", () =>
        Effect.gen(function* () {
          const run = yield* Lines
          for (const args of [
            ["tenants", "--limit", "0"],
            ["tenants", "--after", "x"],
            ["tail"],
            ["tail", "--tenant", "not-a-uuid"],
            ["tail", "--tenant", acme, "--from", "yesterday"],
            ["no-such-command"],
            ["migrate", "--check", "--print"],
            ["audit", "--reason", " "]
          ])
            assert.strictEqual((yield* run(args)).exitCode, Cli.exitCodes.usage, args.join(" "))
          assert.strictEqual((yield* run(["tenants"], { env: {} })).exitCode, Cli.exitCodes.usage)
          const failure = yield* run(["migrate", "--check", "--url", "postgresql://127.0.0.1:1/x", "--json"])
          const error = Schema.decodeSync(
            Schema.fromJsonString(Schema.Struct({ exitCode: Schema.Int, error: Schema.String }))
          )(failure.stderr)
          assert.strictEqual(error.exitCode, failure.exitCode)
          assert.strictEqual(failure.stdout, "")
        })
      )

      it.effect("completes its commands in shells", () =>
        Effect.gen(function* () {
          const run = yield* Lines
          for (const shell of ["bash", "zsh", "fish"]) {
            const { stdout } = yield* run(["completions", shell])
            for (const word of ["dead-letters", "completions", "migrate"]) assert.include(stdout, word)
          }
        })
      )
    }
  )

/** The acts of the command line, on a real server: refused, confirmed, counted, recorded, and carried out. */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, FileSystem, Layer, Schema } from "effect"
import { NodeServices } from "@effect/platform-node"
import { Acted } from "../../src/cli/commands/act.ts"
import { Audited } from "../../src/cli/commands/audit.ts"
import * as Cli from "../../src/cli/Cli.ts"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as Forgetting from "../../src/forgetting/Forgetting.ts"
import * as KeyVault from "../../src/forgetting/KeyVault.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import * as HashChain from "../../src/store/HashChain.ts"
import { type Ended, runCommand, type Surroundings, urlOf } from "../support/commandLine.ts"
import { servers } from "../support/Databases.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

const Opened = Schema.TaggedStruct("Opened", { note: Schema.String })
const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state: Schema.Struct({}), initial: {}, events: [Opened] },
  { Opened: (state) => state }
)

const handled: Array<string> = []
const Notes = Projection.make(
  "notes",
  { aggregates: [Order], tables: ["public.read_model"] },
  { Opened: ({ note }) => Effect.sync(() => void handled.push(note)) }
)

const bare = Cli.make()
const own = Cli.make({ aggregates: [Order], projections: [Notes] })

const tenant = (nth: number): Tenant.TenantId =>
  Schema.decodeSync(Tenant.TenantId)(`00000000-0000-4000-8000-${String(nth).padStart(12, "0")}`)

class Lines extends Context.Service<
  Lines,
  {
    readonly run: (
      args: ReadonlyArray<string>,
      more?: Surroundings & { readonly command?: Cli.CliCommand }
    ) => Effect.Effect<Ended>
    /** Appends an event for each note. */
    readonly open: (tenantId: Tenant.TenantId, ...notes: ReadonlyArray<string>) => Effect.Effect<void>
    readonly chained: (tenantId: Tenant.TenantId) => Effect.Effect<void>
  }
>()("test/ActLines") {}

const linesOn = Layer.effect(
  Lines,
  Effect.gen(function* () {
    const { owner, store } = yield* TenantDatabase
    const services = yield* store()
    return Lines.of({
      run: (args, { command = bare, ...surroundings } = {}) =>
        runCommand(command, args, { env: { DATABASE_URL: urlOf(owner), USER: "ada" }, ...surroundings }),
      open: (tenantId, ...notes) =>
        Effect.forEach(
          notes,
          (note) =>
            EventStore.use((events) =>
              events.append({
                aggregate: Order,
                id: note,
                events: [Opened.make({ note })],
                expectedVersion: "noStream"
              })
            ),
          { discard: true }
        ).pipe(Tenant.provide(tenantId), Effect.provideContext(services), Effect.orDie),
      chained: (tenantId) =>
        HashChain.start.pipe(Tenant.provide(tenantId), Effect.provideContext(services), Effect.orDie)
    })
  })
)

const reason = ["--reason", "ticket 17"]

/** The outcome of an act that ended well. */
const doneOf = ({ exitCode, stderr, stdout }: Ended) => {
  assert.deepStrictEqual([exitCode, stderr], [0, ""])
  return Schema.decodeSync(Schema.fromJsonString(Acted))(stdout)
}

for (const server of servers)
  layer(linesOn.pipe(Layer.provideMerge(layerOn(server)), Layer.provideMerge(NodeServices.layer)), {
    excludeTestServices: true
  })(`acts on ${server.name}`, (it) => {
    it.effect("erases only with a reason and a confirmation, and counts before", () =>
      Effect.gen(function* () {
        const { open, run } = yield* Lines
        const { outside } = yield* TenantDatabase
        const id = tenant(1)
        yield* open(id, "a", "b")
        const erase = ["erase", "--tenant", id]
        const rows = outside<{ events: number }>(
          "select count(*)::int as events from eventsourcing.events where tenant_id = $1",
          [id]
        )
        const unnamed = yield* run([...erase, "--yes"])
        assert.deepStrictEqual([unnamed.exitCode, unnamed.stdout], [Cli.exitCodes.usage, ""])
        assert.include(unnamed.stderr, "--reason")
        const alone = yield* run([...erase, ...reason])
        assert.strictEqual(alone.exitCode, Cli.exitCodes.refused)
        assert.include(alone.stderr, "--yes")
        const dry = doneOf(yield* run([...erase, "--dry-run", "--json"]))
        assert.deepStrictEqual([dry.dryRun, dry.changed, dry.counts.events], [true, true, 2])
        const no = yield* run([...erase, ...reason], { keys: "n", columns: 80 })
        assert.strictEqual(no.exitCode, Cli.exitCodes.refused)
        assert.deepStrictEqual(yield* rows, [{ events: 2 }])
        const yes = yield* run([...erase, ...reason], { keys: "y", columns: 80 })
        assert.strictEqual(yes.exitCode, 0, yes.stderr)
        assert.include(yes.stdout, "done")
        assert.deepStrictEqual(yield* rows, [{ events: 0 }])
        const audited = yield* run(["audit", "--operation", "Actions.erase", "--limit", "1", "--json"])
        const { accesses } = Schema.decodeSync(Schema.fromJsonString(Audited))(audited.stdout)
        const [last] = accesses
        assert.deepStrictEqual(
          [last?.actor, last?.reason, last?.outcome?.status],
          ["ada", "ticket 17", "succeeded"]
        )
      })
    )

    it.effect("undoes an erasure during its delay, as its next step says", () =>
      Effect.gen(function* () {
        const { open, run } = yield* Lines
        const id = tenant(2)
        yield* open(id, "a")
        const erased = doneOf(
          yield* run(["erase", "--tenant", id, "--delay", "7 days", "--yes", ...reason, "--json"])
        )
        assert.match(erased.next[0]?.command ?? "", /erase --undo --tenant/)
        doneOf(yield* run(["erase", "--undo", "--tenant", id, ...reason, "--json"]))
        const { stdout } = yield* run(["tail", "--tenant", id])
        assert.include(stdout, "Opened")
        const wrong = yield* run(["erase", "--tenant", id, "--delay", "soon", "--yes", ...reason])
        assert.strictEqual(wrong.exitCode, Cli.exitCodes.usage)
      })
    )

    it.effect("exports a tenant, verifies the archive, and imports it into another", () =>
      Effect.gen(function* () {
        const { open, run } = yield* Lines
        const files = yield* FileSystem.FileSystem
        const folder = yield* files.makeTempDirectoryScoped()
        const file = `${folder}/acme.tar`
        const [id, other] = [tenant(3), tenant(4)]
        yield* open(id, "a", "b", "c")
        const measured = doneOf(yield* run(["export", file, "--tenant", id, "--dry-run", "--json"]))
        assert.strictEqual(measured.counts.events, 3)
        assert.isFalse(yield* files.exists(file))
        const exported = doneOf(yield* run(["export", file, "--tenant", id, ...reason, "--json"]))
        assert.strictEqual(exported.counts.events, 3)
        assert.deepStrictEqual(yield* files.readDirectory(folder), ["acme.tar"])
        const again = yield* run(["export", file, "--tenant", id, ...reason])
        assert.strictEqual(again.exitCode, Cli.exitCodes.refused)
        assert.include(again.stderr, "--overwrite")
        const foreign = yield* run(["import", file, "--tenant", other, ...reason])
        assert.notStrictEqual(foreign.exitCode, 0)
        const dry = doneOf(
          yield* run(["import", file, "--tenant", other, "--from-other", "--dry-run", "--json"])
        )
        assert.deepStrictEqual([dry.dryRun, dry.counts.events], [true, 3])
        const imported = doneOf(
          yield* run(["import", file, "--tenant", other, "--from-other", ...reason, "--json"])
        )
        assert.strictEqual(imported.counts.events, 3)
        const { stdout } = yield* run(["tail", "--tenant", other, "--payloads", "full"])
        assert.include(stdout, '"note":"c"')
        yield* files.writeFile(file, (yield* files.readFile(file)).subarray(0, 2048))
        const broken = yield* run(["import", file, "--tenant", tenant(5), "--from-other", ...reason])
        assert.notStrictEqual(broken.exitCode, 0)
        assert.isAbove(broken.stderr.length, 20)
      }).pipe(Effect.scoped)
    )

    it.effect("verifies chains, and exits with 3 if one is broken", () =>
      Effect.gen(function* () {
        const { chained, open, run } = yield* Lines
        const { outside } = yield* TenantDatabase
        const id = tenant(6)
        yield* open(id, "a")
        yield* chained(id)
        yield* open(id, "b", "c")
        const verified = doneOf(yield* run(["verify", "--tenant", id, "--json"]))
        assert.strictEqual(verified.counts.events, 2)
        yield* outside(
          `update eventsourcing.events set payload = '{"_tag":"Opened","note":"forged"}' where tenant_id = $1 and position = 3`,
          [id]
        )
        const broken = yield* run(["verify", "--tenant", id])
        assert.strictEqual(broken.exitCode, Cli.exitCodes.findings)
        assert.match(broken.stderr, /position 3/)
        // The chains of others are proven nevertheless, and each proof is on record with its outcome.
        const sound = tenant(16)
        yield* open(sound, "a")
        yield* chained(sound)
        yield* open(sound, "d")
        const all = yield* run(["verify", "--all"])
        assert.strictEqual(all.exitCode, Cli.exitCodes.findings)
        assert.match(all.stderr, /1 of 2 chains.*position 3/)
        for (const [verifiedOne, status] of [
          [id, "failed"],
          [sound, "succeeded"]
        ] as const) {
          const { stdout } = yield* run([
            "audit",
            "--tenant",
            verifiedOne,
            "--operation",
            "Actions.verify",
            "--limit",
            "1",
            "--json"
          ])
          const { accesses } = Schema.decodeSync(Schema.fromJsonString(Audited))(stdout)
          assert.strictEqual(accesses[0]?.outcome?.status, status)
        }
        assert.strictEqual((yield* run(["verify"])).exitCode, Cli.exitCodes.usage)
      })
    )

    it.effect("retries and discards dead letters with the handlers of the program", () =>
      Effect.gen(function* () {
        const { open, run } = yield* Lines
        const { outside } = yield* TenantDatabase
        const id = tenant(7)
        yield* open(id, "first", "second", "third")
        yield* outside(
          `insert into eventsourcing.projections (tenant_id, projection, version, rebuild, position, head, served_at)
             values ($1, 'notes', 1, false, 3, 3, now())`,
          [id]
        )
        yield* outside(
          `insert into eventsourcing.dead_letters
             select tenant_id, 'notes', 1, false, position, event_id, 'Error', 5, now() from eventsourcing.events where tenant_id = $1`,
          [id]
        )
        const listed = yield* run(["dead-letters", "--tenant", id])
        assert.match(listed.stdout, /3\s+notes v1/)
        const unknown = yield* run(["dead-letters", "retry", "--tenant", id, ...reason])
        assert.strictEqual(unknown.exitCode, Cli.exitCodes.refused)
        assert.include(unknown.stderr, "Cli.make")
        const retried = doneOf(
          yield* run(["dead-letters", "retry", "notes", "--tenant", id, "--to", "1", ...reason, "--json"], {
            command: own
          })
        )
        assert.strictEqual(retried.counts.deadLetters, 1)
        assert.deepStrictEqual(handled, ["first"])
        const discarded = doneOf(
          yield* run([
            "dead-letters",
            "discard",
            "--tenant",
            id,
            "--error",
            "Error",
            "--yes",
            ...reason,
            "--json"
          ])
        )
        assert.strictEqual(discarded.counts.deadLetters, 2)
        assert.include((yield* run(["dead-letters", "--tenant", id])).stdout, "No dead letters")
      })
    )

    it.effect("resumes parked projections, counts rebuilds, and retires versions", () =>
      Effect.gen(function* () {
        const { open, run } = yield* Lines
        const { outside } = yield* TenantDatabase
        const id = tenant(8)
        yield* open(id, "a")
        yield* outside(
          `insert into eventsourcing.projections (tenant_id, projection, version, rebuild, position, head, parked, attempts, failed_position, error, failure_kind, served_at)
             values ($1, 'notes', 1, false, 0, 1, true, 3, 1, 'Error', 'handler', now())`,
          [id]
        )
        const parked = yield* run(["projections", "--tenant", id])
        const next = /→ resume notes v1[^:]*: eventsourcing (.*) --reason …/.exec(parked.stdout)?.[1] ?? ""
        assert.strictEqual(next, `projections resume notes --of-version 1 --tenant ${id}`)
        const resumed = doneOf(yield* run([...next.split(" "), ...reason, "--json"]))
        assert.strictEqual(resumed.counts.projections, 1)
        assert.notInclude((yield* run(["projections", "--tenant", id])).stdout, "parked")
        const counted = doneOf(
          yield* run(["rebuild", "notes", "--tenant", id, "--dry-run", "--json"], { command: own })
        )
        assert.strictEqual(counted.counts.events, 1)
        const unknown = yield* run(["rebuild", "notes", "--tenant", id, ...reason])
        assert.strictEqual(unknown.exitCode, Cli.exitCodes.refused)
        const retired = doneOf(
          yield* run(["projections", "retire", "notes", "--of-version", "1", "--yes", ...reason, "--json"])
        )
        assert.strictEqual(retired.action, "retire")
      })
    )

    it.effect("forgets a person in a program that seals personal fields, and erases with its keys", () =>
      Effect.gen(function* () {
        const { open, run } = yield* Lines
        const id = tenant(10)
        yield* open(id, "a")
        const command = Cli.make({
          layer: Forgetting.layer.pipe(
            Layer.provideMerge(KeyVault.layerMemory),
            Layer.provideMerge(PgStorage.layer)
          )
        })
        const forget = ["forget", "customer-7", "--tenant", id, ...reason]
        assert.strictEqual((yield* run(forget, { command })).exitCode, Cli.exitCodes.refused)
        const forgotten = doneOf(yield* run([...forget, "--yes", "--json"], { command }))
        assert.deepStrictEqual([forgotten.changed, forgotten.counts.subjects], [true, 1])
        const record = yield* run(["audit", "--operation", "Actions.forget", "--tenant", id, "--json"])
        assert.notInclude(record.stdout, "customer-7")
        const erased = doneOf(
          yield* run(["erase", "--tenant", id, "--yes", ...reason, "--json"], { command })
        )
        assert.strictEqual(erased.details["keys"], "destroyed")
      })
    )

    it.effect("refuses acts for which the program has no part, and says so", () =>
      Effect.gen(function* () {
        const { open, run } = yield* Lines
        const id = tenant(9)
        yield* open(id, "a")
        for (const args of [
          ["forget", "customer-7", "--tenant", id, "--yes"],
          ["move", "--tenant", id, "--to", "elsewhere", "--yes"]
        ]) {
          const ended = yield* run([...args, ...reason])
          assert.strictEqual(ended.exitCode, Cli.exitCodes.refused, ended.stderr)
          assert.include(ended.stderr, "Cli.make")
        }
        assert.strictEqual((yield* run(["move", "--tenant", id, ...reason])).exitCode, Cli.exitCodes.usage)
        assert.strictEqual((yield* run(["import", "--tenant", id, ...reason])).exitCode, Cli.exitCodes.usage)
      })
    )
  })

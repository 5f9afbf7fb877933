import { afterAll, assert, beforeAll, describe, it, vi } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { existsSync } from "node:fs"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { type Config, servers } from "../support/Databases.ts"
import { root, run, runUntil } from "./run.ts"

const sample = Path.join(root, "examples/helpdesk/sample.csv")
const realLog = Path.join(root, "../shared/data/helpdesk.csv")
const realTable = Path.join(root, "../shared/data/helpdesk-expected.csv")

/** How a user names a database. */
const urlOf = ({ database, host, password, port, url, username }: Config): string => {
  const result = new URL(url === undefined ? "postgres://localhost" : Redacted.value(url))
  if (host !== undefined) result.hostname = host
  if (port !== undefined) result.port = String(port)
  if (username !== undefined) result.username = username
  if (typeof password === "object" && Redacted.isRedacted(password))
    result.password = Redacted.value(password)
  result.pathname = database ?? ""
  return result.href
}

// Each test runs whole programs, some of them with 21,348 events.
vi.setConfig({ testTimeout: 150_000 })

let directory = ""
beforeAll(async () => {
  directory = await mkdtemp(Path.join(tmpdir(), "effect-eventsourcing-helpdesk-"))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

const totals = /^Total +70 +333 +56 +14 +22$/m

describe("examples/helpdesk.ts", () => {
  it("imports the sample into an embedded database, and counts by customer", async () => {
    const { status, output, errors } = await run("helpdesk")
    assert.strictEqual(status, 0, errors)
    assert.match(output, /^Customer +Tickets +Events +Closed +Open +Waits$/m)
    assert.match(output, /^Value 1 +18 +85 +14 +4 +6$/m)
    assert.match(output, totals)
    assert.include(
      output,
      "\nCase names of several customers, with a ticket for each: 1\n  Case 7: Value 7, Value 3\n"
    )
    assert.match(output, /^Imported 333 events in \d+\.\d s \([\d,]+ events a second\)$/m)
    const [imported = "", counted = ""] = errors.split(/(?<=of 333 entries\n)(?!.*entries)/s)
    assert.match(imported, /^( \d\d%  \d+ of 333 entries\n)+100%  333 of 333 entries\n$/)
    assert.match(
      counted,
      /^(The table is \d+ events? behind the log; the oldest is \d+\.\d s old\n)?([ \d]\d\d%  \d+ of 333 events in the table\n)*100%  333 of 333 events in the table\n$/
    )
  })

  it("adds nothing when the same log is imported again", async () => {
    const args = [sample, "--data", Path.join(directory, "data")]
    const first = await run("helpdesk", args)
    assert.strictEqual(first.status, 0, first.errors)
    assert.match(first.output, /^Imported 333 events in /m)
    const second = await run("helpdesk", args)
    assert.strictEqual(second.status, 0, second.errors)
    assert.match(second.output, /^Imported 0 events in \d+\.\d s; 333 had been imported before$/m)
    assert.match(second.output, totals)
    const table = ({ output }: { readonly output: string }) => output.slice(0, output.indexOf("Imported"))
    assert.strictEqual(table(second), table(first))
  })

  it("goes on with the log and the table after it was killed", async () => {
    const args = [sample, "--data", Path.join(directory, "killed")]
    const killed = await runUntil(/^ 25%/m, "helpdesk", args)
    assert.strictEqual(killed.output, "")
    const { status, output, errors } = await run("helpdesk", args)
    assert.strictEqual(status, 0, errors)
    assert.match(output, totals)
    assert.match(output, /^Imported \d+ events? in .*; \d+ had been imported before$/m)
  })

  it("reports broken lines and refused entries with their numbers, and imports the rest", async () => {
    const [header = ""] = (await readFile(sample, "utf8")).split("\r\n")
    const row = (activity: string, time = "2012-03-01T08:00:00Z", actor = "Value 4") =>
      `"Smith, ""the"" Co",Case 1,${activity},${actor},${time},a,b,c,d,e,f,g,h`
    const lines = [
      header,
      row("Insert ticket"),
      row("Wait", "2012-02-30T08:00:00Z"),
      row("Wait", "yesterday"),
      row("Sleep"),
      row("Wait").replace(",h", ""),
      row("Wait").concat(",i"),
      row("Wait", undefined, ""),
      row("Wait").replace(",a,", ',"a"b,'),
      "",
      row("Wait", undefined, "Value\u00004"),
      row("Wait"),
      row("Closed"),
      row("Resolve ticket"),
      row("Closed"),
      row("Closed"),
      row("Assign seriousness")
    ]
    const file = Path.join(directory, "broken.csv")
    const table = Path.join(directory, "table.csv")
    // With the marks of another system: a byte order mark, and short line ends.
    await writeFile(file, `\uFEFF${lines.join("\n")}\n`)
    const { status, output, errors } = await run("helpdesk", [file, "--csv", table])
    assert.strictEqual(status, 2)
    assert.match(output, /^Imported 5 events in /m)
    assert.strictEqual(
      errors.slice(errors.indexOf("\n\n") + 2),
      `10 lines left out:
  line 3: timestamp is not a time like 2010-01-13T08:40:25Z
  line 4: timestamp is not a time like 2010-01-13T08:40:25Z
  line 5: activity is none of the activities of the desk
  line 6: it has 12 columns instead of 13
  line 7: it has 14 columns instead of 13
  line 8: resource is empty
  line 9: its quotes do not fit together
  line 11: resource contains U+0000
  line 13: TicketClosed is not possible on a ticket that is waiting
  line 17: SeriousnessAssigned is not possible on a ticket that is closed
`
    )
    assert.strictEqual(
      await readFile(table, "utf8"),
      'customer,tickets,events,closed,open,waits\r\n"Smith, ""the"" Co",1,5,1,0,1\r\n'
    )
  })

  it("says how it is used, and what is wrong with how it was used", async () => {
    const other = Path.join(directory, "other.csv")
    await writeFile(other, "customer,case,activity,resource\nValue 1,Case 1,Closed,Value 2\n")
    const [help, unknown, missing, folder, table] = await Promise.all([
      run("helpdesk", ["--help"]),
      run("helpdesk", ["--fast"]),
      run("helpdesk", ["missing.csv"]),
      run("helpdesk", [directory]),
      run("helpdesk", [other])
    ])
    assert.strictEqual(help.status, 0)
    for (const option of ["--data DIR", "--csv FILE", "DATABASE_URL"]) assert.include(help.output, option)
    for (const { status, output } of [unknown, missing, folder, table]) {
      assert.deepStrictEqual([status, output], [1, ""])
    }
    assert.match(unknown.errors, /^Unknown option '--fast'.*\nTry --help\.\n$/s)
    assert.strictEqual(missing.errors, "missing.csv cannot be imported: there is no such file\n")
    assert.strictEqual(folder.errors, `${directory} cannot be imported: it is a directory\n`)
    assert.strictEqual(
      table.errors,
      `${other} cannot be imported: its first line does not name the columns timestamp, seriousness, product, ` +
        "responsible_section, seriousness_2, service_level, service_type, support_section, workgroup\n"
    )
  })
})

describe.each(servers)("examples/helpdesk.ts on $name", ({ freshDatabase }) => {
  it.live("imports the same log twice at the same time without a conflict", () =>
    Effect.gen(function* () {
      const { owner } = yield* freshDatabase
      const importing = Effect.promise(() => run("helpdesk", [sample], urlOf(owner)))
      const outcomes = yield* Effect.all([importing, importing], { concurrency: 2 })
      for (const { status, output, errors } of outcomes) {
        assert.strictEqual(status, 0, errors)
        assert.notInclude(errors, "left out")
        assert.include(output, "Imported")
      }
      const after = yield* importing
      assert.match(after.output, totals)
      assert.match(after.output, /^Imported 0 events in \d+\.\d s; 333 had been imported before$/m)
    }).pipe(Effect.scoped)
  )
})

// The real log is 3 MB and not part of the package.
describe.skipIf(!existsSync(realLog))(
  "examples/helpdesk.ts on the real log (../shared/data/helpdesk.csv)",
  () => {
    const counts = async (databaseUrl?: string) => {
      const table = Path.join(directory, "real.csv")
      const { status, output, errors } = await run("helpdesk", [realLog, "--csv", table], databaseUrl)
      assert.strictEqual(status, 0, errors)
      assert.match(output, /^Imported 21,348 events in /m)
      assert.include(output, "\nCase names of several customers, with a ticket for each: 7\n")
      assert.include(output, "\n  Case 732: Value 22, Value 225\n")
      assert.strictEqual(await readFile(table, "utf8"), await readFile(realTable, "utf8"))
    }

    it("counts what is expected for 397 tenants, embedded", () => counts())

    for (const { name, freshDatabase } of servers) {
      it.live(`counts what is expected for 397 tenants, on ${name}`, () =>
        Effect.scoped(
          Effect.flatMap(freshDatabase, ({ owner }) => Effect.promise(() => counts(urlOf(owner))))
        )
      )
    }
  }
)

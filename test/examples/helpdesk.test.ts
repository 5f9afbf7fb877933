import { afterAll, assert, beforeAll, describe, it, vi } from "@effect/vitest"
import { Effect } from "effect"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { urlOf } from "../support/databaseUrl.ts"
import { servers } from "../support/Databases.ts"
import { root, run, runBundled, runUntil } from "./run.ts"

const sample = Path.join(root, "examples/helpdesk/sample.csv")

// Each test runs whole programs.
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

  it("continues with the log and the table after it was killed, and adds nothing when run again", async () => {
    const args = [sample, "--data", Path.join(directory, "data")]
    const killed = await runUntil(/^ 25%/m, "helpdesk", args)
    assert.strictEqual(killed.output, "")
    const completed = await runBundled("helpdesk", args)
    assert.strictEqual(completed.status, 0, completed.errors)
    assert.match(completed.output, totals)
    assert.match(completed.output, /^Imported \d+ events? in .*; \d+ had been imported before$/m)
    const again = await runBundled("helpdesk", args)
    assert.strictEqual(again.status, 0, again.errors)
    assert.match(again.output, /^Imported 0 events in \d+\.\d s; 333 had been imported before$/m)
    const table = ({ output }: { readonly output: string }) => output.slice(0, output.indexOf("Imported"))
    assert.strictEqual(table(again), table(completed))
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
    // With a byte order mark and short line ends, as on other systems.
    await writeFile(file, `\uFEFF${lines.join("\n")}\n`)
    const { status, output, errors } = await runBundled("helpdesk", [file, "--csv", table])
    assert.strictEqual(status, 2)
    assert.match(output, /^Imported 5 events in /m)
    assert.strictEqual(
      errors.slice(errors.indexOf("\n\n") + 2),
      `10 lines left out:
  line 3: timestamp is not a time like 2010-01-13T08:40:25Z
  line 4: timestamp is not a time like 2010-01-13T08:40:25Z
  line 5: activity is not an activity of the desk
  line 6: it has 12 columns instead of 13
  line 7: it has 14 columns instead of 13
  line 8: resource is empty
  line 9: its quotes are not balanced
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

  it("explains its usage, and wrong usage", async () => {
    const other = Path.join(directory, "other.csv")
    await writeFile(other, "customer,case,activity,resource\nValue 1,Case 1,Closed,Value 2\n")
    const [help, unknown, missing, folder, table] = await Promise.all([
      runBundled("helpdesk", ["--help"]),
      runBundled("helpdesk", ["--fast"]),
      runBundled("helpdesk", ["missing.csv"]),
      runBundled("helpdesk", [directory]),
      runBundled("helpdesk", [other])
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
      const importing = Effect.promise(() => runBundled("helpdesk", [sample], urlOf(owner)))
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

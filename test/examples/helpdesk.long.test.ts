import { afterAll, assert, beforeAll, describe, it, vi } from "@effect/vitest"
import { Effect } from "effect"
import { existsSync } from "node:fs"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { urlOf } from "../support/databaseUrl.ts"
import { servers } from "../support/Databases.ts"
import { root, runBundled } from "./run.ts"

const realLog = Path.join(root, "../shared/data/helpdesk.csv")
const realTable = Path.join(root, "../shared/data/helpdesk-expected.csv")

// Each test runs a whole program with 21,348 events.
vi.setConfig({ testTimeout: 150_000 })

let directory = ""
beforeAll(async () => {
  directory = await mkdtemp(Path.join(tmpdir(), "effect-eventsourcing-helpdesk-"))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

// The real log is 3 MB and not part of the repository.
if (!existsSync(realLog)) console.warn(`NOT RUN: the help desk on its real log, because ${realLog} is absent`)

describe.skipIf(!existsSync(realLog))(
  "examples/helpdesk.ts on the real log (../shared/data/helpdesk.csv)",
  () => {
    const counts = async (databaseUrl?: string) => {
      const table = Path.join(directory, "real.csv")
      const { status, output, errors } = await runBundled("helpdesk", [realLog, "--csv", table], databaseUrl)
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

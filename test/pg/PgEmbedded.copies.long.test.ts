/** Copies of databases with a schema, from which later starts take theirs. */
import { assert, describe, it } from "@effect/vitest"
import { randomUUID } from "node:crypto"
import * as Fs from "node:fs"
import { createRequire } from "node:module"
import * as Path from "node:path"
import { makeSession } from "../../src/pg/pglite/session.ts"
import * as Pglite from "../../src/pg/pglite/start.ts"

const entry = createRequire(import.meta.url).resolve("@electric-sql/pglite")
const folder = Path.join(
  entry.slice(0, entry.lastIndexOf("node_modules")),
  "node_modules/.cache/effect-eventsourcing"
)

describe("a copy of an embedded database", () => {
  it("has what was there when it was kept, for each later start; a damaged one is made again, an old one removed", async () => {
    const pglite = await Pglite.load()
    assert.isDefined(pglite)
    if (pglite === undefined) return
    const schema = `test-${randomUUID()}`
    const ending = `-${schema}.tar`
    const copies = () => Fs.readdirSync(folder).filter((name) => name.endsWith(ending))
    const old = Path.join(folder, `pglite-0.0.0-${schema}-old.tar`)
    /** The rows of the copy that it starts from; undefined without one, and then it keeps one with a table. */
    const start = async (): Promise<string | undefined> => {
      const { database, keep } = await Pglite.startWithSchema(pglite, schema)
      const session = makeSession(database)
      try {
        if (keep !== undefined) {
          await session.run("create table kept (n int)")
          await session.run("checkpoint")
          await keep()
        }
        let rows: string | undefined
        await session.listen("rows", (payload) => (rows = payload))
        await session.run("select pg_notify('rows', count(*)::text) from kept")
        await session.run("insert into kept values (1)")
        return keep === undefined ? rows : undefined
      } finally {
        await session.close()
      }
    }
    try {
      Fs.mkdirSync(folder, { recursive: true })
      Fs.writeFileSync(old, "")
      Fs.utimesSync(old, new Date(0), new Date(0))
      assert.isUndefined(await start())
      assert.isFalse(Fs.existsSync(old))
      const [copy = ""] = copies()
      assert.deepStrictEqual([await start(), await start()], ["0", "0"])
      Fs.truncateSync(Path.join(folder, copy), 100_000)
      assert.isUndefined(await start())
      assert.strictEqual(await start(), "0")
    } finally {
      for (const name of copies()) Fs.rmSync(Path.join(folder, name), { force: true })
    }
  })
})

import { assert, describe, it } from "@effect/vitest"
import { includes } from "../../src/pg/installList.ts"

const change = `
select not exists (select from eventsourcing.schema_files where path = 'changes/0001_x.sql') as pending \\gset
\\if :pending
\\ir changes/0001_x.sql
insert into eventsourcing.schema_files (path, sha256) values ('changes/0001_x.sql', 'applied by psql');
\\endif
`

describe("the list in install.sql", () => {
  it("names its files in order, including changes of data", () => {
    const list = `-- a comment\n\\ir roles.sql\n\n\\ir tables/a.sql\n${change}\\ir privileges.sql\n`
    assert.deepStrictEqual(includes(list), [
      "roles.sql",
      "tables/a.sql",
      "changes/0001_x.sql",
      "privileges.sql"
    ])
  })

  it.each([
    ["a statement", "select 1;"],
    ["another command of psql's", "\\i roles.sql"],
    ["a file outside of its folder", "\\ir ../roles.sql"],
    ["a change of data that psql would apply each time", "\\ir changes/0001_x.sql"],
    ["a condition around a file that is no change of data", change.replaceAll("changes/0001_x", "tables/a")],
    ["a condition about another file", change.replace("changes/0001_x", "changes/0002_x")],
    ["a change of data that psql would not record", change.replace(/^insert.*$/m, "")]
  ])("refuses %s, which psql and PgMigrator would understand differently", (_, list) => {
    assert.throws(() => includes(list), /is not understood/)
  })
})

import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { randomUUID } from "node:crypto"
import { append, events, newTenant, stream } from "../../src/testing/driver/eventKit.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import { urlOf } from "../support/databaseUrl.ts"
import { type Config, servers } from "../support/Databases.ts"
import { run, runBundled } from "./run.ts"
import { flipped } from "../../src/testing/failures.ts"

const uuid = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g

describe("examples/admin.ts", () => {
  it("prints the usage of three shops, suspends one, and lists the accesses across tenants", async () => {
    const { status, output, errors } = await run("admin")
    assert.strictEqual(errors, "")
    assert.strictEqual(status, 0)
    const ids: Array<string> = []
    const readable = output
      .replaceAll(uuid, (id) => {
        if (!ids.includes(id)) ids.push(id)
        return `<${ids.indexOf(id) + 1}>`
      })
      .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, "<time>")
    assert.deepStrictEqual(readable.split("\n"), [
      "Usage since yesterday:",
      "<1>: 1 events, 37 bytes, 1 new streams",
      "<2>: 2 events, 74 bytes, 2 new streams",
      "<3>: 3 events, 111 bytes, 3 new streams",
      "The first shop does not pay:",
      "<1>: active -> suspended",
      "tenant <1> is suspended: its data can be read but not written",
      "<1>: suspended -> active",
      "its next event has position 2",
      "Accesses across tenants:",
      "<time> auditor: TenantRegistry.accesses (yearly review)",
      "<time> ada: TenantRegistry.resume <1> (bill 17 was paid)",
      "<time> ada: TenantRegistry.suspend <1> (bill 17 is overdue)",
      "<time> billing: TenantRegistry.usage <time> <time> (bills of this month)",
      ""
    ])
  })

  it.live.each(servers)(
    "works on $name as a role that may do nothing as a tenant",
    ({ freshDatabase }) =>
      Effect.gen(function* () {
        const database = yield* freshDatabase
        const on = (config: Config) => Effect.provide(PgClient.layer(config), { local: true })
        const tenant = newTenant()
        yield* append(tenant, stream("one", events(3))).pipe(
          Effect.provide(PgStorage.layer),
          on(database.app)
        )
        const role = `eventsourcing_test_${randomUUID().slice(0, 8)}`
        const asOwner = (statement: string) =>
          SqlClient.SqlClient.use((sql) => sql.unsafe(statement)).pipe(on(database.owner))
        yield* Effect.acquireRelease(
          Effect.andThen(
            asOwner(`create role ${role} login password '${role}'`),
            asOwner(`grant eventsourcing_all_tenants to ${role}`)
          ),
          () => Effect.orDie(asOwner(`drop role ${role}`))
        )
        const url = urlOf({ ...database.owner, username: role, password: Redacted.make(role) })
        const admin = (...args: ReadonlyArray<string>) => Effect.promise(() => runBundled("admin", args, url))
        const access = ["--actor", "ada", "--reason", "test"]

        const used = yield* admin("usage", "2000-01-01", "2999-01-01", ...access)
        assert.deepStrictEqual([used.errors, used.status], ["", 0])
        assert.match(used.output, new RegExp(`^${tenant}: 3 events, \\d+ bytes, 1 new streams$`, "m"))
        const suspended = yield* admin("suspend", tenant, ...access)
        assert.strictEqual(suspended.output, `${tenant}: active -> suspended\n`)
        const audit = yield* admin("audit", ...access)
        assert.deepStrictEqual(
          audit.output.split("\n").map((line) => line.split(" ")[2]),
          ["TenantRegistry.accesses", "TenantRegistry.suspend", "TenantRegistry.usage", undefined]
        )

        const nobody = yield* admin("audit")
        assert.deepStrictEqual(
          [nobody.status, nobody.errors],
          [2, "--actor and --reason are recorded and have no default\n"]
        )

        // The role of the administrator's program cannot work for tenants.
        const refused = yield* append(tenant, stream("one", events(1))).pipe(
          Effect.provide(PgStorage.layer),
          on({ ...database.owner, username: role, password: Redacted.make(role) }),
          flipped
        )
        assert.strictEqual(refused._tag, "StorageUnavailable")
      }).pipe(Effect.scoped),
    180_000
  )
})

/** Tables of the application in archives. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import * as TenantArchive from "../../src/lifecycle/TenantArchive.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { flipped } from "../../src/testing/failures.ts"
import { servers } from "../support/Databases.ts"
import { administer } from "../support/moving.ts"
import { fill } from "../support/movingLoad.ts"
import { program, setup } from "../support/movingSilos.ts"

for (const server of servers)
  it.live(`carried rows are in an archive, and rows in undeclared tables refuse it (${server.name})`, () =>
    Effect.gen(function* () {
      const { entries, known, tenantId } = yield* setup(server)
      const { outside } = known.get("pool") ?? assert.fail("pool")
      const copy = newTenant()
      entries.set(copy, "pool")
      const run = administer(Stream.runCollect(TenantArchive.exportFiles({ tenantId })))
      yield* Effect.gen(function* () {
        yield* fill(tenantId, 500)
        yield* outside("insert into notes select $1, n from generate_series(1, 3) n", [tenantId])
        const files = yield* run
        yield* administer(TenantArchive.importFiles(Stream.fromIterable(files), { into: copy }))
        assert.deepStrictEqual(
          yield* outside("select n from notes where tenant_id = $1 order by n", [copy]),
          [1, 2, 3].map((n) => ({ n }))
        )
        yield* outside(
          "create table secrets (tenant_id uuid not null, n integer, primary key (tenant_id, n))"
        )
        yield* outside("select eventsourcing.protect_tenant_table('secrets')")
        yield* outside("insert into secrets values ($1, 1)", [tenantId])
        const refused = yield* flipped(run)
        assert.containSubset(refused, { _tag: "UndeclaredTables", tables: ["public.secrets"] })
      }).pipe(Effect.provide(Layer.fresh(program(known, entries))))
    }).pipe(Effect.scoped)
  )

/** The check of isolation in a database with thousands of protected tables. */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as PgCheck from "../../src/pg/PgCheck.ts"
import { failsWith } from "../../src/testing/isolation/kit.ts"
import { servers } from "../support/Databases.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

const tables = 2600
/** A transaction holds a lock for each of its tables and indexes. */
const atOnce = 200

const create = (first: number): string => `
  do $do$
  begin
    for n in ${first} .. ${first + atOnce - 1} loop
      execute format('create table public.many_%s (tenant_id uuid not null, id integer not null, primary key (tenant_id, id))', n);
      perform eventsourcing.protect_tenant_table(format('public.many_%s', n)::regclass);
      execute format('grant select, insert on public.many_%s to eventsourcing_tenant', n);
    end loop;
  end
  $do$`

for (const server of servers) {
  layer(layerOn(server), { excludeTestServices: true })(`2,600 protected tables on ${server.name}`, (it) => {
    it.effect("are checked within seconds, and one impaired table is found among them", () =>
      Effect.gen(function* () {
        const { app, outside } = yield* TenantDatabase
        for (let first = 1; first <= tables; first += atOnce) yield* outside(create(first))
        const check = PgCheck.isolation.pipe(
          Effect.provide(PgClient.layer(app), { local: true }),
          // The store starts behind this check, and the silence of a connection ends at 10 seconds.
          Effect.timeout("30 seconds")
        )
        yield* check
        yield* outside("alter table public.many_1234 disable row level security")
        const { problems } = yield* check.pipe(failsWith("IsolationImpaired"))
        assert.deepStrictEqual(
          problems.map(({ problem }) => problem),
          ["row-level security of public.many_1234 is off"]
        )
        for (const { remedy } of problems) yield* outside(remedy)
        yield* check
      })
    )
  })
}

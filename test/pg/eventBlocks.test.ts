/** The types of each 1,024 events, by which conditions and queries on types alone skip parts of a log. */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { TenantId } from "../../src/domain/Tenant.ts"
import { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import { administered, begun, rawEvents } from "../../src/testing/driver/administrationKit.ts"
import {
  append,
  attempt,
  batch,
  event,
  events,
  newTenant,
  plain,
  request,
  stream
} from "../../src/testing/driver/eventKit.ts"
import { servers } from "../support/Databases.ts"
import { layerOn, type Store, TenantDatabase } from "../support/tenantDatabase.ts"

const blocks = (tenant: TenantId) =>
  TenantDatabase.use(({ outside }) =>
    Effect.map(
      outside<{ block: number; types: Array<string>; owners: Array<string> }>(
        `select block::integer as block, event_types as types, aggregate_types as owners
          from eventsourcing.event_blocks where tenant_id = $1 order by block`,
        [tenant]
      ),
      (rows) => rows.map(({ block, owners, types }) => [block, types, owners])
    )
  )

/** A log of 5,500 events, in which a type is rarer the higher its number, and in which the third block has no row. */
const fill = (tenant: TenantId) =>
  TenantDatabase.use(({ outside }) =>
    outside(`do $do$ begin
      insert into eventsourcing.tenants (tenant_id) values ('${tenant}');
      insert into eventsourcing.events (tenant_id, position, aggregate_type, aggregate_id, version, event_id,
        event_type, schema_version, occurred_at, recorded_at, correlation_id, metadata, payload, bytes)
      select '${tenant}', n, case when n between 2000 and 3000 then 'Rare' else 'Case' end, n, 1, gen_random_uuid(),
        'T' || case when n % 1024 in (0, 1) then 6
          else floor(-ln(('x' || substr(md5(n::text), 1, 7))::bit(28)::integer / 268435456.0 + 1e-9))::integer end,
        1, now(), now(), 'c', '{}', '{}', 4
      from generate_series(1, 5500) n;
      perform eventsourcing.summarise_blocks('${tenant}', 1, 5500);
      delete from eventsourcing.event_blocks where tenant_id = '${tenant}' and block = 2;
    end $do$`)
  )

for (const server of servers) {
  layer(layerOn(server), { excludeTestServices: true })(`blocks of events on ${server.name}`, (it) => {
    const on = <A, E>(run: Effect.Effect<A, E, Store | TenantDatabase>) =>
      TenantDatabase.use(({ store }) =>
        Effect.flatMap(store({ maxConnections: 2 }), (services) => Effect.provideContext(run, services))
      ).pipe(Effect.scoped)

    it.effect("are noted when they are full, by every way of appending", () =>
      on(
        Effect.gen(function* () {
          const [one, other] = [newTenant(), newTenant()]
          const of = (count: number, eventType: string) => events(count, { eventType })
          for (const tenant of [one, other]) yield* append(tenant, stream("a", of(1_022, "A")))
          assert.deepStrictEqual(yield* blocks(one), [])
          // alone: the event before the last of a block, the last, and the first of the next
          for (const type of ["B", "C", "D"])
            yield* append(one, stream("b", [event({ eventType: type })], "any", "Other"))
          assert.deepStrictEqual(yield* blocks(one), [[0, ["A", "B", "C"], ["Case", "Other"]]])
          // in a batch, of which one append is refused and another one ends two blocks
          const outcomes = yield* batch(
            request(other, stream("a", of(2_000, "Refused"), 7)),
            request(
              other,
              stream("x", of(1, "X")),
              stream("y", of(1_024 + 500, "Y")),
              stream("z", of(600, "Z"))
            ),
            request(one, stream("a", of(1, "E")))
          )
          assert.deepStrictEqual(
            outcomes.map(({ _tag }) => _tag),
            ["VersionConflict", "Appended", "Appended"]
          )
          assert.deepStrictEqual(yield* blocks(other), [
            [0, ["A", "X", "Y"], ["Case"]],
            [1, ["Y"], ["Case"]],
            [2, ["Y", "Z"], ["Case"]]
          ])
          assert.lengthOf(yield* blocks(one), 1)
        })
      )
    )

    it.effect("are noted of imported events too, and conditions on types see exactly those", () =>
      on(
        Effect.gen(function* () {
          const [source, target] = [newTenant(), newTenant()]
          const of = (count: number, eventType: string) => events(count, { eventType })
          yield* append(source, stream("a", [...of(1_500, "A"), ...of(1, "Rare"), ...of(1_000, "A")]))
          const rows = yield* rawEvents(source)
          const storage = yield* AdministrationStorage
          // transactions that end before, behind and at the end of a block
          const token = yield* begun(target, rows.slice(0, 1_000))
          const at = { ...(yield* administered(target)), token }
          for (const [from, to] of [
            [1_000, 2_048],
            [2_048, 2_501]
          ])
            yield* storage.writeEvents({ ...at, events: rows.slice(from, to) })
          yield* storage.changeState({
            ...at,
            change: "finishImport",
            head: rows.length,
            chainedFrom: undefined,
            status: "active",
            origin: undefined
          })
          const types = [
            [0, ["A"], ["Case"]],
            [1, ["A", "Rare"], ["Case"]]
          ]
          assert.deepStrictEqual(yield* blocks(target), types)
          assert.deepStrictEqual(yield* blocks(source), types)
          const conditional = (eventTypes: ReadonlyArray<string>, after: number) => ({
            ...request(target, stream("b", of(1, "B"))),
            conditions: [
              { query: [{ tags: [], eventTypes, aggregateType: undefined }], after, afterEventId: undefined }
            ]
          })
          const outcomes = [
            yield* attempt(conditional(["Rare"], 1_500)),
            yield* attempt(conditional(["Rare"], 0)),
            yield* attempt(conditional(["None"], 0)),
            yield* attempt(conditional(["Rare", "B"], 1_501)),
            yield* attempt(conditional(["Rare"], 1_501))
          ].map(plain)
          assert.deepStrictEqual(
            outcomes.map(({ _tag, position }) => [_tag, position]),
            [
              ["AppendConditionFailed", 1_501],
              ["AppendConditionFailed", 1_501],
              ["Appended", undefined],
              ["AppendConditionFailed", 2_502],
              ["Appended", undefined]
            ]
          )
          // the log goes on, and its next block contains imported and appended events
          yield* append(target, stream("c", of(600, "C")))
          assert.deepStrictEqual((yield* blocks(target))[2], [2, ["A", "B", "C"], ["Case"]])
        })
      )
    )

    it.effect("do not change what is found, with or without a row, in either direction", () =>
      Effect.gen(function* () {
        const { outside } = yield* TenantDatabase
        const tenant = newTenant()
        yield* fill(tenant)
        // edges of blocks, and places within them
        const places = [
          1, 2, 128, 129, 1_023, 1_024, 1_025, 2_048, 2_049, 2_500, 3_072, 3_073, 4_096, 5_120, 5_121, 5_500,
          9_000
        ]
        const rows = yield* outside<{ wrong: string }>(
          `select left(format('%s-%s %s %s %s %s: %s, not %s', f, t, types, owners, backwards, most, found, expected), 200) as wrong
          from unnest($1::bigint[]) f cross join unnest($1::bigint[]) t
          cross join (values (array['T0']), (array['T3', 'T5']), (array['T6']), (array['T9', 'T12']), (array['None']), (null)) y (types)
          cross join (values (array['Rare']), (null::text[])) o (owners)
          cross join (values (false), (true)) d (backwards)
          cross join (values (1), (7), (10000)) l (most)
          cross join lateral (
            select eventsourcing.matching_positions('${tenant}', '[{"tags": []}]', f, t, owners, types, backwards, most) as found
          ) a
          cross join lateral (
            select coalesce(array_agg(e.position order by case when backwards then -e.position else e.position end), '{}') as expected
            from (
              select e.position from eventsourcing.events e
              where e.tenant_id = '${tenant}' and e.position between f and t
                and (types is null or e.event_type = any (types)) and (owners is null or e.aggregate_type = any (owners))
              order by case when backwards then -e.position else e.position end limit most
            ) e
          ) b
          where f <= t and (types is not null or owners is not null) and found <> expected
            -- one of 64
            and md5(concat(f, t, types, owners, backwards, most)) < '04'
          limit 3`,
          [places]
        )
        assert.deepStrictEqual(rows, [])
        const [{ noted } = { noted: -1 }] = yield* outside<{ noted: number }>(
          `select count(*)::integer as noted from eventsourcing.event_blocks where tenant_id = $1`,
          [tenant]
        )
        assert.strictEqual(noted, 4)
      })
    )
  })
}

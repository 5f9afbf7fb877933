/** The transactions of appends: their isolation level, and their wait for the disk. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import type { EventStorage } from "../../src/driver/EventStorage.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import {
  append,
  batch,
  events,
  newTenant,
  refused,
  request,
  stream
} from "../../src/testing/driver/eventKit.ts"
import { type Database, servers } from "../support/Databases.ts"

const clientOf = (config: Database["app"]) => Layer.fresh(PgClient.layer({ ...config, maxConnections: 1 }))

const storeOn = ({ app }: Database) =>
  Layer.build(
    Layer.fresh(PgStorage.layerWith({ announce: false }).pipe(Layer.provideMerge(clientOf(app)), Layer.orDie))
  )

const ownerOf = ({ owner }: Database) =>
  Effect.map(Layer.build(clientOf(owner)), Context.get(PgClient.PgClient))

describe.each(servers)("appends on $name", ({ freshDatabase }) => {
  it.live(
    "read what the previous holder of the lock has committed, whatever the default isolation level",
    () =>
      Effect.gen(function* () {
        const database = yield* freshDatabase
        const owner = yield* ownerOf(database)
        yield* owner.unsafe(
          `alter database ${database.owner.database} set default_transaction_isolation to 'serializable'`
        )
        yield* owner.unsafe(`do $do$ begin
        create table public.levels (level text not null, at integer not null);
        grant insert on public.levels to public;
        create function public.note_level() returns trigger language plpgsql as $$ begin
          insert into public.levels values (current_setting('transaction_isolation'), new.position);
          return null;
        end $$;
        create trigger note_level after insert on eventsourcing.events for each row execute function public.note_level();
      end $do$`)
        const tenant = newTenant()
        const store = yield* storeOn(database)
        yield* append(tenant, stream("a", events(2))).pipe(Effect.provideContext(store))
        // alone, by append_one
        yield* append(tenant, stream("a", events(1))).pipe(Effect.provideContext(store))
        // and those that wait meanwhile, by append
        yield* batch(...[1, 2, 3].map(() => request(tenant, stream("a", events(1))))).pipe(
          Effect.provideContext(store)
        )
        assert.deepStrictEqual(
          yield* owner`select level, count(*)::integer as events from public.levels group by level`,
          [{ level: "read committed", events: 6 }]
        )
      })
  )

  it.live("wait for the disk if they wrote something, and not if they were refused", () =>
    Effect.gen(function* () {
      const database = yield* freshDatabase
      const owner = yield* ownerOf(database)
      const tenant = newTenant()
      const store = yield* storeOn(database)
      yield* append(tenant, stream("a", events(2))).pipe(Effect.provideContext(store))
      /** Runs of 20 after which everything was on the disk. Other databases of the server write meanwhile. */
      const waits = <A, E>(run: Effect.Effect<A, E, EventStorage>) =>
        Effect.gen(function* () {
          let waited = 0
          for (let n = 0; n < 20; n++) {
            yield* Effect.provideContext(run, store)
            const [row] = yield* owner<{ onDisk: boolean }>`
              select pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn() as "onDisk"`
            if (row?.onDisk === true) waited++
          }
          return waited
        })
      const another = Effect.suspend(() => append(tenant, stream("a", events(1))))
      const several = Effect.suspend(() => append(tenant, stream("a", events(2))))
      assert.isAbove(yield* waits(another), 0)
      assert.isAbove(yield* waits(several), 0)
      assert.isBelow(yield* waits(refused(tenant, stream("a", events(1), 1))), 20)
    })
  )
})

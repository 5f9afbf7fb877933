/** Loading streams: read, decoded and folded, beside the bare read and the other event stores. */
import { PgClient } from "@effect/sql-pg"
import { Effect, ManagedRuntime } from "effect"
import { randomUUID } from "node:crypto"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { apply, Cart, type CartEvent, type CartState, initial, itemAdded } from "../internal/domain.ts"
import { interleave, loops } from "../internal/measure.ts"
import { fibers, newTenants, startOn } from "../internal/ours.ts"
import { table } from "../internal/report.ts"
import { client, execute } from "../internal/server.ts"
import { startPeers } from "../peers/start.ts"
import { atLeast, type Case, ratioOf } from "./Case.ts"

const concurrency = 32
const streams = 64

/** The events of a stream from the driver, without a function, and without row-level security for the owner. */
const rawSql = `select position::float8, aggregate_type, aggregate_id, version, event_id::text, event_type, schema_version,
  occurred_at, recorded_at, actor, correlation_id, causation_id, metadata::text, payload::text
  from eventsourcing.events where tenant_id = $1::uuid and aggregate_type = 'Cart' and aggregate_id = $2::text order by version`

const payloadColumn = 13

const load = (length: number): Case => ({
  name: `load ${length} events`,
  run: async ({ server, rounds, seconds }) => {
    const database = await server.newDatabase()
    const runtime = startOn(database)
    const [tenantId = Tenant.untenanted] = newTenants(1)
    const ids = Array.from({ length: streams }, () => randomUUID())
    const events = Array.from({ length }, (_, n) => itemAdded(n))
    const expected = events.reduce(apply, initial)
    const check = (state: CartState): void => {
      if (state.items !== expected.items) throw new Error(`loaded ${state.items} items of ${expected.items}`)
    }
    await runtime.runPromise(
      Effect.forEach(
        ids,
        (id) =>
          EventStore.EventStore.use((store) =>
            store.append({ aggregate: Cart, id, expectedVersion: "noStream", events })
          ),
        { concurrency: 8, discard: true }
      ).pipe(Tenant.provide(tenantId))
    )
    await execute(database.owner, "vacuum analyze eventsourcing.events")
    const raw = ManagedRuntime.make(client(database.owner))
    const peers = (await startPeers(server)).filter(({ load: peerLoad }) => peerLoad !== undefined)
    for (const peer of peers) {
      for (const id of ids) {
        for (let from = 0; from < length; from += 100)
          await peer.append(id, from, events.slice(from, from + 100))
      }
      await execute(peer.database.owner, "vacuum analyze")
    }
    let next = 0
    const nextId = (): string => ids[next++ % streams] ?? ""
    const measured = await interleave(
      [
        {
          name: "raw read, same driver",
          run: (time) =>
            raw.runPromise(
              fibers(concurrency, time, () =>
                PgClient.PgClient.use((sql) => sql.unsafe(rawSql, [tenantId, nextId()]).values)
              )
            )
        },
        {
          name: "bare read, JSON.parse and fold, same driver",
          run: (time) =>
            raw.runPromise(
              fibers(concurrency, time, () =>
                Effect.map(
                  PgClient.PgClient.use((sql) => sql.unsafe(rawSql, [tenantId, nextId()]).values),
                  (rows) =>
                    check(
                      rows.reduce(
                        (state, row) => apply(state, JSON.parse(String(row[payloadColumn])) as CartEvent),
                        initial
                      )
                    )
                )
              )
            )
        },
        {
          name: "this store",
          run: (time) =>
            runtime.runPromise(
              fibers(concurrency, time, () =>
                Effect.map(
                  Repository.Repository.use((repository) => repository.load(Cart, nextId())),
                  ({ state }) => check(state)
                )
              ).pipe(Tenant.provide(tenantId))
            )
        },
        ...peers.map((peer) => ({
          name: `peer ${peer.name}`,
          run: (time: number) => loops(concurrency, time, async () => check(await peer.load(nextId())))
        }))
      ],
      { rounds, seconds }
    )
    await runtime.dispose()
    await raw.dispose()
    for (const peer of peers) await peer.close()
    await database.close()
    const result = table(`Load and fold ${length} events, 32 concurrent`, "loads/s", measured)
    return {
      tables: [result],
      targets:
        length === 100
          ? [
              atLeast(
                "load 100 events, decode, fold",
                0.75,
                "the raw read through the same driver",
                ratioOf(result, "this store", (name) => name === "raw read, same driver")
              ),
              atLeast(
                "load 100 events, decode, fold",
                1.25,
                "the fastest peer",
                ratioOf(result, "this store", (name) => name.startsWith("peer"))
              )
            ]
          : []
    }
  }
})

export const loadCases: ReadonlyArray<Case> = [load(10), load(100), load(1000)]

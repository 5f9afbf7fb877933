/** Personal fields: appends and loads of events with one, and of events without any, behind a layer that seals and without it. */
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import { Cart, GiftCart, giftAdded, itemAdded } from "../internal/domain.ts"
import { type Contender, interleave } from "../internal/measure.ts"
import { append, fibers, newTenants, type Runtime, startOn, startSealing } from "../internal/ours.ts"
import { type Table, table } from "../internal/report.ts"
import { type Database, execute, type Server } from "../internal/server.ts"
import { atLeast, type Case, type Outcome, ratioOf } from "./Case.ts"

const without = "without the layer, plain events"
const plain = "sealing, plain events"
const personal = "sealing, one personal field an event"

/** Two runs of the same code differ by a few percent. */
const noCost = 0.97

const outcomeOf = (subject: string, result: Table): Outcome => {
  const to = (name: string) => ratioOf(result, name, (other) => other === without)
  return {
    tables: [result],
    targets: [
      atLeast(`${subject}, plain events`, noCost, "without the layer", to(plain)),
      atLeast(`${subject}, one personal field an event`, 0.5, "plain events without the layer", to(personal))
    ]
  }
}

const withDatabases = async (
  server: Server,
  use: (databases: readonly [Database, Database, Database]) => Promise<Outcome>
): Promise<Outcome> => {
  const databases = [
    await server.newDatabase(),
    await server.newDatabase(),
    await server.newDatabase()
  ] as const
  try {
    return await use(databases)
  } finally {
    for (const database of databases) await database.close()
  }
}

const appending = (concurrency: number): Case => ({
  name: `personal fields: append, ${concurrency} concurrent`,
  run: ({ server, rounds, seconds }) =>
    withDatabases(server, async ([first, second, third]) => {
      const measured = await interleave(
        [
          append(first, { name: without, concurrency }),
          append(second, { name: plain, concurrency, sealed: "plain events" }),
          append(third, { name: personal, concurrency, sealed: "personal events" })
        ],
        { rounds, seconds }
      )
      const subject = `append 1 event, ${concurrency} concurrent`
      return outcomeOf(
        subject,
        table(
          `Append 1 event with a personal field, ${concurrency} concurrent`,
          "appends/s",
          measured,
          without
        )
      )
    })
})

const streams = 64
const concurrency = 32

/** Loads streams whose keys are known to the process, and folds them from their first event. */
const loading = async (
  database: Database,
  name: string,
  runtime: Runtime,
  length: number
): Promise<Contender> => {
  const [tenantId = Tenant.untenanted] = newTenants(1)
  const ids = Array.from({ length: streams }, () => randomUUID())
  const numbers = Array.from({ length }, (_, n) => n)
  const isPersonal = name === personal
  const prepare = (id: string) =>
    EventStore.EventStore.use((store) =>
      isPersonal
        ? Effect.asVoid(
            store.append({
              aggregate: GiftCart,
              id,
              expectedVersion: "noStream",
              events: numbers.map((n) => giftAdded(n))
            })
          )
        : Effect.asVoid(
            store.append({
              aggregate: Cart,
              id,
              expectedVersion: "noStream",
              events: numbers.map((n) => itemAdded(n))
            })
          )
    )
  await runtime.runPromise(
    Effect.forEach(ids, prepare, { concurrency: 8, discard: true }).pipe(Tenant.provide(tenantId))
  )
  await execute(database.owner, "vacuum analyze eventsourcing.events")
  let next = 0
  const load = Repository.Repository.use((repository) => {
    const id = ids[next++ % streams] ?? ""
    return isPersonal
      ? repository.load(GiftCart, id, { fresh: true })
      : repository.load(Cart, id, { fresh: true })
  }).pipe(
    Effect.flatMap(({ state }) =>
      state.items === length ? Effect.void : Effect.die(new Error(`loaded ${state.items} items of ${length}`))
    )
  )
  return {
    name,
    run: (time) => runtime.runPromise(fibers(concurrency, time, () => load).pipe(Tenant.provide(tenantId))),
    close: () => runtime.dispose()
  }
}

const loads = (length: number): Case => ({
  name: `personal fields: load ${length} events`,
  run: ({ server, rounds, seconds }) =>
    withDatabases(server, async ([first, second, third]) => {
      const measured = await interleave(
        [
          await loading(first, without, startOn(first), length),
          await loading(second, plain, startSealing(second), length),
          await loading(third, personal, startSealing(third), length)
        ],
        { rounds, seconds }
      )
      return outcomeOf(
        `load ${length} events`,
        table(
          `Load and fold ${length} events with a personal field each, ${concurrency} concurrent`,
          "loads/s",
          measured,
          without
        )
      )
    })
})

export const forgettingCases: ReadonlyArray<Case> = [appending(1), appending(32), loads(10), loads(100)]

/** Personal fields: appends and loads of events with one, and of events without any, behind a layer that seals and without it. */
import { Effect } from "effect"
import type * as Forgetting from "../../src/forgetting/Forgetting.ts"
import { randomUUID } from "node:crypto"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import { Cart, GiftCart, giftAdded, itemAdded } from "../internal/domain.ts"
import { type Contender, interleave, interval } from "../internal/measure.ts"
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

/** Loads streams whose keys are known to the process. `fresh` ones are folded from their first event. */
const loading = async (
  database: Database,
  name: string,
  runtime: Runtime,
  { fresh, length }: { readonly fresh: boolean; readonly length: number }
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
    return isPersonal ? repository.load(GiftCart, id, { fresh }) : repository.load(Cart, id, { fresh })
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

/** A way to load, by its title in the tables. */
interface Loads {
  readonly title: string
  readonly fresh: boolean
  readonly cache?: Forgetting.CacheOptions | undefined
}

/** As users have it: states are remembered, and confirmed by each load. */
const remembered: Loads = { title: "as users have it (remembered states)", fresh: false }
/** Each event is read again and folded. Its fields were opened by an earlier load of the process. */
const again: Loads = { title: "fresh, of events opened before", fresh: true }
/** Each event is read again, and each of its fields decrypted: the load of a process that has only the keys. */
const first: Loads = { title: "fresh, each field decrypted", fresh: true, cache: { opened: 0 } }

const loads = (length: number, { cache, fresh, title }: Loads): Case => ({
  name: `personal fields: load ${length} events, ${title}`,
  run: ({ server, rounds, seconds }) =>
    withDatabases(server, async ([one, two, three]) => {
      const request = { fresh, length }
      const measured = await interleave(
        [
          await loading(one, without, startOn(one), request),
          await loading(two, plain, startSealing(two, { cache }), request),
          await loading(three, personal, startSealing(three, { cache }), request)
        ],
        { rounds, seconds }
      )
      return outcomeOf(
        `load ${length} events, ${title}`,
        table(
          `Load ${length} events with a personal field each, ${concurrency} concurrent: ${title}`,
          "loads/s",
          measured,
          without
        )
      )
    })
})

/** A contender whose rate is per second of CPU time of this process, which other programs disturb less. */
const byCpu = ({ close, name, run }: Contender): Contender => ({
  name,
  run: async (seconds) => {
    const began = performance.now()
    const before = process.cpuUsage()
    const rate = await run(seconds)
    const { system, user } = process.cpuUsage(before)
    return (rate * (performance.now() - began) * 1000) / (user + system)
  },
  ...(close === undefined ? {} : { close })
})

/** Turns for one round of other cases: a difference of a few percent needs many pairs. */
const pairs = 8

/** Events without marks, by CPU time, beside the same program without the layer, twice: the second one shows the noise. */
const unmarked = (
  subject: string,
  make: (database: Database, name: string, sealing: boolean) => Promise<Contender>
): Case => ({
  name: `personal fields: ${subject} without marks, CPU time`,
  run: ({ server, rounds, seconds }) =>
    withDatabases(server, async ([one, two, three]) => {
      const measured = await interleave(
        [
          byCpu(await make(one, without, false)),
          byCpu(await make(two, "the same again", false)),
          byCpu(await make(three, plain, true))
        ],
        { rounds: rounds * pairs, seconds: seconds / 2 }
      )
      const [floor, ...others] = measured
      const noted = others.map((line) => {
        const [low, middle, high] = interval(
          line.rates.map((rate, round) => rate / (floor?.rates[round] ?? Number.NaN))
        )
        return {
          line: {
            ...line,
            note: `paired ${middle.toFixed(3)}, 90 % interval ${low.toFixed(3)} to ${high.toFixed(3)}`
          },
          middle
        }
      })
      return {
        tables: [
          table(
            `${subject} without marks, per second of CPU time`,
            "per CPU s",
            [...(floor === undefined ? [] : [floor]), ...noted.map(({ line }) => line)],
            without
          )
        ],
        targets: [
          atLeast(
            `${subject} without marks, CPU time, paired`,
            noCost,
            "without the layer",
            noted.at(-1)?.middle ?? Number.NaN
          )
        ]
      }
    })
})

export const forgettingCases: ReadonlyArray<Case> = [
  appending(1),
  appending(32),
  unmarked("append 1 event, 32 concurrent,", (database, name, sealing) =>
    Promise.resolve(append(database, { name, concurrency, ...(sealing ? { sealed: "plain events" } : {}) }))
  ),
  unmarked("load 10 events, fresh,", (database, name, sealing) =>
    loading(database, name, sealing ? startSealing(database) : startOn(database), { fresh: true, length: 10 })
  ),
  ...[10, 100].flatMap((length) => [loads(length, remembered), loads(length, again), loads(length, first)])
]

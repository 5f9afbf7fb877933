/**
 * Commands, as users give them: `Repository.execute` beside peers that load, decide, append, and try again after a conflict.
 */
import { randomUUID } from "node:crypto"
import { apart, inProcesses } from "../internal/apart.ts"
import { commands, decisions } from "../internal/commands.ts"
import { type CartState, itemAdded } from "../internal/domain.ts"
import { type Contender, interleave, loops } from "../internal/measure.ts"
import { newTenants } from "../internal/ours.ts"
import { prepareRaw, rawAppend } from "../internal/raw.ts"
import { table } from "../internal/report.ts"
import { type Database, query } from "../internal/server.ts"
import { type Started, startPeers } from "../peers/start.ts"
import { atLeast, type Case, type Outcome, ratioOf, type Settings, under } from "./Case.ts"

const concurrency = 32
/** A cart of so many events is left for another one: peers read all of them, each time. */
const longest = 50

const isRaw = (name: string): boolean => name.startsWith("raw")
const isPeer = (name: string): boolean => name.startsWith("peer")

/** A cart that many may want. */
interface Place {
  id: string
}

const newPlaces = (count: number): ReadonlyArray<Place> =>
  Array.from({ length: count }, () => ({ id: randomUUID() }))

/** Goes to another cart, unless somebody else has done so. */
const leave = (place: Place, id: string, version: number): void => {
  if (version >= longest && place.id === id) place.id = randomUUID()
}

/** A peer's command: it loads the cart, decides, appends, and does it again if somebody else was faster. */
const peerCommands = (
  peer: Started,
  carts: number,
  decide: (state: CartState) => ReturnType<typeof itemAdded> | undefined
): Contender => {
  const places = newPlaces(carts)
  let acknowledged = 0
  let before: number | undefined
  const count = async (): Promise<number> =>
    (await query<{ n: number }>(peer.database.owner, peer.stored))[0]?.n ?? 0
  const command = async (loop: number): Promise<void> => {
    const place = places[loop % carts]
    if (place === undefined) return
    for (let attempt = 1; ; attempt++) {
      const { id } = place
      const state = await peer.load(id)
      const event = decide(state)
      if (event === undefined) return
      try {
        await peer.append(id, state.items, [event])
        acknowledged++
        return leave(place, id, state.items + 1)
      } catch (error) {
        // Each peer says in its own words that another one was faster.
        if (attempt === 1000) throw error
      }
    }
  }
  return {
    name: `peer ${peer.name}`,
    run: async (seconds) => {
      before ??= await count()
      return loops(concurrency, seconds, command)
    },
    close: async () => {
      const stored = (await count()) - (before ?? 0)
      if (stored !== acknowledged)
        console.warn(`${peer.name}: ${stored} events are stored, ${acknowledged} were acknowledged`)
    }
  }
}

/** Measures contenders on databases of their own, beside R and the peers. */
const beside = async (
  { rounds, seconds, server }: Settings,
  contenders: ReadonlyArray<(database: Database) => Contender | Promise<Contender>>,
  peers?: (peer: Started) => Contender
): Promise<ReadonlyArray<Awaited<ReturnType<typeof interleave>>[number]>> => {
  const started = peers === undefined ? [] : await startPeers(server)
  const rawDatabase = await server.newDatabase()
  await prepareRaw(rawDatabase)
  const databases: Array<Database> = []
  const ours: Array<Contender> = []
  for (const make of contenders) {
    const database = await server.newDatabase()
    databases.push(database)
    ours.push(await make(database))
  }
  const measured = await interleave(
    [
      ...(await rawAppend(rawDatabase, concurrency, 1, 200)),
      ...ours,
      ...(peers === undefined ? [] : started.map(peers))
    ],
    { rounds, seconds }
  )
  for (const peer of started) await peer.close()
  for (const database of [rawDatabase, ...databases]) await database.close()
  return measured
}

const one = "this store, one tenant"
const hundred = "this store, 100 tenants"
const always = (state: CartState): ReturnType<typeof itemAdded> => itemAdded(state.items)

const own: Case = {
  name: "execute, a cart of each fiber",
  run: async (settings) => {
    const measured = await beside(
      settings,
      [
        (database) => commands(database, { name: one, carts: concurrency }),
        (database) => commands(database, { name: hundred, carts: 128, tenants: 100 }),
        (database) =>
          commands(database, {
            name: "without remembered states, one tenant",
            carts: concurrency,
            repository: { remember: { entries: 0 } }
          })
      ],
      (peer) => peerCommands(peer, concurrency, always)
    )
    const result = table(`Execute, a cart of each of ${concurrency} fibers`, "commands/s", measured)
    const subject = `execute, own cart each, ${concurrency} concurrent`
    return {
      tables: [result],
      targets: [
        atLeast(`${subject}, one tenant`, 2, "R", ratioOf(result, one, isRaw)),
        atLeast(`${subject}, one tenant`, 4, "the fastest peer", ratioOf(result, one, isPeer)),
        atLeast(`${subject}, 100 tenants`, 1.7, "R", ratioOf(result, hundred, isRaw)),
        atLeast(`${subject}, 100 tenants`, 3, "the fastest peer", ratioOf(result, hundred, isPeer))
      ]
    }
  }
}

const hot: Case = {
  name: "execute, two carts that all want",
  run: async (settings) => {
    const measured = await beside(
      settings,
      [
        (database) => commands(database, { name: one, carts: 2 }),
        (database) =>
          commands(database, {
            name: "without remembered states, one tenant",
            carts: 2,
            repository: { remember: { entries: 0 } }
          })
      ],
      (peer) => peerCommands(peer, 2, always)
    )
    const result = table(`Execute, two carts that ${concurrency} fibers want`, "commands/s", measured)
    return {
      tables: [result],
      targets: [
        atLeast(
          `execute on two hot carts, ${concurrency} concurrent, one process`,
          2,
          "R",
          ratioOf(result, one, isRaw)
        )
      ]
    }
  }
}

const keyed: Case = {
  name: "execute with a command key",
  run: async (settings) => {
    const [own32, hot2] = ["this store, a cart of each fiber", "this store, two carts that all want"]
    const measured = await beside(settings, [
      (database) => commands(database, { name: own32, carts: concurrency, keyed: true }),
      (database) => commands(database, { name: hot2, carts: 2, keyed: true })
    ])
    const result = table(`Execute with a command key each, ${concurrency} concurrent`, "commands/s", measured)
    return {
      tables: [result],
      targets: [
        atLeast("execute with a command key, own carts", 1, "R", ratioOf(result, own32, isRaw)),
        atLeast("execute with a command key, two hot carts", 1, "R", ratioOf(result, hot2, isRaw))
      ]
    }
  }
}

const processes: Case = {
  name: "execute from four processes",
  run: async (settings) => {
    const name = "this store, four processes of 8 fibers"
    const measured = await beside(settings, [(database) => inProcesses(name, database, 4)])
    const result = table("Execute, two carts that four processes of 8 fibers want", "commands/s", measured)
    return {
      tables: [result],
      targets: [
        atLeast("two hot carts from 4 processes of 8 fibers", 1, "R in all", ratioOf(result, name, isRaw))
      ]
    }
  }
}

/** Carts that are there, of ten events. */
const filled = async (peer: Started, places: ReadonlyArray<Place>): Promise<void> => {
  for (const { id } of places)
    await peer.append(
      id,
      0,
      Array.from({ length: 10 }, (_, n) => itemAdded(n))
    )
}

const nothing: Case = {
  name: "execute that decides nothing",
  run: async (settings) => {
    const measured = await beside(
      settings,
      [(database) => commands(database, { name: one, carts: concurrency, decidesNothing: true })],
      (peer) => {
        const places = newPlaces(concurrency)
        let begun: Promise<void> | undefined
        return {
          name: `peer ${peer.name}`,
          run: async (seconds) => {
            await (begun ??= filled(peer, places))
            return loops(concurrency, seconds, async (loop) => {
              const { items } = await peer.load(places[loop]?.id ?? "")
              if (items !== 10) throw new Error(`${peer.name} loaded ${items} items of 10`)
            })
          }
        }
      }
    )
    const result = table(
      `Execute that decides nothing, on a cart of ten events of each of ${concurrency} fibers`,
      "commands/s",
      measured
    )
    return {
      tables: [result],
      targets: [atLeast("execute that decides nothing", 2.5, "R", ratioOf(result, one, isRaw))]
    }
  }
}

const equalQuery: Case = {
  name: "decisions on one equal query",
  run: async (settings) => {
    const name = "this store, a course of 10,000 seats"
    const measured = await beside(settings, [(database) => decisions(database, { name, concurrency })])
    const result = table(`${concurrency} decisions at once on one equal query`, "decisions/s", measured)
    return {
      tables: [result],
      targets: [atLeast(`${concurrency} decisions on one equal query`, 1, "R", ratioOf(result, name, isRaw))]
    }
  }
}

const remembered: Case = {
  name: "memory of remembered states",
  run: async ({ quick, server }): Promise<Outcome> => {
    const states = quick ? 1000 : 10_000
    const database = await server.newDatabase()
    const [tenantId = ""] = newTenants(1)
    const { idle, peak, seen } = await apart("remembered", database.url, tenantId, String(states))
    await database.close()
    if (seen !== states) throw new Error(`${seen} of ${states} states are remembered`)
    return {
      tables: [
        table(`Heap of a process that remembers ${states.toLocaleString("en")} small states`, "MB", [
          { name: "before", rates: [idle] },
          { name: "with the states", rates: [peak] }
        ])
      ],
      targets: [
        under(`memory of ${states.toLocaleString("en")} remembered small states`, 20, "MB", peak - idle)
      ]
    }
  }
}

export const commandCases: ReadonlyArray<Case> = [own, hot, keyed, processes, nothing, equalQuery, remembered]

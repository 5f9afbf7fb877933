/** Appends, each loop to its own stream under its version, beside R and the other event stores. */
import { randomUUID } from "node:crypto"
import { itemAdded } from "../internal/domain.ts"
import { type Contender, interleave, loops } from "../internal/measure.ts"
import { append } from "../internal/ours.ts"
import { prepareRaw, rawAppend } from "../internal/raw.ts"
import { table } from "../internal/report.ts"
import { type Database, query, type Server } from "../internal/server.ts"
import { type Started, startPeers } from "../peers/start.ts"
import { atLeast, type Case, ratioOf } from "./Case.ts"

const isRaw = (name: string): boolean => name.startsWith("raw")
const isPeer = (name: string): boolean => name.startsWith("peer")

/** A peer that appends to one stream per loop. */
const peerAppend = (peer: Started, concurrency: number, events: number, bytes: number): Contender => {
  const streams = Array.from({ length: concurrency }, () => ({ id: randomUUID(), version: 0 }))
  let acknowledged = 0
  let before: number | undefined
  const count = async (): Promise<number> =>
    (await query<{ n: number }>(peer.database.owner, peer.stored))[0]?.n ?? 0
  return {
    name: `peer ${peer.name}`,
    run: async (seconds) => {
      before ??= await count()
      return loops(concurrency, seconds, async (loop) => {
        const stream = streams[loop]
        if (stream === undefined) return
        const payloads = Array.from({ length: events }, (_, n) => itemAdded(stream.version + n, bytes))
        await peer.append(stream.id, stream.version, payloads)
        stream.version += events
        acknowledged += events
      })
    },
    close: async () => {
      const stored = (await count()) - (before ?? 0)
      if (stored !== acknowledged)
        console.warn(`${peer.name}: ${stored} events are stored, ${acknowledged} were acknowledged`)
    }
  }
}

const withDatabases = async <A>(
  server: Server,
  count: number,
  use: (databases: ReadonlyArray<Database>) => Promise<A>
): Promise<A> => {
  const databases: Array<Database> = []
  for (let n = 0; n < count; n++) databases.push(await server.newDatabase())
  try {
    return await use(databases)
  } finally {
    for (const database of databases) await database.close()
  }
}

const oneEvent = (concurrency: number, tenants: ReadonlyArray<number>, withPeers: boolean): Case => ({
  name: `append 1 event, ${concurrency} concurrent`,
  run: async ({ server, rounds, seconds }) => {
    const peers = withPeers ? await startPeers(server) : []
    return withDatabases(server, tenants.length + 2, async ([rawDatabase, ungrouped, ...databases]) => {
      if (rawDatabase === undefined || ungrouped === undefined) throw new Error("no database")
      await prepareRaw(rawDatabase)
      const ours = tenants.flatMap((count, index) => {
        const database = databases[index]
        const name =
          count === 1 ? "this store, one tenant" : `this store, ${count.toLocaleString("en")} tenants`
        return database === undefined ? [] : [append(database, { name, concurrency, tenants: count })]
      })
      const alone = append(ungrouped, {
        name: "without group commit, one tenant",
        concurrency,
        storage: { groupCommit: false }
      })
      const measured = await interleave(
        [
          ...(await rawAppend(rawDatabase, concurrency, 1, 200)),
          ...ours,
          ...(concurrency > 1 ? [alone] : []),
          ...peers.map((peer) => peerAppend(peer, concurrency, 1, 200))
        ],
        { rounds, seconds }
      )
      for (const peer of peers) await peer.close()
      const result = table(`Append 1 event, ${concurrency} concurrent`, "appends/s", measured)
      const to = (name: string, of: (name: string) => boolean) => ratioOf(result, name, of)
      const subject = `append 1 event, ${concurrency} concurrent`
      const hot = "this store, one tenant"
      const hundred = "this store, 100 tenants"
      const targets = {
        1: [atLeast(subject, 0.8, "R", to(hot, isRaw))],
        32: [
          atLeast(`${subject}, one hot tenant`, 3, "R", to(hot, isRaw)),
          atLeast(`${subject}, 100 tenants`, 2.5, "R", to(hundred, isRaw)),
          atLeast(`${subject}, one hot tenant`, 3, "the fastest peer", to(hot, isPeer)),
          atLeast(`${subject}, 100 tenants`, 2.5, "the fastest peer", to(hundred, isPeer)),
          atLeast(
            "append at 10,000 tenants",
            0.7,
            "100 tenants",
            to("this store, 10,000 tenants", (name) => name === hundred)
          )
        ],
        256: [
          atLeast(`${subject}, one hot tenant`, 5, "R", to(hot, isRaw)),
          atLeast(`${subject}, 100 tenants`, 4, "R", to(hundred, isRaw))
        ]
      }[concurrency]
      return { tables: [result], targets: targets ?? [] }
    })
  }
})

const manyEvents = (events: number, bytes: number, concurrency: number): Case => ({
  name: `append ${events} events of ${bytes} B, ${concurrency} concurrent`,
  run: async ({ server, rounds, seconds }) => {
    const peers = await startPeers(server)
    return withDatabases(server, 3, async ([rawDatabase, hot, hundred]) => {
      if (rawDatabase === undefined || hot === undefined || hundred === undefined)
        throw new Error("no database")
      await prepareRaw(rawDatabase)
      const measured = await interleave(
        [
          ...(await rawAppend(rawDatabase, concurrency, events, bytes)),
          append(hot, { name: "this store, one tenant", concurrency, events, bytes }),
          append(hundred, { name: "this store, 100 tenants", concurrency, tenants: 100, events, bytes }),
          ...peers.map((peer) => peerAppend(peer, concurrency, events, bytes))
        ],
        { rounds, seconds }
      )
      for (const peer of peers) await peer.close()
      const result = table(
        `Append ${events} events of ${bytes} bytes, ${concurrency} concurrent`,
        "appends/s",
        measured
      )
      const best = (of: (name: string) => boolean) =>
        Math.max(
          ratioOf(result, "this store, one tenant", of),
          ratioOf(result, "this store, 100 tenants", of)
        )
      return {
        tables: [result],
        targets:
          events === 10 && bytes === 200 && concurrency === 32
            ? [
                atLeast("append 10 events, 32 concurrent", 1.5, "R writing ten", best(isRaw)),
                atLeast("append 10 events, 32 concurrent", 3, "the fastest peer", best(isPeer))
              ]
            : []
      }
    })
  }
})

/** The cases that targets and the README need. */
export const appendCases: ReadonlyArray<Case> = [
  oneEvent(1, [1], true),
  oneEvent(32, [1, 100, 10_000], true),
  oneEvent(256, [1, 100], false),
  manyEvents(10, 200, 32)
]

/** The rest of the grid. */
export const fullAppendCases: ReadonlyArray<Case> = [
  oneEvent(8, [1, 100, 10_000], true),
  ...[1, 8, 32, 256].flatMap((concurrency) =>
    [1, 10, 100].flatMap((events) =>
      [200, 2000].flatMap((bytes) =>
        (events === 10 && bytes === 200 && concurrency === 32) || (events === 1 && bytes === 200)
          ? []
          : [manyEvents(events, bytes, concurrency)]
      )
    )
  )
]

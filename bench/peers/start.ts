/** The available other event stores: none if `bench/package.json` is not installed. */
import { itemAdded } from "../internal/domain.ts"
import { type Database, execute, type Server } from "../internal/server.ts"
import { act } from "./act.ts"
import { castore } from "./castore.ts"
import { dcb } from "./dcb.ts"
import { emmett } from "./emmett.ts"
import type { MakePeer, Peer } from "./Peer.ts"

const makers: Readonly<Record<string, MakePeer>> = { castore, emmett, act, "dcb-es": dcb }

/** A started peer with its database. */
export interface Started extends Peer {
  readonly database: Database
}

/**
 * Clients report the end of their connection in different ways, and one of the stores then ends the process. Failures
 * within a case are caught there.
 */
const reportOnly = (): void => {
  for (const event of ["uncaughtException", "unhandledRejection"]) {
    process.removeAllListeners(event)
    process.on(event, (error: unknown) => {
      console.warn(`a client reports: ${error instanceof Error ? error.message : String(error)}`)
    })
  }
}

/**
 * Starts all peers, each on a fresh database, and reports those that do not start. The databases end with the server: not
 * every peer can end its connections, and dropping a database under them ends the process.
 */
export const startPeers = async (server: Server): Promise<ReadonlyArray<Started>> => {
  const started: Array<Started> = []
  for (const [name, make] of Object.entries(makers)) {
    const database = await server.newDatabase()
    try {
      started.push({ ...(await make(database)), database })
    } catch (error) {
      console.warn(`${name} is left out: ${error instanceof Error ? error.message : String(error)}`)
      await database.close()
    }
  }
  reportOnly()
  return started
}

/** Appends events to carts, 100 each. */
export const fillPeer = async (peer: Started, events: number): Promise<void> => {
  for (let from = 0; from < events; from += 1000) {
    await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        peer.append(
          `cart-${from}-${n}`,
          0,
          Array.from({ length: 100 }, (__, m) => itemAdded(m))
        )
      )
    )
  }
  await execute(peer.database.owner, "vacuum analyze")
}

/** The other event stores at hand: none if `bench/package.json` is not installed. */
import type { Database, Server } from "../internal/server.ts"
import { act } from "./act.ts"
import { castore } from "./castore.ts"
import { dcb } from "./dcb.ts"
import { emmett } from "./emmett.ts"
import type { MakePeer, Peer } from "./Peer.ts"

const makers: Readonly<Record<string, MakePeer>> = { castore, emmett, act, "dcb-es": dcb }

/** A peer that works, with its database. */
export interface Started extends Peer {
  readonly database: Database
}

/**
 * Starts all peers, each on a fresh database, and says which of them do not start. The databases go with the server: not
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
  return started
}

/**
 * One PostgreSQL server for the whole test run, started for the first test that needs it, so that a run of pure unit
 * tests does not pay for it. The tests run in other processes and request it over HTTP (see `Databases.ts`).
 */
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import { type Connection, environment, type PgServer, start } from "./PgServer.ts"

const settings = {
  // The data does not outlive the run. Tests of durability start their own servers.
  fsync: "off",
  full_page_writes: "off",
  // Not UTC, not a whole hour and not the usual style, which reveals SQL that depends on the session's settings.
  timezone: "Asia/Kathmandu",
  datestyle: "German, DMY"
}

const setup = async (): Promise<() => Promise<void>> => {
  let server: Promise<PgServer> | undefined
  const http = createServer((_request, response) => {
    server ??= start({ settings })
    const answer = server.then(
      ({ host, password, port, user }) => JSON.stringify({ host, port, user, password } satisfies Connection),
      (error: unknown) => {
        response.statusCode = 500
        return String(error)
      }
    )
    void answer.then((body) => response.end(body))
  })
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve))
  const address = http.address()
  if (address === null || typeof address === "string") throw new Error("no address")
  process.env[environment.run] = randomUUID()
  process.env[environment.server] = `http://127.0.0.1:${address.port}`

  return async () => {
    http.close()
    http.closeAllConnections()
    await server?.then((running) => running.stop())
    if (process.env["DATABASE_URL"] !== undefined) {
      // Imported late, because it reads the environment when it loads.
      const { cleanUp } = await import("./Databases.ts")
      await Effect.runPromise(cleanUp)
    }
  }
}

export default setup

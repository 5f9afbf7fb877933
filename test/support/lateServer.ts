/** A proxy to PostgreSQL that behaves like a server that is not there yet, or that is still starting. */
import { Effect, Redacted, type Scope } from "effect"
import { connect, createServer, type Socket } from "node:net"
import type { Config } from "./Databases.ts"

/** Nobody listens, the server answers that it is starting (SQLSTATE 57P03), or it serves. */
export type Phase = "absent" | "starting" | "serving"

/** A server whose phase a test chooses. Each change but the first ends the open connections. */
export interface LateServer {
  readonly port: number
  readonly become: (phase: Phase) => Effect.Effect<void>
  /** The connections that were answered with 57P03. */
  readonly turnedAway: () => number
}

/** The answer of a server that is starting: FATAL, 57P03. */
const starting = (): Buffer => {
  const fields = Buffer.from("SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0")
  const head = Buffer.from([0x45, 0, 0, 0, 0])
  head.writeInt32BE(fields.length + 4, 1)
  return Buffer.concat([head, fields])
}

/** A late server in front of that of a configuration, until the scope closes. It serves at first. */
export const make = (server: Config): Effect.Effect<LateServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const url = server.url === undefined ? undefined : new URL(Redacted.value(server.url))
    const host = server.host ?? url?.hostname ?? "localhost"
    const upstreamPort = server.port ?? Number(url?.port ?? "5432")
    const sockets = new Set<Socket>()
    let phase: Phase = "serving"
    let turnedAway = 0
    let port = 0
    const keep = (socket: Socket, end: () => void) => {
      sockets.add(socket)
      socket.on("error", end)
      socket.on("close", () => {
        sockets.delete(socket)
        end()
      })
    }
    const listener = createServer((client) => {
      if (phase === "starting") {
        keep(client, () => client.destroy())
        client.once("data", () => {
          turnedAway += 1
          client.end(starting())
        })
        return
      }
      const upstream = connect(upstreamPort, host)
      const end = () => {
        client.destroy()
        upstream.destroy()
      }
      keep(client, end)
      keep(upstream, end)
      client.pipe(upstream)
      upstream.pipe(client)
    })
    const listen = Effect.callback<void>((resume) => {
      listener.listen(port, "127.0.0.1", () => {
        const address = listener.address()
        if (address !== null && typeof address === "object") port = address.port
        resume(Effect.void)
      })
    })
    const drop = Effect.sync(() => {
      for (const socket of sockets) socket.destroy()
    })
    const close = Effect.suspend(() => {
      if (!listener.listening) return Effect.void
      return Effect.callback<void>((resume) => {
        listener.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
    })
    yield* Effect.acquireRelease(listen, () => close)
    return {
      port,
      turnedAway: () => turnedAway,
      become: (next) =>
        Effect.gen(function* () {
          phase = next
          if (next === "absent") return yield* close
          if (!listener.listening) yield* listen
          else yield* drop
        })
    }
  })

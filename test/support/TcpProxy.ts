/**
 * A proxy to PostgreSQL that holds messages back or cuts the connection at a chosen statement.
 */
import { Deferred, Effect, Redacted, type Scope } from "effect"
import { connect, createServer, type Socket } from "node:net"
import type { Config } from "./Databases.ts"

/** Before the statement reaches the server, or after the server has run it. */
export type Moment = "before" | "after"

/** A proxy in front of a server. */
export interface TcpProxy {
  readonly port: number
  /** Holds the next statement with the given text, or its answer, until it is released. */
  readonly hold: (
    text: string,
    moment: Moment
  ) => { readonly held: Effect.Effect<void>; readonly release: Effect.Effect<void> }
  /** Cuts the connection at the next statement with the given text; afterwards, the server's answer is lost. */
  readonly cut: (text: string, moment: Moment) => { readonly done: Effect.Effect<void> }
  /** Lets the statement pass that it was to hold or cut at, if it has not come yet. */
  readonly disarm: Effect.Effect<void>
}

interface Rule {
  readonly text: string
  readonly moment: Moment
  readonly cut: boolean
  readonly reached: () => void
  /** Calls back when the held message continues; never if the connection is cut. */
  readonly onReleased: (then: () => void) => void
}

const readyForQuery = 0x5a

/** True if an answer is complete: its last message is ReadyForQuery. */
const isComplete = (answer: Buffer): boolean =>
  answer.length >= 6 && answer[answer.length - 6] === readyForQuery

/** A proxy in front of the server of a configuration, until the scope closes. The client should not prepare. */
export const make = (server: Config): Effect.Effect<TcpProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    let armed: Rule | undefined
    const sockets = new Set<Socket>()
    const url = server.url === undefined ? undefined : new URL(Redacted.value(server.url))
    const host = server.host ?? url?.hostname ?? "localhost"
    const port = server.port ?? Number(url?.port ?? "5432")
    const accept = (client: Socket): void => {
      const upstream = connect(port, host)
      let rule: Rule | undefined
      let held: Array<Buffer> | undefined
      const destroy = () => {
        client.destroy()
        upstream.destroy()
      }
      for (const socket of [client, upstream]) {
        socket.setNoDelay(true)
        sockets.add(socket)
        socket.on("error", destroy)
        socket.on("close", () => {
          sockets.delete(socket)
          destroy()
        })
      }
      const holdBack = (to: Socket, first: Buffer, held_: Rule): void => {
        const chunks = (held = [first])
        held_.onReleased(() => {
          held = undefined
          for (const chunk of chunks) if (!to.destroyed) to.write(chunk)
        })
      }
      client.on("data", (chunk: Buffer) => {
        if (held !== undefined && rule?.moment === "before") {
          held.push(chunk)
          return
        }
        if (armed === undefined || !chunk.includes(armed.text)) {
          upstream.write(chunk)
          return
        }
        rule = armed
        armed = undefined
        if (rule.moment === "after") {
          upstream.write(chunk)
        } else if (rule.cut) {
          destroy()
          rule.reached()
        } else {
          holdBack(upstream, chunk, rule)
          rule.reached()
        }
      })
      let answer: Buffer = Buffer.alloc(0)
      upstream.on("data", (chunk: Buffer) => {
        if (rule?.moment !== "after") {
          client.write(chunk)
          return
        }
        if (held !== undefined) {
          held.push(chunk)
          return
        }
        answer = Buffer.concat([answer, chunk])
        if (!isComplete(answer)) return
        const { cut, reached } = rule
        if (cut) destroy()
        else holdBack(client, answer, rule)
        rule = cut ? rule : { ...rule, moment: "before", cut: false }
        reached()
      })
    }
    const listener = yield* Effect.acquireRelease(
      Effect.promise(
        () =>
          new Promise<ReturnType<typeof createServer>>((resolve) => {
            const created = createServer(accept)
            created.listen(0, "127.0.0.1", () => resolve(created))
          })
      ),
      (created) =>
        Effect.sync(() => {
          created.close()
          for (const socket of sockets) socket.destroy()
        })
    )
    const arm = (text: string, moment: Moment, cut: boolean) => {
      const reached = Deferred.makeUnsafe<void>()
      let release = () => {}
      armed = {
        text,
        moment,
        cut,
        reached: () => void Deferred.doneUnsafe(reached, Effect.void),
        onReleased: (then) => {
          release = then
        }
      }
      return { held: Deferred.await(reached), release: Effect.sync(() => release()) }
    }
    const address = listener.address()
    if (address === null || typeof address === "string") return yield* Effect.die(new Error("no address"))
    return {
      port: address.port,
      hold: (text, moment) => arm(text, moment, false),
      cut: (text, moment) => ({ done: arm(text, moment, true).held }),
      disarm: Effect.sync(() => {
        armed = undefined
      })
    }
  })

/** Interrupts an effect when its statement is held, as a timeout does. Returns the milliseconds until it has ended. */
export const timeToInterrupt = <E, R>(
  effect: Effect.Effect<unknown, E, R>,
  held: Effect.Effect<void>
): Effect.Effect<number, E, R> =>
  Effect.raceFirst(
    Effect.andThen(effect, Effect.die(new Error("the effect ended by itself"))),
    Effect.map(held, () => Date.now())
  ).pipe(Effect.map((began) => Date.now() - began))

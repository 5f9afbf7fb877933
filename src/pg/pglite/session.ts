/**
 * PGlite's only backend as a stream of the wire protocol, for a client that expects a server.
 */
import { Buffer } from "node:buffer"
import { Duplex } from "node:stream"

/** The part of PGlite that is used, declared here so that our declarations do not need those of an optional package. */
export interface Pglite {
  readonly execProtocolRawStream: (
    message: Uint8Array,
    options: { readonly syncToFs: boolean; readonly onRawData: (data: Uint8Array) => void }
  ) => Promise<void>
  readonly dumpDataDir: (compression: "none") => Promise<Blob>
  readonly close: () => Promise<void>
}

/** The backend, used by one connection after another. */
export interface PgliteSession {
  readonly pglite: Pglite
  /** A new connection with a clean session. It cuts off the previous one. */
  readonly connect: () => Duplex
  /** Calls back for each notification on a channel, until the returned function is called. */
  readonly listen: (channel: string, callback: (payload: string) => void) => Promise<() => Promise<void>>
  /** Runs SQL between the statements of the connection, in any state of it. */
  readonly run: (sql: string) => Promise<void>
  readonly close: () => Promise<void>
}

const SSL_REQUEST = 80877103
const GSS_REQUEST = 80877104
const CANCEL_REQUEST = 80877102
const IDLE = 0x49

/** Messages after which a client waits for an answer: Query, Sync, Flush, function call. */
const boundaries = new Set([0x51, 0x53, 0x48, 0x46])
const TERMINATE = 0x58

/**
 * Requests a checkpoint, because nothing in the process does, and the write-ahead log would grow forever. Runs after a number
 * of statements or bytes, while no transaction is open.
 */
const checkpoint =
  "do $$ begin if pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn()," +
  " (select redo_lsn from pg_catalog.pg_control_checkpoint())) > 16777216 then checkpoint; end if; end $$"
const checkpointEveryStatements = 256
const checkpointEveryBytes = 1024 * 1024

const encodeQuery = (sql: string): Uint8Array => {
  const text = Buffer.from(`${sql}\0`)
  const message = Buffer.alloc(5 + text.length)
  message[0] = 0x51
  message.writeInt32BE(4 + text.length, 1)
  text.copy(message, 5)
  return message
}

const quote = (identifier: string): string => `"${identifier.replaceAll('"', '""')}"`

/** Wraps a PGlite that nothing else uses. */
export const makeSession = (pglite: Pglite): PgliteSession => {
  let current: Duplex | undefined
  let idle = true
  let statements = 0
  let bytes = 0
  let subscriptionsChanged = false
  const subscriptions = new Map<string, Set<(payload: string) => void>>()

  let tail: Promise<unknown> = Promise.resolve()
  const exclusively = <A>(f: () => Promise<A>): Promise<A> => {
    const result = tail.then(f)
    tail = result.catch(() => undefined)
    return result
  }

  const notify = (answer: Buffer): void => {
    for (let at = 0; at + 5 <= answer.length; at += 1 + answer.readInt32BE(at + 1)) {
      if (answer[at] !== 0x41) continue
      const channelEnd = answer.indexOf(0, at + 9)
      const channel = answer.toString("utf8", at + 9, channelEnd)
      const payload = answer.toString("utf8", channelEnd + 1, at + answer.readInt32BE(at + 1))
      for (const callback of subscriptions.get(channel) ?? []) queueMicrotask(() => callback(payload))
    }
  }

  const exchange = async (message: Uint8Array): Promise<Buffer> => {
    const chunks: Array<Buffer> = []
    await pglite.execProtocolRawStream(message, {
      // neither of our file systems buffers anything
      syncToFs: false,
      // the bytes are only lent
      onRawData: (data) => chunks.push(Buffer.from(data))
    })
    const answer = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)
    // an answer to a complete group ends with ReadyForQuery and the state of the transaction
    if (answer.length >= 6 && answer[answer.length - 6] === 0x5a) idle = answer[answer.length - 1] === IDLE
    if (subscriptions.size > 0) notify(answer)
    return answer
  }

  const execute = async (sql: string): Promise<void> => {
    await exchange(encodeQuery(sql))
  }

  const subscribe = async (): Promise<void> => {
    subscriptionsChanged = false
    await execute("UNLISTEN *")
    for (const channel of subscriptions.keys()) await execute(`LISTEN ${quote(channel)}`)
  }

  /** Runs the SQL that has to wait for the end of the open transaction. */
  const maintain = async (): Promise<void> => {
    if (!idle) return
    if (subscriptionsChanged) await subscribe()
    if (statements < checkpointEveryStatements && bytes < checkpointEveryBytes) return
    statements = 0
    bytes = 0
    await execute(checkpoint)
  }

  const reset = async (): Promise<void> => {
    if (!idle) await execute("ROLLBACK")
    await execute("DISCARD ALL")
    subscriptionsChanged = subscriptions.size > 0
    await maintain()
  }

  const connect = (): Duplex => {
    let pending: Buffer = Buffer.alloc(0)
    let started = false

    const take = (length: number): Buffer => {
      const head = pending.subarray(0, length)
      pending = pending.subarray(length)
      return head
    }

    /** The next group of complete messages that ends with a request for an answer. */
    const nextGroup = (): Buffer | undefined => {
      let end = 0
      while (pending.length >= end + 5) {
        const type = pending[end] ?? 0
        end += 1 + pending.readInt32BE(end + 1)
        if (end > pending.length) return undefined
        if (type === TERMINATE || boundaries.has(type)) return take(end)
      }
      return undefined
    }

    const start = async (): Promise<boolean> => {
      if (pending.length < 8) return false
      const code = pending.readInt32BE(4)
      if (code === CANCEL_REQUEST) {
        // a statement cannot be cancelled
        take(pending.length)
        duplex.push(null)
        return false
      }
      const length = pending.readInt32BE(0)
      if (pending.length < length) return false
      const packet = take(length)
      if (code === SSL_REQUEST || code === GSS_REQUEST) {
        duplex.push("N")
        return true
      }
      const previous = current
      current = duplex
      started = true
      if (previous !== undefined) previous.destroy()
      await reset()
      duplex.push(await exchange(packet))
      return true
    }

    const receive = async (chunk: Buffer): Promise<void> => {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
      while (!started) if (!(await start())) return
      for (let group = nextGroup(); group !== undefined; group = nextGroup()) {
        if (current !== duplex) return
        if (group[0] === TERMINATE) {
          await leave()
          duplex.push(null)
          return
        }
        duplex.push(await exchange(group))
        statements++
        bytes += group.length
        await maintain()
      }
    }

    const leave = async (): Promise<void> => {
      if (current !== duplex) return
      current = undefined
      if (!idle) await execute("ROLLBACK")
    }

    const duplex = new Duplex({
      read() {
        // answers are pushed as they come
      },
      write(chunk: Buffer, _encoding, callback) {
        // A statement blocks the event loop while it runs, so yield between statements.
        setImmediate(() => {
          exclusively(() => receive(chunk)).then(() => callback(), callback)
        })
      },
      final(callback) {
        callback()
        duplex.destroy()
      },
      destroy(error, callback) {
        exclusively(leave).then(
          () => callback(error),
          () => callback(error)
        )
      }
    })
    return duplex
  }

  const update = (): Promise<void> => {
    subscriptionsChanged = true
    return exclusively(maintain)
  }

  return {
    pglite,
    connect,
    run: (sql) => exclusively(() => execute(sql)),
    listen: async (channel, callback) => {
      const callbacks = subscriptions.get(channel) ?? new Set()
      subscriptions.set(channel, callbacks.add(callback))
      await update()
      return async () => {
        callbacks.delete(callback)
        if (callbacks.size === 0) subscriptions.delete(channel)
        await update()
      }
    },
    close: () =>
      exclusively(async () => {
        current?.destroy()
        current = undefined
        if (!idle) await execute("ROLLBACK")
        await pglite.close()
      })
  }
}

/**
 * Group commit: appends that wait while others are under way go out together, in one statement and one commit. There is
 * no timer: an append that finds nobody under way goes out at once and alone.
 */
import { Array, Effect, Exit, type Fiber } from "effect"
import type { AppendRequest } from "../EventStorage.ts"
import type { TenantId } from "../Tenant.ts"

/** What bounds a batch. */
export interface Limits {
  /** Appends that go out together at most. */
  readonly maxAppends: number
  /** Characters of payload and metadata that go out together at most; a larger append goes out alone. */
  readonly maxCharacters: number
  /** Batches that are under way at the same time. */
  readonly concurrency: number
}

/** An append that waits or is under way. */
interface Waiting<Outcome> {
  readonly request: AppendRequest
  readonly characters: number
  sent: boolean
  resume: (outcome: Effect.Effect<Outcome>) => void
  /** Called when the outcome is there, for an append that is interrupted while it is under way. */
  settled: (() => void) | undefined
}

const charactersOf = ({ streams }: AppendRequest): number => {
  let characters = 0
  for (const { events } of streams) {
    for (const { payload, metadata } of events) characters += payload.length + metadata.length
  }
  return characters
}

/** First in, first out; taking costs the same however many wait. */
class Queue<A> {
  #items: Array<A | undefined> = []
  #first = 0

  add(item: A): void {
    this.#items.push(item)
  }

  /** The next item, if there is one. */
  peek(): A | undefined {
    while (this.#first < this.#items.length) {
      const item = this.#items[this.#first]
      if (item !== undefined) return item
      this.#first++
    }
    this.#items = []
    this.#first = 0
    return undefined
  }

  /** Takes the item that was peeked at. */
  take(): void {
    this.#items[this.#first] = undefined
    this.#first++
  }

  remove(item: A): void {
    const at = this.#items.indexOf(item, this.#first)
    if (at >= 0) this.#items[at] = undefined
  }
}

/**
 * Merges appends into batches for `run`, which gives one outcome per append.
 *
 * **Details**
 *
 * Tenants take turns, an append each, so that one that floods the queue does not delay the others, and a tenant is in
 * one batch at a time. A batch does not wait for a tenant that somebody else has locked: `run` gives no outcome for its
 * appends, and they go out again by themselves, to wait where nobody waits with them. An append that is interrupted
 * while it waits here is not sent; one that is under way is awaited.
 */
export const make = <Outcome>(
  run: (
    requests: ReadonlyArray<AppendRequest>,
    wait: boolean
  ) => Effect.Effect<ReadonlyArray<Outcome | undefined>>,
  fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>,
  limits: Limits
): ((request: AppendRequest) => Effect.Effect<Outcome>) => {
  /** Waiting appends by tenant; the order of the map is that of the turns. */
  const queues = new Map<TenantId, Queue<Waiting<Outcome>>>()
  /** Tenants that have an append under way. */
  const served = new Set<TenantId>()
  let underWay = 0

  const takeBatch = (): Array<Waiting<Outcome>> => {
    const batch: Array<Waiting<Outcome>> = []
    let characters = 0
    // Who has had its turn goes to the end of the map, and so comes again in this loop.
    for (const [tenantId, queue] of queues) {
      if (served.has(tenantId)) continue
      const next = queue.peek()
      if (next !== undefined) {
        if (batch.length > 0 && characters + next.characters > limits.maxCharacters) break
        queue.take()
        characters += next.characters
        next.sent = true
        batch.push(next)
      }
      queues.delete(tenantId)
      if (queue.peek() !== undefined) queues.set(tenantId, queue)
      if (batch.length >= limits.maxAppends) break
    }
    for (const { request } of batch) served.add(request.tenantId)
    return batch
  }

  /** Runs a batch and hands out its outcomes; what has none is handed to `rest`. */
  const send = (
    batch: ReadonlyArray<Waiting<Outcome>>,
    wait: boolean,
    rest: (without: ReadonlyArray<Waiting<Outcome>>) => void
  ): void => {
    fork(
      Effect.exit(
        Effect.suspend(() =>
          run(
            batch.map(({ request }) => request),
            wait
          )
        )
      ).pipe(
        Effect.flatMap((exit) =>
          Effect.sync(() => {
            const without = batch.filter((waiting, index) => {
              const outcome: Effect.Effect<Outcome> | undefined = outcomeOf(exit, index)
              if (outcome === undefined) return true
              served.delete(waiting.request.tenantId)
              waiting.resume(outcome)
              waiting.settled?.()
              return false
            })
            for (const { request } of without) served.add(request.tenantId)
            rest(without)
            sendAll()
          })
        )
      )
    )
  }

  const sendAlone = (batch: ReadonlyArray<Waiting<Outcome>>): void =>
    send(batch, true, (without) => {
      const error = Effect.die(new Error("the driver gave no outcome for an append"))
      for (const { request, resume, settled } of without) {
        served.delete(request.tenantId)
        resume(error)
        settled?.()
      }
    })

  const sendAll = (): void => {
    while (underWay < limits.concurrency) {
      const batch = takeBatch()
      if (batch.length === 0) return
      underWay++
      send(batch, false, (without) => {
        underWay--
        const byTenant = Array.groupBy(without, ({ request }) => request.tenantId)
        for (const ofTenant of Object.values(byTenant)) sendAlone(ofTenant)
      })
    }
  }

  return (request) =>
    Effect.callback<Outcome>((resume) => {
      const waiting: Waiting<Outcome> = {
        request,
        characters: charactersOf(request),
        sent: false,
        resume,
        settled: undefined
      }
      const queue = queues.get(request.tenantId) ?? new Queue()
      queue.add(waiting)
      queues.set(request.tenantId, queue)
      sendAll()
      return Effect.suspend(() => {
        if (waiting.sent) {
          return Effect.callback<void>((done) => {
            waiting.settled = () => done(Effect.void)
          })
        }
        queues.get(request.tenantId)?.remove(waiting)
        return Effect.void
      })
    })
}

const outcomeOf = <Outcome>(
  exit: Exit.Exit<ReadonlyArray<Outcome | undefined>>,
  index: number
): Effect.Effect<Outcome> | undefined => {
  if (Exit.isFailure(exit)) return Effect.failCause(exit.cause)
  const outcome = exit.value[index]
  return outcome === undefined ? undefined : Effect.succeed(outcome)
}

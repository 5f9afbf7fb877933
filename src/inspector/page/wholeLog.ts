/** Any place of a log, fetched in pages. */
import type { EventView, LogPage } from "../../operations/Looks.ts"
import { get } from "./api.ts"

type Event = typeof EventView.Encoded

/** Number of positions of a page: the rows of a screen fit, and its answer is read within a frame. */
const pageSize = 100
/** Number of pages that are kept. */
const kept = 50

const pageOf = (position: number): number => Math.floor((position - 1) / pageSize)

/**
 * The log of a tenant. One page is on its way at a time, and the next one is chosen from the rows that are visible then: scrolling past
 * thousands of pages asks for those alone on which it rests or which are there in time.
 */
export class WholeLog {
  readonly #tenant: string
  readonly #pages = new Map<number, ReadonlyMap<number, Event>>()
  readonly #stop = new AbortController()
  /** The pages that are visible. */
  #wanted: readonly [first: number, last: number] = [0, -1]
  #busy = false
  /** The failure of the last page that was asked for. */
  error: string | undefined
  /** Called when rows have come, or a failure. */
  onChange: () => void = () => undefined

  constructor(tenant: string) {
    this.#tenant = tenant
  }

  /** The event at a position; undefined if it is not there yet. */
  at(position: number): Event | undefined {
    return this.#pages.get(pageOf(position))?.get(position)
  }

  /** Tells the visible positions. */
  want(first: number, last: number): void {
    this.#wanted = [Math.max(0, pageOf(first)), pageOf(last)]
    if (!this.#busy) void this.#load()
  }

  /** Asks for nothing more. */
  stop(): void {
    this.#stop.abort()
  }

  #missing(): number | undefined {
    // The last one first: the newest event is on top.
    for (let page = this.#wanted[1]; page >= this.#wanted[0]; page--) if (!this.#pages.has(page)) return page
    return undefined
  }

  async #load(): Promise<void> {
    this.#busy = true
    for (let page = this.#missing(); page !== undefined && !this.#stop.signal.aborted; page = this.#missing())
      try {
        const { events } = await get<typeof LogPage.Encoded>(
          `/tenants/${this.#tenant}/log`,
          { direction: "forwards", from: page * pageSize + 1, limit: pageSize },
          this.#stop.signal
        )
        this.#pages.set(page, new Map(events.map((event) => [event.position, event])))
        for (const other of this.#pages.keys()) if (Math.abs(other - page) > kept) this.#pages.delete(other)
        this.error = undefined
        this.onChange()
      } catch (failure) {
        if (this.#stop.signal.aborted) return
        // The next scroll asks again.
        this.error = failure instanceof Error ? failure.message : "the request failed"
        this.onChange()
        break
      }
    this.#busy = false
  }
}

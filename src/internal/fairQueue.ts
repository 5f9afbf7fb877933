/** A fair queue: items wait by key (the tenant) and are sent in batches, of which a limited number is in progress. */

/** A first-in, first-out queue from which items are taken in constant time. */
export class Queue<A> {
  #items: Array<A | undefined> = []
  #first = 0
  /** Number of waiting items. */
  size = 0

  add(item: A): void {
    this.#items.push(item)
    this.size++
  }

  /** Puts an item before all others. */
  addFirst(item: A): void {
    if (this.#first > 0) this.#items[--this.#first] = item
    else this.#items.unshift(item)
    this.size++
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

  /** Takes the next item, if there is one. */
  take(): A | undefined {
    const item = this.peek()
    if (item === undefined) return undefined
    this.#items[this.#first] = undefined
    this.#first++
    this.size--
    // The array must not grow without end if the queue is never empty.
    if (this.#first >= 1024 && this.#first * 2 > this.#items.length) {
      this.#items.splice(0, this.#first)
      this.#first = 0
    }
    return item
  }

  /** Removes an item. Returns true if it waited here. */
  remove(item: A): boolean {
    const at = this.#items.indexOf(item, this.#first)
    if (at < 0) return false
    this.#items[at] = undefined
    this.size--
    return true
  }
}

/** Options of a queue. */
export interface Options<Key, Item> {
  /** Items with the same key wait in order; keys take turns. */
  readonly keyOf: (item: Item) => Key
  /** Maximum number of batches in progress. */
  readonly concurrency: number
}

/** Limits of a batch. */
export interface Bounds<Key, Item> {
  readonly atMost: number
  /** The keys to serve, in order. Default: all, the most recently served last. */
  readonly keys?: ReadonlyArray<Key> | undefined
  /** Maximum weight of all items together; a single item may exceed it. Default: no limit. */
  readonly maxWeight?: number | undefined
  readonly weightOf?: ((item: Item) => number) | undefined
}

/**
 * Waiting items, and a count of the batches in progress.
 *
 * **Details**
 *
 * Keys take turns, one item each, so that a key that floods the queue does not delay the others. No batch is sent while outcomes
 * are handed out: callers that come back at once with new items then have them sent together.
 */
export class FairQueue<Key, Item> {
  readonly #queues = new Map<Key, Queue<Item>>()
  readonly #keyOf: (item: Item) => Key
  readonly #concurrency: number
  #inProgress = 0
  #handingOut = 0
  /** Number of waiting items. */
  waiting = 0
  /** Number of items in the batches in progress. */
  sent = 0

  constructor({ concurrency, keyOf }: Options<Key, Item>) {
    this.#keyOf = keyOf
    this.#concurrency = concurrency
  }

  /** True while outcomes are handed out. No batch is sent meanwhile. */
  get isHandingOut(): boolean {
    return this.#handingOut > 0
  }

  /** True if a batch may be sent. */
  get hasPlace(): boolean {
    return this.#handingOut === 0 && this.#inProgress < this.#concurrency
  }

  /** Counts a batch as in progress. */
  enter(items: number): void {
    this.#inProgress++
    this.sent += items
  }

  /** Counts a batch as done. */
  leave(items: number): void {
    this.#inProgress--
    this.sent -= items
  }

  /** Hands out the outcomes of a batch. */
  handOut(run: () => void): void {
    this.#handingOut++
    run()
    this.#handingOut--
  }

  add(item: Item): void {
    const key = this.#keyOf(item)
    let queue = this.#queues.get(key)
    if (queue === undefined) this.#queues.set(key, (queue = new Queue<Item>()))
    queue.add(item)
    this.waiting++
  }

  /** Puts items before all others, in their order. */
  addFirst(items: ReadonlyArray<Item>): void {
    const others = [...this.#queues]
    this.#queues.clear()
    for (const item of items) this.#queues.set(this.#keyOf(item), new Queue<Item>())
    for (const [key, queue] of others) this.#queues.set(key, queue)
    for (const item of items.toReversed()) this.#queues.get(this.#keyOf(item))?.addFirst(item)
    this.waiting += items.length
  }

  /** Removes an item. Returns true if it waited. */
  remove(item: Item): boolean {
    const key = this.#keyOf(item)
    const queue = this.#queues.get(key)
    if (queue?.remove(item) !== true) return false
    this.waiting--
    if (queue.size === 0) this.#queues.delete(key)
    return true
  }

  /** The keys with waiting items, in the order of their turns. */
  keys(): IterableIterator<Key> {
    return this.#queues.keys()
  }

  /** Number of waiting items of a key. */
  sizeOf(key: Key): number {
    return this.#queues.get(key)?.size ?? 0
  }

  /** Takes a batch. */
  take({ atMost, keys, maxWeight = Infinity, weightOf }: Bounds<Key, Item>): Array<Item> {
    /** The keys that have not been served in this turn, after those that have been and still have items: the first `kept`. */
    const turn: Array<readonly [Key, Queue<Item>]> = []
    for (const key of keys ?? this.#queues.keys()) {
      // each of them gives at least one item
      if (turn.length >= atMost) break
      const queue = this.#queues.get(key)
      if (queue !== undefined && queue.size > 0) turn.push([key, queue])
    }
    const batch: Array<Item> = []
    let weight = 0
    let turns = 0
    let at = 0
    let kept = 0
    while (batch.length < atMost) {
      if (at === turn.length) {
        turn.length = kept
        turns++
        at = kept = 0
      }
      const served = turn[at]
      const next = served?.[1].peek()
      if (served === undefined || next === undefined) break
      weight += weightOf?.(next) ?? 0
      if (batch.length > 0 && weight > maxWeight) break
      const [key, queue] = served
      batch.push(next)
      queue.take()
      at++
      if (queue.size > 0) turn[kept++] = served
      else this.#queues.delete(key)
    }
    this.waiting -= batch.length
    // Served keys move to the end, in the order in which they were last served.
    const before = turns === 0 ? [] : turn.slice(at)
    for (const [key, queue] of [...before, ...turn.slice(0, kept)]) {
      this.#queues.delete(key)
      this.#queues.set(key, queue)
    }
    return batch
  }
}

/** Waiting in turns: what is batched waits here by key (the tenant), and goes out in batches, of which so many are under way. */

/** First in, first out; taking costs the same however many wait. */
export class Queue<A> {
  #items: Array<A | undefined> = []
  #first = 0
  /** How many wait. */
  size = 0

  add(item: A): void {
    this.#items.push(item)
    this.size++
  }

  /** Has an item wait before all others. */
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
    // also if it is never empty, it must not grow
    if (this.#first >= 1024 && this.#first * 2 > this.#items.length) {
      this.#items.splice(0, this.#first)
      this.#first = 0
    }
    return item
  }

  /** Returns whether the item waited here. */
  remove(item: A): boolean {
    const at = this.#items.indexOf(item, this.#first)
    if (at < 0) return false
    this.#items[at] = undefined
    this.size--
    return true
  }
}

/** How items wait. */
export interface Options<Key, Item> {
  /** Items with the same key wait in order; keys take turns. */
  readonly keyOf: (item: Item) => Key
  /** Batches under way at the same time. */
  readonly concurrency: number
}

/** What bounds a batch. */
export interface Bounds<Key, Item> {
  readonly atMost: number
  /** The keys whose turn it is, in order. Default: all, the one that had its turn last at the end. */
  readonly keys?: ReadonlyArray<Key> | undefined
  /** The weight of all items together; one item alone may have more. Default: no bound. */
  readonly maxWeight?: number | undefined
  readonly weightOf?: ((item: Item) => number) | undefined
}

/**
 * Items that wait, and the places of batches under way.
 *
 * **Details**
 *
 * Keys take turns, an item each, so that one that floods the queue does not delay the others. While outcomes are handed out
 * there is no place: who gets one may come back at once, and waits until all have theirs, to go out together.
 */
export class FairQueue<Key, Item> {
  readonly #queues = new Map<Key, Queue<Item>>()
  readonly #keyOf: (item: Item) => Key
  readonly #concurrency: number
  #underWay = 0
  #handingOut = 0
  /** Items that wait. */
  waiting = 0
  /** Items of the batches under way. */
  sent = 0

  constructor({ concurrency, keyOf }: Options<Key, Item>) {
    this.#keyOf = keyOf
    this.#concurrency = concurrency
  }

  /** Whether outcomes are being handed out: nothing new is sent meanwhile. */
  get isHandingOut(): boolean {
    return this.#handingOut > 0
  }

  /** Whether a batch may go out. */
  get hasPlace(): boolean {
    return this.#handingOut === 0 && this.#underWay < this.#concurrency
  }

  /** Takes a place for a batch. */
  enter(items: number): void {
    this.#underWay++
    this.sent += items
  }

  /** Leaves the place of a batch. */
  leave(items: number): void {
    this.#underWay--
    this.sent -= items
  }

  /** Hands out the outcomes of a batch. */
  handOut(give: () => void): void {
    this.#handingOut++
    give()
    this.#handingOut--
  }

  add(item: Item): void {
    const key = this.#keyOf(item)
    let queue = this.#queues.get(key)
    if (queue === undefined) this.#queues.set(key, (queue = new Queue<Item>()))
    queue.add(item)
    this.waiting++
  }

  /** Has items wait before all others: the first of them will be the first to go out. */
  addFirst(items: ReadonlyArray<Item>): void {
    const others = [...this.#queues]
    this.#queues.clear()
    for (const item of items) this.#queues.set(this.#keyOf(item), new Queue<Item>())
    for (const [key, queue] of others) this.#queues.set(key, queue)
    for (const item of items.toReversed()) this.#queues.get(this.#keyOf(item))?.addFirst(item)
    this.waiting += items.length
  }

  /** Returns whether the item waited. */
  remove(item: Item): boolean {
    const key = this.#keyOf(item)
    const queue = this.#queues.get(key)
    if (queue?.remove(item) !== true) return false
    this.waiting--
    if (queue.size === 0) this.#queues.delete(key)
    return true
  }

  /** The keys of which items wait, in the order of their turns. */
  keys(): IterableIterator<Key> {
    return this.#queues.keys()
  }

  /** How many items of a key wait. */
  sizeOf(key: Key): number {
    return this.#queues.get(key)?.size ?? 0
  }

  /** Takes a batch. */
  take({
    atMost,
    keys = [...this.#queues.keys()],
    maxWeight = Infinity,
    weightOf
  }: Bounds<Key, Item>): Array<Item> {
    const batch: Array<Item> = []
    const turns = [...keys]
    let weight = 0
    for (const key of turns) {
      if (batch.length >= atMost) break
      const queue = this.#queues.get(key)
      const next = queue?.peek()
      if (queue === undefined || next === undefined) continue
      weight += weightOf?.(next) ?? 0
      if (batch.length > 0 && weight > maxWeight) break
      batch.push(next)
      queue.take()
      this.waiting--
      // A key that has had its turn goes to the end of both, and so comes again in this loop.
      this.#queues.delete(key)
      if (queue.size === 0) continue
      this.#queues.set(key, queue)
      turns.push(key)
    }
    return batch
  }
}

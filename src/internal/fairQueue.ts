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

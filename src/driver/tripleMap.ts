/** A map with keys of three parts, of which each is told apart as by `Map`. */
export class TripleMap<A, B, C, Value> {
  readonly #byFirst = new Map<A, Map<B, Map<C, Value>>>()
  #size = 0

  /** Number of values. */
  get size(): number {
    return this.#size
  }

  get(first: A, second: B, third: C): Value | undefined {
    return this.#byFirst.get(first)?.get(second)?.get(third)
  }

  set(first: A, second: B, third: C, value: Value): void {
    let bySecond = this.#byFirst.get(first)
    if (bySecond === undefined) this.#byFirst.set(first, (bySecond = new Map<B, Map<C, Value>>()))
    let byThird = bySecond.get(second)
    if (byThird === undefined) bySecond.set(second, (byThird = new Map<C, Value>()))
    const before = byThird.size
    byThird.set(third, value)
    this.#size += byThird.size - before
  }

  delete(first: A, second: B, third: C): void {
    const bySecond = this.#byFirst.get(first)
    const byThird = bySecond?.get(second)
    if (byThird?.delete(third) !== true) return
    this.#size--
    if (byThird.size === 0) bySecond?.delete(second)
    if (bySecond?.size === 0) this.#byFirst.delete(first)
  }

  clear(): void {
    this.#byFirst.clear()
    this.#size = 0
  }
}

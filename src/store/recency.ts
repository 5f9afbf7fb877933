/** Order of last use, with constant cost of using, adding and removing. */

/** A member of a {@link Recency}. */
export interface Place<A> {
  readonly value: A
  older: Place<A> | undefined
  newer: Place<A> | undefined
}

/** Values from the least to the most recently used. */
export class Recency<A> {
  #oldest: Place<A> | undefined
  #newest: Place<A> | undefined
  size = 0

  /** The least recently used value. */
  get oldest(): A | undefined {
    return this.#oldest?.value
  }

  /** Adds a value as the most recently used one. */
  add(value: A): Place<A> {
    const place: Place<A> = { value, older: undefined, newer: undefined }
    this.#append(place)
    this.size++
    return place
  }

  /** Notes a use. */
  use(place: Place<A>): void {
    if (place === this.#newest) return
    this.#unlink(place)
    this.#append(place)
  }

  remove(place: Place<A>): void {
    this.#unlink(place)
    this.size--
  }

  #append(place: Place<A>): void {
    place.older = this.#newest
    place.newer = undefined
    if (this.#newest === undefined) this.#oldest = place
    else this.#newest.newer = place
    this.#newest = place
  }

  #unlink({ newer, older }: Place<A>): void {
    if (older === undefined) this.#oldest = newer
    else older.newer = newer
    if (newer === undefined) this.#newest = older
    else newer.older = older
  }
}

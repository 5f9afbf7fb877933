/**
 * Scrolling of lists that are higher than browsers draw an element: Firefox ends at 17,900,000 pixels, Chrome and Safari at 33,500,000,
 * and a million rows have 32,000,000.
 *
 * The element has a bounded height. A jump, as by the scroll bar or the key End, leads to the same fraction of the list. Smaller steps
 * move the list by as many pixels as the element; when the scrolling rests, the element is set to the fraction of the list again.
 */

/** The height of the element in pixels, at most. */
const tallest = 8_000_000
/** A longer step is a jump. A pixel of a scroll bar with 1,600 pixels is longer, and a step of a wheel is shorter. */
const longestStep = 4000
/** Milliseconds without a scroll event after which scrolling rests. */
const rest = 150

type Listener = (offset: number, isScrolling: boolean) => void

/** The scrolling of one list. */
export class ScaledScroll {
  /** The height of the whole list in pixels. */
  total = 0
  /** The place in the list in pixels. */
  #offset = 0
  /** The place in the element. */
  #top = 0
  #jumping = false
  #timer: ReturnType<typeof setTimeout> | undefined

  /** The height of the element in pixels. */
  get height(): number {
    return Math.min(this.total, tallest)
  }

  /** The number of pixels to move a row from its place in the list to its place in the element. */
  get shift(): number {
    return this.#top - this.#offset
  }

  /** Goes to a place in the list. */
  goTo(element: HTMLElement, offset: number): void {
    this.#offset = offset
    this.#place(element)
  }

  /** Tells the place in the list, now and after each scroll. */
  observe(element: HTMLElement, listener: Listener): () => void {
    const settled = () => {
      this.#jumping = false
      this.#place(element)
      listener(this.#offset, false)
    }
    const scrolled = () => {
      this.#scrolled(element)
      // Without a direction: the rows have one height, so that nothing is measured and corrected on the way.
      listener(this.#offset, false)
      clearTimeout(this.#timer)
      this.#timer = setTimeout(settled, rest)
    }
    const wheeled = () => {
      this.#jumping = false
    }
    element.addEventListener("scroll", scrolled, { passive: true })
    element.addEventListener("wheel", wheeled, { passive: true })
    return () => {
      element.removeEventListener("scroll", scrolled)
      element.removeEventListener("wheel", wheeled)
      clearTimeout(this.#timer)
    }
  }

  /** Sets the element to the fraction of the list. */
  #place(element: HTMLElement): void {
    const { end, last } = this.#ends(element)
    const top = end === last ? this.#offset : (this.#offset * last) / end
    if (Math.abs(element.scrollTop - top) >= 1) element.scrollTop = top
    this.#top = element.scrollTop
  }

  /** The last places: in the list, and in the element. */
  #ends({ clientHeight }: HTMLElement) {
    return {
      end: Math.max(0, this.total - clientHeight),
      last: Math.max(0, this.height - clientHeight)
    }
  }

  #scrolled(element: HTMLElement): void {
    const { end, last } = this.#ends(element)
    const step = element.scrollTop - this.#top
    this.#top = element.scrollTop
    if (end === last) {
      this.#offset = this.#top
      return
    }
    if (Math.abs(step) > longestStep) this.#jumping = true
    const place = this.#jumping ? (this.#top * end) / last : this.#offset + step
    this.#offset = Math.min(Math.max(0, place), end)
    // At an end of the element there is no way on, so the list must be there too.
    const atEnd = this.#top < 1 ? this.#offset > 0 : this.#top > last - 1 && this.#offset < end
    if (atEnd && !this.#jumping) this.#place(element)
  }
}

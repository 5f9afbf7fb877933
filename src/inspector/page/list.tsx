/** A long list as a table of which only the visible rows exist. */
import { observeElementRect, Virtualizer, type VirtualizerOptions } from "@tanstack/virtual-core"
import type { ComponentChildren, JSX } from "preact"
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks"
import { ScaledScroll } from "./scaledScroll.ts"

/** Height of a row in pixels. */
const rowHeight = 32

/** The virtualiser of an element, which draws the component again when it scrolls. */
const useVirtual = (count: number) => {
  const scroller = useRef<HTMLDivElement>(null)
  const [, draw] = useState(0)
  const instance = useRef<Virtualizer<HTMLDivElement, Element>>(undefined)
  const scrolling = useRef<ScaledScroll>(undefined)
  scrolling.current ??= new ScaledScroll()
  const scroll = scrolling.current
  scroll.total = count * rowHeight
  /** The shift of the rows that are drawn. */
  const shift = useRef(0)
  shift.current = scroll.shift
  const options: VirtualizerOptions<HTMLDivElement, Element> = {
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    overscan: 8,
    scrollToFn: (offset, _options, { scrollElement }) => {
      if (scrollElement !== null) scroll.goTo(scrollElement, offset)
    },
    observeElementRect,
    observeElementOffset: ({ scrollElement }, listener) =>
      scrollElement === null
        ? undefined
        : scroll.observe(scrollElement, (offset) => {
            listener(offset, false)
            // The rows may be the same elsewhere. Otherwise the list is drawn if its rows change.
            if (shift.current !== scroll.shift) draw((drawn) => drawn + 1)
          }),
    onChange: () => draw((drawn) => drawn + 1)
  }
  instance.current ??= new Virtualizer<HTMLDivElement, Element>(options)
  const virtual = instance.current
  virtual.setOptions(options)
  useLayoutEffect(() => virtual._didMount(), [virtual])
  useLayoutEffect(() => virtual._willUpdate())
  return { scroller, scroll, virtual }
}

/** A column. */
export interface Column<A> {
  readonly title: string
  /** A part of the width; the widest has the largest. Default: 1. */
  readonly width?: number
  readonly cell: (row: A) => ComponentChildren
}

/** Moves the focus among the rows with the arrow keys. */
const onKey = (event: KeyboardEvent): void => {
  const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0
  const row = event.target instanceof Element ? event.target.closest<HTMLElement>("[role=row]") : null
  if (step === 0 || row === null || row.dataset["index"] === undefined) return
  event.preventDefault()
  const index = Number(row.dataset["index"]) + step
  row.parentElement
    ?.querySelector<HTMLElement>(`[data-index="${index}"] a, [data-index="${index}"] button`)
    ?.focus()
}

/** A list of rows that may not be there yet. */
export const List = <A,>({
  columns,
  count,
  label,
  onRange,
  row
}: {
  readonly label: string
  /** Number of rows. */
  readonly count: number
  readonly columns: ReadonlyArray<Column<A>>
  /** The row; undefined if it is not there yet. */
  readonly row: (index: number) => A | undefined
  /** Called with the visible rows. */
  readonly onRange: (first: number, last: number) => void
}): JSX.Element => {
  const { scroll, scroller, virtual } = useVirtual(count)
  const items = virtual.getVirtualItems()
  const first = items[0]?.index ?? 0
  const last = items.at(-1)?.index ?? 0
  useEffect(() => onRange(first, last), [first, last, count])
  const template = columns.map(({ width = 1 }) => `minmax(0, ${width}fr)`).join(" ")
  return (
    <div role="table" aria-label={label} aria-rowcount={count + 1} class="list">
      <div role="rowgroup">
        <div role="row" aria-rowindex={1} class="head" style={{ gridTemplateColumns: template }}>
          {columns.map(({ title }) => (
            <span role="columnheader" key={title}>
              {title}
            </span>
          ))}
        </div>
      </div>
      <div ref={scroller} class="scroller" role="rowgroup" tabIndex={0} onKeyDown={onKey}>
        <div class="rows" style={{ height: `${scroll.height}px` }}>
          {items.map(({ index, key, start }) => {
            const data = row(index)
            return (
              <div
                role="row"
                key={key}
                aria-rowindex={index + 2}
                data-index={index}
                class="row"
                style={{ gridTemplateColumns: template, transform: `translateY(${start + scroll.shift}px)` }}
              >
                {data === undefined ? (
                  <span role="cell" aria-colspan={columns.length}>
                    …
                  </span>
                ) : (
                  columns.map(({ cell, title }) => (
                    <span role="cell" key={title}>
                      {cell(data)}
                    </span>
                  ))
                )}
              </div>
            )
          })}
        </div>
      </div>
    </div>
  )
}

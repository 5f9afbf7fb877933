/** A chart of numbers over time. */
import type { JSX } from "preact"
import { useEffect, useRef } from "preact/hooks"
import UPlot from "uplot"

const colours = ["#2b7de1", "#d9480f", "#2b8a3e", "#9c36b5", "#b08900"]

/** Lines over time. The last values are in the label, for those who do not see the lines. */
export const Chart = ({
  lines,
  times,
  title
}: {
  readonly title: string
  /** Seconds since 1970. */
  readonly times: ReadonlyArray<number>
  readonly lines: ReadonlyArray<{ readonly name: string; readonly values: ReadonlyArray<number | null> }>
}): JSX.Element => {
  const element = useRef<HTMLDivElement>(null)
  const names = lines.map(({ name }) => name).join("\n")
  const plot = useRef<UPlot>(undefined)
  useEffect(() => {
    const target = element.current
    if (target === null) return undefined
    const ink = getComputedStyle(target).color
    const axis = { stroke: ink, grid: { stroke: "#8884", width: 1 } }
    plot.current = new UPlot(
      {
        title,
        width: Math.max(320, target.clientWidth),
        height: 200,
        axes: [axis, axis],
        series: [
          {},
          ...lines.map(({ name }, nth) => ({
            label: name,
            stroke: colours[nth % colours.length] ?? "#2b7de1",
            width: 2
          }))
        ]
      },
      [[...times], ...lines.map(({ values }) => [...values])],
      target
    )
    return () => plot.current?.destroy()
  }, [names, title])
  useEffect(() => {
    plot.current?.setData([[...times], ...lines.map(({ values }) => [...values])])
  }, [times])
  const latest = lines.map(({ name, values }) => `${name} ${values.at(-1) ?? "unknown"}`).join(", ")
  return <div ref={element} class="chart" role="img" aria-label={`${title}: ${latest}`} />
}

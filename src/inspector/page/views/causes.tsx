/** The events of one correlation id as a graph of causes. */
import { graphlib, layout } from "@dagrejs/dagre"
import type { JSX } from "preact"
import { useMemo } from "preact/hooks"
import type { TraceGraph } from "../../../operations/Looks.ts"
import { useLook } from "../look.ts"
import { Failure, Note, StreamLink, Time, fieldOf, type Submit } from "../parts.tsx"
import { goTo, linkTo, place } from "../route.ts"

type Graph = typeof TraceGraph.Encoded

const size = { width: 210, height: 52 }

interface Point {
  readonly x: number
  readonly y: number
}

/** The answers of the layout, whose own types are open. */
interface Placed {
  readonly graph: () => { readonly width?: number; readonly height?: number }
  readonly node: (id: string) => Point
  readonly edges: () => ReadonlyArray<{ readonly v: string; readonly w: string }>
  readonly edge: (edge: { readonly v: string; readonly w: string }) => {
    readonly points?: ReadonlyArray<Point>
  }
}

/** The places of nodes and edges. */
const placed = ({ edges, nodes }: Graph) => {
  const graph = new graphlib.Graph()
  graph.setGraph({ rankdir: "LR", nodesep: 16, ranksep: 48, marginx: 8, marginy: 8 })
  graph.setDefaultEdgeLabel(() => ({}))
  for (const { eventId } of nodes) graph.setNode(eventId, { ...size })
  for (const { cause, known } of edges) if (!known) graph.setNode(cause, { ...size })
  for (const { cause, effect } of edges) graph.setEdge(cause, effect)
  layout(graph)
  const drawn: Placed = graph
  const { height = 0, width = 0 } = drawn.graph()
  return {
    width,
    height,
    nodeAt: (id: string): Point => drawn.node(id),
    lines: drawn.edges().map((edge) => ({
      key: `${edge.v} ${edge.w}`,
      points: (drawn.edge(edge).points ?? []).map(({ x, y }) => `${x},${y}`).join(" ")
    }))
  }
}

const Drawing = ({ graph, tenant }: { readonly graph: Graph; readonly tenant: string }): JSX.Element => {
  const { height, lines, nodeAt, width } = useMemo(() => placed(graph), [graph])
  const outside = [...new Set(graph.edges.filter(({ known }) => !known).map(({ cause }) => cause))]
  return (
    <div class="graph" tabIndex={0} role="region" aria-label="Graph of causes">
      <svg
        width={width}
        height={height}
        role="group"
        aria-label={`${graph.nodes.length} events and ${graph.edges.length} causes`}
      >
        {lines.map(({ key, points }) => (
          <polyline key={key} points={points} />
        ))}
        {graph.nodes.map(({ aggregateId, aggregateType, eventId, eventType, position }) => {
          const { x, y } = nodeAt(eventId)
          return (
            <a key={eventId} href={linkTo(tenant, "log", { show: position, from: position })}>
              <rect
                x={x - size.width / 2}
                y={y - size.height / 2}
                width={size.width}
                height={size.height}
                rx={6}
              />
              <text x={x} y={y - 5}>
                {eventType} {position}
              </text>
              <text x={x} y={y + 14} class="quiet">
                {`${aggregateType} ${aggregateId}`.slice(0, 32)}
              </text>
            </a>
          )
        })}
        {outside.map((id) => {
          const { x, y } = nodeAt(id)
          return (
            <g key={id} class="outside">
              <rect
                x={x - size.width / 2}
                y={y - size.height / 2}
                width={size.width}
                height={size.height}
                rx={6}
              />
              <text x={x} y={y - 5}>
                a cause elsewhere
              </text>
              <text x={x} y={y + 14} class="quiet">
                {id.slice(0, 32)}
              </text>
            </g>
          )
        })}
      </svg>
    </div>
  )
}

/** The causes of the events of a correlation id. */
export const Causes = ({ tenant }: { readonly tenant: string }): JSX.Element => {
  const { correlation = "", from } = place.value.query
  const { data, error } = useLook<Graph>(correlation === "" ? undefined : `/tenants/${tenant}/trace`, {
    correlationId: correlation,
    from,
    limit: 200
  })
  const submit = (event: Submit) => {
    event.preventDefault()
    goTo(tenant, "causes", { correlation: fieldOf(event, "correlation") })
  }
  return (
    <section aria-labelledby="title">
      <h1 id="title">Causes</h1>
      <form class="filters" onSubmit={submit} key={correlation}>
        <label>
          Correlation id
          <input name="correlation" required defaultValue={correlation} />
        </label>
        <button type="submit">Show</button>
      </form>
      <Failure of={error} />
      {data === undefined ? null : (
        <>
          <Note>
            {data.nodes.length} events{data.next === null ? "" : ", and more to search"}
          </Note>
          {data.next === null ? null : (
            <a href={linkTo(tenant, "causes", { correlation, from: data.next })}>
              Search on from position {data.next.toLocaleString()}
            </a>
          )}
          {data.nodes.length === 0 ? null : <Drawing graph={data} tenant={tenant} />}
          <table>
            <caption>The same as a list</caption>
            <thead>
              <tr>
                <th scope="col">Position</th>
                <th scope="col">Type</th>
                <th scope="col">Stream</th>
                <th scope="col">Recorded</th>
                <th scope="col">Caused by</th>
              </tr>
            </thead>
            <tbody>
              {data.nodes.map((node) => (
                <tr key={node.eventId}>
                  <td>{node.position}</td>
                  <td>{node.eventType}</td>
                  <td>
                    <StreamLink tenant={tenant} {...node} />
                  </td>
                  <td>
                    <Time at={node.recordedAt} />
                  </td>
                  <td>
                    <code>{node.causationId ?? "nothing"}</code>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
    </section>
  )
}

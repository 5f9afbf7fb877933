/** `trace`: the events of one correlation id, as a tree of causes. */
import { Effect, Schema } from "effect"
import { Argument, Command } from "effect/cli"
import * as Looks from "../../operations/Looks.ts"
import * as Operations from "../../operations/Operations.ts"
import { asOperatorOf, limitFlag, optionalInt, orUndefined, payloadsFlag, tenantFlag } from "../ask.ts"
import { document, emit, quote } from "../output.ts"
import { asFailure, type Program } from "../program.ts"
import { eventLine } from "./events.ts"

/** The document of `trace`. */
export const Traced = document("trace", {
  correlationId: Schema.String,
  nodes: Looks.TraceGraph.fields.nodes,
  edges: Looks.TraceGraph.fields.edges
})

/** The lines of a graph: each event below its cause. */
const treeOf = ({ edges, nodes }: Looks.TraceGraph): ReadonlyArray<string> => {
  const known = new Map(nodes.map((node) => [node.eventId, node]))
  const effects = new Map<string, Array<string>>()
  const caused = new Set<string>()
  for (const { cause, effect, known: isKnown } of edges) {
    if (!isKnown) continue
    caused.add(effect)
    const list = effects.get(cause)
    if (list === undefined) effects.set(cause, [effect])
    else list.push(effect)
  }
  const lines: Array<string> = []
  const shown = new Set<string>()
  // A stack, because a chain of causes may be as long as the graph.
  const stack = nodes
    .filter(({ eventId }) => !caused.has(eventId))
    .map((node) => ({ node, depth: 0 }))
    .toReversed()
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const { depth, node } = top
    if (shown.has(node.eventId)) continue
    shown.add(node.eventId)
    lines.push(`${"  ".repeat(Math.min(depth, 20))}${depth === 0 ? "" : "└ "}${eventLine(node)}`)
    for (const id of (effects.get(node.eventId) ?? []).toReversed()) {
      const child = known.get(id)
      if (child !== undefined) stack.push({ node: child, depth: depth + 1 })
    }
  }
  return lines
}

export const trace = (program: Program) =>
  Command.make(
    "trace",
    {
      correlation: Argument.String("correlation").pipe(Argument.withDescription("The correlation id")),
      tenant: tenantFlag,
      from: optionalInt("from", "The position from which the search goes on"),
      limit: limitFlag(1000, 200),
      payloads: payloadsFlag
    },
    (flags) =>
      Effect.gen(function* () {
        const graph = yield* Operations.Operations.use((operations) =>
          operations.trace({
            correlationId: flags.correlation,
            from: orUndefined(flags.from),
            limit: flags.limit
          })
        )
        yield* emit(
          Traced,
          {
            command: "trace",
            correlationId: graph.correlationId,
            nodes: graph.nodes,
            edges: graph.edges,
            next:
              graph.next === null
                ? []
                : [
                    {
                      purpose: "search on",
                      command: `${program.name} trace ${quote(flags.correlation)} --tenant ${flags.tenant} --limit ${flags.limit} --payloads ${flags.payloads} --from ${graph.next}`
                    }
                  ]
          },
          () => (graph.nodes.length === 0 ? ["No events in this part of the log."] : treeOf(graph))
        )
      }).pipe(asOperatorOf("trace", flags.tenant, flags.payloads), program.onStore, asFailure)
  ).pipe(Command.withDescription("Show the events of one correlation id with their causes"))

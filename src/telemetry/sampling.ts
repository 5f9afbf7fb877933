/**
 * The choice of the traces that are recorded. The library asks for it before it makes a span, so that a trace that is left out costs
 * neither a span nor its attributes.
 */
import { Context, Option, Tracer } from "effect"
import { Hex } from "effect/encoding"

/** The share of traces that a tracer records, from 0 to 1. */
const ratio = Symbol("ratio")

interface SampledTracer extends Tracer.Tracer {
  readonly [ratio]: number
}

/** Marks the options of a span whose trace is recorded: the choice is made. */
const Chosen = Context.Reference<boolean>("effect-eventsourcing/telemetry/Chosen", {
  defaultValue: () => false
})

/** The annotations of a span at the root of a trace that is recorded. */
export const chosen: Context.Context<never> = Context.make(Chosen, true)

/** A tracer that records a share of the traces of another one. */
export const sampledTracer = (tracer: Tracer.Tracer, share: number): Tracer.Tracer => {
  const sampled: SampledTracer = {
    ...tracer,
    [ratio]: share,
    span: (options) =>
      tracer.span({
        ...options,
        sampled:
          options.sampled &&
          (!(options.root || Option.isNone(options.parent)) ||
            Context.get(options.annotations, Chosen) ||
            Math.random() < share)
      })
  }
  return sampled
}

const isSampled = (tracer: unknown): tracer is SampledTracer =>
  typeof tracer === "object" && tracer !== null && ratio in tracer

/** Chooses for a trace that begins now: true if it is left out. Of a tracer without a share, every trace is recorded. */
export const leavesOut = (tracer: unknown): boolean => isSampled(tracer) && Math.random() >= tracer[ratio]

/** The root of a trace that is not recorded: no span, but its ids, which requests to other programs carry. */
export class UnrecordedRoot implements Tracer.ExternalSpan {
  readonly _tag = "ExternalSpan"
  readonly sampled = false
  readonly annotations: Context.Context<never> = Context.empty()
  private ids: readonly [trace: string, span: string] | undefined

  // Few ask for the ids, and making them takes longer than the rest.
  get traceId(): string {
    return this.known[0]
  }

  get spanId(): string {
    return this.known[1]
  }

  private get known(): readonly [trace: string, span: string] {
    return (this.ids ??= [Hex.random(32), Hex.random(16)])
  }
}

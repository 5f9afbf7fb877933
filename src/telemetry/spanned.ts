/**
 * The spans of the library: this is the only file that makes them. Work that moves events, or that a caller waits for, has a span;
 * short calls of operators have none, and their SQL statements are in the span of the caller.
 */
import { Cause, Context, Effect, Exit, Stream, Tracer } from "effect"
import { CurrentTenant, type TenantId } from "../domain/Tenant.ts"
import { errorType } from "./errorType.ts"
import { attribute, type AttributeKey, type Operation, type SpanDescription, spans } from "./names.ts"
import { chosen, leavesOut, UnrecordedRoot } from "./sampling.ts"
import { startOf, type timing } from "./series.ts"
import { MeasuredCalls } from "./Telemetry.ts"

/** Values of attributes. */
export type Attributes = { readonly [Key in AttributeKey]?: string | number | boolean | undefined }

/** A span that is under way; undefined if nobody would see it. */
export type Spanned = Tracer.Span | undefined

/**
 * True if somebody sees the spans of a fiber. Without a tracer of the program nobody does, and creating one takes longer than most
 * of the work inside it. Below a span that is not sampled no span is recorded.
 */
const isSeen = ({ cache }: Observer): boolean => cache.tracer !== undefined && cache.span?.sampled !== false

/** The part of a fiber that says where its spans go. */
interface Observer {
  readonly cache: { readonly tracer: unknown; readonly span: Tracer.AnySpan | undefined }
}

const nameOf = (operation: Operation, target: string | undefined): string => {
  const { name }: SpanDescription = spans[operation]
  return target === undefined ? name : `${name.slice(0, name.indexOf("<"))}${target}`
}

export const annotate = (span: Spanned, attributes: Attributes | undefined): void => {
  if (span === undefined || attributes === undefined) return
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) span.attribute(key, value)
}

type Run<A, E, R> = (services: Context.Context<never>, span: Spanned) => Effect.Effect<A, E, R>

/** Settings of a span. */
export interface SpanOptions {
  /** Begins a trace of its own: the work was caused by others than the fiber that does it. */
  readonly root?: boolean | undefined
  /** Attributes at the start, beside the tenant of the fiber. */
  readonly attributes?: Attributes | undefined
  /** The exit that the span shows. Default: its own. */
  readonly shown?: ((exit: Exit.Exit<unknown, unknown>) => Exit.Exit<unknown, unknown>) | undefined
}

const inSpan = <A, E, R>(
  fiber: Observer & { readonly context: Context.Context<never> },
  operation: Operation,
  target: string | undefined,
  run: Run<A, E, R>,
  { attributes, root = false, shown }: SpanOptions
): Effect.Effect<A, E, R> => {
  const begins = root || fiber.cache.span === undefined
  if (begins && leavesOut(fiber.cache.tracer)) return unrecorded(run)
  const { kind } = spans[operation]
  const annotations = begins ? chosen : undefined
  return Effect.useSpan(nameOf(operation, target), { kind, root, annotations }, (span) => {
    const tenantId = Context.getOrUndefined(fiber.context, CurrentTenant)
    if (tenantId !== undefined) span.attribute(attribute.tenantId, tenantId)
    annotate(span, attributes)
    return Effect.onExit(
      Effect.provideService(
        Effect.withFiber(({ context }) => run(context, span)),
        Tracer.ParentSpan,
        span
      ),
      (exit) => {
        const seen = shown === undefined ? exit : shown(exit)
        if (Exit.isFailure(seen) && !Cause.hasInterruptsOnly(seen.cause))
          span.attribute(attribute.errorType, errorType(Cause.squash(seen.cause)))
        if (seen === exit) return Effect.void
        return Effect.clockWith((clock) => {
          span.end(clock.currentTimeNanosUnsafe(), seen)
          return Effect.void
        })
      }
    )
  })
}

/** Runs an effect at the root of a trace that is not recorded, so that no span is made below it either. */
const unrecorded = <A, E, R>(run: Run<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(
    Effect.withFiber(({ context }) => run(context, undefined)),
    Tracer.ParentSpan,
    new UnrecordedRoot()
  )

/**
 * Runs an effect in a span of its own if somebody sees it. `run` gets all services at once, because asking for each of them would
 * take more time.
 */
export const spanned = <A, E, R>(
  operation: Operation,
  target: string | undefined,
  run: Run<A, E, R>,
  options: SpanOptions = {}
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) =>
    (options.root === true ? fiber.cache.tracer !== undefined : isSeen(fiber))
      ? inSpan(fiber, operation, target, run, options)
      : run(fiber.context, undefined)
  )

/** The same for work on events of aggregates, whose duration is recorded if the program measures calls. */
export const timed = <A, E, R>(
  operation: "append" | "load" | "execute" | "decide",
  aggregate: string,
  record: ReturnType<typeof timing>,
  run: Run<A, E, R>,
  attributes?: () => Attributes
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const { context } = fiber
    const running = isSeen(fiber)
      ? inSpan(fiber, operation, aggregate, run, {
          attributes: { ...databaseOf(operation, aggregate), ...attributes?.() }
        })
      : run(context, undefined)
    if (!Context.get(context, MeasuredCalls)) return running
    const start = startOf(context)
    // Takes half the time of `onExit`. An interruption is not recorded.
    return Effect.matchCauseEffect(running, {
      onSuccess: (value) => {
        const exit = Exit.succeed(value)
        record(context, aggregate, start, exit)
        return exit
      },
      onFailure: (cause) => {
        const exit = Exit.failCause(cause)
        record(context, aggregate, start, exit)
        return exit
      }
    })
  })

/** The attributes of an operation on events of an aggregate. */
export const databaseOf = (operation: Operation, aggregate: string): Attributes => ({
  [attribute.dbSystem]: system,
  [attribute.dbOperation]: operation,
  [attribute.dbCollection]: aggregate
})

/** The attributes of an operation of a projection. */
export const messagingOf = (
  operation: Operation,
  { name, version }: { readonly name: string; readonly version?: number | undefined }
): Attributes => ({
  [attribute.messagingSystem]: system,
  [attribute.messagingOperation]: operation,
  [attribute.messagingType]: operation === "process" || operation === "react" ? "process" : undefined,
  [attribute.consumerGroup]: name,
  [attribute.projectionVersion]: version
})

const system = "eventsourcing"

/** Runs the work of an operator on a tenant in a span. */
export const ofTenant =
  (operation: Operation, tenantId: TenantId) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    spanned(operation, undefined, () => effect, { attributes: { [attribute.tenantId]: tenantId } })

/** A stream in a span of its own, if somebody sees it. */
export const spannedStream = <A, E, R>(
  operation: Operation,
  target: string | undefined,
  stream: Stream.Stream<A, E, R>,
  attributes?: Attributes
): Stream.Stream<A, E, R> =>
  Stream.unwrap(
    Effect.withFiber((fiber) => {
      if (!isSeen(fiber)) return Effect.succeed(stream)
      const tenantId = Context.getOrUndefined(fiber.context, CurrentTenant)
      const noted = Stream.onError(stream, (cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.void
          : Effect.annotateCurrentSpan(attribute.errorType, errorType(Cause.squash(cause)))
      )
      return Effect.succeed(
        Stream.withSpan(noted, nameOf(operation, target), {
          kind: spans[operation].kind,
          attributes: {
            ...(tenantId === undefined ? undefined : { [attribute.tenantId]: tenantId }),
            ...Object.fromEntries(Object.entries(attributes ?? {}).filter(([, value]) => value !== undefined))
          }
        })
      )
    })
  )

/** Adds attributes to the span of the library that is under way. Without a tracer that is none, and a program's own span gets nothing. */
export const annotateSpan = (attributes: Attributes): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const { span } = fiber.cache
    if (isSeen(fiber) && span?._tag === "Span") annotate(span, attributes)
    return Effect.void
  })

/** https://www.w3.org/TR/trace-context/#traceparent-header */
const hex = /^[0-9a-f]{1,32} [0-9a-f]{16}$/

/** The span of a fiber as a W3C `traceparent`; undefined without one, or if nobody sees it. */
export const traceparentOf = (services: Context.Context<never>): string | undefined => {
  if (!services.mapUnsafe.has(Tracer.TracerKey)) return undefined
  const span = Context.getOrUndefined(services, Tracer.ParentSpan)
  if (span === undefined || !span.sampled) return undefined
  const { spanId, traceId } = span
  return hex.test(`${traceId} ${spanId}`) ? `00-${traceId.padStart(32, "0")}-${spanId}-01` : undefined
}

/** The number of links that OpenTelemetry keeps for a span by default. */
const mostLinks = 128

/** Links a span to the traces of events. */
export const linkTo = (span: Spanned, events: Iterable<{ readonly traceparent: string | null }>): void => {
  if (span === undefined || !span.sampled) return
  const known = new Set(span.links.map(({ span: { spanId, traceId } }) => `${traceId}-${spanId}`))
  const links: Array<Tracer.SpanLink> = []
  for (const { traceparent } of events) {
    if (traceparent === null || known.size >= mostLinks) continue
    const place = traceparent.slice(3, 52)
    if (known.has(place)) continue
    known.add(place)
    const [traceId = "", spanId = ""] = place.split("-")
    const sampled = traceparent.endsWith("1")
    links.push({ span: Tracer.externalSpan({ traceId, spanId, sampled }), attributes: {} })
  }
  if (links.length > 0) span.addLinks(links)
}

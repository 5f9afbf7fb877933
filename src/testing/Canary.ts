/**
 * Canaries: secrets that are planted in one tenant's data and searched for in all output of a program.
 *
 * **When to use**
 *
 * In tests of your own program, with its handlers, read models and services: plant a canary wherever a tenant's data can
 * be, let another tenant try everything, and search the results.
 *
 * **Example** (Nothing of one tenant in what another one sees)
 *
 * ```ts
 * import { Canary } from "effect-eventsourcing/testing"
 *
 * const canary = Canary.make()
 * yield* placeOrder({ id: canary.secret, note: canary.in("note") }).pipe(Tenant.provide(acme))
 * const heard = yield* Canary.overhear(everythingOthersDo.pipe(Tenant.provide(globex)))
 * Canary.assertAbsent(canary, heard)
 * ```
 */
import { Cause, Effect, Exit, Logger, Metric, References, Tracer } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"

/** A secret, and texts with it. */
export interface Canary {
  /** A random UUID in canonical form, so that it can serve as an id. */
  readonly secret: string
  /** A text with the secret and the place where it was planted, for example `canary note 0190…`. */
  readonly in: (place: string) => string
}

/** A place in which a secret was found. */
export interface Finding {
  /** The path to the text, for example `logs[2].annotations.tenant`. */
  readonly path: string
  /** The secret with some text before and after it. */
  readonly text: string
}

/** A line of a log, as loggers see it. */
export interface LogLine {
  readonly level: string
  readonly message: unknown
  readonly annotations: Readonly<Record<string, unknown>>
  readonly spans: ReadonlyArray<string>
  /** The cause as loggers print it; empty if there is none. */
  readonly cause: string
}

/** A span, as tracers export it. */
export interface SpanLine {
  readonly name: string
  readonly kind: string
  readonly attributes: Readonly<Record<string, unknown>>
  readonly events: ReadonlyArray<unknown>
  readonly links: ReadonlyArray<unknown>
  /** The failure as tracers print it; empty if there is none, or the span has not ended. */
  readonly failure: string
}

/** Output of a program to others than its caller. */
export interface Telemetry {
  /** Log lines of all levels. */
  readonly logs: ReadonlyArray<LogLine>
  readonly spans: ReadonlyArray<SpanLine>
  readonly metrics: ReadonlyArray<Metric.Metric.Snapshot>
}

/** All output of a program, to its caller and to others. */
export interface Overheard<out A, out E> extends Telemetry {
  readonly exit: Exit.Exit<A, E>
}

/** A canary whose secret is an id that is in use, for example that of another tenant. */
export const of = (id: string): Canary => {
  const secret = id.toLowerCase()
  return { secret, in: (place) => `canary ${place} ${secret}` }
}

/** A canary with a new secret. */
export const make = (): Canary => of(uuidV4Unsafe())

/**
 * Runs an effect and returns its outcome, with everything that loggers, tracers and metrics received meanwhile.
 *
 * **Gotchas**
 *
 * Fibers that were started earlier, for example by layers, keep the loggers they were started with. To overhear those as
 * well, provide fresh layers within the effect. Direct writes to the console or to files are not overheard.
 */
export const overhear = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Overheard<A, E>, never, R> =>
  Effect.suspend(() => {
    const logs: Array<LogLine> = []
    const spans: Array<Tracer.NativeSpan> = []
    const logger = Logger.make(({ cause, fiber, logLevel, message }) => {
      logs.push({
        level: logLevel,
        message,
        annotations: { ...fiber.getRef(References.CurrentLogAnnotations) },
        spans: fiber.getRef(References.CurrentLogSpans).map(([label]) => label),
        cause: cause.reasons.length === 0 ? "" : Cause.pretty(cause)
      })
    })
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    return Effect.exit(effect).pipe(
      Effect.flatMap((exit) =>
        Effect.map(Metric.snapshot, (measured) => ({
          exit,
          logs,
          spans: spans.map(exported),
          metrics: measured
        }))
      ),
      Effect.withTracer(tracer),
      Effect.provideService(Metric.MetricRegistry, new Map()),
      Effect.provideService(References.CurrentLoggers, new Set([logger])),
      Effect.provideService(References.MinimumLogLevel, "All")
    )
  })

const exported = ({ attributes, events, kind, links, name, status }: Tracer.NativeSpan): SpanLine => ({
  name,
  kind,
  attributes: Object.fromEntries(attributes),
  events,
  links: links.map((link) => link.attributes),
  failure: status._tag === "Ended" && Exit.isFailure(status.exit) ? Cause.pretty(status.exit.cause) : ""
})

/**
 * The index of a secret in a text, or -1: plain, without hyphens, in hexadecimal digits, or in base64 at any offset.
 */
const finder = (secret: string): ((text: string) => number) => {
  const folded = [secret, secret.replaceAll("-", ""), Buffer.from(secret).toString("hex")]
  const base64 = [0, 1, 2].map((offset) =>
    // The first and the last group of characters depend on the text around the secret.
    Buffer.from("\0".repeat(offset) + secret)
      .toString("base64")
      .slice(4, -4)
  )
  const shortest = Math.min(...[...folded, ...base64].map(({ length }) => length))
  // The same texts recur often: statements, names, stacks.
  const known = new Map<string, number>()
  const search = (text: string): number => {
    const lower = text.toLowerCase()
    return Math.max(
      ...folded.map((needle) => lower.indexOf(needle)),
      ...base64.map((needle) => text.indexOf(needle))
    )
  }
  return (text) => {
    if (text.length < shortest) return -1
    let at = known.get(text)
    if (at === undefined) known.set(text, (at = search(text)))
    return at
  }
}

const surroundings = 40

/** All members of a value with their names, also those that are not enumerable or computed. */
function* membersOf(value: object): Generator<readonly [name: string, member: unknown]> {
  if (value instanceof Map) {
    let index = 0
    for (const [key, member] of value) {
      yield [`.keys[${index++}]`, key]
      yield [`.get(${String(key)})`, member]
    }
  } else if (value instanceof Set) {
    for (const member of value) yield [".has", member]
  } else if (ArrayBuffer.isView(value)) {
    yield [".text", Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("latin1")]
    return
  }
  for (
    let owner: object | null = value;
    owner !== null && owner !== Object.prototype && owner !== Function.prototype;
    owner = Reflect.getPrototypeOf(owner)
  ) {
    for (const key of Reflect.ownKeys(owner)) {
      const computed = Reflect.getOwnPropertyDescriptor(owner, key)?.get !== undefined
      if (owner !== value && !computed) continue
      const name =
        typeof key === "symbol" ? `[${String(key)}]` : Array.isArray(value) ? `[${key}]` : `.${key}`
      yield [`${name} (name)`, typeof key === "symbol" ? key.description : key]
      try {
        yield [name, Reflect.get(value, key)]
      } catch {
        // a member that cannot be read leaks nothing
      }
    }
  }
}

/**
 * The places in which a value contains the secret of a canary: in texts, names and bytes at any depth, in errors with their
 * stacks and causes, and also in hexadecimal digits or base64.
 */
export const find = (canary: Canary, observed: unknown): ReadonlyArray<Finding> => {
  const indexIn = finder(canary.secret)
  const found: Array<Finding> = []
  const seen = new Set<object>()
  const pending: Array<readonly [path: string, value: unknown]> = [["", observed]]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [path, value] = next
    if (typeof value === "string") {
      const at = indexIn(value)
      if (at >= 0) {
        const text = value.slice(Math.max(0, at - surroundings), at + canary.secret.length + surroundings)
        found.push({ path: path.replace(/^\./, ""), text })
      }
    } else if ((typeof value === "object" && value !== null) || typeof value === "function") {
      if (seen.has(value)) continue
      seen.add(value)
      for (const [name, member] of membersOf(value)) pending.push([`${path}${name}`, member])
    }
  }
  return found.toReversed()
}

/**
 * Throws an error that lists the places if an observed value contains the secret of a canary, or of one of several. The
 * value may be a result of {@link overhear}, the body of a response, a page of a log, or anything else.
 */
export const assertAbsent = (canaries: Canary | ReadonlyArray<Canary>, observed: unknown): void => {
  const found = [canaries].flat().flatMap((canary) => find(canary, observed))
  if (found.length === 0) return
  throw new Error(
    `the canary is in what was observed:\n${found.map(({ path, text }) => `  ${path}: ${text}`).join("\n")}`
  )
}

/**
 * Canaries: secrets that are planted in one tenant's data, and looked for in everything that a program says.
 *
 * **When to use**
 *
 * In tests of your own program, with your handlers, read models and services in it: plant a canary wherever a tenant's
 * data can be, let another tenant try everything, and search what came of it.
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
  /** A random UUID in its canonical form, so that it can stand for an id. */
  readonly secret: string
  /** A text with the secret that also says where it was planted, for example `canary note 0190…`. */
  readonly in: (place: string) => string
}

/** A place in which a secret was found. */
export interface Finding {
  /** The way from what was searched to the text, for example `logs[2].annotations.tenant`. */
  readonly path: string
  /** The text, from a little before the secret to a little behind it. */
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

/** What a program tells others than its caller. */
export interface Telemetry {
  /** Of all levels. */
  readonly logs: ReadonlyArray<LogLine>
  readonly spans: ReadonlyArray<SpanLine>
  readonly metrics: ReadonlyArray<Metric.Metric.Snapshot>
}

/** All that a program says: to its caller, and to others. */
export interface Overheard<out A, out E> extends Telemetry {
  readonly exit: Exit.Exit<A, E>
}

/** A canary whose secret is an id that is in use, for example that of another tenant. */
export const of = (id: string): Canary => {
  const secret = id.toLowerCase()
  return { secret, in: (place) => `canary ${place} ${secret}` }
}

/** A canary with a secret that nobody else has. */
export const make = (): Canary => of(uuidV4Unsafe())

/**
 * Runs an effect and gives its outcome, with everything that loggers, tracers and metrics were told meanwhile.
 *
 * **Gotchas**
 *
 * Fibers that were started before, by layers for instance, go on telling the loggers that they were started with:
 * provide the layers within the effect, and fresh, to overhear those as well. What is written to the console or to a file
 * without a logger is not overheard.
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
 * Where a secret begins in a text, -1 if it is not there: as it is, without hyphens, in hexadecimal digits, or in base64
 * at any offset.
 */
const finder = (secret: string): ((text: string) => number) => {
  const folded = [secret, secret.replaceAll("-", ""), Buffer.from(secret).toString("hex")]
  const base64 = [0, 1, 2].map((offset) =>
    // The first and the last group of characters depend on what stands around the secret.
    Buffer.from("\0".repeat(offset) + secret)
      .toString("base64")
      .slice(4, -4)
  )
  const shortest = Math.min(...[...folded, ...base64].map(({ length }) => length))
  // The same texts come again and again: statements, names, stacks.
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

/** The values that a value has in it, with their names: all of them, also those that are not enumerable or computed. */
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
        // a member that cannot be had tells nobody anything
      }
    }
  }
}

/**
 * The places in which the secret of a canary is found in a value: in texts, names and bytes, however deep, in errors with
 * their stacks and causes, and also in hexadecimal digits or base64.
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
 * Throws an error that names the places if the secret of a canary, or of any of several, is in what was observed: what
 * {@link overhear} gives, the body of a response, a page of a log, anything.
 */
export const assertAbsent = (canaries: Canary | ReadonlyArray<Canary>, observed: unknown): void => {
  const found = [canaries].flat().flatMap((canary) => find(canary, observed))
  if (found.length === 0) return
  throw new Error(
    `the canary is in what was observed:\n${found.map(({ path, text }) => `  ${path}: ${text}`).join("\n")}`
  )
}

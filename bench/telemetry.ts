/**
 * `npx tsx bench/telemetry.ts`: the cost of spans. Commands on a storage in memory, where nothing hides it, in turns: without a tracer,
 * with a tracer like that of OTLP that samples no trace, 1 % and all of them. Prints the CPU time of a command and the ratio to
 * that without a tracer (median of the rounds).
 *
 * Flags: --rounds 15, --commands 4000
 */
import { Effect, Layer, Schema, Tracer } from "effect"
import { Aggregate, EventStore, MemoryStorage, Repository, Telemetry, Tenant } from "effect-eventsourcing"
import { parseArgs } from "node:util"
import { median } from "./internal/measure.ts"

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "15" },
    commands: { type: "string", default: "4000" }
  }
})
const rounds = Number(values.rounds)
const commands = Number(values.commands)

const Deposited = Schema.TaggedStruct("Deposited", { amount: Schema.Int })

const Account = Aggregate.make(
  "Account",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Deposited] },
  { Deposited: (balance, { amount }) => balance + amount }
)

/** Keeps the spans that an exporter would send, up to a thousand, as OTLP does between two exports. */
const exporting = (): Tracer.Tracer => {
  const kept: Array<Tracer.Span> = []
  return Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      const end = span.end.bind(span)
      span.end = (time, exit) => {
        end(time, exit)
        if (!span.sampled) return
        // The ids are made at the latest when a span is exported.
        if (kept.push(span) > 1000) kept.length = 0
        void `${span.traceId}${span.spanId}`
      }
      return span
    }
  })
}

const sampled = (ratio: number) =>
  Telemetry.layerSampled(ratio).pipe(Layer.provide(Layer.succeed(Tracer.Tracer, exporting())))

const contenders: ReadonlyArray<readonly [string, Layer.Layer<never>]> = [
  ["no tracer", Layer.empty],
  ["0 %", sampled(0)],
  ["1 %", sampled(0.01)],
  ["100 %", sampled(1)]
]

const round = Effect.gen(function* () {
  const { execute } = yield* Repository.Repository
  const before = process.cpuUsage()
  for (let n = 0; n < commands; n++)
    yield* execute(Account, String(n % 50), () => [Deposited.make({ amount: 1 })])
  const { system, user } = process.cpuUsage(before)
  return (user + system) / commands
})

const measured = Effect.gen(function* () {
  const times = new Map<string, Array<number>>(contenders.map(([name]) => [name, []]))
  const contexts = yield* Effect.forEach(contenders, ([name, layer]) =>
    Effect.map(Layer.build(layer), (context) => [name, context] as const)
  )
  for (let n = -2; n < rounds; n++) {
    const order = n % 2 === 0 ? contexts : contexts.toReversed()
    for (const [name, context] of order) {
      const services = Repository.layer.pipe(
        Layer.provide(EventStore.layer),
        Layer.provide(MemoryStorage.layer)
      )
      const time = yield* round.pipe(
        Tenant.provide(yield* Tenant.generate),
        Effect.provide(Layer.fresh(services), { local: true }),
        Effect.provideContext(context)
      )
      // The first rounds warm up.
      if (n >= 0) times.get(name)?.push(time)
    }
  }
  const base = times.get("no tracer") ?? []
  for (const [name, found] of times) {
    const ratio = median(found.map((time, index) => time / (base[index] ?? Number.NaN)))
    console.log(`${name.padEnd(10)} ${median(found).toFixed(1)} µs a command  ${ratio.toFixed(3)}`)
  }
})

await Effect.runPromise(Effect.scoped(measured))

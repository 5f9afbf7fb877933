/** The names of telemetry are those that a program emits, and no others. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric, Tracer } from "effect"
import { readFileSync } from "node:fs"
import * as Path from "node:path"
import { EventStore, MemoryStorage, StoreError, Telemetry, Tenant } from "effect-eventsourcing"
import * as Canary from "../../src/testing/Canary.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import { everything, Order, person } from "../support/observed.ts"

/** The span of the table with the name of an emitted one. */
const operationOf = (name: string): Telemetry.Operation | undefined =>
  operations.find((operation) => {
    const { name: pattern } = Telemetry.spans[operation]
    const target = pattern.indexOf("<")
    return target === -1 ? name === pattern : name.startsWith(pattern.slice(0, target))
  })

const operations = Object.keys(Telemetry.spans) as ReadonlyArray<Telemetry.Operation>

const heard = Effect.scoped(
  Effect.gen(function* () {
    const tenantId = yield* Tenant.generate
    const { exit, metrics, spans } = yield* Canary.overhear(everything(tenantId))
    const inside = exit._tag === "Success" ? exit.value : yield* exit
    return { tenantId, metrics: [...metrics, ...inside.metrics], exposition: inside.exposition, spans }
  })
)

const sorted = (values: Iterable<string>): Array<string> => [...new Set(values)].toSorted()

let once: Effect.Success<typeof heard> | undefined
/** Everything is done once for all tests. */
const observed = Effect.suspend(() =>
  once === undefined
    ? Effect.tap(heard, (found) => Effect.sync(() => void (once = found)))
    : Effect.succeed(once)
)

describe("a program that does everything", () => {
  it.live("emits the spans of the table, with their kinds and attributes, and no others", () =>
    Effect.gen(function* () {
      const { spans } = yield* observed
      assert.deepStrictEqual(
        sorted(spans.flatMap(({ name }) => (operationOf(name) === undefined ? [name] : []))),
        []
      )
      const emitted = spans.flatMap(({ attributes, kind, name }) => {
        const operation = operationOf(name)
        return [`${operation} is ${kind}`].concat(
          Object.keys(attributes).map((key) => `${operation} has ${key}`)
        )
      })
      const documented = operations.flatMap((operation) => {
        const { attributes, kind }: Telemetry.SpanDescription = Telemetry.spans[operation]
        return [`${operation} is ${kind}`].concat(attributes.map((key) => `${operation} has ${key}`))
      })
      // Only a database has a schema to migrate.
      const inMemory = (line: string) => !line.startsWith("migrate ")
      assert.deepStrictEqual(sorted(emitted), sorted(documented).filter(inMemory))
    })
  )

  it.live("emits the metrics of the table, with their types and attributes, and no others", () =>
    Effect.gen(function* () {
      const { metrics } = yield* observed
      const own = metrics.filter(({ id }) => id.startsWith("eventsourcing."))
      const emitted = own.flatMap(({ attributes = {}, description, id, type }) =>
        [`${id} is a ${type.toLowerCase()} in ${attributes["unit"]}: ${description}`].concat(
          Object.keys(attributes).map((key) => `${id} has ${key}`)
        )
      )
      const documented = Object.entries(Telemetry.metrics).flatMap(
        ([name, { attributes, description, type, unit }]) =>
          [`${name} is a ${type} in ${unit}: ${description}`, `${name} has unit`].concat(
            attributes.map((key) => `${name} has ${key}`)
          )
      )
      assert.deepStrictEqual(sorted(emitted), sorted(documented))
    })
  )

  it.live("names no instance: neither ids, keys, totals nor people, and tenants only where they may be", () =>
    Effect.gen(function* () {
      const { metrics, spans, tenantId } = yield* observed
      const names = sorted(spans.map(({ name }) => name))
      assert.isBelow(names.length, 45, names.join("\n"))
      Canary.assertAbsent(person, { logs: [], metrics, spans })
      assert.notInclude(names.join("\n"), tenantId)
      const others = metrics.filter(({ attributes }) => {
        const tenant = attributes?.["tenant.id"]
        return tenant !== undefined && tenant !== tenantId
      })
      assert.deepStrictEqual(others, [])
    })
  )

  it.effect("measures no calls unless the program asks for it", () => {
    const seriesOf = Effect.fnUntraced(function* (layer: Layer.Layer<never>) {
      const registry: Metric.MetricRegistry = new Map()
      yield* EventStore.EventStore.use((store) =>
        store.append({
          aggregate: Order,
          id: "1",
          expectedVersion: "any",
          events: [{ _tag: "Placed", total: 1 }]
        })
      ).pipe(
        Tenant.provide(yield* Tenant.generate),
        Effect.provide(
          Layer.merge(layer, EventStore.layer.pipe(Layer.provide(Layer.fresh(MemoryStorage.layer)))),
          {
            local: true
          }
        ),
        Effect.provideService(Metric.MetricRegistry, registry)
      )
      return [...registry.values()].map(({ id }) => id)
    })
    return Effect.gen(function* () {
      assert.deepStrictEqual(yield* seriesOf(Layer.empty), [])
      assert.include(yield* seriesOf(Telemetry.layerMeasured), "eventsourcing.append.duration")
    })
  })

  it.live("gives a tenant no series of its own unless the program asks for it", () =>
    Effect.gen(function* () {
      const { metrics } = yield* observed
      const appends = metrics.filter(({ id }) => id === "eventsourcing.append.duration")
      assert.isTrue(appends.some(({ attributes }) => attributes?.["tenant.id"] === undefined))
      assert.deepStrictEqual(
        sorted(appends.map(({ attributes }) => attributes?.["error.type"] ?? "none")),
        ["EventIdConflict", "QuotaExceeded", "VersionConflict", "none"].toSorted()
      )
    })
  )
})

const traced = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return Effect.as(Effect.withTracer(effect, tracer), spans)
}

const root = Path.join(import.meta.dirname, "../..")
const read = (file: string) => readFileSync(Path.join(root, file), "utf8")

/** The rows of the page's tables, without the padding of their cells. */
const rows = read("docs/telemetry.md")
  .split("\n")
  .filter((line) => line.startsWith("| `"))
  .map((line) =>
    line
      .split("|")
      .map((cell) => cell.trim())
      .slice(1, -1)
      .join(" | ")
  )

const code = (names: ReadonlyArray<string>) => names.map((name) => `\`${name}\``).join(", ")

describe("docs/telemetry.md", () => {
  it("has a row for each span and each metric, and no others", () => {
    const ofSpans = Object.values(Telemetry.spans).map(
      ({ attributes, covers, kind, name }: Telemetry.SpanDescription) =>
        [
          code([name]),
          kind,
          covers,
          code(attributes.filter((key) => key !== "tenant.id" && key !== "error.type"))
        ].join(" | ")
    )
    const ofMetrics = Object.entries(Telemetry.metrics).map(
      ([name, { attributes, description, type, unit }]) =>
        [code([name]), type, unit, description, code(attributes)].join(" | ")
    )
    assert.deepStrictEqual(rows, [...ofSpans, ...ofMetrics])
  })
})

/** The series and labels of a text for Prometheus. */
const seriesOf = (exposition: string) => {
  const labels = new Map<string, Set<string>>()
  for (const line of exposition.split("\n")) {
    const [, name = "", list = ""] = /^([a-z_]+)(?:\{(.*)\})? \S+$/.exec(line) ?? []
    if (name === "") continue
    const known = labels.get(name) ?? new Set<string>()
    labels.set(name, known)
    for (const [, label = ""] of list.matchAll(/([a-z_]+)="/g)) known.add(label)
  }
  return labels
}

/** The metrics of an expression with the labels that it selects, and those by which it sums. */
const selectorsOf = (expression: string) => {
  const by = [...expression.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, names = ""]) => names.split(/, */))
  return [...expression.matchAll(/\b(eventsourcing_[a-z_]+)(?:\{([^}]*)\})?/g)].map(
    ([, metric = "", list = ""]) => ({
      metric,
      labels: [...by, ...[...list.matchAll(/([a-z_]+)(?==|!=)/g)].map(([, label = ""]) => label)]
    })
  )
}

/** Labels that Prometheus adds itself. */
const added = new Set(["instance", "job"])

const dashboard = read("docs/telemetry/dashboard.json")
const alerts = read("docs/telemetry/alerts.yaml")
const expressions = [
  ...[...dashboard.matchAll(/"expr": ("(?:[^"\\]|\\.)*")/g)].map(([, text = '""']) =>
    String(JSON.parse(text))
  ),
  ...[...alerts.matchAll(/^ +expr: (.*)$/gm)].map(([, text = ""]) => text)
]

describe("the dashboard and the alerts", () => {
  it.live("use only series and labels that a program exports for Prometheus", () =>
    Effect.gen(function* () {
      const series = seriesOf((yield* observed).exposition)
      assert.isAbove(expressions.length, 40)
      const wrong = expressions.flatMap(selectorsOf).flatMap(({ labels, metric }) => {
        const known = series.get(metric)
        if (known === undefined) return [metric]
        return labels
          .filter((label) => !known.has(label) && !added.has(label))
          .map((label) => `${metric}.${label}`)
      })
      assert.deepStrictEqual(wrong, [])
    })
  )

  it("show every metric", () => {
    const used = new Set(
      expressions.flatMap(selectorsOf).map(({ metric }) => metric.replace(/_(bucket|count|sum)$/, ""))
    )
    const names = Object.keys(Telemetry.metrics).map((name) =>
      Telemetry.prometheusName(name).replaceAll(".", "_")
    )
    assert.deepStrictEqual(
      names.filter((name) => !used.has(name)),
      []
    )
  })

  it("have a projection that is parked for minutes as their first alert, and errors that exist", () => {
    const [, first = ""] = /- alert: ([^]*?)- alert: /.exec(alerts) ?? []
    assert.match(first, /^ProjectionParked\n +expr: .*eventsourcing_projection_parked\) > 0\n +for: 5m\n/)
    const [, types = ""] = /error_type=~"([^"]*)"/.exec(alerts) ?? []
    for (const type of types.split("|")) assert.property(StoreError, type)
  })
})

describe("the schema", () => {
  it.live(
    "is migrated in a span",
    () =>
      Effect.gen(function* () {
        const spans = yield* traced(
          Effect.scoped(Effect.provide(Effect.void, PgEmbedded.layer, { local: true }))
        )
        const own = spans.filter(({ name }) => name === Telemetry.spans.migrate.name)
        assert.lengthOf(own, 1)
        assert.strictEqual(own[0]?.kind, "internal")
      }),
    60_000
  )
})

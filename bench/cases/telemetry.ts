/** The cost of telemetry: commands without it, with measured calls, and with the spans of Effect's OTLP tracer, sampled and not. */
import { Effect, Layer } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { OtlpSerialization, OtlpTracer } from "effect/observability"
import * as Telemetry from "../../src/telemetry/Telemetry.ts"
import { commands } from "../internal/commands.ts"
import { interleave } from "../internal/measure.ts"
import { table } from "../internal/report.ts"
import { atLeast, type Case, ratioOf } from "./Case.ts"

/** A collector that answers at once, so that nothing is measured but this process. */
const collector = Layer.succeed(
  HttpClient.HttpClient,
  HttpClient.make((request) =>
    Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null, { status: 200 })))
  )
)

const tracer = OtlpTracer.layer({
  url: "http://localhost/v1/traces",
  resource: { serviceName: "bench" }
}).pipe(Layer.provide([OtlpSerialization.layerJson, collector]))

const sampled = (ratio: number): Layer.Layer<never> =>
  Telemetry.layerSampled(ratio).pipe(Layer.provide(tracer))

const without = "without telemetry"
const hundredth = "1 % of the traces"

const contenders: ReadonlyArray<readonly [name: string, observed: Layer.Layer<never>]> = [
  [without, Layer.empty],
  ["without telemetry, again", Layer.empty],
  ["measured calls", Telemetry.layerMeasured],
  [hundredth, sampled(0.01)],
  ["all traces", sampled(1)]
]

const cost: Case = {
  name: "telemetry: execute, own cart each, 32 concurrent",
  run: async ({ rounds, seconds, server }) => {
    const databases = await Promise.all(contenders.map(() => server.newDatabase()))
    try {
      const measured = await interleave(
        contenders.flatMap(([name, observed], index) => {
          const database = databases[index]
          return database === undefined ? [] : [commands(database, { name, carts: 32, observed })]
        }),
        { rounds, seconds }
      )
      const result = table(
        "Execute, a cart of each of 32 fibers, with telemetry",
        "commands/s",
        measured,
        without
      )
      return {
        tables: [result],
        targets: [
          atLeast(
            "execute with 1 % of the traces",
            0.95,
            "without telemetry",
            ratioOf(result, hundredth, (name) => name === without)
          )
        ]
      }
    } finally {
      for (const database of databases) await database.close()
    }
  }
}

export const telemetryCases: ReadonlyArray<Case> = [cost]

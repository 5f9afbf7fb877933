/** Gauges of the states that the repositories of a process remember. They are read when metrics are, so keeping a state costs nothing more. */
import { Context, Effect, Metric, type Scope } from "effect"
import { rememberedEntries, rememberedSize } from "../telemetry/Telemetry.ts"

interface Memory {
  readonly size: number
  readonly weight: number
}

const ignore = (): void => {}

/** The memories of the repositories whose metrics go to one registry. */
const memoriesOf = new WeakMap<object, Set<Memory>>()

const sumOf = (memories: ReadonlySet<Memory>, member: keyof Memory): number => {
  let sum = 0
  for (const memory of memories) sum += memory[member]
  return sum
}

/** Measures a memory while the scope is open. */
export const measureMemory = (memory: Memory): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.map(Effect.context(), (services) => {
      const registry = Context.get(services, Metric.MetricRegistry)
      const memories = memoriesOf.get(registry) ?? new Set<Memory>()
      memoriesOf.set(registry, memories)
      memories.add(memory)
      const registrations = (
        [
          [rememberedEntries, "size"],
          [rememberedSize, "weight"]
        ] as const
      ).map(([metric, member]) =>
        Metric.registerUnsafe(metric, services, {
          get: () => ({ value: sumOf(memories, member) }),
          update: ignore,
          modify: ignore
        })
      )
      return { memories, registrations }
    }),
    ({ memories, registrations }) =>
      Effect.sync(() => {
        memories.delete(memory)
        // Those of the other memories of the registry are the same sums.
        if (memories.size === 0) for (const registration of registrations) registration.remove()
      })
  ).pipe(Effect.asVoid)

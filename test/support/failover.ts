/** A store that is replaced by another one, as in a failover to a standby without the end of a log, or by a restore. */
import { Context, Effect, Layer } from "effect"
import * as EventStorage from "../../src/driver/EventStorage.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"

/** The switch of a store with two histories. */
export class Failover extends Context.Service<
  Failover,
  {
    /** Switches to the other database, and back. */
    readonly switchOver: Effect.Effect<void>
    /** The requests of loads and appends since the last call. */
    readonly requests: Effect.Effect<ReadonlyArray<string>>
  }
>()("test/Failover") {}

const recorded = new Set<string | symbol>(["append", "loadStream", "streamEndsWith", "commandOutcome"])
const isRecorded = (key: string | symbol): key is string => recorded.has(key)

/**
 * A driver on one of two databases, each built by the layer, which records its requests. Projections are always those of the
 * first one.
 */
export const failover = <E, R>(
  database: Layer.Layer<EventStorage.EventStorage | ProjectionStorage, E, R>
): Layer.Layer<EventStorage.EventStorage | ProjectionStorage | Failover, E, R> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const [one, other] = yield* Effect.all([
        Layer.build(Layer.fresh(database)),
        Layer.build(Layer.fresh(database))
      ])
      let current = Context.get(one, EventStorage.EventStorage)
      let next = Context.get(other, EventStorage.EventStorage)
      let requests: Array<string> = []
      const storage = new Proxy(current, {
        get: (_, key): unknown => {
          if (isRecorded(key)) requests.push(key)
          return Reflect.get(current, key)
        }
      })
      return Context.make(EventStorage.EventStorage, storage).pipe(
        Context.add(ProjectionStorage, Context.get(one, ProjectionStorage)),
        Context.add(Failover, {
          switchOver: Effect.sync(() => {
            const former = current
            current = next
            next = former
          }),
          requests: Effect.sync(() => {
            const made = requests
            requests = []
            return made
          })
        })
      )
    })
  )

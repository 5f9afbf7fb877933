/** Layers that are built once for each instance of the services that they need, instead of once for all. */
import { Context, Effect, Layer } from "effect"

/** A tree of layers by service instances. Each level of the tree stands for one of the services. */
interface Branch<A, E, R> {
  readonly branches: WeakMap<object, Branch<A, E, R>>
  layer: Layer.Layer<A, E, R> | undefined
}

const branch = <A, E, R>(): Branch<A, E, R> => ({ branches: new WeakMap(), layer: undefined })

const isObject = (value: unknown): value is object =>
  (typeof value === "object" && value !== null) || typeof value === "function"

/**
 * A layer that Effect builds once for each combination of instances of these services.
 *
 * **Details**
 *
 * Effect memoises a layer by its reference, also across nested `provide`s and the keys of a `LayerMap`. So a constant layer
 * that is used with two databases would give both the service of the first one. `Layer.fresh` would build the layer at each
 * use, and so make several services for one database. This function makes one layer per service instance, which Effect
 * memoises as usual.
 */
export const layerPer = <A, E, R>(
  services: ReadonlyArray<Context.Key<NoInfer<R>, unknown>>,
  make: () => Layer.Layer<A, E, R>
): Layer.Layer<A, E, R> => {
  const root = branch<A, E, R>()
  return Layer.fromBuild((memoMap, scope) =>
    Effect.contextWith((context: Context.Context<R>) => {
      let found = root
      for (const key of services) {
        const service = Context.get(context, key)
        if (!isObject(service)) continue
        let next = found.branches.get(service)
        if (next === undefined) found.branches.set(service, (next = branch()))
        found = next
      }
      found.layer ??= make()
      return Layer.buildWithMemoMap(found.layer, memoMap, scope)
    })
  )
}

/**
 * Health of a program, for orchestrators and load balancers: if it runs, and if it can serve.
 */
import { Context, Duration, Effect, Layer, Schema } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import { untenanted } from "../domain/Tenant.ts"
import { EventStorage } from "../driver/EventStorage.ts"

/** Raised when the program cannot serve now: it shuts down, or its storage does not answer. */
export class NotReady extends Schema.TaggedError<NotReady>()("NotReady", {
  reason: Schema.Literals(["shutting down", "storage"])
}) {
  override get message(): string {
    return this.reason === "storage"
      ? "not ready: the storage does not answer"
      : "not ready: the program shuts down"
  }
}

/** Settings of {@link layerWith}. */
export interface Options {
  /** The longest wait for the answer of the storage. Default: 2 seconds; a probe's own deadline should be longer. */
  readonly timeout?: Duration.Input | undefined
  /** The time for which an answer counts, so that many probes are one question. Default: 1 second. */
  readonly timeToLive?: Duration.Input | undefined
}

/** Health of a program. */
export class Health extends Context.Service<
  Health,
  {
    /** See {@link ready}. */
    readonly ready: Effect.Effect<void, NotReady>
    /** From now on the program is not ready. See {@link draining}. */
    readonly drain: Effect.Effect<void>
  }
>()("effect-eventsourcing/Health") {}

/**
 * Succeeds if the program runs: for a liveness probe, which restarts the process.
 *
 * **Details**
 *
 * It asks nobody. A database that is away is no reason for a restart, which would not bring it back; work on it ends by its
 * deadlines. A program whose event loop stands still does not answer the probe.
 */
export const live: Effect.Effect<void> = Effect.yieldNow

/**
 * Succeeds if the program can serve: for a readiness probe, which sends requests elsewhere. Fails with `NotReady` if the
 * storage does not answer in time, and as soon as the program shuts down. See {@link draining}.
 */
export const ready: Effect.Effect<void, NotReady, Health> = Effect.flatMap(Health, (health) => health.ready)

const make = ({ timeToLive = "1 second", timeout = "2 seconds" }: Options) =>
  Effect.gen(function* () {
    const events = yield* EventStorage
    let draining = false
    // It has no events of its own that anybody could miss: the least that a storage can be asked.
    const asked = yield* Effect.cachedWithTTL(
      events.tenantStatus(untenanted).pipe(
        Effect.timeout(timeout),
        Effect.tapError((error) => Effect.logWarning("The storage does not answer a probe", error)),
        Effect.mapError(() => new NotReady({ reason: "storage" })),
        Effect.asVoid
      ),
      timeToLive
    )
    return Health.of({
      ready: Effect.suspend(() =>
        draining ? Effect.fail(new NotReady({ reason: "shutting down" })) : asked
      ),
      drain: Effect.sync(() => {
        draining = true
      })
    })
  })

/** Health of a program on a storage, with settings. */
export const layerWith = (options: Options): Layer.Layer<Health, never, EventStorage> =>
  layerPer([EventStorage], () => Layer.effect(Health, make(options)))

/** Health of a program on a storage. See {@link layerWith}. */
export const layer: Layer.Layer<Health, never, EventStorage> = layerWith({})

/**
 * Makes the program not ready when it begins to shut down, and waits so long before anything else is closed: load balancers
 * see it, and send no more requests.
 *
 * **When to use**
 *
 * Put it on top of the server, so that it is closed first: `Health.draining("5 seconds").pipe(Layer.provideMerge(Server))`.
 */
export const draining = (time: Duration.Input): Layer.Layer<never, never, Health> =>
  Layer.effectDiscard(
    Effect.flatMap(Health, (health) =>
      Effect.addFinalizer(() => Effect.andThen(health.drain, Effect.sleep(Duration.fromInputUnsafe(time))))
    )
  )

/**
 * Health of a program, for the probes of orchestrators and load balancers.
 */
import { Context, Duration, Effect, Layer, Schema } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import { untenanted } from "../domain/Tenant.ts"
import { EventStorage } from "../driver/EventStorage.ts"

/** Raised when the program cannot serve requests: it is shutting down, or its storage does not answer. */
export class NotReady extends Schema.TaggedError<NotReady>()("NotReady", {
  reason: Schema.Literals(["shutting down", "storage"])
}) {
  override get message(): string {
    return this.reason === "storage"
      ? "not ready: the storage does not answer"
      : "not ready: the program is shutting down"
  }
}

/** Settings of {@link layerWith}. */
export interface Options {
  /** Longest wait for an answer of the storage. Default: 2 seconds. The timeout of the probe should be longer. */
  readonly timeout?: Duration.Input | undefined
  /** Time for which an answer is reused, so that many probes ask the storage only once. Default: 1 second. */
  readonly timeToLive?: Duration.Input | undefined
}

/** Health of a program. */
export class Health extends Context.Service<
  Health,
  {
    /** See {@link ready}. */
    readonly ready: Effect.Effect<void, NotReady>
    /** Makes the program not ready for good. See {@link draining}. */
    readonly drain: Effect.Effect<void>
  }
>()("effect-eventsourcing/Health") {}

/**
 * Succeeds if the program runs: for a liveness probe, which restarts the process when it gets no answer.
 *
 * **Details**
 *
 * It does not ask the storage, because a restart would not bring an unreachable database back. A program whose event loop is
 * blocked does not answer the probe.
 */
export const live: Effect.Effect<void> = Effect.yieldNow

/**
 * Succeeds if the program can serve requests: for a readiness probe, which directs them to other processes when it fails. Fails
 * with `NotReady` if the storage does not answer in time, and when the program is shutting down. See {@link draining}.
 */
export const ready: Effect.Effect<void, NotReady, Health> = Effect.flatMap(Health, (health) => health.ready)

const make = ({ timeToLive = "1 second", timeout = "2 seconds" }: Options) =>
  Effect.gen(function* () {
    const events = yield* EventStorage
    let draining = false
    // The cheapest question to a storage: the status of the untenanted tenant.
    const storageAnswers = yield* Effect.cachedWithTTL(
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
        draining ? Effect.fail(new NotReady({ reason: "shutting down" })) : storageAnswers
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
 * Makes the program not ready when it begins to shut down, and then waits before anything else is closed, so that load
 * balancers notice it and send no more requests.
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

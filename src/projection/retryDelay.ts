import { Duration, Effect, Pull, Schedule } from "effect"

/**
 * The delay of a schedule before the n-th retry (1, 2, …), in milliseconds; undefined at its end. Only the number of attempts is
 * stored, so that any process can make the next one; earlier retries are assumed to have been on time. A schedule that fails
 * has ended.
 */
export const retryDelay = (
  schedule: Schedule.Schedule<unknown>,
  attempt: number
): Effect.Effect<number | undefined> =>
  Effect.gen(function* () {
    const step = yield* Schedule.toStep(schedule)
    let delay: number | undefined = 0
    for (let n = 0, now = 0; n < attempt && delay !== undefined; n++) {
      delay = yield* Pull.matchEffect(step(now, undefined), {
        onSuccess: ([, duration]) => Effect.succeed(Duration.toMillis(duration)),
        onFailure: (cause) => Effect.failCause(cause),
        onDone: () => Effect.undefined
      })
      now += delay ?? 0
    }
    return delay
  }).pipe(Effect.catchCause(() => Effect.undefined))

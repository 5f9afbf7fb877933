import { Duration, Effect, Pull, Schedule } from "effect"

/**
 * How long a schedule waits before the n-th retry (1, 2, …), in milliseconds; undefined when it has come to its end. The
 * number of attempts is all that is kept between them, so that any process can make the next one: for the schedule, the
 * retries before were made at the times it gave. One that fails has come to its end.
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

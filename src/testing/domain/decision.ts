/** Decisions in tests: made at once if they are values, and when the effect runs if they are effects. */
import { Effect, Result } from "effect"
import * as Event from "../../domain/Event.ts"

/** A value, or an effect that yields it. */
export type Soon<A, R = never> =
  | { readonly _tag: "Now"; readonly value: A }
  | { readonly _tag: "Later"; readonly effect: Effect.Effect<A, never, R> }

export const now = <A>(value: A): Soon<A> => ({ _tag: "Now", value })

/** Maps a value at once if it is available, so that an error of `f` is thrown at once. */
export const andThen = <A, R, B, R2>(soon: Soon<A, R>, f: (value: A) => Soon<B, R2>): Soon<B, R | R2> =>
  soon._tag === "Now"
    ? f(soon.value)
    : { _tag: "Later", effect: Effect.flatMap(soon.effect, (value) => toEffect(f(value))) }

export const toEffect = <A, R>(soon: Soon<A, R>): Effect.Effect<A, never, R> =>
  soon._tag === "Now" ? Effect.succeed(soon.value) : soon.effect

/** Normalises the result of a decision. */
export const decided = <A>(
  decision: A | Result.Result<A, unknown> | Effect.Effect<A, unknown, unknown>
): Soon<Result.Result<A, unknown>, unknown> =>
  Effect.isEffect(decision)
    ? { _tag: "Later", effect: Effect.result(decision) }
    : now(Result.isResult(decision) ? decision : Result.succeed(decision))

export const payloadOf = <Payload>(event: Event.Appendable<Payload>): Payload =>
  event instanceof Event.NewEvent ? event.payload : event

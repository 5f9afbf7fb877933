/** Decisions in tests: they are made at once where that is possible, and when the effect runs where it is not. */
import { Effect, Result } from "effect"
import * as Event from "../../domain/Event.ts"

/** A value that is there, or will be when an effect has run. */
export type Soon<A, R = never> =
  | { readonly _tag: "Now"; readonly value: A }
  | { readonly _tag: "Later"; readonly effect: Effect.Effect<A, never, R> }

export const now = <A>(value: A): Soon<A> => ({ _tag: "Now", value })

/** What comes of it: at once if it is there, so that what `f` throws is thrown at once. */
export const andThen = <A, R, B, R2>(soon: Soon<A, R>, f: (value: A) => Soon<B, R2>): Soon<B, R | R2> =>
  soon._tag === "Now"
    ? f(soon.value)
    : { _tag: "Later", effect: Effect.flatMap(soon.effect, (value) => toEffect(f(value))) }

export const toEffect = <A, R>(soon: Soon<A, R>): Effect.Effect<A, never, R> =>
  soon._tag === "Now" ? Effect.succeed(soon.value) : soon.effect

/** What a decision yields, whatever it decides on. */
export const decided = <A>(
  decision: A | Result.Result<A, unknown> | Effect.Effect<A, unknown, unknown>
): Soon<Result.Result<A, unknown>, unknown> =>
  Effect.isEffect(decision)
    ? { _tag: "Later", effect: Effect.result(decision) }
    : now(Result.isResult(decision) ? decision : Result.succeed(decision))

export const payloadOf = <Payload>(event: Event.Appendable<Payload>): Payload =>
  event instanceof Event.NewEvent ? event.payload : event

/** For work that may be repeated: if the answer to its commit is lost, it fails as if it had not been done. */
import { Effect } from "effect"
import { ConnectionFailed, OutcomeUnknown, StorageUnavailable } from "./StoreError.ts"

/** Turns an unknown outcome into a retryable `StorageUnavailable`. */
export const repeatable = <A, E, R>(
  operation: string,
  effect: Effect.Effect<A, E | OutcomeUnknown, R>
): Effect.Effect<A, E | StorageUnavailable, R> =>
  Effect.mapError(effect, (error) =>
    error instanceof OutcomeUnknown
      ? new StorageUnavailable({ reason: new ConnectionFailed({ operation, code: null, retryable: true }) })
      : error
  )

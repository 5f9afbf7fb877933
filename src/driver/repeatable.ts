/** Work that may be done twice: a lost answer to its commit is a failure like any other. */
import { Effect } from "effect"
import { ConnectionFailed, OutcomeUnknown, StorageUnavailable } from "./StoreError.ts"

/** Makes a retryable `StorageUnavailable` of an unknown outcome. */
export const repeatable = <A, E, R>(
  operation: string,
  effect: Effect.Effect<A, E | OutcomeUnknown, R>
): Effect.Effect<A, E | StorageUnavailable, R> =>
  Effect.mapError(effect, (error) =>
    error instanceof OutcomeUnknown
      ? new StorageUnavailable({ reason: new ConnectionFailed({ operation, code: null, retryable: true }) })
      : error
  )

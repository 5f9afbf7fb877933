/**
 * Drivers that append at once. The typed tier asks them by a plain call, which takes a fraction of what an effect of its
 * own does: that matters only where appending takes about as long as an effect, in memory.
 */
import { Effect, type Result } from "effect"
import type { AppendReceipt, AppendRequest, EventStorage } from "../driver/EventStorage.ts"
import type { AppendError } from "../driver/StoreError.ts"
import { wholeMillis } from "../internal/clock.ts"

/** Appends, at a time in milliseconds. */
export type AppendNow = (request: AppendRequest, now: number) => Result.Result<AppendReceipt, AppendError>

type Append = EventStorage["Service"]["append"]

/** The appends that were made of others here. By function: who puts another one into a service is asked that one. */
const made = new WeakMap<Append, AppendNow>()

/** The append of a driver that appends at once. */
export const fromAppendNow = (appendNow: AppendNow): Append => {
  const append: Append = (requests) =>
    Effect.withFiber(({ context }) => {
      const now = wholeMillis(context)
      return Effect.succeed(requests.map((request) => appendNow(request, now)))
    })
  made.set(append, appendNow)
  return append
}

/** How a driver appends at once; undefined if it does not. */
export const appendNowOf = (append: Append): AppendNow | undefined => made.get(append)

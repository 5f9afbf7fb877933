/** Fingerprints of commands that are carried out only once, and the time to live of their keys. */
import { Duration, Effect, Result, type Schema } from "effect"
import type { CommandKey } from "../driver/EventStorage.ts"
import {
  type InvalidCommand,
  InvalidEvent,
  InvalidInput,
  LimitExceeded,
  type StorageUnavailable
} from "../driver/StoreError.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import type { EventStore } from "./EventStore.ts"
import { canonicalJson } from "../internal/canonicalJson.ts"
import { sha256Hex } from "../internal/digest.ts"
import { jsonProblem } from "../internal/json.ts"
import { checkCommandKey } from "./append.ts"

/** A command of the caller. */
interface Given {
  readonly key: string
  readonly content?: Schema.Json | undefined
}

/** Maximum depth of the content of a command. */
const maxDepth = 64

/** Converts a time to live to milliseconds. Throws if it is less than one. */
export const makeTimeToLive = (given: Duration.Input): number => {
  const millis = Duration.toMillis(given)
  if (!(millis >= 1)) throw new RangeError("the time to live of a command must be at least a millisecond")
  return millis
}

const problem = (aggregateType: string, { content, key }: Given): InvalidCommand | undefined => {
  const checked = checkCommandKey(key, aggregateType)
  if (Result.isFailure(checked)) return checked.failure
  const found = content === undefined ? undefined : jsonProblem(content, maxDepth)
  if (found === undefined) return undefined
  return found.limit === undefined
    ? new InvalidInput({
        reason: new InvalidEvent({
          aggregateType,
          eventType: "command",
          path: ["content", ...found.path],
          reason: found.reason
        })
      })
    : new InvalidInput({
        reason: new LimitExceeded({
          limit: found.limit,
          subject: "nesting of the content of a command",
          maximum: maxDepth
        })
      })
}

/** Hides a fingerprint from those who guess the content of the command. */
type Seal = NonNullable<EventStore["Service"]["sealFingerprint"]>

/** Encodes a command for the store. Fails if its key or content cannot be stored or compared. */
export const make = (
  command: Given,
  aggregateType: string,
  aggregateId: string,
  timeToLive: number,
  seal: Seal | undefined
): Effect.Effect<CommandKey, InvalidCommand | StorageUnavailable, CurrentTenant> => {
  const { content, key } = command
  const wrong = problem(aggregateType, command)
  if (wrong !== undefined) return Effect.fail(wrong)
  const digest = sha256Hex(
    canonicalJson(
      content === undefined ? [aggregateType, aggregateId] : [aggregateType, aggregateId, content]
    )
  )
  const hidden = seal === undefined ? digest : Effect.flatMap(digest, seal)
  return Effect.map(hidden, (fingerprint) => ({ key, fingerprint, expiresInMillis: timeToLive }))
}

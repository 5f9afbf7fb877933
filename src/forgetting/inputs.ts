/** Checks subjects and reasons before the vault or the storage is asked. */
import { Effect } from "effect"
import { PersonalSubject } from "../domain/PersonalSubject.ts"
import {
  InvalidAggregateId,
  InvalidEvent,
  type InvalidId,
  InvalidInput,
  LimitExceeded
} from "../driver/StoreError.ts"
import { maxNameLength, nameProblem, reasonProblem } from "../internal/json.ts"

const { type: aggregateType } = PersonalSubject

/** Refuses a text that cannot be the id of a subject. */
export const checkSubject = (subject: string): Effect.Effect<void, InvalidId> => {
  if (subject.length > maxNameLength)
    return Effect.fail(
      new InvalidInput({
        reason: new LimitExceeded({
          limit: "idLength",
          subject: `id of ${aggregateType}`,
          maximum: maxNameLength
        })
      })
    )
  const reason = nameProblem(subject)
  return reason === undefined
    ? Effect.void
    : Effect.fail(new InvalidInput({ reason: new InvalidAggregateId({ aggregateType, reason }) }))
}

/** Refuses the reason of a forgetting or a legal hold if it says nothing or cannot be stored. */
export const checkReason = (
  eventType: "SubjectForgotten" | "legal hold",
  text: string
): Effect.Effect<void, InvalidInput<InvalidEvent>> => {
  const reason = reasonProblem(text)
  return reason === undefined
    ? Effect.void
    : Effect.fail(
        new InvalidInput({ reason: new InvalidEvent({ aggregateType, eventType, path: ["reason"], reason }) })
      )
}

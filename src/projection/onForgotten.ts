/** The option of projections of events with personal fields by which they forget a subject. */
import type * as Aggregate from "../domain/Aggregate.ts"
import { eventTags, personalTags } from "../domain/handlers.ts"
import { PersonalSubject } from "../domain/PersonalSubject.ts"

/** The tag of the event that says that a subject was forgotten. */
export const forgottenTag = "SubjectForgotten"

/** Throws if a projection handles personal data and does not say how it forgets them. */
export const checkForgotten = (
  owner: string,
  aggregates: ReadonlyArray<Aggregate.Any>,
  tags: ReadonlyArray<string> | undefined,
  declared: unknown
): void => {
  const hears = aggregates.includes(PersonalSubject) && (tags === undefined || tags.includes(forgottenTag))
  if (declared !== undefined || hears) return
  const [personal] = personalTags(aggregates, tags)
  if (personal !== undefined)
    throw new TypeError(
      `${owner} handles ${personal}, which has personal fields: give the option forgotten a handler that removes the data of a forgotten subject, or "keepsNone" if it keeps no personal data`
    )
}

/** The aggregates with that of forgotten subjects. Throws if another one has the tag of its event. */
export const withSubjects = (
  owner: string,
  aggregates: ReadonlyArray<Aggregate.Any>
): ReadonlyArray<Aggregate.Any> => {
  if (aggregates.includes(PersonalSubject)) return aggregates
  if (eventTags(aggregates).includes(forgottenTag))
    throw new TypeError(
      `${owner} cannot have the option forgotten, because one of its aggregates has an event ${forgottenTag}`
    )
  return [...aggregates, PersonalSubject]
}

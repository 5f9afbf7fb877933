/**
 * The persons that events are about, as an aggregate of the library: the log of a tenant says that a person was forgotten, so that
 * read models forget them too.
 */
import { Schema } from "effect"
import * as Aggregate from "./Aggregate.ts"
import type * as Event from "./Event.ts"

/** A subject was forgotten: its personal data in the events before can no longer be read. */
export const SubjectForgotten: Schema.TaggedStruct<"SubjectForgotten", { readonly subject: Schema.String }> =
  Schema.TaggedStruct("SubjectForgotten", { subject: Schema.String })

/** A subject was forgotten: its personal data in the events before can no longer be read. */
export type SubjectForgotten = typeof SubjectForgotten.Type

/** The envelope of a {@link SubjectForgotten}. */
export type Envelope = Event.Envelope<SubjectForgotten, "PersonalSubject">

/** The state of a subject. */
export interface State {
  /** The number of times that it was forgotten. */
  readonly forgotten: number
}

/** The aggregate of a subject. Its id is that of the subject. `Forgetting` appends its events. */
export const PersonalSubject: Aggregate.Aggregate<"PersonalSubject", State, SubjectForgotten, string> =
  Aggregate.make(
    "PersonalSubject",
    {
      id: Schema.String,
      state: Schema.Struct({ forgotten: Schema.Int }),
      initial: { forgotten: 0 },
      events: [SubjectForgotten]
    },
    { SubjectForgotten: ({ forgotten }) => ({ forgotten: forgotten + 1 }) }
  )

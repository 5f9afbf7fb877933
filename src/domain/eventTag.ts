import { Schema } from "effect"
import type { EventSchema } from "./Event.ts"

/** The `_tag` of the events of a schema. */
export const eventTag = (schema: EventSchema): string => {
  const [tag] = Object.keys(Schema.toTaggedUnion("_tag")(Schema.Union([schema])).cases)
  if (tag === undefined) throw new TypeError("the schema of an event must have a literal `_tag`")
  return tag
}

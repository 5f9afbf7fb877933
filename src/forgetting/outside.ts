/** Finds personal data in the envelope of an event, which is stored as it is. */
import type { Schema } from "effect"
import type * as Event from "../domain/Event.ts"

/** A part of an envelope. */
export type Place = "aggregateId" | "actor" | "tags" | "metadata" | "correlationId" | "causationId"

const places: ReadonlyArray<Place> = [
  "aggregateId",
  "actor",
  "tags",
  "metadata",
  "correlationId",
  "causationId"
]

/** Shorter texts turn up in others by chance. */
const minPart = 8

/** The texts in a value, at any depth, in lower case. */
const textsOf = (value: unknown): ReadonlyArray<string> => {
  if (typeof value === "string") return value.trim() === "" ? [] : [value.toLowerCase()]
  if (typeof value !== "object" || value === null) return []
  const names = Array.isArray(value) ? [] : Object.keys(value)
  return [...names.map((name) => name.toLowerCase()), ...Object.values(value).flatMap(textsOf)]
}

/** The texts of a field: keys of objects are names of members. */
const dataOf = (value: Schema.Json): ReadonlyArray<string> =>
  typeof value === "object" && value !== null
    ? Object.values(value).flatMap((member: Schema.Json) => dataOf(member))
    : textsOf(value)

const isIn = (data: string, text: string): boolean =>
  // A tag may have a name before its value.
  text === data || text.endsWith(`:${data}`) || (data.length >= minPart && text.includes(data))

/** The parts of an envelope that have the data of a field. */
export const outside = (
  value: Schema.Json,
  envelope: Pick<Event.Envelope<unknown>, Place>
): ReadonlyArray<Place> => {
  const data = dataOf(value)
  return data.length === 0
    ? []
    : places.filter((place) => {
        const texts = textsOf(envelope[place])
        return data.some((one) => texts.some((text) => isIn(one, text)))
      })
}

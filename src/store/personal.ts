/** The personal fields of an event that is to be stored. */
import {
  type FindPersonal,
  type NoSubject,
  type Path,
  type PersonalField,
  samePath,
  sealedMember
} from "../domain/codec/aggregateCodec.ts"

/** An encoded payload. */
interface Encoded {
  readonly json: unknown
  readonly text: string
  readonly aggregateId: string
  /** True if the text was written in the order of the schema. Its keys are those of the schema then. */
  readonly written: boolean
  readonly seals: boolean
}

/** The fields to seal; undefined if there are none. */
export const personalFields = (
  find: FindPersonal | undefined,
  { aggregateId, json, seals, text, written }: Encoded
): ReadonlyArray<PersonalField> | NoSubject | undefined => {
  if (find !== undefined && !seals)
    return { path: [], reason: "has personal fields, and nothing seals them: provide Forgetting.layer" }
  const found = find?.(json, aggregateId, written ? "schema" : "keys")
  if (found !== undefined && "reason" in found) return found
  const reserved =
    written || !mayHaveReserved(text) ? undefined : reservedMember(json, found?.forgotten ?? [], [])
  if (reserved !== undefined)
    return { path: reserved, reason: "is a member with a reserved name: use another one" }
  return found === undefined || found.fields.length === 0 ? undefined : found.fields
}

/** The member by which forgotten data is told from other data. */
const forgotten = "$forgotten"

/** Finds them faster than a walk through the value. A key that ends like one, after a quote, is none. */
const mayHaveReserved = (text: string): boolean =>
  text.includes(`"${sealedMember}":`) || text.includes(`"${forgotten}":`)

/** The path of a member with a reserved name that is not the mark of forgotten data. */
const reservedMember = (json: unknown, allowed: ReadonlyArray<Path>, path: Path): Path | undefined => {
  if (typeof json !== "object" || json === null) return undefined
  const isArray = Array.isArray(json)
  for (const [key, member] of Object.entries(json)) {
    const here = [...path, isArray ? Number(key) : key]
    if (
      !isArray &&
      (key === sealedMember || (key === forgotten && !allowed.some((place) => samePath(place, path))))
    )
      return here
    const inside = reservedMember(member, allowed, here)
    if (inside !== undefined) return inside
  }
  return undefined
}

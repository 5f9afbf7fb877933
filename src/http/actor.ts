/** The actor of a credential: what may stand in events, logs and headers. */
import { nameProblem } from "../internal/json.ts"

/** A text of 1 to 255 characters that forges no line of a log: no control character, no separator of lines. */
export const isActor = (text: string): boolean =>
  nameProblem(text) === undefined && !/[\p{Cc}\u2028\u2029]/u.test(text)

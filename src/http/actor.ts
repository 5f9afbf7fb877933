import { nameProblem } from "../internal/json.ts"

/** True for a text of 1 to 255 characters that cannot forge a line of a log: no control characters or line separators. */
export const isActor = (text: string): boolean =>
  nameProblem(text) === undefined && !/[\p{Cc}\u2028\u2029]/u.test(text)

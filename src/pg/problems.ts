/** Problems of a database, each with its remedy, as errors of checks list them. */
import { Schema } from "effect"

/** Schema of problems, each with its remedy. */
export const Problems = Schema.Array(Schema.Struct({ problem: Schema.String, remedy: Schema.String }))

/** Problems as a sentence of a message. */
export const listed = (problems: typeof Problems.Type): string =>
  problems.map(({ problem, remedy }) => `${problem} (${remedy})`).join("; ")

/** The headers of a request of an operator, as `OperatorAccess` reads them. */
import { Schema } from "effect"
import { Payloads } from "./PayloadGrant.ts"

/** Schemas of the headers, for the description and the client. */
export const headerSchemas = {
  "x-operator-reason": Schema.optionalKey(Schema.String),
  "x-operator-payloads": Schema.optionalKey(Payloads),
  "x-operator-personal": Schema.optionalKey(Schema.Literals(["true", "false"]))
}

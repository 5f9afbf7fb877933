/** Fields that several errors share. */
import { Schema } from "effect"

/** The fields that identify a stream in an error. */
export const stream = { tenantId: Schema.String, aggregateType: Schema.String, aggregateId: Schema.String }

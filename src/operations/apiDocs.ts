/** Texts of the parameters of the operations over HTTP. */
import { type Context, Schema } from "effect"
import { OpenApi } from "effect/http-api"

interface Text {
  readonly description: string
  readonly example: unknown
}

const id = "0197f3b0-1111-7222-8333-444455556666"

/** By name: a parameter means the same in every endpoint. */
const parameters: Readonly<Record<string, Text>> = {
  tenantId: { description: "The tenant.", example: "0b7d1c7e-3c0e-4f4b-9d0a-6f3f4c1d2a5e" },
  "x-operator-reason": {
    description: "The reason for the record, percent-encoded. Looks may have it in the query as `reason`.",
    example: "alert%2017"
  },
  "x-operator-payloads": {
    description:
      "The payloads to show: none, masked (default), or full, as far as the operator may see them.",
    example: "masked"
  },
  "x-operator-personal": {
    description: "true to open personal data. Needs full payloads, and the right to it.",
    example: "false"
  },
  order: { description: "id ascending, any other descending. Default: id.", example: "distance" },
  statuses: { description: "Only tenants in one of these states. Default: all.", example: ["active"] },
  prefix: { description: "The beginning of the id.", example: "0b7d" },
  afterValue: { description: "The `value` of the page's `next`. Needs afterTenant.", example: 0 },
  afterTenant: { description: "The `tenantId` of the page's `next`. Needs afterValue.", example: id },
  limit: { description: "Maximum number of entries, from 1 to 1,000.", example: 50 },
  scan: {
    description: "Maximum number of positions that a page searches, from 1 to 1,000,000.",
    example: 10_000
  },
  eventTypes: { description: "Stored event types, any of them.", example: ["OrderPlaced"] },
  tags: { description: "Tags, all of them.", example: ["customer:7"] },
  aggregateType: { description: "The stored name of the aggregate.", example: "Order" },
  aggregateId: { description: "The stored id of the aggregate.", example: "order-17" },
  actor: { description: "The actor.", example: "ada" },
  correlationId: { description: "The correlation id.", example: "request-17" },
  recordedFrom: { description: "Recorded at this time or later.", example: "2026-11-30T00:00:00.000Z" },
  recordedBefore: { description: "Recorded before this time.", example: "2026-12-01T00:00:00.000Z" },
  direction: { description: "The order of the events. Default: backwards.", example: "forwards" },
  from: { description: "The `next` of the page before, or any position, inclusive.", example: 17 },
  after: {
    description: "The place after which it begins: a position, or the `next` of the page before.",
    example: 17
  },
  fromVersion: { description: "The first version: the `next` of the page before.", example: 1 },
  version: { description: "The version of the state. Default: that of the stream.", example: 3 },
  operation: { description: "The beginning of the operation.", example: "Operations.log" },
  before: { description: "The `next` of the page before.", example: id }
}

const isParameters = Schema.is(
  Schema.Array(
    Schema.StructWithRest(Schema.Struct({ name: Schema.String }), [
      Schema.Record(Schema.String, Schema.Unknown)
    ])
  )
)

/** The annotations of an endpoint, with the texts of its parameters. */
export const documented = (summary: string, description: string): Context.Context<never> =>
  OpenApi.annotations({
    summary,
    description,
    transform: (operation) => {
      const given: unknown = operation["parameters"]
      return {
        ...operation,
        parameters: isParameters(given)
          ? given.map((parameter) => Object.assign({}, parameter, parameters[parameter.name]))
          : []
      }
    }
  })

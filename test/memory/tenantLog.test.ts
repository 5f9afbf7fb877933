import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { TenantLog } from "../../src/memory/tenantLog.ts"
import { untenanted } from "../../src/domain/Tenant.ts"

const digit = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 15 }))
/** Similar ids, of version 4, 7 or 8. */
const ids = Arbitrary.map(
  Arbitrary.schema(Schema.Array(Schema.Tuple([digit, Schema.Literals(["4", "7", "8"]), digit]))),
  (all) =>
    all.map(([first, version, last]) => {
      const [a, z] = [first.toString(16), last.toString(16)]
      return `${a}0000000-0000-${version}000-8000-00000000000${z}`
    })
)

const eventOf = (eventId: string) => ({
  eventId,
  eventType: "A",
  schemaVersion: 1,
  occurredAt: 0,
  actor: null,
  correlationId: eventId,
  causationId: null,
  metadata: "{}",
  payload: "{}",
  tags: []
})

describe("the log of a tenant in memory", () => {
  it.prop(
    "finds events by their ids, in any order of arrival",
    [ids],
    ([given]) => {
      const log = new TenantLog(untenanted, 0)
      const positions = new Map<string, number>()
      for (const eventId of given) {
        assert.strictEqual(log.byEventId(eventId)?.position, positions.get(eventId))
        if (positions.has(eventId)) continue
        positions.set(eventId, positions.size + 1)
        log.write(
          { aggregateType: "A", aggregateId: "1", expectedVersion: "any", events: [eventOf(eventId)] },
          1
        )
      }
      for (const eventId of [...positions.keys(), ...given.map((id) => id.replace("-8000-", "-9000-"))])
        assert.strictEqual(log.byEventId(eventId)?.position, positions.get(eventId))
    },
    { arbitrary: { runs: 500, size: 30 } }
  )
})

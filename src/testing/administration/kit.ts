/** Helpers of the suite for the administration of tenants that several of its parts use. */
import { Effect } from "effect"
import type { StateChange } from "../../driver/AdministrationStorage.ts"
import { EventStorage } from "../../driver/EventStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import { change, rawEvents } from "../driver/administrationKit.ts"
import { append, event, events, stream } from "../driver/eventKit.ts"
import { flipped } from "../failures.ts"

/** A log with everything that an event can have. */
export const filled = Effect.fnUntraced(function* (tenantId: TenantId) {
  const storage = yield* EventStorage
  yield* append(tenantId, stream("one", events(2)))
  yield* storage.startHashChain(tenantId)
  yield* append(
    tenantId,
    stream("one", [
      event({
        actor: null,
        causationId: null,
        metadata: "{}",
        payload: `{"b":1.50,"a":"Zoë 🦊 \\u0000","":[1e400,{"__proto__":1}]}   `,
        tags: ["a", 'b"\\,{}']
      })
    ]),
    stream("two\u001f", events(2, { traceparent: `00-${"1".repeat(32)}-${"2".repeat(16)}-01`, tags: ["a"] }))
  )
  return yield* rawEvents(tenantId)
})

/** The state of a tenant that refuses a change, or the refusal. */
export const conflictOf = (tenantId: TenantId, wanted: StateChange) =>
  Effect.map(flipped(change(tenantId, wanted)), (error) =>
    error._tag === "TenantStateConflict" ? error.status : error._tag
  )

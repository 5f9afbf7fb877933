/** Events that a quota counts but does not refuse. */
import { Context } from "effect"

/** True around the appends of an import that go through `EventStore.appendAll`. */
export const CurrentExemption: Context.Reference<boolean> = Context.Reference<boolean>(
  "effect-eventsourcing/Exemption",
  { defaultValue: () => false }
)

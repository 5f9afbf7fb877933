/** The changes of a tenant's state in memory. `change_tenant_state.sql` makes the same. */
import type { StateChange } from "../driver/AdministrationStorage.ts"
import type { CrossTenantAccessRow } from "../driver/EventStorage.ts"
import type { TenantLog } from "./tenantLog.ts"

/** Undefined if the change was made, or had been made before; otherwise the reason against it. */
export type Changed = string | undefined

/** The reason against a change with another token. */
export const another = "another undertaking has the tenant: its token differs"

/**
 * Changes the state of a tenant. Durations until a moment are kept as that moment, in milliseconds since 1970. Returns `held`
 * for an erasure under a legal hold.
 */
export const changed = (
  log: TenantLog,
  change: StateChange,
  { actor, reason }: CrossTenantAccessRow,
  at: number
): Changed => {
  const { administered } = log
  const { state } = administered
  const head = log.events.length
  switch (change.change) {
    case "beginImport": {
      if (state.status === "importing")
        return state.token === change.token
          ? undefined
          : "another import writes the tenant: end or purge that one first"
      if (state.status !== "moved" || !administered.purged)
        return `the tenant is ${state.status}, and an import writes only a tenant that is not registered${
          state.status === "moved" ? ", or whose rows were purged after a move: purge them first" : ""
        }`
      administered.state = { status: "importing", token: change.token }
      administered.purged = false
      administered.origin = undefined
      log.chainedFrom = undefined
      return undefined
    }
    case "finishImport": {
      if (
        (state.status === "active" || state.status === "suspended") &&
        administered.endedBy === change.token
      )
        return undefined
      if (state.status !== "importing") return `the tenant is ${state.status}, not importing`
      if (state.token !== change.token) return another
      if (head !== change.head) return `its log ends at ${head}, not at ${change.head}`
      administered.state = { status: change.status }
      administered.endedBy = change.token
      administered.origin = change.origin
      log.chainedFrom = change.chainedFrom
      return undefined
    }
    case "fence": {
      if (state.status === "moving" && state.token !== change.token) return another
      if (state.status !== "moving" && state.status !== "active")
        return `the tenant is ${state.status}, and only an active tenant moves`
      administered.state = {
        status: "moving",
        token: change.token,
        head,
        expiresInMillis: at + change.expiresInMillis
      }
      return undefined
    }
    case "reopen": {
      if (state.status === "active") return undefined
      if (state.status !== "moving") return `the tenant is ${state.status}, not moving`
      if (change.token !== undefined && state.token !== change.token) return another
      if (change.token === undefined && state.expiresInMillis > at)
        return "the fence has not expired: only the move itself may remove it now"
      administered.state = { status: "active" }
      return undefined
    }
    case "decide": {
      if (state.status === "moved" && state.token === change.token) return undefined
      if (state.status !== "moving") return `the tenant is ${state.status}, not moving: the move is off`
      if (state.token !== change.token) return another
      if (head !== change.head) return `its log ends at ${head}, not at ${change.head}`
      administered.state = { status: "moved", token: change.token, to: change.to, head }
      return undefined
    }
    case "erase": {
      if (state.status === "erased")
        return state.token === change.token ? undefined : "the tenant is erased already"
      if (state.status !== "active" && state.status !== "suspended" && state.status !== "moved")
        return `the tenant is ${state.status}: end that first`
      if (administered.hold !== undefined) return "held"
      administered.former = state
      administered.state = {
        status: "erased",
        token: change.token,
        erasedAt: at,
        actor,
        reason,
        events: head,
        lastHash: log.events.at(-1)?.hash ?? null,
        purgeInMillis: at + change.purgeInMillis,
        purging: false,
        purged: false
      }
      return undefined
    }
    case "restore": {
      if (state.status === "active" || state.status === "suspended" || state.status === "moved")
        return administered.endedBy === change.token ? undefined : "the tenant is not erased"
      if (state.status !== "erased") return `the tenant is ${state.status}, not erased`
      if (state.token !== change.token) return another
      if (state.purging) return "some of its rows are gone: it cannot be restored"
      administered.state = administered.former ?? { status: "active" }
      administered.endedBy = change.token
      return undefined
    }
  }
}

/** The changes of a tenant's state in memory. `change_tenant_state.sql` makes the same. */
import type { StateChange } from "../driver/AdministrationStorage.ts"
import type { CrossTenantAccessRow } from "../driver/EventStorage.ts"
import type { TenantLog } from "./tenantLog.ts"

/** Undefined if the change was made, or had been made before; otherwise the reason against it. */
export type Changed = string | undefined

/** The reason against a change with another token. */
export const another = "another undertaking has the tenant: its token differs"

const replaced = "another run has taken the move over"

/**
 * Changes the state of a tenant. Durations until a moment are kept as that moment, in milliseconds since 1970. Returns `held`
 * for an erasure under a legal hold, `heldSubjects` if subjects of the tenant are under one.
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
      const move = change.move && { ...change.move, leaseMillis: at + change.move.leaseMillis }
      if (state.status === "importing") {
        if (state.token !== change.token) {
          if (move === undefined || state.move?.id !== move.id)
            return "another import writes the tenant: end or purge that one first"
          if (state.move.leaseMillis > at)
            return "another process carries out the move, and its lease has not expired"
        }
        administered.state = { status: "importing", token: change.token, move }
        return undefined
      }
      if (state.status !== "moved" || !administered.purged)
        return `the tenant is ${state.status}, and an import writes only a tenant that is not registered${
          state.status === "moved" ? ", or whose rows were purged after a move: purge them first" : ""
        }`
      administered.state = { status: "importing", token: change.token, move }
      administered.purged = false
      administered.origin = undefined
      administered.hold = undefined
      log.chainedFrom = undefined
      return undefined
    }
    case "renewLease": {
      if (state.status !== "importing" || state.move === undefined)
        return `the tenant is ${state.status}, and no move imports it`
      if (state.token !== change.token) return another
      administered.state = { ...state, move: { ...state.move, leaseMillis: at + change.leaseMillis } }
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
      administered.hold = change.hold ?? administered.hold
      administered.quota = change.quota ?? administered.quota
      log.chainedFrom = change.chainedFrom
      return undefined
    }
    case "takeOver": {
      if (administered.calledOff.includes(change.move)) return "the move was called off"
      if (state.status === "moved" && state.move === change.move) return undefined
      if (state.status !== "moving" && state.status !== "active")
        return `the tenant is ${state.status}, and only an active tenant moves`
      if (state.status === "moving" && state.move?.id !== change.move && state.expiresInMillis > at)
        return another
      if (administered.run?.token !== change.former) return replaced
      administered.state = { status: "active" }
      administered.run = { move: change.move, token: change.token }
      return undefined
    }
    case "fence": {
      if (change.move !== undefined && administered.calledOff.includes(change.move.id))
        return "the move was called off"
      if (state.status === "moving" && state.token !== change.token) return another
      if (
        change.move !== undefined &&
        administered.run !== undefined &&
        administered.run.token !== change.token
      )
        return replaced
      if (state.status !== "moving" && state.status !== "active")
        return `the tenant is ${state.status}, and only an active tenant moves`
      administered.state = {
        status: "moving",
        token: change.token,
        head,
        expiresInMillis: at + change.expiresInMillis,
        move: change.move
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
    case "callOff": {
      if (state.status === "moved" && state.move === change.move)
        return "the move is decided: it leads only forward"
      const { calledOff, run } = administered
      const isCalledOff = calledOff.includes(change.move)
      if (
        change.token !== undefined &&
        run?.move === change.move &&
        run.token !== change.token &&
        !isCalledOff
      )
        return replaced
      if (state.status === "moving" && state.move?.id === change.move)
        administered.state = { status: "active" }
      if (!isCalledOff) administered.calledOff = [...calledOff, change.move].slice(-16)
      return undefined
    }
    case "decide": {
      if (state.status === "moved" && state.token === change.token) return undefined
      if (state.status !== "moving") return `the tenant is ${state.status}, not moving: the move is off`
      if (state.token !== change.token) return another
      if (head !== change.head) return `its log ends at ${head}, not at ${change.head}`
      administered.run = undefined
      administered.state = {
        status: "moved",
        token: change.token,
        to: change.to,
        head,
        move: state.move?.id,
        sinceMillis: at,
        purged: false
      }
      return undefined
    }
    case "erase": {
      if (state.status === "erased")
        return state.token === change.token ? undefined : "the tenant is erased already"
      if (state.status !== "active" && state.status !== "suspended" && state.status !== "moved")
        return `the tenant is ${state.status}: end that first`
      if (administered.hold !== undefined) return "held"
      if (state.status !== "moved" && change.heldSubjects !== true && administered.subjects.held().length > 0)
        return "heldSubjects"
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

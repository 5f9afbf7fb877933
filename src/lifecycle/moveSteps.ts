/** The parts of a run of a move, and the steps that any process may take. */
import { Effect, Result, type Scope } from "effect"
import type { StateChange, TenantRecord } from "../driver/AdministrationStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import type { CrossTenantAccess } from "../domain/Tenant.ts"
import type { Placements } from "../routed/Placements.ts"
import type { TenantDirectory } from "../routed/TenantDirectory.ts"
import type { Side } from "./content.ts"
import type { Move, MoveStep } from "./moveState.ts"

/** The progress of a run. */
export interface MoveProgress {
  readonly step: MoveStep
  /** The last position that is copied and compared. */
  readonly position: number
  /** The last position of the log as of this step. */
  readonly end: number
}

/** The settings of runs, in milliseconds. */
export interface Settings {
  readonly lease: number
  readonly fence: number
  readonly handlerWait: number
  readonly grace: number
  readonly pause: number
  readonly rowsPerStep: number
}

/** The services and settings of a run. */
export interface Parts {
  readonly placements: Placements["Service"]
  readonly directory: TenantDirectory["Service"]
  readonly settings: Settings
  readonly access: CrossTenantAccess
  readonly onProgress: (progress: MoveProgress) => Effect.Effect<void>
}

/** A tenant in a placement, under an access that is recorded there. */
export const sideOf = Effect.fnUntraced(function* (
  { access, placements }: Pick<Parts, "access" | "placements">,
  move: Pick<Move, "id" | "tenantId">,
  placement: string
): Effect.fn.Return<Side, StorageUnavailable, Scope.Scope> {
  const storage = yield* placements.administration(placement)
  const operation = `TenantMove ${move.id} ${move.tenantId}`
  const accessId = yield* storage.recordAccess({ ...access, operation })
  return { storage, at: { accessId, tenantId: move.tenantId } }
})

/** A change of a state. Only an erasure is subject to a legal hold. */
export const change = ({ at, storage }: Side, wanted: StateChange) =>
  storage.changeState({ ...at, ...wanted }).pipe(Effect.catchTag("TenantHeld", Effect.die))

export const recordOf = ({
  at,
  storage
}: Side): Effect.Effect<TenantRecord | undefined, StorageUnavailable> => storage.tenant(at)

/** Removes the rows of a tenant in bounded transactions. */
export const purge = ({ at, storage }: Side, token: string, { pause, rowsPerStep }: Settings) =>
  Effect.gen(function* () {
    for (;;) {
      const { complete } = yield* storage.purge({ ...at, token, limit: rowsPerStep })
      if (complete) return
      yield* Effect.sleep(pause)
    }
  }).pipe(Effect.catchTag("TenantHeld", Effect.die))

/** Removes the copy of a move that was called off, whichever run has written it. */
export const removeCopy = (
  target: Side,
  move: Pick<Move, "id">,
  settings: Settings
): Effect.Effect<void, StorageUnavailable> =>
  Effect.gen(function* () {
    for (;;) {
      const state = (yield* recordOf(target))?.state
      if (state?.status !== "importing" || state.move?.id !== move.id) return
      const removed = yield* Effect.result(purge(target, state.token, settings))
      if (Result.isFailure(removed) && removed.failure._tag !== "TenantStateConflict")
        return yield* removed.failure
    }
  })

/** Changes the directory, and removes the rows at the source once the grace time is over and the target has the tenant. */
export const afterwards = Effect.fnUntraced(function* (
  { access, directory, settings }: Parts,
  move: Move,
  source: Side,
  target: Side
): Effect.fn.Return<{ readonly removed: boolean }, StorageUnavailable> {
  const { from, id, tenantId, to } = move
  if (directory.replace !== undefined) yield* directory.replace({ tenantId, from, to, access })
  const left = (yield* recordOf(source))?.state
  if (left?.status !== "moved" || left.move !== id || left.purged) return { removed: true }
  const arrived = (yield* recordOf(target))?.state
  const isHere = arrived !== undefined && !(arrived.status === "importing" && arrived.move?.id === id)
  if (!isHere || left.sinceMillis < settings.grace) return { removed: false }
  yield* purge(source, left.token, settings).pipe(
    // another process has removed them, or the tenant is on its way back
    Effect.catchTag("TenantStateConflict", () => Effect.void)
  )
  return { removed: true }
})

/** Appends, and changes of subjects, that meet a tenant on the move wait for its end. */
import { Cache, Context, Duration, Effect, Schedule } from "effect"
import { type AdministrationStorage, TenantStateConflict } from "./AdministrationStorage.ts"
import type { AppendReceipt, EventStorage } from "./EventStorage.ts"
import {
  type AppendError,
  StorageUnavailable,
  TenantImporting,
  TenantMoved,
  TenantMoving,
  TenantRefused
} from "./StoreError.ts"

type Storage = Pick<EventStorage["Service"], "append" | "inTransaction" | "tenantStatus">

/** The default of the setting `moveWait`. */
export const defaultMoveWait: Duration.Input = "10 seconds"

const isMoving = (error: AppendError): boolean =>
  error._tag === "TenantRefused" && error.reason instanceof TenantMoving

const hasStatus = (error: unknown, status: TenantStateConflict["status"]): boolean =>
  error instanceof TenantStateConflict && error.status === status

/** True for the refusal of a tenant that has another storage. */
export const isMoved = (error: unknown): boolean =>
  (error instanceof TenantRefused && error.reason instanceof TenantMoved) || hasStatus(error, "moved")

/** True for the failure of a read of such a tenant. */
export const isMovedRead = (error: unknown): boolean =>
  error instanceof StorageUnavailable && error.code === "TenantMoved"

/** True for the refusal of a tenant whose log is being written, and for the failure of a read of it. */
export const isImporting = (error: unknown): boolean =>
  (error instanceof TenantRefused && error.reason instanceof TenantImporting) ||
  hasStatus(error, "importing") ||
  (error instanceof StorageUnavailable && error.code === "TenantImporting")

const isFenced = (error: unknown): boolean => hasStatus(error, "moving")

const interval = Duration.millis(50)

/** Number of tenants whose status is shared by those that wait. */
const capacity = 10_000

/**
 * Lets an append of a tenant on the move wait, and then tries it again.
 *
 * **Details**
 *
 * It waits outside of the places of group commit, so it delays nothing else. All that wait for one tenant share the questions for
 * its status; the question also removes an expired fence. An append in a transaction of the program is refused at once, because
 * it cannot follow the tenant to another database.
 */
export const waitForMoves = (storage: Storage, wait: Duration.Input): Effect.Effect<Storage["append"]> =>
  Effect.map(
    Cache.makeWith(storage.tenantStatus, { capacity, timeToLive: () => interval }).pipe(
      Effect.setContext(Context.empty())
    ),
    (statuses): Storage["append"] =>
      (request) =>
        Effect.catchIf(storage.append(request), isMoving, (refused) =>
          Effect.flatMap(storage.inTransaction, (inTransaction) => {
            if (inTransaction) return Effect.fail(refused)
            const ended = Cache.get(statuses, request.tenantId).pipe(
              Effect.repeat({ until: (status) => status !== "moving", schedule: Schedule.spaced(interval) })
            )
            const again: Effect.Effect<AppendReceipt, AppendError> = Effect.andThen(
              ended,
              storage.append(request)
            )
            return Effect.retry(again, { while: isMoving, schedule: Schedule.forever }).pipe(
              Effect.timeoutOrElse({ duration: wait, orElse: () => Effect.fail(refused) })
            )
          })
        )
  )

/** Lets a change of a subject of a tenant on the move wait for its end, and then tries it again, like an append. */
export const waitToChange =
  (
    storage: Pick<Storage, "inTransaction" | "tenantStatus">,
    { changeSubject }: Pick<AdministrationStorage["Service"], "changeSubject">
  ): AdministrationStorage["Service"]["changeSubject"] =>
  (request) =>
    Effect.catchIf(changeSubject(request), isFenced, (refused) =>
      Effect.flatMap(storage.inTransaction, (inTransaction) => {
        if (inTransaction) return Effect.fail(refused)
        // the question also removes an expired fence
        const ended = storage
          .tenantStatus(request.tenantId)
          .pipe(
            Effect.repeat({ until: (status) => status !== "moving", schedule: Schedule.spaced(interval) })
          )
        const again = Effect.andThen(ended, changeSubject(request))
        return Effect.retry(again, { while: isFenced, schedule: Schedule.forever }).pipe(
          Effect.timeoutOrElse({ duration: defaultMoveWait, orElse: () => Effect.fail(refused) })
        )
      })
    )

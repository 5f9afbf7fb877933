/** Actions on a person of a tenant: forget, allow again, hold and release. */
import { Effect } from "effect"
import { CurrentTenant, TenantAdministration } from "../domain/Tenant.ts"
import { type AdministrationStorage, SubjectHeld, type SubjectRow } from "../driver/AdministrationStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import type { Forgetting } from "../forgetting/Forgetting.ts"
import type { Subject } from "./Acts.ts"
import { type Recorder, required, type RunningAt, type Summary } from "./recorded.ts"

const pageSize = 1000

/** The record of an action does not name the person. The id of the forgetting leads to the subject. */
const summaryOf = (changed: boolean, row: SubjectRow | undefined): Summary => ({
  changed,
  counts: { subjects: changed ? 1 : 0 },
  details: { forgetting: row?.forgotten?.forgetting ?? null }
})

const isForgotten = (row: SubjectRow | undefined): boolean =>
  row?.forgotten !== undefined && row.forgotten.allowedAgainAt === undefined

export const make = (
  administration: AdministrationStorage["Service"],
  forgetting: Forgetting["Service"] | undefined,
  recorder: Recorder
) => {
  const find = (
    running: RunningAt,
    subject: string,
    after?: string
  ): Effect.Effect<SubjectRow | undefined, StorageUnavailable> =>
    Effect.flatMap(administration.subjects({ ...running, after, limit: pageSize }), ({ complete, rows }) => {
      const found = rows.find((row) => row.subject === subject)
      const last = rows.at(-1)
      return found !== undefined || complete || last === undefined
        ? Effect.succeed(found)
        : find(running, subject, last.subject)
    })

  /** True if the action changes a subject; fails if it is refused. */
  const changes = (
    { action, tenantId }: RunningAt,
    subject: string,
    row: SubjectRow | undefined
  ): Effect.Effect<boolean, SubjectHeld> => {
    switch (action) {
      case "forget":
        return row?.hold === undefined
          ? Effect.succeed(!isForgotten(row))
          : Effect.fail(
              new SubjectHeld({ tenantId, subject, actor: row.hold.actor, reason: row.hold.reason })
            )
      case "allowAgain":
        return Effect.succeed(isForgotten(row))
      case "releaseSubject":
        return Effect.succeed(row?.hold !== undefined)
      default:
        return Effect.succeed(true)
    }
  }

  const run =
    (action: "forget" | "allowAgain" | "holdSubject" | "releaseSubject") =>
    ({ dryRun, subject }: Subject) =>
      recorder.at({ action, request: { dryRun }, ofPerson: true }, (running) =>
        Effect.gen(function* () {
          const people = yield* required(running, "Forgetting", forgetting)
          const before = yield* find(running, subject)
          const changed = yield* changes(running, subject, before)
          if (running.dryRun) return summaryOf(changed, before)
          const { reason } = running.access
          const row = yield* action === "forget"
            ? people.forget(subject, { reason })
            : action === "allowAgain"
              ? people.allowAgain(subject)
              : action === "holdSubject"
                ? people.hold(subject, reason)
                : people.release(subject)
          return summaryOf(changed, row)
        }).pipe(
          Effect.provideService(CurrentTenant, running.tenantId),
          Effect.provideService(TenantAdministration, running.access)
        )
      )

  return {
    forget: run("forget"),
    allowAgain: run("allowAgain"),
    holdSubject: run("holdSubject"),
    releaseSubject: run("releaseSubject")
  }
}

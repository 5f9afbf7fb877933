/** Runs actions under a record: parameters before, and the outcome behind. */
import { Cause, Effect, Exit, Queue, Schedule, Schema, Stream } from "effect"
import {
  AllTenants,
  type CrossTenantAccess,
  type CurrentTenant,
  TenantAdministration,
  type TenantId
} from "../domain/Tenant.ts"
import type { EventStorage } from "../driver/EventStorage.ts"
import { StorageUnavailable } from "../driver/StoreError.ts"
import { currentTenant } from "../domain/currentTenant.ts"
import {
  ActionFailed,
  type ActionName,
  ActionRefused,
  ActionUnavailable,
  type Counts,
  type Done,
  type Outcome,
  Outcome as OutcomeSchema,
  type Progress
} from "./Acts.ts"

/** Errors of actions. */
export type ActionError = ActionUnavailable | ActionRefused | ActionFailed | StorageUnavailable

/** The requirements of an action on one tenant: the tenant, and the operator with the reason. */
export type OnTenant = TenantAdministration | CurrentTenant

/** The effects of an action. */
export interface Summary {
  readonly changed: boolean
  readonly counts?: Partial<Counts> | undefined
  readonly details?: Readonly<Record<string, Schema.Json>> | undefined
}

/** A step of a long action; the last one has the summary. */
export type Step = Pick<Progress, "step" | "unit" | "done" | "total"> & {
  readonly summary?: Summary | undefined
}

/** An action that runs. */
export interface Running {
  readonly action: ActionName
  readonly accessId: string
  readonly access: CrossTenantAccess
  readonly dryRun: boolean
}

/** An action on one tenant that runs. */
export interface RunningAt extends Running {
  readonly tenantId: TenantId
}

/** An error of a service below. */
interface Failure {
  readonly _tag: string
  readonly message: string
}

/** An action to record. */
interface Spec {
  readonly action: ActionName
  /** The request, without anything that must not be in the record. */
  readonly request: object & { readonly dryRun?: boolean | undefined }
  /** True if messages of errors may name a person. Default: false. */
  readonly ofPerson?: boolean | undefined
}

/** Errors of services below that are raised before anything is changed. */
const refusals = new Set([
  "CannotRebuild",
  "CompressionUnavailable",
  "DeadLetterNotFound",
  "InvalidInput",
  "InvalidReason",
  "MoveRefused",
  "NoHashChain",
  "SubjectHeld",
  "TenantHeld",
  "TenantRefused",
  "TenantStateConflict",
  "UndeclaredTables"
])

const maxMessage = 1000

const isActionError = (error: Failure): error is Exclude<ActionError, StorageUnavailable> =>
  error instanceof ActionUnavailable || error instanceof ActionRefused || error instanceof ActionFailed

const actionError = ({ accessId, action }: Running, error: Failure): ActionError => {
  if (error instanceof StorageUnavailable || isActionError(error)) return error
  const fields = { action, accessId, error: error._tag, problem: error.message }
  return refusals.has(error._tag) ? new ActionRefused(fields) : new ActionFailed(fields)
}

const none: Counts = {
  tenants: null,
  projections: null,
  events: null,
  deadLetters: null,
  subjects: null,
  rows: null,
  bytes: null
}

const countsOf = ({ counts }: Summary): Counts => ({ ...none, ...counts })

const doneOf = (
  { accessId, action, dryRun }: Running,
  tenantId: TenantId | null,
  summary: Summary
): Done => ({
  accessId,
  action,
  tenantId,
  dryRun,
  changed: summary.changed,
  counts: countsOf(summary),
  details: summary.details ?? {}
})

/** A text without characters that a database cannot store. */
const storableText = (text: string): string => text.replace(/\0|\p{Surrogate}/gu, "\uFFFD")

/** The JSON of a request. Its texts may contain characters that a database cannot store. */
const storable = (value: unknown): Schema.Json => {
  if (typeof value === "string") return storableText(value)
  if (typeof value === "number" || typeof value === "boolean") return value
  if (Array.isArray(value)) return value.map(storable)
  return typeof value === "object" && value !== null
    ? Object.fromEntries(
        Object.entries(value).flatMap(([key, member]) =>
          member === undefined ? [] : [[key, storable(member)]]
        )
      )
    : null
}

const encodeOutcome = Schema.encodeSync(OutcomeSchema)

const failedOutcome = (cause: Cause.Cause<unknown>, ofPerson: boolean): Outcome => {
  if (Cause.hasInterruptsOnly(cause)) return { status: "interrupted" }
  const error = Cause.squash(cause)
  const isError = error instanceof Error && "_tag" in error && typeof error._tag === "string"
  const tag = isError && "error" in error && typeof error.error === "string" ? error.error : undefined
  return {
    status: "failed",
    error: tag ?? (isError && "_tag" in error ? String(error._tag) : "Defect"),
    // the message of a defect may have anything in it
    message: isError && !ofPerson ? storableText(error.message.slice(0, maxMessage)) : null
  }
}

const answered = Schedule.exponential("100 millis").pipe(Schedule.upTo({ times: 3 }))

export const makeRecorder = (events: EventStorage["Service"]) => {
  const begin = Effect.fnUntraced(function* (
    { action, request }: Spec,
    access: CrossTenantAccess,
    tenantId: TenantId | undefined
  ): Effect.fn.Return<Running, StorageUnavailable> {
    const { dryRun = false } = request
    const accessId = yield* events.recordAccess({
      actor: access.actor,
      reason: access.reason,
      operation: `Actions.${action}${tenantId === undefined ? "" : ` ${tenantId}`}`,
      parameters: storable({ ...request, dryRun })
    })
    return { action, accessId, access, dryRun }
  })

  const complete = ({ accessId, action }: Running, outcome: Outcome): Effect.Effect<void> =>
    events
      .completeAccess({ accessId, outcome: encodeOutcome(outcome) })
      .pipe(
        Effect.retry({ schedule: answered, while: ({ retryable }) => retryable }),
        Effect.ignore({ log: "Error", message: `The outcome of ${action} could not be recorded` })
      )

  const succeeded = (running: Running, summary: Summary): Effect.Effect<void> =>
    complete(running, {
      status: "succeeded",
      changed: summary.changed,
      counts: countsOf(summary),
      details: summary.details ?? {}
    })

  const failed = (running: Running, { ofPerson = false }: Spec, exit: Exit.Exit<unknown, unknown>) =>
    Exit.isFailure(exit) ? complete(running, failedOutcome(exit.cause, ofPerson)) : Effect.void

  const short = <E extends Failure, R>(
    spec: Spec,
    running: Running,
    tenantId: TenantId | null,
    run: Effect.Effect<Summary, E, R>
  ): Effect.Effect<Done, ActionError, R> =>
    run.pipe(
      Effect.mapError((error) => actionError(running, error)),
      Effect.onExit((exit) => failed(running, spec, exit)),
      Effect.tap((summary) => succeeded(running, summary)),
      Effect.map((summary) => doneOf(running, tenantId, summary))
    )

  const long = <E extends Failure, R>(
    spec: Spec,
    running: Running,
    tenantId: TenantId | null,
    steps: Stream.Stream<Step, E, R>
  ): Stream.Stream<Progress, ActionError, R> =>
    Stream.suspend(() => {
      let isComplete = false
      const finish = (outcome: Effect.Effect<void>) =>
        Effect.suspend(() => {
          if (isComplete) return Effect.void
          isComplete = true
          return outcome
        })
      return steps.pipe(
        Stream.mapError((error) => actionError(running, error)),
        Stream.mapEffect(({ summary, ...step }) =>
          Effect.as(
            // before the last element, so that its reader finds the outcome
            summary === undefined ? Effect.void : finish(succeeded(running, summary)),
            {
              ...step,
              accessId: running.accessId,
              result: summary === undefined ? null : doneOf(running, tenantId, summary)
            }
          )
        ),
        Stream.onExit((exit) =>
          finish(
            complete(
              running,
              Exit.isFailure(exit)
                ? failedOutcome(exit.cause, spec.ofPerson ?? false)
                : { status: "interrupted" }
            )
          )
        )
      )
    })

  const beginAt = (spec: Spec) =>
    Effect.gen(function* () {
      const tenantId = yield* currentTenant
      const running = yield* begin(spec, yield* TenantAdministration, tenantId)
      return { ...running, tenantId } satisfies RunningAt
    })

  const beginAll = (spec: Spec) => Effect.flatMap(AllTenants, (access) => begin(spec, access, undefined))

  return {
    /** Records and runs an action on the current tenant. */
    at: <E extends Failure, R>(
      spec: Spec,
      run: (running: RunningAt) => Effect.Effect<Summary, E, R>
    ): Effect.Effect<Done, ActionError, R | OnTenant> =>
      Effect.flatMap(beginAt(spec), (running) => short(spec, running, running.tenantId, run(running))),
    /** Records and runs a long action on the current tenant. */
    stepsAt: <E extends Failure, R>(
      spec: Spec,
      run: (running: RunningAt) => Stream.Stream<Step, E, R>
    ): Stream.Stream<Progress, ActionError, R | OnTenant> =>
      Stream.unwrap(
        Effect.map(beginAt(spec), (running) => long(spec, running, running.tenantId, run(running)))
      ),
    /** Records and runs an action on the current tenant that answers with bytes. The summary is that at their end. */
    bytesAt: <E extends Failure, R>(
      spec: Spec,
      run: (running: RunningAt) => Stream.Stream<Uint8Array, E, R>,
      summary: () => Summary
    ): Stream.Stream<Uint8Array, ActionError, R | OnTenant> =>
      Stream.unwrap(
        Effect.map(beginAt(spec), (running) =>
          Stream.suspend(() => {
            let isComplete = false
            const end = Effect.suspend(() => {
              isComplete = true
              return succeeded(running, summary())
            })
            return run(running).pipe(
              Stream.mapError((error) => actionError(running, error)),
              Stream.concat(Stream.fromEffectDrain(end)),
              Stream.onExit((exit) =>
                isComplete
                  ? Effect.void
                  : complete(
                      running,
                      Exit.isFailure(exit) ? failedOutcome(exit.cause, false) : { status: "interrupted" }
                    )
              )
            )
          })
        )
      ),
    /** Records and runs, as a part of an action on all tenants, an action on one of them. */
    partOf: <E extends Failure, R>(
      { access }: Running,
      spec: Spec,
      tenantId: TenantId,
      run: Effect.Effect<Summary, E, R>
    ): Effect.Effect<Done, ActionError, R> =>
      Effect.flatMap(begin(spec, access, tenantId), (running) => short(spec, running, tenantId, run)),
    /** Records and runs an action on all tenants. */
    all: <E extends Failure, R>(
      spec: Spec,
      run: (running: Running) => Effect.Effect<Summary, E, R>
    ): Effect.Effect<Done, ActionError, R | AllTenants> =>
      Effect.flatMap(beginAll(spec), (running) => short(spec, running, null, run(running))),
    /** Records and runs a long action on all tenants. */
    stepsOfAll: <E extends Failure, R>(
      spec: Spec,
      run: (running: Running) => Stream.Stream<Step, E, R>
    ): Stream.Stream<Progress, ActionError, R | AllTenants> =>
      Stream.unwrap(Effect.map(beginAll(spec), (running) => long(spec, running, null, run(running))))
  }
}

/** Records actions. */
export type Recorder = ReturnType<typeof makeRecorder>

/** The steps of an effect that reports its progress. A slow reader misses steps, and never the last one. */
export const reporting = <E, R>(
  run: (report: (step: Omit<Step, "summary">) => Effect.Effect<void>) => Effect.Effect<Step, E, R>
): Stream.Stream<Step, E, R> =>
  Stream.callback<Step, E, R>(
    (queue) =>
      run((step) => Effect.asVoid(Queue.offer(queue, step))).pipe(
        Effect.flatMap((last) => Queue.offer(queue, last)),
        Effect.andThen(Queue.end(queue))
      ),
    { bufferSize: 16, strategy: "sliding" }
  )

/** One step with the summary, of an effect. */
export const single = <E, R>(
  unit: Step["unit"],
  step: string,
  run: Effect.Effect<Summary, E, R>
): Stream.Stream<Step, E, R> =>
  Stream.fromEffect(
    Effect.map(run, (summary) => {
      const done = summary.counts?.[unit] ?? 0
      return { step, unit, done, total: done, summary }
    })
  )

/** A part that the program may lack. */
export const required = <A>(
  { accessId, action }: Running,
  missing: string,
  part: A | undefined
): Effect.Effect<A, ActionUnavailable> =>
  part === undefined
    ? Effect.fail(new ActionUnavailable({ action, accessId, missing }))
    : Effect.succeed(part)

/** Carries out the steps of a process on the public API, and records each call and each return. */
import { Cause, Context, Effect, Exit, Fiber, Result } from "effect"
import type { CurrentTenant, TenantId } from "../../../src/domain/Tenant.ts"
import * as Tenant from "../../../src/domain/Tenant.ts"
import type { OutcomeUnknown, StorageUnavailable } from "../../../src/driver/StoreError.ts"
import * as EventStore from "../../../src/store/EventStore.ts"
import * as Repository from "../../../src/store/Repository.ts"
import { decide, type Input, MarkCount, Marked, Marks, OtherMarks, type Output } from "./marks.ts"
import { objects, type PlannedStep } from "./plan.ts"

/** The surroundings of a process. */
export class Surroundings extends Context.Service<
  Surroundings,
  {
    /** A transaction of the program, bound to the current tenant. */
    readonly transaction: <A, E, R>(
      effect: Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | StorageUnavailable | OutcomeUnknown, R | CurrentTenant>
    /** Waits for some turns. */
    readonly pause: (turns: number) => Effect.Effect<void>
    /** A moment, of a clock that all processes share. */
    readonly now: () => number
  }
>()("test/linearizability/Surroundings") {}

/** A call, a return, or the state of a decision. A step with a recorded call and no recorded return has an unknown outcome. */
export type Record =
  | { readonly id: number; readonly at: number; readonly called: Input }
  | { readonly id: number; readonly at: number; readonly decidedOn: ReadonlyArray<string> }
  /** Without an output, nothing was done. */
  | { readonly id: number; readonly at: number; readonly returned: Output | null }

class Refused {
  readonly _tag = "Refused"
  readonly state: ReadonlyArray<string>
  constructor(state: ReadonlyArray<string>) {
    this.state = state
  }
}

/** Ends a transaction that is not to be committed, with the answer of its command. */
class RolledBack {
  readonly _tag = "RolledBack"
  readonly output: Output
  constructor(output: Output) {
    this.output = output
  }
}

/** The last version that a fiber has seen of an object. */
type Seen = Map<string, number>

const aggregateOf = ({ object }: PlannedStep): typeof Marks | typeof OtherMarks =>
  objects[object]?.type === "OtherMarks" ? OtherMarks : Marks

const idOf = ({ object }: PlannedStep): string => objects[object]?.id ?? ""

const events = (marks: ReadonlyArray<string>): ReadonlyArray<typeof Marked.Type> =>
  marks.map((mark) => Marked.make({ mark }))

/** Carries out a step. */
const perform = Effect.fnUntraced(function* (
  step: PlannedStep,
  input: PlannedStep["input"],
  decidedOn: (state: ReadonlyArray<string>) => void
) {
  const [aggregate, id] = [aggregateOf(step), idOf(step)]
  const repository = yield* Repository.Repository
  switch (input.do) {
    case "push": {
      const store = yield* EventStore.EventStore
      const { version } = yield* store.append({
        aggregate,
        id,
        events: events(input.marks),
        expectedVersion: "any"
      })
      return { is: "appended", version } satisfies Output
    }
    case "load": {
      const { state, version } = yield* repository.loadOrInitial(aggregate, id)
      return { is: "loaded", state, version } satisfies Output
    }
    case "count": {
      if (aggregate === Marks) {
        const { state, version } = yield* repository.loadOrInitial(MarkCount, id)
        return { is: "counted", count: state, version } satisfies Output
      }
      const { state, version } = yield* repository.loadOrInitial(aggregate, id)
      return { is: "counted", count: state.length, version } satisfies Output
    }
    case "exists":
      return { is: "exists", exists: yield* repository.exists(aggregate, id) } satisfies Output
    case "execute": {
      const { as, expected, key, marks, transaction } = input
      const { pause, transaction: inTransaction } = yield* Surroundings
      const decided = (state: ReadonlyArray<string>) => {
        const found = decide(input, state)
        return found === undefined ? Result.fail(new Refused(state)) : Result.succeed(events(found))
      }
      const execute = repository
        .execute(
          aggregate,
          id,
          (state) => {
            decidedOn(state)
            const decision = decided(state)
            if (as === "effect") return Effect.andThen(pause(1), Effect.fromResult(decision))
            return as === "value" && Result.isSuccess(decision) ? decision.success : decision
          },
          {
            command: key === undefined ? undefined : { key, content: [...marks] },
            expectedVersion: expected ?? "any"
          }
        )
        .pipe(
          Effect.map((executed): Output => ({
            is: "done",
            state: executed.state,
            version: executed.version,
            marks: executed.events.map(({ payload }) => payload.mark),
            replayed: executed.replayed
          })),
          Effect.catchTag("Refused", ({ state }) => Effect.succeed<Output>({ is: "refused", state }))
        )
      if (transaction === undefined) return yield* execute
      const output = yield* inTransaction(
        Effect.flatMap(execute, (answer) =>
          transaction === "commits" ? Effect.succeed(answer) : Effect.fail(new RolledBack(answer))
        )
      ).pipe(Effect.catchTag("RolledBack", (rolledBack) => Effect.succeed(rolledBack.output)))
      return output
    }
  }
})

/** The answer of a step; null if nothing was done, undefined if the outcome is unknown. */
const answerOf = (
  exit: Exit.Exit<Output, Effect.Error<ReturnType<typeof perform>>>
): Output | null | undefined => {
  if (Exit.isSuccess(exit)) return exit.value
  if (Cause.hasInterruptsOnly(exit.cause)) return undefined
  const error = Result.getOrUndefined(Cause.findError(exit.cause))
  switch (error?._tag) {
    case "Conflict":
      if (error.reason._tag === "VersionConflict") return { is: "conflict", actual: error.reason.actual }
      throw new Error(`not of this test: ${Cause.pretty(exit.cause)}`)
    case "StorageUnavailable":
      return null
    case "OutcomeUnknown":
      return undefined
    default:
      throw new Error(`not of this test: ${Cause.pretty(exit.cause)}`)
  }
}

/** Carries out the steps of a fiber one after another. */
const fiber = Effect.fnUntraced(function* (
  steps: ReadonlyArray<PlannedStep>,
  tenantIds: ReadonlyArray<TenantId>,
  record: (record: Record) => void
) {
  const { now, pause } = yield* Surroundings
  const seen: Seen = new Map()
  for (const step of steps) {
    yield* pause(step.pause)
    const object = `${step.tenant} ${step.object}`
    const input =
      step.expectsLast && step.input.do === "execute"
        ? { ...step.input, expected: seen.get(object) ?? 0 }
        : step.input
    record({ id: step.id, at: now(), called: input })
    const running = yield* Effect.forkChild(
      perform(step, input, (state) => record({ id: step.id, at: now(), decidedOn: state })).pipe(
        Tenant.provide(tenantIds[step.tenant] ?? Tenant.untenanted)
      )
    )
    if (step.interruptedAfter !== undefined) {
      yield* pause(step.interruptedAfter)
      yield* Fiber.interrupt(running)
    }
    const output = answerOf(yield* Fiber.await(running))
    if (output === undefined) continue
    record({ id: step.id, at: now(), returned: output })
    if (output !== null && "version" in output) seen.set(object, output.version)
  }
})

/** Carries out the steps of a process. */
export const run = (
  fibers: ReadonlyArray<ReadonlyArray<PlannedStep>>,
  tenantIds: ReadonlyArray<TenantId>,
  record: (record: Record) => void
): Effect.Effect<void, never, Surroundings | Repository.Repository | EventStore.EventStore> =>
  Effect.forEach(fibers, (steps) => fiber(steps, tenantIds, record), {
    concurrency: "unbounded",
    discard: true
  })

/** Runs planned histories in a world, and checks them. */
import { Effect, Fiber, type Scope } from "effect"
import type { TenantId } from "../../../src/domain/Tenant.ts"
import * as Tenant from "../../../src/domain/Tenant.ts"
import { check, minimise } from "./checker.ts"
import { type LossInput, modelOf, separate, show, type Step } from "./marks.ts"
import type { Record } from "./perform.ts"
import { objects, type Odds, type Plan, planOf, type PlannedStep } from "./plan.ts"

/** The process number of steps outside of all processes. */
const nobody = -1

type Fibers = ReadonlyArray<ReadonlyArray<PlannedStep>>

/** A process that carries out steps. */
export interface Process {
  /** Carries out the steps of its fibers; ends when all of them have ended, or the process is killed. */
  readonly run: (
    fibers: Fibers,
    tenantIds: ReadonlyArray<TenantId>,
    record: (record: Record) => void
  ) => Effect.Effect<void>
  /** Kills it, so that it cannot finish anything. */
  readonly kill: Effect.Effect<void>
}

/** The loss of the end of one stream. */
export interface Lost extends LossInput {
  /** The stream before. */
  readonly before: ReadonlyArray<string>
  /** The place in `objects`. */
  readonly object: number
}

/** A storage, and processes on it. */
export interface World {
  /** A process with repositories of its own. */
  readonly start: (process: number) => Effect.Effect<Process, never, Scope.Scope>
  /** Replaces the last events of a tenant's log by others, in one step. */
  readonly lose: (
    tenantId: TenantId,
    loss: NonNullable<Plan["faults"]["loss"]>
  ) => Effect.Effect<ReadonlyArray<Lost>>
  /** The marks of a stream, read without a repository. */
  readonly read: (tenantId: TenantId, object: number) => Effect.Effect<ReadonlyArray<string>>
  readonly pause: (turns: number) => Effect.Effect<void>
  readonly now: () => number
}

/** The steps that were not called. */
const notCalled = (fibers: Fibers, called: ReadonlySet<number>): Fibers =>
  fibers.map((steps) => steps.filter(({ id }) => !called.has(id)))

/** A recorded history. */
interface Recorded {
  /** The operations of each object. */
  readonly steps: ReadonlyMap<string, ReadonlyArray<Step>>
  /** The states of decisions, by the number of the step. */
  readonly decidedOn: ReadonlyArray<readonly [id: number, state: ReadonlyArray<string>]>
  /** The marks of all commands on an object, also of those that did nothing. */
  readonly marksOn: (on: string) => ReadonlyArray<string>
}

/** Runs a history. */
const record = Effect.fnUntraced(function* (
  plan: Plan,
  world: World
): Effect.fn.Return<Recorded, never, Scope.Scope> {
  const tenantIds = [yield* Tenant.generate, yield* Tenant.generate]
  const steps = new Map<number, Step>()
  const dropped = new Set<number>()
  const decidedOn: Array<readonly [id: number, state: ReadonlyArray<string>]> = []
  const planned = new Map(
    plan.processes.flatMap((fibers, process) =>
      fibers.flatMap((own, fiber) => own.map((step) => [step.id, { step, process, fiber }] as const))
    )
  )
  const nameOf = (tenant: number, object: number): string =>
    `tenant ${tenant}, ${objects[object]?.type} ${objects[object]?.id}`

  const take = (entry: Record): void => {
    const found = planned.get(entry.id)
    if (found === undefined) return
    if ("decidedOn" in entry) {
      decidedOn.push([entry.id, entry.decidedOn])
      return
    }
    if ("called" in entry) {
      const { fiber, process, step } = found
      steps.set(entry.id, {
        id: entry.id,
        process,
        fiber,
        on: nameOf(step.tenant, step.object),
        called: entry.at,
        returned: undefined,
        input: entry.called,
        output: undefined
      })
      return
    }
    const step = steps.get(entry.id)
    if (step === undefined) return
    if (entry.returned === null) dropped.add(entry.id)
    else steps.set(entry.id, { ...step, returned: entry.at, output: entry.returned })
  }

  const { kill, loss } = plan.faults
  const runProcess = Effect.fnUntraced(function* (fibers: Fibers, index: number) {
    const process = yield* world.start(index)
    const running = yield* Effect.forkChild(process.run(fibers, tenantIds, take))
    if (kill?.process === index) {
      yield* world.pause(kill.after)
      yield* process.kill
      yield* Fiber.await(running)
      const rest = notCalled(fibers, new Set(steps.keys()))
      const next = yield* world.start(index)
      return yield* next.run(rest, tenantIds, take)
    }
    yield* Fiber.await(running)
  })

  let extra = 1000
  const loseEnd = Effect.gen(function* () {
    if (loss === undefined) return
    yield* world.pause(loss.after)
    const called = world.now()
    const lost = yield* world.lose(tenantIds[loss.tenant] ?? Tenant.untenanted, loss)
    const returned = world.now()
    for (const { before: state, object, ...input } of lost) {
      const id = ++extra
      const on = nameOf(loss.tenant, object)
      const output = { is: "lost", state } as const
      steps.set(id, { id, process: nobody, fiber: 0, on, called, returned, input, output })
    }
  })

  yield* Effect.all([...plan.processes.map(runProcess), loseEnd], { concurrency: "unbounded", discard: true })

  const histories = new Map<string, Array<Step>>()
  for (const step of steps.values()) {
    if (dropped.has(step.id)) continue
    const history = histories.get(step.on) ?? []
    history.push(step)
    histories.set(step.on, history)
  }
  for (const [tenant, tenantId] of tenantIds.entries()) {
    for (const object of objects.keys()) {
      const history = histories.get(nameOf(tenant, object))
      if (history === undefined) continue
      const called = world.now()
      const state = yield* world.read(tenantId, object)
      history.push({
        id: ++extra,
        process: nobody,
        fiber: 0,
        on: nameOf(tenant, object),
        called,
        returned: world.now(),
        input: { do: "load" },
        output: { is: "loaded", state, version: state.length }
      })
    }
  }
  const marksOn = (on: string): ReadonlyArray<string> =>
    Array.from(steps.values()).flatMap(({ input, on: other }) =>
      other === on && "marks" in input ? input.marks : []
    )
  return { steps: histories, decidedOn, marksOn }
})

const contentsOf = (steps: ReadonlyArray<Step>): ReadonlyArray<ReadonlyArray<string>> =>
  steps.flatMap(({ output, process }) =>
    process === nobody && output !== undefined && "state" in output ? [output.state] : []
  )

/**
 * A report on decisions that were made on a state of another object, such as another tenant's, or on one that the stream never
 * had. Commands that are decided together see states that come only if the append before them succeeds.
 */
const reportOnDecisions = ({ decidedOn, marksOn, steps }: Recorded, joins: boolean): ReadonlyArray<string> =>
  Array.from(steps).flatMap(([on, history]) => {
    const own = new Set(history.map(({ id }) => id))
    const contents = contentsOf(history)
    const marks = new Set([...contents.flat(), ...marksOn(on)])
    const isKnown = (state: ReadonlyArray<string>): boolean =>
      joins
        ? state.every((mark) => marks.has(mark))
        : contents.some((content) => state.every((mark, index) => content[index] === mark))
    return decidedOn.flatMap(([id, state]) =>
      own.has(id) && !isKnown(state)
        ? [
            `${on}: #${id} was decided on [${state.join(" ")}], which it never was; it was ${contents
              .map((content) => `[${content.join(" ")}]`)
              .join(" and ")}`
          ]
        : []
    )
  })

/** Leaves out the answer of a step. */
const forget = (step: Step): Step => ({ ...step, returned: undefined, output: undefined })

/** A report on a history that is not linearizable; undefined if it is. */
const reportOn = (on: string, history: ReadonlyArray<Step>): string | undefined => {
  const began = Math.min(...history.map(({ called }) => called))
  const since = (moment: number): number => Math.round((moment - began) * 1000) / 1000
  const steps = history.flatMap(separate).map((step): Step =>
    Object.assign({}, step, {
      called: since(step.called),
      returned: step.returned === undefined ? undefined : since(step.returned)
    })
  )
  const contents = contentsOf(steps)
  const model = modelOf(contents)
  if (check(model, steps).linearizable) return undefined
  const least = minimise(model, steps, forget)
  const { order, stuck } = check(model, least)
  const lines = (title: string, all: ReadonlyArray<Step>): string => `${title}\n${all.map(show).join("\n")}`
  return [
    `${on}: no order of these operations gives these answers`,
    lines(
      `the part that contradicts itself, ${least.length} of ${steps.length} operations by the time of their calls:`,
      least.toSorted((left, right) => left.called - right.called)
    ),
    `contents of the stream, each until its end was lost:\n${contents.map((marks) => `  [${marks.join(" ")}]`).join("\n")}`,
    lines("the longest order:", order),
    lines("none of these fits behind it:", stuck)
  ].join("\n")
}

/** Runs the history of a seed. Returns reports on the objects whose part is not linearizable. */
export const tryHistory = (
  seed: number,
  worldOf: (plan: Plan) => Effect.Effect<World, never, Scope.Scope>,
  odds?: Odds
): Effect.Effect<ReadonlyArray<string>> =>
  Effect.gen(function* () {
    const plan = planOf(seed, odds)
    const world = yield* worldOf(plan)
    const recorded = yield* record(plan, world)
    const reports = Array.from(recorded.steps).flatMap(([on, history]) => reportOn(on, history) ?? [])
    return [...reports, ...reportOnDecisions(recorded, plan.settings.joins)].map(
      (report) =>
        `seed ${seed}, ${JSON.stringify(plan.settings)}, faults ${JSON.stringify(plan.faults)}, ${report}`
    )
  }).pipe(Effect.scoped)

/** Actions on dead letters that match a filter: retry and discard. */
import { type Context, Effect, Option } from "effect"
import { AllTenants, CurrentTenant } from "../domain/Tenant.ts"
import type { AdministrationStorage, DeadLetterRow } from "../driver/AdministrationStorage.ts"
import type { EventStorage } from "../driver/EventStorage.ts"
import type { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import type { ReadError } from "../driver/StoreError.ts"
import { currentMillis } from "../internal/clock.ts"
import type * as Projection from "../projection/Projection.ts"
import type { ProjectionManager } from "../projection/ProjectionManager.ts"
import { ActionRefused, type DeadLetterFilter } from "./Acts.ts"
import { causesOf, keyOf, readLetters } from "./letters.ts"
import { type Recorder, reporting, required, type Running, type RunningAt, type Step } from "./recorded.ts"

/** The parts of the program that the actions use. */
export interface Parts {
  readonly events: EventStorage["Service"]
  readonly administration: AdministrationStorage["Service"]
  readonly projections: ProjectionStorage["Service"]
  readonly manager: ProjectionManager["Service"]
  readonly known: ReadonlyArray<Projection.Any>
  /** The services of the handlers. */
  readonly services: Context.Context<never>
}

const everything = {
  recordedFrom: undefined,
  recordedBefore: undefined,
  aggregateTypes: undefined
} as const

/** Dead letters of one version of a projection. */
interface Group {
  readonly name: string
  readonly version: number
  readonly positions: ReadonlyArray<number>
}

const groupsOf = (letters: ReadonlyArray<DeadLetterRow>): ReadonlyArray<Group> => {
  const groups = new Map<string, { name: string; version: number; positions: Array<number> }>()
  for (const letter of letters) {
    const key = keyOf(letter)
    const group = groups.get(key) ?? { name: letter.projection, version: letter.version, positions: [] }
    group.positions.push(letter.position)
    groups.set(key, group)
  }
  return [...groups.values()]
}

export const make = (parts: Parts, recorder: Recorder) => {
  const { administration, events, known, manager, projections, services } = parts

  /** The positions, among those of dead letters, with an event of one of the types. */
  const withTypes = Effect.fnUntraced(function* (
    { tenantId }: RunningAt,
    letters: ReadonlyArray<DeadLetterRow>,
    eventTypes: ReadonlyArray<string>
  ): Effect.fn.Return<ReadonlySet<number>, ReadError> {
    const positions = [...new Set(letters.map(({ position }) => position))]
    const found = yield* Effect.forEach(
      eventTypes.length === 0 ? [] : positions,
      (position) =>
        Effect.map(
          events.readLog({
            ...everything,
            tenantId,
            fromPosition: position,
            toPosition: position,
            eventTypes,
            direction: "forwards",
            limit: 1
          }),
          ({ rows }) => rows.map((row) => row.position)
        ),
      { concurrency: 8 }
    )
    return new Set(found.flat())
  })

  /** The dead letters that match. */
  const select = Effect.fnUntraced(function* (
    running: RunningAt,
    filter: DeadLetterFilter
  ): Effect.fn.Return<ReadonlyArray<DeadLetterRow>, ReadError> {
    const { error, eventTypes, frame, fromPosition, kind, olderThanMillis, projection, toPosition, version } =
      filter
    const { letters } = yield* readLetters(administration, running, Infinity)
    const now = yield* currentMillis
    const chosen = letters.filter(
      (letter) =>
        (projection === undefined || letter.projection === projection) &&
        (version === undefined || letter.version === version) &&
        (error === undefined || letter.error === error) &&
        (fromPosition === undefined || letter.position >= fromPosition) &&
        (toPosition === undefined || letter.position <= toPosition) &&
        (olderThanMillis === undefined || letter.failedAt <= now - olderThanMillis)
    )
    const types = eventTypes === undefined ? undefined : yield* withTypes(running, chosen, eventTypes)
    const typed = chosen.filter(({ position }) => types?.has(position) ?? true)
    if (kind === undefined && frame === undefined) return typed
    const causeOf = yield* causesOf(projections, running, typed)
    return typed.filter((letter) => {
      const cause = causeOf(letter)
      return (kind === undefined || cause.kind === kind) && (frame === undefined || cause.frame === frame)
    })
  })

  const retryGroup = Effect.fnUntraced(function* (
    running: Running,
    { name, positions, version }: Group,
    onReplayed: Effect.Effect<void>
  ) {
    const projection = yield* required(
      running,
      `projection ${name}, version ${version}, in the option projections`,
      known.find((one) => one.name === name && one.version === version)
    )
    if (projection.kind === "acrossTenants" && Option.isNone(yield* Effect.serviceOption(AllTenants)))
      return yield* new ActionRefused({
        action: running.action,
        accessId: running.accessId,
        error: "AllTenants",
        problem: `the handlers of ${name} work across tenants: the operator needs AllTenants`
      })
    return yield* Effect.provideContext(
      manager.replayDeadLetters(projection, { positions, onReplayed: () => onReplayed }),
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the handlers require nothing else
      services as Context.Context<unknown>
    )
  })

  const discardGroup = Effect.fnUntraced(function* (
    { access }: Running,
    { name, positions, version }: Group,
    onDiscarded: Effect.Effect<void>
  ) {
    let discarded = 0
    for (const position of positions) {
      const isGone = yield* manager.discardDeadLetter({ name, version }, position, access.reason).pipe(
        Effect.as(true),
        // another operator was faster
        Effect.catchTag("DeadLetterNotFound", () => Effect.succeed(false))
      )
      if (isGone) discarded++
      yield* onDiscarded
    }
    return discarded
  })

  const each = <E extends { readonly _tag: string; readonly message: string }, R>(
    action: "retryDeadLetters" | "discardDeadLetters",
    request: DeadLetterFilter,
    run: (running: RunningAt, group: Group, onOne: Effect.Effect<void>) => Effect.Effect<number, E, R>
  ) =>
    recorder.stepsAt({ action, request }, (running) =>
      reporting((report) =>
        Effect.gen(function* () {
          const letters = yield* select(running, request)
          const groups = groupsOf(letters)
          const total = letters.length
          let [done, handled] = [0, 0]
          const last = (count: number): Step => ({
            step: action === "retryDeadLetters" ? "retried" : "discarded",
            unit: "deadLetters",
            done: count,
            total,
            summary: {
              changed: count > 0,
              counts: { tenants: total > 0 ? 1 : 0, projections: groups.length, deadLetters: count }
            }
          })
          if (running.dryRun) return last(total)
          const onOne = Effect.suspend(() => {
            done++
            return report({
              step: action === "retryDeadLetters" ? "retrying" : "discarding",
              unit: "deadLetters",
              done,
              total
            })
          })
          for (const group of groups)
            handled += yield* Effect.provideService(
              run(running, group, onOne),
              CurrentTenant,
              running.tenantId
            )
          return last(handled)
        })
      )
    )

  return {
    retryDeadLetters: (request: DeadLetterFilter = {}) => each("retryDeadLetters", request, retryGroup),
    discardDeadLetters: (request: DeadLetterFilter = {}) => each("discardDeadLetters", request, discardGroup)
  }
}

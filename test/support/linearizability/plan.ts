/** Plans of histories, each made from a seed: the operations of two processes, and the faults in it. */
import { Effect, Random } from "effect"
import { decisions, type CommandInput, type PushInput, type ReadInput } from "./marks.ts"

/** The objects of each tenant: a type of aggregate and an id. */
export const objects = [
  { type: "Marks", id: "1" },
  { type: "OtherMarks", id: "1" },
  { type: "Marks", id: "2" }
] as const

const tenants = 2

/** An operation of a fiber. */
export interface PlannedStep {
  readonly id: number
  readonly tenant: number
  /** The place in `objects`. */
  readonly object: number
  readonly input: CommandInput | PushInput | ReadInput
  /** Expects the version that the fiber has seen last. */
  readonly expectsLast: boolean
  /** Turns that the fiber waits before it. */
  readonly pause: number
  /** Turns after which it is interrupted. */
  readonly interruptedAfter: number | undefined
}

/** The settings of the repositories of a history. */
export interface RepositorySettings {
  /** States are remembered. */
  readonly remembers: boolean
  /** Commands that wait are decided together. */
  readonly joins: boolean
  /** Processes that refuse each other's appends take turns. Only with `joins`. */
  readonly reserves: boolean
  readonly snapshots: boolean
}

/** The faults of a history. */
export interface Faults {
  /** The process that is killed after so many turns. */
  readonly kill: { readonly process: number; readonly after: number } | undefined
  /** The tenant whose log loses its last events after so many turns, and the marks that replace them. */
  readonly loss:
    | {
        readonly tenant: number
        readonly after: number
        readonly events: number
        readonly marks: ReadonlyArray<string>
      }
    | undefined
  /** Chance that the answer of the storage is lost, or that it does not answer. */
  readonly silence: number
}

export interface Plan {
  readonly seed: number
  /** Processes, fibers, steps. */
  readonly processes: ReadonlyArray<ReadonlyArray<ReadonlyArray<PlannedStep>>>
  readonly settings: RepositorySettings
  readonly faults: Faults
}

const keyOf = (object: number, n: number): string => `${object}-${n}`

const fibersPerProcess = 4

const keyedDecisions = ["append", "appendIfEven", "nothing"] as const

/** All keys of commands. */
export const keys: ReadonlyArray<string> = objects.flatMap((_, object) =>
  keyedDecisions.map((__, n) => keyOf(object, n))
)

/** The numbers of a seed. */
export const randomOf = (seed: number | string): (typeof Random.Random)["Service"] =>
  Effect.runSync(Effect.service(Random.Random).pipe(Random.withSeed(seed)))

/** The probabilities of faults, and fixed settings. */
export interface Odds {
  /** Chance that a process is killed. Default: 0.2. */
  readonly kills?: number
  /** Chance that a log loses its end. Default: 0.2. */
  readonly loses?: number
  readonly settings?: Partial<RepositorySettings>
}

/** The history of a seed. */
export const planOf = (seed: number, { kills = 0.2, loses: losses = 0.2, settings }: Odds = {}): Plan => {
  const random = randomOf(seed)
  const below = (limit: number): number => Math.floor(random.nextDoubleUnsafe() * limit)
  const chance = (probability: number): boolean => random.nextDoubleUnsafe() < probability
  const pick = <A>(first: A, ...others: ReadonlyArray<A>): A => others[below(others.length + 1) - 1] ?? first
  const some = <A>(probability: number, make: () => A): A | undefined =>
    chance(probability) ? make() : undefined

  // Some histories use one object of each tenant, others all objects.
  const hot = below(objects.length)
  const heat = pick(0, 0.5, 1)
  const withTransactions = chance(0.4)
  const steps = 24 + below(33)
  const loses = chance(losses)

  let marks = 0
  const marksOf = (id: number, count: number): ReadonlyArray<string> =>
    Array.from({ length: count }, () => `${id}${String.fromCodePoint(97 + (marks++ % 26))}`)

  /** A key always stands for the same command. */
  const keyed = (tenant: number, object: number): Pick<CommandInput, "decision" | "marks" | "key"> => {
    const n = below(3)
    const key = keyOf(object, n)
    return {
      decision: keyedDecisions[n] ?? "append",
      marks: n === 2 ? [] : [`t${tenant}k${key}`],
      key
    }
  }

  const command = (id: number, tenant: number, object: number): CommandInput => ({
    do: "execute",
    as: chance(0.8) ? pick("value", "result") : "effect",
    transaction: withTransactions && chance(0.3) ? pick("commits", "rollsBack") : undefined,
    ...(chance(0.25)
      ? keyed(tenant, object)
      : { decision: chance(0.5) ? "append" : pick(...decisions), marks: marksOf(id, 1 + below(2)) })
  })

  const inputOf = (id: number, tenant: number, object: number): PlannedStep["input"] => {
    const kind = random.nextDoubleUnsafe()
    if (kind < 0.7) return command(id, tenant, object)
    if (kind < 0.76) return { do: "push", marks: marksOf(id, 1) }
    return { do: kind < 0.88 ? "load" : kind < 0.94 ? "count" : "exists" }
  }

  const step = (id: number): PlannedStep => {
    const [tenant, object] = [below(tenants), chance(heat) ? hot : below(objects.length)]
    return {
      id,
      tenant,
      object,
      input: inputOf(id, tenant, object),
      expectsLast: chance(0.1),
      pause: chance(0.5) ? 0 : below(8),
      interruptedAfter: some(0.08, () => below(12))
    }
  }

  const processes = [0, 1].map(() => Array.from({ length: fibersPerProcess }, (): Array<PlannedStep> => []))
  for (let id = 1; id <= steps; id++) processes[below(2)]?.[below(fibersPerProcess)]?.push(step(id))

  return {
    seed,
    processes,
    settings: {
      remembers: chance(0.75),
      joins: chance(0.75),
      snapshots: chance(0.25),
      reserves: chance(0.75),
      ...settings
    },
    faults: {
      kill: some(kills, () => ({ process: below(2), after: below(60) })),
      loss: loses
        ? {
            tenant: below(tenants),
            after: below(60),
            events: 1 + below(4),
            marks: ["x1", "x2", "x3", "x4"].slice(below(4))
          }
        : undefined,
      // A repeated append may be stored twice if the log has lost the first one meanwhile.
      silence: loses ? 0 : pick(0, 0, 0.05, 0.15)
    }
  }
}

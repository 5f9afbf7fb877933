/** Random commands to a driver, for two tenants that share a small pool of ids, and the driver's answers. */
import { Arbitrary, Effect, Result, Schema } from "effect"
import { isDeepStrictEqual } from "node:util"
import { type Direction, EventStorage, type StreamAppend } from "../../src/driver/EventStorage.ts"
import {
  contentsOf,
  endsWith,
  event as newEvent,
  loadStream,
  plain,
  readLog,
  readStream
} from "../../src/testing/driver/eventKit.ts"
import { TenantId } from "../../src/domain/Tenant.ts"

/** Mostly the first, sometimes another. */
const often = <const Values extends readonly [string | number, ...ReadonlyArray<string | number>]>(
  ...values: Values
): Schema.Codec<Values[number]> =>
  Schema.Union([Schema.Literal(values[0]), Schema.Literal(values[0]), Schema.Literals(values)])

const some = <S extends Schema.Constraint>(item: S, maximum: number) =>
  Schema.Array(item).check(Schema.isMinLength(1), Schema.isMaxLength(maximum))

export const tenantNames = ["T1", "T2"] as const
const Tenant = Schema.Literals(tenantNames)
const streamKey = { type: Schema.Literals(["A", "B"]), id: Schema.Literals(["x", "y"]) }
const AnyDirection: Schema.Codec<Direction> = Schema.Literals(["forwards", "backwards"])
const Limit = Schema.Literals([1, 2, 3, 5, 100])
/** Ends of ranges: integers from 0 to the highest version. */
const From = often(1, 2, 3, 5, 8, 0, 100, 2_147_483_647)
/** Positions as a condition names them: integers from 0. */
const After = often(0, 1, 2, 3, 5, 8, 100, 3_000_000_000)
const To = often(100, 1, 2, 3, 5, 8, 0, 2_147_483_647)
const part = { from: From, to: To, direction: AnyDirection, limit: Limit }
const namesOf = (...names: ReadonlyArray<string>) =>
  Schema.UndefinedOr(Schema.Array(Schema.Literals(names)).check(Schema.isMaxLength(2)))

const Tags = Schema.Array(Schema.Literals(["x", "y", "z"])).check(Schema.isMaxLength(2))
const Query = Schema.Array(
  Schema.Struct({
    aggregateType: Schema.UndefinedOr(Schema.Literals(["A", "B"])),
    eventTypes: namesOf("Opened", "Closed", "Never"),
    tags: Tags
  })
).check(Schema.isMaxLength(2))

const Event = Schema.Struct({
  tags: Tags,
  event: Schema.Literals(Array.from({ length: 30 }, (_, index) => `e${index + 10}`)),
  type: often("Opened", "Closed"),
  payload: often('{"a":1,"b":[2]}', '{"b":[2],"a":1}', '{"a":1,"b":2}'),
  metadata: often("{}", '{"m":1}')
})
const Expected = often("any", "noStream", "streamExists", 0, 1, 2, 3, -1, 1.5)
/** Mostly no id, sometimes one that may be right. */
const AnyId = Schema.UndefinedOr(Event.fields.event)
const Stream = Schema.Struct({ ...streamKey, expected: Expected, expectedId: AnyId, events: some(Event, 3) })
const Append = Schema.Struct({
  tenant: Tenant,
  streams: some(Stream, 3),
  conditions: Schema.UndefinedOr(some(Schema.Struct({ query: Query, after: After, afterId: AnyId }), 2)),
  command: Schema.UndefinedOr(
    Schema.Struct({
      key: Schema.Literals(["k1", "k2", "k3"]),
      fingerprint: often("a", "b"),
      expired: Schema.Boolean,
      without: Schema.Boolean
    })
  )
})

const Command = Schema.TaggedUnion({
  append: { requests: some(Append, 4) },
  readStream: { tenant: Tenant, ...streamKey, ...part },
  readLog: {
    tenant: Tenant,
    ...part,
    types: namesOf("A", "B"),
    events: namesOf("Opened", "Closed", "Never"),
    query: Schema.UndefinedOr(Query)
  },
  command: { tenant: Tenant, key: Schema.Literals(["k1", "k2", "k3"]) },
  startChain: { tenant: Tenant },
  /** From the time of one event to before that of another. */
  readTimes: { tenant: Tenant, ...part },
  heads: { tenant: Tenant, ...streamKey },
  provision: { tenant: Tenant },
  setStatus: { tenant: Tenant, status: often("active", "suspended") },
  listTenants: { after: Schema.UndefinedOr(Tenant), limit: Limit },
  readAllLogs: { after: Schema.UndefinedOr(Tenant), position: From, limit: Limit },
  usage: { after: Schema.UndefinedOr(Tenant), limit: Limit },
  listAccesses: { skip: Schema.Literals([0, 1, 2]), limit: Limit }
})

/** A repetition of an earlier append. */
const Again = Schema.TaggedStruct("again", { back: Schema.Literals([1, 2, 3]) })

/** A command to a driver. */
export type Command = typeof Command.Type
type Again = typeof Again.Type
type Appends = Extract<Command, { readonly _tag: "append" }>
type TenantName = typeof Tenant.Type

const fulfilled = { query: [], after: 0, afterId: undefined } as const

/**
 * An append contains an event once: others of the same name are left out. With a command it has one stream, and perhaps
 * no event.
 */
const withoutRepetition = ({ requests, ...rest }: Appends): Appends => ({
  ...rest,
  // concurrent appends with conditions and without have no order
  requests: requests.map(({ command, conditions, streams, ...others }) => {
    const seen = new Set<string>()
    const isNew = (key: string) => !seen.has(key) && seen.add(key).size > 0
    return {
      ...others,
      command,
      conditions: requests[0]?.conditions === undefined ? undefined : (conditions ?? [fulfilled]),
      streams: (command === undefined ? streams : streams.slice(0, 1))
        .map(({ events, expected, expectedId, id, type }) => {
          const newOnes = events.filter(({ event }) => isNew(event))
          return { type, id, expected, expectedId, events: command?.without === true ? [] : newOnes }
        })
        .filter(({ events }) => events.length > 0 || command !== undefined)
    }
  })
})

const { append, ...others } = Command.cases
const appends: Arbitrary.Arbitrary<Command> = Arbitrary.map(Arbitrary.schema(append), withoutRepetition)
const rest: Arbitrary.Arbitrary<Command> = Arbitrary.schema(Schema.Union(Object.values(others)))
const again = Arbitrary.schema(Again)

/** Some commands, most of them appends, some of which are repeated. */
const commands: Arbitrary.Arbitrary<ReadonlyArray<Command>> = Arbitrary.schema(
  Schema.Literals(["append", "append", "append", "other", "other", "again"])
).pipe(
  Arbitrary.flatMap((kind): Arbitrary.Arbitrary<Command | Again> =>
    kind === "append" ? appends : kind === "other" ? rest : again
  ),
  (item) => Arbitrary.array(item, { maxLength: 30 }),
  Arbitrary.map((items) => {
    const made: Array<Command> = []
    for (const item of items) {
      const earlier = made.filter(({ _tag }) => _tag === "append")
      const command = item._tag === "again" ? earlier.at(-item.back) : item
      if (command !== undefined) made.push(command)
    }
    return made
  })
)

/** A command as a line of text. */
const describeCommand = (command: Command): string => {
  const { _tag, ...fields } = command
  if (command._tag !== "append") return `${_tag} ${JSON.stringify(fields)}`
  const text = command.requests.map(({ streams, tenant, ...asked }) => {
    const parts = streams.map(({ events, expected, id, type }) => {
      const list = events.map(
        (one) => `${one.event} ${one.type} ${one.payload} ${one.metadata} ${one.tags.join("+")}`
      )
      return `${type}/${id} if ${expected}: ${list.join(", ")}`
    })
    return `${tenant} [${parts.join("; ")}] ${JSON.stringify(asked)}`
  })
  return `append ${text.join(" | ")}`
}

/** The commands for one tenant, with other tenants removed from batches, and their answers. */
export const ofTenant = (
  name: TenantName,
  all: ReadonlyArray<Command>,
  answersToAll: ReadonlyArray<ReadonlyArray<string>> = []
): { readonly commands: ReadonlyArray<Command>; readonly answers: ReadonlyArray<ReadonlyArray<string>> } => {
  const own: Array<Command> = []
  const answers: Array<ReadonlyArray<string>> = []
  for (const [index, command] of all.entries()) {
    const answer = answersToAll[index] ?? []
    if (command._tag === "append") {
      const isOwn = command.requests.map(({ tenant }) => tenant === name)
      if (!isOwn.includes(true)) continue
      own.push({ ...command, requests: command.requests.filter((_, at) => isOwn[at]) })
      answers.push(answer.filter((_, at) => isOwn[at]))
    } else if ("tenant" in command && command.tenant === name) {
      own.push(command)
      answers.push(answer)
    }
  }
  return { commands: own, answers }
}

/** Two tenants that no other run uses. Tenants of later runs have greater ids. */
export interface Run {
  readonly ids: { readonly [name in TenantName | "before"]: TenantId }
}

let runs = 0

export const newRun = (): Run => {
  const prefix = (++runs).toString(16).padStart(8, "0")
  const nth = (digit: number) => TenantId.make(`${prefix}-0000-4000-8000-00000000000${digit}`)
  return { ids: { before: nth(0), T1: nth(1), T2: nth(2) } }
}

const eventIdOf = (name: string): string => `00000000-0000-4000-8000-000000000${name}`

const streamOf = (stream: typeof Stream.Type): StreamAppend => ({
  aggregateType: stream.type,
  aggregateId: stream.id,
  expectedVersion: stream.expected,
  expectedEventId:
    typeof stream.expected === "number" && stream.expectedId !== undefined
      ? eventIdOf(stream.expectedId)
      : undefined,
  events: stream.events.map(({ event, metadata, payload, tags, type }) =>
    newEvent({
      eventId: eventIdOf(event),
      eventType: type,
      payload,
      metadata,
      tags: [...new Set(tags)].toSorted()
    })
  )
})

/** Fields that differ in every run. */
const arbitrary = new Set(["recordedAt", "createdAt", "accessedAt", "accessId", "day"])

/** As text with sorted fields, because drivers need not keep their order. */
const textOf = (answer: unknown): string =>
  answer === undefined
    ? "none"
    : JSON.stringify(answer, (name, value: unknown) => {
        // a hash covers the time
        if (name === "hash" && typeof value === "string") return `${value.length} digits`
        return typeof value === "object" && value !== null && !Array.isArray(value)
          ? Object.fromEntries(
              Object.entries(value)
                .filter(([key]) => !arbitrary.has(key))
                .toSorted(([left], [right]) => (left < right ? -1 : 1))
            )
          : value
      })

/** The answers of a driver, as text without times and with names instead of ids. */
export const answers = Effect.fnUntraced(function* (
  all: ReadonlyArray<Command>,
  { ids }: Run
): Effect.fn.Return<ReadonlyArray<ReadonlyArray<string>>, never, EventStorage> {
  const storage = yield* EventStorage
  const accesses: Array<string> = []
  const recordAccess = (operation: string) =>
    Effect.tap(storage.recordAccess({ actor: "test", reason: "property", operation }), (accessId) =>
      Effect.sync(() => accesses.push(accessId))
    )

  const run = Effect.fnUntraced(function* (command: Command) {
    switch (command._tag) {
      case "append": {
        const requests = command.requests.map(({ command: key, conditions, streams, tenant }) => ({
          tenantId: ids[tenant],
          streams: streams.map(streamOf),
          conditions: conditions?.map(({ after, afterId, query }) => ({
            query,
            after,
            afterEventId: afterId === undefined ? undefined : eventIdOf(afterId)
          })),
          command: key && {
            key: key.key,
            fingerprint: key.fingerprint.repeat(64),
            expiresInMillis: key.expired ? 0 : 3_600_000
          }
        }))
        const outcomes = yield* Effect.forEach(requests, (sent) => Effect.result(storage.append(sent)), {
          concurrency: "unbounded"
        })
        return outcomes.map((outcome) => [
          plain(outcome),
          Result.isSuccess(outcome) ? outcome.success.command : undefined
        ])
      }
      case "readStream": {
        const { direction, from, id, limit, tenant, to, type } = command
        const range = { aggregateType: type, fromVersion: from, toVersion: to, limit }
        const page = yield* readStream(ids[tenant], id, { ...range, direction })
        // Drivers need not know if a page to be folded is complete.
        const { complete: _, rows, ...loaded } = yield* loadStream(ids[tenant], id, range)
        const last = page.rows.at(direction === "forwards" ? -1 : 0)
        const isLast =
          last && (yield* endsWith(ids[tenant], id, last.version, last.eventId, { aggregateType: type }))
        return [page, { ...loaded, rows: contentsOf(rows) }, isLast]
      }
      case "readLog": {
        const { direction, events, from, limit, query, tenant, to, types } = command
        const filter = { aggregateTypes: types, eventTypes: events, query }
        const range = { fromPosition: from, toPosition: to, direction, limit }
        return [yield* readLog(ids[tenant], { ...filter, ...range })]
      }
      case "readTimes": {
        // Times differ in every run, but must select the same events.
        const { direction, from, limit, tenant, to } = command
        const { rows } = yield* readLog(ids[tenant])
        const [recordedFrom, recordedBefore] = [rows[from - 1]?.recordedAt, rows[to - 1]?.recordedAt]
        const within = rows.filter(
          ({ recordedAt: time }) => time >= (recordedFrom ?? 0) && time < (recordedBefore ?? Infinity)
        )
        if (direction === "backwards") within.reverse()
        const selected = { rows: within.slice(0, limit), complete: within.length <= limit }
        const found = yield* readLog(ids[tenant], { recordedFrom, recordedBefore, direction, limit })
        return [isDeepStrictEqual(found, selected) ? "as by time" : { found, selected }]
      }
      case "heads": {
        const tenantId = ids[command.tenant]
        const key = { tenantId, aggregateType: command.type, aggregateId: command.id }
        const status = (yield* storage.tenantStatus(tenantId)) ?? "unknown"
        const version = yield* storage.streamVersion(key)
        return [[version, yield* storage.head({ tenantId, at: version }), status]]
      }
      case "command":
        return [yield* storage.commandOutcome({ tenantId: ids[command.tenant], key: command.key })]
      case "startChain":
        return [
          yield* storage.startHashChain(ids[command.tenant]),
          yield* storage.hashChainStart(ids[command.tenant])
        ]
      case "provision":
        return [yield* storage.provisionTenant(ids[command.tenant])]
      case "setStatus": {
        const accessId = yield* recordAccess("set")
        const status = command.status === "active" ? "active" : "suspended"
        return [yield* storage.setTenantStatus({ accessId, tenantId: ids[command.tenant], status })]
      }
      case "listTenants": {
        const accessId = yield* recordAccess("list")
        const after = ids[command.after ?? "before"]
        const found = yield* storage.listTenants({ accessId, after, limit: command.limit })
        return [found]
      }
      case "readAllLogs": {
        const accessId = yield* recordAccess("read")
        const after = { tenantId: ids[command.after ?? "before"], position: command.position }
        const found = yield* storage.readAllLogs({ accessId, after, limit: command.limit })
        return [found]
      }
      case "usage": {
        const accessId = yield* recordAccess("usage")
        const after = { tenantId: ids[command.after ?? "before"], day: 0 }
        const time = { recordedFrom: 0, recordedBefore: 253_402_300_800_000 }
        const found = yield* storage.usage({ accessId, ...time, after, limit: command.limit })
        return [found]
      }
      case "listAccesses": {
        const accessId = yield* recordAccess(`accesses ${command.skip}`)
        const before = command.skip === 0 ? undefined : (accesses.at(-command.skip) ?? accessId)
        const found = yield* storage.listAccesses({ accessId, before, limit: command.limit })
        return [found]
      }
    }
  })

  const named = (answer: unknown) =>
    textOf(answer)
      .replaceAll(ids.T1, "T1")
      .replaceAll(ids.T2, "T2")
      .replaceAll(/00000000-0000-4000-8000-000000000(e\d\d)/g, "$1")
  return yield* Effect.forEach(all, (command) =>
    Effect.match(run(command), {
      onFailure: (error) => [named({ ...error })],
      onSuccess: (answer: ReadonlyArray<unknown>) => answer.map(named)
    })
  )
})

/** Answers, and the driver or the time that they come from. */
export type Answers = readonly [name: string, answers: ReadonlyArray<ReadonlyArray<string>>]

/** The first difference between answers to the same commands, in words. */
export const difference = ([oneName, one]: Answers, [otherName, other]: Answers): string | undefined => {
  for (const [step, answer] of one.entries()) {
    const otherAnswer = other[step] ?? []
    if (answer.join() === otherAnswer.join()) continue
    const [left, right] = [answer, otherAnswer].map((lines) => lines.join("\n  "))
    return `Command ${step + 1} is answered ${oneName}:\n  ${left}\n${otherName}:\n  ${right}`
  }
  return undefined
}

/** Settings of a property: the number of runs, and the token of a failure to repeat. */
export const checkOptions = (runsByDefault: number): Arbitrary.CheckOptions => ({
  runs: Number(process.env["EVENTSOURCING_PROPERTY_RUNS"] ?? runsByDefault),
  replay: process.env["EVENTSOURCING_PROPERTY_REPLAY"],
  size: 40
})

/** Fails with the smallest commands that falsify the property, which returns their problem if there is one. */
export const forAllCommands = <R>(
  property: (all: ReadonlyArray<Command>) => Effect.Effect<string | undefined, never, R>,
  options: Arbitrary.CheckOptions
): Effect.Effect<void, never, R> =>
  Arbitrary.checkEffect(
    commands,
    (all) =>
      Effect.flatMap(property(all), (problem) =>
        problem === undefined ? Effect.succeed(true) : Effect.fail(problem)
      ),
    options
  ).pipe(
    Effect.flatMap((result) => {
      if (result._tag === "Passed") return Effect.void
      if (result._tag !== "Falsified") return Effect.die(new Error(Arbitrary.formatCheckFailure(result)))
      const problem = result.failure._tag === "PropertyError" ? result.failure.error : "returned false"
      const script = result.shrunkInput.map((command, index) => `  ${index + 1}. ${describeCommand(command)}`)
      return Effect.die(
        new Error(
          `after ${result.runs} runs and ${result.shrinks} shrinks:\n${script.join("\n")}\n${problem}\n` +
            `Again: EVENTSOURCING_PROPERTY_REPLAY='${result.replay}'`
        )
      )
    })
  )

/**
 * A process that remembers a customer in every way there is, and works on it until it is told to end: `test/forgetting` starts it on
 * the database and the file of keys of another process, in which the customer is forgotten. It ends with the process that started it.
 */
import { PgClient } from "@effect/sql-pg"
import {
  Config,
  Effect,
  Fiber,
  Latch,
  Layer,
  Redacted,
  References,
  Result,
  Schema,
  type Scope,
  Stream
} from "effect"
import { fork } from "node:child_process"
import { once } from "node:events"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as DecisionModel from "../../src/domain/DecisionModel.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as Personal from "../../src/domain/Personal.ts"
import * as SnapshotPolicy from "../../src/domain/SnapshotPolicy.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as Forgetting from "../../src/forgetting/Forgetting.ts"
import * as KeyVault from "../../src/forgetting/KeyVault.ts"
import * as PersonalData from "../../src/forgetting/PersonalData.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as InMemoryProjection from "../../src/projection/InMemoryProjection.ts"
import * as Subscription from "../../src/projection/Subscription.ts"
import * as Decisions from "../../src/store/Decisions.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import type { Config as Connection } from "./Databases.ts"
import { layerFiles } from "./nodeFiles.ts"
import { bundled } from "./programs.ts"

const Registered = Schema.TaggedStruct("Registered", {
  name: Personal.make(Schema.String, Personal.aggregateId)
})
/** A decision on the name: it states if the name was known. */
const Greeted = Schema.TaggedStruct("Greeted", { as: Schema.Literals(["known", "forgotten"]) })

const State = Schema.Struct({ name: Schema.String, greeted: Schema.Int })
const initial: typeof State.Type = { name: "", greeted: 0 }

const shown = (name: string | Personal.Forgotten): string => Personal.getOrElse(name, () => "forgotten")

const Customer = Aggregate.make(
  "Customer",
  { id: Schema.String, state: State, initial, events: [Registered, Greeted] },
  {
    Registered: (state, { name }) => ({ ...state, name: shown(name) }),
    Greeted: (state) => ({ ...state, greeted: state.greeted + 1 })
  }
)

/** Data of the person in streams that no decision is about. */
const Written = Schema.TaggedStruct("Written", {
  person: Schema.String,
  text: Personal.make(Schema.String, "person")
})
const Letter = Aggregate.make(
  "Letter",
  { id: Schema.String, state: Schema.Null, initial: null, events: [Written] },
  () => null
)

const names = DecisionModel.make({ query: EventQuery.of(Customer), initial: "" }, (state: string, event) =>
  event._tag === "Registered" ? shown(event.name) : state
)

const Names = InMemoryProjection.make(
  "names",
  { aggregates: [Customer], initial: () => "", forgotten: () => "forgotten" },
  { Registered: (_state, { name }) => shown(name) }
)

/** Settings of a process. */
export interface Settings {
  readonly host: string
  readonly port: number
  readonly username: string
  readonly password: string
  readonly database: string
  /** A tenant for each of the {@link ways}, and one for all of them. */
  readonly tenantIds: ReadonlyArray<string>
  /** The file of the keys. It is created if it is missing. */
  readonly keys: string
}

/** The settings of a connection that are sent to another process. */
export const settingsOf = (
  { database, host, password, port, username }: Connection,
  tenantIds: ReadonlyArray<string>,
  keys: string
): Settings => ({
  host: host ?? "",
  port: port ?? 0,
  username: username ?? "",
  password: Redacted.isRedacted(password) ? Redacted.value(password) : "",
  database: database ?? "",
  tenantIds,
  keys
})

/** Everything that a program on these settings has. */
export const services = ({ database, host, keys, password, port, username }: Settings) =>
  Layer.mergeAll(
    Repository.layerWith({ snapshots: { policy: SnapshotPolicy.every(1), taken: "atOnce" } }),
    Decisions.layer,
    Names.layer
  ).pipe(
    Layer.provideMerge(EventStore.layer),
    Layer.provideMerge(Forgetting.layer),
    Layer.provideMerge(PgStorage.layer),
    Layer.provideMerge(
      PgClient.layer({
        host,
        port,
        username,
        password: Redacted.make(password),
        database,
        maxConnections: 12
      })
    ),
    Layer.provide(
      KeyVault.layerFile({
        path: keys,
        key: Config.succeed(Redacted.make("5e".repeat(32))),
        createIfMissing: true
      })
    ),
    Layer.provide(layerFiles())
  )

/** The id of the customer and of the person. */
export const subject = "ada"
const plain = "Ada Lovelace"

const greeting = (name: string) => [Greeted.make({ as: name === plain ? "known" : "forgotten" })]

const collected = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
  Effect.map(Stream.runCollect(stream), (all) => JSON.stringify(all))

/** An error that is expected of some way to look. */
interface Failure {
  readonly _tag: string
  readonly message: string
}

/** All ways to see the name, or something that was decided on it. A text contains the name or `"known"` then. */
const looks: Readonly<
  Record<
    string,
    Effect.Effect<string, Failure, Layer.Success<ReturnType<typeof services>> | Tenant.CurrentTenant>
  >
> = {
  load: Repository.Repository.use((repository) => repository.load(Customer, subject)).pipe(
    Effect.map(({ state }) => state.name)
  ),
  "command without events": Repository.Repository.use((repository) =>
    repository.execute(Customer, subject, () => [])
  ).pipe(Effect.map(({ state }) => state.name)),
  "command with events": Repository.Repository.use((repository) =>
    repository.execute(Customer, subject, ({ name }) => greeting(name))
  ).pipe(
    Effect.map(({ events, state }) => JSON.stringify([state.name, events.map(({ payload }) => payload)]))
  ),
  decision: Decisions.Decisions.use((decisions) =>
    decisions.execute(names, (name) => Decisions.to(Customer, subject, ...greeting(name)))
  ).pipe(Effect.map(({ state }) => state)),
  "decision model": Decisions.Decisions.use((decisions) => decisions.read(names)).pipe(
    Effect.map(({ state }) => state)
  ),
  "projection in memory": Effect.map(Names.get, ({ state }) => state),
  "fresh load": Repository.Repository.use((repository) =>
    repository.load(Customer, subject, { fresh: true })
  ).pipe(Effect.map(({ state }) => state.name)),
  stream: EventStore.EventStore.use((store) =>
    collected(Stream.take(store.readStream({ aggregate: Customer, id: subject }), 1))
  ),
  log: EventStore.EventStore.use((store) =>
    collected(Stream.take(store.readLogJson({ aggregateTypes: [Customer.type] }), 1))
  ),
  subscription: collected(Stream.take(Subscription.log({ aggregates: [Customer] }), 1)),
  "personal data": collected(PersonalData.read({ aggregates: [Customer, Letter], subject }))
}

const register = EventStore.EventStore.use((store) =>
  store.append({
    aggregate: Customer,
    id: subject,
    expectedVersion: "noStream",
    events: [Registered.make({ name: plain })]
  })
)

const write = EventStore.EventStore.use((store) =>
  store.append({
    aggregate: Letter,
    id: "1",
    expectedVersion: "any",
    events: [Written.make({ person: subject, text: plain })]
  })
)

/** The data of a subscription's event. */
const textOf = ({ payload }: { readonly payload: typeof Written.Type }): string => shown(payload.text)

/** Every way to use the data: those to see it, an append of more, and a subscription that is open all the time. */
export const ways: ReadonlyArray<string> = [...Object.keys(looks), "append", "open subscription"]

/** The uses that began after the process was told that the person is forgotten. */
export interface Outcome {
  /** The answer to the first use of a tenant since then, which no other one has prepared, by its way. */
  readonly first: Readonly<Record<string, string>>
  /** Ways in which the data was used in the tenant where all of them are used all the time. */
  readonly leaked: ReadonlyArray<string>
  /** Failures that are not expected. */
  readonly failures: ReadonlyArray<string>
}

type Message = "warm" | "told" | Outcome

/** Uses of each way before the process is warm, and after it was told. */
const rounds = 3

const answerOf = <R>(look: Effect.Effect<string, Failure, R>): Effect.Effect<string, never, R> =>
  Effect.match(look, { onFailure: ({ message }) => message, onSuccess: (text) => text })

/** Warms a tenant, in which the way is used first after the process was told. */
const alone = Effect.fnUntraced(function* (way: string) {
  yield* register
  for (let n = 0; n < 3; n++) yield* write
  if (way === "append") return answerOf(Effect.as(write, "Ada has a letter"))
  const look = looks[way]
  if (look !== undefined) {
    yield* look
    return answerOf(look)
  }
  const pull = yield* Stream.toPull(Subscription.log({ aggregates: [Letter], pageSize: 1 }))
  yield* pull
  const next = Effect.orDie(Effect.map(pull, (events) => events.map(textOf).join()))
  // The first one may have been read before.
  return Effect.andThen(next, next)
})

/** Uses all ways all the time, until each was used several times before and after the process was told. */
const busy = (isTold: () => boolean, onWarm: () => void) =>
  Effect.gen(function* () {
    yield* register
    const before = new Map([...Object.keys(looks), "append"].map((way) => [way, 0]))
    const after = new Map(before)
    const leaked = new Set<string>()
    const failures: Array<string> = []
    let isWarm = false
    const isEnough = (counts: ReadonlyMap<string, number>): boolean =>
      [...counts.values()].every((count) => count >= rounds)
    yield* Effect.forEach(
      Object.entries({ ...looks, append: Effect.as(write, plain) }),
      ([way, look]) =>
        Effect.gen(function* () {
          while (failures.length === 0 && !isEnough(after)) {
            const began = isTold()
            const seen = yield* Effect.result(look)
            const shows = Result.match(seen, {
              onFailure: ({ _tag, message }) => {
                // Conflict: others were faster too often.
                if (_tag !== "Conflict" && !message.includes("was forgotten"))
                  failures.push(`${way}: ${message}`)
                return false
              },
              onSuccess: (text) => text.includes(plain) || text.includes('"known"')
            })
            if (began && shows) leaked.add(way)
            const counts = began ? after : before
            if (began || shows) counts.set(way, (counts.get(way) ?? 0) + 1)
            if (!isWarm && isEnough(before)) {
              isWarm = true
              onWarm()
            }
            yield* Effect.sleep("2 millis")
          }
        }),
      { concurrency: "unbounded", discard: true }
    )
    return { leaked: [...leaked], failures }
  })

const serve = (settings: Settings, told: Effect.Effect<void>, say: (message: Message) => void) =>
  Effect.gen(function* () {
    const tenantIds = settings.tenantIds.map((id) => Tenant.TenantId.make(id))
    const uses = yield* Effect.forEach(
      ways,
      (way, index) => {
        const inTenant = Tenant.provide(tenantIds[index] ?? Tenant.untenanted)
        return Effect.map(inTenant(alone(way)), (use) => inTenant(use))
      },
      { concurrency: "unbounded" }
    )
    let isTold = false
    const all = yield* Effect.forkChild(
      busy(
        () => isTold,
        () => say("warm")
      ).pipe(Tenant.provide(tenantIds.at(-1) ?? Tenant.untenanted))
    )
    yield* told
    isTold = true
    const answers = yield* Effect.forEach(uses, (use) => use)
    const first = Object.fromEntries(ways.map((way, index) => [way, answers[index] ?? ""]))
    say({ first, ...(yield* Fiber.join(all)) })
  }).pipe(Effect.scoped, Effect.provide(services(settings)))

/** The environment variable with the settings. */
const settingsName = "EVENTSOURCING_FORGETTING_PROCESS"

/** A process that works on the customer. */
export interface Process {
  /** Completes when it has used the person's data in every way. */
  readonly warm: Effect.Effect<void>
  /** Tells it that the person is forgotten. Returns the outcome of what it begins from then on. */
  readonly tell: Effect.Effect<Outcome>
}

/** Starts a process, which is killed with the scope. */
export const startProcess = (settings: Settings): Effect.Effect<Process, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const file = await bundled("test/support/forgettingProcess.ts")
        const child = fork(file, [], {
          env: { ...process.env, [settingsName]: JSON.stringify(settings) },
          stdio: ["ignore", "inherit", "inherit", "ipc"]
        })
        const next = (): Promise<Message> =>
          Promise.race([
            once(child, "message").then(([message]) => message as Message),
            once(child, "exit").then(() => Promise.reject(new Error("the process has ended")))
          ])
        return { child, next, warm: next() }
      }),
      ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    ({ child, next, warm }) => ({
      warm: Effect.asVoid(Effect.promise(() => warm)),
      tell: Effect.promise(async () => {
        const answer = next()
        child.send("told")
        const outcome = await answer
        if (typeof outcome !== "object") throw new Error(`the process said ${outcome}`)
        return outcome
      })
    })
  )

const given = process.env[settingsName]
// Only in processes that are started for this program.
if (given !== undefined) {
  const told = Latch.makeUnsafe(false)
  process.on("message", () => told.openUnsafe())
  await Effect.runPromise(
    serve(JSON.parse(given) as Settings, told.await, (message) => void process.send?.(message)).pipe(
      Effect.provideService(References.MinimumLogLevel, "None")
    )
  )
  process.disconnect()
}

/**
 * A program that appends, loads, reads and projects until its standard input ends. It reports its work
 * in lines of JSON: `ready`, `refused` with the reason, `acknowledged` events, `retried` and `failed`
 * operations, and `done`.
 *
 * It imports the package by name alone: `test/pg/rolling.long.test.ts` runs it on the build of a release, with the copy that
 * `scripts/keep-release.ts` put beside that build, and on the sources.
 */
import { PgClient } from "@effect/sql-pg"
import { Cause, Effect, Exit, Layer, Redacted, References, Schema, Stream } from "effect"
import {
  Aggregate,
  Event,
  EventQuery,
  EventSourcing,
  EventStore,
  Projection,
  ProjectionRunner,
  Repository,
  Tenant
} from "effect-eventsourcing"
import { PgStorage } from "effect-eventsourcing/pg"
import { SqlClient } from "effect/sql"

const Settings = Schema.Struct({
  database: Schema.String,
  host: Schema.String,
  port: Schema.Int,
  username: Schema.String,
  password: Schema.String,
  name: Schema.String,
  tenants: Schema.Array(Schema.String)
})
const settings = Schema.decodeUnknownSync(Schema.fromJsonString(Settings))(
  process.env["EVENTSOURCING_ROLLING"]
)

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

const Deposited = Schema.TaggedStruct("Deposited", { amount: Schema.Int })
const Account = Aggregate.make(
  "Account",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Deposited] },
  { Deposited: (balance, { amount }) => balance + amount }
)

const sums = Projection.make(
  "rolling sums",
  { aggregates: [Account], tables: ["rolling_sums"], batchSize: 20 },
  {
    Deposited: ({ amount }, { tenantId }) =>
      SqlClient.SqlClient.use(
        (sql) => sql`
          insert into rolling_sums (tenant_id, events, total) values (${tenantId}::uuid, 1, ${amount})
          on conflict (tenant_id) do update
          set events = rolling_sums.events + 1, total = rolling_sums.total + excluded.total`
      )
  }
)

let stopping = false
process.stdin.on("end", () => (stopping = true)).resume()

/** Repeats and reports transient failures; any other failure ends the program. */
const insist = <A, E extends { readonly _tag: string; readonly message: string }, R>(
  operation: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.catchIf(
    effect,
    (error) =>
      error._tag === "OutcomeUnknown" ||
      (error._tag === "StorageUnavailable" && "retryable" in error && error.retryable === true),
    (error) => {
      say({ retried: `${operation}: ${error.message}` })
      return Effect.andThen(
        Effect.sleep("20 millis"),
        Effect.suspend(() => insist(operation, effect))
      )
    }
  )

const deposit = (amount: number, tags: ReadonlyArray<string> = []) =>
  Event.make(Deposited.make({ amount }), { eventId: Event.generateId(), tags })

/** One writer with its own streams, so that the result of a load is known. */
const writer = (number: number) =>
  Effect.gen(function* () {
    const store = yield* EventStore.EventStore
    const repository = yield* Repository.Repository
    const id = `${settings.name} ${number}`
    let balance = 0
    let after = 0
    for (let n = 1; !stopping; n++) {
      const amount = n % 7
      const stream = { aggregate: Account, id, expectedVersion: "any" } as const
      let events: ReadonlyArray<Event.Envelope<typeof Deposited.Type>> = []
      if (n % 4 === 0) {
        const execute = repository.execute(Account, id, () => [Deposited.make({ amount })], {
          command: { key: `${id} ${n}` }
        })
        ;({ events } = yield* insist("execute", execute))
        const again = yield* insist("execute", execute)
        if (again.events[0]?.eventId !== events[0]?.eventId)
          say({ failed: "a command was carried out twice" })
      } else if (n % 4 === 1) {
        ;({ events } = yield* insist("append", store.append({ ...stream, events: [deposit(amount)] })))
      } else if (n % 4 === 2) {
        const query = EventQuery.of(Account, { tags: [id] })
        const tagged = [1, 2, 3].map(() => deposit(amount, [id]))
        const append = store.append({ ...stream, events: tagged, condition: { query, after } })
        const outcome = yield* insist("append", append)
        events = outcome.events
        after = outcome.position
      } else {
        const { state } = yield* insist("load", repository.load(Account, id))
        if (state !== balance) say({ failed: `${id} has ${state} instead of ${balance}` })
        const log = yield* insist(
          "read",
          Stream.runCollect(store.readLog({ aggregates: [Account], limit: 20 }))
        )
        if (log.some(({ position }, index) => position !== index + 1)) say({ failed: "the log has a gap" })
      }
      for (const { payload } of events) balance += payload.amount
      say({
        acknowledged: events.map(({ eventId, position, tenantId, version, payload }) => ({
          tenantId,
          aggregateId: id,
          eventId,
          position,
          version,
          amount: payload.amount
        }))
      })
      yield* Effect.sleep("2 millis")
    }
  })

const program = Effect.gen(function* () {
  const services = yield* Effect.exit(
    Layer.build(
      Layer.provideMerge(
        Layer.merge(EventSourcing.layer, ProjectionRunner.layer({ projections: [sums], pollInterval: 200 })),
        PgStorage.layer
      )
    )
  )
  if (Exit.isFailure(services)) return say({ refused: Cause.pretty(services.cause) })
  say({ ready: true })
  const working = settings.tenants.flatMap((tenant, index) =>
    [1, 2].map((number) => writer(index * 2 + number).pipe(Tenant.provide(Tenant.TenantId.make(tenant))))
  )
  // Without its own tenants it fills the read model for other programs.
  const told = Effect.gen(function* () {
    while (!stopping) yield* Effect.sleep("20 millis")
  })
  yield* Effect.all([told, ...working], { concurrency: "unbounded" }).pipe(
    Effect.provideContext(services.value)
  )
  say({ done: true })
})

const { database, host, password, port, username } = settings
const client = PgClient.layer({
  database,
  host,
  port,
  username,
  password: Redacted.make(password),
  maxConnections: 6
})
const exit = await Effect.runPromiseExit(
  program.pipe(
    Effect.scoped,
    Effect.provide(client),
    Effect.provideService(References.MinimumLogLevel, "None")
  )
)
if (Exit.isFailure(exit)) say({ failed: Cause.pretty(exit.cause) })
// Not all pools end by themselves.
process.exit()

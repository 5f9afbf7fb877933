/** Commands of this store, through `Repository` and `Decisions` as a program has them. Every answer is checked. */
import { Effect, Layer, ManagedRuntime, Schema } from "effect"
import { randomUUID } from "node:crypto"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as DecisionModel from "../../src/domain/DecisionModel.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as Decisions from "../../src/store/Decisions.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import { Cart, itemAdded } from "./domain.ts"
import type { Contender } from "./measure.ts"
import { fibers, newTenants } from "./ours.ts"
import { client, type Database, query } from "./server.ts"

type Services = EventStore.EventStore | Repository.Repository | Decisions.Decisions

/** The store on a connection to a database, started. */
export const startRepository = (
  connection: Database["app"],
  options: Repository.Options = {},
  observed: Layer.Layer<never> = Layer.empty
): ManagedRuntime.ManagedRuntime<Services, unknown> =>
  ManagedRuntime.make(
    Layer.mergeAll(Repository.layerWith(options), Decisions.layer).pipe(
      Layer.provideMerge(EventStore.layer),
      Layer.provide(PgStorage.layer),
      Layer.provide(client(connection)),
      Layer.provideMerge(observed)
    )
  )

/** A cart that some fibers want. Without a number of events at which they leave it, they stay. */
interface Place {
  readonly tenantId: Tenant.TenantId
  id: string
}

/** Puts an item into a cart. Returns the number of appended events: 0 if others were always faster. */
export const addItem = (id: string, { keyed = false } = {}) =>
  Repository.Repository.use((repository) =>
    repository.execute(Cart, id, ({ items }) => [itemAdded(items)], {
      command: keyed ? { key: randomUUID() } : undefined
    })
  ).pipe(
    Effect.map(({ events, state, version }) => {
      if (state.items !== version || events.length !== 1 || events[0]?.version !== version)
        throw new Error(`an answer of ${state.items} items and ${events.length} events at version ${version}`)
      return { appended: 1, version }
    }),
    // Some give up on the carts that many want. They do not count.
    Effect.catchTag("Conflict", () => Effect.succeed({ appended: 0, version: 0 }))
  )

/** Looks at a cart of ten events, and decides nothing. */
const decideNothing = (id: string) =>
  Repository.Repository.use((repository) => repository.execute(Cart, id, () => [])).pipe(
    Effect.map(({ state, version }) => {
      if (state.items !== 10 || version !== 10) throw new Error(`${state.items} items at version ${version}`)
      return { appended: 0, version: 0 }
    })
  )

/** The settings of a benchmark of commands. */
export interface CommandOptions {
  readonly name: string
  readonly carts: number
  readonly tenants?: number
  readonly keyed?: boolean
  readonly decidesNothing?: boolean
  readonly repository?: Repository.Options
  /** Tracers and measurements of the program. Default: none. */
  readonly observed?: Layer.Layer<never>
}

const concurrency = 32
const longest = 50

const countOf = async (database: Database, tenantIds: ReadonlyArray<string>): Promise<number> => {
  const [row] = await query<{ n: number }>(
    database.owner,
    `select count(*)::integer as n from eventsourcing.events where tenant_id = any ('{${tenantIds.join()}}')`
  )
  return row?.n ?? 0
}

/** Fails unless the log has the events that were answered. */
const checkReceipts = async (
  name: string,
  database: Database,
  tenantIds: ReadonlyArray<string>,
  answered: number
): Promise<void> => {
  const stored = await countOf(database, tenantIds)
  if (stored !== answered) throw new Error(`${name}: ${stored} events are stored, ${answered} were answered`)
}

/** Commands on carts that are used by one fiber each, or by all. */
export const commands = (database: Database, options: CommandOptions): Contender => {
  const { carts, decidesNothing = false, keyed = false, name, tenants = 1 } = options
  const runtime = startRepository(database.app, options.repository, options.observed)
  const tenantIds = newTenants(tenants)
  const places = Array.from({ length: carts }, (_, cart): Place => ({
    id: randomUUID(),
    tenantId: tenantIds[cart % tenants] ?? Tenant.untenanted
  }))
  /** The next of a fiber's carts, if it has several. */
  const turns = Array.from({ length: concurrency }, () => 0)
  let answered = 0
  let done = 0
  const command = (fiber: number) =>
    Effect.suspend(() => {
      const turn = turns[fiber] ?? 0
      turns[fiber] = turn + 1
      const place = places[(fiber + turn * concurrency) % carts]
      if (place === undefined) return Effect.void
      const { id } = place
      return (decidesNothing ? decideNothing(id) : addItem(id, { keyed })).pipe(
        Effect.tap(({ appended, version }) =>
          Effect.sync(() => {
            answered += appended
            done += decidesNothing ? 1 : appended
            if (version >= longest && place.id === id) place.id = randomUUID()
          })
        ),
        Effect.asVoid,
        Tenant.provide(place.tenantId)
      )
    })
  const fill = EventStore.EventStore.use((store) =>
    Effect.forEach(
      places,
      ({ id, tenantId }) =>
        store
          .append({
            aggregate: Cart,
            id,
            expectedVersion: 0,
            events: Array.from({ length: decidesNothing ? 10 : 1 }, (_, n) => itemAdded(n))
          })
          .pipe(
            Effect.map(({ events }) => (answered += events.length)),
            Tenant.provide(tenantId)
          ),
      { concurrency, discard: true }
    )
  )
  // A tenant's first append registers it, and happens once: the rate is that of tenants the store knows.
  let begun: Promise<void> | undefined
  return {
    name,
    run: async (seconds) => {
      await (begun ??= runtime.runPromise(fill))
      const [before, began] = [done, performance.now()]
      await runtime.runPromise(fibers(concurrency, seconds, command))
      return ((done - before) * 1000) / (performance.now() - began)
    },
    close: async () => {
      await runtime.dispose()
      await checkReceipts(name, database, tenantIds, answered)
    }
  }
}

const Offered = Schema.TaggedStruct("Offered", { seats: Schema.Int })
const Enrolled = Schema.TaggedStruct("Enrolled", { student: Schema.String })

const Course = Aggregate.make(
  "Course",
  {
    id: Schema.String,
    state: Schema.Null,
    initial: null,
    events: [Offered, Enrolled],
    tags: (_event, course) => [`course:${course}`]
  },
  (state) => state
)

const seatsOf = (course: string) =>
  DecisionModel.make(
    { query: EventQuery.of(Course, { tags: [`course:${course}`] }), initial: 0 },
    { Offered: (seats, offered) => seats + offered.seats, Enrolled: (seats) => seats - 1 }
  )

/** Enrolments in one course: all decide on the same query. With its last seat another course begins. */
export const decisions = (
  database: Database,
  { concurrency: count, name }: { readonly name: string; readonly concurrency: number }
): Contender => {
  const runtime = startRepository(database.app)
  const tenantIds = newTenants(1)
  const [tenantId = Tenant.untenanted] = tenantIds
  let answered = 0
  let done = 0
  let course = { id: "", model: seatsOf("") }
  const offer = Decisions.Decisions.use((service) => {
    const id = randomUUID()
    course = { id, model: seatsOf(id) }
    return service.execute(course.model, () => Decisions.to(Course, id, Offered.make({ seats: 10_000 })))
  }).pipe(Effect.map(({ events }) => (answered += events.length)))
  const enrol = Decisions.Decisions.use((service) => {
    const { id, model } = course
    return service.execute(model, (seats) =>
      seats > 0 ? Decisions.to(Course, id, Enrolled.make({ student: randomUUID() })) : []
    )
  }).pipe(
    Effect.tap(({ events }) =>
      Effect.sync(() => {
        answered += events.length
        done += events.length
      })
    ),
    Effect.catchTag("Conflict", () => Effect.void)
  )
  return {
    name,
    run: async (seconds) => {
      await runtime.runPromise(Tenant.provide(tenantId)(offer))
      const [before, began] = [done, performance.now()]
      await runtime.runPromise(fibers(count, seconds, () => Tenant.provide(tenantId)(enrol)))
      return ((done - before) * 1000) / (performance.now() - began)
    },
    close: async () => {
      await runtime.dispose()
      await checkReceipts(name, database, tenantIds, answered)
    }
  }
}

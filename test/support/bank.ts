/**
 * Helpers of the tests of the typed tier: two small aggregates, a store for them, and an observed driver.
 */
import { Effect, Layer, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"

export const Opened = Schema.TaggedStruct("Opened", { owner: Schema.String })

export const Deposited = Schema.TaggedStruct("Deposited", { amount: Schema.Int })

/** An event whose values are instances, with fields of types that JSON does not have. */
export class Closed extends Schema.TaggedClass<Closed>()("Closed", {
  at: Schema.DateTimeUtc,
  balance: Schema.BigInt,
  reason: Schema.OptionFromNullOr(Schema.String)
}) {}

export const Account = Aggregate.make(
  "Account",
  {
    id: Schema.String,
    state: Schema.Struct({ status: Schema.Literals(["none", "open", "closed"]), balance: Schema.Int }),
    initial: { status: "none", balance: 0 },
    events: [Opened, Deposited, Closed]
  },
  {
    Opened: (state) => ({ ...state, status: "open" }),
    Deposited: (state, { amount }) => ({ ...state, balance: state.balance + amount }),
    Closed: (state) => ({ ...state, status: "closed" })
  }
)

const Written = Schema.TaggedStruct("Written", { text: Schema.Unknown })

/** An aggregate with any JSON in its events. */
export const Note = Aggregate.make(
  "Note",
  { id: Schema.String, state: Schema.Array(Schema.Unknown), initial: [], events: [Written] },
  { Written: (state, { text }) => [...state, text] }
)

export const opened = (owner = "Ada"): typeof Opened.Type => Opened.make({ owner })
export const deposited = (amount: number): typeof Deposited.Type => Deposited.make({ amount })
/** Deposits of 1, 2, 3 … */
export const deposits = (count: number): ReadonlyArray<typeof Deposited.Type> =>
  Array.from({ length: count }, (_, index) => deposited(index + 1))
export const written = (text: unknown): typeof Written.Type => ({ _tag: "Written", text })

/** All services of the typed tier, on a driver. */
export const onDriver = <E, R>(
  driver: Layer.Layer<EventStorage.EventStorage, E, R>,
  options: EventStore.Options = {}
): Layer.Layer<
  EventStore.EventStore | Repository.Repository | TenantRegistry.TenantRegistry | EventStorage.EventStorage,
  E,
  R
> =>
  Repository.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(EventStore.layerWith(options), TenantRegistry.layer)),
    Layer.provideMerge(driver)
  )

/** All services of the typed tier, in memory. */
export const inMemory = (options: EventStore.Options = {}): ReturnType<typeof onDriver<never, never>> =>
  onDriver(MemoryStorage.layer, options)

/** Runs an effect for a new tenant. */
export const asNewTenant = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Tenant.CurrentTenant>> =>
  Effect.flatMap(Tenant.generate, (tenantId) => Tenant.provide(tenantId)(effect))

/** Appends to an account at any version. */
export const append = (
  id: string,
  events: EventStore.StreamEventsOf<typeof Account>["events"],
  expectedVersion: EventStore.StreamEventsOf<typeof Account>["expectedVersion"] = "any"
): ReturnType<typeof appendTo> => appendTo({ aggregate: Account, id, events, expectedVersion })

const appendTo = (stream: EventStore.StreamEventsOf<typeof Account>) =>
  EventStore.EventStore.use((store) => store.append(stream))

/** Appends one note. */
export const note = (text: unknown, id = "1"): ReturnType<typeof appendNote> => appendNote(text, id)

const appendNote = (text: unknown, id: string) =>
  EventStore.EventStore.use((store) =>
    store.append({ aggregate: Note, id, events: [written(text)], expectedVersion: "any" })
  )

/** The driver in memory with the methods that `change` replaces. */
export const changedDriver = (
  change: (driver: EventStorage.EventStorage["Service"]) => Partial<EventStorage.EventStorage["Service"]>
): Layer.Layer<EventStorage.EventStorage> =>
  Layer.effect(
    EventStorage.EventStorage,
    Effect.map(EventStorage.EventStorage, (driver) => ({ ...driver, ...change(driver) }))
  ).pipe(Layer.provide(MemoryStorage.layer))

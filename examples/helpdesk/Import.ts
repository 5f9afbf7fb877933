/**
 * The import of a desk's log. Customers are tenants and are imported concurrently. The events of their cases are decided in
 * memory and written in bulk.
 */
import { Effect, Stream } from "effect"
import { EventStore, type Repository, Tenant } from "effect-eventsourcing"
import type { Customer, DeskLog, Problem } from "./DeskLog.ts"
import * as Ticket from "./Ticket.ts"

/** The outcome of an import. */
export interface Imported {
  /** Number of new entries. */
  readonly added: number
  /** Number of entries that had been imported before. */
  readonly known: number
  /** Lines that break the rules of the desk. */
  readonly refused: ReadonlyArray<Problem>
}

/** The tickets of the current tenant, by name. */
const loadTickets = EventStore.EventStore.use((store) =>
  store.readLog({ aggregates: [Ticket.Ticket] }).pipe(
    Stream.runFold(
      () => new Map<string, Repository.Loaded<Ticket.TicketState>>(),
      (tickets, { aggregateId, eventId, payload, version }) => {
        const { state } = tickets.get(aggregateId) ?? untouched
        return tickets.set(aggregateId, { state: Ticket.Ticket.apply(state, payload), version, eventId })
      }
    )
  )
)

const untouched: Repository.Loaded<Ticket.TicketState> = {
  state: Ticket.Ticket.initial,
  version: 0,
  eventId: undefined
}

/** Imports the entries of the current tenant. */
const importCases = Effect.fn("importCases")(function* (cases: Customer["cases"]) {
  const store = yield* EventStore.EventStore
  const tickets = yield* loadTickets
  const decided = [...cases].map(([name, entries]) => {
    const { state, version } = tickets.get(name) ?? untouched
    const { events, refused } = Ticket.admit(entries, state)
    return { name, entries, version, events, refused }
  })
  const { appended } = yield* store.importEvents(
    Stream.fromIterable(decided).pipe(
      Stream.map(({ name, version, events }) => ({
        aggregate: Ticket.Ticket,
        id: name,
        expectedVersion: version,
        events
      }))
    )
  )
  const refused = decided.flatMap((ticket) =>
    ticket.refused.map(({ entry, message }) => ({
      line: ticket.entries.find(({ id }) => id === entry)?.line ?? 0,
      problem: message
    }))
  )
  const total = decided.reduce((sum, { entries }) => sum + entries.length, 0)
  return { added: appended, known: total - appended - refused.length, refused }
})

/** The errors of the store during an import. */
type Failure = Repository.LoadError | EventStore.ImportError

/** Imports a log and reports the number of entries after each customer. */
export const importLog = (
  log: DeskLog,
  onProgress: (entries: number) => Effect.Effect<void>
): Effect.Effect<Imported, Failure, EventStore.EventStore> => {
  const importCustomer = ({ cases, tenantId }: Customer) =>
    importCases(cases).pipe(
      // Another process imports the same log: its entries count as imported before.
      Effect.retry({
        while: (error) => error._tag === "ImportFailed" && error.reason._tag === "VersionConflict",
        times: 5
      }),
      Effect.tap(({ added, known, refused }) => onProgress(added + known + refused.length)),
      Tenant.provide(tenantId)
    )

  return Effect.forEach(log.customers, importCustomer, { concurrency: 16 }).pipe(
    Effect.map((results) => ({
      added: results.reduce((sum, { added }) => sum + added, 0),
      known: results.reduce((sum, { known }) => sum + known, 0),
      refused: results.flatMap(({ refused }) => refused).toSorted((a, b) => a.line - b.line)
    }))
  )
}
